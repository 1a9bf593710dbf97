"""Strategies compared in one mixed model over seeds, with the retraining variance as a lower bound.

The model of one measure (final mAP, say) is the randomised block design, with seeds as blocks::

    y[s, k] = μ[k] + b[s] + e[s, k],    b[s] ~ N(0, τ²),    e[s, k] ~ N(0, σ²)

μ[k] is the mean of strategy k, b[s] the random effect of a seed (its initial pool and initial weights, which all
strategies of the seed share), e the rest: retraining and the interaction of strategy and seed. Within a seed b cancels,
so that a difference of two strategies is estimated by the mean of their paired differences, with the variance 2σ²/n.
The residual variance is pooled over all strategies (Searle, Casella and McCulloch, Variance Components, 1992, chapter
4)::

    s² = Σ (y[s, k] − ȳ[s, ·] − ȳ[·, k] + ȳ[·, ·])² / ((S − 1)(K − 1))

With two strategies this is the paired t-test. Two numbers of three seeds may agree by luck; trainings of one pool that
differ in nothing but their seed are known to spread by σ₀ (``noise.json``). The residual cannot be smaller in truth, so
σ² = max(s², σ₀²). The degrees of freedom stay those of s².

Strategies that pick the same images share a training, and so its e. Counted as two, they would make s² too small and
its degrees of freedom too many: copies agree. With C the covariance of the e of all levels, 1 where two are of one
training and 0 elsewhere, and M the matrix that takes residuals, the sum of squares has the expectation σ² tr(MC); the
degrees of freedom are Satterthwaite's, tr(MC)² / tr(MCMC). Where no two are the same, these are (S − 1)(K − 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mgral.core.types import Doubles, Ints

ROUNDING = 1e-9  # relative: residuals that small are none


@dataclass(frozen=True)
class Residual:
    """Residual standard deviation of the model.

    Attributes:
        deviation: s; 0 where the seeds agree up to rounding.
        freedom: its degrees of freedom, at least 1; a whole number where no training is shared.
        retraining: σ₀, the lower bound; None where it was not measured.
    """

    deviation: float
    freedom: float
    retraining: float | None

    @property
    def bounded(self) -> float:
        """σ = max(s, σ₀)."""
        return max(self.deviation, self.retraining or 0.0)

    def error(self, pairs: int) -> float:
        """Standard error of a mean paired difference: σ √(2/n)."""
        return self.bounded * math.sqrt(2 / pairs)


def residual(levels: Doubles, retraining: float | None = None, shared: Ints | None = None) -> Residual | None:
    """Pooled residual deviation of strategies over seeds.

    Args:
        levels: [S, K], a row a seed, a column a strategy; NaN where a strategy lacks the seed. Levels of a seed may all
            be given relative to one of its strategies: what is common to a seed cancels.
        retraining: σ₀ of the measure.
        shared: [S, K], equal numbers in a row where strategies share a training; None where none do.

    Returns:
        None where no degree of freedom is left: one seed, or one strategy.
    """
    rows, columns = np.nonzero(np.isfinite(levels))
    values = levels[rows, columns]
    if not len(values):
        return None
    design = np.hstack([np.eye(levels.shape[0])[rows], np.eye(levels.shape[1])[columns]])
    fitted, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    freedom = expected = float(len(values) - int(rank))
    if freedom < 1:
        return None
    if shared is not None:
        trainings = shared[rows, columns]
        same = (rows[:, None] == rows) & (trainings[:, None] == trainings)
        left = (np.eye(len(values)) - design @ np.linalg.pinv(design)) @ same
        if np.trace(left) > ROUNDING * freedom:  # else all levels of each seed are of one training
            expected = float(np.trace(left))
            freedom = expected**2 / float(np.sum(left * left.T))
    deviation = math.sqrt(float(np.sum((values - design @ fitted) ** 2)) / expected)
    negligible = deviation <= ROUNDING * float(np.abs(values).max())
    return Residual(0.0 if negligible else deviation, freedom, retraining)


def interval(differences: Doubles, model: Residual, alpha: float) -> tuple[float, float, float] | None:
    """The t-interval of a mean paired difference, and the p-value of its being zero.

    Args:
        differences: [n], one a seed, at least one.
        model: the residual of the model that they are part of.
        alpha: the interval holds the truth in 1 - alpha of experiments.

    Returns:
        Low end, high end and p; None where there is no spread to judge a difference by.
    """
    from scipy import stats

    mean, error = float(np.mean(differences)), model.error(len(differences))
    if not np.any(differences):
        reach = float(stats.t.ppf(1 - alpha / 2, model.freedom)) * error
        return 0.0 - reach, reach, 1.0  # no -0.0
    if error == 0:
        return None
    reach = float(stats.t.ppf(1 - alpha / 2, model.freedom)) * error
    return mean - reach, mean + reach, 2 * float(stats.t.sf(abs(mean) / error, model.freedom))
