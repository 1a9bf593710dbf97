"""Data sets: many formats in, one canonical form out (COCO JSON, an image root and a split per image).

Formats (:mod:`mgral.data.formats`) read the files, ``validation`` judges what they found.

Ids: a format's own numbers (COCO) or the digits at the end of every stem (elsewhere) are kept if all differ
and none is 0; else images count from 1 in order of file name. A missing or damaged image keeps its number, so the
others keep theirs when it is restored.

The first fault ends an import, or with ``dataset.on_invalid: drop`` all faulty boxes and images stay outside and
are listed in the canonical file, ``info.dropped``. An image goes with its boxes; of ids or names that are duplicated
the first stays; an image in two splits leaves both. A box that is left out leaves an ignored region, or its image
unannotated, and never background; if most boxes would fall, the import is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mgral.config.data_schema import Tiles
from mgral.config.schema import DatasetParams
from mgral.core import plugins
from mgral.core.errors import MgralError, shown
from mgral.core.files import no_collection, set_aside
from mgral.core.types import SPLITS, Dataset, Tiling
from mgral.data import identity, tiles
from mgral.data.faults import Findings
from mgral.data.identity import Known
from mgral.data.locating import finder
from mgral.data.validation import assemble


def import_dataset(params: DatasetParams, known: Known | None = None) -> tuple[Dataset, dict[str, Any]]:
    """Read a data set of any format and check all of it; every image is decoded once.

    Args:
        params: the group ``dataset`` of an experiment; ``root`` must be set.
        known: images whose ids and splits were drawn before; they keep them.

    Returns:
        The data set, and the ``info`` of its canonical file.

    Raises:
        MgralError: a fault in the data; one line with file, id and remedy.
    """
    remedy = "give the folder of the data set"
    if params.format == "synthetic":
        remedy = (
            "a run generates this data set in data/raw/<experiment>, `mgral generate` in its --out; give that folder"
        )
    if params.root is None:
        raise MgralError(f"dataset.root: missing; {remedy}")
    root = _root(params.root, remedy)
    plugin = plugins.load("formats", params.format)
    report = Findings(root, params.on_invalid, params.links, params.match)
    options = plugin.Options.parse(params.options, "dataset.options")
    with no_collection():
        source = plugin.read(root, options, report)
    with set_aside():
        dataset, made = assemble(source, params, report, known)
    report.tell_counts()
    dataset = _tiled(dataset, params.tiles, report)
    info: dict[str, Any] = {
        "format": params.format,
        "image_root": dataset.root.as_posix(),
        **made,
        "dropped": report.dropped,
        "clipped": report.clipped,
        "unlisted": [] if params.unlisted == "pool" else source.unlisted,
    }
    further = {
        "passed_over": dict(sorted(report.passed_over.items())),
        "links": len(finder(report).links.followed),
        "notes": report.notes,
    }
    return dataset, {**info, **{key: value for key, value in further.items() if value}}


def _tiled(dataset: Dataset, params: Tiles, report: Findings) -> Dataset:
    """The data set with the rule by which its large images are cut; by tile, with the tiles of train as images."""
    if not params.size:
        return dataset
    dataset = replace(dataset, tiling=Tiling(params.size, params.overlap, params.visible))
    lost = tiles.unseen(dataset)
    if lost:
        report.note(
            f"{lost} objects are too large for a tile of {params.size} pixels: none shows {params.visible} of them, so "
            "they are ignored in training; raise dataset.tiles.size or overlap"
        )
    if params.by == "image":
        return dataset
    cut, _ = tiles.cut(dataset, dataset.ids("train"))
    tiles.check_ids(cut)
    return cut


def register(
    params: DatasetParams, experiment: str, before: identity.Register | None, since: int
) -> tuple[identity.Register, dict[str, Any], list[str]]:
    """Register all images of a data set: those that are registered stay, new ones are appended.

    Args:
        params: as for :func:`import_dataset`.
        experiment: whose images these are.
        before: what is registered; None: nothing.
        since: the cycle from which new images can be selected.

    Returns:
        The register; the ``info`` of the import, with the number of annotated images by split as ``labelled``; and the
        names of registered images that are not there now.

    Raises:
        MgralError: a fault in the data, a registered file with other content, a split that stays empty, or tiles that
            are images of their own, of which a file has many.
    """
    if params.tiles.by == "tile":
        raise MgralError("dataset.tiles.by: files are registered, and people annotate whole files; set image")
    dataset, info = import_dataset(params, before.known() if before else None)
    if before is not None:
        moved = identity.renamed(before, dataset.root, [image.file_name for image in dataset.images.values()])
        if moved != before:
            before = moved
            dataset, info = import_dataset(params, before.known())
    empty = [split for split in ("val", "test") if not any(image.split == split for image in dataset.images.values())]
    if empty:
        raise MgralError(
            f"{dataset.root}: no image in split {empty[0]}; splits are drawn once, at registration: annotate some "
            f"images and set dataset.splits.{empty[0]} above 0 before"
        )
    names = {image.file_name for image in dataset.images.values()}
    gone = [image.file_name for image in before.images if image.file_name not in names] if before else []
    labelled = Counter(dataset.images[i].split for i in dataset.boxes)
    return identity.extend(before, dataset, experiment, info, since), info | {"labelled": labelled}, gone


def _root(given: str, remedy: str) -> Path:
    """The folder of the data set; ``~`` is the home folder, as in a shell. Raises MgralError if there is none."""
    if not given.isprintable() or not given.strip():
        raise MgralError(f"dataset.root: {shown(given)} is no path; {remedy}")
    root = Path(given)
    try:
        if given.startswith("~"):
            root = root.expanduser()
        found = root.is_dir()
    except (OSError, RuntimeError):  # no home folder, or a name that is too long
        found = False
    if not found:
        raise MgralError(f"dataset.root: {str(root)[:300]}: no such folder; {remedy}")
    return root


def summary(dataset: Dataset, info: Mapping[str, Any]) -> list[str]:
    """What was imported: one line of counts, then one a note.

    The line holds images by split, boxes by split (of which ignored), images without objects, unannotated and unlisted
    ones, suffixes passed over and links.
    """
    images = dict.fromkeys(SPLITS, 0)
    boxes, ignored, empty = dict(images), dict(images), 0
    for image in dataset.images.values():
        images[image.split] += 1
        found = dataset.boxes.get(image.id)
        if found is not None:
            boxes[image.split] += len(found)
            ignored[image.split] += int(found.ignore.sum())
            empty += not len(found)
    by_split = ", ".join(f"{split} {images[split]}" for split in SPLITS)
    of_boxes = ", ".join(f"{split} {boxes[split]} ({ignored[split]} ignored)" for split in SPLITS)
    parts = [
        f"{sum(images.values())} images ({by_split})",
        f"{sum(boxes.values())} boxes of {len(dataset.classes)} classes ({of_boxes})",
        f"{empty} without objects",
        f"{len(dataset.images) - len(dataset.boxes)} unannotated",
        f"{len(info.get('unlisted') or [])} unlisted",
        f"{len(info.get('dropped') or [])} dropped",
        f"{info.get('clipped') or 0} clipped",
    ]
    passed = info.get("passed_over") or {}
    cut = sum(image.tile is not None for image in dataset.images.values())
    if cut:
        parts.append(f"of them {cut} tiles of large images")
    if passed:
        parts.append("passed over: " + ", ".join(f"{count} {suffix}" for suffix, count in passed.items()))
    if info.get("links"):
        parts.append(f"{info['links']} links followed")
    return ["; ".join(parts), *(f"note: {text}" for text in info.get("notes") or [])]


def doubtful(info: Mapping[str, Any]) -> list[str]:
    """What a user should know before images are registered or anything is trained: the notes, and unlisted images."""
    notes, unlisted = list(info.get("notes") or []), info.get("unlisted") or []
    if unlisted:
        notes.append(
            f"{len(unlisted)} images that no annotation names stay outside, {unlisted[0]} first; dataset.unlisted: "
            "pool lets them wait in the pool"
        )
    return [f"note: {text}" for text in notes]
