"""What Snakemake does at each start: check an experiment, and find parameters and code of its steps.

A dry run does all of it too, so nothing on the way imports a library that computes: torch alone takes three seconds.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    *("torch", "torchvision", "timm", "transformers", "safetensors", "mmdet", "hotcoco", "faster_coco_eval"),
    *("PIL.TiffImagePlugin", "scipy", "sklearn", "statsmodels", "faiss", "pandas", "pyarrow", "matplotlib"),
)

EXPERIMENTS = """
from pathlib import Path

from mgral import cli
from mgral.config import loading
from mgral.data import source_files
from mgral.planning import stages
from mgral.planning.rule_files import RuleFiles
from mgral.planning.run_plan import RunPlan
from mgral.planning.step_inputs import StepInputs

for path in sorted(Path("params").glob("*.yaml")):
    plan = RunPlan(loading.read(["params/base.yaml", path]))
    inputs = StepInputs(plan, cli.module, cli.VERBS)
    stages.of(plan, [])
    RuleFiles(plan).of_cycles()
    for verb in cli.VERBS:
        inputs.parameters(cli.module(verb))
    note(path.name)
inputs.code(cli.module("train"), *plan.plugin_modules())
note("code")
"""

PLUGINS = """
from mgral.core import plugins

for kind in plugins.PACKAGES:
    for name in plugins.names(kind):
        plugin = plugins.load(kind, name)
        if kind == "detectors":
            plugin.activation(plugin.Options.model_construct())
        note(f"{kind}/{name}")
"""


def test_planning_an_experiment_imports_no_library_that_computes():
    assert first_imports(EXPERIMENTS) == {}


def test_no_plugin_imports_one_before_it_works():
    """The module with the network may, which the plug-in's ``build`` imports: see detectors/retinanet."""
    assert first_imports(PLUGINS) == {}


def first_imports(code: str) -> dict[str, str]:
    """The heavy libraries that a fresh interpreter loads while it runs some code, and at which ``note`` each was found.

    Args:
        code: calls ``note(name)`` after each part, at least once.
    """
    script = f"""
import sys
noted, found = [], {{}}

def note(name):
    noted.append(name)
    for library in {HEAVY!r}:
        if library in sys.modules:
            found.setdefault(library, name)

{code}
assert noted
print(found)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(ast.literal_eval(done.stdout))
