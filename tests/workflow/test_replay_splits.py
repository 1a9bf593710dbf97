"""Records of several replay splits: which jobs they take, and what a small table of two holds."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from checkouts import Checkout

from mgral.config import loading
from mgral.core.files import read_json
from mgral.planning import forecast
from mgral.reward import table_files

DESIGNED = "params/tiny_designed.yaml"
SHARED = "data/runs/tiny_designed/shared/seed-0/cycle-0"


def test_each_split_repeats_what_replay_takes(project: Checkout) -> None:
    """Two tables, of cycles 0 and 1; learnable has the replay detectors of each split in cycle 1 too."""
    text = "experiment: splits\nseeds: [0]\nstrategies: [random, learnable, mgral]\nproxy: {splits: 3}\n"
    (project.root / "params/splits.yaml").write_text(text)
    answer = project.snakemake("--d3dag", params="params/splits.yaml")
    graph = forecast.read_graph(json.loads(next(line for line in answer.splitlines() if line.startswith("{"))))
    jobs = Counter(graph.rules.values())
    assert [jobs[rule] for rule in ("replay_split", "train/replay", "embed_replay")] == [3 * 3] * 3
    assert jobs["sample_batches"] == 3 * 2 and jobs["table"] == jobs["search"] == 2
    chunks = [f"proxy_replay{split}_{position}" for split in ("", "_2", "_3") for position in (0, 13)]
    assert {name: count for name, count in jobs.items() if name.startswith("proxy")} == dict.fromkeys(chunks, 2)
    experiment = loading.read([project.root / "params/base.yaml", project.root / "params/splits.yaml"])
    found = forecast.trainings(graph, experiment)
    assert (found["detectors"], found["detectors, for replay"], found["proxies"]) == (1 + 3 * 2, 9, 3 * 2 * (24 + 2))


@pytest.mark.slow
def test_a_second_split_trains_nothing_of_the_first_again(project: Checkout) -> None:
    project.edit(DESIGNED, "records: 14", "records: 5")
    project.edit(DESIGNED, "random: 4, designed: 10", "random: 2, designed: 3")
    audit = f"{SHARED}/table/audit.json"
    project.snakemake("--", audit, params=DESIGNED)
    folder = project.root / SHARED
    before = {path: path.stat().st_mtime_ns for path in folder.glob("replay/**/*") if path.is_file()}
    assert len(before) > 10 and not list(folder.glob("replay-2"))
    project.edit(DESIGNED, "repeats: 1\n", "repeats: 1\n  splits: 2\n")
    rules = ("replay_split", "train", "embed_replay", "sample_batches", "proxy_replay_2", "table")
    assert project.plan(audit, params=DESIGNED) == Counter(rules)
    project.snakemake("--", audit, params=DESIGNED)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    held_out = [set(read_json(folder / split / "pool.json")["unlabelled"]) for split in ("replay", "replay-2")]
    assert held_out[0] != held_out[1]
    records = table_files.read_records(folder / "table/records.parquet")
    for split, images in enumerate(held_out, 1):
        own = [record for record in records if record.split == split]
        assert len(own) == 5 and all(images >= set(record.ids) and record.vector for record in own)
        assert {"random", "rule balanced"} < {name for record in own for name in record.generator.split(", ")}
    found = read_json(folder / "table/audit.json")
    assert (found["records"], found["kinds"]["replay"]["splits"], found["kinds"]["replay"]["seeds"]) == (10, 2, 4)
