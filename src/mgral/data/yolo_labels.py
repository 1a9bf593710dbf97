"""Label files of YOLO data sets: which belongs to which image, and what their lines say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from mgral.core.files import read_text
from mgral.data import image_files, locating, spelling
from mgral.data.box_validation import number
from mgral.data.faults import Findings, shown
from mgral.data.raw import RawObject, Sheet, hull

_LISTS = frozenset({"classes.txt", "obj.names", "train.txt", "val.txt", "valid.txt", "test.txt", "readme.txt"})


class Labels:
    """The label files below the root of a data set.

    A label file is looked for in the folder ``labels`` that stands for the image's ``images``, then beside the image:
    with the image's stem and ``.txt``, or its whole name and ``.txt``. Case and Unicode form make no difference.

    Attributes:
        names: all text files below the root that may be label files.
    """

    def __init__(self, report: Findings) -> None:
        finder = locating.finder(report)
        walked = finder.walk(report.root, report)
        self.names = {n for n, bare in walked if bare.lower().endswith(".txt") and bare.lower() not in _LISTS}
        self._folded: dict[str, list[str]] = {}
        for name in sorted(self.names):
            self._folded.setdefault(spelling.folded(name), []).append(name)
        self.used: set[str] = set()

    def of(self, image: str, report: Findings) -> str | None:
        """The label file of an image; None if there is none. Raises MgralError if two files contradict each other."""
        found = []
        for place in dict.fromkeys((swapped(image), image)):
            stem = image_files.parted(place)[0]
            for name in (f"{stem}.txt", f"{place}.txt"):
                if name in self.names:
                    found.append(name)
                elif len(folded := self._folded.get(spelling.folded(name), [])) == 1:
                    found.append(folded[0])
        found = list(dict.fromkeys(found))
        self.used.update(found)
        if len(found) > 1:
            contents = {(report.root / name).read_bytes() for name in found if locating.is_file(report.root / name)}
            if len(contents) > 1:
                report.refuse(found[1], "", f"another label file for the image of {found[0]}", "leave one of them")
        return found[0] if found else None

    def orphans(self) -> list[str]:
        """Label files beside those of images that belong to no image."""
        folders = {PurePosixPath(name).parent for name in self.used}
        return sorted(
            name
            for name in self.names - self.used
            if PurePosixPath(name).parent in folders and _is_label_folder(PurePosixPath(name).parent)
        )

    def strays(self, images: Sequence[str]) -> str:
        """Where label files of these images may lie: text files of the same stems; empty if there are none."""
        stems = {PurePosixPath(image).stem for image in images}
        same = [name for name in sorted(self.names - self.used) if PurePosixPath(name).stem in stems]
        if not same:
            return ""
        return f": {len(same)} text files of the same names lie in {PurePosixPath(same[0]).parent}/"


def _is_label_folder(folder: PurePosixPath) -> bool:
    return any(part.lower() == "labels" for part in folder.parts)


def swapped(image: str) -> str:
    """The path with its last folder ``images`` (in any case) replaced by ``labels``."""
    parts = list(PurePosixPath(image).parts)
    for i in reversed(range(len(parts) - 1)):
        if parts[i].lower() == "images":
            parts[i] = "labels"
            break
    return PurePosixPath(*parts).as_posix()


def sheet(file: str, classes: list[str], report: Findings, points: int = 0) -> Sheet | None:
    """One label file; None if it is no text and was left out with its image.

    Args:
        file: below the root.
        classes: names by number.
        report: takes the faults.
        points: numbers of key points after each box; 0 if there are none, and more numbers than four are a polygon.
    """
    try:
        locating.finder(report).admit(report.root / file, report)
        text = read_text(report.root / file)
    except UnicodeDecodeError:
        report.fault(file, "", "not UTF-8 text", "save it as UTF-8")
        return None
    except OSError as error:
        report.fault(file, "", f"cannot be read ({error.strerror})", "make it a readable file")
        return None
    objects = []
    for place, line in enumerate(text.splitlines(), start=1):
        values = line.split()
        if points and len(values) == 5 + points:
            report.count("objects have key points, which are not read; their boxes are", f"{file}: line {place}")
            values = values[:5]
        elif points and len(values) > 5:
            what = f"{len(values)} values in place of {5 + points} (kpt_shape of the data file)"
            objects.append(RawObject(f"line {place}", values[0], [], fault=what))
            continue
        if values:
            objects.append(_object(f"line {place}", values, classes, file, report))
    return Sheet(file, objects)


def _object(id: str, values: list[str], classes: list[str], file: str, report: Findings) -> RawObject:
    label: object = values[0]
    number_of = index(values[0])
    numbers: list[object] = list(values[1:])
    fault = None
    if len(values) != 5 and not (len(values) >= 7 and len(values) % 2):
        fault = f"{len(values)} values in place of 5 (class cx cy width height)"
    elif number_of is None:
        fault = f"class {shown(values[0])} is not a whole number from 0"
    else:
        label = classes[number_of] if number_of < len(classes) else number_of
        if len(values) > 5:  # class x y x y x y …: a polygon, or the corners of an oriented box
            points = [number(value) for value in values[1:]]
            if None not in points:
                x, y, w, h = hull([value for value in points if value is not None])
                numbers = [x + w / 2, y + h / 2, w, h]
                report.count("polygons or oriented boxes are taken as their upright hulls", f"{file}: {id}")
    return RawObject(id, label, numbers, fault=fault)


def index(text: str) -> int | None:
    """A class number, also written as 0.0; None if it is none."""
    if text.isascii() and text.isdigit():
        return int(text[:9])
    value = number(text)
    return int(value) if value is not None and 0 <= value < 1e9 and value == int(value) else None
