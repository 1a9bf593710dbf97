"""What a trained detector says of images: detections in original pixels, and embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from mgral.compute import Compute
from mgral.detectors import EMBEDDING_DIM, Detector
from mgral.images import Cache
from mgral.params import Evaluation
from mgral.types import Detections, Embeddings

BATCH = 32  # images a forward pass


@dataclass(frozen=True)
class Views:
    """Detections by image id, and the embeddings of the same images, from one forward pass."""

    detections: dict[int, Detections]
    embeddings: Embeddings


@torch.inference_mode()
def look(detector: Detector, cache: Cache, ids: Sequence[int], evaluation: Evaluation, compute: Compute) -> Views:
    """Run the detector over images.

    Args:
        detector: trained; is put in evaluation mode on ``compute.device``.
        cache: images at the detector's input size.
        ids: images to look at.
        evaluation: threshold, suppression and number of detections.
        compute: device and precision.
    """
    detector.to(compute.device).eval()
    ids = sorted(ids)
    detections: dict[int, Detections] = {}
    vectors = np.zeros((len(ids), EMBEDDING_DIM), np.float32)
    for start in tqdm(range(0, len(ids), BATCH), "inference", disable=None, leave=False):
        chosen = ids[start : start + BATCH]
        images = compute.images(torch.from_numpy(cache.pixels(chosen)))
        with compute.autocast():
            raw = detector(images.contiguous(memory_format=torch.channels_last))
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
    return Views(detections, Embeddings(np.asarray(ids, np.int64), vectors))
