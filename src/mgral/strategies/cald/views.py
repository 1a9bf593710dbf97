"""The alterations of cald: images flipped, with parts cut out, smaller and turned, and what the detector sees there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mgral.core import boxes, random_streams
from mgral.core.types import Doubles, Ints
from mgral.data.augmentation import warp
from mgral.detection.base import Detector, Prediction, RawOutput
from mgral.detection.inference import outputs
from mgral.strategies._context import StrategyContext
from mgral.strategies._distributions import class_distributions
from mgral.strategies.cald.options import Options

SHRINK = 0.8
ANGLE = math.radians(5)
CUTS = 2  # rectangles
CUT_SIDE = (0.05, 0.2)  # of the image
GREY = 0.5
ATTEMPTS, COVERED = 50, (0.1, 0.4)  # of the code's cut-outs: rectangles drawn; share of the box that one covers most
MANY, KEPT = 40, 50  # detections from which on the code thins them, and what it keeps

# Where a point goes, x and y measured from the centre, in the order of mgral.strategies.cald.ALTERATIONS.
MOVES = (
    np.array([[-1.0, 0.0], [0.0, 1.0]]),
    np.eye(2),
    np.eye(2) * SHRINK,
    np.array([[math.cos(ANGLE), -math.sin(ANGLE)], [math.sin(ANGLE), math.cos(ANGLE)]]),
)


@dataclass(frozen=True)
class ViewDetections:
    """The detections in one view of an image, altered or not.

    Attributes:
        xyxy: [n, 4] float64.
        scores: [n] in 0..1.
        labels: [n] classes.
        distributions: [n, C + 1] over background and classes.
    """

    xyxy: Doubles
    scores: Doubles
    labels: Ints
    distributions: Doubles


@torch.inference_mode()
def detect_in_views(
    context: StrategyContext, ids: Sequence[int], seed: int, options: Options
) -> Iterator[tuple[ViewDetections, list[tuple[Doubles, ViewDetections]]]]:
    """For each image its detections and, by alteration, where these go [n, 4] and the detections seen there.

    Args:
        context: images, detector and machine.
        ids: images to run the detector on.
        seed: of what is cut out.
        options: score from which detections count; the variant's cut-outs, and its thinning of many detections.
    """
    detector, evaluation, size = context.trained_detector(), context.evaluation, context.cache.size

    def seen_in(raw: RawOutput) -> list[ViewDetections]:
        found = detector.predict(raw, options.min_score, evaluation.nms_iou, evaluation.max_detections)
        return [_seen(one, detector) for one in found]

    def detect(images: Tensor) -> list[ViewDetections]:
        with context.device.autocast():
            return seen_in(detector(images.contiguous(memory_format=torch.channels_last)))

    for chosen, images, raw in outputs(detector, context.cache, ids, context.device):
        plain = seen_in(raw)
        if options.variant == "code":
            plain = [thinned(one) for one in plain]
        covering = [one.xyxy for one in plain] if options.variant == "code" else None
        altered = [detect(one) for one in alter(images, chosen, seed, covering)]
        for k, seen in enumerate(plain):
            yield seen, [(move(seen.xyxy, to, size), views[k]) for to, views in zip(MOVES, altered, strict=True)]


def alter(images: Tensor, ids: Sequence[int], seed: int, covering: Sequence[Doubles] | None = None) -> Iterator[Tensor]:
    """The alterations of a batch [B, 3, S, S], in the order of :data:`MOVES`.

    ``covering``: the boxes of each image, which the cut-outs cover in part as in the public code; None: anywhere.
    """
    flip, _, shrink, turn = MOVES
    yield _moved(images, flip)
    yield cut_out(images, ids, seed) if covering is None else cut_out_in_part(images, ids, seed, covering)
    yield _moved(images, shrink)
    yield _moved(images, turn)


def move(xyxy: Doubles, matrix: Doubles, size: int) -> Doubles:
    """[n, 4] the upright boxes around some boxes that have moved, clipped to the image; all in pixels."""
    x1, y1, x2, y2 = np.moveaxis(xyxy, -1, 0)
    corners = np.stack([[x1, y1], [x2, y1], [x2, y2], [x1, y2]]).transpose(2, 0, 1)  # [n, 4, 2]
    moved = (corners - size / 2) @ matrix.T + size / 2
    around = np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1)
    return np.asarray(boxes.clip(around, size, size), np.float64)


def cut_out(images: Tensor, ids: Sequence[int], seed: int) -> Tensor:
    """Images [B, 3, S, S] with rectangles made grey; which ones depends on seed and id."""
    size, altered = images.shape[-1], images.clone()
    for image, image_id in zip(altered, ids, strict=True):
        generator = random_streams.generator(seed, "cut out", image_id)
        sides = generator.uniform(*CUT_SIDE, (CUTS, 2)) * size
        corners = generator.random((CUTS, 2)) * (size - sides)
        for (x1, y1), (x2, y2) in zip(corners.round().astype(int), (corners + sides).round().astype(int), strict=True):
            image[:, y1:y2, x1:x2] = GREY
    return altered


def cut_out_in_part(images: Tensor, ids: Sequence[int], seed: int, covering: Sequence[Doubles]) -> Tensor:
    """Images [B, 3, S, S] with rectangles made black, each of which covers a part of some box [C].

    Of up to 50 rectangles drawn, the first two are taken of which the box that is covered most is covered between 10
    and 40 %. An image without boxes stays as it is.

    Args:
        images: the batch.
        ids: of its images.
        seed: with the id, of what is drawn.
        covering: boxes [n, 4] of each image, in pixels of the input.
    """
    size, altered = images.shape[-1], images.clone()
    for image, image_id, xyxy in zip(altered, ids, covering, strict=True):
        generator = random_streams.generator(seed, "cut out in part", image_id)
        left = CUTS if len(xyxy) else 0
        for _ in range(ATTEMPTS):
            if not left:
                break
            sides = generator.uniform(*CUT_SIDE, 2) * size
            corner = generator.random(2) * (size - sides)
            x1, y1, x2, y2 = np.concatenate([corner, corner + sides]).astype(int).tolist()
            if COVERED[0] <= _covered(xyxy, np.array([x1, y1, x2, y2], np.float64)) <= COVERED[1]:
                image[:, y1:y2, x1:x2] = 0.0
                left -= 1
    return altered


def _covered(xyxy: Doubles, cut: Doubles) -> float:
    """The largest share of a box [n, 4] that a rectangle [4] covers."""
    sides = np.clip(np.minimum(xyxy[:, 2:], cut[2:]) - np.maximum(xyxy[:, :2], cut[:2]), 0, None)
    return float((sides.prod(axis=1) / (xyxy[:, 2:] - xyxy[:, :2]).prod(axis=1)).max())


def thinned(seen: ViewDetections) -> ViewDetections:
    """Of more than 40 detections 50, evenly by rank; of 41 to 49 some count twice [C]."""
    if len(seen.scores) <= MANY:
        return seen
    rows = np.linspace(0, len(seen.scores) - 1, KEPT).round().astype(int)
    return ViewDetections(seen.xyxy[rows], seen.scores[rows], seen.labels[rows], seen.distributions[rows])


def _moved(images: Tensor, matrix: Doubles) -> Tensor:
    inverse = np.hstack([np.linalg.inv(matrix), np.zeros((2, 1))]).astype(np.float32)
    return warp(images, np.broadcast_to(inverse, (len(images), 2, 3)).copy())


def _seen(found: Prediction, detector: Detector) -> ViewDetections:
    return ViewDetections(
        found.xyxy.double().cpu().numpy(),
        found.scores.double().cpu().numpy(),
        found.labels.cpu().numpy(),
        class_distributions(found.probs.double().cpu().numpy(), detector.activation),
    )
