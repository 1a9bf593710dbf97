"""What is right for a data set is right for labels that come back: flags, other layouts, lists that disagree, copies.

Each case spoils a sound answer of a tool as people and other tools do. It is refused in one line, or image 1 has the
labels that were meant. None of them was, once: a label was lost, doubled, ignored or of another class without a word.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import batches
import pytest

from mgral.annotation import exchange, labels
from mgral.annotation.exchange import Answer, AnswerBox, Batch, Returned
from mgral.annotation.labels import Outcome
from mgral.config.annotation import AnnotationRules
from mgral.core import plugins
from mgral.core.errors import MgralError

Change = Callable[[Path], object]
BOXES = ((4.0, 4.0, 14.0, 14.0), (10.0, 8.0, 30.0, 20.0))
LABELS = ("zebra", "ant")
SOUND = [(0, BOXES[0], False), (3, BOXES[1], False)]
IGNORED = [(0, BOXES[0], True), SOUND[1]]


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return batches.batch(tmp_path / "set", batches.images(tmp_path / "set"))


def respond(tool: str, batch: Batch, folder: Path) -> Path:
    boxes = tuple(AnswerBox(name, corners, "manual") for name, corners in zip(LABELS, BOXES, strict=True))
    said = {image.id: [batches.said(image, "finished", boxes)] for image in batch.images}
    folder.mkdir()
    plugins.load("annotators", tool).respond(batch, said, folder)
    return folder


def read(tool: str, path: Path, batch: Batch) -> Returned:
    plugin = plugins.load("annotators", tool)
    returned: Returned = plugin.read(exchange.sources(path), batch, plugin.Options())
    return returned


def settle(batch: Batch, *returned: Returned, **rules: Any) -> Outcome:
    files = [(f"{number}.given", one) for number, one in enumerate(returned)]
    return labels.settle(batch, [], files, batch.classes, rules.pop("names", {}), AnnotationRules(**rules))


def of_first(outcome: Outcome) -> list[tuple[int, tuple[float, ...], bool]]:
    return [(box.label, box.xyxy, box.ignore) for box in outcome.images[1].boxes]


def first(folder: Path, pattern: str) -> Path:
    return min(folder.rglob(pattern))


def text(pattern: str, old: str, new: str, every: bool = False) -> Change:
    """Put a text in place of what an expression finds first, in the first file of a pattern."""

    def change(folder: Path) -> None:
        path = first(folder, pattern)
        before = path.read_text(encoding="utf-8")
        after = re.sub(old, new, before, count=0 if every else 1, flags=re.DOTALL)
        assert after != before, before[:500]
        path.write_text(after, encoding="utf-8")

    return change


def put(name: str, content: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")

    return change


def moved(pattern: str, new: str) -> Change:
    def change(folder: Path) -> None:
        path = first(folder, pattern)
        path.rename(
            path.with_name(re.sub(r"[^.]*$", new, path.name, count=1)) if "." not in new else path.with_name(new)
        )

    return change


def label(line: str, name: str = "") -> Change:
    """Other lines in the first label file of YOLO, or in a copy of it in another folder."""

    def change(folder: Path) -> None:
        path = first(folder, "labels/*.txt")
        put(f"{name}/{path.name}" if name else f"labels/{path.name}", line)(folder)

    return change


def content(do: Callable[[Any], object], name: str = "annotations.json") -> Change:
    """Change the content of a JSON file."""

    def change(folder: Path) -> None:
        value = json.loads((folder / name).read_text(encoding="utf-8"))
        do(value)
        (folder / name).write_text(json.dumps(value), encoding="utf-8")

    return change


def tasks(do: Callable[[Any], object]) -> Change:
    return content(do, "export.json")


def region(**values: Any) -> Change:
    return tasks(lambda found: found[0]["annotations"][0]["result"][0].update(values))


def coco(**values: Any) -> Change:
    return content(lambda found: found["annotations"][0].update(values))


def scaled(factor: float) -> Change:
    return content(lambda found: [one.update(bbox=[v * factor for v in one["bbox"]]) for one in found["annotations"]])


def other_path(found: Any) -> None:
    found["images"].append(found["images"][0] | {"id": 99, "file_name": f"old/{found['images'][0]['file_name']}"})
    found["annotations"].append(found["annotations"][0] | {"id": 99, "image_id": 99})


def twice(found: Any) -> None:
    found.append(json.loads(json.dumps(found[0]).replace("zebra", "ant")))


def cvat_twice(folder: Path) -> None:
    path = folder / "annotations.xml"
    found = re.search("<image .*?</image>", path.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    text("annotations.xml", "</annotations>", found.group().replace('label="zebra"', 'label="ant"') + "</annotations>")(
        folder
    )


def packed(folder: Path) -> None:
    path = first(folder, "labels/*.txt")
    with zipfile.ZipFile(folder / "more.zip", "w") as archive:
        archive.write(path, path.name)
    path.unlink()


XML = "Annotations/*.xml"
ATTRIBUTE = "</bndbox><attributes><attribute><name>{}</name><value>{}</value></attribute></attributes>"
MASK = '<mask label="zebra" rle="1, 2" left="4" top="4" width="10" height="10"/>'
NAN = {"points": [[1, 1], [float("nan"), 9], [9, 9]], "polygonlabels": ["ant"]}


@pytest.mark.parametrize(
    ("tool", "change", "right"),
    [
        ("voc", text(XML, "<difficult>0", "<difficult>False"), SOUND),
        ("voc", text(XML, "<difficult>0", "<difficult>Unspecified"), SOUND),
        ("voc", text(XML, "<difficult>0", "<difficult>0.0"), SOUND),
        ("voc", text(XML, "<difficult>0", "<difficult>true"), IGNORED),
        ("voc", text(XML, "<difficult>0", "<difficult>hard"), "object 1: difficult 'hard' is neither yes nor no"),
        ("voc", text(XML, "</bndbox>", "</bndbox><ignore>1</ignore>"), IGNORED),
        ("voc", text(XML, "</bndbox>", ATTRIBUTE.format("difficult", "true")), IGNORED),
        ("voc", text(XML, "</bndbox>", "</bndbox><deleted>1</deleted>"), "object 1: deleted is set"),
        ("voc", moved(XML, "XML"), SOUND),
        ("voc", text(XML, "(<object>.*</object>)", r"<objects>\1</objects>"), SOUND),
        ("voc", text(XML, "object>", "Object>", every=True), SOUND),
        ("voc", text(XML, "<annotation>", '<annotation xmlns="urn:x">'), SOUND),
        ("voc", text(XML, "(<object>.*</object>)", r"<part>\1</part>"), "nested where they are not looked for"),
        ("voc", text(XML, "(<bndbox>.*?</bndbox>)", r"\1\1"), "object 1: has 2 bndbox elements"),
        ("voc", text(XML, "<xmin>4.0", "<xmin>0_4"), "object 1: box .* is not four numbers"),
        ("voc", text(XML, "<xmin>4.0(.*?)<xmax>14.0", r"<xmin>14.0\1<xmax>4.0"), "'zebra', ends before it begins"),
        ("voc", text(XML, "(<object>.*?</object>)", r"\1\1"), SOUND),
        ("coco", coco(iscrowd="0"), SOUND),
        ("coco", coco(iscrowd="false", ignore="no"), SOUND),
        ("coco", coco(attributes={"difficult": True}), IGNORED),
        ("coco", coco(iscrowd=2), "annotation 1: iscrowd 2 is neither yes nor no"),
        ("coco", coco(deleted=True), "annotation 1: deleted is True"),
        ("coco", coco(bbox_mode=0), "annotation 1: bbox_mode 0"),
        ("coco", coco(attributes={"rotation": 90.0}, bbox=[4, 6.5, 10, 5]), [(0, (6.5, 4, 11.5, 14), False), SOUND[1]]),
        ("coco", coco(bbox=[], segmentation=[[4, 4, 14, 4, 14, 14]]), SOUND),
        ("coco", coco(bbox=[]), r"annotation 1: box \[\] is not four numbers"),
        ("coco", coco(category_id="1", image_id="1"), SOUND),
        ("coco", coco(image_id=True), "annotation 1: of image True, which is not in 'images'"),
        ("coco", text("annotations.json", '"bbox": ', '"bbox": [1, 1, 2, 2], "bbox": '), "'bbox' occurs twice"),
        ("coco", content(lambda found: found["categories"][1].update(id=1)), "category 1: id is duplicated"),
        ("coco", content(lambda found: found["images"][0].update(objects=[{}])), "image 1: holds 1 objects of its own"),
        ("coco", content(lambda found: found["images"][0].update(annotated=False)), "image 1: annotated is False"),
        ("coco", content(lambda found: found["images"][0].update(width="wide")), "size 'wide' x .* is not of numbers"),
        ("coco", content(lambda found: found["annotations"].extend(found["annotations"])), SOUND),
        ("coco", content(other_path), "two answers about image 1 that differ"),
        ("coco", scaled(1 / 64), "these are shares of the image's sides"),
        ("coco", scaled(10), "boxes leave their images by far"),
        ("coco", moved("annotations.json", "JSON"), SOUND),
        ("yolo", moved("labels/*.txt", "TXT"), SOUND),
        ("yolo", put("labels/classes.txt", "ant\nzebra\n"), "class 0 is 'ant' here and 'zebra' in .*data.yaml"),
        ("yolo", put("labels/classes.txt", "zebra\n"), SOUND),
        ("yolo", put("data.yml", "names: {'0': ant}"), "class 0 is 'ant' here and 'zebra' in"),
        ("yolo", put("classes.txt", "9" * 5000), "class 0 is .9+.* here and .zebra. in "),
        ("yolo", put("data.yaml", "names: [ant]\nnames: [zebra]\n"), "'names' occurs twice"),
        ("yolo", put("data.yaml", "names: [zebra]\nmade: 2026-13-45\n"), "not valid YAML"),
        ("yolo", put("data.yaml", f"names: {'[' * 5000}"), "not valid YAML"),
        ("yolo", put("obj.names", "zebra\n\nant\n"), "line 2: blank"),
        ("yolo", label("0 0.1 0.1 nan 0.1 0.5 0.5 0.1 0.5\n"), "line 1: holds a number that is not finite"),
        ("yolo", label("0 0.5 0.5 0_1.0 0.5\n"), "line 1: not 'class cx cy width height'"),
        ("yolo", label("0 0.5 0.5 -0.2 0.2\n"), "ends before it begins"),
        ("yolo", label("0 0.5 0.5 0.2 0.2\n", "old"), "two answers about image 1 that differ"),
        ("yolo", packed, "more.zip: an archive within what is returned; unpack it"),
        ("yolo", moved("states.csv", "STATES.CSV"), SOUND),
        ("cvat", moved("annotations.xml", "XML"), SOUND),
        ("cvat", text("*.xml", "<box ", '<polygon label="ant" points="1,1;nan,2;9,9"/><box '), "not four numbers"),
        ("cvat", text("*.xml", "<box ", '<points label="ant" points="1,1"/><box '), "<points> marks 'ant'"),
        ("cvat", text("*.xml", "(<box .*?/>)", r"<group>\1</group>"), "<group> marks objects and is no box"),
        ("cvat", text("*.xml", '<box label="zebra".*?/>', MASK), SOUND),
        ("cvat", text("*.xml", 'xtl="4.00', 'xtl="0_4'), "'0_4' is no number"),
        ("cvat", cvat_twice, "two answers about image 1"),
        ("label_studio", moved("export.json", "JSON"), SOUND),
        ("label_studio", text("export.json", '"was_cancelled": false', '"was_cancelled": "false"'), SOUND),
        ("label_studio", text("export.json", '"was_cancelled": false', '"was_cancelled": "x"'), "neither yes nor no"),
        ("label_studio", text("export.json", '"result": ', '"result": [], "result": '), "'result' occurs twice"),
        ("label_studio", region(type="rectangle", value={"x": 1}), "region r0 of type rectangle has no class"),
        ("label_studio", region(type="brushlabels", value={"brushlabels": ["ant"]}), "of type brushlabels marks 'ant'"),
        ("label_studio", region(type="RectangleLabels"), "of type RectangleLabels marks 'zebra'"),
        ("label_studio", region(type="polygonlabels", value=NAN), "not four numbers"),
        ("label_studio", tasks(lambda found: found[0]["data"]["mgral"].update(id=1.9)), "mgral.id 1.9 is no number"),
        ("label_studio", tasks(twice), "two answers about image 1"),
    ],
)  # fmt: skip
def test_it_is_read_as_meant_or_refused(
    tool: str, change: Change, right: list[Any] | str, batch: Batch, tmp_path: Path
) -> None:
    folder = respond(tool, batch, tmp_path / "given")
    assert of_first(settle(batch, read(tool, folder, batch))) == SOUND
    change(folder)
    if isinstance(right, str):
        with pytest.raises(MgralError, match=right) as caught:
            settle(batch, read(tool, folder, batch))
        assert len(str(caught.value).splitlines()) == 1
        assert len(str(caught.value)) < 1000
        return
    outcome = settle(batch, read(tool, folder, batch))
    assert of_first(outcome) == right
    assert {image.state for image in outcome.images.values()} == {"finished"}


def test_a_line_of_the_table_is_about_one_image_of_several_with_one_name(tmp_path: Path) -> None:
    """a/1.png and b/1.png: what is said of the one took the labels of the other."""
    batch = batches.batch(tmp_path / "set", batches.images(tmp_path / "set", ("a/1.png", "b/1.png")))
    found = tmp_path / "found"
    found.mkdir()
    put("classes.txt", "zebra\n")(found)
    for name in "ab":
        put(f"{name}/1.txt", "0 0.5 0.5 0.2 0.2\n")(found)
    put("states.csv", "file_name,state\nb/1.png,skipped\n")(found)
    outcome = settle(batch, read("yolo", found, batch))
    assert [outcome.images[i].state for i in (1, 2)] == ["finished", "skipped"]
    put("states.csv", "file_name,state\nb/1.png,skipped\nb/1.txt,finished\n")(found)
    with pytest.raises(MgralError, match=r"states.csv: line 3: b/1.txt is duplicated"):
        read("yolo", found, batch)


def test_boxes_that_were_removed_later_are_counted_where_the_tool_cannot_tell(batch: Batch, tmp_path: Path) -> None:
    before = read("yolo", respond("yolo", batch, tmp_path / "before"), batch)
    folder = respond("yolo", batch, tmp_path / "after")
    label("")(folder)
    (folder / "states.csv").unlink()
    after = read("yolo", folder, batch)
    unnamed = Returned([Answer(one.name, one.state, one.boxes) for one in before.answers], "yolo")
    outcome = settle(batch, unnamed, after)
    assert of_first(outcome) == SOUND
    assert outcome.counts["images that came back without boxes later: the boxes returned before stay"] == 1
    assert of_first(settle(batch, unnamed, after, unsaid="empty")) == []


def test_a_class_may_be_called_ignore(tmp_path: Path) -> None:
    images = batches.images(tmp_path / "set")
    batch = Batch("mine", 0, ("ignore", "ant"), tmp_path / "set", tuple(images))
    boxes = (AnswerBox("ignore", BOXES[0]), AnswerBox("ant", BOXES[1]))
    said = Returned([batches.said(images[0], "finished", boxes)], "coco")
    assert of_first(settle(batch, said)) == [(0, BOXES[0], False), (1, BOXES[1], False)]
    assert of_first(settle(batch, said, names={"ant": "ignore"}))[1] == (0, BOXES[1], True)
