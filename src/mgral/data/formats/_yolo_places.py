"""Where a YOLO data set keeps the images of its splits: data.yaml, darknet's obj.data, or the usual folders."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any

from mgral.core.types import SPLITS
from mgral.data import image_files, locating, text_files
from mgral.data.faults import Findings, shown
from mgral.data.image_files import OutsideError

_SPELLINGS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
_SPLIT_FOLDERS = {name for names in _SPELLINGS.values() for name in names}  # without it a path names another split
_ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")
Place = tuple[str | None, str]


def darknet(root: Path, report: Findings) -> dict[str, Any]:
    """The keys of ``obj.data``, lines ``key = value``; none without the file."""
    if not locating.is_file(root / "obj.data"):
        return {}
    data = {}
    for line in text_files.lines("obj.data", report):
        key, _, value = line.partition("=")
        data[key.strip()] = value.strip()
    found: dict[str, Any] = {split: data[name] for split in SPLITS for name in _SPELLINGS[split] if data.get(name)}
    if data.get("classes"):
        found["nc"] = data["classes"]
    given = data.get("names", "")
    for name in (given, image_files.bare(given)):
        if name and locating.is_file(root / name):
            return {**found, "names": name}
    return found


def places(root: Path, file: str, data: dict[str, Any], report: Findings) -> list[Place]:
    """Splits and the folders or lists that hold their images, below the root."""
    base = _base(root, file, data, report)
    found: list[Place] = []
    for split in SPLITS:
        keys = [name for name in _SPELLINGS[split] if data.get(name)]
        if len({str(data[key]) for key in keys}) > 1:
            what = f"{' and '.join(keys)} both name images of {split}, and they differ"
            report.refuse(file, keys[1], what, "leave one of them")
        key = next(iter(keys), split)
        given = data.get(key) or []
        for place in given if isinstance(given, list) else [given]:
            if not image_files.is_name(place):
                report.refuse(file, split, f"{shown(place)} is no path", "give a folder or a list file")
            located = _located(root, file, base, place, split, report)
            if located is not None:
                found.append((split, located))
    return found or _usual(root, report)


def _lists(root: Path, report: Findings) -> list[Place]:
    """train.txt, val.txt and test.txt at the root, where nothing else tells splits and they list images."""
    found: list[Place] = []
    for split in SPLITS:
        for name in (f"{spelling}.txt" for spelling in _SPELLINGS[split]):
            if locating.is_file(root / name):
                first = next(iter(text_files.text(name, report).split("\n", 1))).strip()
                if image_files.parted(first)[1].lower() in image_files.suffixes():
                    found.append((split, name))
    if "train" not in {split for split, _ in found}:
        return []
    report.note(f"{', '.join(name for _, name in found)} are taken as the lists of the splits; no data file names any")
    return found


def _usual(root: Path, report: Findings) -> list[Place]:
    """The folders of splits where no file names any: images/train, or train/images; else lists, or all of images."""
    for pattern in ("images/{}", "{}/images", "Images/{}"):
        found: list[Place] = [
            (split, pattern.format(name))
            for split in SPLITS
            for spelling in _SPELLINGS[split]
            for name in (spelling, spelling.capitalize(), spelling.upper())
            if locating.is_folder(root / pattern.format(name))
        ]
        if found:
            return found
    if lists := _lists(root, report):
        return lists
    for name in ("images", "Images", "obj_train_data"):
        if locating.is_folder(root / name):
            return [(None, name)]
    what = "neither a data file, nor a folder images, images/train or train/images"
    return report.refuse(".", "", what, "name the data file in dataset.options.data, or check dataset.root")


def _base(root: Path, file: str, data: dict[str, Any], report: Findings) -> str:
    """The folder that ``path`` of the data file names, below the root; empty for the root itself."""
    given: Any = data.get("path")
    if given in (None, "", "."):
        return ""
    if not image_files.is_name(given):
        report.refuse(file, "path", f"{shown(given)} is no path", "give a folder")
    top = os.path.realpath(root)
    for start in (root, (root / file).parent, root.parent):
        path: str = os.path.realpath(start / given)
        if not locating.is_folder(Path(path)):
            continue
        if path == top:
            return ""
        if path.startswith(f"{top}/"):
            return path[len(top) + 1 :]
    if Path(given).is_absolute() and locating.is_folder(given):
        what = f"{shown(given)} is another folder than dataset.root"
        report.refuse(file, "path", what, "set dataset.root to that folder, or remove path")
    report.note(f"{file}: path {shown(given)} does not exist here; its splits are taken from dataset.root")
    return ""


def _located(root: Path, file: str, base: str, given: str, split: str, report: Findings) -> str | None:
    """A folder or list of the data file, below the root; None for a test split that was exported without its folder."""
    place = given
    if given.startswith("/"):
        place = _from_root(root, file, given, report)
    slashed = place.replace("\\", "/")
    starts = [base, PurePosixPath(file).parent.as_posix() if "/" in file else ""]
    for start in dict.fromkeys(starts):
        for name in dict.fromkeys((place, slashed, slashed.removeprefix("../"))):
            if ".." not in name.split("/") and locating.exists(root / start / name):
                return PurePosixPath(start, name).as_posix()
    parts = [part for part in slashed.split("/") if part not in {"..", ".", ""}]
    for cut in range(1, len(parts)):
        if locating.exists(root / base / parts[cut - 1]) or parts[cut - 1].lower() in _SPLIT_FOLDERS:
            break
        if locating.exists(root / base / "/".join(parts[cut:])):
            other = PurePosixPath(base, *parts[cut:]).as_posix()
            report.note(f"{file}: {split} {given} is read as {other}: {'/'.join(parts[:cut])} does not exist")
            return other
    try:
        name = image_files.plain(slashed.removeprefix("../"))
    except OutsideError:
        report.refuse(file, shown(given), "leaves dataset.root", "name a folder below it")
    if split == "test":
        report.note(f"{file}: test names {name}, which does not exist; it is taken as no test split")
        return None
    return report.refuse(
        file, split, f"no images: {name} does not exist", "correct it; it starts from dataset.root or path"
    )


def _from_root(root: Path, file: str, given: str, report: Findings) -> str:
    """An absolute path below the root, from there on."""
    for top in (str(root.absolute()), os.path.realpath(root)):
        for path in (given, os.path.realpath(given)):
            if path == top:
                return "."
            if path.startswith(f"{top}/"):
                return path[len(top) + 1 :]
    return report.refuse(file, shown(given), "leaves dataset.root", "name a folder below it")


def images(root: Path, file: str, place: str, split: str | None, report: Findings) -> list[tuple[str, str]]:
    """Images of a folder or list, below the root, each with the file that names it."""
    finder = locating.finder(report)
    path = root / place
    finder.admit(path, report)
    if locating.is_file(path):
        if path.suffix.lower() in (*_ARCHIVES, *image_files.suffixes()):
            report.refuse(place, "", "is neither a folder nor a list of images", "unpack it, or name its folder")
        return [
            (_entry(root, place, line, report), place)
            for line in text_files.lines(place, report)
            if not _comment(root, line)
        ]
    names = finder.images(path, report)
    if not names:
        report.refuse(place, "", "no images", "check the folder, or take the split out of the data file")
    start = "" if place == "." else f"{place}/"
    return [(f"{start}{name}", f"{start}{name}") for name in names]


def _comment(root: Path, line: str) -> bool:
    return line.startswith("#") and not locating.exists(root / line)


def _entry(root: Path, file: str, line: str, report: Findings) -> str:
    """The image that a line of a list names: from the root on, or from the list's own folder (./ in Ultralytics)."""
    finder = locating.finder(report)
    own = PurePosixPath(file).parent.as_posix()
    for start in dict.fromkeys(("", own if own != "." else "")):
        try:
            name, _ = finder.file(root, line, report, start)
        except (OutsideError, LookupError, ValueError):
            continue
        if os.path.lexists(root / name):
            return name
    return line
