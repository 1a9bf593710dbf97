"""mmdet's detectors, from outside their environment: they are named, explained and tested there (in_mmdet.py)."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mgral.core import plugins
from mgral.core.errors import MgralError
from mgral.detection.base import build_detector

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-mmdet" / "bin" / "python"
FILES = ["tests/contract/in_mmdet.py", "tests/contract/in_mmdet_weights.py"]

outside = pytest.mark.skipif(importlib.util.find_spec("mmdet") is not None, reason="mmdet is here: see in_mmdet.py")


@outside
def test_options_are_known_without_mmdet():
    assert plugins.load("detectors", "mmdet").Options().config == "ssd300"


@outside
def test_a_missing_mmdet_names_the_command_that_builds_it():
    with pytest.raises(MgralError, match="mmdet is not in this environment; build its own with `make env-mmdet`"):
        build_detector("mmdet", ("a",), 300, {}, 0)


def test_nothing_but_the_plug_in_names_mmdet():
    modules = "mgral.cli.train, mgral.cli.proxy, mgral.detection.detectors.mmdet"
    code = f"import sys, {modules}; sys.exit('mmdet' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@outside
@pytest.mark.slow
def test_the_contract_holds_in_the_environment_of_mmdet():
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON.relative_to(ROOT)} is absent; build it with `make env-mmdet`")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    command = [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", *FILES]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
