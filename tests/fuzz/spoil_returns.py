"""What annotation tools return, spoilt at random from a seed.

    PYTHONPATH=tests/fuzz python tests/fuzz/spoil_returns.py --cases 10000 --seed 0

What is checked of each case: `mgral return` ends within 10 seconds, with 0, or with 2 and one line of bounded length.
If it refuses, the folder of answers is as it was, byte for byte. If it accepts, the file is there as it came, `mgral
status` and `mgral close` can read it, and labels made of it are boxes inside their images, of known classes, in images
that a person finished.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import math
import random
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import tostring

import spoil
from defusedxml.ElementTree import fromstring

from mgral import cli
from mgral.annotation import exchange
from mgral.annotation.exchange import Answer, AnswerBox, Batch, BatchImage, Prediction
from mgral.core import plugins
from mgral.core.types import Boxes, Dataset, Image
from mgral.data import dataset_json

CLASSES = ("cat", "dög")
TOOLS = ("label_studio", "cvat", "coco", "yolo", "voc")
WIDTH, HEIGHT = 40, 30
NUMBERS = (math.nan, math.inf, -math.inf, 1e-320, 2**63, 10**400, -0.0, "1e400", "nan", "\ud800", "2026-13-45")
TEXTS = ("", "0", "-1", "nan", "inf", "1e400", "9" * 5000, "1.5", "x", "../../a", "a b", "\u202e", "١٢", "true", "cat")


def batch_of(folder: Path) -> Batch:
    """Five images; two have predictions."""
    shown = (Prediction("cat", (1.0, 2.0, 9.5, 12.25), 0.9),)
    images = tuple(
        BatchImage(i, f"{'ab'[i % 2]}/{i} é.jpg", WIDTH, HEIGHT, f"{i:x}" * 64, i, predictions=shown if i < 3 else ())
        for i in range(1, 6)
    )
    return Batch("mine", 0, CLASSES, folder / "set", images)


def prepare(folder: Path) -> Batch:
    """The files of a run that waits for people, in an empty folder."""
    batch = batch_of(folder)
    exchange.write_batch(batch, folder / "manifest.json")
    images = {one.id: Image(one.id, one.file_name, WIDTH, HEIGHT, "train") for one in batch.images}
    dataset = Dataset(CLASSES, images, {}, batch.root)
    dataset_json.write(dataset, {"format": "folder", "dropped": [], "clipped": 0}, folder / "dataset.json")
    return batch


def configure(folder: Path, tool: str, chance: random.Random) -> None:
    """Write the parameters, with rules that let more or less through."""
    rules = {"tool": tool, "unsaid": chance.choice(("refuse", "empty", "unlabelled"))}
    rules |= {"annotators": chance.choice((1, 2)), "extra": chance.choice(("take", "refuse"))}
    given = {"experiment": "mine", "seeds": [0], "strategies": ["random"], "oracle": "people", "annotation": rules}
    (folder / "p.json").write_text(json.dumps(given))


def sound(batch: Batch, tool: str, chance: random.Random) -> dict[int, list[Answer]]:
    """What people might say, as far as the tool knows it."""
    said = {}
    for image in batch.images:
        boxes = tuple(
            AnswerBox(chance.choice(CLASSES), (x, y, x + chance.uniform(1, 9), y + chance.uniform(1, 9)), "manual")
            for x, y in ((chance.uniform(0, 30), chance.uniform(0, 20)) for _ in range(chance.randrange(3)))
        )
        known = sorted(plugins.load("annotators", tool).STATES - {"unsaid"})
        state: Any = chance.choice(["finished", "finished", *known])
        said[image.id] = [Answer(image.export_name, state, boxes, who="1", seconds=3.5, at="2026-02-03T04:05:06Z")]
    return said


def _leaves(content: Any) -> list[tuple[Any, Any]]:
    """Each value of nested lists and mappings: what holds it, and its key there."""
    keys = content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    return [one for key in keys for one in ((content, key), *_leaves(content[key]))]


def _change_json(path: Path, chance: random.Random) -> None:
    """Remove values of a JSON file, or put others in their place: of any kind, or of the same file."""
    content = json.loads(path.read_text())
    for _ in range(chance.choice((1, 1, 2, 4))):
        leaves = _leaves(content)
        if not leaves:
            break
        group, key = chance.choice(leaves)
        other = chance.choice(leaves)
        if chance.random() < 0.2:
            del group[key]
        elif chance.random() < 0.3:
            group[key] = copy.deepcopy(other[0][other[1]])
        else:
            group[key] = copy.deepcopy(chance.choice((*spoil.VALUES, *NUMBERS)))
    path.write_text(json.dumps(content))


def _change_xml(path: Path, chance: random.Random) -> None:
    """Change names, attributes, texts and elements of an XML file, which stays well-formed."""
    top = fromstring(path.read_bytes())
    for _ in range(chance.choice((1, 1, 2, 4))):
        above, element = chance.choice([(one, child) for one in top.iter() for child in one])
        other = chance.choice(list(top.iter()))
        text = chance.choice((*TEXTS, other.text or "", *other.attrib.values()))
        what = chance.randrange(6)
        if what == 0:
            above.remove(element)
        elif what == 1:
            above.append(copy.deepcopy(other))
        elif what == 2:
            element.tag = chance.choice((other.tag, "polygon", "ellipse", "x"))
        elif what == 3 and element.attrib:
            del element.attrib[chance.choice(list(element.attrib))]
        elif element.attrib:
            element.set(chance.choice((*element.attrib, "rotation")), text)
        else:
            element.text = text
        if not len(top):
            break
    path.write_bytes(tostring(top, encoding="utf-8"))


def change(files: Sequence[Path], chance: random.Random) -> None:
    """Spoil what a file says, so that it can be read and means something else, or spoil it in any way."""
    path = chance.choice(files)
    if chance.random() < 0.25 or path.suffix not in (".json", ".xml"):
        spoil.spoil_files([*files], chance, internal=False)
    elif path.suffix == ".json":
        _change_json(path, chance)
    else:
        _change_xml(path, chance)


def returned(batch: Batch, tool: str, folder: Path, chance: random.Random, whole: bool) -> Path:
    """A file, folder or archive of a tool; spoilt unless it is to be whole."""
    folder.mkdir()
    plugins.load("annotators", tool).respond(batch, sound(batch, tool, chance), folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not whole:
        change(files, chance)
    packed = chance.random()
    if packed < 0.35:
        path = folder.with_suffix(".zip")
        with zipfile.ZipFile(path, "w", chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
            for file in sorted(one for one in folder.rglob("*") if one.is_file() and not one.is_symlink()):
                archive.write(file, file.relative_to(folder))
        if not whole and chance.random() < 0.4:
            spoil.spoil_files([path], chance, internal=True)
        return path
    return files[0] if len(files) == 1 and packed < 0.7 else folder


def call(folder: Path, verb: str, *arguments: str) -> tuple[int, list[str]]:
    """One verb on these files: how it ended, and what it printed on standard error."""
    where = ["--params", str(folder / "p.json"), "--manifest", str(folder / "manifest.json")]
    given = arguments if verb == "labels" else (*where, "--annotations", str(folder / "answers"), *arguments)
    said, printed = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(printed):
        status = cli.main([verb, *given])
        printed.flush()
    said.seek(0)
    return status, said.read().splitlines()


def refused(lines: Sequence[str]) -> str:
    """The one line of a refusal."""
    assert len(lines) == 1, lines
    assert lines[0].startswith("mgral: ") and len(lines[0]) <= spoil.LONGEST, lines[0][:300]
    return lines[0]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def case(seed: int, number: int, folder: Path) -> tuple[str, str]:
    """Run one case in an empty folder.

    Returns:
        The tool, and how it ended: ``accepted`` or ``refused``.

    Raises:
        Exception: whatever is wrong.
    """
    chance = random.Random(f"returns {seed} {number}")
    batch, tool = prepare(folder), chance.choice(TOOLS)
    configure(folder, tool, chance)
    if chance.random() < 0.3:
        first = returned(batch, tool, folder / "first", chance, whole=True)
        assert call(folder, "return", str(first))[0] == 0
    path = returned(batch, tool, folder / "given", chance, whole=False)
    before = contents(folder / "answers")
    with spoil.limit():
        status, lines = call(folder, "return", str(path))
        after = contents(folder / "answers")
        if status:
            assert after == before, sorted(after.keys() ^ before.keys())
            refused(lines)
            return tool, "refused"
        assert all(after[name] == before[name] for name in before if name != "cycle-0/returned.json")
        if path.is_file() and not zipfile.is_zipfile(path):
            assert path.read_bytes() in [after[name] for name in after.keys() - before.keys()]
        _use(folder, batch)
    return tool, "accepted"


def _use(folder: Path, batch: Batch) -> None:
    """What was accepted can be read, closed and made into labels; the same again is refused."""
    assert call(folder, "status")[0] == 0
    status, lines = call(folder, "close", "--partial")
    if status:
        refused(lines)
        return
    closed = str(folder / "answers/cycle-0/closed.json")
    out = ["--out", str(folder / "labels.json"), "--out-dataset", str(folder / "next.json")]
    status, lines = call(folder, "labels", "--closed", closed, "--dataset", str(folder / "dataset.json"), *out)
    assert status == 0, lines
    labels = json.loads((folder / "labels.json").read_text(), parse_constant=_no_constant)
    finished = {one["id"] for one in labels["images"] if one["state"] == "finished"}
    after = dataset_json.read(folder / "next.json")
    assert after.boxes.keys() == finished <= {one.id for one in batch.images}
    assert after.classes == CLASSES
    for boxes in after.boxes.values():
        _check(boxes)


def _no_constant(name: str) -> float:
    raise AssertionError(f"labels.json holds {name}, which is no JSON")


def _check(boxes: Boxes) -> None:
    for x1, y1, x2, y2 in boxes.xyxy.tolist():
        assert 0 <= x1 < x2 <= WIDTH and 0 <= y1 < y2 <= HEIGHT, boxes.xyxy
    assert all(0 <= label < len(CLASSES) for label in boxes.labels)


def main() -> int:
    """Spoil returns."""
    return spoil.run(case, __doc__, logging.disable)


if __name__ == "__main__":
    sys.exit(main())
