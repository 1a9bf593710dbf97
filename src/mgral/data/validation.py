"""From a source to a data set: with ``box_validation``, the one place that decides what is a fault in any format."""

from __future__ import annotations

import os
import re
from collections.abc import Hashable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from mgral.config.schema import DatasetParams, Splits
from mgral.core.types import SPLITS, Dataset, Image, Split
from mgral.data import doubts, grouping, identity, image_files, locating, plausibility
from mgral.data.faults import Findings, shown
from mgral.data.image_validation import Named, Sound, decode_and_judge, fall, image_said, plain_id
from mgral.data.locating import Finder
from mgral.data.raw import RawImage, Source, Unfit

_SOME = 4  # objects left out; of fewer, their share says little
_LARGEST_ID = 2**53 - 1  # exact in JSON readers that know only doubles


def assemble(
    source: Source, params: DatasetParams, report: Findings, known: identity.Known | None = None
) -> tuple[Dataset, dict[str, Any]]:
    """Judge a source and put it into canonical form.

    Args:
        source: as its format read it.
        params: of the data set: splits that have to be drawn, what happens to unlisted images, the largest image.
        report: takes the faults.
        known: images whose ids and splits were drawn before; they keep them.

    Returns:
        The data set, and for its ``info`` where its ids come from and which splits were drawn.

    Raises:
        MgralError: a fault, with ``on_invalid: fail``; in either mode a file name that leaves the image root, a whole
            that cannot be right, no classes, no images, or none left for the pool.
    """
    finder = locating.finder(report)
    if params.unlisted == "pool":
        source = _with_unlisted(source)
    if not source.images:
        report.refuse(
            ".", "", f"no images{plausibility.packed(finder, report)}", "check dataset.root and dataset.options"
        )
    classes = _classes(source, report)
    plausibility.check_source(source, classes, report)
    objects = sum(len(sheet.objects) for sheet in source.sheets.values())
    named = _named(source, finder, report)
    _check_layout(source, named, report)
    _tell_unread(source, params.unlisted, finder, report)
    ids, kept = _ids(named, source, known)
    sound = decode_and_judge(source, named, classes, params.max_pixels, finder, report)
    if not sound:
        report.refuse(".", "", "no image is left", f"fix the {len(report.dropped)} faults found")
    _refuse_if_most_fell(objects, report)
    if source.keys_are_ids and not kept:
        report.note(
            "the ids of the data set are not kept (ids from 0, too large, of text, or in several files): images are "
            "numbered from 1 in order of file name; join by file_name"
        )

    by_id = dict(sorted((ids[item.named.file_name], item) for item in sound))
    split, drawn = _split(by_id, params.splits, report, known)
    if "train" not in split.values():
        report.refuse(".", "", "no image for the pool (train)", "check the split lists and dataset.splits")
    dataset = Dataset(
        classes=tuple(classes),
        images={i: Image(i, item.named.file_name, *item.size, split[i]) for i, item in by_id.items()},
        boxes={i: item.boxes for i, item in by_id.items() if item.boxes is not None},
        root=source.image_root,
    )
    plausibility.check_whole(dataset, bool(params.splits.group), report)
    doubts.check(dataset, drawn, report)
    made: dict[str, Any] = {"ids": "own" if kept else "by file name", "splits_drawn": drawn}
    if known is not None:  # a first import does not note them, its draw can be repeated
        made["splits"] = params.splits.model_dump(mode="json", exclude_none=True)
        made["kept"] = sum(item.named.file_name in known.splits for item in sound)
    return dataset, made


def _check_layout(source: Source, named: list[Named], report: Findings) -> None:
    """Refuse boxes whose numbers are plainly meant in another way. Raises MgralError.

    Sizes are read from the headers, and only if all boxes could be of the other layout.
    """
    sheets = [(item, source.sheets[item.raw.key]) for item in named if item.raw.key in source.sheets]
    if not plausibility.may_be_another(source.layout, [sheet for _, sheet in sheets]):
        return
    sized = []
    for item, sheet in sheets:
        try:
            sized.append((sheet, image_files.size_of(Path(item.path))))
        except image_files.UNREADABLE:
            continue  # said where it is decoded
    plausibility.check_layout(source.layout, sized, report)


def _tell_unread(source: Source, unlisted: str, finder: Finder, report: Findings) -> None:
    """Say which annotations belong to images that no list names, and which images lie where none is looked for."""
    why = "wait in the pool as not annotated, though they have annotations" if unlisted == "pool" else ""
    for file in sorted(source.unused.values()):
        report.count(f"images that no list names {why or 'have annotations, which are not read'}", file)
    root, start = os.path.realpath(report.root), os.path.realpath(source.image_root)
    searched = tuple({f"{os.path.normpath(f'{start}/{raw.folder}')}/" for raw in source.images})
    if f"{root}/".startswith(searched):
        return
    for name in finder.images(report.root, Findings(report.root, links="follow"), strict=False):
        if not f"{root}/{name}".startswith(searched):
            report.count("images lie outside the folder of the images (options.images) and are not looked at", name)


def _refuse_if_most_fell(objects: int, report: Findings) -> None:
    """End the import where most objects would be left out: that is no fault of single objects."""
    if report.fallen >= _SOME and 2 * report.fallen > objects:
        first = report.dropped[0]
        what = f"{report.fallen} of {objects} objects, most of them, would be left out"
        report.refuse(first["file"], first["id"], f"{first['what']}, and so on: {what}", "fix what they have in common")


def _with_unlisted(source: Source) -> Source:
    """The source with the images that no list names, as images that nobody has annotated."""
    keys = {raw.key for raw in source.images} | set(source.sheets)
    more = [RawImage(("unlisted", name), name, name) for name in source.unlisted]
    assert not keys.intersection(raw.key for raw in more)
    images, sheets = [*source.images, *more], source.sheets
    return replace(source, images=images, sheets=sheets, unlisted=[], pool_only=frozenset(raw.key for raw in more))


def _classes(source: Source, report: Findings) -> list[str]:
    """Class names in order of index."""
    names = source.classes
    if names is None:
        found = [item.label for sheet in source.sheets.values() for item in sheet.objects]
        names = sorted({label for label in found if image_files.is_name(label)})
    if not names:
        hint = source.classes_hint or "check that the annotations are found and name their classes"
        report.refuse(".", "", "no classes", hint)
    seen = set()
    for name in names:
        if isinstance(name, bool):
            what = "YAML reads yes, no, on, off, true and false as truth values, not as names"
            report.refuse(".", f"class {name}", f"not a class name: {what}", "put the name in quotes")
        if not image_files.is_name(name):
            report.refuse(".", f"class {shown(name)}", "not a class name", "give each class a name of one line")
        if name != name.strip():
            report.refuse(".", f"class {shown(name)}", "has blanks at its ends", "give the bare name")
        if name in seen:
            report.refuse(".", f"class {shown(name)}", "is duplicated", "give each class a name of its own")
        seen.add(name)
    return names


def _named(source: Source, finder: Finder, report: Findings) -> list[Named]:
    """Images whose names are sound, occur once and in one split."""
    named: list[Named] = []
    keys: set[Hashable] = set()
    splits: dict[str, set[Any]] = {}
    names: dict[str, str] = {}
    for raw in source.images:
        item = _below(raw, source, finder, report)
        if item is None:
            fall(source, raw, report)
            continue
        if raw.split not in (None, *SPLITS):
            what = f"unknown split {shown(raw.split)}"
            report.fault(raw.file, image_said(raw), what, "use train, val or test")
            fall(source, raw, report)
        elif source.keys_are_ids and raw.key not in source.pool_only and not _is_id(raw.key):
            report.fault(raw.file, image_said(raw), "id is neither a whole number from 0 nor text", "number the images")
            fall(source, raw, report)
        elif item.path in splits:
            if raw.split in splits[item.path]:
                what = f"file name '{item.file_name}' is duplicated"
                if names[item.path] != item.file_name:
                    what = f"file name '{item.file_name}' leads to the same file as '{names[item.path]}'"
                report.fault(raw.file, image_said(raw), what, "list each image once")
            splits[item.path].add(raw.split)
        elif raw.key in keys:
            what = f"id is duplicated, the second time for '{item.file_name}'"
            report.fault(raw.file, image_said(raw), what, "give each image an id of its own")
        else:
            splits[item.path], names[item.path] = {raw.split}, item.file_name
            keys.add(raw.key)
            named.append(item)
    for item in named:
        if len(splits[item.path]) > 1:
            both = " and ".join(sorted(str(split) for split in splits[item.path]))
            what = f"image '{item.file_name}' is in two splits ({both})"
            report.fault(item.raw.file, image_said(item.raw), what, "keep it in one, or the scores are too good")
            fall(source, item.raw, report)
    return [item for item in named if len(splits[item.path]) == 1]


def _below(raw: RawImage, source: Source, finder: Finder, report: Findings) -> Named | None:
    """The image with its path below the image root; None if it was left out for an unfit name."""
    if not image_files.is_name(raw.file_name):
        what = f"unfit file name {shown(raw.file_name)}"
        report.fault(raw.file, image_said(raw), what, "give file_name as text of one line")
        return None
    try:
        return Named(raw, *finder.file(source.image_root, raw.file_name, report, raw.folder))
    except LookupError as error:
        report.fault(raw.file, image_said(raw), str(error), "give them different names, or set dataset.match: path")
        return None
    except image_files.OutsideError:
        what = f"file name {shown(raw.file_name)} leaves the image root"
        remedy = "put the image below the root and name it from there"
        if finder.links.policy == "refuse" and finder.leads_out(source.image_root, raw.file_name, raw.folder):
            remedy = "it is a link: set dataset.links: follow to follow links, or put the image itself there"
        elif finder.called(source.image_root, image_files.bare(raw.file_name), report):
            remedy += "; dataset.match: name finds it by the bare name"
        report.refuse(raw.file, image_said(raw), what, remedy)


def _ids(named: list[Named], source: Source, known: identity.Known | None) -> tuple[dict[str, int], bool]:
    """Canonical ids by file name, and whether they are the data set's own numbers.

    Own numbers are the ids of the format, or the digits that every stem ends in. They are kept if they differ
    and begin at 1 or later; else images count from 1 in order of file name. Images that nothing lists come after
    those with ids of the format. An image that is known keeps its id.
    """
    names = sorted(item.file_name for item in named)
    more: list[str] = []
    if source.keys_are_ids:
        numbers = {item.file_name: plain_id(item.raw.key) for item in named if item.raw.key not in source.pool_only}
        more = [name for name in names if name not in numbers]
        numbers = {name: number for name, number in numbers.items() if isinstance(number, int)}
    else:
        ends = {name: re.search(r"(?<![0-9])[0-9]{1,15}$", PurePosixPath(name).stem) for name in names}
        numbers = {name: int(end.group()) for name, end in ends.items() if end}
    if known is not None:
        return known.number(names, numbers), known.own_ids
    fit = min(numbers.values(), default=0) >= 1 and max(numbers.values()) <= _LARGEST_ID
    if fit and len(set(numbers.values())) == len(names) - len(more):
        first = max(numbers.values()) + 1
        return numbers | {name: number for number, name in enumerate(more, start=first)}, True
    return {name: number for number, name in enumerate(names, start=1)}, False


def _split(
    sound: Mapping[int, Sound], params: Splits, report: Findings, known: identity.Known | None
) -> tuple[dict[int, Split], list[str]]:
    """The split of every id, and the names of the splits that were drawn, now or before.

    Splits that the data set brings stay as they are; an image in none of them belongs to train. Those it lacks
    are drawn from the annotated images of train, as shares of all annotated images: one that nobody has
    annotated can only wait in the pool. What was drawn before is not drawn again. Images of one group
    (``splits.group``) are drawn together, and a new one joins the split of its group.
    """
    split: dict[int, Split] = {}
    for i, item in sound.items():
        try:
            given = item.named.raw.split
            split[i] = known.split(item.named.file_name, given) if known is not None else given or "train"
        except ValueError as error:
            report.refuse(item.named.raw.file, image_said(item.named.raw), str(error), "leave it in its split")
    if params.group is not None:
        _join_groups(split, sound, params.group, report, known)
    labels = {i: set(item.boxes.labels.tolist()) for i, item in sound.items() if item.boxes is not None}
    if known is not None and known.closed:
        return split, list(known.drawn)
    names = {i: item.named.file_name for i, item in sound.items()}
    split, drawn = identity.draw_missing(split, labels, params, names)
    return split, list(dict.fromkeys([*(known.drawn if known is not None and known.splits else []), *drawn]))


def _join_groups(
    split: dict[int, Split], sound: Mapping[int, Sound], pattern: str, report: Findings, known: identity.Known | None
) -> None:
    """Put images that are new into the split of the group they belong to; say which groups lie in several splits."""
    groups, unmatched = grouping.groups({i: item.named.file_name for i, item in sound.items()}, pattern)
    for name in unmatched:
        report.count("file names do not match dataset.splits.group; each is a group of its own", name)
    before: dict[str, Split] = {}
    for i, item in sound.items():
        if known is not None and item.named.file_name in known.splits:
            before.setdefault(groups[i], split[i])
    for i, item in sound.items():
        new = known is not None and item.named.file_name not in known.splits and item.named.raw.split is None
        if new and groups[i] in before:
            split[i] = before[groups[i]]
    found: dict[str, set[Split]] = {}
    for i, group in groups.items():
        found.setdefault(group, set()).add(split[i])
    torn = sum(len(splits) > 1 for splits in found.values())
    if torn:
        report.note(f"{torn} groups of dataset.splits.group are in several splits already")


def _is_id(key: Hashable) -> bool:
    id = plain_id(key)
    return id >= 0 if isinstance(id, int) else isinstance(id, str) and not isinstance(id, Unfit)
