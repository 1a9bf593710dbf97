"""Arrays between steps: embeddings.npz, detections.npz and image_scores.npz (NumPy archives, no pickles)."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mgral.core.errors import MgralError
from mgral.core.files import whole
from mgral.core.types import Activation, Detections, Embeddings, ImageScores, Ints


def write_embeddings(embeddings: Embeddings, path: str | Path) -> None:
    """Write ids [N] int64 and vectors [N, D] float32."""
    _write(path, {"ids": embeddings.ids, "vectors": embeddings.vectors})


def read_embeddings(path: str | Path) -> Embeddings:
    """Read ``embeddings.npz``. Raises MgralError if it is missing, no such archive, or holds what is not finite."""
    data = _read(path, "ids", "vectors")
    remedy = "make it anew with `mgral embed`"
    _check_ids(data["ids"], str(path), remedy)
    if data["vectors"].ndim != 2 or data["vectors"].dtype != np.float32 or len(data["vectors"]) != len(data["ids"]):
        raise MgralError(f"{path}: has no vector for each of {len(data['ids'])} images; {remedy}")
    try:
        return Embeddings(data["ids"], data["vectors"])
    except MgralError as error:
        raise MgralError(f"{path}: {error}") from None


def write_detections(detections: Mapping[int, Detections], activation: Activation, path: str | Path) -> None:
    """Write the detections of many images end to end; ``offsets`` [N + 1] marks where each image begins.

    Features take 128 bytes a detection: 1.3 GB for 100 detections in each of 100,000 images, beside 0.3 GB for the
    boxes, scores and labels and 4 bytes a class for the probabilities. Detections without are written 0 wide.
    """
    ids = sorted(detections)
    parts = [detections[i] for i in ids]
    width = parts[0].probs.shape[1] if parts else 0
    empty = Detections(
        np.zeros((0, 4), np.float32),
        np.zeros(0, np.float32),
        np.zeros(0, np.int64),
        np.zeros((0, width), np.float32),
    )
    features = [np.zeros((len(part), 0), np.float16) if part.features is None else part.features for part in parts]
    parts = [empty, *parts]
    arrays = {
        "ids": np.asarray(ids, np.int64),
        "offsets": np.cumsum([0] + [len(part) for part in parts[1:]]),
        "activation": np.asarray(activation),
        "xyxy": np.concatenate([part.xyxy for part in parts]),
        "scores": np.concatenate([part.scores for part in parts]),
        "labels": np.concatenate([part.labels for part in parts]),
        "probs": np.concatenate([part.probs for part in parts]),
        "features": np.concatenate(features or [np.zeros((0, 0), np.float16)]),
    }
    _write(path, arrays)


def read_detections(path: str | Path) -> tuple[dict[int, Detections], Activation]:
    """Read ``detections.npz``. Raises MgralError if it is missing or no such archive."""
    data = _read(path, "ids", "offsets", "activation", "xyxy", "scores", "labels", "probs", "features")
    remedy = "make it anew with `mgral embed`"
    _check_ids(data["ids"], str(path), remedy)
    numbers = {"offsets": "i", "xyxy": "f", "scores": "f", "labels": "i", "probs": "f", "features": "f"}
    shapes = {"offsets": 1, "xyxy": 2, "scores": 1, "labels": 1, "probs": 2, "features": 2}
    for name, kind in numbers.items():
        if data[name].dtype.kind != kind or data[name].ndim != shapes[name]:
            raise MgralError(f"{path}: array '{name}' is {data[name].dtype} {list(data[name].shape)}; {remedy}")
    says = data["activation"]
    if says.shape != () or str(says) not in {"softmax", "sigmoid"} or data["xyxy"].shape[1:] != (4,):
        raise MgralError(f"{path}: its activation or boxes are not those of a detector; {remedy}")
    if len(data["offsets"]) == 0 or data["offsets"][0] != 0 or (np.diff(data["offsets"]) < 0).any():
        raise MgralError(f"{path}: its arrays do not belong together; {remedy}")
    lengths = {len(data[name]) for name in ("xyxy", "scores", "labels", "probs", "features")}
    if len(data["offsets"]) != len(data["ids"]) + 1 or lengths != {int(data["offsets"][-1])}:
        raise MgralError(f"{path}: its arrays do not belong together; {remedy}")
    spans = zip(data["ids"].tolist(), data["offsets"][:-1].tolist(), data["offsets"][1:].tolist(), strict=True)
    names = ["xyxy", "scores", "labels", "probs", *(["features"] if data["features"].shape[1] else [])]
    detections = {i: Detections(**{name: data[name][a:z] for name in names}) for i, a, z in spans}
    return detections, data["activation"].item()


def write_image_scores(image_scores: ImageScores, path: str | Path) -> None:
    """Write ids [N] int64 and each term [N, …] float64 under its name.

    Raises:
        MgralError: it is not as :class:`mgral.core.types.ImageScores` says.
    """
    _check_image_scores(image_scores, str(path), "train the detector anew")
    _write(path, {"ids": image_scores.ids, **image_scores.terms})


def read_image_scores(path: str | Path) -> ImageScores:
    """Read ``image_scores.npz``. Raises MgralError if it is missing or no such archive."""
    terms = _read(path, "ids", verb="score", others=True)
    image_scores = ImageScores(terms.pop("ids"), terms)
    _check_image_scores(image_scores, str(path), "make it anew with `mgral score`")
    return image_scores


def _check_image_scores(image_scores: ImageScores, path: str, remedy: str) -> None:
    ids = image_scores.ids
    _check_ids(ids, path, remedy)
    for name, term in image_scores.terms.items():
        if term.dtype != np.float64 or term.shape[:1] != ids.shape:
            raise MgralError(f"{path}: array '{name}' has no row of numbers for each of {len(ids)} images; {remedy}")
        unfit = np.argwhere(~np.isfinite(term))
        if len(unfit):
            raise MgralError(f"{path}: '{name}' of image {ids[unfit[0, 0]]} is not finite; {remedy}")


def _check_ids(ids: Ints, path: str, remedy: str) -> None:
    if ids.dtype != np.int64 or ids.ndim != 1 or (np.diff(ids) <= 0).any():
        raise MgralError(f"{path}: its ids are not whole numbers in ascending order; {remedy}")


def _write(path: str | Path, arrays: dict[str, Any]) -> None:
    with whole(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def _read(path: str | Path, *names: str, verb: str = "embed", others: bool = False) -> dict[str, Any]:
    """The arrays of some names, or with ``others`` all there are; ``verb`` makes the file."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise ValueError
        with loaded as archive:
            missing = [name for name in names if name not in archive]
            if missing:
                raise MgralError(f"{path}: has no array '{missing[0]}'; make it anew with `mgral {verb}`")
            return {name: archive[name] for name in (archive if others else names)}
    except FileNotFoundError:
        raise MgralError(f"{path}: no such file; make it with `mgral {verb}`") from None
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, TypeError, ValueError, EOFError, OSError, MemoryError):
        raise MgralError(f"{path}: not a NumPy archive; make it anew with `mgral {verb}`") from None
