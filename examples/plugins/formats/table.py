"""A table: one CSV file, a line ``file,split,label,x1,y1,x2,y2`` per object in pixels; an empty label: no object."""

from __future__ import annotations

import csv
from pathlib import Path

from pydantic import Field

from mgral.config.base import Settings
from mgral.data import locating, text_files
from mgral.data.faults import Findings
from mgral.data.raw import RawImage, RawObject, Sheet, Source


class Options(Settings):
    """Where the files lie below dataset.root."""

    table: str = Field(default="boxes.csv", description="the CSV file")
    images: str = Field(default="images", description="folder of the images; the table's names start from it")


def read(root: Path, options: Options, report: Findings) -> Source:
    """Read the table; images that it does not name wait in the pool. Raises MgralError for a line that is none."""
    sheets: dict[str, Sheet] = {}
    splits: dict[str, str | None] = {}
    for number, cells in enumerate(csv.reader(text_files.numbered(options.table, report)[1:]), start=2):
        if len(cells) != 7:
            report.refuse(options.table, f"line {number}", f"has {len(cells)} cells, not 7", "correct it")
        name, split, label, *corners = cells
        splits[name] = split or None
        sheet = sheets.setdefault(name, Sheet(options.table, []))
        if label:
            sheet.objects.append(RawObject(f"line {number}", label, corners))
    found = locating.finder(report).images(root / options.images, report)
    images = [RawImage(name, options.table, name, splits.get(name)) for name in sorted({*sheets, *found})]
    return Source(root / options.images, images, dict(sheets), "xyxy", None, without_sheet="unlabelled")
