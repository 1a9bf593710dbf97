"""Strategies compared over seeds: intervals of the curves, differences, verdicts.

Two kinds of interval, each for what it can do:

- A difference between two strategies is paired by seed (same initial pool, same initial weights). All strategies of a
  run enter one mixed model (:mod:`mgral.report.mixed_model`), whose pooled residual variance is never taken to be below
  the retraining variance (noise.json).
- A point of a curve has the bootstrap percentile interval of its mean over seeds (scipy.stats.bootstrap). It shows
  how far the seeds lie apart and no more: at two and three seeds it spans from the lowest to the highest, which holds
  the true mean of a symmetric quantity in 50 % and 75 % of experiments (1 - 2 · 2^-n), not in 95 %.

One criterion decides (:func:`_verdict`): a strategy is better or worse if its p-value, corrected after Holm (1979) for
all strategies compared with one reference in one measure, lies below :data:`ALPHA`, and the difference exceeds the
noise floor, two standard errors of retraining alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from mgral.config.base import Settings
from mgral.core import random_streams
from mgral.core.files import read_json, write_json
from mgral.report import learning_curves, mixed_model
from mgral.report.mixed_model import Residual

ALPHA = 0.05  # a verdict is wrong so often where there is no difference
CONFIDENCE = 1 - ALPHA
RESAMPLES = 9999  # of the bootstrap, as scipy's default

Verdict = Literal["better", "worse", "undetected", "unknown"]
VERDICTS: Mapping[Verdict, str] = {  # as a reader is told
    "better": "better",
    "worse": "worse",
    "undetected": "no detectable difference",
    "unknown": "not known",
}
Probability = Annotated[float, Field(ge=0, le=1)]


class Estimate(Settings):
    """A mean over seeds. The ends of its interval are None where fewer than two seeds reach the point."""

    mean: float
    low: float | None
    high: float | None
    seeds: int


class Point(Settings):
    """One cycle of a strategy's curve: mean labelled images and boxes, test mAP and AP50 (0..1)."""

    cycle: int
    images: float
    boxes: float
    mAP: Estimate
    AP50: Estimate


class Curve(Settings):
    """A strategy's mean curve.

    Attributes:
        seeds: those that have every cycle; only these are compared.
        missing: seed → cycles that it lacks.
    """

    strategy: str
    seeds: list[int]
    missing: dict[int, list[int]]
    points: list[Point]


class Difference(Settings):
    """A strategy minus a reference in one of :data:`mgral.report.learning_curves.MEASURES`.

    Attributes:
        seeds: those in which both are complete and the measure is defined.
        by_seed: the difference of each of these seeds.
        mean: over them; None without a seed.
        low, high: ends of the t-interval of the mean; None with fewer than two seeds.
        p: of the mixed model; ``p_holm`` the same, corrected for all strategies compared with this reference.
        floor: two standard errors of retraining alone; None where the retraining variance was not measured.
        verdict: ``better`` and ``worse`` where ``p_holm`` lies below :data:`ALPHA` and the mean beyond ``floor``,
            ``undetected`` elsewhere; ``unknown`` with fewer than two seeds.
    """

    strategy: str
    reference: str
    measure: str
    seeds: list[int]
    by_seed: list[float]
    mean: float | None
    low: float | None
    high: float | None
    p: Probability | None
    p_holm: Probability | None
    floor: float | None
    verdict: Verdict


class Gain(Settings):
    """What labels were worth: the random strategy's mAP at its last cycle less that at its first.

    Attributes:
        images: labelled at the first and at the last cycle.
        mean: over the seeds that have both.
        limit: a mean above it is more than chance; None where chance cannot be estimated (fewer than three seeds, and
            no retraining variance).
        most: the same for the largest gain among the other strategies, which Bonferroni's correction allows for.
    """

    images: tuple[int, int]
    mean: float
    limit: float | None
    most: float | None = None

    @property
    def helped(self) -> bool | None:
        """Whether labels helped; None where it is not known."""
        if self.mean <= 0:
            return False
        return None if self.limit is None else self.mean > self.limit


class Comparison(Settings):
    """The content of ``comparison.json``.

    Attributes:
        reference: label of the random strategy; None if there is none.
        baseline: the baseline of largest mean area by images (of mAP, where the curves are single points); None if
            there is no baseline.
        curves: in the order of the experiment.
        own: curves of detectors that strategies trained for themselves (``<label>:own``). Another trainer than the
            plain one, so that a difference would not be the pool's alone: they are in no difference.
        differences: to ``reference`` first, then to ``baseline`` if that is another strategy.
        floor: final mAPs, averaged over the seeds, that differ by less do not differ detectably: :func:`floor` of
            noise.json; None where nothing was retrained.
        gain: what labels were worth at all; None without a random strategy or with a single cycle.
    """

    confidence: Probability
    seeds: list[int]
    reference: str | None
    baseline: str | None
    floor: float | None
    gain: Gain | None
    curves: list[Curve]
    own: list[Curve]
    differences: list[Difference]

    def against(self, reference: str | None, measure: str) -> list[Difference]:
        """The differences to one reference in one measure."""
        return [d for d in self.differences if (d.reference, d.measure) == (reference, measure)]


def compare(
    frame: pd.DataFrame,
    reference: str | None,
    baselines: Sequence[str] = (),
    noise: Mapping[str, Any] | None = None,
) -> Comparison:
    """Compare the strategies of an experiment.

    Args:
        frame: as :func:`mgral.report.learning_curves.collect` gives it. A strategy that lacks cycles in a seed is left
            out of this seed's comparisons. Curves of strategies' own detectors are kept, and compared with none.
        reference: label of the random strategy, if there is one.
        baselines: labels among which the best is the second reference.
        noise: content of noise.json, if there is one.
    """
    apart = frame["strategy"].map(learning_curves.is_own).astype(bool)
    own = [_curve(frame, str(name)) for name in frame.loc[apart, "strategy"].unique()]
    frame = frame[~apart]
    found = [_curve(frame, str(name)) for name in frame["strategy"].unique()]
    complete = {(curve.strategy, seed) for curve in found for seed in curve.seeds}
    whole = frame[[pair in complete for pair in zip(frame["strategy"], frame["seed"], strict=True)]]
    baseline = _best(learning_curves.scores(whole, reference), baselines)
    references = [name for name in dict.fromkeys([reference, baseline]) if name is not None]
    all_seeds = [int(seed) for seed in frame["seed"].unique()]
    return Comparison(
        confidence=CONFIDENCE,
        seeds=all_seeds,
        reference=reference,
        baseline=baseline,
        floor=None if noise is None else floor(noise, len(all_seeds)),
        gain=None
        if reference is None
        else _gain(whole[whole["strategy"] == reference], noise, whole["strategy"].nunique() - 1),
        curves=found,
        own=own,
        differences=[
            difference
            for name in references
            for measure in learning_curves.MEASURES
            for difference in _against(whole, name, measure, [c.strategy for c in found], noise)
        ],
    )


def floor(noise: Mapping[str, Any], count: int) -> float:
    """Twice the standard deviation by which two means over ``count`` seeds differ by chance alone: 2 σ √(2/n).

    Args:
        noise: as :func:`mgral.report.learning_curves.noise` gives it; σ is the deviation of its mAPs.
        count: seeds, at least 1.
    """
    return 2 * float(noise["mAP"]["deviation"]) * math.sqrt(2 / count)


def write(comparison: Comparison, path: str | Path) -> None:
    """Write ``comparison.json``."""
    write_json(path, comparison.model_dump(mode="json"))


def read(path: str | Path) -> Comparison:
    """Read ``comparison.json``. Raises MgralError if it is none."""
    return Comparison.parse(read_json(path), f"{path}: not a comparison, run `mgral compare` again:")


def _curve(frame: pd.DataFrame, strategy: str) -> Curve:
    own = frame[frame["strategy"] == strategy].sort_values("seed")
    cycles = sorted(frame["cycle"].unique().tolist())
    reached = {seed: set(own.loc[own["seed"] == seed, "cycle"]) for seed in frame["seed"].unique().tolist()}
    lacking = {seed: [cycle for cycle in cycles if cycle not in found] for seed, found in reached.items()}
    return Curve(
        strategy=strategy,
        seeds=[seed for seed, missing in lacking.items() if not missing],
        missing={seed: missing for seed, missing in lacking.items() if missing},
        points=[_point(own[own["cycle"] == cycle], cycle) for cycle in cycles if cycle in set(own["cycle"])],
    )


def _point(rows: pd.DataFrame, cycle: int) -> Point:
    strategy = str(rows["strategy"].iloc[0])
    return Point(
        cycle=cycle,
        images=float(rows["images"].mean()),
        boxes=float(rows["boxes"].mean()),
        mAP=_estimate(rows["mAP"].to_numpy(), strategy, cycle, "mAP"),
        AP50=_estimate(rows["AP50"].to_numpy(), strategy, cycle, "AP50"),
    )


def _estimate(values: np.ndarray, *names: int | str) -> Estimate:
    """Mean of ``values`` and its bootstrap percentile interval; ``names`` name the random stream."""
    from scipy import stats

    low = high = None
    if len(values) > 1:
        random = random_streams.generator("bootstrap", *names)
        options: Any = {"method": "percentile", "n_resamples": RESAMPLES, "random_state": random}
        interval = stats.bootstrap((values,), np.mean, confidence_level=CONFIDENCE, **options).confidence_interval
        low, high = float(interval.low), float(interval.high)
    return Estimate(mean=float(np.mean(values)), low=low, high=high, seeds=len(values))


def _best(scores: pd.DataFrame, among: Sequence[str]) -> str | None:
    """The strategy of largest mean area by images; the first of equals."""
    means = scores.groupby("strategy", sort=False)[learning_curves.MEASURES].mean()
    measure = "auc_images" if means["auc_images"].notna().any() else "mAP"
    known = means[measure].reindex([name for name in among if name in means.index]).dropna()
    return str(known.idxmax()) if len(known) else None


def _against(
    frame: pd.DataFrame, reference: str, measure: str, strategies: Sequence[str], noise: Mapping[str, Any] | None
) -> list[Difference]:
    """Each strategy's difference to a reference, of one mixed model, corrected for their number."""
    table = learning_curves.differences(frame, reference)
    levels = table.pivot_table(index="seed", columns="strategy", values=measure).reindex(columns=list(strategies))
    levels[reference] = 0.0  # differences of the reference to itself: the column that completes the model
    retraining = _retraining(noise, measure)
    if retraining is not None and measure.startswith("auc"):
        retraining *= learning_curves.area_noise(frame, measure.removeprefix("auc_"))
    shared = learning_curves.trainings(frame, levels.index, levels.columns)
    model = mixed_model.residual(levels.to_numpy(np.float64), retraining, shared)
    found = [_difference(levels, name, reference, measure, model) for name in strategies if name != reference]
    judged = [k for k, difference in enumerate(found) if difference.p is not None]
    for k, corrected in zip(judged, holm([found[k].p or 0.0 for k in judged]), strict=True):
        verdict = _verdict(found[k].mean, corrected, found[k].floor)
        found[k] = found[k].model_copy(update={"p_holm": corrected, "verdict": verdict})
    return found


def _difference(
    levels: pd.DataFrame, strategy: str, reference: str, measure: str, model: Residual | None
) -> Difference:
    by_seed = levels[strategy].dropna()
    known = None
    if model is not None and len(by_seed) > 1:
        known = mixed_model.interval(by_seed.to_numpy(), model, ALPHA)
    low, high, p = known or (None, None, None)
    retraining = None if model is None else model.retraining
    return Difference(
        strategy=strategy,
        reference=reference,
        measure=measure,
        seeds=[int(seed) for seed in by_seed.index],
        by_seed=by_seed.to_list(),
        mean=float(by_seed.mean()) if len(by_seed) else None,
        low=low,
        high=high,
        p=p,
        p_holm=None,
        floor=None if retraining is None or not len(by_seed) else 2 * retraining * math.sqrt(2 / len(by_seed)),
        verdict="unknown",
    )


def _retraining(noise: Mapping[str, Any] | None, measure: str) -> float | None:
    """Standard deviation between trainings of one pool, of mAP for the areas; None where it was not measured."""
    found = (noise or {}).get("AP50" if measure == "AP50" else "mAP")
    return None if found is None else float(found["deviation"])


def quantile(repeats: int | None, tail: float) -> float:
    """How many estimated standard deviations of retraining chance exceeds in a share ``tail`` of experiments.

    Of t, with the degrees of freedom of the ``repeats`` trainings: with three of them, 4.3 leave out 2.5 % above, where
    the normal distribution has 1.96. None: the deviation is known, and it is the normal distribution's.
    """
    from scipy import stats

    return float(stats.norm.isf(tail) if repeats is None else stats.t.isf(tail, max(repeats - 1, 1)))


def _gain(random: pd.DataFrame, noise: Mapping[str, Any] | None, others: int) -> Gain | None:
    """What labels were worth to the random strategy: last minus first cycle, and what chance alone may do.

    The limit is two standard errors of retraining alone, 2 σ₀ √(2/n), or more where σ₀ is of less than six trainings:
    the one-sided 95 % quantile of t. Where σ₀ was not measured and there are three seeds, it is that quantile (n - 1
    degrees of freedom) times the standard error of the mean gain.

    Args:
        random: its complete curves.
        noise: content of noise.json, if there is one.
        others: number of the other strategies.
    """
    from scipy import stats

    retraining = _retraining(noise, "mAP")
    ordered = random.sort_values("cycle").groupby("seed")
    if not len(random) or random["cycle"].nunique() < 2:
        return None
    gains = (ordered["mAP"].last() - ordered["mAP"].first()).to_numpy()
    count = len(gains)
    limits: list[float | None] = [None, None]
    tails = (ALPHA, ALPHA / max(others, 1))
    if retraining is not None:
        error, repeats = retraining * math.sqrt(2 / count), (noise or {}).get("repeats")
        limits = [max(2.0, quantile(repeats, tail)) * error for tail in tails]
    elif count > 2:
        error = float(gains.std(ddof=1)) / math.sqrt(count)
        limits = [float(stats.t.isf(tail, count - 1)) * error for tail in tails]
    images = (int(ordered["images"].first().max()), int(ordered["images"].last().max()))
    return Gain(images=images, mean=float(gains.mean()), limit=limits[0], most=limits[1])


def holm(values: Sequence[float]) -> list[float]:
    """p-values corrected for their number, in their order.

    Of n values in ascending order, the k-th is multiplied by n - k + 1; none may lie below the one before it or above 1
    (Holm 1979, "A simple sequentially rejective multiple test procedure").
    """
    if not values:
        return []
    ascending = np.argsort(values, kind="stable")
    raised = np.maximum.accumulate(np.asarray(values)[ascending] * np.arange(len(values), 0, -1))
    corrected = np.empty(len(values))
    corrected[ascending] = np.minimum(raised, 1.0)
    return [float(value) for value in corrected]


def _verdict(mean: float | None, p: float, floor: float | None = None) -> Verdict:
    """The one criterion: p after Holm below :data:`ALPHA`, and the mean beyond the noise floor where that is known."""
    if mean is None or p >= ALPHA or abs(mean) <= (floor or 0.0):
        return "undetected"
    return "better" if mean > 0 else "worse"
