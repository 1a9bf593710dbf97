"""PASCAL VOC: one XML file per image; corners count pixels from 1 and include the last one.

A box from pixel ``xmin`` to pixel ``xmax`` spans ``xmin - 1`` to ``xmax`` in continuous coordinates, likewise
in y. An XML file belongs to the image at the same place with the same stem (``cam1/a.xml`` to ``cam1/a.jpg``;
``a.jpg.xml`` is taken too). Its ``<filename>`` is not used, but must not name another image that exists. Splits are
the lists of ``ImageSets/Main``, as far as they exist; ``trainval`` is read where there is neither ``train`` nor
``val``. Without any list, the images are those that have an XML file. Objects marked ``difficult`` are ignored.

Label Studio, datumaro and CVAT write continuous corners into such files. They are known by their owner, or by their
``<source>`` and a decimal point in every corner; ``one_based`` says what no file tells.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring
from pydantic import Field

from mgral.config.base import Settings
from mgral.core.files import require_regular
from mgral.core.types import Split
from mgral.data import image_files, locating, spelling, text_files, voc_objects
from mgral.data.faults import Findings, shown
from mgral.data.raw import RawImage, Sheet, Source

_LIST = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test", "trainval": "train"}
_USUAL = {"train": "train", "val": "val", "test": "test"}


Origin = Literal["continuous", "pixels", "unclear"]


class Options(Settings):
    """Where the files lie below dataset.root, and how they are meant."""

    annotations: str = Field(default="Annotations", description="folder of the XML files; subfolders count as well")
    images: str = Field(default="JPEGImages", description="folder of the images")
    lists: str = Field(default="ImageSets/Main", description="folder of the split lists")
    splits: dict[Split, str] = Field(
        default={"train": "train", "val": "val", "test": "test"},
        description="name of each split's list, without .txt; one that does not exist brings no split",
    )
    classes: list[str] | None = Field(
        default=None, description="class names in order; null: all names found, sorted. Any other name is a fault"
    )
    one_based: bool | None = Field(
        default=None,
        description="corners count pixels from 1, the last included; false: continuous, from 0; null: true, unless all "
        "files are by Label Studio, datumaro or CVAT",
    )


def read(root: Path, options: Options, report: Findings) -> Source:
    """Read lists and XML files. Raises MgralError for a fault, or for XML that attacks its reader."""
    finder = locating.finder(report)
    image_root = root / options.images
    files = _Images(finder.images(image_root, report) if locating.is_folder(image_root) else [])
    sheets = _sheets(root, options, files, report)
    if not sheets:
        others = finder.others(".xml", report)
        hint = f": {len(others)} lie elsewhere, such as {others[0]}" if others else ""
        report.refuse(
            options.annotations, "", f"no XML files{hint}", "check dataset.root and dataset.options.annotations"
        )

    listed = _listed(root, options, files, sheets, report)
    if not listed:
        listed = [(stem, None, sheets[stem]) for stem in sheets]
    read_sheets: dict[Any, Sheet | None] = {}
    origins: dict[str, Origin] = {}
    for stem, _, _ in listed:
        if stem in sheets and stem not in read_sheets:
            read_sheets[stem] = _sheet(sheets[stem], stem, files, report, origins)
    one_based = options.one_based
    if one_based is None:
        one_based = _counts_from_one([sheet for sheet in read_sheets.values() if sheet], origins, report)
    images = [
        RawImage(stem, file, name, split)
        for stem, split, file in listed
        if read_sheets.get(stem, True)
        for name in files.named.get(stem, [f"{stem}.jpg"])
    ]
    named = {stem for stem, _, _ in listed}
    return Source(
        image_root=image_root,
        images=images,
        sheets={stem: sheet for stem, sheet in read_sheets.items() if sheet},
        layout="inclusive" if one_based else "xyxy",
        classes=options.classes,
        without_sheet="fault",
        unlisted=[name for stem, names in files.named.items() if stem not in named for name in names],
        unused={name: sheets[stem] for stem in sheets.keys() - named for name in files.named.get(stem, [])},
    )


class _Images:
    """The images of the set, by their stem.

    Attributes:
        named: file names by stem.
        bare: stems by their last part.
        folded: stems by what is left without regard to case and Unicode form.
    """

    def __init__(self, names: list[str]) -> None:
        self.named: dict[str, list[str]] = {}
        for name in names:
            self.named.setdefault(image_files.parted(name)[0], []).append(name)
        self.bare: dict[str, list[str]] = {}
        self.folded: dict[str, list[str]] = {}
        for stem in self.named:
            self.bare.setdefault(stem.rpartition("/")[2], []).append(stem)
            self.folded.setdefault(spelling.folded(stem), []).append(stem)

    def alike(self, stem: str) -> str:
        """The one stem that differs in case or Unicode form only; as given where there is none, or several."""
        found = self.folded.get(spelling.folded(stem), [])
        return found[0] if len(found) == 1 else stem


def _sheets(root: Path, options: Options, files: _Images, report: Findings) -> dict[str, str]:
    """XML files below the root by the stem of their image: at the same place, or, where none is, of a unique stem."""
    folder = root / options.annotations
    if not locating.is_folder(folder):
        return {}
    found: dict[str, str] = {}
    walked = locating.finder(report).walk(folder, report)
    names = sorted((name for name, bare in walked if bare.lower().endswith(".xml")), key=lambda name: name.split("/"))
    for name in names:
        stem = name[: -len(".xml")]
        if stem not in files.named and image_files.is_image(Path(stem)) and image_files.parted(stem)[0] in files.named:
            stem = image_files.parted(stem)[0]  # a.jpg.xml
        elif stem not in files.named and len(elsewhere := files.bare.get(stem.rpartition("/")[2], [])) == 1:
            report.count("XML files are taken for the image of the same name in another folder", name)
            stem = elsewhere[0]
        elif stem not in files.named and files.alike(stem) != stem:
            report.count("XML files are taken for the image of the same name in other case or Unicode form", name)
            stem = files.alike(stem)
        file = name if options.annotations == "." else f"{options.annotations}/{name}"
        if stem in found:
            report.refuse(file, "", f"{found[stem]} is for the same image", "leave one of them")
        found[stem] = file
    return found


def _listed(
    root: Path, options: Options, files: _Images, sheets: dict[str, str], report: Findings
) -> list[tuple[str, Split | None, str]]:
    """Stem, split and list of every line in the split lists."""
    lists = {split: f"{options.lists}/{name}.txt" for split, name in options.splits.items()}
    there = {split: file for split, file in lists.items() if locating.exists(root / file)}
    both = f"{options.lists}/trainval.txt"
    if options.splits == _USUAL and not {"train", "val"} & there.keys() and locating.exists(root / both):
        report.note(f"{both} is the pool (train): there is neither train.txt nor val.txt; options.splits maps others")
        there = {"train": both, **there}
    _tell_other_lists(root, there, report)
    listed: list[tuple[str, Split | None, str]] = []
    for split, file in there.items():
        lines = text_files.lines(file, report)
        stems = [_stem(line, file, files, sheets, report) for line in lines]
        if not any(
            stem in files.named or stem in sheets or ".." in stem for stem in stems
        ):  # one that climbs is told of
            what = f"none of its {len(lines)} lines, {shown(lines[0])} first, names an image or an XML file"
            report.refuse(file, "", what, "list file names without the suffix, one a line, or remove the list")
        listed += [(stem, split, file) for stem in stems]
    return listed


def _tell_other_lists(root: Path, there: dict[Split, str], report: Findings) -> None:
    """Say which files look like the list of a split that none was found for, so that no split is drawn in silence."""
    found: dict[str, str] = {}
    for name in locating.finder(report).others(".txt", report):
        folder, _, bare = name.lower().rpartition("/")
        split = _LIST.get(bare.removesuffix(".txt").rpartition("_")[2])  # car_train.txt is of one class
        if split and split not in there and (not folder or folder.startswith("imagesets")):
            found.setdefault(split, name)
    if found and not (there.keys() >= {"train"} and found.keys() <= {"train"}):
        what = f"{', '.join(found.values())} look like lists of splits and are not read"
        report.note(f"{what}; options.lists names their folder, options.splits the lists")


def _stem(line: str, file: str, files: _Images, sheets: dict[str, str], report: Findings) -> str:
    """The stem that a line of a list names: as it is, with the image's suffix, or before a flag 1, 0, -1."""
    for stem, why in (
        (line, ""),
        (image_files.parted(line)[0] if image_files.is_image(Path(line)) else line, "lines name files, not stems"),
        (
            line.rsplit(maxsplit=1)[0] if line.split()[-1] in {"1", "-1", "0"} else line,
            "lines have a flag after the stem",
        ),
        (line.replace("\\", "/"), "lines have \\ for /"),
        (files.alike(line), "lines name the image in other case or Unicode form"),
        *((tail, "lines name the image with folders before it") for tail in _tails(line)),
    ):
        if stem in files.named or stem in sheets:
            if why:
                report.count(f"{why} in {file}", line)
            return stem
    return line


def _tails(line: str) -> list[str]:
    """The stem that a path names, without its first folder, its first two folders and so on; none if it climbs."""
    path = line.replace("\\", "/")
    parts = (image_files.parted(path)[0] if image_files.is_image(Path(path)) else path).split("/")
    return [] if ".." in parts else ["/".join(parts[cut:]) for cut in range(1, len(parts))]


def _counts_from_one(sheets: list[Sheet], origins: dict[str, Origin], report: Findings) -> bool:
    """Whether corners count from 1, as VOC has it: not if each file with objects is by a tool that counts otherwise."""
    boxed = {sheet.file for sheet in sheets if sheet.objects}
    found = {file for file in boxed if origins[file] == "continuous"}
    if found and found == boxed:
        report.note(
            "corners are continuous, as the tool that wrote the files has them; "
            "dataset.options.one_based says otherwise"
        )
        return False
    if found:
        what = (
            f"corners of {len(found)} of {len(boxed)} files seem continuous, {min(found)} first, and are read as pixels"
        )
        report.note(f"{what} from 1; import the files of each tool alone, or set dataset.options.one_based")
    unclear = sorted(file for file in boxed if origins[file] == "unclear")
    if unclear:
        what = f"corners of {len(unclear)} of {len(boxed)} files have decimal points, {unclear[0]} first"
        report.note(f"{what}; they are read as pixels from 1, options.one_based: false says otherwise")
    return True


def _origin(top: Element) -> Origin:
    """Whether the corners of a file count from 0, by the tool that wrote it; ``unclear`` if they have decimal points.

    Such points alone do not tell: pictures that were made smaller have them too, and count from 1 as before.
    """
    if top.findtext("owner/name") == "Label Studio":
        return "continuous"
    corners = [element.text or "" for edge in voc_objects.EDGES for element in top.iter(edge)]
    if not corners or not all("." in text for text in corners):
        return "pixels"
    by_datumaro = all(top.findtext(f"source/{key}") == "Unknown" for key in ("database", "annotation", "image"))
    return "continuous" if by_datumaro else "unclear"


def _sheet(file: str, stem: str, files: _Images, report: Findings, origins: dict[str, Origin]) -> Sheet | None:
    """One XML file; None if it is malformed and was left out. Its origin is noted."""
    try:
        path = report.root / file
        locating.finder(report).admit(path, report)
        require_regular(path)
        top = fromstring(path.read_bytes())
    except DefusedXmlException as error:
        what = f"XML that declares entities or calls other files ({type(error).__name__})"
        report.refuse(file, "", what, "remove the declarations")
    except (ParseError, LookupError, ValueError, OSError, RecursionError) as error:
        report.fault(file, "", f"not valid XML ({error})", "fix or replace it")
        return None
    voc_objects.plain(top)
    name = (top.findtext("filename") or "").strip()
    what = voc_objects.fault(top) or _names_another(name, stem, files)
    if what:
        report.fault(file, "", what, "correct or replace it")
        return None
    if ".." in name.replace("\\", "/").split("/"):
        report.refuse(file, "", f"<filename> {shown(name)} leaves the image root", "give the bare name")
    objects = voc_objects.objects(top)
    for item in objects:
        if isinstance(item.numbers[0], float):  # as no text of a file is
            report.count("annotations are turned (rotation) and taken as their upright hulls", f"{file}: {item.name}")
    sides = (top.findtext("size/width"), top.findtext("size/height"))
    origins[file] = _origin(top)
    return Sheet(file, objects, sides)


def _names_another(name: str, stem: str, files: _Images) -> str:
    """Why ``<filename>`` contradicts the name of the XML file; empty if it does not."""
    bare = image_files.bare(name)
    other = image_files.parted(bare)[0] if image_files.is_image(Path(bare)) else bare
    own = stem.rpartition("/")[2]
    folder = stem[: len(stem) - len(own)]
    found = files.named.get(files.alike(f"{folder}{other}"))
    if other == "" or spelling.folded(other) == spelling.folded(own) or not found:
        return ""
    return f"<filename> {shown(bare)} is another image, '{found[0]}'"
