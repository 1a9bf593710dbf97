"""The first sentences of a report: did labels help, which strategy is best, and is that more than chance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mgral.report.comparison import ALPHA, Comparison, Difference, Gain
from mgral.report.sources import Rule
from mgral.report.text import Summary, interval, listed, number, p_value, places, signed

NOTHING_CHOSEN = "With one cycle there is one detector a seed, which all strategies share: nothing to compare."
MOST_NAMED = 8
REMEDY = (
    "Train longer (training.steps), label more images (budget.initial, budget.batch) or use larger images "
    "(image_size); `mgral check --data` names likely causes."
)


def headline(totals: Summary, compared: Comparison, images: int, rules: Mapping[str, Rule]) -> tuple[str, str]:
    """Whose mAP is highest at the end, and whether that is more than chance; first, whether labels helped at all.

    Strategies that read the ground truth do not compete; they are mentioned after the others.

    Args:
        totals: summary of the scores of all strategies.
        compared: their comparison.
        images: labelled at the last cycle.
        rules: the plug-in of each strategy.

    Returns:
        The sentence, and what has to be said with it.
    """
    fair = [name for name in totals if not (name in rules and rules[name].cheats)] or list(totals)
    race = _Race(totals, compared, images, rules, fair)
    if not any(totals[name]["mAP"][0] > 0 for name in totals):
        return "No detector finds anything: test mAP at the last cycle is 0 for every strategy.", REMEDY
    first, remark = race.sentences() if race.rivals else race.alone()
    remark += race.beside()
    gains = {name: d.mean for name, d in race.gains.items() if name in fair and d.mean}
    if compared.gain is not None and (useless := no_gain(compared.gain, str(compared.reference), gains)):
        return useless[0], " ".join(filter(None, [useless[1], first, remark]))
    return first, remark


def no_gain(gain: Gain, reference: str, others: Mapping[str, float]) -> tuple[str, str] | None:
    """That labels did not help, and what to change; None where they helped or where it is not known.

    Args:
        gain: of the reference.
        reference: its label.
        others: final mAP of the other strategies less that of the reference. Where the largest of their gains from the
            same initial images is more than chance, labels can help, and nothing has to be changed.
    """
    if gain.helped is not False:
        return None
    span = f"from {gain.images[0]} to {gain.images[1]} labelled images"
    changed = f"test mAP of {reference} {_changed(gain)}"
    name = max(others, key=lambda one: others[one], default=None)
    if name is not None and gain.most is not None and gain.mean + others[name] > gain.most:
        return (
            f"The images of {reference} did not help, those of {name} did: {span}, {changed}, and "
            f"that of {name} by {signed(gain.mean + others[name])}."
        ), ""
    limit = f" (a gain above {number(gain.limit)} would be more than chance)" if gain.limit else ""
    return f"Labels did not help: {span}, {changed}.", f"No strategy can show its worth here{limit}. {REMEDY}"


def _changed(gain: Gain) -> str:
    """By how much mAP changed, and whether that may be chance."""
    if gain.limit is not None and gain.mean < -gain.limit:
        return f"changed by {signed(gain.mean)}, a fall of more than chance"
    return f"changed by {signed(gain.mean)}" + (", which is within chance" if gain.limit else "")


def one_cycle(totals: Summary) -> tuple[str, str]:
    """Headline and remark of a run of a single cycle, whose strategies have chosen nothing yet.

    Args:
        totals: by strategy, as for :func:`headline`; all the same.
    """
    mean, deviation, seeds = next(iter(totals.values()))["mAP"]
    over = f"± {number(deviation)} over {seeds} seeds" if seeds > 1 else "one seed"
    remark = "All strategies start from this detector. Run `snakemake next` to choose the first batch."
    return f"The run has a single cycle: the first detector reaches {number(mean)} test mAP ({over}).", remark


@dataclass(frozen=True)
class _Race:
    """What the sentences of a headline share; ``fair`` are the strategies that do not read the ground truth."""

    totals: Summary
    compared: Comparison
    images: int
    rules: Mapping[str, Rule]
    fair: list[str]

    @property
    def gains(self) -> dict[str, Difference]:
        """Differences of final mAP to the reference."""
        return {d.strategy: d for d in self.compared.against(self.compared.reference, "mAP") if d.mean is not None}

    @property
    def rivals(self) -> dict[str, Difference]:
        """Those of :attr:`gains` that are fair."""
        return {name: gain for name, gain in self.gains.items() if name in self.fair}

    @property
    def best(self) -> str:
        """The highest mean of final mAP; of equals the reference."""
        return max(self.fair, key=lambda name: (self.totals[name]["mAP"][0], name == self.compared.reference))

    @property
    def leaders(self) -> list[str]:
        """The best, and those with the same mean; of these the reference only if it is the best."""
        top = self.totals[self.best]["mAP"][0]
        even = [name for name in self.fair if math.isclose(self.totals[name]["mAP"][0], top, rel_tol=1e-12)]
        return [name for name in even if name != self.compared.reference or name == self.best]

    @property
    def equals(self) -> list[str]:
        """Others detectably above the reference for which no difference from the best was detected."""
        other = self.compared.baseline
        told = {d.strategy: d.verdict for d in self.compared.against(other, "mAP")} if other else {}

        def apart(name: str) -> bool:
            return (name == other and told.get(self.best) == "better") or (
                other == self.best and told.get(name) == "worse"
            )

        above = [name for name, gain in self.rivals.items() if name not in self.leaders and gain.verdict == "better"]
        return [name for name in above if not apart(name)]

    @property
    def level(self) -> str:
        return f"{number(self.totals[self.best]['mAP'][0])} test mAP with {self.images} labelled images"

    @property
    def highest(self) -> str:
        return "highest mean" if self.totals[self.best]["mAP"][2] > 1 else "highest result"

    def named(self, name: str) -> str:
        return f"{name}, a control," if name in self.rules and self.rules[name].control else name

    def alone(self) -> tuple[str, str]:
        """Sentences without anything to compare with."""
        _, deviation, seeds = self.totals[self.best]["mAP"]
        leaders = self.leaders
        does = f"{'has' if len(leaders) == 1 else 'have'} the {self.highest}:" if len(self.fair) > 1 else "reaches"
        over = f"± {number(deviation)} over {seeds} seeds" if seeds > 1 else "one seed"
        missing = "random" if self.compared.reference is None else "other"
        remark = f"The run has no {missing} strategy to compare with, so the value of its choice is not known."
        return f"{listed([self.named(name) for name in leaders])} {does} {self.level} ({over}).", remark

    def sentences(self) -> tuple[str, str]:
        """Sentences about the best strategy, and about the nearest where the reference is best."""
        rivals, reference, best = self.rivals, self.compared.reference, self.best
        rival = best if best in rivals else max(rivals, key=lambda name: rivals[name].mean or 0.0)
        gain, told = signed(rivals[rival].mean), rivals[rival].verdict
        near = f"{self.named(rival)} " + (f"is nearest with {gain}" if rivals[rival].mean else "has the same")
        leaders = listed([self.named(name) for name in self.leaders])
        has, is_best = ("has", "is best") if len(self.leaders) == 1 else ("have", "are best")
        among = f"At the last cycle {detected(rivals.values())}"
        if all(one.verdict == "unknown" for one in rivals.values()):
            doubt = f"{_of_seeds(rivals[rival])} cannot show whether that is more than chance"
            other = f" ({gain} compared with {reference})" if rival == best else f"; {near}"
            first = f"{leaders} {has} the {self.highest}, {self.level}{other}; {doubt}."
        elif rival == best and told == "better":
            equals = self.equals
            first = f"{leaders} {f'{has} the {self.highest}' if equals else is_best}: {self.level}, "
            first += f"{gain} compared with {reference}."
            beside = f"No difference from {rival} was detected for {listed(equals)}. " if equals else ""
            return first, beside + self._remark(rival)
        elif rival == best:
            first = f"{among}. {leaders} {has} the {self.highest}, {self.level} ({gain})."
        elif told == "worse":
            first = f"No strategy is above {reference}: {self.level}; {near}."
        else:
            itself = ", which itself" if among.endswith(str(reference)) else f". {reference} itself"
            first = f"{among}{itself} has the {self.highest}, {self.level}; {near}."
        return first, self._remark(rival)

    def _remark(self, rival: str) -> str:
        """The verdict on one strategy with its numbers, at the end and over the curve."""
        count = len(self.gains)
        found = [f"{rival} at the last cycle: {verdict(self.rivals[rival], count)}."]
        curve = {d.strategy: d for d in self.compared.against(self.compared.reference, "auc_images")}
        curve = {name: curve[name] for name in self.rivals}
        if curve[rival].mean is not None:
            found.append(f"Over the whole curve, at equal images: {verdict(curve[rival], count)}.")
        if any(one.verdict in ("better", "worse") for one in curve.values() if one.strategy != rival):
            found.append(f"Over the whole curve {detected(curve.values())}.")
        return " ".join(found)

    def beside(self) -> str:
        """The strategies that read the ground truth, in a sentence each."""
        said = ""
        for name in self.totals:
            if name not in self.fair:
                gain = f" ({signed(self.gains[name].mean)})" if name in self.gains else ""
                said += f" {name} reads the ground truth and does not compete: "
                said += f"{number(self.totals[name]['mAP'][0])}{gain}."
        return said


def detected(differences: Iterable[Difference]) -> str:
    """Which strategies differ detectably from their reference."""
    found = list(differences)
    better, worse = ([one.strategy for one in found if one.verdict == told] for told in ("better", "worse"))
    reference = found[0].reference
    if better:
        only = "" if len(better) == len(found) else "only "
        return f"{only}{_some(better, len(found))} detectably above {reference}"
    if worse:
        return f"{_some(worse, len(found))} detectably below {reference} and none above"
    return f"no strategy differs detectably from {reference}"


def _some(names: Sequence[str], count: int) -> str:
    """Which of ``count`` strategies are; their number where the names would fill the paragraph."""
    if len(names) <= MOST_NAMED:
        return f"{listed(names)} {'is' if len(names) == 1 else 'are'}"
    return f"all {count} strategies are" if len(names) == count else f"{len(names)} of {count} strategies are"


def verdict(difference: Difference, comparisons: int) -> str:
    """Whether a difference is more than chance, with its interval.

    Args:
        difference: of two strategies.
        comparisons: made with the same reference; the verdict allows for them.
    """
    reference, mean, low, high = difference.reference, difference.mean, difference.low, difference.high
    if mean is None:
        return "not available: no seed has both curves complete"
    if low is None or high is None:
        return f"not known from {_of_seeds(difference)} ({signed(mean)} compared with {reference})"
    digits = places(mean, low, high)
    size = f"95 % interval {interval(low, high, digits)}, {len(difference.seeds)} seeds"
    if difference.verdict in ("better", "worse"):
        return f"{difference.verdict} than {reference} by {number(abs(mean), digits)} ({size})"
    text = f"no detectable difference from {reference} ({signed(mean, digits)}, {size})"
    if low > 0 or high < 0:
        if difference.p_holm is not None and difference.p_holm < ALPHA:
            return f"{text}; it does not exceed the noise floor of {number(difference.floor, digits)}"
        text += (
            f"; the interval excludes zero, but one of {comparisons} comparisons may do so by chance "
            f"(p {p_value(difference.p_holm)} after Holm)"
        )
    return text


def _of_seeds(difference: Difference) -> str:
    """The seeds of a difference that is not known."""
    count = len(difference.seeds)
    return "one seed" if count == 1 else f"{count} seeds without any spread"


def predicted_and_realised(pairs: list[tuple[float, float]]) -> str:
    """How predicted gains of chosen batches agree with the realised ones.

    Args:
        pairs: predicted and realised gain of each chosen batch.
    """
    from scipy import stats

    count = len(pairs)
    means = [sum(pair[k] for pair in pairs) / count for k in (0, 1)]
    batches = f"{count} chosen {'batch' if count == 1 else 'batches'}"
    text = f"{batches}: predicted gain {signed(means[0])} mAP on average, realised {signed(means[1])}."
    if count < 5:
        return f"{text} Too few for a correlation."
    rank = stats.spearmanr([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    if not math.isfinite(rank.statistic):
        return text
    return f"{text} Rank correlation {signed(float(rank.statistic), 2)} (p {p_value(float(rank.pvalue))})."
