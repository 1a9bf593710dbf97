"""YOLO: one text file per image, a line ``class cx cy width height`` per object, as shares of the image's sides.

Images lie below a folder ``images``, their labels at the same place below ``labels``, or beside the images. Polygons
and oriented boxes are taken as their upright hulls. Splits and class names come from a ``data.yaml`` (entries
``train``, ``val``, ``test``: folders, or lists of image paths, from its ``path`` on, or from dataset.root), from
darknet's ``obj.data`` and ``obj.names`` (CVAT's YOLO 1.1), or else from the folders ``images/train`` or
``train/images`` and a ``classes.txt``.

An image without a label file shows no object, and such images are counted. But where no image of a whole folder has
one, the import stops: the labels lie elsewhere, or nobody has annotated these images. ``missing`` says what is right.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field

from mgral.config.base import Settings
from mgral.data import doubts, image_files, locating, text_files
from mgral.data import yolo_labels as labels
from mgral.data.faults import Findings, shown
from mgral.data.formats import _yolo_places as places
from mgral.data.raw import RawImage, Sheet, Source


class Options(Settings):
    """Where names and splits are below dataset.root."""

    data: str = Field(default="data.yaml", description="file of splits and class names, if it exists")
    classes: list[str] | None = Field(
        default=None, description="class names in order; null: as in the data file, or the lines of classes.txt"
    )
    missing: Literal["empty", "unlabelled"] | None = Field(
        default=None,
        description="what an image without label file is: empty (it shows no object), or unlabelled (nobody has "
        "annotated it; it waits in the pool); null: empty, but a folder without any label file is refused",
    )


def read(root: Path, options: Options, report: Findings) -> Source:
    """Read split lists and labels. Raises MgralError for a fault."""
    data_file, data = _data(root, options.data, report)
    found = labels.Labels(report)
    classes = options.classes or _classes(root, options, data_file, data, report)
    points = _keypoints(data_file, data, report)
    images = [
        RawImage(_stem(name), file, name, split)
        for split, place in places.places(root, data_file, data, report)
        for name, file in places.images(root, data_file, place, split, report)
    ]
    label_files = {image.key: found.of(str(image.file_name), report) for image in images}
    named = {PurePosixPath(image.file_name).as_posix() for image in images}
    unlisted = [name for name in locating.finder(report).images(root, report) if name not in named]
    unused = {name: file for name in unlisted if (file := found.of(name, report)) is not None}
    if options.missing is None:
        _refuse_without_any(images, label_files, found, report)
    _check_strays([str(image.file_name) for image in images if label_files[image.key] is None], options, found, report)
    for image in images:
        if label_files[image.key] is None:
            report.count(_MISSING[options.missing or "empty"], str(image.file_name))
    sheets: dict[Any, Sheet | None] = {
        key: labels.sheet(file, classes, report, points) for key, file in label_files.items() if file is not None
    }
    sheets |= {file: labels.sheet(file, classes, report, points) for file in found.orphans()}
    return Source(
        image_root=root,
        images=[image for image in images if sheets.get(image.key, True)],
        sheets={key: sheet for key, sheet in sheets.items() if sheet},
        layout="centre",
        classes=classes,
        without_sheet=options.missing or "empty",
        unlisted=unlisted,
        unused=unused,
        classes_hint=_hint(root, options.data),
    )


_MISSING = {
    "empty": "images have no label file and count as images without objects; set dataset.options.missing: unlabelled "
    "if nobody has annotated them",
    "unlabelled": "images have no label file and wait in the pool, unannotated",
}


def _refuse_without_any(
    images: list[RawImage], label_files: dict[Any, str | None], found: labels.Labels, report: Findings
) -> None:
    """Refuse a folder, or a split, in which no image has a label file."""
    groups: dict[tuple[str, str], list[RawImage]] = {}
    for image in images:
        groups.setdefault(("folder", str(PurePosixPath(image.file_name).parent)), []).append(image)
        if image.split is not None:
            groups.setdefault(("split", str(image.split)), []).append(image)
    for (_, name), members in groups.items():
        if any(label_files[image.key] is not None for image in members):
            continue
        names = [str(image.file_name) for image in members]
        if any(name.startswith("/") or ".." in name for name in names):
            continue  # such names are refused for what they are
        expected = image_files.parted(labels.swapped(names[0]))[0]
        what = f"none of its {len(names)} images has a label file, such as {expected}.txt{found.strays(names)}"
        remedy = (
            "move the labels there, or set dataset.options.missing: unlabelled (not annotated) or empty (no objects)"
        )
        report.refuse(name, "", what, remedy)


def _check_strays(without: list[str], options: Options, found: labels.Labels, report: Findings) -> None:
    """Refuse images whose label file seems to lie where it is not looked for; say so if ``missing`` was chosen."""
    where = found.strays(without) if without else ""
    if where and options.missing is None:
        remedy = "move them to the other labels, or set dataset.options.missing"
        report.refuse(without[0], "", f"has no label file{where}", remedy)
    if where:
        report.note(f"images without label file{where}: they are not read")


def _classes(root: Path, options: Options, data_file: str, data: dict[str, Any], report: Findings) -> list[str]:
    """Class names of the data file and of classes.txt. Raises MgralError if they are there twice and differ."""
    names = _names(data_file, data, report)
    listed, file = _listed_classes(root, report)
    if names and listed and names != listed:
        what = f"its class names differ from those of {data_file}"
        report.refuse(file, "", what, "remove one of them, or set dataset.options.classes")
    if names and "data" not in options.model_fields_set:
        for other in sorted(path.name for path in root.iterdir() if path.suffix.lower() in {".yaml", ".yml"}):
            content = text_files.yaml(other, report) if other != data_file and locating.is_file(root / other) else {}
            if isinstance(content, dict) and content.get("names") and _names(other, content, report) != names:
                what = f"its class names differ from those of {data_file}"
                report.refuse(other, "", what, "remove one of them, or name the right one in dataset.options.data")
    return names or listed


def _data(root: Path, file: str, report: Findings) -> tuple[str, dict[str, Any]]:
    """The data file and its keys; darknet's obj.data where there is no other."""
    if not locating.is_file(root / file):
        return "obj.data" if locating.is_file(root / "obj.data") else file, places.darknet(root, report)
    data = text_files.yaml(file, report)
    if not isinstance(data, dict):
        report.refuse(file, "", "holds no keys", "give names, and train, val, test")
    return file, data


def _names(file: str, data: dict[str, Any], report: Findings) -> list[str]:
    """Class names: a list, or numbers 0 … C-1 with names."""
    names = data.get("names") or []
    if isinstance(names, str) and locating.is_file(report.root / names):
        names = text_files.numbered(names, report)
    if isinstance(names, dict):
        keys = {int(key) if isinstance(key, str) and key.isdecimal() and len(key) < 9 else key: key for key in names}
        if len(keys) == len(names) and set(keys) == set(range(len(names))):
            names = [names[keys[i]] for i in range(len(names))]
    if not isinstance(names, list):
        report.refuse(file, "names", "is no list and not numbered from 0", "list the class names")
    count = data.get("nc", len(names))
    if isinstance(count, str) and count.strip().isdecimal() and len(count) < 9:
        count = int(count)
    if names and count != len(names):
        report.refuse(file, "nc", f"says {shown(data['nc'])}, names has {len(names)}", "correct one of them")
    return [str(name) if type(name) is int else name.strip() if isinstance(name, str) else name for name in names]


def _keypoints(file: str, data: dict[str, Any], report: Findings) -> int:
    """Numbers of the key points that follow each box, by ``kpt_shape``: points, and 2 or 3 numbers each; 0: none."""
    shape = data.get("kpt_shape")
    if shape is None:
        return 0
    if not isinstance(shape, list) or len(shape) != 2 or not all(type(n) is int and 0 < n < 1000 for n in shape):
        report.refuse(file, "kpt_shape", f"{shown(shape)} is not a number of points and of their values", "correct it")
    return int(shape[0] * shape[1])


def _listed_classes(root: Path, report: Findings) -> tuple[list[str], str]:
    """The lines of classes.txt or obj.names, at the root or beside the labels, as labelImg writes it; and which."""
    walked = locating.finder(report).walk(root, report)
    files = sorted(
        (name for name, bare in walked if bare.lower() in {"classes.txt", "obj.names"}), key=lambda n: n.count("/")
    )
    found = {file: text_files.numbered(file, report) for file in files}
    if files:
        doubts.class_names(found[files[0]], files[0], report)
    for file in files[1:]:
        if found[file] != found[files[0]]:
            report.refuse(file, "", f"class names differ from those of {files[0]}", "make them the same")
    return (found[files[0]], files[0]) if files else ([], "")


def _hint(root: Path, file: str) -> str:
    """The remedy where no class names were found: other files that look like a data file."""
    if locating.exists(root / file):
        return f"give {file} the key names, a list of class names, or set dataset.options.classes"
    others = sorted(path.name for path in root.iterdir() if path.suffix in {".yaml", ".yml"} and locating.is_file(path))
    return f"set dataset.options.data: {others[0]}, if that is the data file" if others else ""


def _stem(name: str | PurePosixPath) -> str:
    """The path without the suffix."""
    path = PurePosixPath(name)
    return (path.parent / path.stem).as_posix()
