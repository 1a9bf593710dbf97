"""The search: REINFORCE trains the policy against the lookup table (arXiv 2310.08387; Williams 1992).

One iteration: scan the pool once, sample a few batches from the scores, price them by the table, and raise
the probability of those that beat the baseline: the moving average of the reward, or the scan's other batches.
"""

from __future__ import annotations

import copy
import csv
import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import trange

from mgral.agent.policy import Policy, Seen, log_probability, sample, sequence
from mgral.config.schema import Search
from mgral.core import random_streams
from mgral.core.files import read_checkpoint, whole, write_checkpoint
from mgral.core.types import Doubles, Record
from mgral.reward import records
from mgral.reward.batch_features import Batches
from mgral.reward.surrogates import Price, cautious

log = logging.getLogger(__name__)

TrainProxy = Callable[[tuple[int, ...]], Record]


class Prices(Protocol):
    """What the search asks of :class:`mgral.reward.lookup_table.LookupTable`."""

    def price(self, batches: Batches) -> Price:
        """Predicted gain of each batch."""
        ...

    def add(self, record: Record) -> None:
        """Take in a record that was trained meanwhile."""
        ...

    def gain(self, record: Record) -> float:
        """Gain in mAP of a record, on the scale of the predicted gains."""
        ...


@dataclass(frozen=True)
class Row:
    """One iteration: a line of ``search.csv``.

    Attributes:
        iteration: 0 … iterations - 1.
        reward: mean over the sampled batches of the gain: mAP(proxy) less the mean of random batches' proxies; where
            the table predicts it, less ``search.caution`` of its standard deviations.
        baseline: what this iteration's rewards were compared with (mean over the batches).
        loss: mean over the batches of -(reward - baseline) · log π(S), less the weighted entropy.
        estimated, trained: batches priced by the table, and by a proxy trained for them.
        far: of the former, those beyond the table's threshold, which kept their estimate all the same.
        distance: mean distance to the nearest record of the table.
        average: the moving average of the reward after this iteration; ``search.patience`` watches it.
        entropy: of the distribution of a batch's first image, nats, 0 … ln N.
    """

    iteration: int
    reward: float
    baseline: float
    loss: float
    estimated: int
    trained: int
    far: int
    distance: float
    average: float
    entropy: float


@dataclass(frozen=True)
class Result:
    """A finished search: the trained policy, its log, and the records that the fallback trained, in order."""

    policy: Policy
    rows: tuple[Row, ...]
    added: tuple[Record, ...]


@dataclass
class _Progress:
    """A search between two iterations, as its checkpoint keeps it.

    Attributes:
        policy: with the weights of now; ``optimiser``: that of these weights.
        reference: the moving average of the rewards (mAP_ref). None before the first: the paper does not say how it
            starts, and from 0 the first steps had all one sign.
        rows: of ``search.csv``.
        added: records that the fallback has trained.
    """

    policy: Policy
    optimiser: torch.optim.Adam
    reference: float | None = None
    rows: list[Row] = field(default_factory=list)
    added: list[Record] = field(default_factory=list)

    def restore(self, path: Path | None, table: Prices) -> None:
        """Go on from a checkpoint, if there is one; the table receives its records. Raises MgralError if damaged."""
        state = read_checkpoint(path)
        if state is None:
            return
        log.info("search: going on from iteration %d (%s)", len(state["rows"]), path)
        self.policy.load_state_dict(state["policy"])
        self.policy.lead = state["lead"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.reference = state["reference"]
        self.rows = [Row(**row) for row in state["rows"]]
        self.added = [records.from_json(record, str(path)) for record in state["added"]]
        for record in self.added:
            table.add(record)

    def save(self, path: Path) -> None:
        """Write the checkpoint."""
        state = {
            "policy": self.policy.state_dict(),
            "lead": self.policy.lead,
            "optimiser": self.optimiser.state_dict(),
            "reference": self.reference,
            "rows": [asdict(row) for row in self.rows],
            "added": [records.as_json(record) for record in self.added],
        }
        write_checkpoint(path, state)


def run(
    policy: Policy,
    embeddings: Seen,
    unlabelled: Sequence[int],
    table: Prices,
    batch: int,
    params: Search,
    seed: int,
    train_proxy: TrainProxy | None = None,
    checkpoint: Path | None = None,
    train_on: int = 0,
) -> Result:
    """Train a policy to pick the batch that the table values highest.

    With the default parameters the update is the published one. Adam divides a gradient by its own running size,
    so neither the small differences of mAP (about 0.01) nor the length of a batch (log π is a sum over it) changes
    the size of the steps.

    Args:
        policy: the initial weights; left unchanged.
        embeddings: of the whole pool, with or without numbers beside them.
        unlabelled: ids the agent may choose from, in any order; only these are scanned.
        table: prices batches; receives the records that the fallback trains.
        batch: images in a batch; all of them where fewer are left.
        params: the section ``search`` of the parameters.
        seed: names the random streams; iteration t has one of its own.
        train_proxy: trains the proxy of a batch (ids ascending) and returns its record. None: far batches
            keep their estimate.
        checkpoint: file for the state between iterations, of this very search; if killed, it goes on from there to
            the same result. Whoever gives it removes it, once the result is safe. None: keep no state.
        train_on: scan so many of ``unlabelled`` in place of all, drawn at random, but no fewer than a batch; 0: all.

    Raises:
        MgralError: the pool and the embeddings do not fit, or the checkpoint is damaged.
    """
    policy = copy.deepcopy(policy)
    ids, features = sequence(_some(unlabelled, max(train_on, batch) if train_on else 0, seed), embeddings, policy)
    features = features.to(policy.decoder.weight.device)
    optimiser = torch.optim.Adam(policy.parameters(), lr=params.learning_rate)
    progress = _Progress(policy, optimiser)
    progress.restore(checkpoint, table)

    done, end = len(progress.rows), params.iterations
    for t in trange(done, end, initial=done, total=end, desc="search", disable=None):
        if params.patience and _since_best(progress.rows) >= params.patience:
            log.info("search: stopped at %d of %d, no better for %d", t, params.iterations, params.patience)
            break
        noise = torch.Generator().manual_seed(random_streams.stream(seed, "search", t))
        row = _iterate(progress, features, ids, table, batch, params, noise, train_proxy)
        progress.rows.append(row)
        due = params.checkpoint_every and ((t + 1) % params.checkpoint_every == 0 or row.trained)
        if checkpoint is not None and due:
            progress.save(checkpoint)
        _report(progress.rows, params.iterations)

    return Result(policy, tuple(progress.rows), tuple(progress.added))


def _iterate(
    progress: _Progress,
    features: Tensor,
    ids: Sequence[int],
    table: Prices,
    batch: int,
    params: Search,
    noise: torch.Generator,
    train_proxy: TrainProxy | None,
) -> Row:
    """One iteration, which moves the weights and the moving average of ``progress``; its line of the log.

    Args:
        progress: with the policy, its optimiser, and all iterations before.
        features: [N, D] of the scanned images, on the policy's device.
        ids: of these images.
        table: as for :func:`run`; prices the batches, and receives the trained records.
        batch: images in a batch.
        params: the section ``search``.
        noise: draws the batches of this iteration.
        train_proxy: trains the proxies of far batches, or None.
    """
    policy = progress.policy
    scores = policy(features)
    logits = scores.detach() / params.temperature  # [N]
    subsets = sample(logits, min(batch, len(ids)), params.subsets, noise)  # [K, b]
    batches = [tuple(sorted(ids[i] for i in subset)) for subset in subsets.tolist()]
    price = table.price(batches)
    rewards = cautious(price.value, price.deviation, params.caution)
    trained = _train_far(price, rewards, batches, table, progress.added, params.fallback, train_proxy)

    mean = float(rewards.mean())
    reference = mean if progress.reference is None else progress.reference
    baseline = others_mean(rewards) if params.baseline == "leave_one_out" else np.full_like(rewards, reference)
    progress.optimiser.zero_grad()
    objective = functools.partial(_objective, subsets=subsets, advantages=rewards - baseline, params=params)
    loss = policy.backward(features, scores, objective)
    progress.optimiser.step()
    progress.reference = params.baseline_decay * reference + (1 - params.baseline_decay) * mean
    return Row(
        iteration=len(progress.rows),
        reward=mean,
        baseline=float(baseline.mean()),
        loss=loss.item(),
        estimated=len(batches) - trained,
        trained=trained,
        far=int(price.far.sum()) - trained,
        distance=float(price.distance.mean()),
        average=progress.reference,
        entropy=entropy(logits).item(),
    )


def _objective(scores: Tensor, subsets: Tensor, advantages: Doubles, params: Search) -> Tensor:
    """What an iteration lowers: :func:`reinforce_loss`, less the weighted entropy."""
    logits = scores / params.temperature
    return reinforce_loss(logits, subsets, advantages) - params.entropy_bonus * entropy(logits)


def reinforce_loss(logits: Tensor, subsets: Tensor, advantages: Doubles) -> Tensor:
    """Mean over subsets of −(reward − baseline) · log π(S).

    Args:
        logits: [N]; gradients flow to them.
        subsets: [K, b] positions in the order drawn.
        advantages: [K], reward − baseline.
    """
    weights = torch.from_numpy(advantages).to(logits.device)
    return -(weights * log_probability(logits, subsets)).mean()


def others_mean(rewards: Doubles) -> Doubles:
    """[K], for each subset the mean reward of the K − 1 others: a baseline independent of it, hence unbiased."""
    others: Doubles = (rewards.sum() - rewards) / (len(rewards) - 1)
    return others


def entropy(logits: Tensor) -> Tensor:
    """Entropy of softmax(logits [N]) in nats, float64: how open the choice of the first image still is."""
    log_p = logits.double().log_softmax(0)
    return -(log_p.exp() * log_p).sum()


def _some(ids: Sequence[int], count: int, seed: int) -> Sequence[int]:
    """``count`` of the ids at random, which depend on their set and the seed alone; all of them for 0 or too few."""
    if not 0 < count < len(ids):
        return ids
    chosen = random_streams.generator(seed, "search pool").choice(np.sort(ids), count, replace=False)
    return [int(i) for i in chosen]


def _since_best(rows: Sequence[Row]) -> int:
    """Iterations since the moving average of the reward set its last high; 0 before the first."""
    best = max(range(len(rows)), key=lambda t: rows[t].average, default=-1)
    return len(rows) - 1 - best


def _train_far(
    price: Price,
    rewards: Doubles,
    batches: list[tuple[int, ...]],
    table: Prices,
    added: list[Record],
    limit: int,
    train_proxy: TrainProxy | None,
) -> int:
    """Train proxies of far batches, in the order sampled, until ``added`` holds ``limit`` records.

    Their gain replaces the estimate in ``rewards``; table and ``added`` receive the records. A batch that was sampled
    twice is trained once. The other batches keep the price they have and see the new records from the next iteration
    on. Returns how many batches have a trained reward.
    """
    gains: dict[tuple[int, ...], float] = {}
    far = price.far.nonzero()[0].tolist()
    for k in far:
        batch = batches[k]
        if batch not in gains and train_proxy is not None and len(added) < limit:
            log.info("search: batch at distance %.4g from the nearest record: training its proxy", price.distance[k])
            record = train_proxy(batch)
            table.add(record)
            added.append(record)
            gains[batch] = table.gain(record)
        if batch in gains:
            rewards[k] = gains[batch]
    return sum(batches[k] in gains for k in far)


def write_rows(rows: Sequence[Row], path: str | Path) -> None:
    """Write ``search.csv``; numbers in full, so that reading gives them back exactly."""
    with whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def _report(rows: list[Row], iterations: int) -> None:
    """A plain line for the log at every tenth of the way."""
    done = len(rows)
    if done * 10 // iterations > (done - 1) * 10 // iterations:
        row = rows[-1]
        log.info("search: %d of %d, reward %+.4f, baseline %+.4f", done, iterations, row.reward, row.baseline)
