"""Which image an answer is about. By name alone two folders' ``1.jpg`` would be mixed up, so that comes last."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol
from urllib.parse import unquote

from mgral.annotation.exchange import Answer, Batch, Returned
from mgral.annotation.times import Moment, moment
from mgral.core.errors import MgralError

_UPLOAD = re.compile(r"^[0-9a-f]{8}(?:-|__)")  # Label Studio puts this before the name of an uploaded file
_LABELS = re.compile(r"\.(txt|xml)$", re.IGNORECASE)  # files of YOLO and VOC, which name no image file
EXPORTED = re.compile(r"^(\d{6,})_([0-9a-f]{8})(?:\.[^.]*)?$")  # BatchImage.export_name


class Known(Protocol):
    """An image that answers may be about."""

    @property
    def id(self) -> int:
        """Of the image."""
        ...

    @property
    def file_name(self) -> str:
        """Path below the image root."""
        ...

    @property
    def sha256(self) -> str:
        """Of the file, in hexadecimal digits."""
        ...


class Images:
    """The images of a batch, and others that are registered, by everything that they are found by.

    Args:
        images: of the batch, and registered ones; their ids differ.
    """

    def __init__(self, images: Iterable[Known]) -> None:
        self.by_id: dict[int, Known] = {}
        self._by_sha: dict[str, set[int]] = {}
        self._by_path: dict[str, set[int]] = {}
        self._by_base: dict[str, set[int]] = {}
        for image in images:
            self.by_id.setdefault(image.id, image)
            self._by_sha.setdefault(image.sha256, set()).add(image.id)
            for path in {image.file_name, _stem(image.file_name)}:
                self._by_path.setdefault(path, set()).add(image.id)
            for base in _bases(image.file_name):
                self._by_base.setdefault(base, set()).add(image.id)

    def find(self, answer: Answer, batch: str) -> int:
        """Id of the image that an answer is about.

        By id and sha256 of the task; else by the sha256 of a returned image; else by the name that was exported;
        else by the whole path, as far as the tool kept it; else by the file's name.

        Raises:
            MgralError: of another batch, about no known image, a file with other content, or one of several.
        """
        if answer.batch is not None and answer.batch != batch:
            raise MgralError(
                f"{answer.name}: of batch {answer.batch}, not {batch}; return it to its own experiment and cycle; if "
                "that is closed, give it as a correction, with --corrects CYCLE"
            )
        if answer.id is not None:
            return self._checked(answer, answer.id, answer.sha256 or "")
        if answer.sha256 is not None and answer.sha256 in self._by_sha:
            return self._only(answer, self._by_sha[answer.sha256])
        name = unquote(answer.name).replace("\\", "/")
        exported = EXPORTED.match(name.rsplit("/", 1)[-1])
        if exported:
            return self._checked(answer, int(exported[1]), exported[2])
        parts = name.split("/")
        for first in range(len(parts)):  # a tool may put folders before it: obj_train_data/…
            path = "/".join(parts[first:]).removeprefix("?d=")
            found = self._by_path.get(path) or self._by_path.get(_LABELS.sub("", path), set())
            if found:
                base = set().union(*(self._by_base.get(one, set()) for one in _bases(name)))
                return self._only(answer, found if first < len(parts) - 1 else found | base)
        return self._only(answer, set().union(*(self._by_base.get(one, set()) for one in _bases(name))))

    def _checked(self, answer: Answer, id: int, sha256: str) -> int:
        if id not in self.by_id:
            raise MgralError(
                f"{answer.name}: image {id} is not asked for in this batch; return the file to its own experiment and "
                "cycle, or, if the image is registered here, set annotation.extra: take"
            )
        if not self.by_id[id].sha256.startswith(sha256):
            raise MgralError(
                f"{answer.name}: image {id} has other content here (sha256 {self.by_id[id].sha256[:8]}, not "
                f"{sha256[:8]}); return the file to its own experiment"
            )
        return id

    def _only(self, answer: Answer, found: Iterable[int]) -> int:
        ids = sorted(found)
        if not ids:
            raise MgralError(
                f"{answer.name}: no such image is asked for or registered; return the file to its own experiment, or "
                "run `mgral register`"
            )
        if len(ids) > 1:
            names = " and ".join(repr(self.by_id[i].file_name) for i in ids[:2])
            raise MgralError(f"{answer.name}: may be {names}; export with ids (Label Studio JSON), or whole paths")
        return ids[0]


def _stem(path: str) -> str:
    """Path without the suffix: YOLO and VOC name no image file."""
    return re.sub(r"\.[^./]*$", "", path)


def _bases(path: str) -> set[str]:
    """What a tool may call the file: with or without suffix, as it is and as an upload to Label Studio leaves it.

    Label Studio keeps letters, digits, ``.``, ``-`` and ``_``, and has ``_`` for a space (Django's get_valid_filename).
    """
    name = path.rsplit("/", 1)[-1]
    names = {name, _UPLOAD.sub("", name)}
    names |= {re.sub(r"[^-\w.]", "", one.strip().replace(" ", "_")) for one in names}
    return names | {_stem(one) for one in names}


def _refuse_two(id: int, answers: Sequence[Answer]) -> None:
    """Refuse two answers of one person about one image that differ, where nothing says which of them is newer."""
    seen: dict[tuple[str, bool, Moment], Answer] = {}
    for answer in answers:
        if answer.state != "finished":
            continue
        before = seen.setdefault((answer.who, answer.truth, moment(answer.at)), answer)
        if Counter(before.boxes) != Counter(answer.boxes):
            both = before.name if before.name == answer.name else f"{before.name} and {answer.name}"
            raise MgralError(
                f"{both}: two answers about image {id} that differ, and nothing says which is newer; leave out one"
            )


def match(returned: Returned, batch: Batch, images: Images) -> Mapping[int, list[Answer]]:
    """The answers about each image, by id, in the order of the file.

    Raises:
        MgralError: see :meth:`Images.find`; none of the batch's images is there; or two answers contradict each other.
    """
    found: dict[int, list[Answer]] = {}
    for answer in returned.answers:
        found.setdefault(images.find(answer, batch.id), []).append(answer)
    for i, answers in found.items():
        _refuse_two(i, answers)
    if returned.answers and not returned.corrects and not any(image.id in found for image in batch.images):
        raise MgralError(f"{returned.answers[0].name}: none of its images belongs to batch {batch.id}; check the cycle")
    return found
