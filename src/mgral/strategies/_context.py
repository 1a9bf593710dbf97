"""What a strategy gets that runs or trains a network of its own."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from mgral.config.schema import DetectorParams, Evaluation
from mgral.core.files import whole
from mgral.data.image_cache import Cache
from mgral.data.pool import Pool
from mgral.detection.base import Detector, build_detector, restore_detector
from mgral.detection.device import Device
from mgral.detection.training import ExtraLoss, TrainingConfig, fit


@dataclass(frozen=True)
class StrategyContext:
    """Images, labels, a detector and a machine.

    Attributes:
        pool: labelled and unlabelled ids.
        classes: class names.
        cache: images at the detector's input size, and the boxes of the labelled ones alone.
        detector: which one the experiment uses.
        weights: file of the cycle's trained detector.
        plan: how the cycle's detector was trained.
        evaluation: threshold, suppression and number of detections.
        device: device and precision.
        checkpoint: file to which a long training may save where it is, to go on there after it was killed. Whoever
            uses it removes it at the end.
        log: CSV file to which a training may write its losses by step; None where nobody asked.
    """

    pool: Pool
    classes: tuple[str, ...]
    cache: Cache
    detector: DetectorParams
    weights: Path
    plan: TrainingConfig
    evaluation: Evaluation
    device: Device
    checkpoint: Path
    log: Path | None = None

    def fresh_detector(self, seed: int) -> Detector:
        """One with initial weights. Raises MgralError for options that do not fit."""
        return build_detector(self.detector.name, self.classes, self.cache.size, self.detector.options, seed)

    def trained_detector(self) -> Detector:
        """The cycle's. Raises MgralError if its file is missing, damaged or of another detector."""
        return restore_detector(self.detector, self.classes, self.cache.size, self.weights)

    def fit_with(self, detector: Detector, part: nn.Module, seed: int, term: ExtraLoss) -> None:
        """Train a detector on the labelled images, and ``part`` beside it; write the log.

        Args:
            detector: with initial weights; is trained in place.
            part: is one of the detector's while it trains: in its optimiser, its checkpoint and on its device.
            seed: of order and augmentation.
            term: further losses of a step, see :func:`mgral.detection.training.fit`.

        Raises:
            MgralError: no labelled image, or a loss that is not finite.
        """
        detector.beside = part
        labelled = self.pool.labelled_ids
        self.write_log(fit(detector, self.cache, labelled, self.plan, self.device, seed, term, self.checkpoint))
        del detector.beside

    def write_log(self, rows: Sequence[Mapping[str, float | str]]) -> None:
        """Write the rows of a training to ``log``, numbers to six digits, if there is one.

        Columns are those of all rows, in order of their first appearance; a cell without a number stays empty.
        """
        if self.log is None:
            return
        columns = list(dict.fromkeys(name for row in rows for name in row))
        with whole(self.log) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            for row in rows:
                cells = [row.get(name, "") for name in columns]
                writer.writerow([f"{cell:.6g}" if isinstance(cell, float) else cell for cell in cells])
