"""What a trained detector says of images: detections in original pixels, and embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mgral.config.schema import Evaluation
from mgral.core.types import Detections, Embeddings
from mgral.data.image_cache import Cache
from mgral.detection.base import EMBEDDING_DIM, Detector, Raw
from mgral.detection.device import Compute, in_batches
from mgral.detection.feature_cache import Activations


@dataclass(frozen=True)
class Views:
    """Detections by image id, and the embeddings of the same images, from one forward pass."""

    detections: dict[int, Detections]
    embeddings: Embeddings


@torch.inference_mode()
def look(
    detector: Detector,
    cache: Cache,
    ids: Sequence[int],
    evaluation: Evaluation,
    compute: Compute,
    activations: Activations | None = None,
    answer: Callable[[list[Tensor]], Raw] | None = None,
) -> Views:
    """Run the detector over images.

    Args:
        detector: trained; is put in evaluation mode on ``compute.device``.
        cache: images at the detector's input size.
        ids: images to look at.
        evaluation: threshold, suppression and number of detections.
        compute: device and precision.
        activations: what the detector's trunk, frozen, says of the images. None: it is asked.
        answer: what is said of the maps in place of the detector's own answer.
    """
    detector.to(compute.device).eval()
    ids = sorted(ids)
    detections: dict[int, Detections] = {}
    vectors = np.zeros((len(ids), EMBEDDING_DIM), np.float32)
    for chosen in in_batches(ids):
        start = len(detections)
        maps = activations.maps(chosen, [False] * len(chosen), compute) if activations else None
        with compute.autocast():
            raw = (answer or detector.answer)(maps or detector.maps(compute.images(cache.pixels(chosen))))
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
