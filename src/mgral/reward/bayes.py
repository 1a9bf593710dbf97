"""The surrogate ``bayes``: a linear model of the gain in AP by class, with a prior that is a rule without a reward.

For record j of group g and class c, y_jc is the gain in AP and x_jc the numbers of
:data:`mgral.reward.growth.FEATURES`:

    y_jc = x_jc · w_g + u_j + e_jc,    u_j ~ N(0, σ_u²), e_jc ~ N(0, σ_e²)
    w_g ~ N(w, D),    w_labels ~ N(w, L),    w ~ N(w0, Σ0)

One vector serves all classes. A group are the records of one cycle, kind and replay split: they share held-out images
and a detector, and their weights w_g differ from those of another split by more than the noise of records. So a split
counts as one observation of w, however many records it has, and what labels gain follows w_labels. The mean over the
classes of a record (its gain in mAP) and the deviations of the classes from it are independent given w_g, so each has a
noise of its own: both are estimated together with the weights by the evidence approximation (MacKay 1992, "Bayesian
interpolation", section 4), with a weak prior. Records of a group are compared with each other: their means are
subtracted, class by class, from x and y. Records without AP by class, of earlier versions or stopped proxies, count
with their mAP.

w0, and Σ0, D and L (diagonal), are in mAP per nat: :data:`RULES`, :data:`ADAPTIVE`, :data:`SPREADS`,
:data:`BETWEEN_SPLITS` and :data:`BETWEEN_POOLS`.

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
    "growth": 0.04,
    "competent growth": 0.04,
    "balanced": 0.04,
    "learnable": 0.04,
    "entropy": 0.04,
    "boxes": 0.02,
    "novelty": 0.02,
    "quality": 0.02,
}
"""Standard deviation of each weight between data sets, in mAP per nat; of quality it is assumed.

Their ratios are from docs/results/price.md. Their size, and the next two, are the likeliest over three sets:
docs/results/splits.md.
"""

BETWEEN_SPLITS = 2.0  # deviation of the weights between the replay splits of a data set, in SPREADS
BETWEEN_POOLS = 0.25  # deviation of the weights of labels between its pools, in SPREADS
NOISE = (0.006, 0.016)  # standard deviations of a record's mAP, and of its classes about it: where the estimate starts
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
    """The weights of a pool's labels before any record."""
    mean = np.zeros(len(FEATURES))
    mean[FEATURES.index(rule.feature)] = rule.weight
    return Weights(mean, _spread() + _spread(BETWEEN_POOLS), classes, rule.feature)


def _spread(times: float = 1.0) -> Doubles:
    """[8, 8] diagonal covariance with deviations of ``times`` ``SPREADS``."""
    found: Doubles = np.diag([(times * SPREADS[name]) ** 2 for name in FEATURES])
    return found


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
            groups: [n] records of one cycle, kind and replay split have the same number.
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
        self._scatters = (
            _Scatter(self._mean_x[:, None], self._mean_y[:, None], groups, groups >= 0),
            _Scatter(self._class_x, self._class_y, groups, complete),
        )

    @cached_property
    def weights(self) -> Weights:
        """The posterior where the records carry a signal, the prior where they do not."""
        if not self.signal:
            return self._prior
        mean, covariance = self._common(*self._information(self._noise))
        return Weights(mean, covariance + _spread(BETWEEN_POOLS), self.classes, self._rule.feature)

    @property
    def signal(self) -> bool:
        """Whether the records predict each other better than shuffled ones do."""
        return self.p_value < LEVEL

    @cached_property
    def p_value(self) -> float:
        """Of the permutation test: Spearman's correlation of gains and held-out predictions, about groups; one-sided.

        Gains are shuffled among the records of a group; the model is fitted to each of ``SHUFFLES`` orders
        (Phipson and Smyth 2010, equation 2). 1 where there are fewer than 4 records, or all are equal.
        """
        own = self._rank()
        if own is None:
            return 1.0
        rng = random_streams.generator("shuffled records of the price")
        found = [self.shuffled(rng)._rank() for _ in range(SHUFFLES)]
        return (1 + sum(other is not None and other >= own - 1e-12 for other in found)) / (1 + SHUFFLES)

    def leave_one_out(self) -> Doubles:
        """[n] gain of each record in mAP, predicted by the others with the weights of its group; noise is that of all.

        It does not ask for a signal: the test of it is made of these.
        """
        squares, products = self._information(self._noise)
        precision, pull = self._pooled(squares, products)
        place = self._scatters[0].place
        own, pulls = squares[place], products[place]  # of each record's group, without the record
        for scatter, noise in zip(self._scatters, self._noise, strict=True):
            its_squares, its_products = scatter.of_each()
            own, pulls = own - its_squares / noise, pulls - its_products / noise
        gone, gone_pull = (found[place] for found in _marginal(squares, products))
        left, left_pull = _marginal(own, pulls)
        common = np.linalg.solve(precision - gone + left, (pull - gone_pull + left_pull)[..., None])[..., 0]
        tie = np.linalg.inv(_spread(BETWEEN_SPLITS))
        means = np.linalg.solve(own + tie, (pulls + common @ tie)[..., None])[..., 0]
        found: Doubles = np.clip((self._mean_x * means).sum(axis=1), -1, 1).astype(np.float64)
        return found

    def shuffled(self, rng: np.random.Generator) -> ClassFactored:
        """The same records with the gains in another order among those of a group."""
        order = np.arange(len(self._gains))
        for group in np.unique(self._groups):
            rows = np.flatnonzero(self._groups == group)
            order[rows] = rng.permutation(rows)
        return ClassFactored(self._features, self._gains[order], self._by_class[order], self._groups, self._rule)

    def _rank(self) -> float | None:
        if len(self._gains) < 4 or np.ptp(self._gains) < 1e-12:
            return None
        guesses = self._about_groups(self.leave_one_out())
        return float(spearmanr(self._about_groups(self._gains), guesses).statistic) if np.ptp(guesses) > 1e-12 else None

    def _about_groups(self, values: Doubles) -> Doubles:
        """[n] values less the mean of their group."""
        place = self._scatters[0].place
        found: Doubles = values - (np.bincount(place, values) / np.bincount(place))[place]
        return found

    def _information(self, noise: tuple[float, float]) -> tuple[Doubles, Doubles]:
        """What each group says of its own weights: precisions [G, 8, 8], and these times their means [G, 8]."""
        squares = sum(scatter.squares / variance for scatter, variance in zip(self._scatters, noise, strict=True))
        products = sum(scatter.products / variance for scatter, variance in zip(self._scatters, noise, strict=True))
        return np.asarray(squares, np.float64), np.asarray(products, np.float64)

    def _pooled(self, squares: Doubles, products: Doubles) -> tuple[Doubles, Doubles]:
        """Precision [8, 8] of the weights that groups have in common, and what it is multiplied with their mean [8]."""
        before = np.linalg.inv(_spread())
        informs, pulls = _marginal(squares, products)
        return before + informs.sum(axis=0), before @ self._prior.mean + pulls.sum(axis=0)

    def _common(self, squares: Doubles, products: Doubles) -> tuple[Doubles, Doubles]:
        """Mean [8] and covariance [8, 8] of the weights that groups have in common."""
        precision, pull = self._pooled(squares, products)
        covariance = np.linalg.inv(precision).astype(np.float64)
        return covariance @ pull, covariance

    @cached_property
    def _noise(self) -> tuple[float, float]:
        """Variances of a record's mAP and of its classes about it: σ² = Σ residuals² / (number - well-determined)."""
        start = NOISE[0] ** 2, NOISE[1] ** 2
        noise = start
        tie = np.linalg.inv(_spread(BETWEEN_SPLITS))
        for _ in range(ROUNDS):
            squares, products = self._information(noise)
            common, covariance = self._common(squares, products)
            alone = np.linalg.inv(squares + tie)  # [G, 8, 8] of a group's weights, given those in common
            means = np.einsum("gij,gj->gi", alone, products + tie @ common)
            from_common = alone @ tie
            of_group = alone + from_common @ covariance @ from_common.swapaxes(1, 2)
            noise = tuple(
                (scatter.residual(means) + STRENGTH * first)
                / (max(scatter.count - float(np.einsum("gij,gji", of_group, scatter.squares)) / variance, 0) + STRENGTH)
                for scatter, variance, first in zip(self._scatters, noise, start, strict=True)
            )  # type: ignore[assignment]
        return noise


def _marginal(squares: Doubles, products: Doubles) -> tuple[Doubles, Doubles]:
    """What groups say of the weights in common, their own integrated out: precisions [..., 8, 8] and pulls [..., 8]."""
    wider = np.eye(len(FEATURES)) + squares @ _spread(BETWEEN_SPLITS)
    both = np.linalg.solve(wider, np.concatenate([squares, products[..., None]], axis=-1))
    return both[..., :-1], both[..., -1]


class _Scatter:
    """Sums of squares and products of x [n, m, 8] and y [n, m] about the means of their groups, entry by entry of m.

    Attributes:
        place: [n] number of each record's group, from 0.
        squares: [G, 8, 8].
        products: [G, 8].
        count: degrees of freedom.
    """

    def __init__(self, x: Doubles, y: Doubles, groups: Ints, counted: Bools) -> None:
        self._factor = np.zeros(len(x))  # n / (n - 1): what a record left out takes with it
        self._x, self._y = np.zeros_like(x), np.zeros_like(y)
        self.count = 0.0
        known, self.place = np.unique(groups, return_inverse=True)
        for number in range(len(known)):
            rows = np.flatnonzero((self.place == number) & counted)
            if len(rows) < 2:
                continue
            self._x[rows], self._y[rows] = x[rows] - x[rows].mean(axis=0), y[rows] - y[rows].mean(axis=0)
            self._factor[rows] = len(rows) / (len(rows) - 1)
            self.count += (len(rows) - 1) * max(x.shape[1] - 1, 1)
        shape = (len(known), len(FEATURES))
        self.squares, self.products = np.zeros((*shape, len(FEATURES))), np.zeros(shape)
        np.add.at(self.squares, self.place, np.einsum("nmf,nmg->nfg", self._x, self._x))
        np.add.at(self.products, self.place, np.einsum("nmf,nm->nf", self._x, self._y))

    def of_each(self) -> tuple[Doubles, Doubles]:
        """What each record contributes to the sums, exactly: the means without it differ, too."""
        squares = np.einsum("nmf,nmg->nfg", self._x, self._x) * self._factor[:, None, None]
        products = np.einsum("nmf,nm->nf", self._x, self._y) * self._factor[:, None]
        return squares, products

    def residual(self, means: Doubles) -> float:
        """Sum of squared residuals at some weights of each group [G, 8]."""
        return float(((self._y - np.einsum("nmf,nf->nm", self._x, means[self.place])) ** 2).sum())


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
            groups: [n] records of one cycle, kind and replay split have the same number.
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
