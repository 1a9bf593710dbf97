"""Where files lie: folders searched under one policy for links, and names of annotations led to the files they mean."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import unquote

from mgral.data import image_files
from mgral.data.faults import Findings
from mgral.data.image_files import OutsideError

__all__ = ["Finder", "Links", "OutsideError", "finder"]

SKIPPED = frozenset({"@eadir", "__macosx", "#recycle", "$recycle.bin", "system volume information", "lost+found"})
"""Folders of file systems and servers, in lower case; like hidden ones they hold nothing of a data set."""

_MASKS = ("mask", "seg", "label", "annot", "thumb", "depth", "preview")
_LOOKS_LIKE_DATA = image_files.NOT_READ | {".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".mp4", ".avi", ".mov", ".mkv"}

LinkPolicy = Literal["refuse", "follow"]


def exists(path: str | Path) -> bool:
    """Whether there is a file or folder, links followed; no for a name that no file can have."""
    return _mode(path) is not None


def is_file(path: str | Path) -> bool:
    """Whether there is a regular file, links followed."""
    mode = _mode(path)
    return mode is not None and stat.S_ISREG(mode)


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder, links followed."""
    mode = _mode(path)
    return mode is not None and stat.S_ISDIR(mode)


def _mode(path: str | Path) -> int | None:
    try:
        return Path(path).stat().st_mode
    except (OSError, ValueError):  # none, a ring of links, a name that is too long or holds a NUL
        return None


class Links:
    """The one policy for symbolic links: those within the data set are followed, others only if that is asked for.

    Attributes:
        followed: links that were followed.
    """

    def __init__(self, root: Path, policy: LinkPolicy = "refuse") -> None:
        self.root = root
        self.policy = policy
        self.followed: set[str] = set()
        self._boundary = os.path.realpath(root)
        self._folders: dict[str, str] = {}

    def resolve(self, path: str | Path) -> str:
        """The file itself, links resolved. Raises OutsideError if it lies outside the data set and must not."""
        folder, name = os.path.split(path)
        real = self._folders.get(folder)
        if real is None:
            real = self._folders[folder] = os.path.realpath(folder)
        found = f"{real}/{name}"
        if os.path.islink(found):  # noqa: PTH114 (of every image: a Path is ten times as slow)
            self.followed.add(found)
            found = os.path.realpath(found)
        if self.policy == "refuse" and not self.holds(found):
            raise OutsideError(str(path))
        return found

    def holds(self, real: str) -> bool:
        """Whether a path without links lies in the data set."""
        return real == self._boundary or real.startswith(self._boundary.rstrip("/") + "/")


def finder(report: Findings) -> Finder:
    """The one finder of an import."""
    if report.finder is None:
        report.finder = Finder(report.root, report.links, report.match)
    made: Finder = report.finder
    return made


class Finder:
    """Searches the folders of one data set, and leads names to files.

    Args:
        root: of the data set.
        links: whether links may leave it.
        match: how names lead to files: ``path``, or ``name`` by the bare file name alone.
    """

    def __init__(self, root: Path, links: LinkPolicy = "refuse", match: Literal["path", "name"] = "path") -> None:
        self.root = root
        self.links = Links(root, links)
        self.match = match
        self._bare: dict[Path, dict[str, list[str]]] = {}

    def walk(self, folder: Path, report: Findings, strict: bool = True) -> Iterator[tuple[str, str]]:
        """Every file below a folder: its path from there with forward slashes, and its name.

        Hidden files and folders are passed over, and those of file servers. A linked folder whose files are found
        anyway is not searched twice.

        Raises:
            MgralError: a link leaves the data set, and ``dataset.links`` is ``refuse``; not ``strict``: a note instead.
        """
        top = os.path.realpath(folder)
        waiting = [("", top)]
        seen = {top}
        while waiting:
            prefix, real = waiting.pop()
            try:
                entries = sorted(os.scandir(real), key=lambda entry: entry.name)
            except NotADirectoryError:
                continue
            except OSError as error:
                report.refuse(
                    self._from_root(folder, prefix), "", f"cannot be read ({error.strerror})", "make it readable"
                )
            for entry in entries:
                if entry.name.startswith(".") or entry.name.lower() in SKIPPED:
                    continue
                name = f"{prefix}{entry.name}"
                if is_folder(entry.path):
                    target = entry.path
                    if entry.is_symlink():
                        if not strict and not self._may_follow(entry.path):
                            report.note(f"{self._from_root(folder, name)} is a link out of the data set, not searched")
                            continue
                        target = self._admitted(entry.path, self._from_root(folder, name), report)
                        if target in seen or f"{target}/".startswith(f"{top}/"):
                            continue
                    seen.add(target)
                    waiting.append((f"{name}/", target))
                else:
                    yield name, entry.name

    def images(self, folder: Path, report: Findings, strict: bool = True) -> list[str]:
        """All images at any depth below a folder, by their path from there, sorted; what is passed over is counted."""
        found = []
        for name, bare in self.walk(folder, report, strict):
            suffix = image_files.parted(bare)[1].lower()
            if suffix in image_files.SUFFIXES:
                path = f"{folder}/{name}"
                if strict and Path(path).is_symlink():
                    self._admitted(path, self._from_root(folder, name), report)
                found.append(name)
            elif suffix in _LOOKS_LIKE_DATA:
                report.passed_over[suffix] += 1
        for name in found:
            part = next((part for part in name.lower().split("/")[:-1] if part.startswith(_MASKS)), None)
            if part:
                report.count(f"images lie in a folder called {part}; move them if they are no photographs", name)
        return sorted(found, key=lambda name: name.split("/"))

    def admit(self, path: Path, report: Findings) -> str:
        """The file itself. Raises MgralError if a link leads out of the data set and must not."""
        return self._admitted(str(path), self._from_root(path, ""), report)

    def _may_follow(self, path: str) -> bool:
        try:
            return bool(self.links.resolve(path))
        except OutsideError:
            return False

    def _admitted(self, path: str, file: str, report: Findings) -> str:
        try:
            return self.links.resolve(path)
        except OutsideError:
            what = "a link that leaves dataset.root"
            report.refuse(
                file, "", what, "set dataset.links: follow to follow links, or put the files themselves there"
            )

    def _from_root(self, folder: Path, name: str) -> str:
        path = folder / name
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.as_posix()

    def file(self, image_root: Path, given: str, report: Findings, base: str = "") -> tuple[str, str]:
        """The file that a name means.

        Names are taken as they are given. Only where no such file exists, the spellings of other systems are tried:
        an absolute path below the image root, back slashes, %20 for a blank, and leading folders that do not exist.
        Each such reading is counted.

        Args:
            image_root: folder that names start from.
            given: the name.
            report: takes the counts.
            base: a folder below the image root that the name starts from.

        Returns:
            Its path below the image root in plainest form, and the file, links resolved; it may not exist.

        Raises:
            OutsideError: it leaves the image root.
            LookupError: several files have that bare name (``match: name``); says which.
        """
        if self.match == "name":
            found = self.called(image_root, image_files.bare(given), report)
            if len(found) > 1:
                raise LookupError(f"{len(found)} files are called {image_files.bare(given)}: {found[0]}, {found[1]}")
            name = found[0] if found else image_files.bare(given)
            return name, self.links.resolve(f"{image_root}/{name}")
        name = self._relative(image_root, given)
        if base and name == given:
            name = f"{base}/{name}"
        name = image_files.plain(name)
        path = f"{image_root}/{name}"
        if not os.path.lexists(path):
            other = self._other_spelling(image_root, name, base, report)
            if other is not None:
                name, path = other, f"{image_root}/{other}"
        return name, self.links.resolve(path)

    def leads_out(self, image_root: Path, name: str, base: str = "") -> bool:
        """Whether a name that leaves the image root does so through a link."""
        try:
            return os.path.lexists(f"{image_root}/{image_files.plain(f'{base}/{name}' if base else name)}")
        except OutsideError:
            return False

    def _relative(self, image_root: Path, given: str) -> str:
        """An absolute path below the image root, from there on; any other name as it is."""
        if not given.startswith("/"):
            return given
        for top in (str(image_root.absolute()), os.path.realpath(image_root)):
            if given.startswith(f"{top}/"):
                return given[len(top) + 1 :]
        folder, name = os.path.split(given)
        real = f"{os.path.realpath(folder)}/{name}"
        top = os.path.realpath(image_root)
        return real[len(top) + 1 :] if real.startswith(f"{top}/") else given

    def _other_spelling(self, image_root: Path, name: str, base: str, report: Findings) -> str | None:
        slashed, plain = name.replace("\\", "/"), unquote(name)
        for other, why in (
            (slashed, "file names read with / for \\"),
            (plain, "file names read with %20 and the like for what they stand for"),
            (unquote(slashed), "file names read with / for \\ and %20 for a blank"),
        ):
            if other != name and _inside(other) and os.path.lexists(f"{image_root}/{other}"):
                report.count(why, name)
                return other
        for spelling in dict.fromkeys((name, slashed, unquote(slashed))):
            parts = spelling.split("/")
            start = len(PurePosixPath(base).parts)
            for cut in range(start + 1, len(parts)):
                if os.path.lexists("/".join([str(image_root), *parts[:cut]])):
                    break  # that folder exists: the file in it is missing
                other = "/".join([*parts[:start], *parts[cut:]])
                if _inside(other) and is_file(Path(f"{image_root}/{other}")):
                    report.count(f"file names read without their leading {'/'.join(parts[start:cut])}/", name)
                    return other
        return None

    def called(self, folder: Path, name: str, report: Findings) -> list[str]:
        """Images below a folder by their bare name, or, where none is, by that name in another case or suffix."""
        index = self._bare.get(folder)
        if index is None:
            index = self._bare[folder] = {}
            for path, bare in self.walk(folder, report, strict=False) if is_folder(folder) else ():
                if image_files.parted(bare)[1].lower() in image_files.SUFFIXES:
                    for key in (bare, f"?{bare.lower()}", f"*{image_files.parted(bare)[0].lower()}"):
                        index.setdefault(key, []).append(path)
        return index.get(name, [])

    def hint(self, folder: Path, name: str, report: Findings) -> str:
        """What a missing file may be: a file of the same bare name elsewhere, in other case or with another suffix."""
        bare = image_files.bare(unquote(name))
        same = self.called(folder, bare, report)
        if same:
            return f": '{same[0]}' exists; set dataset.match: name if that is it"
        if cased := self._bare[folder].get(f"?{bare.lower()}"):
            return f": '{cased[0]}' exists, in other case"
        if other := self._bare[folder].get(f"*{image_files.parted(bare)[0].lower()}"):
            return f": '{other[0]}' exists, with another suffix"
        return ""


def _inside(name: str) -> bool:
    try:
        return bool(image_files.plain(name))
    except OutsideError:
        return False
