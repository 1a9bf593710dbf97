"""Evidence from files, for the verbs that draw or select."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mgral.core.errors import MgralError
from mgral.core.types import Activation, Dataset, Detections, Embeddings
from mgral.data.evidence import Evidence
from mgral.data.pool import read_pool
from mgral.detection import detections_file, metrics, npz_files
from mgral.reward import batch_features, detection_quality
from mgral.reward.growth import World, Worlds
from mgral.reward.signals import measure


def read(
    dataset: Dataset,
    pool: Path,
    embeddings: Path | None,
    detections: Path | None,
    agent: Path | None = None,
    image_scores: Path | None = None,
    competence: Path | None = None,
    held_out: Sequence[Path] | None = None,
    patterns: Path | None = None,
    price: Path | None = None,
    polish: int = 0,
    caution: float = 0.0,
    certainty: float = 0.0,
    needs: frozenset[str] = frozenset(),
) -> Evidence:
    """What of the evidence there are files for, and of the ground truth what is among the ``needs``.

    Of ``held_out`` there is a file for each replay split.

    Raises:
        MgralError: a file is missing or damaged, the pool is of another data set, or the detections are of another
            number of classes.
    """
    state = read_pool(pool, dataset)
    found, activation = _detections(detections, dataset) if detections else (None, None)
    splits = [_detections(path, dataset)[0] for path in held_out or ()]
    return Evidence(
        state,
        dataset.classes,
        found,
        activation,
        npz_files.read_embeddings(embeddings) if embeddings else None,
        agent,
        {i: dataset.boxes[i] for i in state.labelled} if "labels" in needs else None,
        dataset.boxes if "truth" in needs else None,
        npz_files.read_image_scores(image_scores) if image_scores else None,
        metrics.read_competence(competence, dataset.classes) if competence else None,
        splits[0] if splits else None,
        npz_files.read_patterns(patterns) if patterns else None,
        price=price,
        polish=polish,
        caution=caution,
        certainty=certainty,
        confident=metrics.read_confident(competence) if competence else None,
        more_held_out=tuple(splits[1:]),
    )


def read_worlds(
    dataset: Dataset,
    cycle: tuple[Path, Path, Path],
    competence: Path,
    replay: Sequence[tuple[Path, Path | None, Path | None]] = (),
) -> Worlds:
    """What the representation ``growth`` is computed from.

    Args:
        dataset: whose labels of labelled images are counted; of replay's pool too.
        cycle: files of its pool, embeddings and detections.
        competence: metrics.json of its detector.
        replay: of each split the files of its pool, and of the embeddings and detections by its detector; where it has
            none (``proxy.start: scratch``) the cycle's detector describes the images that are held out, which it was
            trained on, and the expected quality of detection is 1. For the cycle's pool that of all splits together
            holds, as in the strategy ``learnable``.

    Raises:
        MgralError: a file is missing, damaged or of another data set.
    """
    pool, embeddings, detections = cycle
    user = "table.representation: growth"
    needs = frozenset({"labels"})
    own = read(dataset, pool, embeddings, detections, competence=competence, needs=needs)
    learnt, confident = own.competence_for(user), own.confident_for(user)
    splits, measured = [], []
    for split, seen, found in replay:
        held_out = read(dataset, split, seen or embeddings, found or detections, needs=needs)
        splits.append(with_quality(held_out, dataset) if found is not None else held_out)
        measured += [_held_out(held_out)] if found is not None else []
    of_replay = [World.of(measure(split, user), learnt, split.quality) for split in splits]
    together = detection_quality.quality_by_rank(measured, dataset.boxes, own.activation_for(user))
    of_own = World.of(measure(own, user), learnt, together)
    return Worlds(of_own, of_replay, confident)


def with_quality(held_out: Evidence, dataset: Dataset) -> Evidence:
    """The evidence of a split pool, with the quality of detection measured on the images that are held out.

    Raises:
        MgralError: an image of the pool has no detections.
    """
    activation = held_out.activation_for("proxy.kind: replay")
    line = detection_quality.quality_by_rank([_held_out(held_out)], dataset.boxes, activation)
    return replace(held_out, quality=line)


def _held_out(split: Evidence) -> dict[int, Detections]:
    """The detections of the images that a split pool holds out. Raises MgralError if one has none."""
    ids = split.pool.unlabelled
    found = split.detections_of(ids, "proxy.kind: replay")
    return {i: found[i] for i in ids}


def _detections(path: Path, dataset: Dataset) -> tuple[Mapping[int, Detections], Activation]:
    """Detections of a file. Raises MgralError if they are of another number of classes."""
    found, activation = detections_file.read(path)
    if found.classes != len(dataset.classes):
        raise MgralError(
            f"{path}: is of {found.classes} classes, the data set of {len(dataset.classes)}; run `mgral embed` again"
        )
    return found, activation


def read_embeddings(path: Path, detections: Path | None) -> Embeddings:
    """Embeddings, with the objects that are expected in the images where there is a file of detections.

    Raises:
        MgralError: a file is missing or damaged, or they are of different images.
    """
    embeddings = npz_files.read_embeddings(path)
    if detections is None:
        return embeddings
    try:
        found, _ = detections_file.read(detections)
        return batch_features.with_objects(embeddings, found, found.classes)
    except MgralError as error:
        raise MgralError(f"{detections}: {error}") from None
