"""One selection from cycle 0 by several strategies, an agent's among them: mAP on test and boxes, by seed.

    python tests/benchmarks/free_rules.py params/generated_rules.yaml OUT [SEED ...]

The steps are those of the workflow, in one process, which saves the start of an interpreter for each. OUT/results.csv
gets a line for each seed and strategy as soon as it is known; what is there is not computed again, nor is a detector or
a record. The last lines give the mean gain over random and entropy with its 95 % t-interval over the seeds that are
complete.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from scipy import stats

from mgral import cli
from mgral.cli._arguments import read_experiment
from mgral.core import plugins
from mgral.strategies._contract import IN_FILES

ROOT = Path(__file__).parents[2]
COLUMNS = ["seed", "strategy", "mAP", "AP50", "boxes"]
FILES = {
    "embeddings": "embeddings.npz",
    "detections": "detections.npz",
    "competence": "metrics.json",
    "held_out": "replay/detections.npz",
}


def verb(name: str, params: list[str], **options: object) -> None:
    """Run one verb, as its command line would; end at the first that fails."""
    words = [name, *(["--params", *params] if params else [])]
    for key, value in options.items():
        values = value if isinstance(value, list) else [] if value is True else [value]
        words += [f"--{key.replace('_', '-')}", *map(str, values)]
    if cli.main(words):
        sys.exit(f"{' '.join(words)} failed")


def prepare(params: list[str], out: Path) -> dict[str, object]:
    """Generate or read the data set, once; the options that name it."""
    data = {"dataset": out / "dataset.json", "images": out / "images.npy"}
    if not data["images"].exists():
        if read_experiment(params).dataset.format == "synthetic":
            verb("generate", params, out=Path("data/raw") / read_experiment(params).experiment)
        verb("import", params, out=data["dataset"])
        verb("cache", params, dataset=data["dataset"], out=data["images"])
    return dict(data)


def first_cycle(params: list[str], data: dict[str, object], folder: Path, seed: int, replay: bool) -> None:
    """The detector of cycle 0 and what it finds in the pool; likewise of replay."""
    pool = folder / "pool.json"
    verb("pool", params, dataset=data["dataset"], seed=seed, out=pool)
    for home in (folder, folder / "replay")[: 1 + replay]:
        if (home / "detections.npz").exists():
            continue
        if home != folder:
            verb("replay-split", params, dataset=data["dataset"], pool=pool, seed=seed, out=home / "pool.json")
        verb("train", params, **data, pool=home / "pool.json", seed=seed, out=home)
        found = {name: home / f"{name}.npz" for name in ("embeddings", "detections")}
        held_out = {"hint": home / "hint.json"} if home != folder else {}
        verb(
            "embed",
            params,
            **data,
            pool=home / "pool.json",
            detector=home / "detector.safetensors",
            **found,
            **held_out,
        )


def reward(params: list[str], data: dict[str, object], folder: Path, seed: int) -> dict[str, object]:
    """Replay records, the table and the agent; what a selection reads of them."""
    experiment = read_experiment(params)
    replay, table, records = folder / "replay", folder / "table", []
    seen = {name: replay / f"{name}.npz" for name in ("embeddings", "detections")}
    split = {"pool": replay / "pool.json", "seed": seed, "kind": "replay"}
    if not (replay / "batches.json").exists():
        verb("sample-batches", params, dataset=data["dataset"], **split, **seen, out=replay / "batches.json")
    for k in range(experiment.proxy.records):
        records.append(replay / "proxies" / f"{k}.json")
        if not records[-1].exists():
            files = {"batches": replay / "batches.json", "detector": replay / "detector.safetensors", "out": replay}
            verb("proxy", params, **data, **split, **files, batch=k)
    own = {name: folder / f"{name}.npz" for name in ("embeddings", "detections")}
    given = {"dataset": data["dataset"], "pool": folder / "pool.json", "competence": folder / "metrics.json"}
    given |= {f"replay_{name}": path for name, path in {"pool": split["pool"], **seen}.items()}
    verb("table", params, **own, **given, records=records, out=table)
    detector = {"pool": folder / "pool.json", "detector": folder / "detector.safetensors"}
    verb("search", params, **data, **detector, **own, table=table, seed=seed, out=folder / "search")
    price = {"price": table / "price.npz"} if (table / "price.npz").exists() else {}
    how = {name: getattr(experiment.search, name) for name in ("polish", "caution", "certainty")}
    return {"agent": folder / "search/agent.safetensors", **price, **how}


def one_seed(params: list[str], data: dict[str, object], out: Path, seed: int, done: set[tuple[int, str]]) -> None:
    """Every strategy's batch, annotated and trained on."""
    experiment = read_experiment(params)
    needs = {one.name: plugins.load("strategies", one.plugin).NEEDS & IN_FILES for one in experiment.strategies}
    folder = out / f"seed-{seed}"
    if all((seed, name) in done for name in needs):
        return
    replay = any({"held_out", "agent"} & some for some in needs.values())
    first_cycle(params, data, folder, seed, replay)
    for name, some in needs.items():
        if (seed, name) in done:
            continue
        home = folder / name
        given = {need: folder / FILES[need] for need in sorted(some & FILES.keys())}
        if "agent" in some:
            given |= reward(params, data, folder, seed)
        chosen, pool = home / "selected.json", home / "pool.json"
        files = {"dataset": data["dataset"], "pool": folder / "pool.json"}
        verb("select", params, strategy=name, **files, **given, seed=seed, out=chosen)
        verb("annotate", [], **files, selected=chosen, out=pool)
        verb("train", params, **data, pool=pool, seed=seed, out=home)
        found = json.loads((home / "metrics.json").read_text())
        row = [seed, name, found["test"]["mAP"], found["test"]["AP50"], found["boxes"]]
        with (out / "results.csv").open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(row)
        print(*row, flush=True)


def report(rows: list[dict[str, str]], names: list[str]) -> None:
    """Mean gains with their intervals, over the seeds in which every strategy is there."""
    value = {(int(row["seed"]), row["strategy"]): float(row["mAP"]) for row in rows}
    seeds = sorted({seed for seed, _ in value})
    seeds = [seed for seed in seeds if all((seed, name) in value for name in names)]
    print(f"{len(seeds)} complete seeds: {seeds}")
    for reference in ("random", "entropy"):
        for name in names:
            gains = np.array([value[seed, name] - value[seed, reference] for seed in seeds])
            if name == reference or len(gains) < 2:
                continue
            mean = gains.mean()
            half = stats.t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / len(gains) ** 0.5
            interval = f"{mean:+.4f} ({mean - half:+.4f} to {mean + half:+.4f})"
            print(f"{name} - {reference}: {interval}, above in {(gains > 0).sum()} of {len(gains)}")


def main() -> None:
    """Read the arguments and run."""
    began = time.perf_counter()
    override, out = str(Path(sys.argv[1]).resolve()), Path(sys.argv[2]).resolve()
    out.mkdir(parents=True, exist_ok=True)
    params = [str(ROOT / "params/base.yaml"), override]
    experiment = read_experiment(params)
    if experiment.dataset.format == "synthetic":
        where = out / "root.json"
        where.write_text(json.dumps({"dataset": {"root": f"data/raw/{experiment.experiment}"}}))
        params.append(str(where))
        os.chdir(out)  # the folder of a generated set is fixed, and relative
    results = out / "results.csv"
    if not results.exists():
        results.write_text(",".join(COLUMNS) + "\n")
    data = prepare(params, out)
    for seed in [int(text) for text in sys.argv[3:]] or experiment.seeds:
        with results.open(encoding="utf-8") as file:
            done = {(int(row["seed"]), row["strategy"]) for row in csv.DictReader(file)}
        one_seed(params, data, out, seed, done)
    with results.open(encoding="utf-8") as file:
        report(list(csv.DictReader(file)), [one.name for one in experiment.strategies])
    print(f"seconds={time.perf_counter() - began:.0f}")


if __name__ == "__main__":
    main()
