"""From a selection to a batch for people: which images, and which predicted boxes are shown on them."""

from __future__ import annotations

from collections.abc import Mapping

from mgral.annotation.exchange import Batch, BatchImage, Prediction
from mgral.config.annotation import Shown
from mgral.core import random_streams
from mgral.core.errors import MgralError
from mgral.core.types import Dataset, Detections, Image
from mgral.data import image_files
from mgral.data.identity import sha256_of
from mgral.data.selection import Selection


def make_batch(
    dataset: Dataset,
    selection: Selection,
    detections: Mapping[int, Detections] | None,
    experiment: str,
    annotation: Shown,
) -> Batch:
    """The batch of a selection.

    Args:
        dataset: of the cycle.
        selection: that is annotated.
        detections: of the cycle's detector; None: no predictions are shown.
        experiment: whose batch it is.
        annotation: which detections are shown, and on how many images none.

    Raises:
        MgralError: a selected image is not in the data set, or its file is missing.
    """
    draws = random_streams.generator(selection.seed, "without predictions", selection.cycle).random(
        len(selection.picks)
    )
    images = []
    for rank, (pick, draw) in enumerate(zip(selection.picks, draws.tolist(), strict=True), start=1):
        if pick.id not in dataset.images:
            raise MgralError(f"image {pick.id} is selected and not in the data set; run `mgral select` again")
        image = dataset.images[pick.id]
        if image.tile is not None:
            raise MgralError(
                f"image {pick.id} is a tile of {image.file_name}, and people annotate whole files; set "
                "dataset.tiles.by: image"
            )
        sha = _sha256(dataset, image)
        shown = detections is not None and draw >= annotation.without_predictions
        found = detections.get(image.id) if shown and detections is not None else None
        predictions = _predictions(dataset, image.width, image.height, found, annotation.predictions) if found else ()
        images.append(
            BatchImage(
                image.id,
                image.file_name,
                image.width,
                image.height,
                sha,
                rank,
                pick.score,
                dict(pick.reason),
                predictions,
                shown,
            )
        )
    return Batch(experiment, selection.cycle, dataset.classes, dataset.root, tuple(images))


def _sha256(dataset: Dataset, image: Image) -> str:
    """Of an image's file. Raises MgralError if it is missing, or no image of the size in the data set."""
    path = dataset.root / image.file_name
    try:
        sha = sha256_of(path)
        size = image_files.size_of(path)
    except image_files.UNREADABLE as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "no image file"
        raise MgralError(f"{path}: image {image.id} cannot be read ({reason}); restore the file") from None
    if size != (image.width, image.height):
        raise MgralError(
            f"{path}: image {image.id}: {size[0]} x {size[1]} pixels, not {image.width} x {image.height} as in the "
            "data set; restore the file"
        )
    return sha


def _predictions(dataset: Dataset, width: int, height: int, found: Detections, least: float) -> tuple[Prediction, ...]:
    """Detections of at least a score, inside the image, best first. Tools check nothing of what they are given."""
    predictions = []
    for xyxy, score, label in zip(found.xyxy.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True):
        x1, y1, x2, y2 = max(xyxy[0], 0.0), max(xyxy[1], 0.0), min(xyxy[2], float(width)), min(xyxy[3], float(height))
        if score >= least and x2 > x1 and y2 > y1:
            predictions.append(Prediction(dataset.classes[label], (x1, y1, x2, y2), score))
    return tuple(predictions)
