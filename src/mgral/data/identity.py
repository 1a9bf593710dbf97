"""Ids and splits that stay: drawn at the first import or registration, and kept by every later one.

Two files remember them. An earlier ``dataset.json`` is enough for a user who imports again after more labels or more
images. ``images.json`` (``mgral register``) is for a run that people annotate over months: it only grows, it lies
beside what people returned, and it also knows each image by the sha256 of its file.

A new image joins train, unless the data set itself names its split: val and test stay what they were, so that results
before and after can be compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from mgral.config.base import Settings
from mgral.config.schema import Splits
from mgral.core.errors import MgralError
from mgral.core.files import read_json, require_regular, write_json
from mgral.core.types import Dataset, Split
from mgral.data import dataset_json, grouping, stratified_split, tiles

LARGEST = 2**53  # of an id or a cycle: exact in every JSON reader


@dataclass(frozen=True)
class Known:
    """Images whose ids and splits were drawn before.

    Attributes:
        ids, splits: by file name below the image root.
        drawn: splits that were drawn; the others came with the data set.
        own_ids: whether ids are the data set's own numbers, so that a new image may bring its own too.
        closed: of registered images: their splits never change, and none is drawn any more.
    """

    ids: Mapping[str, int]
    splits: Mapping[str, Split]
    drawn: Collection[str] = ()
    own_ids: bool = False
    closed: bool = False

    def number(self, names: Iterable[str], own: Mapping[str, int]) -> dict[str, int]:
        """The id of each name: as before; a new image brings its own number if it is free, else the next one.

        Args:
            names: of all images.
            own: the data set's own number of some of them.
        """
        numbers = {name: self.ids[name] for name in names if name in self.ids}
        taken = set(self.ids.values())
        left = []
        for name in sorted(name for name in names if name not in self.ids):
            number = own.get(name, 0) if self.own_ids else 0
            if number >= 1 and number not in taken:
                numbers[name] = number
                taken.add(number)
            else:
                left.append(name)
        first = max(taken, default=0) + 1
        return numbers | {name: number for number, name in enumerate(left, start=first)}

    def split(self, name: str, given: Split | None) -> Split:
        """The split of an image: as before.

        The data set's own word counts for a new image. For a known one it counts where the split came from the data
        set too: one that was drawn from train stays, whatever the list of train says.

        Raises:
            ValueError: the data set moves a registered image to another split; says which.
        """
        before = self.splits.get(name)
        if before is None or given is None or given == before or (before in self.drawn and given == "train"):
            return before or given or "train"
        if self.closed:
            raise ValueError(f"registered in {before}, now listed in {given}")
        return given


def draw_missing(
    split: Mapping[int, Split],
    labels: Mapping[int, Collection[int]],
    params: Splits,
    names: Mapping[int, str] | None = None,
) -> tuple[dict[int, Split], list[str]]:
    """Draw the splits that a data set lacks, from the annotated images of train.

    Args:
        split: of every image.
        labels: the classes in each annotated image.
        params: shares of all annotated images, the seed, and the pattern of groups that are drawn together.
        names: file name of every image; needed for groups.

    Returns:
        The split of every image, and the names of the splits that were drawn.
    """
    shares: dict[Split, float] = {"val": params.val, "test": params.test}
    missing = [name for name, share in shares.items() if share > 0 and name not in split.values()]
    pool = {i: labels[i] for i in labels if split[i] == "train"}
    if not missing or not pool:
        return dict(split), []
    wanted = {name: min(1.0, shares[name] * len(labels) / len(pool)) for name in missing}
    if params.group is not None:
        everyone, _ = grouping.groups(names or {}, params.group)
        return {**split, **grouping.draw(pool, everyone, wanted, "train", params.seed)}, list(missing)
    return {**split, **stratified_split.draw(pool, wanted, "train", params.seed)}, list(missing)


def of_dataset(path: str | Path, params: Splits) -> Known | None:
    """What an earlier import drew; None if there is no file.

    Splits are kept as long as ``dataset.splits`` is what drew them; else ids alone.

    Raises:
        MgralError: the file is no data set in canonical form.
    """
    if not Path(path).exists():
        return None
    try:
        dataset = tiles.joined(dataset_json.read(path, follow=True))  # names alone; the import judges links
        info = read_json(path)["info"]
    except (MgralError, KeyError, TypeError) as error:
        why = str(error).removeprefix(f"{path}: ").split(";")[0] if isinstance(error, MgralError) else "has no info"
        raise MgralError(
            f"{path}: no data set of an earlier import, whose ids and splits would stay ({why}); restore or remove it, "
            "or write elsewhere"
        ) from None
    names = {image.file_name: image for image in dataset.images.values()}
    drawn = list(info.get("splits_drawn", []))
    same = _drawn_by(dataset, drawn, info.get("splits"), params)
    return Known(
        ids={name: image.id for name, image in names.items()},
        splits={name: image.split for name, image in names.items()} if same else {},
        drawn=drawn,
        own_ids=info.get("ids") == "own",
    )


def _drawn_by(dataset: Dataset, drawn: Collection[str], noted: Any, params: Splits) -> bool:
    """Whether these parameters drew the splits of a data set. A first import does not note them: it is repeated."""
    if noted is not None:
        return bool(noted == params.model_dump(mode="json", exclude_none=True))
    split: dict[int, Split] = {i: "train" if im.split in drawn else im.split for i, im in dataset.images.items()}
    labels = {i: set(found.labels.tolist()) for i, found in dataset.boxes.items()}
    files = {i: image.file_name for i, image in dataset.images.items()}
    again, names = draw_missing(split, labels, params, files)
    return names == list(drawn) and all(again[i] == image.split for i, image in dataset.images.items())


class Registered(Settings):
    """One image of ``images.json``."""

    id: Annotated[int, Field(ge=1, le=LARGEST, strict=True)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    file_name: str
    width: Annotated[int, Field(ge=1)]
    height: Annotated[int, Field(ge=1)]
    split: Split
    since: Annotated[int, Field(ge=0, le=LARGEST)]


class Register(Settings):
    """All of ``images.json``: what people annotate, by ids that never change.

    Attributes:
        experiment: whose images these are.
        ids: ``own`` or ``by file name``, as in ``dataset.json``.
        splits_drawn: as in ``dataset.json``.
        images: in order of registration, within it of id.
    """

    experiment: str
    ids: str
    splits_drawn: list[str]
    images: list[Registered]

    def known(self) -> Known:
        """The images for an import."""
        return Known(
            ids={image.file_name: image.id for image in self.images},
            splits={image.file_name: image.split for image in self.images},
            drawn=self.splits_drawn,
            own_ids=self.ids == "own",
            closed=True,
        )


def read_register(path: str | Path, experiment: str | None = None) -> Register:
    """Read ``images.json``.

    Raises:
        MgralError: no such file, damaged, of another experiment, or an id or a name is in it twice.
    """
    register = Register.parse(read_json(path), f"{path}:")
    if experiment is not None and register.experiment != experiment:
        raise MgralError(
            f"{path}: holds the images of experiment {register.experiment}, not {experiment}; give its own"
        )
    for key in ("id", "file_name"):
        seen = set()
        for image in register.images:
            value = getattr(image, key)
            if value in seen:
                raise MgralError(
                    f"{path}: {key} {value!r} is in it twice; restore the file, it is never edited by hand"
                )
            seen.add(value)
    return register


def require_run(register: Register, dataset: Dataset, path: str | Path) -> None:
    """Refuse a register without the images of the run that began with it: they would get other ids.

    Args:
        register: as it is now.
        dataset: of the run.
        path: of the register, for the message.

    Raises:
        MgralError: an image of the run is not in it, or is another there.
    """
    now = {one.id: (one.width, one.height, one.split) for one in register.images}
    for image in dataset.images.values():
        if now.get(image.id) != (image.width, image.height, image.split):
            what = "is another one" if image.id in now else "is missing"
            raise MgralError(
                f"{path}: image {image.id} ({image.file_name}), with which the run began, {what} there; restore the "
                "file (git, or `dvc pull`), it is never edited by hand"
            )


def require_content(register: Register | None, dataset: Dataset) -> dict[int, str]:
    """The sha256 of each image's file, by id.

    Args:
        register: whose images must be what they were.
        dataset: imported with its ids.

    Raises:
        MgralError: the file of a registered image has other content now, or one cannot be read.
    """
    known = {image.id: image.sha256 for image in register.images} if register else {}
    hashes = {}
    for image in dataset.images.values():
        path = dataset.root / image.file_name
        try:
            sha = hashes[image.id] = sha256_of(path)
        except OSError as error:
            raise MgralError(f"{path}: cannot be read ({error.strerror}); make it readable") from None
        if known.get(image.id, sha) != sha:
            raise MgralError(
                f"{path}: image {image.id} has other content than when it was registered; restore the file, or give "
                "the new picture a name of its own"
            )
    return hashes


def at_the_beginning(dataset: Dataset, register: Register) -> Dataset:
    """The data set without the images that were registered after the run began."""
    later = {image.id for image in register.images if image.since > 0}
    if not later:
        return dataset
    images = {i: image for i, image in dataset.images.items() if i not in later}
    return replace(dataset, images=images, boxes={i: boxes for i, boxes in dataset.boxes.items() if i in images})


def write_register(register: Register, path: str | Path) -> None:
    """Write ``images.json``."""
    write_json(path, register.model_dump(mode="json"))


def sha256_of(path: str | Path) -> str:
    """Hash of a file, in hexadecimal digits. Raises OSError."""
    require_regular(path)
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def renamed(register: Register, root: Path, names: Iterable[str]) -> Register:
    """The register with the names that files have now: a file that moved is known by its hash.

    Only where one registered file is gone and exactly one new file has its content.

    Args:
        register: as it was.
        root: the image root.
        names: of all images that are there now, below the root.
    """
    now = set(names)
    gone = {image.sha256: image for image in register.images if image.file_name not in now}
    if not gone:
        return register
    registered = {image.file_name for image in register.images}
    found: dict[str, list[str]] = {}
    for name in sorted(now - registered):
        found.setdefault(sha256_of(root / name), []).append(name)
    moved = {gone[sha].id: new[0] for sha, new in found.items() if sha in gone and len(new) == 1}
    images = [image.model_copy(update={"file_name": moved.get(image.id, image.file_name)}) for image in register.images]
    return register.model_copy(update={"images": images})


def extend(before: Register | None, dataset: Dataset, experiment: str, info: Mapping[str, Any], since: int) -> Register:
    """Register the images of a data set that are not registered yet. Nothing that is there changes.

    Args:
        before: what is registered; None: nothing.
        dataset: imported with the ids and splits of ``before``.
        experiment: whose images these are.
        info: of the import.
        since: the cycle from which the new images can be selected.

    Raises:
        MgralError: the file of a registered image has other content now.
    """
    entries = list(before.images) if before else []
    hashes = require_content(before, dataset)
    old = {image.id for image in entries}
    for image in dataset.images.values():
        if image.id not in old:
            entries.append(
                Registered(
                    id=image.id,
                    sha256=hashes[image.id],
                    file_name=image.file_name,
                    width=image.width,
                    height=image.height,
                    split=image.split,
                    since=since,
                )
            )
    if before is not None:
        return before.model_copy(update={"images": entries})
    drawn = list(info["splits_drawn"])
    return Register(experiment=experiment, ids=info["ids"], splits_drawn=drawn, images=entries)
