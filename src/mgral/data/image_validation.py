"""Images as a source names them: each is decoded once, and its annotation judged."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tqdm import tqdm

from mgral.core.types import Boxes
from mgral.data import box_columns, box_validation, decoding, image_size
from mgral.data.faults import Findings
from mgral.data.image_files import Facts
from mgral.data.locating import Finder
from mgral.data.raw import RawImage, Sheet, Source

_AT_ONCE = 2048  # images whose boxes are judged together


@dataclass(frozen=True, slots=True)
class Named:
    """An image whose name is sound: ``file_name`` in its plainest form and the ``path`` it leads to, without links."""

    raw: RawImage
    file_name: str
    path: str


@dataclass(frozen=True, slots=True)
class Sound:
    """An image that passed. ``boxes`` is None for one that nobody has annotated."""

    named: Named
    size: tuple[int, int]
    boxes: Boxes | None


def decode_and_judge(
    source: Source, named: list[Named], classes: list[str], max_pixels: int, finder: Finder, report: Findings
) -> list[Sound]:
    """Decode every image, by several processes where there are many, and judge its annotation."""
    known = {raw.key for raw in source.images}
    for key, sheet in source.sheets.items():
        if key not in known:
            _unknown_image(sheet, source, finder, report)

    index = {name: label for label, name in enumerate(classes)}
    copies: dict[bytes, str] = {}
    sound = []
    with closing(decoding.examined([item.path for item in named], max_pixels)) as found:
        both = zip(named, found, strict=True)
        progress = iter(tqdm(both, desc="checking images", unit="", disable=None, total=len(named)))
        while some := list(islice(progress, _AT_ONCE)):
            plain = _plain(some, source, index)
            for item, facts in some:
                if isinstance(facts, ValueError):
                    _unreadable(item, facts, source, finder, report)
                    continue
                _tell(item, facts, copies, report)
                judged = _annotated(item, facts, plain.get(item.raw.key), source, index, report)
                if judged is not None:
                    sound.append(judged)
    return sound


def _plain(
    some: Sequence[tuple[Named, Facts | ValueError]], source: Source, index: Mapping[str, int]
) -> dict[Hashable, Boxes | None]:
    """The boxes of images whose annotation is plainly sound, by key."""
    keys, sheets = [], []
    for item, facts in some:
        sheet = source.sheets.get(item.raw.key)
        if sheet is not None and isinstance(facts, Facts):
            keys.append(item.raw.key)
            sheets.append((sheet, facts.size))
    return dict(zip(keys, box_columns.sound(sheets, source.layout, index), strict=True))


def _unreadable(item: Named, error: ValueError, source: Source, finder: Finder, report: Findings) -> None:
    hint = finder.hint(source.image_root, item.file_name, report) if "missing" in str(error) else ""
    reason, _, remedy = str(error).partition("; ")
    what = f"'{item.file_name}': {reason}{_with_it(item, source)}{hint}"
    report.fault(item.raw.file, image_said(item.raw), what, remedy or "restore the file")
    fall(source, item.raw, report)


def _annotated(
    item: Named, facts: Facts, plain: Boxes | None, source: Source, index: Mapping[str, int], report: Findings
) -> Sound | None:
    """The image with its boxes, which are ``plain`` if nothing about them is unusual; None if it is left out."""
    raw = item.raw
    own = source.sheets.get(raw.key)
    if own is None:
        if source.without_sheet == "fault" and raw.key not in source.pool_only:
            report.fault(raw.file, image_said(raw), "has no annotation file", "add one or unlist the image")
            return None
        empty = source.without_sheet == "empty" and raw.key not in source.pool_only
        return Sound(item, facts.size, Boxes.empty() if empty else None)
    if what := image_size.disagreement(own.size, facts):
        remedy = "correct the size, or turn the pixels as EXIF says"
        report.fault(own.file, image_said(raw), f"{what}{_with_it(item, source)}", remedy)
        fall(source, raw, report)
        return None
    if plain is None:
        plain = box_validation.judge(own, source.layout, facts.size, index, report)
    return Sound(item, facts.size, plain)


def _with_it(item: Named, source: Source) -> str:
    """What goes with an image that is left out."""
    own = source.sheets.get(item.raw.key)
    return f" (with its {len(own.objects)} objects)" if own and own.objects else ""


def _unknown_image(sheet: Sheet, source: Source, finder: Finder, report: Findings) -> None:
    """An annotation whose image the data set does not hold."""
    for name in [item.name for item in sheet.objects] or [""]:
        report.fault(sheet.file, name, "annotation for an unknown image", "add the image or remove this")
    report.fallen += len(sheet.objects)


def _tell(item: Named, facts: Facts, copies: dict[bytes, str], report: Findings) -> None:
    """Count what a user may not expect of an image."""
    if facts.frames > 1:
        report.count("files hold several pictures; only the first of each is used", item.file_name)
    if facts.transparent:
        report.count("images are transparent in part; their colours are taken without that", item.file_name)
    first = copies.setdefault(facts.digest, item.file_name)
    if first != item.file_name:
        report.count("images are the same file as another image, byte for byte", f"{item.file_name} and {first}")


def fall(source: Source, raw: RawImage, report: Findings) -> None:
    """Count the objects of an image that is left out."""
    sheet = source.sheets.get(raw.key)
    report.fallen += len(sheet.objects) if sheet else 0


def image_said(raw: RawImage) -> str:
    """How a message names an image."""
    return f"image {plain_id(raw.key)}"


def plain_id(key: Hashable) -> Any:
    """The name within its file: keys of several files are pairs (file, id)."""
    return key[-1] if isinstance(key, tuple) else key
