"""What trains and predicts, whatever is behind it: a network of this package, or a user's commands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mgral.config.schema import DetectorParams, Evaluation
from mgral.core.types import Activation, Dataset
from mgral.data.image_cache import Cache
from mgral.detection.base import Detector, build_detector, restore_detector, save_detector
from mgral.detection.detectors import command
from mgral.detection.device import Device
from mgral.detection.external import ExternalTrainer, is_external
from mgral.detection.inference import InferenceResult, in_parts, run_inference
from mgral.detection.training import TrainingConfig, fit


class Trainer(Protocol):
    """A detector that can be trained, kept in a file, and run over images."""

    @property
    def activation(self) -> Activation:
        """What its class probabilities are."""
        ...

    def train(self, labelled: Sequence[int], seed: int, checkpoint: Path) -> list[dict[str, float]]:
        """Train from the start on some images; the rows of ``train.csv``. Raises MgralError."""
        ...

    def save(self, path: Path) -> None:
        """Write what was trained as ``detector.safetensors``. Raises MgralError."""
        ...

    def load(self, path: Path, folder: Path) -> None:
        """Read what :meth:`save` wrote; ``folder`` takes files that must lie on disk. Raises MgralError."""
        ...

    def infer(self, ids: Sequence[int], embed: bool = True) -> InferenceResult:
        """Detections and, if wanted, embeddings of some images. Raises MgralError."""
        ...

    def infer_in_parts(self, ids: Sequence[int], features: bool, embed: bool = True) -> Iterator[InferenceResult]:
        """The same of a few images after the others, by ascending id, so that a pool need not fit in memory.

        Embeddings have the quality of their images.

        Args:
            ids: of any images of the data set.
            features: whether detections are described by features, if the detector has any.
            embed: whether embeddings are wanted.

        Raises:
            MgralError: as :meth:`infer`.
        """
        ...


@dataclass
class NetworkTrainer:
    """A detector of this package.

    Attributes:
        params: which one.
        dataset: gives the classes.
        cache: images and boxes at the detector's input size.
        plan: how long and how fast it is trained.
        evaluation: threshold, suppression and number of detections.
        device: device and precision.
    """

    params: DetectorParams
    dataset: Dataset
    cache: Cache
    plan: TrainingConfig | None
    evaluation: Evaluation
    device: Device
    detector: Detector | None = None

    @property
    def activation(self) -> Activation:
        """How class logits become probabilities."""
        assert self.detector is not None
        return self.detector.activation

    def train(self, labelled: Sequence[int], seed: int, checkpoint: Path) -> list[dict[str, float]]:
        """Train from initial weights; see :func:`mgral.detection.training.fit`."""
        assert self.plan is not None
        classes, options = self.dataset.classes, self.params.options
        self.detector = build_detector(self.params.name, classes, self.cache.size, options, seed)
        return fit(self.detector, self.cache, labelled, self.plan, self.device, seed, checkpoint=checkpoint)

    def save(self, path: Path) -> None:
        """Write the weights."""
        assert self.detector is not None
        save_detector(self.detector, path)

    def load(self, path: Path, folder: Path) -> None:
        """Read the weights back."""
        self.detector = restore_detector(self.params, self.dataset.classes, self.cache.size, path)

    def infer(self, ids: Sequence[int], embed: bool = True) -> InferenceResult:
        """Detections and embeddings of images."""
        assert self.detector is not None
        return run_inference(self.detector, self.cache, ids, self.evaluation, self.device)

    def infer_in_parts(self, ids: Sequence[int], features: bool, embed: bool = True) -> Iterator[InferenceResult]:
        """Detections and embeddings, one forward pass after the other."""
        assert self.detector is not None
        return in_parts(self.detector, self.cache, ids, self.evaluation, self.device, features=features, quality=True)


def open_trainer(
    params: DetectorParams,
    dataset: Dataset,
    cache: Cache,
    evaluation: Evaluation,
    device: Device,
    plan: TrainingConfig | None = None,
) -> Trainer:
    """The trainer of an experiment's detector; ``plan`` is needed to train a network of this package.

    Raises:
        MgralError: unknown detector or option.
    """
    if is_external(params.name):
        options = command.Options.parse(params.options, "detector.options")
        return ExternalTrainer(dataset, cache, options, evaluation)
    return NetworkTrainer(params, dataset, cache, plan, evaluation, device)
