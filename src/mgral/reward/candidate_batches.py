"""Batches whose proxies fill the lookup table, drawn in ways that make them differ from each other.

The table prices a batch by the records nearest to its mean embedding. Uniform draws all have nearly the mean
of the pool, so their records tell little apart; biased kinds pull batches away from it:

- ``random``: uniform;
- ``uncertain``: towards images of high entropy and, every other batch, of low entropy;
- ``cluster``: most of the batch from few clusters of the embeddings;
- ``class``: towards images in which one class is predicted, each class in turn;
- ``designed``: the ends of each signal, and the batches of rules (:mod:`mgral.reward.designed_batches`).

A second round is drawn by the agent that was trained on the records of these: batches where it will look for the best
(``agent``).
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from mgral.core import random_streams
from mgral.core.errors import MgralError
from mgral.core.files import read_json
from mgral.core.types import Doubles, Floats, Ints
from mgral.data.evidence import Evidence
from mgral.detection.uncertainty import pool_entropies
from mgral.reward import designed_batches
from mgral.reward.proxy_plan import allot

# Of the bias by entropy, drawn between these: log-weights rise by it per standard deviation of the entropy's rank
STRENGTH = (1.0, 4.0)
FOCUS = 0.8  # share of a cluster batch that comes from few clusters
MOST_CLUSTERS = 64
TRIES = 20  # draws before a batch that repeats another is replaced

Draw = Callable[[int, np.random.Generator], Ints]
"""(number of the batch among its kind, randomness) → positions in the ascending list of unlabelled ids."""


class CandidateBatch(TypedDict):
    """One entry of batches.json: the kind that drew it, and its ids, ascending.

    A designed batch has the name of its design; one that several designs share has all their names, with commas.
    """

    generator: str
    ids: list[int]


def read(path: str | Path) -> list[CandidateBatch]:
    """Read batches.json. Raises MgralError if it is missing or holds anything but batches."""
    entries = read_json(path)
    remedy = "run `mgral sample-batches` again"
    if not isinstance(entries, list):
        raise MgralError(f"{path}: not a list of batches; {remedy}")
    for k, entry in enumerate(entries):
        ids = entry.get("ids") if isinstance(entry, dict) else None
        numbers = isinstance(ids, list) and all(type(i) is int for i in ids)
        if not numbers or not ids or len(set(ids)) < len(ids) or not isinstance(entry.get("generator"), str):
            raise MgralError(f"{path}: entry {k} is no batch (generator, and ids that differ); {remedy}")
    return entries


def draw(count: int, batch: int, shares: Mapping[str, float], evidence: Evidence, seed: int) -> list[CandidateBatch]:
    """Draw batches of unlabelled images.

    A batch depends on seed, cycle, kind and its number among its kind, not on the order in which the pool is
    listed. No two are equal as long as the pool has another one: where ``TRIES`` draws give nothing new, the
    first batch in order of ids that is not there yet takes the place.

    Args:
        count: batches wanted.
        batch: images in each (budget.batch); all that are left, if they are fewer.
        shares: of the kinds, scaled to sum to 1 (proxy.generators).
        evidence: the pool; ``detections`` and ``activation`` for uncertain and class, ``embeddings`` for
            cluster; all of these and ``labels`` for designed.
        seed: of the experiment.

    Returns:
        ``count`` batches, kind by kind.

    Raises:
        MgralError: no unlabelled image is left, the shares are unfit, or evidence is missing.
    """
    ids = sorted(evidence.pool.unlabelled)
    if not ids:
        raise MgralError("no unlabelled image is left to draw batches from; end the experiment here or add images")
    size = min(batch, len(ids))
    batches: list[CandidateBatch] = []
    seen: set[tuple[int, ...]] = set()
    for kind, number in allot(count, shares).items():
        if not number:
            continue  # a kind that draws nothing needs no evidence
        names = (seed, "draw", evidence.pool.cycle, kind)
        draw_one = SAMPLERS[kind](evidence, ids, size, random_streams.stream(*names))
        for k in range(number):
            first, chosen = draw_unseen(draw_one, k, ids, size, seen, names)
            seen.add(chosen)
            name = designed_batches.name_of(k) if kind == "designed" else kind
            if kind == "designed" and chosen != first and k < len(designed_batches.NAMES):
                _name_also(batches, first, name)
                name = designed_batches.name_of(k + len(designed_batches.NAMES))
            batches.append({"generator": name, "ids": list(chosen)})
    return batches


def _name_also(batches: list[CandidateBatch], ids: tuple[int, ...], name: str) -> None:
    """Note that a design would be a batch that is there already. One drawn at random keeps its name alone."""
    for batch in batches:
        if tuple(batch["ids"]) == ids and batch["generator"] != "random":
            batch["generator"] += f", {name}"


def draw_unseen(
    draw_one: Draw,
    k: int,
    ids: list[int],
    size: int,
    seen: set[tuple[int, ...]],
    names: tuple[int | str, ...],
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Batch ``k`` of a kind as it is drawn first, and the batch to take: another than those seen, if there is one."""
    first: tuple[int, ...] = ()
    for attempt in range(TRIES):
        positions = draw_one(k, random_streams.generator(*names, k, attempt))
        chosen = tuple(sorted(ids[p] for p in positions))
        first = first or chosen
        if chosen not in seen:
            return first, chosen
    return first, next((other for other in itertools.combinations(ids, size) if other not in seen), chosen)


def _random(evidence: Evidence, ids: list[int], size: int, seed: int) -> Draw:
    return lambda k, rng: rng.choice(len(ids), size=size, replace=False)


def _uncertain(evidence: Evidence, ids: list[int], size: int, seed: int) -> Draw:
    """Log-weights ± strength · standardised rank of the entropy: even batches high, odd ones low."""
    from scipy.stats import rankdata

    detections = evidence.detections_of(ids, "proxy.generators.uncertain")
    activation = evidence.activation_for("proxy.generators.uncertain")
    ranks = rankdata(pool_entropies(ids, detections, activation))
    standard = (ranks - ranks.mean()) / (ranks.std() or 1.0)

    def draw_one(k: int, rng: np.random.Generator) -> Ints:
        strength = rng.uniform(*STRENGTH) * (-1) ** k
        return without_replacement(strength * standard, size, rng)

    return draw_one


def _cluster(evidence: Evidence, ids: list[int], size: int, seed: int) -> Draw:
    """``FOCUS`` of the batch from as few clusters, in a random order, as hold it; the rest from others."""
    if evidence.embeddings is None:
        raise MgralError("proxy.generators.cluster: needs embeddings; give --embeddings, made by `mgral embed`")
    vectors = evidence.embeddings.rows(ids)
    clusters = min(max(len(ids) // size, 2), MOST_CLUSTERS, len(ids))  # about one batch in each
    labels = _k_means(vectors, clusters, seed)
    members = [np.flatnonzero(labels == c) for c in range(clusters)]
    wanted = math.ceil(FOCUS * size)

    def draw_one(k: int, rng: np.random.Generator) -> Ints:
        order = rng.permutation(clusters)
        held = np.cumsum([len(members[c]) for c in order])
        few = 1 + int(np.searchsorted(held, wanted))
        inside = rng.permutation(np.concatenate([members[c] for c in order[:few]]))
        outside = rng.permutation(np.setdiff1d(np.arange(len(ids)), inside))
        rest = outside[: size - wanted]
        return np.concatenate([inside[: size - len(rest)], rest])

    return draw_one


def _class(evidence: Evidence, ids: list[int], size: int, seed: int) -> Draw:
    """Weights are the expected number of objects of one class, Σ p over an image's detections.

    The classes that are predicted at all take turns in a random order; images without any come last.
    """
    detections = evidence.detections_of(ids, "proxy.generators.class")
    activation = evidence.activation_for("proxy.generators.class")
    background = 1 if activation == "softmax" else 0
    expected = np.zeros((len(ids), len(evidence.classes)))
    for row, i in enumerate(ids):
        expected[row] = detections[i].probs[:, background:].sum(axis=0, dtype=np.float64)
    predicted = np.flatnonzero(expected.sum(axis=0) > 0)
    turns = random_streams.generator(seed, "classes").permutation(predicted)

    def draw_one(k: int, rng: np.random.Generator) -> Ints:
        weights = expected[:, turns[k % len(turns)]] if len(turns) else np.ones(len(ids))
        return without_replacement(np.log(np.maximum(weights, 1e-12)), size, rng)

    return draw_one


SAMPLERS: dict[str, Callable[[Evidence, list[int], int, int], Draw]] = {
    "random": _random,
    "uncertain": _uncertain,
    "cluster": _cluster,
    "class": _class,
    "designed": lambda evidence, ids, size, seed: designed_batches.sampler(evidence, size),
}


def without_replacement(log_weights: Doubles, size: int, rng: np.random.Generator) -> Ints:
    """Positions, each drawn with probability ∝ weight among those left: Gumbel-top-k (Kool et al. 2019)."""
    return np.argsort(-(log_weights + rng.gumbel(size=len(log_weights))), kind="stable")[:size]


def _k_means(vectors: Floats, clusters: int, seed: int) -> npt.NDArray[np.int32]:
    """[N] cluster of each vector. One thread: with more, the order of sums and thus the answer would vary."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct vectors than clusters
        labels: npt.NDArray[np.int32] = KMeans(clusters, n_init=1, random_state=seed % 2**32).fit(vectors).labels_
    return labels
