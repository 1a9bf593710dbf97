"""What a strategy works with that looks at images or trains something of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mgral import detectors
from mgral.compute import Compute
from mgral.detectors import Detector
from mgral.images import Cache
from mgral.params import DetectorParams, Evaluation
from mgral.pools import Pool
from mgral.training.loop import Plan


@dataclass(frozen=True)
class Workbench:
    """Images, labels, a detector and a machine.

    Attributes:
        pool: labelled and unlabelled ids.
        classes: class names.
        cache: images at the detector's input size, and the boxes of the labelled ones alone.
        detector: which one the experiment uses.
        weights: file of the cycle's trained detector.
        plan: how the cycle's detector was trained.
        evaluation: threshold, suppression and number of detections.
        compute: device and precision.
        checkpoint: file to which a long training may save where it is, to go on there after it was killed. Whoever
            uses it removes it at the end.
    """

    pool: Pool
    classes: tuple[str, ...]
    cache: Cache
    detector: DetectorParams
    weights: Path
    plan: Plan
    evaluation: Evaluation
    compute: Compute
    checkpoint: Path

    def fresh_detector(self, seed: int) -> Detector:
        """One with initial weights. Raises MgralError for options that do not fit."""
        return detectors.build(self.detector.name, self.classes, self.cache.size, self.detector.options, seed)

    def trained_detector(self) -> Detector:
        """The cycle's. Raises MgralError if its file is missing, damaged or of another detector."""
        return detectors.restore(self.detector, self.classes, self.cache.size, self.weights)
