"""Names that speak against the way in which a data set was read: said, not refused."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from mgral.core.types import Dataset
from mgral.data.faults import Findings, shown

_SPLIT_FOLDER = re.compile(r"(train|val|dev|test)(?:ing|id|idation)?[-_ ]?\d*")
_KINDS = {"dev": "val"}
_MASK = re.compile(r"(.+)[-_ ](?:mask|masks|seg|segmentation|label|labels|gt|groundtruth|depth|alpha)")
_START = 100_000  # bytes at either end of a file that tell its kind
_NOTES = (".txt", ".xml", ".json")


def check(dataset: Dataset, drawn: Collection[str], report: Findings) -> None:
    """Doubts about the names of the images.

    Args:
        dataset: as it was made.
        drawn: splits that the data set does not bring.
        report: takes the notes.
    """
    names = [image.file_name for image in dataset.images.values()]
    if "val" in drawn or "test" in drawn:
        _split_folders(dataset, report)
    stems: dict[str, str] = {}
    for name in names:
        stem = stem_of(name)
        first = stems.setdefault(stem, name)
        if first != name:
            report.count(
                "images have the name of another image and another suffix; are they one picture?", f"{first} and {name}"
            )
    for stem, name in stems.items():
        match = _MASK.fullmatch(stem)
        if match and match.group(1) in stems:
            report.count("images are called like masks of other images; move them if they are no photographs", name)


def stem_of(name: str) -> str:
    """A path without its suffix, for many names."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and "/" not in suffix else name


def _split_folders(dataset: Dataset, report: Findings) -> None:
    """Folders called like splits, of images whose splits were drawn."""
    folders: dict[str, set[str]] = {}
    first, other = "", 0
    for image in dataset.images.values():
        for part in image.file_name.split("/")[:-1]:
            match = _SPLIT_FOLDER.fullmatch(part.lower())
            if match:
                kind = _KINDS.get(match.group(1), match.group(1))
                folders.setdefault(kind, set()).add(part)
                if kind != image.split:
                    first, other = first or image.file_name, other + 1
    if len(folders) > 1 and other:
        called = ", ".join(sorted(part for parts in folders.values() for part in parts)[:6])
        report.note(
            f"folders are called like splits ({called}), but splits are drawn over all of them: {other} images come "
            f"into another one, {first} first; name the splits as the format has it"
        )


def class_names(names: Sequence[str], file: str, report: Findings) -> None:
    """Class names of a list that look like lines with more than a name."""
    for start in (0, 1):
        if names and all(re.match(rf"{number}\s*[ \t:.,)=-]\s*\S", name) for number, name in enumerate(names, start)):
            what = f"{file}: class names begin with their numbers, such as {shown(names[0])}"
            report.note(f"{what}; a line is a name, and its place is the number")
            return
    odd = [name for name in names if name[0] in "\"'`[{" or name[-1] in "\"'`]},;"]
    if odd:
        report.note(
            f"{file}: class names have marks of another kind of file, such as {shown(odd[0])}; a line is a name"
        )


def annotations_beside(images: Iterable[str], files: Iterable[str], report: Findings) -> None:
    """Count files that may be annotations of images, wherever they lie, and that the format does not read."""
    stems = {stem_of(name).rpartition("/")[2] for name in images}
    for name in files:
        if name.lower().endswith(_NOTES) and stem_of(name).rpartition("/")[2] in stems:
            report.count("files have the name of an image and are not read; are they annotations?", name)


def other_annotations(root: Path, files: Iterable[str], read: Collection[str], report: Findings) -> None:
    """Count COCO files that lie there and that no option names.

    Args:
        root: that the files are named from.
        files: JSON files.
        read: those that were read.
        report: takes the count.
    """
    known = {os.path.realpath(root / file) for file in read}
    for name in files:
        path = root / name
        try:
            if os.path.realpath(path) in known or not path.is_file():
                continue
            with path.open("rb") as file:
                start = file.read(_START)
                file.seek(max(0, path.stat().st_size - _START))
                text = start + file.read(_START)
        except OSError:
            continue
        if b'"annotations"' in text and (b'"images"' in text or b'"categories"' in text):
            report.count("other files seem to hold annotations in COCO's form and are not read", name)
