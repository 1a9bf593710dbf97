"""Does a batch matter? How far records differ between batches, and between trainings of one batch."""

from __future__ import annotations

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
        repeats: a batch of each kind trained again with other random numbers.

    Returns:
        ``kinds``: by kind the number of ``records``, of how many the proxy was ``stopped``, their ``reference`` (mean
        mAP of random batches), ``between_batches`` over all records, ``between_random`` over those of random batches,
        and ``between_seeds`` over the ``seeds`` trainings of one batch. ``control``: of ``batches`` batches, mean and
        spread of mAP with unsupervised weight (``mean``, ``spread``) and without (``control_mean``,
        ``control_spread``); None without any.
    """
    kinds = {}
    for (_, kind), reference in records.references(found).items():
        own = [record for record in found if record.kind == kind]
        again = [record for record in repeats if record.kind == kind]
        trained = _levels(again, own)
        kinds[kind] = {
            "records": len(own),
            "stopped": sum(record.stopped for record in own),
            "reference": reference,
            "between_batches": _spread([record.mAP for record in own]),
            "between_random": _spread([record.mAP for record in own if record.generator == "random"]),
            "between_seeds": _spread([record.mAP for record in again] + trained),
            "seeds": len(again) + len(trained),
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


def _spread(levels: Sequence[float]) -> float | None:
    return statistics.stdev(levels) if len(levels) > 1 else None
