"""The sentences and numbers of a report: what the figures show, said once and no louder than they allow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mgral import comparison
from mgral.comparison import Comparison, Difference
from mgral.curves import spread

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
        shown.append((key.replace("_", " "), text))
    return shown


def headline(totals: Summary, compared: Comparison, images: int) -> tuple[str, str]:
    """What ends highest, and whether that is more than chance.

    Args:
        totals: summary of the scores of all strategies.
        compared: their comparison.
        images: labelled at the last cycle.

    Returns:
        The sentence, and what has to be said with it.
    """
    reference = compared.reference
    best = max(totals, key=lambda name: (totals[name]["mAP"][0], name == reference))
    mean, deviation, seeds = totals[best]["mAP"]
    level = f"{number(mean)} test mAP with {images} labelled images"
    rivals = {d.strategy: d for d in compared.against(reference, "mAP") if d.mean is not None}
    if reference is None or not rivals:
        verb = "ends highest: " if len(totals) > 1 else "reaches "
        over = f"± {number(deviation)} over {seeds} seeds" if seeds > 1 else "one seed"
        missing = "random" if reference is None else "other"
        remark = f"The run has no {missing} strategy to compare with, so what its choice is worth cannot be said."
        return f"{best} {verb}{level} ({over}).", remark
    rival = best if best in rivals else max(rivals, key=lambda name: rivals[name].mean or 0.0)
    gain = signed(rivals[rival].mean)
    if best == reference:
        first = f"Nothing ends above {reference}: {level}; {rival} comes nearest with {gain}."
    else:
        first = f"{best} ends highest: {level}, {gain} against {reference}."
    places = [(f"{rival} at the last cycle", "mAP"), ("Over the whole curve, image for image", "auc_images")]
    found = [
        f"{place}: {verdict(difference, len(rivals))}."
        for place, measure in places
        for difference in compared.against(reference, measure)
        if difference.strategy == rival and difference.mean is not None
    ]
    return first, " ".join(found)


def verdict(difference: Difference, comparisons: int) -> str:
    """Whether a difference is more than chance, with its interval.

    Args:
        difference: of two strategies.
        comparisons: that were made with the same reference; the verdict allows for them.
    """
    count, reference = len(difference.seeds), difference.reference
    if difference.mean is None:
        return "cannot be said, for want of a seed in which both curves are complete"
    if difference.low is None or difference.high is None:
        return f"cannot be said from one seed ({signed(difference.mean)} against {reference})"
    size = f"95 % interval {signed(difference.low)} to {signed(difference.high)}, {count} seeds"
    if difference.verdict == "better":
        return f"better than {reference} by {number(difference.mean)} ({size})"
    if difference.verdict == "worse":
        return f"worse than {reference} by {number(-difference.mean)} ({size})"
    text = f"no detectable difference to {reference} ({signed(difference.mean)}, {size})"
    if difference.low > 0 or difference.high < 0:
        text += (
            f"; its interval leaves out zero, but one of {comparisons} comparisons may do so by chance "
            f"(p = {number(difference.p_holm)} after Holm)"
        )
    return text


VERDICTS = {
    "better": "better",
    "worse": "worse",
    "undetected": "no detectable difference",
    "unknown": "cannot be said",
}


def intervals(seeds: int) -> str:
    """What the interval of a paired difference is, and what it is worth with so many seeds."""
    if seeds < 2:
        return (
            "With one seed there is no interval and no verdict: whether a difference is more than chance cannot be "
            "said. Give at least three seeds."
        )
    from scipy import stats

    quantile = stats.t.ppf(1 - comparison.ALPHA / 2, seeds - 1)
    text = (
        "Each seed gives one difference, between strategies that shared its initial images and weights. The interval "
        f"is the 95 % t-interval of their mean: with {seeds} seeds, {quantile:.1f} standard errors to either side."
    )
    if seeds == 2:
        text += (
            " From two seeds it nearly always covers zero: ‘no detectable difference’ then says nothing about the "
            "strategies. Give at least three seeds."
        )
    return text


def band(seeds: int) -> str:
    """What the band of a curve is, and what it is worth with so many seeds."""
    if seeds < 2:
        return "With one seed there is no band."
    text = "Band: 95 % bootstrap interval of the mean over seeds"
    if seeds < 4:
        return (
            f"{text}, which with {seeds} seeds spans from the lowest to the highest: it holds the true mean in about "
            f"{100 * (1 - 2 * 0.5**seeds):.0f} % of experiments, not in 95 %."
        )
    return f"{text}, too narrow with few seeds; whether two strategies differ is said below, seed by seed."


def own(names: Sequence[str]) -> str | None:
    """What the curves are of detectors that strategies trained for themselves; None without any."""
    if not names:
        return None
    return (
        f"{', '.join(names)} (dashed in the figures): mAP of the detector that the strategy trains for itself, the "
        "kind that its paper reports; its trainer is not that of the other rows, so it is compared with none of them."
    )


def gaps(compared: Comparison) -> list[str]:
    """The curves that lack cycles, and so take no part in a seed's comparisons."""
    return [
        f"{curve.strategy}, seed {seed}: no cycle {', '.join(map(str, cycles))}; left out of the comparison"
        for curve in compared.curves
        for seed, cycles in curve.missing.items()
    ]


def chance(noise: Mapping[str, Any], seeds: int) -> str:
    """What the spread between trainings of one pool means for a difference between two strategies."""
    deviation, limit = noise["mAP"]["deviation"], comparison.floor(noise, seeds)
    over = f"means over {seeds} seeds" if seeds > 1 else "single runs"
    return (
        f"{noise['repeats']} trainings of one pool of {noise['images']} images, with seeds of their own, "
        f"spread by ± {number(deviation, 4)} mAP. Two strategies whose {over} differ by less than about "
        f"{number(limit)} are not told apart by this run."
    )


def signal(audits: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Whether the lookup table tells good batches from bad ones, over all its audits.

    It does if its estimates miss held-out records by less than predicting the mean, and rank them better than they
    rank records among which the gains were shuffled: by more than two standard deviations of the mean over the tables.

    Args:
        audits: contents of ``audit.json``.

    Returns:
        A verdict of a few words, and the numbers behind it.
    """
    usable = [audit for audit in audits if audit["spearman"] is not None and audit["chance"] and audit["records"] > 2]
    if not usable:
        return "cannot be judged", "Too few records, or all of equal mAP: no rank correlation is defined."
    rank, _, tables = spread(audit["spearman"] for audit in usable)
    chance = sum(audit["chance"]["mean"] for audit in usable) / tables
    reach = 2 * math.hypot(*(audit["chance"]["deviation"] for audit in usable)) / tables
    error = spread(audit["mae"] for audit in usable)[0]
    error_of_mean = spread(audit["mae_mean"] for audit in usable)[0]
    if error < error_of_mean and rank > chance + reach:
        verdict = "carries signal"
    elif error < error_of_mean and rank > chance:
        verdict = "may carry a weak signal, not told apart from chance"
    else:
        verdict = "does not carry signal"
    sizes = sorted({audit["records"] for audit in usable})
    records = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    detail = (
        f"Held-out records ({tables} {'table' if tables == 1 else 'tables'} of {records}): "
        f"mean rank correlation {signed(rank, 2)}, with the gains shuffled {signed(chance, 2)} ± {number(reach, 2)} "
        "(two standard deviations; below 0, since a record left out lowers or raises the mean of the others); "
        f"mean absolute error {number(error, 4)} mAP, predicting the mean {number(error_of_mean, 4)}. "
        "This is how well the table foretells other proxies; whether proxies rank batches as their labels do, it "
        "cannot know."
    )
    return verdict, detail


def noise_of_records(audits: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a batch does to a proxy's mAP beside what chance does, a sentence for each kind of records and the control.

    Spreads are averaged over the tables.

    Args:
        audits: contents of ``audit.json``; ``kinds`` and ``control`` as :func:`mgral.spreads.audit` gives them.
    """
    said = []
    for kind in sorted({kind for audit in audits for kind in audit["kinds"]}, reverse=True):
        own = [audit["kinds"][kind] for audit in audits if kind in audit["kinds"]]
        batches, alike, seeds = (_mean(own, key) for key in ("between_batches", "between_random", "between_seeds"))
        text = f"{kind.capitalize()} records differ between batches by ± {number(batches, 4)} mAP"
        if alike is not None:
            text += f" (random batches by ± {number(alike, 4)})"
        if seeds is None or batches is None:
            said.append(f"{text}; how much seeds of one batch differ was not measured.")
            continue
        verdict = "more than" if batches > seeds else "no more than"
        said.append(f"{text}, {verdict} seeds of one batch do (± {number(seeds, 4)}).")
    controls = [audit["control"] for audit in audits if audit["control"]]
    if controls:
        level, spread_with, level_without, spread_without = (
            number(_mean(controls, key), 4) for key in ("mean", "spread", "control_mean", "control_spread")
        )
        said.append(
            f"Control, the same {controls[0]['batches']} unlabelled batches with unsupervised weight zero: mAP "
            f"{level_without} with a spread of ± {spread_without}, against {level} and ± {spread_with} with the weight."
        )
    return said


def _mean(rows: Sequence[Mapping[str, Any]], key: str) -> float | None:
    values = [row[key] for row in rows if row[key] is not None]
    return sum(values) / len(values) if values else None
