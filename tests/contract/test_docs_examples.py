"""The examples of docs/extending.md keep the contract of their kind; examples/next_batch.py picks a batch."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

import mgral

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = sorted((ROOT / "examples/plugins").glob("*/*.py"))
SHORT = [*PLUGINS, ROOT / "examples/next_batch.py"]


@pytest.mark.parametrize("path", SHORT, ids=lambda path: path.stem)
def test_an_example_fits_on_one_page(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 40


@pytest.fixture(scope="module")
def contract() -> str:
    """What one run of pytest says of the contract tests of all example plug-ins."""
    files = sorted({f"tests/contract/test_{path.parent.name}.py" for path in PLUGINS})
    chosen = " or ".join(f"(test_{path.parent.name} and {path.stem})" for path in PLUGINS)
    without = (
        "tests/contract/test_strategies.py::test_every_strategy_has_a_page"  # the example is none of the package's
    )
    command = [sys.executable, "-m", "pytest", "-v", "-p", "example_plugins", "-p", "no:cacheprovider", *files]
    places = os.pathsep.join([str(ROOT / "tests/helpers"), str(ROOT / "src")])
    environment = {**os.environ, "PYTHONPATH": places, "PYTEST_ADDOPTS": ""}
    done = subprocess.run(
        [*command, "-k", chosen, "--deselect", without],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.stem)
def test_a_plug_in_passes_the_contract_tests_of_its_kind(path: Path, contract: str) -> None:
    own = [line for line in contract.splitlines() if f"test_{path.parent.name}.py::" in line and path.stem in line]
    assert any(" PASSED" in line for line in own), contract[-3000:]
    assert not [line for line in own if " FAILED" in line or " ERROR" in line], contract[-3000:]


@pytest.mark.slow
def test_the_next_batch_of_a_folder_by_a_network_of_torchvision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    network = fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None, num_classes=91)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        Image.fromarray(rng.integers(0, 255, (64, 96, 3), np.uint8)).save(tmp_path / f"{name}.jpg")
    monkeypatch.setattr(sys, "argv", ["next_batch.py", str(tmp_path), str(tmp_path / "weights.pt"), "2"])
    runpy.run_path(str(ROOT / "examples/next_batch.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len({line.split()[0] for line in lines}) == 2
    assert all("entropy" in line for line in lines)


def test_the_python_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    block = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block is not None
    probs = np.array([[0.6, 0.1]], np.float32)
    arrays = np.array([[1, 2, 9, 9]], np.float32), probs[:, 0], np.array([0]), probs
    exec(block[1], {"mine": {1: arrays, 2: arrays, 3: arrays}})
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["1", "2", "3"]


def test_public_names_are_those_of_the_stub_and_light() -> None:
    stub = (ROOT / "src/mgral/__init__.pyi").read_text()
    names = {line.split()[-1] for line in stub.splitlines() if line.startswith("from ")}
    assert names == set(mgral.__all__)
    assert all(getattr(mgral, name) is not None for name in mgral.__all__)
    with pytest.raises(AttributeError, match="no attribute 'choose'"):
        mgral.choose  # noqa: B018
    code = "import sys, mgral; sys.exit(bool({'torch', 'numpy', 'pydantic'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_select_names_what_is_missing_and_checks_what_it_is_given() -> None:
    pool = mgral.Pool(0, {}, (1, 2, 3))
    evidence = mgral.Evidence(pool, ("cat",))

    def seen(probs: Any) -> mgral.Evidence:
        one = mgral.Detections(np.zeros((len(probs), 4)), np.ones(len(probs)), np.zeros(len(probs), int), probs)
        return mgral.Evidence(pool, ("cat",), dict.fromkeys((1, 2, 3), one), "sigmoid")

    assert [pick.id for pick in mgral.select("random", evidence, 9)] != []
    assert mgral.select("random", evidence, 2, seed=4) == mgral.select("random", evidence, 2, seed=4)
    for arguments, says in [
        (("entrpy", evidence, 1), "did you mean 'entropy'"),
        (("entropy", evidence, 1), "strategy entropy: needs detections"),
        (("adaptive", seen(np.zeros((0, 1))), 1), r"in Python: Evidence\.confident"),
        (("entropy", seen([[0.9]]), 1), "image 1: its probs are no NumPy array"),
        (
            ("entropy", seen(np.array([[0.1, 0.9]])), 1),
            r"image 1: .*probs \[1, 2\]; give .* probs \[n, 1\], for 1 classes",
        ),
        (("random", evidence, 0), "budget: 0 images; ask for 1 or more"),
        (("entropy", evidence, 1, 0, {"agregate": "sum"}), "options of entropy.agregate: unknown key"),
    ]:
        with pytest.raises(mgral.MgralError, match=says):
            mgral.select(*arguments)
