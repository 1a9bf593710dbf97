"""The first sentences of a report: did labels help, which strategy is best, and is that more than chance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mgral.report.comparison import Comparison, Difference, Gain
from mgral.report.sources import Rule
from mgral.report.text import Summary, number, signed

NOTHING_CHOSEN = "With one cycle there is one detector a seed, which all strategies share: nothing to compare."


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
    first, remark = race.sentences() if race.rivals else race.alone()
    remark += race.beside()
    gains = {name: difference.mean for name, difference in race.gains.items() if name in fair and difference.mean}
    if compared.gain is not None and (useless := no_gain(compared.gain, str(compared.reference), gains)):
        return useless[0], " ".join(filter(None, [useless[1], first, remark]))
    return first, remark


def no_gain(gain: Gain, reference: str, others: Mapping[str, float]) -> tuple[str, str] | None:
    """That labels did not help, and what to change; None where they helped or where it is not known.

    Args:
        gain: of the reference.
        reference: its label.
        others: final mAP of the other strategies less that of the reference. Where one of them gained more than chance
            from the same initial images, labels can help, and nothing has to be changed.
    """
    if gain.helped is not False:
        return None
    name = max(others, key=lambda one: others[one], default=None)
    if name is not None and gain.limit is not None and gain.mean + others[name] > gain.limit:
        return (
            f"The images of {reference} did not help, those of {name} did: from {gain.images[0]} to {gain.images[1]} "
            f"labelled images, test mAP of {reference} changed by {signed(gain.mean)}, which is within chance, and "
            f"that of {name} by {signed(gain.mean + others[name])}."
        ), ""
    first = (
        f"Labels did not help: from {gain.images[0]} to {gain.images[1]} labelled images, test mAP of {reference} "
        f"changed by {signed(gain.mean)}, which is within chance."
    )
    limit = f" (a gain above {number(gain.limit)} would be more than chance)" if gain.limit is not None else ""
    return first, (
        f"No strategy can show its worth here{limit}. Train longer (training.steps), label more images "
        "(budget.initial, budget.batch) or use larger images (image_size); `mgral check --data` names likely causes."
    )


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
    def equals(self) -> list[str]:
        """Others detectably above the reference for which no difference from the best was detected."""
        other = self.compared.baseline
        told = {d.strategy: d.verdict for d in self.compared.against(other, "mAP")} if other else {}

        def apart(name: str) -> bool:
            return (name == other and told.get(self.best) == "better") or (
                other == self.best and told.get(name) == "worse"
            )

        above = [name for name, gain in self.rivals.items() if name != self.best and gain.verdict == "better"]
        return [name for name in above if not apart(name)]

    @property
    def level(self) -> str:
        return f"{number(self.totals[self.best]['mAP'][0])} test mAP with {self.images} labelled images"

    @property
    def highest(self) -> str:
        return "highest mean" if self.totals[self.best]["mAP"][2] > 1 else "highest mAP"

    def named(self, name: str) -> str:
        return f"{name}, a control," if name in self.rules and self.rules[name].control else name

    def alone(self) -> tuple[str, str]:
        """Sentences without anything to compare with."""
        _, deviation, seeds = self.totals[self.best]["mAP"]
        does = f"has the {self.highest}:" if len(self.fair) > 1 else "reaches"
        over = f"± {number(deviation)} over {seeds} seeds" if seeds > 1 else "one seed"
        missing = "random" if self.compared.reference is None else "other"
        remark = f"The run has no {missing} strategy to compare with, so the value of its choice is not known."
        return f"{self.named(self.best)} {does} {self.level} ({over}).", remark

    def sentences(self) -> tuple[str, str]:
        """Sentences about the best strategy, and about the nearest where the reference is best."""
        rivals, reference, best = self.rivals, self.compared.reference, self.best
        rival = best if best in rivals else max(rivals, key=lambda name: rivals[name].mean or 0.0)
        name, gain, told = self.named(rival), signed(rivals[rival].mean), rivals[rival].verdict
        among = f"At the last cycle {detected(rivals.values())}"
        if rival == best and told == "better":
            equals = self.equals
            first = f"{name} {f'has the {self.highest}' if equals else 'is best'}: {self.level}, "
            first += f"{gain} compared with {reference}."
            beside = f"No difference from {rival} was detected for {listed(equals)}. " if equals else ""
            return first, beside + self._remark(rival)
        if rival == best:
            first = f"{among}. {name} has the {self.highest}, {self.level} ({gain})."
        elif told == "worse":
            first = f"No strategy is above {reference}: {self.level}; {name} is nearest with {gain}."
        else:
            first = f"{among}, which itself has the {self.highest}, {self.level}; {name} is nearest with {gain}."
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
        return f"only {listed(better)} {'is' if len(better) == 1 else 'are'} detectably above {reference}"
    if worse:
        are = "is" if len(worse) == 1 else "are"
        return f"{listed(worse)} {are} detectably below {reference} and none above"
    return f"no strategy differs detectably from {reference}"


def listed(names: Sequence[str]) -> str:
    """Names as a sentence lists them: a, b and c."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def verdict(difference: Difference, comparisons: int) -> str:
    """Whether a difference is more than chance, with its interval.

    Args:
        difference: of two strategies.
        comparisons: made with the same reference; the verdict allows for them.
    """
    count, reference = len(difference.seeds), difference.reference
    if difference.mean is None:
        return "not available: no seed has both curves complete"
    if difference.low is None or difference.high is None:
        from_what = "one seed" if count == 1 else f"{count} seeds without any spread"
        return f"not known from {from_what} ({signed(difference.mean)} compared with {reference})"
    size = f"95 % interval {signed(difference.low)} to {signed(difference.high)}, {count} seeds"
    if difference.verdict == "better":
        return f"better than {reference} by {number(difference.mean)} ({size})"
    if difference.verdict == "worse":
        return f"worse than {reference} by {number(-difference.mean)} ({size})"
    text = f"no detectable difference from {reference} ({signed(difference.mean)}, {size})"
    if difference.low > 0 or difference.high < 0:
        if difference.p_holm is not None and difference.p_holm < 0.05:
            return f"{text}; it does not exceed the noise floor of {number(difference.floor)}"
        text += (
            f"; the interval excludes zero, but one of {comparisons} comparisons may do so by chance "
            f"(p = {number(difference.p_holm)} after Holm)"
        )
    return text


def predicted_and_realised(pairs: list[tuple[float, float]]) -> str:
    """How predicted gains of chosen batches agree with the realised ones.

    Args:
        pairs: predicted and realised gain of each chosen batch.
    """
    from scipy import stats

    count = len(pairs)
    means = [sum(pair[k] for pair in pairs) / count for k in (0, 1)]
    text = f"{count} chosen batches: predicted gain {signed(means[0])} mAP on average, realised {signed(means[1])}."
    if count < 5:
        return f"{text} Too few for a correlation."
    rank = stats.spearmanr([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    if not math.isfinite(rank.statistic):
        return text
    return f"{text} Rank correlation {signed(float(rank.statistic), 2)} (p = {number(float(rank.pvalue))})."
