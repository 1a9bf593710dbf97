"""A proxy run: a short semi-supervised training that prices a batch without its labels."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from mgral import detectors, evaluation, plugins, seeds
from mgral.compute import Compute
from mgral.images import Cache
from mgral.inference import look
from mgral.params import DetectorParams, Evaluation, ProxyRun, check_semi
from mgral.pools import Pool
from mgral.training.loop import Plan, fit
from mgral.types import Dataset, Record

WEIGHT_DECAY = 0.0005
WARMUP = 10  # steps


def run(
    ids: Sequence[int],
    generator: str,
    dataset: Dataset,
    cache: Cache,
    pool: Pool,
    weights: Path,
    params: tuple[DetectorParams, ProxyRun, Evaluation],
    compute: Compute,
    seed: int,
) -> Record:
    """Train a proxy on the labelled pool and an unlabelled batch; its mAP on val is the batch's price.

    All proxies of a cycle share seed and initial weights (common random numbers), so that their differences come
    from the batches.

    Args:
        ids: the batch, unlabelled.
        generator: what drew it, for the record.
        dataset: ground truth; that of ``ids`` is not looked at.
        cache: images.
        pool: labelled ids and cycle.
        weights: the cycle's detector, the initial weights if ``proxy.start`` is ``detector``.
        params: of detector, proxy and evaluation.
        compute: device and precision.
        seed: of the experiment.

    Raises:
        MgralError: the term is not for this detector; weights that do not fit; a loss that is not finite.
    """
    detector_params, proxy, evaluate = params
    began = time.perf_counter()
    common = seeds.stream(seed, "proxy", pool.cycle)
    detector = detectors.build(
        detector_params.name,
        dataset.classes,
        cache.size,
        detector_params.options,
        seeds.stream(common, "weights"),
    )
    check_semi(proxy.semi, detector.activation)
    if proxy.start == "detector":
        detectors.load(detector, weights)
    plan = Plan(proxy.steps, proxy.batch_size, proxy.learning_rate, WEIGHT_DECAY, WARMUP, augment=True)
    semi = plugins.load("semi", proxy.semi)
    options = semi.Options.parse(proxy.options, "proxy.options")
    term = semi.build(options, cache, ids, pool.labelled_ids, plan, compute, common)
    fit(detector, cache, pool.labelled_ids, plan, compute, common, term)
    val = dataset.ids("val")
    views = look(detector, cache, val, evaluate, compute)
    score = evaluation.evaluate(dataset, views.detections, val, evaluate.max_detections)["mAP"]
    return Record(tuple(sorted(ids)), generator, score, time.perf_counter() - began)
