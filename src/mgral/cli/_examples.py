"""Two examples for each verb: the end of its ``--help``, and a part of the reference in the docs.

They name the files of the demo, so they run as they are after ``make demo``, and write to the current folder. Those of
the verbs for people name the files of ``params/own.yaml``.
"""

from __future__ import annotations

import shlex

_WIDTH = 100
_PLACES = {
    "RUN": "data/runs/demo",
    "CYCLE": "data/runs/demo/mgral/seed-0/cycle-0",
    "OWN": "data/runs/own/adaptive/seed-0/cycle-0",
    "PARAMS": "--params params/base.yaml",
    "PEOPLE": "--params params/base.yaml params/own.yaml",
    "DATASET": "--dataset data/runs/demo/dataset/dataset.json",
    "IMAGES": "--images data/runs/demo/dataset/images.npy",
    "POOL": "--pool data/runs/demo/mgral/seed-0/cycle-0/pool.json",
    "DETECTOR": "--detector data/runs/demo/mgral/seed-0/cycle-0/detector.safetensors",
    "EMBEDDINGS": "--embeddings data/runs/demo/mgral/seed-0/cycle-0/embeddings.npz",
    "DETECTIONS": "--detections data/runs/demo/mgral/seed-0/cycle-0/detections.npz",
}
_EXAMPLES = {
    "generate": (
        "{PARAMS} --out generated",
        "{PARAMS} params/tiny.yaml --out generated-tiny",
    ),
    "import": (
        "{PARAMS} params/bccd.yaml --out dataset.json",
        "{PEOPLE} --registered data/annotations/own/images.json --out dataset.json",
    ),
    "register": (
        "{PEOPLE}",
        "{PEOPLE} --cycle 1",
    ),
    "cache": (
        "{PARAMS} {DATASET} --out images.npy",
        "{PARAMS} params/bccd.yaml --dataset dataset.json --out images.npy",
    ),
    "pool": (
        "{PARAMS} {DATASET} --seed 0 --out pool.json",
        "{PARAMS} {DATASET} --seed 1 --out pool-1.json",
    ),
    "export": (
        "{PEOPLE} --dataset data/runs/own/dataset/dataset.json --selected {OWN}/selected.json"
        " --out {OWN}/batch/manifest.json",
        "{PEOPLE} --dataset data/runs/own/dataset/dataset.json --selected {OWN}/selected.json"
        " --detections {OWN}/detections.npz --out {OWN}/batch/manifest.json",
    ),
    "push": ("{PEOPLE}", "{PEOPLE} --cycle 0"),
    "pull": ("{PEOPLE}", "{PEOPLE} --cycle 0"),
    "return": (
        "export.json {PEOPLE}",
        "annotations.zip {PEOPLE} --cycle 0 --tool cvat",
    ),
    "status": ("{PEOPLE}", "{PEOPLE} --cycle 0"),
    "close": ("{PEOPLE}", "{PEOPLE} --partial"),
    "labels": (
        "--dataset data/runs/own/dataset/dataset.json --closed data/annotations/own/cycle-0/closed.json"
        " --out-dataset dataset.json --out labels.json",
        "{DATASET} --simulated {OWN}/batch/manifest.json {PARAMS} --seed 0 --out-dataset dataset.json"
        " --out labels.json",
    ),
    "annotate": (
        "{DATASET} {POOL} --selected {CYCLE}/selected.json --out next-pool.json",
        "--dataset dataset.json --pool {OWN}/pool.json --selected {OWN}/selected.json"
        " --labels labels.json --out next-pool.json",
    ),
    "train": (
        "{PARAMS} {DATASET} {IMAGES} {POOL} --seed 0 --out trained",
        "{PARAMS} {DATASET} {IMAGES} --pool {RUN}/random/seed-1/cycle-2/pool.json --seed 1 --out trained",
    ),
    "embed": (
        "{PARAMS} {DATASET} {IMAGES} {POOL} {DETECTOR} --embeddings embeddings.npz --detections detections.npz",
        "{PARAMS} {DATASET} {IMAGES} --pool {CYCLE}/replay/pool.json --detector {CYCLE}/replay/detector.safetensors"
        " --embeddings embeddings.npz --detections detections.npz --hint hint.json",
    ),
    "replay-split": (
        "{PARAMS} {DATASET} {POOL} --seed 0 --out replay-pool.json",
        "{PARAMS} {DATASET} {POOL} --seed 1 --out replay-pool.json",
    ),
    "sample-batches": (
        "{PARAMS} {DATASET} --pool {CYCLE}/replay/pool.json {EMBEDDINGS} {DETECTIONS} --kind replay --seed 0"
        " --out batches.json",
        "{PARAMS} {DATASET} {POOL} {EMBEDDINGS} {DETECTIONS} --kind unlabelled --seed 0 --out batches.json",
    ),
    "foundation-features": (
        "{PARAMS} params/tiny_foundation.yaml {DATASET} {IMAGES} --out foundation.npz",
        "{PARAMS} params/tiny_foundation.yaml {DATASET} {IMAGES} --patterns --out foundation.npz",
    ),
    "backbone-features": (
        "{PARAMS} {DATASET} {IMAGES} {POOL} {DETECTOR} --out backbone_features.npy",
        "{PARAMS} {DATASET} {IMAGES} --pool {CYCLE}/replay/pool.json --detector {CYCLE}/replay/detector.safetensors"
        " --kind replay --out backbone_features.npy",
    ),
    "proxy": (
        "{PARAMS} {DATASET} {IMAGES} --pool {CYCLE}/replay/pool.json --batches {CYCLE}/replay/batches.json"
        " --detector {CYCLE}/replay/detector.safetensors --kind replay --seed 0 --batch 0 1 --out records",
        "{PARAMS} {DATASET} {IMAGES} --pool {CYCLE}/replay/pool.json --batches {CYCLE}/replay/batches.json"
        " --detector {CYCLE}/replay/detector.safetensors --kind replay --seed 0 --repeat 1 --out records",
    ),
    "table": (
        "{PARAMS} {EMBEDDINGS} {DETECTIONS} --records {CYCLE}/replay/proxies/0.json {CYCLE}/replay/proxies/1.json"
        " {CYCLE}/replay/proxies/2.json --out table",
        "{PARAMS} {EMBEDDINGS} {DETECTIONS} --records {CYCLE}/replay/proxies/0.json {CYCLE}/replay/proxies/1.json"
        " {CYCLE}/replay/proxies/2.json --repeats {CYCLE}/replay/repeats/1.json --out table",
    ),
    "search": (
        "{PARAMS} {DATASET} {IMAGES} {POOL} {DETECTOR} {EMBEDDINGS} --table {CYCLE}/table --seed 0 --out searched",
        "{PARAMS} {DATASET} {IMAGES} {POOL} {DETECTOR} {EMBEDDINGS} --table {CYCLE}/table --no-fallback --seed 1"
        " --out searched",
    ),
    "score": (
        "{PARAMS} params/tiny.yaml {DATASET} {IMAGES} {POOL} {DETECTOR} --strategy ll4al --seed 0"
        " --out image_scores.npz",
        "{PARAMS} params/tiny.yaml {DATASET} {IMAGES} {POOL} {DETECTOR} --strategy ll4al --seed 0"
        " --out image_scores.npz --log losses.csv",
    ),
    "select": (
        "{PARAMS} {DATASET} {POOL} --strategy entropy {DETECTIONS} --seed 0 --out selected.json",
        "{PARAMS} {DATASET} {POOL} --strategy mgral {EMBEDDINGS} --agent {CYCLE}/agent.safetensors --seed 0"
        " --out selected.json",
    ),
    "prices": (
        "{PARAMS} {DATASET} {POOL} --strategy mgral {EMBEDDINGS} {DETECTIONS} --agent {CYCLE}/agent.safetensors"
        " --price {CYCLE}/table/price.npz --competence {CYCLE}/metrics.json --seed 0 --out prices.json",
        "{PARAMS} {DATASET} {POOL} --strategy mgral {EMBEDDINGS} {DETECTIONS} --agent {CYCLE}/agent.safetensors"
        " --price {CYCLE}/table/price.npz --competence {CYCLE}/metrics.json --polish 10 --seed 0 --out prices.json",
    ),
    "noise": (
        "--metrics {RUN}/random/seed-0/cycle-0/metrics.json {RUN}/random/seed-1/cycle-0/metrics.json --out noise.json",
        "--metrics {RUN}/noise/repeat-0/metrics.json {RUN}/noise/repeat-1/metrics.json --out noise.json",
    ),
    "curve": (
        "{PARAMS} --run {RUN} --out curve.csv --summary summary.json",
        "{PARAMS} params/bccd.yaml --run data/runs/bccd --out curve.csv --summary summary.json",
    ),
    "compare": (
        "{PARAMS} --curve {RUN}/curve.csv --out comparison.json",
        "{PARAMS} --curve {RUN}/curve.csv --baselines random --noise {RUN}/noise.json --out comparison.json",
    ),
    "report": (
        "{PARAMS} --run {RUN} --out report.html --figures figures",
        "{PARAMS} --run {RUN} --out report.html --figures figures --commit 5ff59fa --date 2026-01-31",
    ),
    "list": ("strategies", "detectors --options"),
    "forecast": (
        "{PARAMS} {DATASET} --cores 2",
        "{PARAMS} params/bccd.yaml --dataset dataset.json --graph graph.json --cores 16",
    ),
    "subset": (
        "{POOL} --share 0.5 --seed 0 --out half.json",
        "{POOL} --share 0.25 --draw 1 --seed 0 --out quarter.json",
    ),
    "stopping": (
        "{PARAMS} --metrics {RUN}/random/seed-0/cycle-0/metrics.json {RUN}/random/seed-0/cycle-1/metrics.json"
        " --out stopping.json",
        "{PARAMS} --metrics {RUN}/random/seed-0/cycle-0/metrics.json {RUN}/random/seed-0/cycle-1/metrics.json"
        " --noise {RUN}/noise.json --out stopping.json",
    ),
    "probe": (
        "{PARAMS} {DATASET} {IMAGES} {POOL} --seed 0 --out probe.json",
        "{PARAMS} params/tiny.yaml {DATASET} {IMAGES} {POOL} --seed 1 --out probe.json",
    ),
    "check": ("{PARAMS} params/bccd.yaml", "{PEOPLE} --data"),
    "show": ("{CYCLE}", "{RUN}/curve.csv"),
}


def of(verb: str) -> list[str]:
    """The examples of a verb, each a whole command in one line."""
    return [f"mgral {verb} {text.format(**_PLACES)}" for text in _EXAMPLES.get(verb, ())]


def wrapped(command: str, indent: str = "") -> str:
    """A command over several lines, each but the last with a backslash at its end.

    A line ends before an option, so that an option keeps its values; a shell reads the same words.
    """
    groups: list[str] = []
    for word in shlex.split(command):
        if word.startswith("--") or not groups:
            groups.append(shlex.quote(word))
        else:
            groups[-1] += " " + shlex.quote(word)
    lines = [groups[0]]
    for group in groups[1:]:
        if len(lines[-1]) + 1 + len(group) + 2 <= _WIDTH - len(indent):
            lines[-1] += " " + group
        else:
            lines.append("    " + group)
    return f" \\\n{indent}".join([indent + lines[0], *lines[1:]])


def epilog(verb: str) -> str:
    """What ``--help`` ends with."""
    return "examples:\n" + "\n".join(wrapped(example, "  ") for example in of(verb))
