"""A folder of images, of which none or some are annotated: where an active-learning project begins.

Every image below the folder belongs to the set. Those that ``annotations`` names are annotated, maybe with no
object; all others wait in the pool, and only annotated ones can be in val or test.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic import Field

from mgral.config.base import Settings
from mgral.data import doubts, image_files, locating
from mgral.data.faults import Findings
from mgral.data.formats import coco
from mgral.data.raw import RawImage, Source


class Options(Settings):
    """Where the images lie below dataset.root, and what is known of them."""

    images: str = Field(default=".", description="folder of the images; its subfolders count as well")
    annotations: str | None = Field(
        default=None, description="COCO JSON of the images annotated so far, file names from the folder on; null: none"
    )
    classes: list[str] = Field(
        default=[], description="class names in order; left empty where annotations bring the categories"
    )


def read(root: Path, options: Options, report: Findings) -> Source:
    """List the folder. Raises MgralError if no classes are given, or given twice."""
    folder = root / options.images
    if bool(options.classes) == bool(options.annotations):
        remedy = "set either dataset.options.classes or dataset.options.annotations"
        report.refuse(options.images, "", "classes must come from one place", remedy)
    if options.annotations:
        labelled = coco.read(
            root, coco.Options(annotations=options.annotations, images=options.images, missing="empty"), report
        )
    else:
        labelled = Source(folder, [], {}, "xywh", options.classes, without_sheet="unlabelled")
    finder = locating.finder(report)
    listed = {_name(finder, folder, image, report) for image in labelled.images}
    names = finder.images(folder, report)
    others = [RawImage(name, name, name) for name in names if name not in listed]
    doubts.annotations_beside(names, (name for name, _ in finder.walk(root, report, strict=False)), report)
    if not options.annotations:
        doubts.other_annotations(root, finder.others(".json", report), (), report)
    return replace(labelled, images=labelled.images + others, keys_are_ids=False, unlisted=[])


def _name(finder: locating.Finder, folder: Path, image: RawImage, report: Findings) -> str:
    """The path of an annotated image below the folder; as given where no such file is."""
    if not image_files.is_name(image.file_name):
        return ""
    try:
        return finder.file(folder, image.file_name, Findings(report.root))[0]
    except (image_files.OutsideError, LookupError):
        return str(image.file_name)
