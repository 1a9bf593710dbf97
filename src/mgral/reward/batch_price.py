"""The price of batches of a cycle's pool, as one file: ``table/price.npz``.

It holds the pool as the representation ``growth`` describes it and the weights that the table has found, so that an
agent can be trained and its batch polished without the records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mgral.core.errors import MgralError
from mgral.core.types import Doubles, Embeddings
from mgral.detection import npz_files
from mgral.reward.agent_state import AgentState
from mgral.reward.bayes import Weights
from mgral.reward.growth import COVERED, FEATURES, PLAIN, World
from mgral.reward.surrogates import cautious

WORLD = ("ids", "expected", "boxes", "competence", "scores", "squares", "scale", "labelled")
WEIGHTS = ("mean", "covariance", "classes")
RULED = ("competent growth", *COVERED)  # numbers that are a rule's own


@dataclass(frozen=True)
class BatchPrice:
    """What batches of a pool are worth.

    Attributes:
        world: the pool.
        weights: of its numbers; None where the surrogate is none that reads them one by one.
    """

    world: World
    weights: Weights | None

    def of(self, batches: Sequence[Sequence[int]]) -> tuple[Doubles, Doubles]:
        """Expected gain in mAP over random batches [n], and its standard deviation [n].

        Raises:
            MgralError: there are no weights, or a batch is unfit.
        """
        return self._weights().predict(self.world.features(batches))

    def cautious(self, numbers: Doubles, caution: float) -> Doubles:
        """[n] expected gains less ``caution`` of their standard deviations.

        Args:
            numbers: [n, C, 8] of batches, as :meth:`World.features` returns them.
            caution: >= 0.

        Raises:
            MgralError: there are no weights.
        """
        return cautious(*self._weights().predict(numbers), caution)

    @cached_property
    def alone(self) -> Doubles:
        """[n] expected gain of each candidate as a batch of its own. Raises MgralError if there are no weights."""
        return self.cautious(self.world.raw(np.arange(len(self.world.ids))[:, None]) - self.world.level(1), 0.0)

    @property
    def rule(self) -> str:
        """The number that is the prior's own. Raises MgralError if there are no weights."""
        return self._weights().rule

    def _weights(self) -> Weights:
        if self.weights is None:
            raise MgralError("table.surrogate: bayes alone prices batches without records; set it")
        return self.weights

    def agent_state(self, embeddings: Embeddings) -> AgentState:
        """What the agent reads of each unlabelled image: the embedding, and beside it :meth:`World.state`."""
        return AgentState(self.world.ids, embeddings, self.world.state())


def write(price: BatchPrice, path: str | Path) -> None:
    """Write ``price.npz``, without the embeddings."""
    world = {name: np.asarray(getattr(price.world, name)) for name in WORLD}
    weights = {name: getattr(price.weights, name) for name in WEIGHTS} if price.weights else {}
    if price.weights:
        weights["rule"] = np.asarray(FEATURES.index(price.weights.rule))
    npz_files.write_arrays(path, {**world, **weights})


def read(path: str | Path, embeddings: Embeddings) -> BatchPrice:
    """Read ``price.npz``.

    Raises:
        MgralError: the file is missing or damaged, or is of other images than the embeddings.
    """
    data = npz_files.read_arrays(path, *WORLD, verb="table", others=True)
    npz_files.check_ids(data["ids"], str(path), "run `mgral table` again")
    count, classes = len(data["ids"]), data["boxes"].size
    shapes = {
        "boxes": (classes,),
        "expected": (count, classes),
        "competence": (classes,),
        "squares": (count,),
        "scale": (),
        "labelled": (),
    }
    shapes |= {"scores": (count, len(COVERED + PLAIN))}
    known = len(FEATURES)
    of_weights = (
        {"mean": (known,), "covariance": (known, known), "classes": (classes,), "rule": ()} if "mean" in data else {}
    )
    for name, shape in (shapes | of_weights).items():
        if name not in data or data[name].shape != shape:
            raise MgralError(f"{path}: array '{name}' is missing or has another shape; run `mgral table` again")
        if data[name].dtype.kind not in "biuf" or not np.isfinite(data[name]).all():
            raise MgralError(f"{path}: array '{name}' holds something else than numbers; run `mgral table` again")
    try:
        places = embeddings.places(data["ids"])
    except MgralError as error:
        raise MgralError(f"{path}: {error}") from None
    arrays = {name: data[name] for name in WORLD if name not in ("scale", "labelled")}
    world = World(
        **arrays, scale=float(data["scale"]), labelled=int(data["labelled"]), vectors=embeddings.vectors, places=places
    )
    if not of_weights:
        return BatchPrice(world, None)
    rule = int(data["rule"])
    if not 0 <= rule < known or FEATURES[rule] not in RULED:
        raise MgralError(f"{path}: array 'rule' names no rule; run `mgral table` again")
    return BatchPrice(world, Weights(**{name: data[name] for name in WEIGHTS}, rule=FEATURES[rule]))
