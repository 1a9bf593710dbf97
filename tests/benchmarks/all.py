"""Run the benchmarks, keep their figures in docs/results/benchmarks.json, and write the table of docs/performance.md.

python tests/benchmarks/all.py (``make benchmarks``), for an hour on two free cores. --only search price runs some of
them; the others keep their figures, each with the machine and the day that it was measured on.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "docs/results/benchmarks.json"
PAGE = ROOT / "docs/performance.md"
BEGIN, END = "<!-- figures: make benchmarks -->\n", "<!-- end of figures -->\n"
PEERS = ("torch", "numpy", "faiss-gpu", "pycocotools", "faster-coco-eval", "hotcoco", "scikit-activeml", "small-text")


@dataclass(frozen=True)
class Benchmark:
    """One row of the table.

    Attributes:
        command: below tests/benchmarks.
        what: is measured.
        plain: implementation that it is compared with in the same run.
        limit: to reach.
    """

    command: str
    what: str
    plain: str
    limit: str


BENCHMARKS = {
    "search": Benchmark(
        "search.py --threads 2",
        "10 search iterations, 15,551 × 256 embeddings, batch 1,000, table of 200",
        "an LSTM cell called step by step",
        "5 s on two cores",
    ),
    "million": Benchmark(
        "million.py --threads 1 --half 1",
        "selection from 1,000,000 × 256 in a file of half precision, batch 1,000, 20 iterations on 50,000 of them",
        "–",
        "600 s on two cores, 4,096 MiB",
    ),
    "price": Benchmark("price.py --threads 1", "the price of one batch of 1,000", "brute force in NumPy", "–"),
    "coreset": Benchmark(
        "coreset.py",
        "core-set, 1,000 of 100,000 × 256",
        "full distance matrix, 1,000 of 7,000",
        "ratio 10; 20 picks in one of a peer",
    ),
    "rules": Benchmark(
        "free_rules_scale.py", "`balanced` and `growth`, 1,000 of 100,000 × 256, 1,000 labelled", "–", "–"
    ),
    "evaluation": Benchmark(
        "evaluation.py", "COCO's twelve numbers, 5,000 images × 100 detections", "pycocotools", "ratio 40"
    ),
    "embed": Benchmark(
        "embed.py", "embedding COCO's pool: 117,266 images × 100 detections × 80 classes", "–", "4,096 MiB"
    ),
    "steps": Benchmark(
        "steps.py", "a training step of the demo's detector", "matching and updating one by one", "ratio 1"
    ),
    "proxies": Benchmark(
        "proxies.py",
        "proxy runs on the generated set, from the detector for 40 steps; over a frozen backbone",
        "one process a run, from scratch, float32, decoding each time",
        "–",
    ),
}


def machine() -> str:
    """The processor, its cores, and the memory."""
    about = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.*)$", about.read_text(), re.MULTILINE) if about.exists() else []
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, {memory:.0f} GiB"


def versions() -> dict[str, str]:
    """Of the packages that the figures depend on, those that are installed."""
    found = {}
    for package in PEERS:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def measured(name: str, small: bool) -> dict[str, Any]:
    """Run a benchmark, and read its lines: the last one holds the figures, those before explain them."""
    words = f"tests/benchmarks/{BENCHMARKS[name].command}".split() + (["--small"] if small else [])
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name}: failed\n{done.stdout}{done.stderr}")
    return entry(done.stdout)


def entry(text: str) -> dict[str, Any]:
    """What is kept of a benchmark's output."""
    *lines, last = text.strip().splitlines()
    figures = dict(re.findall(r"(ratio|seconds|peak_mib)=([\d.]+(?:e[+-]?\d+)?)", last))
    return {
        **{key: float(value) for key, value in figures.items()},
        "lines": lines,
        "machine": machine(),
        "load": round(os.getloadavg()[2], 1),
        "day": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": versions(),
    }


def table(figures: dict[str, dict[str, Any]]) -> str:
    """The figures as Markdown: a table, what the benchmarks printed, and what they ran on."""
    rows = ["| benchmark | what | plain implementation | ratio | time | peak memory | limit |", "|" + "---|" * 7]
    notes, places = [], {}
    for name, benchmark in BENCHMARKS.items():
        if name not in figures:
            continue
        found = figures[name]
        ratio = f"{found['ratio']:,.3g}" if "ratio" in found else "–"
        seconds = _seconds(found["seconds"]) if "seconds" in found else "–"
        peak = f"{found['peak_mib']:,.0f} MiB" if "peak_mib" in found else "–"
        rows.append(
            f"| `{benchmark.command}` | {benchmark.what} | {benchmark.plain} | {ratio} | {seconds} | {peak} "
            f"| {benchmark.limit} |"
        )
        notes += [f"- {name}: {line}" for line in found["lines"]]
        where = ", ".join([found["machine"], *(f"{k} {v}" for k, v in sorted(found["versions"].items()))])
        when = f"{found['day']}, load {found['load']}" if "load" in found else found["day"]
        places.setdefault(where, []).append(f"{name} ({when})")
    ran = [f"On {where}: {', '.join(names)}." for where, names in places.items()]
    return "\n".join([*rows, "", *notes, "", *ran, ""])


def _seconds(value: float) -> str:
    return f"{value:,.0f} s" if value >= 100 else f"{value:.3g} s" if value >= 0.01 else f"{1000 * value:.3g} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=sorted(BENCHMARKS), help="run these; default: all")
    parser.add_argument("--small", action="store_true", help="a quick check that they run; nothing is written")
    given = parser.parse_args()
    figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    for name in given.only or BENCHMARKS:
        print(f"{name} …", flush=True)
        figures[name] = measured(name, given.small)
        if not given.small:
            FIGURES.write_text(json.dumps(figures, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    if not given.small:
        PAGE.write_text(f"{before}{BEGIN}\n{table(figures)}\n{END}{after}")


if __name__ == "__main__":
    main()
