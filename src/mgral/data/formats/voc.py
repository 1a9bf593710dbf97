"""PASCAL VOC: one XML file per image; corners count pixels from 1 and include the last one.

A box from pixel ``xmin`` to pixel ``xmax`` spans ``xmin - 1`` to ``xmax`` in continuous coordinates, likewise
in y. An XML file belongs to the image of the same stem, whatever its ``<filename>`` says. Splits are the lists
of ``ImageSets/Main``, as far as they exist (``trainval`` is not read); without any, the images are those that
have an XML file. Objects marked ``difficult`` are ignored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring
from pydantic import Field

from mgral.config.base import Settings
from mgral.core.types import Split
from mgral.data import image_files, text_files
from mgral.data.faults import Findings, shown
from mgral.data.raw import RawImage, RawObject, Sheet, Source


class Options(Settings):
    """Where the files lie below dataset.root, and how they are meant."""

    annotations: str = Field(default="Annotations", description="folder of the XML files")
    images: str = Field(default="JPEGImages", description="folder of the images")
    lists: str = Field(default="ImageSets/Main", description="folder of the split lists")
    splits: dict[Split, str] = Field(
        default={"train": "train", "val": "val", "test": "test"},
        description="name of each split's list, without .txt; one that does not exist brings no split",
    )
    classes: list[str] | None = Field(
        default=None, description="class names in order; null: all names found, sorted. Any other name is a fault"
    )
    one_based: bool = Field(
        default=True, description="corners count pixels from 1, the last included; false: continuous, from 0"
    )


def read(root: Path, options: Options, report: Findings) -> Source:
    """Read lists and XML files. Raises MgralError for a fault, or for XML that attacks its reader."""
    sheets = {path.stem: path for path in sorted((root / options.annotations).glob("*.xml"))}
    if not sheets:
        report.refuse(options.annotations, "", "no XML files", "check dataset.root and options.annotations")
    files: dict[str, list[str]] = {}
    for path in image_files.in_folder(root / options.images):
        name = path.relative_to(root / options.images)
        files.setdefault(name.with_suffix("").as_posix(), []).append(name.as_posix())

    listed = _listed(root, options, report)
    if not listed:
        listed = [(stem, None, f"{options.annotations}/{stem}.xml") for stem in sheets]
    read_sheets: dict[Any, Sheet | None] = {}
    for stem, _, _ in listed:
        if stem in sheets and stem not in read_sheets:
            read_sheets[stem] = _sheet(f"{options.annotations}/{stem}.xml", root / options.images, report)
    images = [
        RawImage(stem, file, name, split)
        for stem, split, file in listed
        if read_sheets.get(stem, True)
        for name in files.get(stem, [f"{stem}.jpg"])
    ]
    named = {stem for stem, _, _ in listed}
    return Source(
        image_root=root / options.images,
        images=images,
        sheets={stem: sheet for stem, sheet in read_sheets.items() if sheet},
        layout="inclusive" if options.one_based else "xyxy",
        classes=options.classes,
        without_sheet="fault",
        unlisted=[name for stem in files if stem not in named for name in files[stem]],
    )


def _listed(root: Path, options: Options, report: Findings) -> list[tuple[str, Split | None, str]]:
    """Stem, split and list of every line in the split lists."""
    listed: list[tuple[str, Split | None, str]] = []
    for split, name in options.splits.items():
        file = f"{options.lists}/{name}.txt"
        if (root / file).exists():
            listed += [(stem, split, file) for stem in text_files.lines(file, report)]
    return listed


def _sheet(file: str, image_root: Path, report: Findings) -> Sheet | None:
    """One XML file; None if it is malformed and was left out."""
    try:
        top = fromstring((report.root / file).read_bytes())
    except DefusedXmlException as error:
        what = f"XML that declares entities or calls other files ({type(error).__name__})"
        report.refuse(file, "", what, "remove the declarations")
    except (ParseError, LookupError, ValueError, OSError) as error:
        report.fault(file, "", f"not valid XML ({error})", "mend or replace it")
        return None
    name = (top.findtext("filename") or "").strip()
    try:
        image_files.below(image_root, name.replace("\x00", ""))
    except image_files.OutsideError:
        report.refuse(file, "", f"<filename> {shown(name)} leaves the image root", "give the bare name")
    objects = [_object(number, element) for number, element in enumerate(top.findall("object"), start=1)]
    sides = (top.findtext("size/width"), top.findtext("size/height"))
    return Sheet(file, objects, None if None in sides else sides)


def _object(number: int, element: Element) -> RawObject:
    name = element.findtext("name")
    return RawObject(
        id=f"object {number}",
        label=name.strip() if name else name,
        numbers=[element.findtext(f"bndbox/{edge}") for edge in ("xmin", "ymin", "xmax", "ymax")],
        ignore=(element.findtext("difficult") or "0").strip() != "0",
    )
