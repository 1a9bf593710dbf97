"""Numbers as text, and short notes of the report. Verdicts: :mod:`mgral.report.headline`, ``table_verdict``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mgral.report import comparison
from mgral.report.comparison import Comparison

Summary = Mapping[str, Mapping[str, tuple[float, float, int]]]


def number(value: float | None, digits: int = 3) -> str:
    """``0.412``; an en dash where the value is undefined."""
    return f"{value:.{digits}f}" if value is not None and math.isfinite(value) else "–"


def signed(value: float | None, digits: int = 3) -> str:
    """``+0.021`` or ``−0.004``, with a true minus; what rounds to zero has no sign."""
    text = number(value, digits).replace("-", "−")
    if not any(digit in text for digit in "123456789"):
        return text.removeprefix("−")
    return text if text.startswith("−") else f"+{text}"


def places(*values: float | None, digits: int = 3, most: int = 5) -> int:
    """Digits after the point, at least ``digits``, at which no value that is not 0 looks like 0; at most ``most``.

    An interval from +0.0004 to +0.0080 excludes zero, which ``0.000 to +0.008`` hides.
    """
    known = [abs(value) for value in values if value is not None and math.isfinite(value)]
    least = [value for value in known if round(value, most) > 0]
    return next((n for n in range(digits, most) if all(round(value, n) > 0 for value in least)), most)


def interval(low: float, high: float, digits: int = 3) -> str:
    """``+0.012 to +0.034``."""
    return f"{signed(low, digits)} to {signed(high, digits)}"


def p_value(value: float | None, digits: int = 3) -> str:
    """``= 0.031``, ``< 0.001``; more digits where it would look like the level of a verdict; an en dash for None."""
    if value is None or not math.isfinite(value):
        return "–"
    if value < 10**-digits:
        return f"< {10**-digits:.{digits}f}"
    level = round(value, digits) == comparison.ALPHA != value
    return f"= {number(value, digits + 2 if level else digits)}"


def listed(names: Sequence[str]) -> str:
    """Names as a sentence lists them: a, b and c."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def same(groups: Sequence[Sequence[str]]) -> list[str]:
    """The strategies that share their detectors, a sentence a group; see :func:`learning_curves.alike`."""
    return [
        f"{listed(group)} picked the same images in every seed: they share their detectors, which count once"
        for group in groups
    ]


def plus_minus(value: tuple[float, float, int], sign: bool = False) -> str:
    """Mean ± standard deviation; the mean alone where there is one seed."""
    mean, deviation, _ = value
    text = signed(mean) if sign else number(mean)
    return f"{text} ± {number(deviation)}" if math.isfinite(deviation) else text


def duration(seconds: float) -> str:
    """``4.2 s``, ``3 min 10 s``, ``2 h 05 min``."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def reason(terms: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A pick's reason for people: keys without underscores, numbers to three significant digits."""
    shown = []
    for key, value in terms.items():
        text = f"{value:.3g}" if isinstance(value, float) else str(value)
        shown.append((term(key), text))
    return shown


def term(key: str) -> str:
    """A term of a reason, for people."""
    return key.replace("_", " ")


def criterion(seeds: int, measured: bool) -> str:
    """When a difference is called better or worse, and what that is worth with so many seeds.

    Args:
        seeds: of the run.
        measured: whether the retraining variance was measured.
    """
    if seeds < 2:
        return (
            "With one seed there is no interval and no verdict: one run cannot show whether a difference is more than "
            "chance. Use at least three seeds."
        )
    text = (
        "Each seed gives one difference, between strategies that share its initial images and weights. All strategies "
        "enter one mixed model over the seeds. A difference is better or worse if its p-value, corrected for the "
        f"number of comparisons (Holm), is below {comparison.ALPHA}"
    )
    if measured:
        text += (
            " and it exceeds the noise floor; the standard deviation of the model is never taken to be below that of "
            "retraining."
        )
    else:
        text += (
            ". The retraining variance was not measured: with few seeds a small difference may agree in all of them by "
            "chance. Set noise.repeats to 4 to bound it."
        )
    if seeds == 2:
        text += " Two seeds show only large differences. Use at least three seeds."
    return text


def band(seeds: int) -> str:
    """What the band of a curve is, and how far to trust it with so many seeds."""
    if seeds < 2:
        return "With one seed there is no band."
    text = "Band: 95 % bootstrap interval of the mean over seeds"
    if seeds < 4:
        return (
            f"{text}. With {seeds} seeds it spans from the lowest to the highest and holds the true mean in about "
            f"{100 * (1 - 2 * 0.5**seeds):.0f} % of experiments, not in 95 %."
        )
    return f"{text}, too narrow with few seeds. See below for whether two strategies differ."


def own(names: Sequence[str]) -> str | None:
    """What the curves are of detectors that strategies trained for themselves; None without any."""
    if not names:
        return None
    return (
        f"{', '.join(names)} (dashed in the figures): test mAP of the strategy's detector, as its paper reports it. It "
        "is trained in another way than the detector of the other rows and is compared with none of them."
    )


def controls(names: Mapping[str, str]) -> str | None:
    """The strategies that are no contenders, each with what it is a control for; None without any."""
    if not names:
        return None
    return f"Controls, not contenders: {', '.join(f'{name} ({what})' for name, what in names.items())}."


def gaps(compared: Comparison) -> list[str]:
    """The curves that lack cycles, and so take no part in a seed's comparisons."""
    return [
        f"{curve.strategy}, seed {seed}: no cycle {', '.join(map(str, cycles))}; left out of the comparison"
        for curve in compared.curves
        for seed, cycles in curve.missing.items()
    ]


def chance(noise: Mapping[str, Any], seeds: int) -> str:
    """What the retraining variance means for a difference between two strategies."""
    deviation, limit = noise["mAP"]["deviation"], comparison.floor(noise, seeds)
    over = f"means over {seeds} seeds" if seeds > 1 else "single runs"
    return (
        f"{noise['repeats']} trainings on the same {noise['images']} images, with different training seeds, have a "
        f"standard deviation of {number(deviation, 4)} mAP. The noise floor of final mAP is {number(limit)}: {over} of "
        "two strategies that differ by less do not differ detectably."
    )
