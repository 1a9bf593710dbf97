"""The tables of a report: numbers in, texts out, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mgral.core.types import SPLITS, Dataset, Pick
from mgral.report.comparison import VERDICTS, Difference
from mgral.report.learning_curves import spread
from mgral.report.sources import Cell, box_counts
from mgral.report.text import Summary, duration, interval, number, p_value, places, plus_minus, reason, signed, term


@dataclass(frozen=True)
class Table:
    """A table as text; the first cell of each row names it."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def results(totals: Summary) -> Table:
    """Final mAP and AP50 and both areas by strategy: mean ± standard deviation over seeds."""
    header = ["strategy", "mAP", "AP50", "area by images", "area by boxes", "seeds"]
    measures = ["mAP", "AP50", "auc_images", "auc_boxes"]
    rows = [
        [name, *(plus_minus(values[measure]) for measure in measures), str(values["mAP"][2])]
        for name, values in totals.items()
    ]
    return Table(header, rows)


def gains(differences: Sequence[Difference], seeds: Sequence[int]) -> Table:
    """Differences to one reference in one measure: by seed, their mean with its interval, and the verdict."""
    header = ["strategy", *(f"seed {seed}" for seed in seeds), "mean", "95 % interval", "p, Holm", "verdict"]
    rows = []
    for one in differences:
        by_seed = dict(zip(one.seeds, one.by_seed, strict=True))
        ends = "–"
        if one.low is not None and one.high is not None:
            ends = interval(one.low, one.high, places(one.low, one.high))
        values = [*(signed(by_seed.get(seed)) for seed in seeds), signed(one.mean)]
        rows.append([one.strategy, *values, ends, p_value(one.p_holm).removeprefix("= "), VERDICTS[one.verdict]])
    return Table(header, rows)


def balance(counts: Mapping[str, Sequence[Sequence[int]]], pool: Sequence[int], classes: Sequence[str]) -> Table:
    """Boxes of each class among the picked images, mean over seeds, and its share of them.

    Args:
        counts: strategy → seed → boxes of each class.
        pool: boxes of each class in the train split.
        classes: their names, in the order of ``pool``.
    """
    header = ["class", "pool", *counts]
    means = {name: [sum(column) / len(seeds) for column in zip(*seeds, strict=True)] for name, seeds in counts.items()}
    columns = [[float(count) for count in pool], *means.values()]
    rows = [[name, *(_share(column[k], sum(column)) for column in columns)] for k, name in enumerate(classes)]
    return Table(header, [*rows, ["all", *(f"{sum(column):.0f}" for column in columns)]])


def per_class(values: Mapping[str, Sequence[Sequence[float | None]]], classes: Sequence[str]) -> Table:
    """Test AP of each class at the last cycle, mean ± standard deviation over seeds.

    Args:
        values: strategy → class → AP by seed, None where it is undefined.
        classes: their names, in the order of ``values``.
    """
    rows = [
        [name, *(plus_minus(spread(v for v in by_class[k] if v is not None)) for by_class in values.values())]
        for k, name in enumerate(classes)
    ]
    return Table(["class", *values], rows)


def audits(cells: Sequence[Cell]) -> Table:
    """The audit of each lookup table; its records, and after a plus sign those of earlier cycles in it."""
    header = ["cycle", "seed", "records", "MAE", "MAE of the mean"]
    header += ["Spearman", "if shuffled", "Kendall", "spread", "extrapolated"]
    rows = []
    for cell in sorted(cells, key=lambda cell: (cell.cycle, cell.seed)):
        audit = cell.value
        errors = [number(audit[key], 4) for key in ("mae", "mae_mean")]
        chance = audit["chance"]
        shuffled = f"{signed(chance['mean'], 2)} ± {number(chance['deviation'], 2)}" if chance else "–"
        ranks = [signed(audit["spearman"], 2), shuffled, signed(audit["kendall"], 2)]
        far = "–" if audit["far"] is None else f"{audit['far']:.0%}"
        records = f"{audit['records']} + {audit['carried']}" if audit["carried"] else f"{audit['records']}"
        counts = [str(cell.cycle), str(cell.seed), records]
        rows.append([*counts, *errors, *ranks, number(audit["spread"], 4), far])
    return Table(header, rows)


def comparison(cells: Sequence[Cell]) -> Table:
    """Every representation with every surrogate on the same records: mean MAE and mean rank correlation over tables."""
    found: dict[str, dict[str, list[Mapping[str, float | None]]]] = {}
    for cell in cells:
        for row in cell.value["comparison"]:
            found.setdefault(row["representation"], {}).setdefault(row["surrogate"], []).append(row)
    surrogates = list(dict.fromkeys(name for by_surrogate in found.values() for name in by_surrogate))
    rows = []
    for name, by_surrogate in found.items():
        shown = []
        for surrogate in surrogates:
            own = by_surrogate.get(surrogate)
            if own is None:  # bayes reads the numbers of growth alone
                shown.append("–")
                continue
            error = spread(row["mae"] for row in own if row["mae"] is not None)[0]
            rank = spread(row["spearman"] for row in own if row["spearman"] is not None)[0]
            shown.append(f"{number(error, 4)} (ρ {signed(rank, 2)})")
        rows.append([name, *shown])
    return Table(["representation", *surrogates], rows)


def searches(cells: Sequence[Cell]) -> Table:
    """What each search gained: mean reward of its first and last tenth, and where gains come from."""
    header = ["cycle", "seed", "first tenth", "last tenth", "change", "by the table", "by a proxy run", "extrapolated"]
    rows = []
    for cell in sorted(cells, key=lambda cell: (cell.cycle, cell.seed)):
        reward = cell.value["reward"]
        tenth = max(1, len(reward) // 10)
        first, last = reward.iloc[:tenth].mean(), reward.iloc[-tenth:].mean()
        priced = [f"{cell.value[key].sum():.0f}" for key in ("estimated", "trained", "far")]
        means = [signed(first, 4), signed(last, 4), signed(last - first, 4)]
        rows.append([str(cell.cycle), str(cell.seed), *means, *priced])
    return Table(header, rows)


def batch(picks: Sequence[Pick], dataset: Dataset) -> Table:
    """A chosen batch, best first: file name, score and the reason of each image."""
    terms = list(dict.fromkeys(key for pick in picks for key in pick.reason))
    rows = []
    for rank, pick in enumerate(picks, start=1):
        reasons = dict(reason(pick.reason))
        image = dataset.images.get(pick.id)
        name = str(pick.id) if image is None else image.file_name
        rows.append([str(rank), name, f"{pick.score:.4g}", *(reasons.get(term(key), "–") for key in terms)])
    return Table(["rank", "image", "score", *map(term, terms)], rows)


def timings(seconds: Mapping[str, Sequence[float]]) -> Table:
    """Jobs, mean and total wall time of each step."""
    rows = [
        [step, str(len(jobs)), duration(sum(jobs) / len(jobs)), duration(sum(jobs))] for step, jobs in seconds.items()
    ]
    return Table(["step", "jobs", "mean", "total"], rows)


def contents(dataset: Dataset) -> Table:
    """Images and boxes (``ignore`` boxes left out) by split, and the boxes of each class."""
    ids = {split: dataset.ids(split) for split in SPLITS}
    counts = {split: box_counts(dataset, ids[split]) for split in SPLITS}
    rows = [["images", *(f"{len(ids[split])}" for split in SPLITS)]]
    rows.append(["boxes", *(f"{sum(counts[split])}" for split in SPLITS)])
    rows += [[name, *(f"{counts[split][k]}" for split in SPLITS)] for k, name in enumerate(dataset.classes)]
    return Table(["", *SPLITS], rows)


def _share(count: float, total: float) -> str:
    return f"{count:.0f} ({count / total:.0%})" if total else "0"
