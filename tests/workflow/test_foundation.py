"""A backbone that is no part of the detector draws the first images and embeds the pool, once for the whole run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from checkouts import FOUNDATION, Checkout, duplicate

pytestmark = pytest.mark.slow


def test_freesel_draws_the_first_images_and_a_backbone_embeds_all(foundation: Checkout, tmp_path: Path):
    """test_experiments.py looks at the rest of this run."""
    run = foundation.root / "data/runs/tiny_foundation"
    text = min((foundation.root / ".snakemake/log").glob("*.log")).read_text()
    assert len(re.findall(r"^Job \d+: embed the pool by a backbone", text, re.MULTILINE)) == 1
    log = (run / "logs/foundation_features/all.log").read_text()
    assert "embedding: resnet18 has random weights" in log

    with np.load(run / "dataset/foundation.npz") as data:
        known = dict(zip(data["ids"].tolist(), data["vectors"], strict=True))
        patterns = dict(zip(data["ids"].tolist(), data["patterns"].astype(float), strict=True))
    assert len(known) == 40 and patterns[1].shape == (5, 256)
    pool = json.loads((run / "shared/seed-0/cycle-0/pool.json").read_text())
    labelled = [one["id"] for one in pool["labelled"]]
    assert len(labelled) == 12
    unit = {i: one / np.linalg.norm(one, axis=1, keepdims=True) for i, one in patterns.items()}

    def reach(images: list[int]) -> float:
        """Distance of the farthest local pattern of the pool from its nearest among some images."""
        centres = np.concatenate([unit[i] for i in images])
        return float(max((1 - one @ centres.T).min(axis=1).max() for one in unit.values()))

    others = np.random.default_rng(0)
    at_random = [reach(others.choice(list(known), 12, replace=False).tolist()) for _ in range(50)]
    assert reach(labelled) < min(at_random)
    for cycle in ("shared/seed-0/cycle-0", "coreset/seed-0/cycle-1"):
        with np.load(run / cycle / "embeddings.npz") as data:
            assert all(
                (known[i] == vector).all() for i, vector in zip(data["ids"].tolist(), data["vectors"], strict=True)
            )

    project = duplicate(foundation, tmp_path / "project")
    project.edit(FOUNDATION, "initial_by: freesel", "initial_by: random")
    jobs = project.plan(params=FOUNDATION)
    assert jobs["pool"] == 1 and "foundation_features" not in jobs


def test_weights_that_nobody_named_are_asked_for(project: Checkout):
    project.edit(FOUNDATION, "  weights: random\n", "")
    text = project.snakemake("--dry-run", params=FOUNDATION, fails=True)
    assert "embedding.weights: missing; give a local weights file of resnet18, or random" in text
