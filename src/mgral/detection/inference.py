"""What a trained detector says of images: detections in original pixels, and embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mgral.config.schema import Evaluation
from mgral.core.types import Detections, Doubles, Embeddings, Floats
from mgral.data import image_quality
from mgral.data.image_cache import Cache
from mgral.detection.base import EMBEDDING_DIM, Detector, Prediction, RawOutput
from mgral.detection.device import Device, batches, in_batches
from mgral.detection.feature_cache import BackboneFeatures
from mgral.detection.merging import mean_vectors, merge


@dataclass(frozen=True)
class InferenceResult:
    """Detections by image id, and the embeddings of the same images, from one forward pass."""

    detections: dict[int, Detections]
    embeddings: Embeddings


@torch.inference_mode()
def outputs(
    network: nn.Module, cache: Cache, ids: Sequence[int], device: Device
) -> Iterator[tuple[Sequence[int], Tensor, Any]]:
    """What a network says of images, batch by batch: their ids, the images [B, 3, S, S] in 0..1, and its output.

    Args:
        network: is put in evaluation mode on ``device.torch_device``.
        cache: images at the network's input size.
        ids: inputs to look at, in their order (:meth:`mgral.data.image_cache.Cache.inputs`).
        device: device and precision.
    """
    network.to(device.torch_device).eval()
    with closing(cache.stream(batches(ids, cache.size), lambda count: device.empty(count, cache.size))) as pixels:
        for chosen in in_batches(ids, cache.size):
            images = device.images(next(pixels))
            with device.autocast():
                found = network(images)
            yield chosen, images, found


def run_inference(
    detector: Detector,
    cache: Cache,
    ids: Sequence[int],
    evaluation: Evaluation,
    device: Device,
    backbone_features: BackboneFeatures | None = None,
    answer: Callable[[list[Tensor]], RawOutput] | None = None,
    features: bool = False,
) -> InferenceResult:
    """Run the detector over images; arguments as for :func:`in_parts`."""
    parts = list(in_parts(detector, cache, ids, evaluation, device, backbone_features, answer, features))
    vectors = [np.zeros((0, EMBEDDING_DIM), np.float32), *(part.embeddings.vectors for part in parts)]
    detections = {i: one for part in parts for i, one in part.detections.items()}
    return InferenceResult(detections, Embeddings(np.asarray(sorted(ids), np.int64), np.concatenate(vectors)))


@torch.inference_mode()
def in_parts(
    detector: Detector,
    cache: Cache,
    ids: Sequence[int],
    evaluation: Evaluation,
    device: Device,
    backbone_features: BackboneFeatures | None = None,
    answer: Callable[[list[Tensor]], RawOutput] | None = None,
    features: bool = False,
    quality: bool = False,
) -> Iterator[InferenceResult]:
    """Run the detector over images, and yield the results of one forward pass after the other, by ascending id.

    Of an image that is cut, the detections of its tiles are merged, and its embedding is the mean of theirs.

    Args:
        detector: trained; is put in evaluation mode on ``device.torch_device``.
        cache: images at the detector's input size.
        ids: images to look at.
        evaluation: threshold, suppression and number of detections.
        device: device and precision.
        backbone_features: what the detector's backbone, frozen, says of the images. None: it is asked.
        answer: what is said of the maps in place of the detector's own answer.
        features: whether detections are described by features.
        quality: whether sharpness and exposure are measured; not with ``backbone_features``, which see no pixels.
    """
    detector.to(device.torch_device).eval()
    limits = evaluation.score_threshold, evaluation.nms_iou, evaluation.max_detections
    inputs = cache.inputs(sorted(ids))
    waiting: list[_OfInput] = []  # of an image whose other tiles are in the next pass
    left = sorted(ids)
    with closing(cache.stream(batches(inputs, cache.size), lambda count: device.empty(count, cache.size))) as pixels:
        for chosen in in_batches(inputs, cache.size):
            maps = backbone_features.maps(chosen, [False] * len(chosen), device) if backbone_features else None
            measured: Iterable[Doubles | None] = [None] * len(chosen)
            if not maps:
                seen = next(pixels)
                measured = image_quality.of_inputs(cache, chosen, seen) if quality else measured
            with device.autocast():
                raw = (answer or detector.answer)(maps or detector.maps(device.images(seen)))
            vectors = detector.embed(raw, cache.extent(chosen)).cpu().numpy()
            found = detector.predict(raw, *limits, features=features)
            stored = (_stored(one, cache, i) for i, one in zip(chosen, found, strict=True))
            waiting += zip(stored, vectors, measured, strict=True)
            yield _merged(waiting, left, cache, evaluation)


_OfInput = tuple[Detections, Floats, Doubles | None]
"""Detections, embedding, and variance of the Laplacian with the share of clipped pixels."""


def _merged(waiting: list[_OfInput], left: list[int], cache: Cache, evaluation: Evaluation) -> InferenceResult:
    """The results of the images whose inputs are all there; takes these out of ``waiting`` and of ``left``."""
    detections, vectors, qualities = {}, [], []
    while left and (count := len(parts := cache.inputs(left[:1]))) <= len(waiting):
        own, waiting[:] = waiting[:count], waiting[count:]
        seen = [one for one, _, _ in own]
        if count > 1:
            tiles = [cache.image_of(part) for part in parts]
            seen = [merge(seen, tiles, evaluation.nms_iou, evaluation.max_detections)]
        detections[left.pop(0)] = seen[0]
        vectors.append(mean_vectors(np.stack([vector for _, vector, _ in own]), [count])[0])
        measured = [quality for *_, quality in own if quality is not None]
        qualities += [image_quality.joined(np.stack(measured))] if measured else []
    rows = np.stack(vectors) if vectors else np.zeros((0, EMBEDDING_DIM), np.float32)
    quality = np.stack(qualities) if qualities else None
    return InferenceResult(detections, Embeddings(np.asarray([*detections], np.int64), rows, quality=quality))


def _stored(one: Prediction, cache: Cache, image_id: int) -> Detections:
    """A prediction as arrays, in pixels of the original image; what lies in the padding is left out."""
    xyxy, inside = cache.to_original(one.xyxy.cpu().numpy(), image_id)
    return Detections(
        xyxy[inside],
        one.scores.cpu().numpy()[inside],
        one.labels.cpu().numpy()[inside],
        one.probs.cpu().numpy()[inside],
        None if one.features is None else one.features.half().cpu().numpy()[inside],
    )
