"""params/published.yaml: it is the published method, and its prices are those of a plain loop in float64."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from mgral.config import loading
from mgral.config.schema import Params, Table
from mgral.core.types import Embeddings, Record
from mgral.reward.lookup_table import LookupTable

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def published() -> Params:
    files = [str(ROOT / "params" / name) for name in ("base.yaml", "published.yaml")]
    return loading.check(*loading.combine((name, loading.read_yaml(name)) for name in files))


def test_what_the_paper_states(published: Params) -> None:
    assert (published.proxy.kind, published.proxy.start, published.proxy.records) == ("unlabelled", "scratch", 200)
    assert (published.table.representation, published.table.surrogate, published.table.carry) == (
        "embedding",
        "nearest",
        0,
    )
    assert published.table.threshold_deviations == 1
    assert (published.agent.hidden, published.search.iterations, published.search.baseline_decay) == (257, 2200, 0.5)
    assert published.search.baseline == "moving"
    assert published.search.fallback > 0
    assert (published.search.caution, published.search.polish) == (0, 0)


def test_no_default_has_a_say_in_what_the_paper_states() -> None:
    """With other defaults in base.yaml the published method stays what it is."""
    base = loading.read_yaml(ROOT / "params" / "base.yaml")
    other = loading.merge(
        base,
        {
            "proxy": {"kind": "both", "semi": "sed", "start": "detector", "steps": 7, "records": 30}
            | {"backbone": "frozen", "stop_at": 0.5, "generators": {"agent": 0.3}},
            "table": {"representation": "growth", "surrogate": "gp", "threshold_deviations": 3.0, "carry": 2},
            "agent": {"hidden": 5, "train_on": 50},
            "search": {
                "iterations": 1,
                "baseline": "leave_one_out",
                "baseline_decay": 0.9,
                "temperature": 2.0,
                "entropy_bonus": 0.1,
                "patience": 3,
                "fallback": 0,
                "caution": 1.0,
                "polish": 50,
            },
        },
    )
    own = loading.read_yaml(ROOT / "params" / "published.yaml")
    one, two = (loading.check(*loading.combine([("base", given), ("published", own)])) for given in (base, other))
    assert two == one


def test_prices_are_those_of_a_plain_loop(published: Params) -> None:
    rng = np.random.default_rng(3)
    embeddings = Embeddings(np.arange(1, 61), rng.normal(size=(60, 256)).astype(np.float32))
    drawn = [tuple(sorted(rng.choice(60, 8, replace=False).tolist())) for _ in range(24)]
    batches = [tuple(i + 1 for i in batch) for batch in drawn]
    levels = rng.uniform(0.2, 0.3, 20)
    found = [Record(batch, "random", float(level), 1.0) for batch, level in zip(batches[:20], levels, strict=True)]
    section = Table.model_validate({key: getattr(published.table, key) for key in Table.model_fields})
    price = LookupTable(found, embeddings, section).price(batches)

    def mean(batch: tuple[int, ...]) -> list[float]:
        rows = [embeddings.vectors[i - 1].astype(np.float64) for i in batch]
        return [math.fsum(row[d] for row in rows) / len(rows) for d in range(256)]

    vectors = [mean(batch) for batch in batches]
    between = [math.dist(a, b) for a, b in itertools.combinations(vectors[:20], 2)]
    centre = math.fsum(between) / len(between)
    deviation = math.sqrt(math.fsum((d - centre) ** 2 for d in between) / len(between))
    reference = math.fsum(levels) / len(levels)
    for k, vector in enumerate(vectors):
        distances = [math.dist(vector, other) for other in vectors[:20]]
        near = sorted(range(20), key=lambda j: distances[j])[: section.neighbours]
        if k < 20:
            value = float(levels[k])  # an exact hit is that record's own
        else:
            weights = [1 / distances[j] for j in near]
            value = math.fsum(w * levels[j] for w, j in zip(weights, near, strict=True)) / math.fsum(weights)
        assert price.value[k] == pytest.approx(value - reference, abs=1e-8)
        assert price.far[k] == (k >= 20 and min(distances) > centre - deviation)
