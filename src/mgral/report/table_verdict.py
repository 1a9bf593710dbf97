"""Does the lookup table know more than chance? A permutation test over tables, and notes on its records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mgral.core import random_streams
from mgral.report.comparison import ALPHA
from mgral.report.learning_curves import spread
from mgral.report.text import number, p_value, signed

REPLICATES = 9999
OLDER = "These tables hold no shuffled correlations; run `mgral table` again with this revision."


def permutation(observed: Sequence[float], shuffled: Sequence[Sequence[float]]) -> float:
    """p-value of the mean of some correlations under shuffles, one-sided (Phipson and Smyth 2010, equation 2).

    With one table each of its shuffles is a replicate. With several, a replicate draws one shuffle of each and takes
    their mean.

    Args:
        observed: [n], one a table.
        shuffled: [n] lists of the same correlation with the gains shuffled among the records.

    Returns:
        (1 + replicates at least as large as the observed mean) / (1 + replicates).
    """
    if len(observed) == 1:
        means = np.asarray(shuffled[0], np.float64)
    else:
        rng = random_streams.generator("permutation test of tables")
        means = np.mean([rng.choice(np.asarray(values, np.float64), REPLICATES) for values in shuffled], axis=0)
    reached = int(np.sum(means >= float(np.mean(observed)) - 1e-12))
    return (1 + reached) / (1 + len(means))


def signal(audits: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Whether the lookup table ranks held-out batches better than chance, over all its audits.

    Args:
        audits: contents of ``audit.json``.

    Returns:
        A verdict of a few words, and the numbers behind it.
    """
    usable = [audit for audit in audits if audit["spearman"] is not None and audit["chance"] and audit["records"] > 2]
    if not usable:
        return "cannot be judged", "Too few records, or all of equal mAP: no rank correlation is defined."
    if any(not audit["chance"].get("values") for audit in usable):
        return "cannot be judged", OLDER
    shuffled = [audit["chance"]["values"] for audit in usable]
    p = permutation([audit["spearman"] for audit in usable], shuffled)
    rank, _, tables = spread(audit["spearman"] for audit in usable)
    error = spread(audit["mae"] for audit in usable)[0]
    error_of_mean = spread(audit["mae_mean"] for audit in usable)[0]
    chance = float(np.mean([np.mean(values) for values in shuffled]))
    sizes = sorted({audit["records"] for audit in usable})
    records = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    detail = (
        f"Held-out records ({tables} {'table' if tables == 1 else 'tables'} of {records}): mean rank correlation "
        f"{signed(rank, 2)}; with the gains shuffled {signed(chance, 2)} (below "
        "0 without any signal, since a record left out shifts the mean of the others). Permutation test over the "
        f"tables: p {p_value(p)}, level {ALPHA}. Mean absolute error {number(error, 4)} mAP; predicting the mean "
        f"gives {number(error_of_mean, 4)}."
    )
    if p < ALPHA and error >= error_of_mean:
        detail += " It ranks batches, but its gains are no more exact than the mean."
    detail += " The test covers proxy results; proxies may rank batches differently from labelled training."
    return ("carries signal" if p < ALPHA else "carries no detectable signal"), detail


def noise_of_records(audits: Sequence[Mapping[str, Any]]) -> list[str]:
    """How proxies differ between batches, and between seeds of one batch: a sentence a kind of records.

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
            text += f" ({stopped} of {records} were stopped early and count with their expected mAP)"
        if seeds is None or batches is None:
            said.append(f"{text}; the spread between seeds of one batch was not measured.")
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
    """How many predicted gains are extrapolated, in the searches where most of them are; None without such.

    Args:
        searches: of each, the batches far from every record, and all for which the table predicted a gain.
    """
    most = [(far, priced) for far, priced in searches if far > priced / 2]
    if not most:
        return None
    share = sum(far for far, _ in most) / sum(priced for _, priced in most)
    where = "" if len(most) == len(searches) else f" in {len(most)} of {len(searches)} searches"
    return (
        f"{100 * share:.0f} % of the batches{where} are far from every record: their predicted gains are extrapolated."
    )


def _mean(rows: Sequence[Mapping[str, Any]], key: str) -> float | None:
    values = [row[key] for row in rows if row[key] is not None]
    return sum(values) / len(values) if values else None
