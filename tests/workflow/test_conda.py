"""Environments of the rules: files that hold together, and rules that run in what conda makes of them.

Conda itself is not at hand where the tests run. In its place stands a script that takes the commands that Snakemake
gives, and makes a virtual environment in which the packages of the tests' own are installed already; what comes after
that is real: Snakemake's calls, the commands beside the environment file, the pins, the rule.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml
from checkouts import ROOT, Checkout

ENVIRONMENTS = sorted((ROOT / "workflow/envs").glob("*.yaml"))

CONDA = """#!/usr/bin/env bash
set -euo pipefail
case "$1 ${2-}" in
  "--version ") echo "conda 24.7.1" ;;
  "info --json") echo '{"conda_prefix": "%(home)s", "platform": "linux-64"}' ;;
  "config --get") echo '{"get": {"channel_priority": "strict"}}' ;;
  "env create")
    while [[ "$1" != --prefix ]]; do shift; done
    %(python)s -m venv "$2"
    echo %(packages)s > "$("$2/bin/python" -c 'import site; print(site.getsitepackages()[0])')/tests.pth" ;;
  "clean "*) ;;
  *) echo "conda $*: not expected" >&2; exit 1 ;;
esac
"""

ACTIVATE = """export CONDA_PREFIX="$1" PATH="$1/bin:$PATH"
command -v mgral > "$1/mgral-found" || true
"""


@pytest.fixture
def conda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command ``conda`` on PATH."""
    home = tmp_path / "conda"
    (home / "bin").mkdir(parents=True)
    values = {"home": home, "python": sys.executable, "packages": sysconfig.get_path("purelib")}
    (home / "bin/conda").write_text(CONDA % values)
    (home / "bin/conda").chmod(0o755)
    (home / "bin/activate").write_text(ACTIVATE)
    monkeypatch.setenv("PATH", str(home / "bin"), prepend=os.pathsep)


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.stem)
def test_an_environment_is_python_with_the_pins_of_requirements(path):
    content = yaml.safe_load(path.read_text())
    assert content["channels"] == ["conda-forge", "nodefaults"]
    names = {text.split()[0]: text for text in content["dependencies"]}
    assert set(names) - {"cxx-compiler"} == {"python", "pip"}  # all else is in requirements/, with hashes
    pins = {"mgral": "all", "mmdet": "mmdet"}[path.stem]
    resolved = ROOT / {"mgral": "Makefile", "mmdet": "mmdet.mk"}[path.stem]
    versions = set(re.findall(r"--python-version (\S+)", resolved.read_text()))
    assert {names["python"].partition("=")[2]} == versions
    commands = path.with_suffix(".post-deploy.sh").read_text()
    assert f"-m pip install --require-hashes -r requirements/{pins}.txt" in commands
    assert "-m pip install --no-deps --no-build-isolation -e ." in commands
    assert "--hash=sha256:" in (ROOT / f"requirements/{pins}.txt").read_text()


def test_every_rule_has_an_environment():
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        rules = re.split(r"^ *rule\b", path.read_text(), flags=re.MULTILINE)[1:]
        for rule in (text for text in rules if "shell:" in text):
            assert "conda:" in rule, f"{path.name}: {rule.splitlines()[0]}"


def test_without_conda_the_message_says_what_to_do(project: Checkout, monkeypatch):
    folders = [folder for folder in os.environ["PATH"].split(os.pathsep) if not Path(folder, "conda").exists()]
    monkeypatch.setenv("PATH", os.pathsep.join(folders))
    if shutil.which("conda", path=project.environment["PATH"]):
        pytest.skip("conda is in the environment that runs the tests")
    answer = project.snakemake("--use-conda", fails=True)
    assert "--use-conda: conda is not on PATH; install it" in answer
    assert "Traceback" not in answer


@pytest.mark.usefixtures("conda")
def test_mmdet_has_an_environment_of_its_own(project: Checkout):
    """The steps that hold a detector work there, the others where they always do."""
    text = project.snakemake("--use-conda", "--dry-run", params="params/tiny_mmdet.yaml")
    assert set(re.findall(r"Conda environment (\S+) will be created", text)) == {
        "workflow/envs/mgral.yaml",
        "workflow/envs/mmdet.yaml",
    }


@pytest.mark.slow
@pytest.mark.usefixtures("conda")
def test_a_rule_runs_in_the_environment_that_its_file_describes(plain_project: Checkout):
    """Its commands find all pins of requirements/all.txt satisfied, and install the package from the checkout."""
    made = plain_project.run_folder / "dataset/dataset.json"
    plain_project.snakemake("--use-conda", "--", str(made.relative_to(plain_project.root)))
    assert made.exists()
    (environment,) = (path.parent for path in (plain_project.root / ".snakemake/conda").glob("*/pyvenv.cfg"))
    assert (environment / "mgral-found").read_text().strip() == str(environment / "bin/mgral")
    source = "import mgral; print(mgral.__file__)"
    found = plain_project.call("env", "-u", "PYTHONPATH", str(environment / "bin/python"), "-c", source)
    assert found.strip() == str(plain_project.root / "src/mgral/__init__.py")
