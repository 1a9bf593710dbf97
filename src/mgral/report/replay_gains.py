"""What each free rule's own batch gained in replay: means with intervals, and which rules differ detectably.

Gains are those of ``audit.json``: mAP of a record less the mean over random records of its own table and replay split.
All records of a rule are pooled, over tables (cycles and seeds) and splits. Two deviations, each no smaller than what
retraining does to one batch (the audit's repeats):

- of a gain about its rule's mean, pooled over the rules, for the interval of a rule: t over records;
- of a gain in the additive model rule + split, for the difference of two rules. Rules of one split are compared with
  the same random records, so that what these add by chance is in the effect of the split and not in the difference.

Where a deviation is that of the repeats, the degrees of freedom of the t are theirs.

A batch that several rules choose is one record and counts for each of them: its noise is the same in all, and cancels
in their difference.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from mgral.core.types import Doubles
from mgral.report.comparison import ALPHA, holm
from mgral.report.tables import Table
from mgral.report.text import number, p_value, signed

RULES = {
    "rule balanced": "balanced",
    "rule growth": "growth, equal weights",
    "rule learnable": "learnable",
    "most entropy": "entropy",
}
"""Generators whose batch is the one that a free rule chooses, with the rule."""

Audits = Sequence[Mapping[str, Any]]

NO_DIFFERENCE = "No two of these rules differ detectably in replay."
UNKNOWN = (
    "Differences between these rules cannot be judged: one record of each, and no repeats. Raise proxy.splits, or set "
    "proxy.repeats."
)


@dataclass(frozen=True)
class _Noise:
    """A standard deviation in mAP, >= 0, and its degrees of freedom, > 0."""

    deviation: float
    freedom: float

    def half(self, errors: float) -> float:
        """Half a 95 % interval of what has this many times the deviation as its standard error."""
        return float(stats.t.ppf(1 - ALPHA / 2, self.freedom)) * self.deviation * errors


def table(audits: Audits) -> Table | None:
    """Mean gain of each rule with its interval and the number of its records, the largest first; None without any."""
    rules, _, gains, same = _records(audits)
    names = sorted(set(rules), key=lambda name: (-_mean(name, rules, gains), name))
    if not names:
        return None
    noise = _of_records(rules, gains, same, audits)
    rows = []
    for name in names:
        mean, count = _mean(name, rules, gains), rules.count(name)
        half = noise.half(1 / math.sqrt(count)) if noise else None
        interval = "–" if half is None else f"{signed(mean - half, 4)} to {signed(mean + half, 4)}"
        shared = sum(rule == name and row.sum() > 1 for rule, row in zip(rules, same, strict=True))
        rows.append([name, signed(mean, 4), interval, f"{count}, {shared} shared" if shared else str(count)])
    return Table(["rule", "gain in replay", "95 % interval", "records"], rows)


def differences(audits: Audits) -> str | None:
    """Which rules differ detectably in gain (p after Holm below the level), in words; None for fewer than two rules."""
    rules, splits, gains, same = _records(audits)
    pairs = list(itertools.combinations(sorted(set(rules)), 2))
    if not pairs:
        return None
    design, names = _design(rules, splits)
    inverse = np.linalg.pinv(design.T @ design)
    means: Doubles = inverse @ design.T @ gains
    noise = _larger(_residual(design, means, gains, same), _of_repeats(audits, reference=False))
    if noise is None:
        return UNKNOWN
    of_means: Doubles = inverse @ design.T @ same @ design @ inverse  # variances, that of a record is 1
    gaps, errors = [], []
    for one, other in pairs:
        contrast = np.zeros(len(means))
        contrast[[names.index(one), names.index(other)]] = 1, -1
        gaps.append(float(contrast @ means))
        errors.append(math.sqrt(max(float(contrast @ of_means @ contrast), 0.0)))
    scores = [abs(gain) / max(error * noise.deviation, 1e-12) for gain, error in zip(gaps, errors, strict=True)]
    corrected = holm([2 * float(stats.t.sf(score, noise.freedom)) for score in scores])
    apart, alike = [], []
    for (one, other), gain, p in zip(pairs, gaps, corrected, strict=True):
        if p >= ALPHA:
            alike.append(f"{one} and {other}")
            continue
        above, below = (one, other) if gain > 0 else (other, one)
        apart.append(f"{above} above {below} ({signed(abs(gain), 4)}, p {p_value(p)})")
    said = [f"Detectable differences in replay: {'; '.join(apart)}." if apart else NO_DIFFERENCE]
    if alike:
        said += [f"None between {'; '.join(alike)}."] if apart else []
        said.append(f"Those below about {number(noise.half(float(np.mean(errors))), 3)} mAP are lost in noise.")
    return " ".join(said)


def _records(audits: Audits) -> tuple[list[str], list[tuple[int, int]], Doubles, Doubles]:
    """Rule, split (table and its number there) and gain of each replay record of a rule's own batch, by rule.

    The last is [N, N]: 1 where two of these are of one record, else 0.
    """
    rules, splits, gains, records = [], [], [], []
    for table_number, audit in enumerate(audits):
        for place, point in enumerate(audit["points"]):
            if point["kind"] != "replay":
                continue
            for generator in point["generator"].split(", "):  # several rules may choose the same batch
                if generator in RULES:
                    rules.append(RULES[generator])
                    splits.append((table_number, point.get("split", 1)))
                    gains.append(point["trained"])
                    records.append((table_number, place))
    same = np.array([[float(one == other) for other in records] for one in records])
    return rules, splits, np.asarray(gains, np.float64), same


def _mean(name: str, rules: Sequence[str], gains: Doubles) -> float:
    return float(np.mean(gains[np.array(rules) == name]))


def _of_records(rules: Sequence[str], gains: Doubles, same: Doubles, audits: Audits) -> _Noise | None:
    """Of a gain about the mean of its rule."""
    names = sorted(set(rules))
    design = np.array([[float(rule == name) for name in names] for rule in rules])
    means = np.array([_mean(name, rules, gains) for name in names])
    return _larger(_residual(design, means, gains, same), _of_repeats(audits, reference=True))


def _design(rules: Sequence[str], splits: Sequence[tuple[int, int]]) -> tuple[Doubles, list[str]]:
    """Indicators of rules and splits, and the names of the first columns."""
    names, places = sorted(set(rules)), sorted(set(splits))
    columns = [[float(rule == name) for rule in rules] for name in names]
    columns += [[float(split == place) for split in splits] for place in places]
    return np.array(columns).T, names


def _residual(design: Doubles, means: Doubles, gains: Doubles, same: Doubles) -> _Noise | None:
    """Of a record, from what the fit of all rows leaves of their gains.

    The expected sum of its squares is the variance times the trace of M · ``same``, where M takes residuals. The
    degrees of freedom are Satterthwaite's: rows less the rank of the design, where no record is shared.
    """
    left = (np.eye(len(gains)) - design @ np.linalg.pinv(design)) @ same
    expected, squared = float(np.trace(left)), float(np.trace(left @ left))
    if expected < 0.5 or squared <= 0:
        return None
    return _Noise(math.sqrt(float(((gains - design @ means) ** 2).sum()) / expected), expected**2 / squared)


def _of_repeats(audits: Audits, reference: bool) -> _Noise | None:
    """What retraining one batch does to a record; with the ``reference`` also what random records do to their mean."""
    squares, freedom = 0.0, 0
    for audit in audits:
        found = audit["kinds"].get("replay")
        if not found or found["between_seeds"] is None:
            continue
        own = found["seeds"] - found.get("splits", 1)
        random = sum(point["generator"] == "random" and point["kind"] == "replay" for point in audit["points"])
        alike = (found["between_random"] or 0) ** 2 * found.get("splits", 1) / max(random, 1) if reference else 0.0
        squares += own * (found["between_seeds"] ** 2 + alike)
        freedom += own
    return _Noise(math.sqrt(squares / freedom), freedom) if freedom > 0 else None


def _larger(one: _Noise | None, other: _Noise | None) -> _Noise | None:
    found = [noise for noise in (one, other) if noise is not None]
    return max(found, key=lambda noise: noise.deviation) if found else None
