"""Each kind of file that a step makes, in a few lines for a reader: one function a kind, found by :data:`SUMMARIES`.

They trust the files' keys; what a damaged file raises (KeyError, TypeError, ValueError), the verb reports.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mgral.core import run_layout
from mgral.core.files import read_json, require_regular
from mgral.core.run_layout import CYCLE, RUN

Lines = Iterator[str]


def dataset(path: Path) -> Lines:
    """dataset.json: images and boxes of each split, classes, what was dropped."""
    from mgral.data import dataset_json, importing

    data = read_json(path)
    split = {image["id"]: image["split"] for image in data["images"]}
    images = Counter(split.values())
    boxes = Counter(split[box["image_id"]] for box in data["annotations"])
    for name in images:
        yield f"{name}: {_count(images[name], 'image')}, {_count(boxes[name], 'box')}"
    names = [category["name"] for category in data["categories"]]
    yield f"{_count(len(names), 'class')}: {', '.join(names)}"
    yield f"{_count(len(data['info']['dropped']), 'item')} dropped, {_count(data['info']['clipped'], 'box')} clipped"
    yield from importing.summary(dataset_json.read(path), data["info"])


def pool(path: Path) -> Lines:
    """pool.json: its sizes."""
    from mgral.data.pool import read_pool

    state = read_pool(path)
    yield f"cycle {state.cycle}: {len(state.labelled)} labelled, {len(state.unlabelled)} unlabelled images"


def metrics(path: Path) -> Lines:
    """metrics.json, own.json: what the detector was trained on, and how well it does."""
    data = read_json(path)
    yield f"trained on {_count(data['images'], 'image')} with {_count(data['boxes'], 'box')}"
    for split in ("val", "test"):
        values = data[split]
        classes = ", ".join(f"{k} {v:.3f}" for k, v in values["per_class"].items() if v is not None)
        level = f"mAP {_number(values['mAP'])}, AP50 {_number(values['AP50'])}"
        yield f"{split}: {level} ({classes or 'no class has boxes'})"
        voc = [_number(values[f"AP50_{way}"]) for way in ("11point", "area")]
        yield f"  AP50 as VOC has it: {voc[0]} (11 points), {voc[1]} (area)"


def training(path: Path) -> Lines:
    """train.csv: where the loss began and ended."""
    losses = _column(path, "loss")
    yield f"{_count(len(losses), 'row')}, loss from {losses[0]:.4g} to {losses[-1]:.4g}"


def batches(path: Path) -> Lines:
    """batches.json: how many each generator drew."""
    drawn = Counter(batch["generator"] for batch in read_json(path))
    yield f"{_count(drawn.total(), 'batch')}: {', '.join(f'{count} {name}' for name, count in drawn.items())}"


def record(path: Path) -> Lines:
    """proxies/<k>.json: one record."""
    from mgral.reward import records

    found = records.read(path)
    level = f"stopped at mAP {found.partway:.4f}, expected {found.mAP:.4f}" if found.stopped else f"mAP {found.mAP:.4f}"
    yield f"{found.generator}: {level} with {_count(len(found.ids), 'image')}, trained in {found.seconds:.1f} s"
    yield f"ids: {', '.join(map(str, found.ids))}"


def added(path: Path) -> Lines:
    """added.json: the records that a search trained itself."""
    from mgral.reward import records

    found = records.read_list(path)
    yield f"{_count(len(found), 'proxy')} trained in the search"
    yield from (
        f"mAP {one.mAP:.4f} with {_count(len(one.ids), 'image')}, trained in {one.seconds:.1f} s" for one in found
    )


def audit(path: Path) -> Lines:
    """table/audit.json: what the lookup table is worth."""
    data = read_json(path)
    carried = f" and {data['carried']} of earlier cycles" if data["carried"] else ""
    records = f"{_count(data['records'], 'record')}{carried}"
    yield f"{records}, mAP spread {_number(data['spread'])}; {data['representation']}"
    verdict = data.get("signal")  # None where the surrogate tests for none; audits of earlier versions lack it
    if verdict is not None:
        told = "carries signal" if verdict["signal"] else "no signal: the price is the prior's rule"
        yield f"{told}, {verdict['rule']}; p = {verdict['p']:.3f} (level {verdict['level']})"
    yield f"held out: error {_number(data['mae'])} against {_number(data['mae_mean'])} by the others' mean"
    for kind, own in data["kinds"].items():
        spreads = [_number(own[f"between_{what}"]) for what in ("batches", "seeds")]
        level = f"random batches {_number(own['reference'])}"
        stopped = f", {own['stopped']} stopped" if own["stopped"] else ""
        spread = f"spread between batches {spreads[0]}, between seeds {spreads[1]}"
        yield f"{own['records']} {kind}{stopped}: {level}, {spread}"
    shuffled = [_number(data["chance"][key]) for key in ("mean", "deviation")] if data["chance"] else ["undefined"]
    far = "undefined" if data["far"] is None else f"{data['far']:.0%}"
    ranks = f"Spearman {_number(data['spearman'])} (with gains shuffled {' ± '.join(shuffled)})"
    yield f"rank correlation: {ranks}, Kendall {_number(data['kendall'])}; far {far}"


def search(path: Path) -> Lines:
    """search.csv: what the search gained, and where its gains come from."""
    rewards = _column(path, "reward")
    tenth = max(1, len(rewards) // 10)
    first, last = _mean(rewards[:tenth]), _mean(rewards[-tenth:])
    yield f"{_count(len(rewards), 'iteration')}, reward {first:.4f} in the first tenth, {last:.4f} in the last"
    estimated, trained = (sum(_column(path, name)) for name in ("estimated", "trained"))
    yield f"batches priced: {estimated:.0f} by the table, {trained:.0f} by a proxy run"


def selected(path: Path) -> Lines:
    """selected.json: the batch, best first, with its reasons."""
    from mgral.data.selection import read_selection

    selection = read_selection(path)
    of = f"{selection.strategy}, seed {selection.seed}, cycle {selection.cycle}"
    yield f"{of}: {_count(len(selection.picks), 'image')}"
    names = {pick["id"]: pick["file_name"] for pick in read_json(path)["picks"]}
    for rank, pick in enumerate(selection.picks, start=1):
        reason = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in pick.reason.items())
        yield f"{rank:4d}. {names[pick.id]}  score {pick.score:.4g}  {reason}"


def curve(path: Path) -> Lines:
    """curve.csv: mAP by cycle, one line a strategy and seed."""
    from mgral.report import learning_curves

    for (strategy, seed), own in learning_curves.read(path).groupby(["strategy", "seed"], sort=False):
        points = [f"{value:.4f} ({n})" for n, value in zip(own["images"], own["mAP"], strict=True)]
        yield f"{strategy}, seed {seed}: test mAP (images) {', '.join(points)}"


def summary(path: Path) -> Lines:
    """summary.json: what each strategy is worth, as a mean over seeds."""
    for strategy, values in read_json(path).items():
        yield f"{strategy}: " + ", ".join(f"{name} {_number(value)}" for name, value in values.items())


def comparison(path: Path) -> Lines:
    """comparison.json: whether strategies differ by more than chance, one line each; of test mAP at the last cycle."""
    from mgral.report import comparison as compared

    found = compared.read(path)
    references = [name for name in dict.fromkeys([found.reference, found.baseline]) if name is not None]
    against = {name: differences for name in references if (differences := found.against(name, "mAP"))}
    if not against:
        yield "no random strategy and no baseline to compare with"
    for reference, differences in against.items():
        columns = f"difference, {found.confidence:.0%} interval, p after Holm"
        yield f"test mAP at the last cycle against {reference}: {columns}"
        for one in differences:
            level = "undefined" if one.mean is None else f"{one.mean:+.4f}"
            if one.low is not None and one.high is not None:
                level += f", {one.low:+.4f} to {one.high:+.4f}, p {_number(one.p_holm)}"
            seeds = _count(len(one.seeds), "seed")
            yield f"  {one.strategy}: {level}: {compared.VERDICTS[one.verdict]} ({seeds})"


def noise(path: Path) -> Lines:
    """noise.json: the retraining variance."""
    data = read_json(path)
    yield f"{data['repeats']} trainings on the same {_count(data['images'], 'image')}"
    for name in ("mAP", "AP50"):
        yield f"test {name}: mean {data[name]['mean']:.4f}, standard deviation {data[name]['deviation']:.4f}"


def probe(path: Path) -> Lines:
    """probe.json: how long the first detector must be trained."""
    data = read_json(path)
    for one in data["trials"]:
        amount = f"{_count(one['steps'], 'step')} on {_count(one['images'], 'image')}"
        yield f"{amount}: mAP {one['mAP']:.4f}, AP50 {one['AP50']:.4f} on val"
    yield from data["findings"]


# By the end of the path, as Path.match reads it.
SUMMARIES: Mapping[str, Callable[[Path], Lines]] = {
    Path(RUN.dataset).name: dataset,
    RUN.curve: curve,
    RUN.summary: summary,
    RUN.comparison: comparison,
    RUN.noise: noise,
    RUN.probe: probe,
    CYCLE.pool: pool,
    CYCLE.training: training,
    CYCLE.metrics: metrics,
    CYCLE.own: metrics,
    CYCLE.batches: batches,
    run_layout.record(run_layout.PROXIES): record,
    Path(CYCLE.audit).name: audit,
    CYCLE.search: search,
    CYCLE.added: added,
    CYCLE.selected: selected,
}

# What is shown of the folder of a run or of a cycle, in this order.
IN_FOLDER = [
    *(RUN.dataset, RUN.curve, RUN.summary, RUN.comparison, RUN.noise, RUN.probe),
    *(CYCLE.pool, CYCLE.training, CYCLE.metrics, CYCLE.own, CYCLE.batches, CYCLE.audit, Path(CYCLE.audit).name),
    *(CYCLE.search, CYCLE.added, CYCLE.selected),
]


def _column(path: Path, name: str) -> Sequence[float]:
    require_regular(path)
    with path.open(encoding="utf-8", newline="") as file:
        values = [float(row[name]) for row in csv.DictReader(file)]
    if not values:
        raise ValueError(f"{path}: no rows")
    return values


def _count(count: int, one: str) -> str:
    """``1 image``, ``2 images``, ``3 boxes``, ``4 proxies``."""
    many = f"{one[:-1]}ies" if one.endswith("y") else f"{one}es" if one.endswith(("x", "s", "h")) else f"{one}s"
    return f"{count} {one if count == 1 else many}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _number(value: Any) -> str:
    return "undefined" if value is None else f"{value:.4f}"
