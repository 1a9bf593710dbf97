"""Which modules a step uses, on a small package whose imports are written out here."""

from __future__ import annotations

from pathlib import Path

import pytest

from mgral.core.code_hash import Snapshot, closure, code_hash

FILES = {
    "mgral/__init__.py": '"""."""\n',
    "mgral/cli/__init__.py": "def main():\n    from mgral.cli import train, report\n",
    "mgral/cli/train.py": "import os\nfrom mgral import files\n\ndef run():\n    from mgral.training.loop import fit\n",
    "mgral/cli/report.py": "from mgral.report import build\n",
    "mgral/files.py": "import json\n\nINDENT = 1  # of JSON\n",
    "mgral/training/__init__.py": "from mgral import seeds\n\ndef helper():\n    import mgral.report\n",
    "mgral/training/loop.py": (
        "from . import augment\nfrom ..boxes import iou\n\ndef fit():\n    '''Fit.'''\n    return 1\n"
    ),
    "mgral/training/augment.py": "import numpy as np\n",
    "mgral/boxes.py": "def iou():\n    return f'{1}'\n",
    "mgral/seeds.py": "",
    "mgral/report/__init__.py": "from mgral.report.page import build\n",
    "mgral/report/page.py": "def build():\n    pass\n",
    "mgral/report/page.html": "<html>",
    "mgral/detectors/__init__.py": "import torch\n",
    "mgral/detectors/tiny.py": "from mgral.detectors import torch\n",
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_closure_follows_every_way_to_import(source: Path):
    # train → files; inside run → training.loop → (relative) augment, boxes; on the way to loop the package training
    # runs, and with it `from mgral import seeds`, but not its helper(), which would import the report. The
    # dispatcher mgral.cli is left out, and so are os, json and numpy.
    assert closure(["mgral.cli.train"], source) == {
        "mgral",
        "mgral.cli.train",
        "mgral.files",
        "mgral.training",
        "mgral.training.loop",
        "mgral.training.augment",
        "mgral.boxes",
        "mgral.seeds",
    }


def test_a_package_that_is_itself_imported_counts_with_its_functions(source: Path):
    (source / "mgral/cli/train.py").write_text("from mgral.training import helper\n")
    assert {"mgral.training", "mgral.report", "mgral.report.page"} <= closure(["mgral.cli.train"], source)


def test_imports_may_run_in_circles(source: Path):
    (source / "mgral/boxes.py").write_text("from mgral.training import loop\n")
    assert "mgral.boxes" in closure(["mgral.boxes"], source)


def test_plug_ins_are_named_beside_the_step(source: Path):
    both = closure(["mgral.cli.train", "mgral.detectors.tiny"], source)
    assert both - closure(["mgral.cli.train"], source) == {"mgral.detectors", "mgral.detectors.tiny"}
    assert code_hash("mgral.cli.train", source=source) != code_hash(
        "mgral.cli.train", "mgral.detectors.tiny", source=source
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mgral/boxes.py", "def iou():\n    return f'{2}'\n"),
        ("mgral/training/loop.py", "from . import augment\nfrom ..boxes import iou\n\ndef fit():\n    return 1.0\n"),
        ("mgral/training/__init__.py", "from mgral import seeds\n"),
        ("mgral/seeds.py", "SEED = 1\n"),
        ("mgral/cli/train.py", FILES["mgral/cli/train.py"] + "from mgral.report import build\n"),
    ],
)
def test_an_edit_inside_changes_the_hash(source: Path, name, text):
    before = code_hash("mgral.cli.train", source=source)
    (source / name).write_text(text)
    assert code_hash("mgral.cli.train", source=source) != before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mgral/report/page.py", "def build():\n    return 1\n"),
        ("mgral/report/page.html", "<html></html>"),
        ("mgral/detectors/tiny.py", "x = 1\n"),
        ("mgral/cli/__init__.py", "def main():\n    from mgral.cli import train, report, more\n"),
        ("mgral/cli/__pycache__/train.pyc", "compiled"),
        ("mgral.egg-info/PKG-INFO", "Version: 2"),
        # comments, docstrings and layout, inside what the step uses
        ("mgral/files.py", "import json\n\n\nINDENT = (\n    1\n)\n"),
        ("mgral/__init__.py", '"""Another sentence."""\n'),
        (
            "mgral/training/loop.py",
            'from . import augment\nfrom ..boxes import iou\n\ndef fit():\n    """Fit well."""\n    return 1\n',
        ),
    ],
)
def test_an_edit_elsewhere_does_not(source: Path, name, text):
    before = code_hash("mgral.cli.train", source=source)
    (source / name).parent.mkdir(exist_ok=True)
    (source / name).write_text(text)
    assert code_hash("mgral.cli.train", source=source) == before


def test_a_template_belongs_to_its_package(source: Path):
    before = code_hash("mgral.cli.report", source=source)
    (source / "mgral/report/page.html").write_text("<html></html>")
    assert code_hash("mgral.cli.report", source=source) != before


def test_the_hash_depends_on_neither_place_nor_order(source: Path, tmp_path: Path):
    moved = tmp_path / "elsewhere"
    (source / "mgral").rename(tmp_path / "package")
    moved.mkdir()
    (tmp_path / "package").rename(moved / "mgral")
    first = code_hash("mgral.cli.train", "mgral.cli.report", source=moved)
    assert first == code_hash("mgral.cli.report", "mgral.cli.train", source=moved)
    assert len(first) == 16


def test_the_hash_is_the_same_in_every_version_of_python(source: Path):
    """Written down once: were it to change with Python, a new version would train everything again."""
    assert code_hash("mgral.boxes", source=source) == "b3bfe0934a088085"


def test_an_unknown_module_is_named(source: Path):
    with pytest.raises(ModuleNotFoundError, match=r"no module mgral\.cli\.trian below"):
        code_hash("mgral.cli.trian", source=source)


def test_steps_of_this_package_are_told_apart():
    train, report = closure(["mgral.cli.train"]), closure(["mgral.cli.report"])
    assert {"mgral.detection.training", "mgral.detection.base", "mgral.detection.average_precision"} <= train
    assert not any(name.startswith("mgral.report") for name in train)
    assert {"mgral.report.sections", "mgral.report.learning_curves"} <= report
    assert not any(
        name.startswith(("mgral.detection.training", "mgral.agent", "mgral.detection.base")) for name in report
    )


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("steps: int = parameter(1, 'steps')", "steps: int = parameter(2, 'optimiser steps', unit='1')", True),
        ("steps: int = Field(default=1, description='a')", "steps: int = Field(default=1, description='b')", True),
        ("steps: int = Field(default=1, description='a')", "steps: int = Field(default=2, description='a')", False),
        ("steps: Positive = parameter(1, 'a')", "steps: Count = parameter(1, 'a')", False),
        ("steps: int = other(1, 'a')", "steps: int = other(1, 'b')", False),
        ("steps = parameter(1, 'a')", "steps = parameter(1, 'b')", False),
    ],
)
def test_default_and_meaning_of_a_parameter_do_not_count(source: Path, before: str, after: str, same: bool):
    (source / "mgral/boxes.py").write_text(f"class Training:\n    {before}\n")
    first = code_hash("mgral.boxes", source=source)
    (source / "mgral/boxes.py").write_text(f"class Training:\n    {after}  # other\n")
    assert (code_hash("mgral.boxes", source=source) == first) == same


def test_a_process_that_lives_on_sees_an_edit(source: Path):
    first = code_hash("mgral.cli.train", source=source)
    (source / "mgral/cli/train.py").write_text("from mgral.report import build\n")
    assert code_hash("mgral.cli.train", source=source) != first
    assert "mgral.report" in closure(["mgral.cli.train"], source)


def test_a_snapshot_gives_the_same_hashes_for_one_look_at_the_files(source: Path):
    snapshot = Snapshot(source)
    assert snapshot.code_hash("mgral.cli.train") == code_hash("mgral.cli.train", source=source)
    (source / "mgral/later.py").write_text("")
    with pytest.raises(ModuleNotFoundError, match=r"no module mgral\.later below"):
        snapshot.code_hash("mgral.later")
    assert Snapshot(source).code_hash("mgral.later") == code_hash("mgral.later", source=source)


def test_a_package_counts_before_a_module_of_its_name(source: Path):
    (source / "mgral/boxes").mkdir()
    (source / "mgral/boxes/__init__.py").write_text("from mgral import files\n")
    assert "mgral.files" in closure(["mgral.boxes"], source)
