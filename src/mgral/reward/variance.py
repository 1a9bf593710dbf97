"""Does a batch matter? How far records differ between batches, and between trainings of one batch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from mgral.core.types import Record
from mgral.reward import records


def audit(found: Sequence[Record], control: Sequence[Record], repeats: Sequence[Record]) -> dict[str, Any]:
    """What ``audit.json`` says of spreads: standard deviations of mAP with divisor n - 1, None for fewer than two.

    Args:
        found: the records of the table, those of its own cycle.
        control: some batches of these trained with unsupervised weight zero.
        repeats: a batch of each kind and replay split trained again with other random numbers.

    Returns:
        ``kinds``: by kind the number of ``records``, of how many the proxy was ``stopped``, their ``reference`` (mean
        mAP of random batches), ``between_batches`` over all records, ``between_random`` over those of random batches,
        and ``between_seeds`` over the ``seeds`` trainings of one batch. Of several replay splits the spreads are within
        splits, pooled; their references are averaged, and ``splits`` says how many there are. ``control``: of
        ``batches`` batches, mean and spread of mAP with unsupervised weight (``mean``, ``spread``) and without
        (``control_mean``, ``control_spread``); None without any.
    """
    references = records.references(found)
    kinds = {}
    for kind in dict.fromkeys(kind for _, kind, _ in references):
        levels = {split: level for (_, one, split), level in references.items() if one == kind}
        own = [[record for record in found if (record.kind, record.split) == (kind, split)] for split in levels]
        again = [[record for record in repeats if (record.kind, record.split) == (kind, split)] for split in levels]
        alike = [[*(r.mAP for r in more), *_levels(more, some)] for more, some in zip(again, own, strict=True)]
        kinds[kind] = {
            "records": sum(map(len, own)),
            "stopped": sum(record.stopped for some in own for record in some),
            "reference": statistics.fmean(levels.values()),
            "between_batches": _within([record.mAP for record in some] for some in own),
            "between_random": _within([record.mAP for record in some if record.generator == "random"] for some in own),
            "between_seeds": _within(alike),
            "seeds": sum(map(len, alike)),
            **({"splits": len(levels)} if len(levels) > 1 else {}),
        }
    return {"kinds": kinds, "control": _control(found, control)}


def _control(found: Sequence[Record], control: Sequence[Record]) -> dict[str, Any] | None:
    if not control:
        return None
    levels = _levels(control, [record for record in found if record.kind == "unlabelled"])
    without = [record.mAP for record in control]
    return {
        "batches": len(control),
        "mean": statistics.fmean(levels) if levels else None,
        "spread": _spread(levels),
        "control_mean": statistics.fmean(without),
        "control_spread": _spread(without),
    }


def _levels(chosen: Iterable[Record], among: Iterable[Record]) -> list[float]:
    """mAP of the records ``among`` that are of the same batches as those ``chosen``."""
    batches = {record.ids for record in chosen}
    return [record.mAP for record in among if record.ids in batches]


def _within(groups: Iterable[Sequence[float]]) -> float | None:
    """The standard deviation within groups, pooled: of each by its degrees of freedom."""
    found = [levels for levels in groups if len(levels) > 1]
    if len(found) < 2:
        return _spread(found[0]) if found else None
    squares = sum((len(levels) - 1) * statistics.variance(levels) for levels in found)
    return math.sqrt(squares / sum(len(levels) - 1 for levels in found))


def _spread(levels: Sequence[float]) -> float | None:
    return statistics.stdev(levels) if len(levels) > 1 else None
