"""YOLO: one text file per image, a line ``class cx cy width height`` per object, as shares of the image's sides.

Images lie below a folder ``images``, their labels at the same place below ``labels``; an image without a label
file shows no object. Splits and class names come from a ``data.yaml`` (entries ``train``, ``val``, ``test``:
folders, or lists of image paths, all from dataset.root on; its ``path`` is disregarded), or else from the
folders ``images/train``, ``images/val``, ``images/test`` and a ``classes.txt``.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import Field

from mgral.config.base import Settings
from mgral.core.types import SPLITS
from mgral.data import image_files, text_files
from mgral.data.faults import Findings, shown
from mgral.data.raw import RawImage, RawObject, Sheet, Source


class Options(Settings):
    """Where names and splits stand below dataset.root."""

    data: str = Field(default="data.yaml", description="file of splits and class names, if it exists")
    classes: list[str] | None = Field(
        default=None, description="class names in order; null: as in the data file, or the lines of classes.txt"
    )


def read(root: Path, options: Options, report: Findings) -> Source:
    """Read split lists and labels. Raises MgralError for a fault."""
    data = _data(options.data, report) if (root / options.data).is_file() else {}
    classes = options.classes or _names(options.data, data, report)
    if not classes and (root / "classes.txt").is_file():
        classes = text_files.lines("classes.txt", report)

    images = [
        RawImage(_stem(name), file, name, split)
        for split, place in _places(root, options.data, data, report)
        for name, file in _images(root, options.data, place, report)
    ]
    label_files = {_label_file(image.file_name): image.key for image in images}
    files = [file for file in sorted({*label_files, *_orphans(root, label_files)}) if _is_file_below(root, file)]
    sheets = {label_files.get(file, file): _sheet(file, classes, report) for file in files}
    named = {PurePosixPath(image.file_name).as_posix() for image in images}
    folders = sorted({(root / name).parent for name in named if _is_file_below(root, name)})
    beside = [p.relative_to(root).as_posix() for folder in folders for p in image_files.in_folder(folder)]
    return Source(
        image_root=root,
        images=[image for image in images if sheets.get(image.key, True)],
        sheets={key: sheet for key, sheet in sheets.items() if sheet},
        layout="centre",
        classes=classes,
        unlisted=sorted(set(beside) - named),
    )


def _data(file: str, report: Findings) -> dict[str, Any]:
    data = text_files.yaml(file, report)
    if not isinstance(data, dict):
        report.refuse(file, "", "holds no keys", "give names, and train, val, test")
    return data


def _names(file: str, data: dict[str, Any], report: Findings) -> list[str]:
    """Class names: a list, or numbers 0 … C-1 with names."""
    names = data.get("names", [])
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list):
        report.refuse(file, "names", "is no list and not numbered from 0", "list the class names")
    if data.get("nc", len(names)) != len(names):
        report.refuse(file, "nc", f"says {shown(data['nc'])}, names has {len(names)}", "correct one of them")
    return [str(name) if type(name) is int else name for name in names]


def _places(root: Path, file: str, data: dict[str, Any], report: Findings) -> list[tuple[str | None, str]]:
    """Splits and the folders or lists that hold their images."""
    places: list[tuple[str | None, str]] = []
    for split in SPLITS:
        given = data.get(split) or []
        for place in given if isinstance(given, list) else [given]:
            if not image_files.is_name(place):
                report.refuse(file, split, f"{shown(place)} is no path", "give a folder or a list file")
            places.append((split, place))
    if not places:
        places = [(split, f"images/{split}") for split in SPLITS if (root / "images" / split).is_dir()]
    return places or [(None, "images")]


def _images(root: Path, file: str, place: str, report: Findings) -> list[tuple[str, str]]:
    """Images of a folder or list, below the root, each with the file that names it."""
    if not (root / place).exists():
        place = place.removeprefix("../")  # exported sets write ../train/images for train/images
    try:
        place, path = image_files.below(root, place)
    except image_files.OutsideError:
        report.refuse(file, shown(place), "leaves dataset.root", "name a folder below it")
    if path.is_file():
        return [(name, place) for name in text_files.lines(place, report)]
    names = [found.relative_to(path).as_posix() for found in image_files.in_folder(path)]
    if not names:
        report.refuse(place, "", "no images", "check the folder, or take the split out of the data file")
    return [(f"{place}/{name}", f"{place}/{name}") for name in names]


def _label_file(image: str) -> str:
    """The last folder ``images`` of the path becomes ``labels``, the suffix ``.txt``."""
    parts = list(PurePosixPath(image).parts)
    for i in reversed(range(len(parts) - 1)):
        if parts[i] == "images":
            parts[i] = "labels"
            break
    return f"{_stem(PurePosixPath(*parts))}.txt"


def _stem(name: str | PurePosixPath) -> str:
    """The path without the suffix."""
    path = PurePosixPath(name)
    return (path.parent / path.stem).as_posix()


def _orphans(root: Path, label_files: dict[str, Any]) -> set[str]:
    """Label files beside those of the images, which belong to no image."""
    folders = {PurePosixPath(file).parent for file in label_files if _is_file_below(root, file)}
    found = {
        path.relative_to(root).as_posix()
        for folder in folders
        if "labels" in folder.parts
        for path in (root / folder).glob("*.txt")
        if path.name != "classes.txt"
    }
    return found - label_files.keys()


def _is_file_below(root: Path, file: str) -> bool:
    """Whether a file exists and lies below the root; one outside is never opened."""
    try:
        return image_files.below(root, file)[1].is_file()
    except image_files.OutsideError:
        return False


def _sheet(file: str, classes: list[str], report: Findings) -> Sheet | None:
    """One label file; None if it is no text and was left out with its image."""
    objects = []
    try:
        text = (report.root / file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        report.fault(file, "", "not UTF-8 text", "save it as UTF-8")
        return None
    for number, line in enumerate(text.splitlines(), start=1):
        values = line.split()
        if not values:
            continue
        if len(values) != 5:
            what = f"{len(values)} values in place of 5 (class cx cy width height)"
            report.fault(file, f"line {number}", what, "correct or remove the line")
        elif not (values[0].isascii() and values[0].isdigit()):
            what = f"class {shown(values[0])} is not a whole number"
            report.fault(file, f"line {number}", what, "correct or remove the line")
        else:
            index = int(values[0][:9])
            label = classes[index] if index < len(classes) else index
            objects.append(RawObject(f"line {number}", label, values[1:]))
    return Sheet(file, objects)
