"""The policy: one LSTM scans the pool and gives each image a score; a batch is drawn by Plackett–Luce.

arXiv 2310.08387 (Agent, Action). The state that matters is a file: weights, seed and widths.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mgral.agent import scan
from mgral.config.schema import Agent
from mgral.core import random_streams
from mgral.core.errors import MgralError
from mgral.core.files import write_bytes
from mgral.core.types import Floats

COLUMNS = 32
"""Dimensions standardised at a time, so that the float64 of a large pool does not outgrow its float32."""

Precision = Literal["float32", "bfloat16"]

LEAD = 64
"""Images before its first at which a part of the scan begins, unless a scan shows that they are too few."""

PART = 8
"""Least length of a part of the scan, in leads."""


class Policy(nn.Module):
    """Scores images one after the other, each score an input of the next step.

    Step i reads [f_i ; s_{i-1}], the image's embedding and the score before (s_0 = 0); a linear decoder gives
    s_i = w·h_i + β.

    Memory of a scan with its way back, beside features and scores: about 18 KiB an image at the paper's widths
    (float32 on a CPU, measured). With ``chunk`` set, for so many images only, whatever the length of the pool; of the
    others only some states of the LSTM are kept.

    Attributes:
        lead: images before its first at which a part of the scan begins, if there are parts. It is doubled where a scan
            shows that it was too short, and is saved with the weights.
    """

    def __init__(
        self,
        dims: int,
        hidden: int,
        seed: int,
        chunk: int = 0,
        parallel: int = 1,
        precision: Precision = "float32",
        lead: int = LEAD,
    ) -> None:
        """Make an untrained policy.

        Args:
            dims: width of the embeddings (paper: 256).
            hidden: width of the LSTM's state (paper: 257).
            seed: decides the initial weights and the order of the scan; the global generator is untouched.
            chunk: images whose activations are kept at a time; 0 for all.
            parallel: parts of the scan that may run side by side; 1 for one chain of steps.
            precision: of the LSTM's arithmetic in parts of a scan; the sums over scores are float64 either way.
            lead: to begin with.
        """
        super().__init__()
        self.dims, self.hidden, self.seed, self.chunk = dims, hidden, seed, chunk
        self.parallel, self.precision, self.lead = parallel, precision, lead
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(random_streams.stream(seed, "policy weights"))
            self.lstm = nn.LSTM(dims + 1, hidden)
            self.decoder = nn.Linear(hidden, 1)

    @classmethod
    def of(cls, agent: Agent, dims: int, seed: int) -> Policy:
        """An untrained policy as the section ``agent`` of the parameters describes it."""
        return cls(dims, agent.hidden, seed, agent.chunk, agent.parallel, agent.precision)

    def forward(self, features: Tensor) -> Tensor:
        """Scores of a sequence of images.

        A long sequence is scanned in up to ``parallel`` parts side by side (:mod:`mgral.agent.scan`), each at least
        :data:`PART` times as long as its ``lead``; a short one in one chain of steps. Both are the whole scan, up to
        rounding. For the way back use :meth:`backward`, which scans again where ``lead`` was too short for it.

        Args:
            features: [N, dims], see :func:`sequence`.

        Returns:
            [N], s_1 … s_N.
        """
        while (parts := min(self.parallel, len(features) // (PART * self.lead))) > 1:
            steps = max(self.chunk // parts, 1) if self.chunk else 0
            layout = scan.Layout(parts, self.lead, steps, self._dtype(features))
            try:
                return scan.side_by_side(features, self._weights(), layout, self.training)
            except scan.TooShortError:
                self.lead *= 2
        return self._chain(features)

    @torch.no_grad()
    def in_shards(self, shards: Iterable[Tensor]) -> Iterator[Tensor]:
        """Scores of a sequence that comes in pieces, piece by piece: those of the whole scan, up to rounding.

        Args:
            shards: [n, dims] each, one after the other; any n.
        """
        state: scan.State | None = None
        for features in shards:
            scores, state = self._continued(features, state)
            yield scores

    def _continued(self, features: Tensor, state: scan.State | None) -> tuple[Tensor, scan.State]:
        """Scores of the images that follow on a state, and the state after them."""
        while (parts := min(self.parallel, len(features) // (PART * self.lead))) > 1:
            whole = len(features) - len(features) % parts
            try:
                layout = scan.Layout(parts, self.lead, 0, self._dtype(features))
                scores, state = scan.continued(features[:whole], self._weights(), layout, state)
            except scan.TooShortError:
                self.lead *= 2
                continue
            if whole == len(features):
                return scores, state
            rest, state = self._scan(features[whole:], state)
            return torch.cat([scores, rest]), state
        return self._scan(features, state)

    def _dtype(self, features: Tensor) -> torch.dtype:
        return torch.bfloat16 if self.precision == "bfloat16" else features.dtype

    def backward(self, features: Tensor, scores: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
        """Add the gradient of a loss to the weights' ``grad``.

        Args:
            features: [N, dims].
            scores: [N], what :meth:`forward` made of them.
            loss: of such scores; called again, after another scan, each time that ``lead`` turns out too short.

        Returns:
            The loss.
        """
        while True:
            value = loss(scores)
            try:
                value.backward()
            except scan.TooShortError:
                self.lead *= 2
                scores = self(features)
            else:
                return value.detach()

    def _weights(self) -> list[Tensor]:
        return [*self.lstm.all_weights[0], self.decoder.weight, self.decoder.bias]

    def _chain(self, features: Tensor) -> Tensor:
        """One chain of steps, ``chunk`` after ``chunk``.

        The state is carried from chunk to chunk, and so is its gradient on the way back: nothing is truncated.
        A chunk's activations are dropped after its scores and computed again when the gradient comes to it
        (checkpointing; Chen et al. 2016), which is what truncation would need as well, so exactness costs nothing.
        """
        state: scan.State | None = None
        if not 0 < self.chunk < len(features):
            return self._scan(features, state)[0]
        scores = []
        for chunk in features.split(self.chunk):
            part, state = checkpoint(self._scan, chunk, state, use_reentrant=False, preserve_rng_state=False)
            scores.append(part)
        return torch.cat(scores)

    def _scan(self, features: Tensor, state: scan.State | None) -> tuple[Tensor, scan.State]:
        """Scores of the images that follow on ``state``, (h, c) [1, 1, hidden] each, and the state after them.

        The loop over steps is folded into one call of the LSTM kernel, with exact gradients
        (:func:`mgral.agent.scan.step_weights`).
        """
        weights, beta = scan.step_weights(self._weights())
        later = features.new_ones(len(features), 1)
        if state is None:
            later[0] = 0
            state = features.new_zeros(1, 1, self.hidden), features.new_zeros(1, 1, self.hidden)
        inputs = torch.cat([features, later * beta], dim=1).unsqueeze(1)  # [N, 1 sequence, dims + 1]
        outputs, state = scan.lstm(inputs, state, weights, self.training)
        scores: Tensor = self.decoder(outputs).view(-1)
        return scores, state

    def save(self, path: str | Path) -> None:
        """Write ``agent.safetensors``."""
        # One entry only: safetensors does not keep the order of several, and the bytes should repeat.
        names = ("dims", "hidden", "seed", "chunk", "parallel", "precision", "lead")
        shape = {name: getattr(self, name) for name in names}
        about = {"policy": json.dumps(shape)}
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        write_bytes(path, save(tensors, about))

    @classmethod
    def load(cls, path: str | Path) -> Policy:
        """Read ``agent.safetensors``.

        Raises:
            MgralError: the file is missing, damaged or holds something else.
        """
        if not Path(path).is_file():
            raise MgralError(f"{path}: no such file; train an agent with `mgral search`")
        try:
            with safe_open(path, framework="pt") as file:
                policy = cls(**json.loads((file.metadata() or {})["policy"]))
                policy.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError):
            raise MgralError(f"{path}: not the weights of an agent; make it again with `mgral search`") from None
        return policy


def sequence(ids: Iterable[int], embeddings: Seen, policy: Policy) -> tuple[list[int], Tensor]:
    """What the policy scans: the images in an order that its seed and the set of ids decide.

    Args:
        ids: images to scan, in any order.
        embeddings: of the whole pool.
        policy: gives the seed and the width.

    Returns:
        Ids in the order of the scan, and their features [N, dims] float32.

    Raises:
        MgralError: no ids, an id without embedding, or embeddings of another width than the policy's.
    """
    features = Features(embeddings, policy)
    ordered = scan_order(ids, policy)
    return ordered, features.of(ordered)


def scan_order(ids: Iterable[int], policy: Policy) -> list[int]:
    """The order in which the policy scans some images. Raises MgralError if there are none."""
    ordered = sorted(ids)
    if not ordered:
        raise MgralError("no unlabelled image is left to scan; end the experiment here or add images")
    return [ordered[k] for k in random_streams.generator(policy.seed, "scan order").permutation(len(ordered))]


class Seen(Protocol):
    """What a policy reads of images, a row each: :class:`mgral.core.types.Embeddings`, or numbers beside them."""

    @property
    def width(self) -> int:
        """Numbers of a row."""
        ...

    def rows(self, ids: Sequence[int]) -> Floats:
        """[len(ids), width], a copy, in the order asked for. Raises MgralError for an image without row."""
        ...

    def columns(self, some: slice) -> Floats:
        """[N, …] some columns of all images."""
        ...


class Features:
    """What the policy reads of images: their embeddings, standardised.

    Each dimension has mean 0 and standard deviation 1 over the whole pool (a constant dimension becomes 0), so that the
    LSTM's gates are not saturated by the detector's scale.

    Raises:
        MgralError: embeddings of another width than the policy's.
    """

    def __init__(self, embeddings: Seen, policy: Policy) -> None:
        if embeddings.width != policy.dims:
            raise MgralError(
                f"embeddings are {embeddings.width} wide, the agent reads {policy.dims}; "
                "use the embeddings it was trained with"
            )
        self._embeddings = embeddings
        self._mean, self._scale = np.zeros(policy.dims), np.ones(policy.dims)
        for columns in _columns(policy.dims):
            pool = embeddings.columns(columns).astype(np.float64)
            self._mean[columns], self._scale[columns] = pool.mean(axis=0), pool.std(axis=0)

    def of(self, ids: Sequence[int]) -> Tensor:
        """[n, dims] float32, in the order of ``ids``. Raises MgralError for an id without embedding."""
        features = self._embeddings.rows(ids)
        constant = self._scale <= 1e-6 * np.abs(self._mean)
        scale = np.where(constant, 1, self._scale)
        for columns in _columns(features.shape[1]):
            standard = (features[:, columns] - self._mean[columns]) / scale[columns]
            features[:, columns] = np.where(constant[columns], 0, standard)
        return torch.from_numpy(features)


def _columns(dims: int) -> list[slice]:
    return [slice(start, start + COLUMNS) for start in range(0, dims, COLUMNS)]


def sample(scores: Tensor, size: int, subsets: int, generator: torch.Generator) -> Tensor:
    """Draw ordered subsets by Plackett–Luce: one image after the other, each by softmax over those left.

    Gumbel-top-k (Kool et al. 2019): the ``size`` largest of s_i + Gumbel noise, in descending order.

    Args:
        scores: [N].
        size: images in a subset, 1..N.
        subsets: number of independent subsets.
        generator: source of the noise, on the CPU.

    Returns:
        [subsets, size] int64, positions in ``scores`` in the order drawn.
    """
    noise = torch.empty(subsets, len(scores), dtype=torch.float64).exponential_(generator=generator)
    keys = scores.detach().double() - noise.log().to(scores.device)  # -log of an exponential is a Gumbel
    return keys.topk(size, dim=1).indices


def log_probability(scores: Tensor, subsets: Tensor) -> Tensor:
    """Log-probability of ordered subsets, exact: Σ_k (s_(k) − logsumexp of the scores not yet taken).

    The scores never taken enter by one logsumexp, those taken by a running one from the last to the first:
    O(N) memory a subset. Computed in float64, since a batch of 1,000 sums to about −10⁴.

    Args:
        scores: [N]; gradients flow to them.
        subsets: [K, b] int64, positions in the order drawn, as from :func:`sample`.

    Returns:
        [K] float64.
    """
    scores = scores.double()
    last_first = scores[subsets].flip(1)  # [K, b]
    if subsets.shape[1] == len(scores):
        remaining = last_first.logcumsumexp(1)
    else:
        every = scores.expand(len(subsets), -1)  # [K, N]
        taken = torch.zeros_like(every, dtype=torch.bool).scatter_(1, subsets, True)
        rest = every.masked_fill(taken, -torch.inf).logsumexp(1, keepdim=True)  # [K, 1]
        remaining = torch.cat([rest, last_first], dim=1).logcumsumexp(1)[:, 1:]
    return (last_first - remaining).sum(1)
