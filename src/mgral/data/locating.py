"""Where files lie: folders searched under one policy for links, and names of annotations led to the files they mean."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import unquote

from mgral.data import image_files, spelling
from mgral.data.faults import Findings
from mgral.data.image_files import OutsideError

__all__ = ["Finder", "Links", "OutsideError", "finder"]

SKIPPED = frozenset({"@eadir", "__macosx", "#recycle", "$recycle.bin", "system volume information", "lost+found"})
"""Folders of file systems and servers, in lower case; like hidden ones they hold nothing of a data set."""

_MASKS = ("mask", "seg", "label", "annot", "thumb", "depth", "preview")
_BESIDE = frozenset(
    {".txt", ".json", ".xml", ".yaml", ".yml", ".csv", ".md", ".names", ".data", ".cache", ".db", ".ini"}
)
"""Files that usually lie beside images and hold none; all others that are no images are counted as passed over."""

_TEXTS = ("readme", "license")  # in lower case, how other files begin that usually lie beside images

_HIDDEN = frozenset({".git", ".dvc", ".svn", ".hg", ".cache", ".venv", ".ipynb_checkpoints", ".idea", ".vscode"})
"""Hidden folders that hold no data of their own, and are not worth a word."""

_MANY = 500  # names of one folder, after which reading the whole folder is the shorter way

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
        self._asked: Counter[str] = Counter()
        self._listed: dict[str, tuple[frozenset[str], frozenset[str]]] = {}  # all names of a folder, and those of links

    def resolve(self, path: str | Path) -> str:
        """The file itself, links resolved. Raises OutsideError if it lies outside the data set and must not."""
        folder, name = os.path.split(path)
        real = self._folders.get(folder)
        if real is None:
            real = self._folders[folder] = os.path.realpath(folder)
        found = f"{real}/{name}"
        if self._is_link(real, name):
            self.followed.add(found)
            found = os.path.realpath(found)
        if self.policy == "refuse" and not self.holds(found):
            raise OutsideError(str(path))
        return found

    def there(self, folder: str, name: str) -> bool:
        """Whether a folder holds a file or link at a path below it; as ``os.path.lexists``."""
        path = f"{folder}/{name}"
        start, bare = os.path.split(path)
        listed = self._listed.get(self._folders.get(start, ""))
        return (listed is not None and bare in listed[0]) or os.path.lexists(path)

    def _is_link(self, folder: str, name: str) -> bool:
        """Whether a name is a link. After many questions about one folder its entries are read at once."""
        listed = self._listed.get(folder)
        if listed is not None and name in listed[0]:
            return name in listed[1]
        self._asked[folder] += 1
        if self._asked[folder] == _MANY:
            with suppress(OSError):  # it cannot be listed
                entries = list(os.scandir(folder))
                links = frozenset(entry.name for entry in entries if entry.is_symlink())
                self._listed[folder] = frozenset(entry.name for entry in entries), links
        return os.path.islink(f"{folder}/{name}")  # noqa: PTH114 (of every image: a Path is ten times as slow)

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
        self._told: set[str] = set()

    def walk(self, folder: Path, report: Findings, strict: bool = True) -> Iterator[tuple[str, str]]:
        """Every file below a folder: its path from there with forward slashes, and its name.

        Hidden files and folders are passed over, and those of file servers; hidden images are counted. A linked folder
        whose files are found anyway is not searched twice.

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
                name = f"{prefix}{entry.name}"
                if entry.name.startswith(".") or entry.name.lower() in SKIPPED:
                    self._count_hidden(entry, self._from_root(folder, name), report)
                    continue
                if _leads_to_folder(entry):
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

    def _count_hidden(self, entry: os.DirEntry[str], name: str, report: Findings) -> None:
        """Count a hidden image, and a hidden folder that may hold some, once each."""
        if entry.name.startswith("._") or entry.name.lower() in SKIPPED | _HIDDEN or not self._first(entry.path):
            return
        if _leads_to_folder(entry):
            report.count("hidden folders are passed over", name)
        elif image_files.parted(entry.name)[1].lower() in image_files.suffixes():
            report.count("hidden images are passed over", name)

    def _first(self, path: str) -> bool:
        """Whether nothing was counted for a path before: a folder may be searched several times."""
        new = path not in self._told
        self._told.add(path)
        return new

    def images(self, folder: Path, report: Findings, strict: bool = True) -> list[str]:
        """All images at any depth below a folder, by their path from there, sorted; what is passed over is counted."""
        found = []
        for name, bare in self.walk(folder, report, strict):
            suffix = image_files.parted(bare)[1].lower()
            if suffix in image_files.suffixes():
                path = f"{folder}/{name}"
                if strict and Path(path).is_symlink():
                    self._admitted(path, self._from_root(folder, name), report)
                found.append(name)
            elif suffix not in _BESIDE and not bare.lower().startswith(_TEXTS) and self._first(f"{folder}/{name}"):
                report.passed_over[suffix or "without suffix"] += 1
        for name in found:
            part = next((part for part in name.lower().split("/")[:-1] if part.startswith(_MASKS)), None)
            if part and self._first(f"{folder}/{name}"):
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
        an absolute path below the image root, one that climbs with .. and comes down through the image root's folder
        (Label Studio), back slashes, %20 for a blank, and leading folders that do not exist.
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
        given = spelling.plain_path(given)
        if self.match == "name":
            bare = image_files.bare(given)
            found = self.called(image_root, bare, report) or self.called(
                image_root, spelling.without_prefix(bare), report
            )
            if len(found) > 1:
                raise LookupError(f"{len(found)} files are called {bare}: {found[0]}, {found[1]}")
            name = found[0] if found else bare
            return name, self.links.resolve(f"{image_root}/{name}")
        name = self._relative(image_root, given, report)
        if base and name == given:
            name = f"{base}/{name}"
        name = image_files.plain(name)
        path = f"{image_root}/{name}"
        if not self.links.there(str(image_root), name):
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

    def _relative(self, image_root: Path, given: str, report: Findings) -> str:
        """A path that leads to a file below the image root from elsewhere, from there on; any other name as it is."""
        if given.startswith("../"):
            return _after_climbing(image_root, given, report)
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
        for other, why in spelling.readings(name):
            if other != name and _inside(other) and os.path.lexists(f"{image_root}/{other}"):
                report.count(why, name)
                return other
        slashed = name.replace("\\", "/")
        for spelt in dict.fromkeys((name, slashed, unquote(slashed))):
            parts = spelt.split("/")
            start = len(PurePosixPath(base).parts)
            for cut in range(start + 1, len(parts)):
                if os.path.lexists("/".join([str(image_root), *parts[:cut]])):
                    break  # that folder exists: the file in it is missing
                other = "/".join([*parts[:start], *parts[cut:]])
                if _inside(other) and is_file(Path(f"{image_root}/{other}")):
                    report.count(f"file names read without their leading {'/'.join(parts[start:cut])}/", name)
                    return other
            bare = spelling.without_prefix(parts[-1])
            for other in ("/".join([*parts[:-1], bare]), "/".join([*parts[:start], bare])):
                if bare != parts[-1] and _inside(other) and is_file(f"{image_root}/{other}"):
                    report.count("file names read without the prefix of Label Studio", name)
                    return other
        return None

    def called(self, folder: Path, name: str, report: Findings) -> list[str]:
        """Images below a folder by their bare name, or, where none is, by that name in another case or suffix."""
        index = self._bare.get(folder)
        if index is None:
            index = self._bare[folder] = {}
            for path, bare in self.walk(folder, report, strict=False) if is_folder(folder) else ():
                if image_files.parted(bare)[1].lower() in image_files.suffixes():
                    stem = spelling.folded(image_files.parted(bare)[0])
                    for key in (bare, f"?{spelling.folded(bare)}", f"*{stem}", f"+{spelling.source_stem(stem)}"):
                        index.setdefault(key, []).append(path)
        return index.get(name, [])

    def hint(self, folder: Path, name: str, report: Findings) -> str:
        """What a missing file may be: a file of the same bare name elsewhere, in other case or with another suffix."""
        if os.path.islink(f"{folder}/{name}"):  # noqa: PTH114 (the path is text)
            return ": it is a link to a file that is not here; fetch that (git annex get, dvc pull)"
        bare = image_files.bare(unquote(name))
        same = self.called(folder, bare, report)
        if same:
            return f": '{same[0]}' exists; set dataset.match: name if that is it"
        stem = spelling.folded(image_files.parted(bare)[0])
        for key, how in (
            (f"?{spelling.folded(bare)}", "in other case"),
            (f"*{stem}", "with another suffix"),
            (f"+{spelling.source_stem(stem)}", "with the prefix of Label Studio or the suffix of Roboflow"),
        ):
            if found := self._bare[folder].get(key):
                return f": '{found[0]}' exists, {how}"
        elsewhere = self.called(self.root, bare, report)
        if elsewhere:
            return f": '{elsewhere[0]}' exists below dataset.root; set dataset.options.images to its folder"
        return ""

    def others(self, suffix: str, report: Findings) -> list[str]:
        """Files of a suffix below the root of the data set, for a hint at where they may lie."""
        return sorted(
            name for name, bare in self.walk(self.root, report, strict=False) if bare.lower().endswith(suffix)
        )


def _after_climbing(image_root: Path, given: str, report: Findings) -> str:
    """Of ``../data/set/a/1.jpg`` the part below the image root, if that is ``…/data/set`` and has one such file."""
    down = given.split("/")
    while down and down[0] == "..":
        down.pop(0)
    tops = {image_root.absolute().parts[-2:], Path(os.path.realpath(image_root)).parts[-2:]}
    rests = ["/".join(down[cut:]) for cut in range(2, len(down)) if tuple(down[cut - 2 : cut]) in tops]
    found = [rest for rest in rests if _inside(rest) and is_file(Path(f"{image_root}/{rest}"))]
    if len(found) != 1:
        return given
    report.count("file names that climb with .. are read from the folder of the image root on", given)
    return found[0]


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of a folder is one itself, links followed."""
    try:
        return entry.is_dir()
    except OSError:  # a ring of links, or one that must not be followed
        return False


def _inside(name: str) -> bool:
    try:
        return bool(image_files.plain(name))
    except OutsideError:
        return False
