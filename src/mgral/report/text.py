"""The sentences and numbers of a report: what the figures show, said once and no louder than they allow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mgral.report import comparison
from mgral.report.comparison import Comparison, Difference
from mgral.report.learning_curves import spread
from mgral.report.sources import Rule

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
        shown.append((term(key), text))
    return shown


def term(key: str) -> str:
    """A term of a reason, for people."""
    return key.replace("_", " ")


def headline(totals: Summary, compared: Comparison, images: int, rules: Mapping[str, Rule]) -> tuple[str, str]:
    """Whose mAP is highest at the end, and whether that is more than chance.

    Strategies that read the ground truth take no part; they are told beside it.

    Args:
        totals: summary of the scores of all strategies.
        compared: their comparison.
        images: labelled at the last cycle.
        rules: what stands behind the strategies.

    Returns:
        The sentence, and what has to be said with it.
    """
    reference = compared.reference
    fair = [name for name in totals if not (name in rules and rules[name].cheats)] or list(totals)
    best = max(fair, key=lambda name: (totals[name]["mAP"][0], name == reference))
    mean, deviation, seeds = totals[best]["mAP"]
    level = f"{number(mean)} test mAP with {images} labelled images"
    value = "mean" if seeds > 1 else "mAP"
    gains = {d.strategy: d for d in compared.against(reference, "mAP") if d.mean is not None}
    beside = "".join(
        f" {name} reads the ground truth and takes no part in this: {number(totals[name]['mAP'][0])}"
        f"{f' ({signed(gains[name].mean)})' if name in gains else ''}."
        for name in totals
        if name not in fair
    )
    rivals = {name: gain for name, gain in gains.items() if name in fair}
    if reference is None or not rivals:
        does = f"has the highest {value}:" if len(fair) > 1 else "reaches"
        over = f"± {number(deviation)} over {seeds} seeds" if seeds > 1 else "one seed"
        missing = "random" if reference is None else "other"
        remark = f"The run has no {missing} strategy to compare with, so what its choice is worth cannot be said."
        return f"{_named(best, rules)} {does} {level} ({over}).", remark + beside
    rival = best if best in rivals else max(rivals, key=lambda name: rivals[name].mean or 0.0)
    name, gain, told = _named(rival, rules), signed(rivals[rival].mean), rivals[rival].verdict
    among = f"At the last cycle {_told(rivals.values())}"
    if rival == best and told == "better":
        first = f"{name} ends highest: {level}, {gain} against {reference}."
    elif rival == best:
        first = f"{among}: {name} has the highest {value}, {level} ({gain})."
    elif told == "worse":
        first = f"Nothing ends above {reference}: {level}; {name} comes nearest with {gain}."
    else:
        first = f"{among}, which has the highest {value} itself, {level}; {name} comes nearest with {gain}."
    curve = {d.strategy: d for d in compared.against(reference, "auc_images") if d.strategy in rivals}
    found = [f"{rival} at the last cycle: {verdict(rivals[rival], len(gains))}."]
    if curve[rival].mean is not None:
        found.append(f"Over the whole curve, image for image: {verdict(curve[rival], len(gains))}.")
    if any(one.verdict in ("better", "worse") for one in curve.values() if one.strategy != rival):
        found.append(f"Over the whole curve {_told(curve.values())}.")
    return first, " ".join(found) + beside


NOTHING_CHOSEN = "With one cycle there is one detector a seed, which all strategies share: nothing to compare."


def one_cycle(totals: Summary) -> tuple[str, str]:
    """Headline and remark of a run of a single cycle, whose strategies have chosen nothing yet.

    Args:
        totals: by strategy, as for :func:`headline`; all the same.
    """
    mean, deviation, seeds = next(iter(totals.values()))["mAP"]
    over = f"± {number(deviation)} over {seeds} seeds" if seeds > 1 else "one seed"
    remark = "All strategies start from this detector. The batch that follows is chosen by the target next."
    return f"Nothing has been chosen yet: the first detector reaches {number(mean)} test mAP ({over}).", remark


def _named(name: str, rules: Mapping[str, Rule]) -> str:
    return f"{name}, a control," if name in rules and rules[name].control else name


def _told(differences: Iterable[Difference]) -> str:
    """Which strategies the verdicts tell apart from their reference."""
    found = list(differences)
    better, worse = ([one.strategy for one in found if one.verdict == told] for told in ("better", "worse"))
    reference = found[0].reference
    if better:
        return f"only {' and '.join(better)} {'is' if len(better) == 1 else 'are'} told above {reference}"
    if worse:
        return f"{' and '.join(worse)} {'is' if len(worse) == 1 else 'are'} told below {reference} and none above"
    return f"no strategy is told apart from {reference}"


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
        from_what = "one seed" if count == 1 else f"{count} seeds that all differ by the same"
        return f"cannot be said from {from_what} ({signed(difference.mean)} against {reference})"
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


def controls(names: Mapping[str, str]) -> str | None:
    """The strategies that are no contenders, each with what it is a control for; None without any."""
    if not names:
        return None
    return f"No contenders but controls: {', '.join(f'{name} ({what})' for name, what in names.items())}."


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
        audits: contents of ``audit.json``; ``kinds`` and ``control`` as :func:`mgral.reward.variance.audit` gives them.
    """
    said = []
    for kind in sorted({kind for audit in audits for kind in audit["kinds"]}, reverse=True):
        own = [audit["kinds"][kind] for audit in audits if kind in audit["kinds"]]
        batches, alike, seeds = (_mean(own, key) for key in ("between_batches", "between_random", "between_seeds"))
        text = f"{kind.capitalize()} records differ between batches by ± {number(batches, 4)} mAP"
        if alike is not None:
            text += f" (random batches by ± {number(alike, 4)})"
        if stopped := sum(one["stopped"] for one in own):
            records = sum(one["records"] for one in own)
            text += f" ({stopped} of {records} were stopped partway, and count as expected)"
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


def extrapolated(searches: Sequence[tuple[float, float]]) -> str | None:
    """How many batches were priced beyond all records, in the searches where it was most of them; None without such.

    Args:
        searches: of each, the batches that lay far from every record, and all that the table priced.
    """
    most = [(far, priced) for far, priced in searches if far > priced / 2]
    if not most:
        return None
    share = sum(far for far, _ in most) / sum(priced for _, priced in most)
    where = "" if len(most) == len(searches) else f" in {len(most)} of {len(searches)} searches"
    return f"{100 * share:.0f} % of the batches{where} lay far from every record: these prices are extrapolated."


def _mean(rows: Sequence[Mapping[str, Any]], key: str) -> float | None:
    values = [row[key] for row in rows if row[key] is not None]
    return sum(values) / len(values) if values else None
