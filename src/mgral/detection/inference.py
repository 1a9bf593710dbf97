"""What a trained detector says of images: detections in original pixels, and embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mgral.config.schema import Evaluation
from mgral.core.types import Detections, Embeddings
from mgral.data.image_cache import Cache
from mgral.detection.base import EMBEDDING_DIM, Detector, RawOutput
from mgral.detection.device import Device, in_batches
from mgral.detection.feature_cache import BackboneFeatures


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
        ids: images to look at, in their order.
        device: device and precision.
    """
    network.to(device.torch_device).eval()
    for chosen in in_batches(ids):
        images = device.images(cache.pixels(chosen))
        with device.autocast():
            found = network(images)
        yield chosen, images, found


@torch.inference_mode()
def run_inference(
    detector: Detector,
    cache: Cache,
    ids: Sequence[int],
    evaluation: Evaluation,
    device: Device,
    backbone_features: BackboneFeatures | None = None,
    answer: Callable[[list[Tensor]], RawOutput] | None = None,
) -> InferenceResult:
    """Run the detector over images.

    Args:
        detector: trained; is put in evaluation mode on ``device.torch_device``.
        cache: images at the detector's input size.
        ids: images to look at.
        evaluation: threshold, suppression and number of detections.
        device: device and precision.
        backbone_features: what the detector's backbone, frozen, says of the images. None: it is asked.
        answer: what is said of the maps in place of the detector's own answer.
    """
    detector.to(device.torch_device).eval()
    ids = sorted(ids)
    detections: dict[int, Detections] = {}
    vectors = np.zeros((len(ids), EMBEDDING_DIM), np.float32)
    for chosen in in_batches(ids):
        start = len(detections)
        maps = backbone_features.maps(chosen, [False] * len(chosen), device) if backbone_features else None
        with device.autocast():
            raw = (answer or detector.answer)(maps or detector.maps(device.images(cache.pixels(chosen))))
        vectors[start : start + len(chosen)] = detector.embed(raw).cpu().numpy()
        found = detector.predict(raw, evaluation.score_threshold, evaluation.nms_iou, evaluation.max_detections)
        for image_id, one in zip(chosen, found, strict=True):
            detections[image_id] = Detections(
                (one.xyxy.cpu().numpy() / cache.scale(image_id)).astype(np.float32),
                one.scores.cpu().numpy(),
                one.labels.cpu().numpy(),
                one.probs.cpu().numpy(),
                one.features.half().cpu().numpy(),
            )
    return InferenceResult(detections, Embeddings(np.asarray(ids, np.int64), vectors))
