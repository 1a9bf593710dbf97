"""The surrogate ``bayes``: a linear model of the gain in AP by class, with a prior that is a rule without a reward.

For record j and class c, y_jc is the gain in AP and x_jc the numbers of :data:`mgral.reward.growth.FEATURES`:

    y_jc = x_jc · w + u_j + e_jc,    u_j ~ N(0, σ_u²), e_jc ~ N(0, σ_e²),    w ~ N(w0, Σ0)

One vector w serves all classes. The mean over the classes of a record (its gain in mAP) and the deviations of the
classes from it are independent given w, so each has a noise of its own: both are estimated together with w by the
evidence approximation (MacKay 1992, "Bayesian interpolation", section 4), with a weak prior. Records of one cycle and
kind are compared with each other: their means are subtracted, class by class, from x and y. Records without AP by
class, of earlier versions or stopped proxies, count with their mAP.

w0 and Σ0 (diagonal) are in mAP per nat: :data:`RULES`, :data:`ADAPTIVE` and :data:`SPREADS`. What replay shows holds
for labels in part only. With w the weights of labels and w' those of replay, w' - w0 and w - w0 correlate by
:data:`TRANSFER`, so that the posterior of w has mean w0 + TRANSFER² (E[w'] - w0).

Records that carry no signal teach nothing: where a permutation test does not show that records predict each other, w is
as before any record, and the price is that of the rule in w0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist
from scipy.stats import spearmanr

from mgral.config.schema import Table
from mgral.core import random_streams
from mgral.core.types import Bools, Doubles, Ints
from mgral.reward import adaptive
from mgral.reward.growth import FEATURES
from mgral.reward.surrogates import EXACT, Nearest, Price


@dataclass(frozen=True)
class Rule:
    """The rule in the prior: the number that is its own, and the mean weight of that, in mAP per nat."""

    name: str
    feature: str
    weight: float


RULES = {rule.name: rule for rule in (Rule("learnable", "learnable", 0.10), Rule("growth", "competent growth", 0.08))}
"""Of ``table.prior``; the weights are means over data sets: docs/results/price.md."""

ADAPTIVE = {"balanced": Rule("adaptive", "balanced", 0.09), "learnable": Rule("adaptive", "learnable", 0.10)}
"""Of ``table.prior: adaptive``, by what it chooses; that of balanced is a mean over the sets on which it chooses so."""


SPREADS = {
    "growth": 0.045,
    "competent growth": 0.045,
    "balanced": 0.045,
    "learnable": 0.045,
    "entropy": 0.045,
    "boxes": 0.0225,
    "novelty": 0.0225,
    "quality": 0.0225,
}
"""Standard deviation of each weight between data sets, in mAP per nat; of quality it is assumed.

Their ratios are from docs/results/price.md, their size, with :data:`TRANSFER`, from docs/results/transfer.md.
"""

TRANSFER = 0.95  # correlation of the weights of labels and of replay; likeliest over three sets
NOISE = (0.010, 0.025)  # standard deviations of a record's mAP, and of its classes about it: where the estimate starts
STRENGTH = 4  # records that this start is worth
ROUNDS = 30  # of the estimate
SHUFFLES = 199
LEVEL = 0.05  # of the permutation test


@dataclass(frozen=True)
class Weights:
    """Weights of the numbers of a batch, as a normal distribution.

    Attributes:
        mean: [8] mAP per nat, in the order of ``FEATURES``.
        covariance: [8, 8].
        classes: [C] bool, those whose AP counts for mAP.
        rule: the number that is the prior's own.
    """

    mean: Doubles
    covariance: Doubles
    classes: Bools
    rule: str = "learnable"

    def predict(self, features: Doubles) -> tuple[Doubles, Doubles]:
        """Expected gain in mAP [K] of batches and its standard deviation [K], from their numbers [K, C, 8].

        The gain is a linear function of the numbers, so far from the records it may leave -1..1.
        """
        x = features[:, self.classes].mean(axis=1)
        variance = np.einsum("kf,fg,kg->k", x, self.covariance, x)
        return x @ self.mean, np.sqrt(np.maximum(variance, 0))


def rule_of(name: str, confident: adaptive.Confident) -> Rule:
    """The rule of ``table.prior``, which for ``adaptive`` depends on the cycle's detector."""
    return ADAPTIVE[adaptive.rule_for(confident)] if name == "adaptive" else RULES[name]


def prior(rule: Rule, classes: Bools) -> Weights:
    """The weights before any record."""
    mean = np.zeros(len(FEATURES))
    mean[FEATURES.index(rule.feature)] = rule.weight
    return Weights(mean, np.diag([SPREADS[name] ** 2 for name in FEATURES]), classes, rule.feature)


class ClassFactored:
    """The model, fitted to records.

    Attributes:
        classes: [C] bool, those with an AP in the records; all where no record has AP by class.
    """

    def __init__(self, features: Doubles, gains: Doubles, by_class: Doubles, groups: Ints, rule: Rule) -> None:
        """Describe records.

        Args:
            features: [n, C, 8].
            gains: [n] in mAP.
            by_class: [n, C] AP, or gain in AP; NaN where there is none.
            groups: [n] records of one cycle and kind have the same number.
            rule: in the prior.
        """
        known = np.isfinite(by_class)
        self.classes: Bools = np.asarray(known.any(axis=0) | (not known.any()))
        self._rule, self._prior = rule, prior(rule, self.classes)
        self._features, self._gains, self._by_class, self._groups = features, gains, by_class, groups
        some = features[:, self.classes]
        complete: Bools = np.asarray(known[:, self.classes].all(axis=1))
        self._mean_x, self._mean_y = some.mean(axis=1), gains
        self._class_x = np.where(complete[:, None, None], some - self._mean_x[:, None], 0)
        ap = by_class[:, self.classes]
        self._class_y = np.where(complete[:, None], ap - ap.mean(axis=1, keepdims=True), 0)
        self._between = _Scatter(self._mean_x[:, None], self._mean_y[:, None], groups, groups >= 0)
        self._within = _Scatter(self._class_x, self._class_y, groups, complete)

    @cached_property
    def weights(self) -> Weights:
        """The posterior where the records carry a signal, the prior where they do not."""
        if not self.signal:
            return self._prior
        precision, pull = self._information(self._noise)
        covariance = np.linalg.inv(precision)
        of_replay = TRANSFER**4 * covariance
        left = (1 - TRANSFER**2) * self._prior.covariance
        return Weights(self._transferred(covariance @ pull), left + of_replay, self.classes, self._rule.feature)

    @property
    def signal(self) -> bool:
        """Whether the records predict each other better than shuffled ones do."""
        return self.p_value < LEVEL

    @cached_property
    def p_value(self) -> float:
        """Of the permutation test: Spearman's correlation of gains and held-out predictions, one-sided.

        Gains are shuffled among the records of a cycle and kind; the model is fitted to each of ``SHUFFLES`` orders
        (Phipson and Smyth 2010, equation 2). 1 where there are fewer than 4 records, or all are equal.
        """
        own = self._rank()
        if own is None:
            return 1.0
        rng = random_streams.generator("shuffled records of the price")
        found = [self.shuffled(rng)._rank() for _ in range(SHUFFLES)]
        return (1 + sum(other is not None and other >= own - 1e-12 for other in found)) / (1 + SHUFFLES)

    def leave_one_out(self) -> Doubles:
        """[n] gain of each record in mAP, predicted by the others; the noise is that of all records.

        It does not ask for a signal: the test of it is made of these.
        """
        precision, pull = self._information(self._noise)
        for scatter, noise in zip((self._between, self._within), self._noise, strict=True):
            squares, products = scatter.of_each()
            precision = precision - squares / noise
            pull = pull - products / noise
        of_replay: Doubles = np.linalg.solve(precision, pull[..., None])[..., 0].astype(np.float64)
        found: Doubles = np.clip((self._mean_x * self._transferred(of_replay)).sum(axis=1), -1, 1)
        return found

    def shuffled(self, rng: np.random.Generator) -> ClassFactored:
        """The same records with the gains in another order among those of a cycle and kind."""
        order = np.arange(len(self._gains))
        for group in np.unique(self._groups):
            rows = np.flatnonzero(self._groups == group)
            order[rows] = rng.permutation(rows)
        return ClassFactored(self._features, self._gains[order], self._by_class[order], self._groups, self._rule)

    def _rank(self) -> float | None:
        if len(self._gains) < 4 or np.ptp(self._gains) < 1e-12:
            return None
        guesses = self.leave_one_out()
        return float(spearmanr(self._gains, guesses).statistic) if np.ptp(guesses) > 1e-12 else None

    def _transferred(self, of_replay: Doubles) -> Doubles:
        """Weights of labels expected at weights [..., 8] of replay."""
        moved: Doubles = self._prior.mean + TRANSFER**2 * (of_replay - self._prior.mean)
        return moved

    def _information(self, noise: tuple[float, float]) -> tuple[Doubles, Doubles]:
        """Precision [8, 8] of the weights of replay, and what it is multiplied with their mean [8]."""
        precision = TRANSFER**2 * np.linalg.inv(self._prior.covariance)
        pull = precision @ self._prior.mean
        for scatter, variance in zip((self._between, self._within), noise, strict=True):
            precision = precision + scatter.squares / variance
            pull = pull + scatter.products / variance
        return precision.astype(np.float64), pull.astype(np.float64)

    @cached_property
    def _noise(self) -> tuple[float, float]:
        """Variances of a record's mAP and of its classes about it: σ² = Σ residuals² / (number - well-determined)."""
        start = NOISE[0] ** 2, NOISE[1] ** 2
        noise = start
        for _ in range(ROUNDS):
            precision, pull = self._information(noise)
            covariance = np.linalg.inv(precision)
            mean = covariance @ pull
            noise = tuple(
                (scatter.residual(mean) + STRENGTH * first)
                / (max(scatter.count - float(np.trace(covariance @ scatter.squares)) / variance, 0) + STRENGTH)
                for scatter, variance, first in zip((self._between, self._within), noise, start, strict=True)
            )  # type: ignore[assignment]
        return noise


class _Scatter:
    """Sums of squares and products of x [n, m, 8] and y [n, m] about the means of their groups, entry by entry of m."""

    def __init__(self, x: Doubles, y: Doubles, groups: Ints, counted: Bools) -> None:
        self._factor = np.zeros(len(x))  # n / (n - 1): what a record left out takes with it
        self._x, self._y = np.zeros_like(x), np.zeros_like(y)
        self.count = 0.0
        for group in np.unique(groups[counted]):
            rows = np.flatnonzero((groups == group) & counted)
            if len(rows) < 2:
                continue
            self._x[rows], self._y[rows] = x[rows] - x[rows].mean(axis=0), y[rows] - y[rows].mean(axis=0)
            self._factor[rows] = len(rows) / (len(rows) - 1)
            self.count += (len(rows) - 1) * max(x.shape[1] - 1, 1)
        self.squares = np.einsum("nmf,nmg->fg", self._x, self._x)
        self.products = np.einsum("nmf,nm->f", self._x, self._y)

    def of_each(self) -> tuple[Doubles, Doubles]:
        """What each record contributes to the sums, exactly: the means without it differ, too."""
        squares = np.einsum("nmf,nmg->nfg", self._x, self._x) * self._factor[:, None, None]
        products = np.einsum("nmf,nm->nf", self._x, self._y) * self._factor[:, None]
        return squares, products

    def residual(self, mean: Doubles) -> float:
        """Sum of squared residuals at some weights."""
        return float(((self._y - self._x @ mean) ** 2).sum())


class Bayes:
    """The surrogate of the lookup table: the price of a batch is the mean over classes of x · w.

    A batch is far where the records leave more than ``table.far_uncertainty`` of the standard deviation that its price
    has before any record.

    Attributes:
        model: what was fitted.
    """

    def __init__(
        self, nearest: Nearest, params: Table, by_class: Doubles, groups: Ints, confident: adaptive.Confident
    ) -> None:
        """Fit to records.

        Args:
            nearest: their vectors [n, C · 8] and gains.
            params: ``prior`` and ``far_uncertainty``.
            by_class: [n, C] AP; NaN where there is none.
            groups: [n] records of one cycle and kind have the same number.
            confident: detections on val, and how many are right: what ``prior: adaptive`` asks for.
        """
        self._confident, self._rule = confident, rule_of(params.prior, confident)
        self._vectors, self._params = nearest.vectors.astype(np.float64), params
        features = self._vectors.reshape(len(self._vectors), -1, len(FEATURES))
        self.model = ClassFactored(features, nearest.values, by_class, groups, self._rule)

    def price(self, queries: npt.NDArray[np.floating]) -> Price:
        """Expected gain of batches by their numbers [n, C · 8], flat, with its standard deviation."""
        features = queries.astype(np.float64).reshape(len(queries), -1, len(FEATURES))
        nearest_one = cdist(queries, self._vectors).min(axis=1)
        values, deviation = self.model.weights.predict(features)
        before = prior(self._rule, self.model.classes).predict(features)[1]
        far = (deviation > self._params.far_uncertainty * before) & (nearest_one > EXACT)
        return Price(np.clip(values, -1, 1), nearest_one, far, deviation)

    def leave_one_out(self) -> Price:
        """Expected gain of each record by the others, whether or not they carry a signal; none is far."""
        distances = cdist(self._vectors, self._vectors)
        np.fill_diagonal(distances, np.inf)
        return Price(self.model.leave_one_out(), distances.min(axis=1), np.zeros(len(distances), np.bool_))

    def verdict(self) -> dict[str, Any]:
        """What ``audit.json`` says: whether the records carry a ``signal``, ``p``, ``level``, ``rule``, ``text``."""
        p, rule = self.model.p_value, self._rule.name
        if self.model.signal:
            text = f"The rewards carry a signal (p = {p:.3f}): they correct the price of the rule {rule}."
        else:
            text = f"The rewards carry no signal (p = {p:.2f}); the choice is that of the rule {rule}."
        if rule == "adaptive":
            text += f" It is {adaptive.rule_for(self._confident)} here: {adaptive.told(self._confident)}."
        weights = self.model.weights
        deviations = np.sqrt(np.diag(weights.covariance))
        return {
            "signal": self.model.signal,
            "p": p,
            "level": LEVEL,
            "rule": rule,
            "text": text,
            "weights": {
                name: {"mean": float(mean), "deviation": float(deviation)}
                for name, mean, deviation in zip(FEATURES, weights.mean, deviations, strict=True)
            },
        }
