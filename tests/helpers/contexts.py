"""What a strategy that trains gets, around images that a test has made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mgral.config.schema import DetectorParams, Evaluation
from mgral.data.image_cache import Cache
from mgral.data.pool import Pool
from mgral.detection.device import Device
from mgral.detection.training import TrainingConfig
from mgral.strategies._context import StrategyContext


def context(
    cache: Cache,
    labelled: Sequence[int],
    plan: TrainingConfig,
    device: Device,
    checkpoint: Path = Path("none.ckpt"),
    unlabelled: Sequence[int] = (),
    log: Path | None = None,
) -> StrategyContext:
    """A context whose detector is never asked for: tests build their own."""
    return StrategyContext(
        Pool(0, dict.fromkeys(labelled, 0), tuple(unlabelled)),
        ("large", "small"),
        cache,
        DetectorParams(name="tiny_ssd", options={}),
        Path("none.safetensors"),
        plan,
        Evaluation(score_threshold=0.01, nms_iou=0.5, max_detections=20),
        device,
        checkpoint,
        log,
    )
