"""Detectors behind command lines: what they read and write, and how they are run (:mod:`.detectors.command`)."""

from __future__ import annotations

import logging
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mgral.config.schema import Evaluation
from mgral.core import boxes as geometry
from mgral.core import plugins
from mgral.core.errors import MgralError
from mgral.core.files import write_json
from mgral.core.types import Activation, Dataset, Embeddings
from mgral.data.image_cache import Cache
from mgral.detection import backbone_embedding, command_process, command_results, packed_weights
from mgral.detection.checkpoint import files_beside
from mgral.detection.detectors.command import Options
from mgral.detection.device import Device
from mgral.detection.inference import InferenceResult

log = logging.getLogger(__name__)

Row = dict[str, float]


@dataclass
class ExternalTrainer:
    """Trains and predicts by the command lines of ``detector: command``.

    Attributes:
        dataset: its images and, of labelled ones and val, its boxes.
        cache: decoded images, for the embedding backbone.
        options: the command lines.
        evaluation: threshold and number of detections that are kept.
        weights: folder or file that the last training wrote, or that was unpacked; None before.
    """

    dataset: Dataset
    cache: Cache
    options: Options
    evaluation: Evaluation
    weights: Path | None = None

    @property
    def activation(self) -> Activation:
        """What the probabilities are: sigmoid or softmax."""
        return self.options.activation

    def train(self, labelled: Sequence[int], seed: int, checkpoint: Path, start: Path | None = None) -> list[Row]:
        """Run ``train``, or ``finetune`` from weights.

        Args:
            labelled: ids of the images to learn from, at least one.
            seed: any whole number, 0 or more.
            checkpoint: names the folder for what is written (:func:`files_beside`); it outlives a killed run.
            start: weights to go on from.

        Returns:
            The rows of the CSV that the command left as ``{loss}``; if it left none, one row of step 0, loss 0.

        Raises:
            MgralError: no labelled image; the command fails, runs out of time, or leaves no weights.
        """
        if not labelled:
            raise MgralError("training: no labelled image; raise budget.initial")
        rows = self._train(labelled, seed, files_beside(checkpoint), start)
        if self.options.determinism == "check":
            self._compare_with_another(labelled, seed, files_beside(checkpoint), start)
        return rows

    def _train(self, labelled: Sequence[int], seed: int, work: Path, start: Path | None) -> list[Row]:
        command, name = self.options.train, "detector.options.train"
        if start is not None:
            if self.options.finetune is None:
                raise MgralError("detector.options.finetune: missing; give it, or set proxy.start: scratch")
            command, name = self.options.finetune, "detector.options.finetune"
        (work / "kept").mkdir(parents=True, exist_ok=True)
        out = work / "weights"
        _remove(out)
        given = {
            "train": self._coco(labelled, work / "train.json", labels=True),
            "val": self._coco(self.dataset.ids("val"), work / "val.json", labels=True),
            "images": self.dataset.root.resolve(),
            "weights": out,
            "seed": seed % 2**31,
            "loss": work / "loss.csv",
            "work": work / "kept",
            "start": start,
        }
        _remove(work / "loss.csv")
        self._run(command, name, given)
        if not out.exists() or (out.is_dir() and not any(out.iterdir())):
            raise MgralError(f"{name}: the command left no weights; it must write the file or folder {{weights}}")
        self.weights = out
        return command_results.read_losses(work / "loss.csv", name)

    def _compare_with_another(self, labelled: Sequence[int], seed: int, work: Path, start: Path | None) -> None:
        """Train once more, and warn if the predictions on val differ; the first weights stay."""
        val = self.dataset.ids("val")
        first, kept = self.infer(val, embed=False).detections, self.weights
        self._train(labelled, seed, work / "twin", start)
        second = self.infer(val, embed=False).detections
        self.weights = kept
        for i in val:
            one, other = first[i], second[i]
            if not (np.array_equal(one.xyxy, other.xyxy) and np.array_equal(one.scores, other.scores)):
                log.warning(
                    "detector.options.train: two trainings with seed %d differ on image %d, so a run cannot be "
                    "reproduced; let the command use {seed} for all that is random",
                    seed % 2**31,
                    i,
                )
                return

    def save(self, path: Path) -> None:
        """Pack the weights into one file. Raises MgralError if it cannot be written."""
        assert self.weights is not None
        packed_weights.write(self.weights, path)

    def load(self, path: Path, folder: Path) -> None:
        """Unpack weights below a folder. Raises MgralError if the file is missing, damaged or of another detector."""
        self.weights = packed_weights.read(path, folder)

    def infer(self, ids: Sequence[int], embed: bool = True) -> InferenceResult:
        """Run ``predict`` over images.

        Args:
            ids: of any images of the data set.
            embed: whether embeddings are wanted; without, the vectors are 0 wide.

        Raises:
            MgralError: the command fails, or its results are of unknown images or classes or out of range.
        """
        assert self.weights is not None
        ids = sorted(ids)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            results, vectors = folder / "results.json", folder / "vectors.npz"
            given = {
                "list": self._coco(ids, folder / "list.json", labels=False),
                "images": self.dataset.root.resolve(),
                "weights": self.weights,
                "results": results,
                "vectors": vectors,
                "seed": 0,
            }
            if ids:
                self._run(self.options.predict, "detector.options.predict", given)
            else:
                write_json(results, [])
            if not results.is_file():
                raise MgralError("detector.options.predict: the command left no results; it must write {results}")
            kept = self.evaluation.score_threshold, self.evaluation.max_detections
            found = command_results.read_detections(results, ids, self.dataset, self.activation, *kept)
            embedded = self._embeddings(vectors, ids) if embed else np.zeros((len(ids), 0), np.float32)
        return InferenceResult(found, Embeddings(np.asarray(ids, np.int64), embedded))

    def infer_in_parts(self, ids: Sequence[int], features: bool, embed: bool = True) -> Iterator[InferenceResult]:
        """All in one part: the command is run once. It has no features."""
        yield self.infer(ids, embed)

    def _coco(self, ids: Sequence[int], path: Path, labels: bool) -> Path:
        """Write a COCO JSON of some images; boxes in pixels, crowd regions and difficult objects as ``iscrowd``."""
        chosen = sorted(ids)
        images = [
            {"id": i, "file_name": one.file_name, "width": one.width, "height": one.height}
            for i, one in ((i, self.dataset.images[i]) for i in chosen)
        ]
        annotations: list[dict[str, Any]] = []
        for i in chosen if labels else []:
            truth = self.dataset.boxes.get(i)
            if truth is None:
                raise MgralError(f"image {i} ({self.dataset.images[i].file_name}) is not annotated; annotate it first")
            corners = truth.xyxy.astype(np.float64)
            rows = zip(geometry.xyxy_to_xywh(corners), geometry.area(corners), truth.labels, truth.ignore, strict=True)
            for box, area, label, ignore in rows:
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": i,
                        "category_id": int(label) + 1,
                        "bbox": box.tolist(),
                        "area": float(area),
                        "iscrowd": int(ignore),
                    }
                )
        categories = [{"id": k, "name": name} for k, name in enumerate(self.dataset.classes, start=1)]
        write_json(path, {"images": images, "annotations": annotations, "categories": categories})
        return path

    def _run(self, command: str, name: str, given: Mapping[str, Any]) -> None:
        values = {key: str(Path(value).resolve() if isinstance(value, Path) else value) for key, value in given.items()}
        words = [word.format(**values) for word in shlex.split(command)]
        command_process.run_command(words, name, self.options.environment, self.options.folder, self.options.time_limit)

    def _embeddings(self, path: Path, ids: Sequence[int]) -> Any:
        if path.is_file():
            return backbone_embedding.from_file(path, ids)
        device = Device(torch.device("cpu"), bf16=False)
        where = "detector.options.embedding"
        return backbone_embedding.compute(self.options.embedding, where, self.cache, ids, device)[0]


def is_external(name: str) -> bool:
    """Whether a detector is a user's command. Raises MgralError for an unknown one."""
    return bool(getattr(plugins.load("detectors", name), "EXTERNAL", False))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
