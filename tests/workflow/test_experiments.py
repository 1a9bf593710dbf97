"""Each small experiment of params/ runs to its report: detectors, kinds of records and strategies that tiny has not."""

from __future__ import annotations

import itertools

import pytest
import yaml
from checkouts import ROOT, Checkout

pytestmark = pytest.mark.slow

EXPERIMENTS = sorted(path.stem for path in (ROOT / "params").glob("tiny_*.yaml"))
SHARED = "tiny_foundation"  # test_foundation.py looks at the same run
MMDET = ROOT / ".venv-mmdet"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_small_experiment_runs_to_its_report(request: pytest.FixtureRequest, name):
    params = f"params/{name}.yaml"
    experiment = yaml.safe_load((ROOT / params).read_text())
    project: Checkout = request.getfixturevalue("foundation" if name == SHARED else "project")
    if experiment.get("detector", {}).get("name") == "mmdet":
        if not MMDET.exists():
            pytest.skip("mmdet needs an environment of its own: make env-mmdet")
        (project.root / MMDET.name).symlink_to(MMDET)
    if name != SHARED:
        project.snakemake(params=params)
    run = project.root / "data/runs" / name
    labels = [one if isinstance(one, str) else one["name"] for one in experiment["strategies"]]
    expected = itertools.product(labels, map(str, experiment["seeds"]), map(str, range(experiment["cycles"])))
    rows = [tuple(line.split(",")[:3]) for line in (run / "curve.csv").read_text().splitlines()[1:]]
    assert rows == list(expected)
    assert "<html" in (run / "report.html").read_text()
    assert project.plan(params=params) == {}
