"""The policy of cdal's solver ``rl``: a two-way LSTM that looks at the pool once and says which images to take.

REINFORCE after Zhou et al. 2018 (video summarisation), with the reward of Agarwal et al. 2020. Details marked [C] were
read in the official code. Ten steps at Adam's 1e-2 are few and long: with some seeds all probabilities run to 0, and
the images are then ordered by little more than their place in the sequence.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mgral.core import random_streams
from mgral.core.types import Doubles, Floats

Variant = Literal["paper", "code"]

DIVERSITY, REPRESENTATION = 1.5, 0.5  # weights of the two rewards [C]
SCALE = 50  # of squared distances in the second [C]
DECAY = 0.9  # of the reward's moving average
BALANCE = 0.01  # weight of (mean probability - 0.5)² [C]
WEIGHT_DECAY = 1e-5  # [C]
BLOCK = 2048  # images compared at a time


class SequencePolicy(nn.Module):
    """LSTM in both directions and a linear layer, or two without a nonlinearity in between [C]; a logit per image."""

    def __init__(self, width: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.scan = nn.LSTM(width, hidden, bidirectional=True)
        inner = [nn.Linear(2 * hidden, 2 * hidden) for _ in range(layers - 1)]
        self.head = nn.Sequential(*inner, nn.Linear(2 * hidden, 1))

    def forward(self, sequence: Tensor) -> Tensor:
        """[N, width] to logits [N]."""
        logits: Tensor = self.head(self.scan(sequence)[0])[:, 0]
        return logits


def train(
    mixtures: Floats,
    budget: int,
    seed: int,
    *,
    variant: Variant = "paper",
    epochs: int = 10,
    hidden: int = 256,
    learning_rate: float = 1e-2,
) -> Doubles:
    """Train a policy on the pool that it is to select from.

    Variant ``paper``: the reward is that of the images sampled, its moving average starts at the first reward, and the
    last policy speaks. ``code``: the reward is that of the ``budget`` most probable images, whatever was sampled, so
    the gradient knows nothing of which samples were good; the average starts at 0, so the first samples are all
    praised; and the best-rewarded epoch speaks [C].

    Args:
        mixtures: [N, D], > 0; in the order in which the policy reads them.
        budget: images wanted.
        seed: of weights and samples. One thread is used, so that nothing else matters.
        variant: see above.
        epochs: passes over the pool.
        hidden: width of each direction of the LSTM.
        learning_rate: Adam's.

    Returns:
        [N] logits of the images' probabilities. They rank as these do, also where these would round to 0 or 1.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(random_streams.stream(seed, "cdal policy"))
            return _train(mixtures, budget, variant, epochs, hidden, learning_rate)
    finally:
        torch.set_num_threads(threads)


def _train(mixtures: Floats, budget: int, variant: Variant, epochs: int, hidden: int, learning_rate: float) -> Doubles:
    sequence = torch.from_numpy(mixtures)
    policy = SequencePolicy(mixtures.shape[1], hidden, layers=1 if variant == "paper" else 2)
    optimiser = torch.optim.Adam(policy.parameters(), learning_rate, weight_decay=WEIGHT_DECAY)
    baseline, best, best_logits = 0.0, -np.inf, np.zeros(len(mixtures))
    for epoch in range(epochs):
        logits = policy(sequence)
        distribution = torch.distributions.Bernoulli(logits=logits)
        actions = distribution.sample()
        values = logits.detach().double().numpy()
        picked = np.flatnonzero(actions.numpy()) if variant == "paper" else np.argsort(-values, kind="stable")[:budget]
        gain = reward(mixtures, picked)
        if gain > best:
            best, best_logits = gain, values
        if epoch == 0 and variant == "paper":
            baseline = gain
        balance = BALANCE * (logits.sigmoid().mean() - 0.5) ** 2
        loss = balance - (gain - baseline) * distribution.log_prob(actions).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        baseline = DECAY * baseline + (1 - DECAY) * gain
    if variant == "code":
        return best_logits
    with torch.no_grad():
        final: Doubles = policy(sequence).double().numpy()
    return final


def reward(mixtures: Floats, picked: npt.NDArray[np.intp]) -> float:
    """1.5 · mean pairwise divergence of the picked + 0.5 · exp(-mean squared distance to the nearest picked / 50).

    The first mean is over all ordered pairs, an image with itself among them [C]. With J(a, b) = ½ Σ (a - b)(log a -
    log b) it is Σ over the coordinates of mean(a log a) - mean(a) mean(log a): no matrix of pairs is needed. The second
    is over all N images.

    Args:
        mixtures: [N, D], > 0.
        picked: rows of the picked images; without any the reward is 0.
    """
    if not len(picked):
        return 0.0
    chosen = mixtures[picked].astype(np.float64)
    logs = np.log(chosen)
    diversity = ((chosen * logs).mean(axis=0) - chosen.mean(axis=0) * logs.mean(axis=0)).sum()
    representation = np.exp(-nearest_squares(mixtures, mixtures[picked]).mean() / SCALE)
    return float(DIVERSITY * diversity + REPRESENTATION * representation)


def nearest_squares(vectors: Floats, centres: Floats) -> Floats:
    """[N] squared distance of each vector [N, D] to the nearest centre [M, D], in blocks."""
    nearest = np.full(len(vectors), np.inf, np.float32)
    lengths, centre_lengths = (np.einsum("nd,nd->n", some, some) for some in (vectors, centres))
    for low in range(0, len(vectors), BLOCK):
        rows = slice(low, low + BLOCK)
        for first in range(0, len(centres), BLOCK):
            part = slice(first, first + BLOCK)
            squares = lengths[rows, None] + centre_lengths[part] - 2 * vectors[rows] @ centres[part].T
            nearest[rows] = np.minimum(nearest[rows], squares.min(axis=1))
    return np.maximum(nearest, 0)
