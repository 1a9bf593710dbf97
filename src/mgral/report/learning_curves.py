"""Learning curves: the metrics of a run in one table, areas under the curves, differences to a reference.

Mean, standard deviation and number of seeds only; the intervals are :mod:`mgral.report.comparison`'s.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mgral.config.schema import OWN
from mgral.core import run_layout
from mgral.core.errors import MgralError
from mgral.core.files import read_json, require_regular, whole
from mgral.core.types import Ints

COLUMNS = ["strategy", "seed", "cycle", "images", "boxes", "mAP", "AP50"]
MEASURES = ["mAP", "AP50", "auc_images", "auc_boxes"]


def cycle_folder(run: Path, strategy: str, seed: int, cycle: int) -> Path:
    """The folder of one cycle of a strategy and seed."""
    return Path(run_layout.cycle_folder(run, strategy, seed, cycle))


def is_own(name: str) -> bool:
    """Whether a curve is that of the detector that a strategy trained for itself, and not of the plain one."""
    return name.endswith(OWN)


def strategy_of(name: str) -> str:
    """The label of the strategy that a curve belongs to."""
    return name.removesuffix(OWN)


def read_metrics(path: Path) -> dict[str, Any]:
    """Read one ``metrics.json`` or ``own.json``.

    Raises:
        MgralError: missing, damaged, or without a finite mAP and AP50 in 0..1 on the test split.
    """
    if not path.exists():
        raise MgralError(
            f"{path}: no such file: its job has not ended; run `snakemake` again, its log says what failed"
        )
    metrics = read_json(path)
    remedy = f"run `mgral {'score' if path.name == run_layout.CYCLE.own else 'train'}` again"
    try:
        counts = [metrics["images"], metrics["boxes"]]
        test = [metrics["test"]["mAP"], metrics["test"]["AP50"]]
    except (KeyError, TypeError):
        raise MgralError(f"{path}: lacks images, boxes or the test split's mAP and AP50; {remedy}") from None
    if any(value is None for value in test):
        raise MgralError(f"{path}: test mAP is undefined; the test split needs images with boxes")
    if not all(isinstance(value, int) and value >= 0 for value in counts):
        raise MgralError(f"{path}: images and boxes must be counts; {remedy}")
    if not all(isinstance(value, int | float) and 0 <= value <= 1 for value in test):
        raise MgralError(f"{path}: test mAP and AP50 must lie in 0..1; {remedy}")
    return dict(metrics)


def collect(run: Path, names: Iterable[str], seeds: Iterable[int], cycles: int) -> pd.DataFrame:
    """Gather every ``metrics.json`` of a run, and every ``own.json``.

    Args:
        run: its folder.
        names: of the curves: labels of strategies, and ``<label>:own``; see :func:`mgral.config.schema.curve_names`.
        seeds: of the run.
        cycles: their number.

    Returns:
        One row per name (as ``strategy``), seed and cycle, in the order given, with :data:`COLUMNS`; mAP and AP50
        (0..1) are of the test split, images and boxes count what is labelled.

    Raises:
        MgralError: a metrics file is missing or damaged; names it.
    """
    seeds = list(seeds)
    rows = []
    for name in names:
        file = run_layout.CYCLE.own if is_own(name) else run_layout.CYCLE.metrics
        for seed in seeds:
            for cycle in range(cycles):
                metrics = read_metrics(cycle_folder(run, strategy_of(name), seed, cycle) / file)
                test = metrics["test"]
                amounts = (metrics["images"], metrics["boxes"], float(test["mAP"]), float(test["AP50"]))
                rows.append((name, seed, cycle, *amounts))
    return pd.DataFrame(rows, columns=COLUMNS)


def write(frame: pd.DataFrame, path: str | Path) -> None:
    r"""Write ``curve.csv``; six decimals and ``\n`` line ends, so equal results are equal bytes."""
    with whole(path) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")


def read(path: str | Path) -> pd.DataFrame:
    """Read ``curve.csv``.

    Raises:
        MgralError: missing, or not such a table.
    """
    types = {
        "strategy": str,
        "seed": int,
        "cycle": int,
        "images": int,
        "boxes": int,
        "mAP": float,
        "AP50": float,
    }
    try:
        require_regular(path)
        frame = pd.read_csv(path, dtype=types)
    except FileNotFoundError:
        raise MgralError(f"{path}: no such file; make it with `mgral curve`") from None
    except (ValueError, UnicodeDecodeError, IsADirectoryError):
        raise MgralError(f"{path}: not a table of curves; run `mgral curve` again") from None
    if list(frame.columns) != COLUMNS:
        raise MgralError(f"{path}: its columns must be {', '.join(COLUMNS)}; run `mgral curve` again")
    for row in frame[frame.duplicated(["strategy", "seed", "cycle"])].itertuples():
        cell = f"{row.strategy}, seed {row.seed}, cycle {row.cycle}"
        raise MgralError(f"{path}: {cell} is there more than once; run `mgral curve` again")
    if not frame[["mAP", "AP50"]].apply(lambda column: column.between(0, 1)).all(axis=None):
        raise MgralError(f"{path}: mAP and AP50 must lie in 0..1; run `mgral curve` again")
    return frame


def noise(paths: Iterable[Path]) -> dict[str, Any]:
    """The retraining variance: the spread of test results between trainings that differ in their seed only.

    Args:
        paths: ``metrics.json`` of at least two trainings of one pool.

    Returns:
        ``images`` of the pool, ``repeats``, and for ``mAP`` and ``AP50`` the ``values``, their ``mean`` and
        their ``deviation`` (n - 1).

    Raises:
        MgralError: fewer than two files, a damaged one, or pools of different sizes.
    """
    found = [read_metrics(path) for path in sorted(paths)]
    sizes = sorted({metrics["images"] for metrics in found})
    if len(found) < 2:
        raise MgralError(f"--metrics: {len(found)} files; a spread needs at least two trainings")
    if len(sizes) > 1:
        raise MgralError(f"--metrics: pools of {sizes[0]} and {sizes[-1]} images; give trainings of one pool")
    result: dict[str, Any] = {"images": sizes[0], "repeats": len(found)}
    for key in ("mAP", "AP50"):
        values = [metrics["test"][key] for metrics in found]
        mean, deviation, _ = spread(values)
        result[key] = {"mean": mean, "deviation": deviation, "values": values}
    return result


def read_noise(path: str | Path) -> dict[str, Any]:
    """Read ``noise.json``, what :func:`noise` gave.

    Raises:
        MgralError: missing, or not such a file.
    """
    found = read_json(path)
    try:
        numbers = [found["images"], found["repeats"]]
        spreads = [found["mAP"]["deviation"], *([] if found.get("AP50") is None else [found["AP50"]["deviation"]])]
    except (KeyError, TypeError, AttributeError):
        numbers = spreads = []
    fit = all(type(one) in (int, float) and 0 <= one < math.inf for one in (*numbers, *spreads))
    if not numbers or not fit or max(spreads) > 1:  # of numbers from 0 to 1
        raise MgralError(f"{path}: lacks images, repeats or the deviation of mAP or AP50; run `mgral noise` again")
    return dict(found)


def area(x: npt.ArrayLike, y: npt.ArrayLike, until: float) -> float:
    """Area under a curve from its first x to ``until``, divided by that length: the curve's mean height.

    Trapezoids; the curve is interpolated at ``until``. NaN where the length is zero, i.e. for a single point.

    Args:
        x: [n], ascending; equal neighbours are allowed (a batch of images without boxes).
        y: [n].
        until: x[0] <= until <= x[-1].
    """
    xs, ys = np.asarray(x, np.float64), np.asarray(y, np.float64)
    length = until - xs[0]
    if length <= 0:
        return math.nan
    inside = xs <= until
    heights = np.append(ys[inside], np.interp(until, xs, ys))
    widths = np.diff(np.append(xs[inside], until))
    return float(np.sum(widths * (heights[1:] + heights[:-1]) / 2) / length)


def area_weights(x: npt.ArrayLike, until: float) -> np.ndarray:
    """How much each point of a curve weighs in its :func:`area`, which is linear in y. [n]; NaN for a single point."""
    xs = np.asarray(x, np.float64)
    return np.array([area(xs, point, until) for point in np.eye(len(xs))])


def area_noise(frame: pd.DataFrame, x: str) -> float:
    """By what factor retraining spreads an area less than it spreads a single mAP.

    Each cycle's detector is trained independently, so that the variance of an area is σ₀² Σ w², over the weights w of
    the cycles after the first: the first detector is the same for all strategies of a seed and cancels in a difference.
    The mean of the variances over the curves is taken.

    Args:
        frame: as :func:`collect` gives it.
        x: ``images`` or ``boxes``.
    """
    variances = []
    for _, curve in frame.groupby(["strategy", "seed"]):
        at = curve.sort_values("cycle")[x].to_numpy(np.float64)
        variances.append(float(np.sum(area_weights(at, at[-1])[1:] ** 2)))
    return math.sqrt(spread(variances)[0]) if variances else math.nan


def scores(frame: pd.DataFrame, reference: str | None = None) -> pd.DataFrame:
    """What each curve is worth.

    Args:
        frame: as :func:`collect` gives it.
        reference: label of the random strategy, if there is one.

    Returns:
        One row per strategy and seed, in order of appearance, with ``strategy``, ``seed`` and
        :data:`MEASURES`: mAP and AP50 at the last cycle, and the area under the mAP curve over images and
        over boxes. An area covers the range that the curve shares with that of the reference at the same seed: a
        strategy that picks crowded images goes further in boxes, and gains nothing from that. It does not depend on
        any third strategy.
    """
    return _scores(frame, _ends(frame, reference))


def _scores(frame: pd.DataFrame, until: Mapping[Any, tuple[float, float]]) -> pd.DataFrame:
    """As :func:`scores`; ``until`` gives the images and boxes at which the areas of a seed end, at most."""
    rows = []
    for (strategy, seed), curve in frame.groupby(["strategy", "seed"], sort=False):
        curve = curve.sort_values("cycle")
        last = curve.iloc[-1]
        limits = until.get(seed, (math.inf, math.inf))
        areas = [
            area(curve[x], curve["mAP"], min(limit, last[x]))
            for x, limit in zip(("images", "boxes"), limits, strict=True)
        ]
        rows.append((strategy, seed, last["mAP"], last["AP50"], *areas))
    return pd.DataFrame(rows, columns=["strategy", "seed", *MEASURES])


def _ends(frame: pd.DataFrame, strategy: str | None) -> dict[Any, tuple[float, float]]:
    """Images and boxes at the end of each of a strategy's curves, by seed."""
    own = frame[frame["strategy"] == strategy]
    return {seed: (rows["images"].max(), rows["boxes"].max()) for seed, rows in own.groupby("seed")}


def differences(frame: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Paired differences: each measure minus the reference strategy's at the same seed.

    Seeds share the initial pool and the initial weights, so a difference within a seed is free of the shift
    that a lucky seed gives to all strategies. Both areas of a difference cover the range that these two curves share.

    Args:
        frame: as :func:`collect` gives it.
        reference: label of a strategy in it; it has no row in the answer.

    Returns:
        Columns as of :func:`scores`; seeds that the reference lacks have no rows.
    """
    base = frame[frame["strategy"] == reference]
    found = [pd.DataFrame(columns=["strategy", "seed", *MEASURES])]
    for name, own in frame[frame["strategy"] != reference].groupby("strategy", sort=False):
        ours = _scores(own, _ends(frame, reference)).set_index("seed")
        theirs = _scores(base, _ends(frame, str(name))).set_index("seed")
        both = ours.index.intersection(theirs.index)
        gained = ours.loc[both, MEASURES] - theirs.loc[both, MEASURES]
        found.append(gained.reset_index().assign(strategy=name))
    parts = [part for part in found if len(part)] or found[:1]
    return pd.concat(parts, ignore_index=True)[["strategy", "seed", *MEASURES]]


def trainings(frame: pd.DataFrame, seeds: Iterable[int], strategies: Iterable[str]) -> Ints:
    """Which strategies share their detectors: those whose curves of a seed are equal, as those of the same picks are.

    Args:
        frame: as :func:`collect` gives it.
        seeds: [S].
        strategies: [K], labels.

    Returns:
        [S, K]: equal numbers in a row for equal curves of that seed.
    """
    order, amounts = frame.sort_values("cycle"), COLUMNS[2:]
    curves = {at: tuple(curve[amounts].itertuples(index=False)) for at, curve in order.groupby(["strategy", "seed"])}
    numbers: dict[Any, int] = {}
    names = list(strategies)
    found = [
        [numbers.setdefault(curves.get((name, seed), (name, seed)), len(numbers)) for name in names] for seed in seeds
    ]
    return np.asarray(found, np.int64).reshape(-1, len(names))


def alike(frame: pd.DataFrame) -> list[list[str]]:
    """Groups of strategies that share the detectors of all seeds, in order of appearance; see :func:`trainings`."""
    names = list(frame["strategy"].unique())
    groups: dict[tuple[int, ...], list[str]] = {}
    for name, column in zip(names, trainings(frame, frame["seed"].unique(), names).T.tolist(), strict=True):
        groups.setdefault(tuple(column), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def summary(table: pd.DataFrame) -> dict[str, dict[str, tuple[float, float, int]]]:
    """Mean, sample standard deviation (n − 1; NaN for one seed) and number of seeds.

    Args:
        table: as :func:`scores` or :func:`differences` gives it.

    Returns:
        strategy → measure → (mean, standard deviation, n), strategies in order of appearance. Seeds in which
        a measure is undefined are not counted.
    """
    result: dict[str, dict[str, tuple[float, float, int]]] = {}
    for strategy, group in table.groupby("strategy", sort=False):
        result[str(strategy)] = {name: spread(group[name].to_list()) for name in MEASURES}
    return result


def means(frame: pd.DataFrame, reference: str | None = None) -> dict[str, dict[str, float | None]]:
    """What each strategy is worth, as a mean over seeds: summary.json.

    Args:
        frame: as :func:`collect` gives it.
        reference: as for :func:`scores`.

    Returns:
        strategy → measure (:data:`MEASURES`) → mean; None where it is undefined, as an area of one cycle is.
    """
    return {
        strategy: {name: None if math.isnan(mean) else mean for name, (mean, _, _) in measures.items()}
        for strategy, measures in summary(scores(frame, reference)).items()
    }


def spread(values: Iterable[float]) -> tuple[float, float, int]:
    """Mean, sample standard deviation and count of the finite ``values``; NaN where undefined."""
    finite = [value for value in values if math.isfinite(value)]
    mean = sum(finite) / len(finite) if finite else math.nan
    if len(finite) < 2:
        return mean, math.nan, len(finite)
    squares = sum((value - mean) ** 2 for value in finite)
    return mean, math.sqrt(squares / (len(finite) - 1)), len(finite)
