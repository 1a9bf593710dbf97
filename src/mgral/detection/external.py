"""Detectors behind command lines: what they read and write, and how they are run (:mod:`.detectors.command`)."""

from __future__ import annotations

import logging
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mgral.config.schema import Evaluation
from mgral.core import boxes as geometry
from mgral.core import plugins
from mgral.core.errors import MgralError
from mgral.core.files import write_json
from mgral.core.types import Activation, Dataset, Detections, Embeddings, Floats, Image
from mgral.data import image_quality
from mgral.data.image_cache import Cache
from mgral.detection import backbone_embedding, command_process, command_results, packed_weights, tile_files
from mgral.detection.checkpoint import files_beside
from mgral.detection.detectors.command import Options, placeholders
from mgral.detection.device import Device
from mgral.detection.inference import InferenceResult
from mgral.detection.merging import mean_vectors, merge

log = logging.getLogger(__name__)

Row = dict[str, float]


@dataclass
class ExternalTrainer:
    """Trains and predicts by the command lines of ``detector: command``.

    Attributes:
        dataset: its images and, of labelled ones and val, its boxes.
        cache: says which inputs an image has, one or its tiles; decoded images, for the embedding backbone.
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
            The rows of the CSV that the command left as ``{loss}``; if it names none, one row of step 0, loss 0.

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
        _remove(work / "loss.csv")
        given = {
            "weights": out,
            "seed": seed % 2**31,
            "loss": work / "loss.csv",
            "work": work / "kept",
            "start": start,
        }
        asked = {"train": self._inputs(labelled)}
        if "val" in placeholders(command):
            asked["val"] = self._inputs(self.dataset.ids("val"))
        wanted = [one for inputs in asked.values() for one in inputs]
        with tile_files.image_root(self.dataset.root, wanted, work / "images") as (root, named):
            files = {one.id: one for one in named}
            for key, inputs in asked.items():
                given[key] = self._coco([files[one.id] for one in inputs], work / f"{key}.json", labels=True)
            self._run(command, name, {**given, "images": root})
        if not any(file.is_file() and file.stat().st_size for file in (out, *out.rglob("*"))):
            raise MgralError(f"{name}: the command left no weights; it must write the file or folder {{weights}}")
        self.weights = out
        if "loss" in placeholders(command):
            return command_results.read_losses(work / "loss.csv", name)
        return [{"step": 0, "loss": 0.0}]

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
        """Run ``predict`` over images; arguments as for :meth:`infer_in_parts`."""
        parts = list(self._portions(ids, embed))
        detections = {i: one for part in parts for i, one in part.detections.items()}
        vectors = np.concatenate([part.embeddings.vectors for part in parts])
        return InferenceResult(detections, Embeddings(np.asarray(sorted(ids), np.int64), vectors))

    def infer_in_parts(self, ids: Sequence[int], features: bool, embed: bool = True) -> Iterator[InferenceResult]:
        """Run ``predict`` over images: once, or where images are cut for a number of tiles after the other.

        Of an image that is cut, the detections of its tiles are merged, and its embedding is the mean of theirs.

        Args:
            ids: of any images of the data set.
            features: nothing; a command describes no detections.
            embed: whether embeddings are wanted; without, the vectors are 0 wide.

        Raises:
            MgralError: the command fails, or its results are of unknown images or classes or out of range.
        """
        for part in self._portions(ids, embed):
            quality = image_quality.of_images(self.cache, part.embeddings.ids.tolist())
            yield InferenceResult(part.detections, replace(part.embeddings, quality=quality))

    def _portions(self, ids: Sequence[int], embed: bool) -> Iterator[InferenceResult]:
        """What :meth:`infer_in_parts` yields, without the quality of the images."""
        ids = sorted(ids)
        parts = [self._inputs([i]) for i in ids]
        for portion in tile_files.in_portions(parts, tile_files.AT_ONCE):
            yield self._predict(ids[portion], parts[portion], embed)

    def _predict(self, ids: Sequence[int], parts: Sequence[Sequence[Image]], embed: bool) -> InferenceResult:
        """Detections and embeddings of images, each with its inputs, from one run of the command."""
        assert self.weights is not None
        inputs = [one for own in parts for one in own]
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            results, vectors = folder / "results.json", folder / "vectors.npz"
            root, named = stack.enter_context(tile_files.image_root(self.dataset.root, inputs, folder / "images"))
            given = {
                "list": self._coco(named, folder / "list.json", labels=False),
                "images": root,
                "weights": self.weights,
                "results": results,
                "vectors": vectors,
                "seed": 0,
            }
            if inputs:
                self._run(self.options.predict, "detector.options.predict", given)
            else:
                write_json(results, [])
            kept = self.evaluation.score_threshold, self.evaluation.max_detections
            classes = len(self.dataset.classes)
            found = command_results.read_detections(results, inputs, classes, self.activation, *kept)
            embedded = self._embeddings(vectors, ids, parts) if embed else np.zeros((len(ids), 0), np.float32)
        seen = {i: self._whole(own, found) for i, own in zip(ids, parts, strict=True)}
        return InferenceResult(seen, Embeddings(np.asarray(ids, np.int64), embedded))

    def _whole(self, inputs: Sequence[Image], found: Mapping[int, Detections]) -> Detections:
        """The detections of an image, of those of its inputs."""
        if len(inputs) == 1:
            return found[inputs[0].id]
        overlap, most = self.evaluation.nms_iou, self.evaluation.max_detections
        return merge([found[one.id] for one in inputs], inputs, overlap, most)

    def _inputs(self, ids: Sequence[int]) -> list[Image]:
        """What a detector sees of images, in ascending order of their ids: an image itself, or its tiles."""
        return [self.cache.image_of(part) for part in self.cache.inputs(sorted(ids))]

    def _coco(self, inputs: Sequence[Image], path: Path, labels: bool) -> Path:
        """Write a COCO JSON of images; boxes in their pixels, crowd regions and difficult objects as ``iscrowd``."""
        images = [
            {"id": one.id, "file_name": one.file_name, "width": one.width, "height": one.height} for one in inputs
        ]
        annotations: list[dict[str, Any]] = []
        for one in inputs if labels else []:
            truth = self.cache.truth(one.id)
            corners = truth.xyxy.astype(np.float64)
            rows = zip(geometry.xyxy_to_xywh(corners), geometry.area(corners), truth.labels, truth.ignore, strict=True)
            for box, area, label, ignore in rows:
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": one.id,
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

    def _embeddings(self, path: Path, ids: Sequence[int], parts: Sequence[Sequence[Image]]) -> Floats:
        """[len(ids), 256] the command's own, or else those of a backbone."""
        if parts and "vectors" in placeholders(self.options.predict):
            command_results.require_output(path, "detector.options.predict", "vectors")
            vectors = backbone_embedding.from_file(path, [one.id for own in parts for one in own])
            return mean_vectors(vectors, [len(own) for own in parts])
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
