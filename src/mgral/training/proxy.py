"""A proxy run: a short training that prices a batch, without its labels or, as replay, with them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mgral import activations, detectors, evaluation, plugins, seeds
from mgral.compute import Compute
from mgral.experiments import check_semi
from mgral.images import Cache
from mgral.inference import look
from mgral.params import DetectorParams, Evaluation, ProxyRun
from mgral.pools import Pool
from mgral.training.loop import Plan, fit
from mgral.types import Dataset, Kind, Record

WEIGHT_DECAY = 0.0005
WARMUP = 10  # steps


def run(
    ids: Sequence[int],
    generator: str,
    dataset: Dataset,
    cache: Cache,
    pool: Pool,
    weights: Path | None,
    params: tuple[DetectorParams, ProxyRun, Evaluation],
    compute: Compute,
    seed: int,
    kind: Kind = "unlabelled",
    repeat: int = 0,
    maps: Path | None = None,
    rivals: Sequence[Record] = (),
) -> Record:
    """Train a proxy on the labelled pool and a batch; its mAP on val is what the batch is worth.

    All proxies of a cycle and kind share seed and initial weights (common random numbers), so that their differences
    come from the batches.

    Args:
        ids: the batch, unlabelled in ``pool``.
        generator: what drew it, for the record.
        dataset: ground truth; that of ``ids`` is looked at for ``replay`` alone.
        cache: images, and their boxes.
        pool: labelled ids and cycle.
        weights: of a detector trained on ``pool``, the initial ones if ``proxy.start`` is ``detector``; else unused.
            For replay that is not the cycle's own, which has seen the batch.
        params: of detector, proxy and evaluation.
        compute: device and precision.
        seed: of the experiment.
        kind: how the batch enters, see :class:`mgral.types.Record`. A control's batch still passes through the
            detector, so that batch normalisation counts it among what it averages; nothing else of it is learnt.
        repeat: above 0, train with other random numbers: what chance alone does to this batch's mAP.
        maps: ``activations.npy`` of these weights, of the images that :func:`shown` names, for a frozen trunk. None:
            they are computed for this proxy alone.
        rivals: records of random batches of the same cycle and kind. If the proxy lies below all of them after
            ``proxy.stop_at`` of the steps, it is stopped there. None: it is not.

    Raises:
        MgralError: the term is not for this detector; weights that do not fit; a loss that is not finite.
    """
    detector_params, proxy, evaluate = params
    began = time.perf_counter()
    common = seeds.stream(seed, "proxy", pool.cycle, *(("repeat", repeat) if repeat else ()))
    detector = detectors.build(
        detector_params.name,
        dataset.classes,
        cache.size,
        detector_params.options,
        seeds.stream(common, "weights"),
    )
    if kind != "replay":
        check_semi(proxy.semi, detector.activation)
    if proxy.start == "detector":
        assert weights is not None
        detectors.load(detector, weights)
    val = dataset.ids("val")
    known = None
    if proxy.trunk == "frozen":
        detector.freeze_trunk()
        ids_shown = shown(pool, kind, val)
        known = (
            activations.make(detector, cache, ids_shown, compute)
            if maps is None
            else activations.read(detector, ids_shown, maps)
        )

    def score() -> float:
        views = look(detector, cache, val, evaluate, compute, known)
        return evaluation.evaluate(dataset, views.detections, val, evaluate.max_detections)["mAP"]

    race = Race(proxy.judged_after, score, rivals)
    plan = Plan(proxy.steps, proxy.batch_size, proxy.learning_rate, WEIGHT_DECAY, WARMUP, augment=True)
    if kind == "replay":
        fit(detector, cache, [*pool.labelled_ids, *ids], plan, compute, common, activations=known, halt=race)
    else:
        semi = plugins.load("semi", proxy.semi)
        given = {**proxy.options, "weight": 0.0} if kind == "control" else proxy.options
        options = semi.Options.parse(given, "proxy.options")
        term = semi.build(options, cache, ids, pool.labelled_ids, plan, compute, common)
        fit(detector, cache, pool.labelled_ids, plan, compute, common, term, activations=known, halt=race)
    value = race.expected if race.lost else score()
    seconds = time.perf_counter() - began
    return Record(tuple(sorted(ids)), generator, value, seconds, kind, pool.cycle, race.partway, race.lost)


class Race:
    """Looks at a run once, and stops it if it then lies below all its rivals.

    Milder than median stopping (Golovin et al. 2017): what is stopped should be hopeless, and not the lesser half.

    Attributes:
        partway: mAP when it was looked at, 0..1; None before that.
        lost: whether the run was stopped.
    """

    def __init__(self, after: int, score: Callable[[], float], rivals: Sequence[Record]) -> None:
        self._after, self._score = after, score
        self._rivals = [(rival.partway, rival.mAP) for rival in rivals if rival.partway is not None]
        self.partway: float | None = None
        self.lost = False

    def __call__(self, step: int) -> bool:
        if step == self._after:
            self.partway = self._score()
            self.lost = bool(self._rivals) and self.partway < min(partway for partway, _ in self._rivals)
        return self.lost

    @property
    def expected(self) -> float:
        """mAP at the end, 0..1, if the run had kept its distance from the mean of its rivals."""
        assert self.partway is not None
        gains = [whole - partway for partway, whole in self._rivals]
        return min(max(self.partway + math.fsum(gains) / len(gains), 0.0), 1.0)


def shown(pool: Pool, kind: Kind, val: Sequence[int]) -> list[int]:
    """Images whose labels proxies of a kind learn from or are judged by, ascending.

    Args:
        pool: that of the proxies; what is unlabelled there is held out, for replay, and its labels are known.
        kind: of the proxies.
        val: ids of the split val.
    """
    return sorted({*pool.labelled, *val, *(pool.unlabelled if kind == "replay" else ())})
