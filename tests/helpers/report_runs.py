"""A small run with everything that a report reads, its page, and fixtures of both."""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image as Picture

from mgral.config.schema import Params
from mgral.core.files import write_json
from mgral.core.types import Pick
from mgral.data import dataset_json
from mgral.data.selection import Selection, write_selection
from mgral.report import comparison, learning_curves, sections
from mgral.report.learning_curves import cycle_folder

BASE = Path(__file__).resolve().parents[2] / "params" / "base.yaml"
CLASSES = ["cat", "<dog> & co"]
FINAL = {"random": 0.3, "mgral": 0.34}
SHUFFLED = [k / 20 - 1 for k in range(40)]  # rank correlations of a table without signal
SIGNED = "done on a at 2026-01-02T03:04:05+00:00 after 12.50 s, 3.25 s of processor time, at most 100 MiB"
STAMP = sections.Stamp("0.1.0", "abc123", "2026-11-26", "snakemake --cores all")
VOID = {"meta", "img", "br", "link", "hr", "input"}


def make_run(parent: Path) -> Path:
    """Two strategies, two seeds, two cycles, ten images of 40 × 30 pixels with one box each."""
    folder = parent / "run"
    write_dataset(folder / "dataset" / "dataset.json", parent / "images")
    dataset = dataset_json.read(folder / "dataset" / "dataset.json")
    for strategy, final in FINAL.items():
        for seed in (0, 1):
            end = final + 0.02 * seed + (1e-5 * seed if strategy == "mgral" else 0)  # gains that are not quite the same
            for cycle, value in enumerate((0.2, end)):
                scores = {"mAP": value, "AP50": 2 * value, "per_class": {CLASSES[0]: value, CLASSES[1]: None}}
                content = {"cycle": cycle, "images": 2 + 2 * cycle, "boxes": 2 + 2 * cycle}
                here = cycle_folder(folder, strategy, seed, cycle)
                write_json(here / "metrics.json", {**content, "val": scores, "test": scores})
            selection = Selection(
                strategy, strategy, seed, 0, 2, [Pick(i, 1 / i, {"odds": 1.23456, "top_class": "cat"}) for i in (3, 4)]
            )
            write_selection(selection, dataset, cycle_folder(folder, strategy, seed, 0) / "selected.json")
    for seed in (0, 1):
        write_search(cycle_folder(folder, "mgral", seed, 0))
    log = folder / "logs" / "train" / "mgral-0-1.log"
    log.parent.mkdir(parents=True)
    log.write_text(f"{SIGNED}\n")
    compare(folder, list(FINAL), cycles=2)
    return folder


def compare(run: Path, strategies: list[str], cycles: int, noise: dict[str, Any] | None = None) -> None:
    """Write the run's comparison.json; all strategies but mgral are baselines."""
    frame = learning_curves.collect(run, strategies, [0, 1], cycles)
    baselines = [name for name in strategies if name != "mgral"]
    comparison.write(comparison.compare(frame, "random", baselines, noise), run / "comparison.json")


def write_dataset(path: Path, root: Path) -> None:
    root.mkdir()
    images: list[dict[str, Any]] = []
    for i in range(1, 11):
        Picture.new("RGB", (40, 30), (20 * i, 100, 100)).save(root / f"{i}.jpg")
        split = "train" if i <= 6 else "val" if i <= 8 else "test"
        images.append({"id": i, "file_name": f"{i}.jpg", "width": 40, "height": 30, "split": split})
    boxes = [
        {"id": i, "image_id": i, "category_id": 1 + i % 2, "bbox": [5, 5, 20, 20], "area": 400, "iscrowd": 0}
        for i in range(1, 11)
    ]
    categories = [{"id": k, "name": name} for k, name in enumerate(CLASSES, start=1)]
    dropped = [{"file": "a.json", "id": "annotation 7", "what": "no width"}]
    info = {"image_root": str(root), "dropped": dropped, "clipped": 2, "unlisted": []}
    write_json(path, {"info": info, "images": images, "annotations": boxes, "categories": categories})


def write_search(folder: Path) -> None:
    points = [
        {"kind": "unlabelled", "generator": "random", "trained": 0.2 + k / 100, "estimated": 0.2 + k / 200}
        for k in range(5)
    ]
    audit = {
        "records": 5, "carried": 0, "neighbours": 2, "representation": "embedding", "threshold": 1.0, "mae": 0.008,
        "mae_mean": 0.015, "spearman": 1.0, "kendall": 1.0,
        "chance": {"mean": -0.3, "deviation": 0.4, "values": SHUFFLED}, "spread": 0.016, "far": 0.2, "points": points,
        "kinds": {
            "unlabelled": {
                "records": 5, "stopped": 0,
                "reference": 0.2, "between_batches": 0.016, "between_random": 0.01, "between_seeds": 0.02,
                "seeds": 3,
            },
        },
        "control": None,
        "comparison": [
            {"representation": kind, "surrogate": name, "mae": 0.0123, "spearman": 0.5, "kendall": 0.4, "far": 0.0}
            for kind in ("embedding", "counts") for name in ("nearest", "ridge")
        ],
    }  # fmt: skip
    write_json(folder / "table" / "audit.json", audit)
    lines = [f"{k},{0.2 + k / 1000},{0.2 + k / 2000},0.1,4,0,1,0.5" for k in range(20)]
    head = "iteration,reward,baseline,loss,estimated,trained,far,distance"
    (folder / "search.csv").write_text("\n".join([head, *lines]) + "\n")


def judged(values: dict[str, list[float]], reference: str | None = "random") -> tuple[Any, comparison.Comparison]:
    """Totals and comparison of curves that start at 0.2 and end at ``values``, one a seed."""
    rows = [
        (name, seed, cycle, 60 * cycle + 60, 600 * cycle + 600, value, value)
        for name, ends in values.items()
        for seed, end in enumerate(ends)
        for cycle, value in enumerate([0.2, end])
    ]
    frame = pd.DataFrame(rows, columns=learning_curves.COLUMNS)
    return learning_curves.summary(learning_curves.scores(frame, reference)), comparison.compare(frame, reference)


class Page(HTMLParser):
    """Checks that tags are closed in order; collects references and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> at line {self.getpos()[0]}"

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def build(run: Path, params: Params, stamp: sections.Stamp | None = None) -> tuple[Page, str]:
    sections.build(run, params, run / "report.html", run / "figures", stamp)
    html = (run / "report.html").read_text(encoding="utf-8")
    return Page(html), html


@dataclass(frozen=True)
class Report:
    """A run as :func:`make_run` makes it, with its report. Shared: look, and change nothing."""

    run: Path
    page: Page
    html: str
