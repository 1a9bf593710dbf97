"""The scan of the policy, as one chain of steps or as chunks of it side by side.

An LSTM forgets. A chunk of the scan that begins ``lead`` images early, from a zero state, arrives at its first image
with the state that the whole scan has there, up to rounding. So K chunks run as one batch, and several such batches in
threads. Whether the chunks did arrive is checked each time, so the result is that of the whole scan whatever the
weights: see :func:`side_by_side`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

State = tuple[Tensor, Tensor]
"""(h, c), [1, chunks, hidden] each."""

Weights = Sequence[Tensor]
"""W_ih [4 hidden, dims + 1], W_hh [4 hidden, hidden], b_ih, b_hh [4 hidden], w [1, hidden] and β [1] of the decoder."""

GROUP = 8
"""Chunks a batch on a CPU. A thread runs one batch at a time with kernels of one thread, so the number of threads
changes nothing in the result."""

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-6, torch.bfloat16: 2.0**-6}
"""Largest difference at a border between two chunks. bfloat16: two units in the last place of numbers near 1."""

T = TypeVar("T")


class TooShortError(Exception):
    """The chunks begin too close to their first image: the LSTM had not yet forgotten."""


@dataclass(frozen=True)
class Layout:
    """How a scan is split.

    Attributes:
        chunks: K, how many run side by side.
        lead: images before a chunk's first at which it begins.
        steps: scanned between two kept states when there is a way back; 0: keep the activations of all.
        dtype: of the LSTM's arithmetic.
    """

    chunks: int
    lead: int
    steps: int
    dtype: torch.dtype


@dataclass(frozen=True)
class Batch:
    """Chunks that ran as one batch.

    Attributes:
        leaves: the weights that its gradients are for.
        zero: states at the first image of the leads.
        border: states at the first image of the chunks.
        end: states after the last image of the chunks, without gradient.
        scores: [length, chunks].
    """

    leaves: list[Tensor]
    zero: State
    border: State
    end: State
    scores: Tensor


def step_weights(weights: Weights) -> tuple[list[Tensor], Tensor]:
    """The LSTM's weights with the score's way into the next step folded in, and β.

    Step i reads [f_i ; s_{i-1}] with s_{i-1} = w·h_{i-1} + β. With w_s the column of W_ih that meets the score,

        w_s · s_{i-1} = (w_s wᵀ) h_{i-1} + w_s β,

    so W_hh + w_s wᵀ takes the place of W_hh, and the constant β that of the score in the input. At the first step of
    the pool both vanish: h_0 = 0, and the input is 0.
    """
    w_ih, w_hh, b_ih, b_hh, w, beta = weights
    return [w_ih, w_hh + w_ih[:, -1:] @ w, b_ih, b_hh], beta


def lstm(inputs: Tensor, state: State, weights: list[Tensor], training: bool) -> tuple[Tensor, State]:
    """[steps, chunks, hidden] outputs and the state after them, by one call of the kernel."""
    outputs, h, c = torch.lstm(inputs, state, weights, True, 1, 0.0, training, False, False)
    return outputs, (h, c)


def side_by_side(features: Tensor, weights: Weights, layout: Layout, training: bool) -> Tensor:
    """Scores [N] of the whole scan, from its chunks.

    The state with which each chunk arrives at its first image is compared with the state at the end of the chunk
    before. On the way back, the gradient that leaves each chunk at the beginning of its lead, and that nobody receives,
    is compared with the largest at the borders.

    Args:
        features: [N, dims]; no gradient flows to them.
        weights: see :data:`Weights`.
        layout: how to split; ``lead`` is at most the length of a chunk.
        training: prepare for the way back.

    Raises:
        TooShortError: from here or from the way back, a difference is above :data:`TOLERANCE`; double ``lead``.
    """
    if torch.is_grad_enabled() and any(weight.requires_grad for weight in weights):
        scores: Tensor = _SideBySide.apply(features, layout, training, *weights)
        return scores
    batches = _run(features, [weight.detach() for weight in weights], layout, training)
    return _joined(batches, len(features))


def continued(features: Tensor, weights: Weights, layout: Layout, state: State | None) -> tuple[Tensor, State]:
    """Scores of the images that follow on a state, without a way back, and the state after them.

    Args:
        features: [N, dims], N a multiple of ``layout.chunks``.
        weights: see :data:`Weights`.
        layout: how to split; ``lead`` is at most the length of a chunk.
        state: [1, 1, hidden] each; None: nothing comes before.

    Raises:
        TooShortError: as for :func:`side_by_side`.
    """
    if len(features) % layout.chunks:
        raise ValueError(f"{len(features)} images are no multiple of {layout.chunks} chunks")
    batches = _run(features, [weight.detach() for weight in weights], layout, training=False, before=state)
    h, c = (end[:, -1:].to(features.dtype) for end in batches[-1].end)
    return _joined(batches, len(features)), (h, c)


class _SideBySide(torch.autograd.Function):
    """Forward and backward of each batch of chunks in a thread of its own; sums over batches go in their order."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, layout: Layout, training: bool, *weights: Tensor) -> Tensor:
        ctx.layout = layout
        with torch.enable_grad():
            ctx.batches = _run(features, weights, layout, training, leaves=True)
        return _joined(ctx.batches, len(features))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scores: Tensor) -> tuple[Tensor | None, ...]:
        layout, batches = ctx.layout, ctx.batches
        ctx.batches = None
        length = len(batches[0].scores)
        padded = scores.new_zeros(layout.chunks * length)
        padded[: len(scores)] = scores
        spread = padded.view(layout.chunks, length).t()  # [length, K]
        parts = spread.split([batch.scores.shape[1] for batch in batches], dim=1)

        def gradients(k: int) -> tuple[Tensor, ...]:
            batch, wanted = batches[k], [*batches[k].leaves, *batches[k].zero, *batches[k].border]
            return torch.autograd.grad(batch.scores, wanted, parts[k], materialize_grads=True)

        found = _in_threads(gradients, len(batches), scores.device)
        count = len(batches[0].leaves)
        left = max(float(state.abs().max()) for some in found for state in some[count : count + 2])
        largest = max(float(state.abs().max()) for some in found for state in some[count + 2 :])
        if left > TOLERANCE[layout.dtype] * largest:
            raise TooShortError
        return None, None, None, *(torch.stack(some).sum(0) for some in zip(*(f[:count] for f in found), strict=True))


def _run(
    features: Tensor,
    weights: Weights,
    layout: Layout,
    training: bool,
    leaves: bool = False,
    before: State | None = None,
) -> list[Batch]:
    """The batches of chunks, checked at their borders; ``before`` is the state before the first image."""
    size = layout.chunks if features.is_cuda else GROUP
    length = -(-len(features) // layout.chunks)
    firsts = range(0, layout.chunks, size)

    def batch(k: int) -> Batch:
        chunks = range(firsts[k], min(firsts[k] + size, layout.chunks))
        own = [weight.detach().requires_grad_() for weight in weights] if leaves else list(weights)
        with torch.set_grad_enabled(leaves):
            return _batch(features, chunks, length, own, layout, training, before)

    batches = _in_threads(batch, len(firsts), features.device)
    for at in (0, 1):
        border = torch.cat([batch.border[at] for batch in batches], dim=1)[:, 1:].detach().double()
        end = torch.cat([batch.end[at] for batch in batches], dim=1)[:, :-1].detach().double()
        if not bool(((border - end).abs() <= TOLERANCE[layout.dtype] * end.abs().clamp(min=1)).all()):
            raise TooShortError
    return batches


def _batch(
    features: Tensor,
    chunks: range,
    length: int,
    weights: list[Tensor],
    layout: Layout,
    training: bool,
    before: State | None,
) -> Batch:
    """Some neighbouring chunks of ``length`` images each as one batch."""
    grad, hidden = torch.is_grad_enabled(), weights[1].shape[1]

    def scan(begin: int, end: int, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Steps begin … end - 1 of every chunk, counted from its first image."""
        lstm_weights, beta = step_weights(weights)
        later = features.new_ones(end - begin, len(chunks), 1)
        if chunks[0] == 0 and begin == 0 and before is None:
            later[0, 0] = 0
        inputs = torch.cat([_window(features, chunks, length, begin, end), later * beta], dim=2).to(layout.dtype)
        outputs, state = lstm(inputs, (h, c), [one.to(layout.dtype) for one in lstm_weights], training)
        return torch.nn.functional.linear(outputs.to(features.dtype), weights[4], weights[5])[..., 0], *state

    def kept(begin: int, end: int, state: State) -> tuple[Tensor, State]:
        if not (grad and layout.steps):
            scores, h, c = scan(begin, end, *state)
        else:
            scores, h, c = checkpoint(scan, begin, end, *state, use_reentrant=False, preserve_rng_state=False)
        return scores, (h, c)

    zero = tuple(features.new_zeros(1, len(chunks), hidden, dtype=layout.dtype, requires_grad=grad) for _ in "hc")
    _, (h, c) = kept(-layout.lead, 0, (zero[0], zero[1]))
    begins = torch.ones(1, len(chunks), 1, dtype=layout.dtype, device=features.device)
    if chunks[0] == 0:  # the lead before the first image is not what came before it
        begins[0, 0] = 0
    border = h * begins, c * begins
    if chunks[0] == 0 and before is not None:
        first = 1 - begins
        border = border[0] + first * before[0].to(layout.dtype), border[1] + first * before[1].to(layout.dtype)
    state = border
    parts = []
    steps = layout.steps or length
    for begin in range(0, length, steps):
        scores, state = kept(begin, min(begin + steps, length), state)
        parts.append(scores)
    end = state[0].detach(), state[1].detach()
    return Batch(weights, (zero[0], zero[1]), border, end, torch.cat(parts))


def _window(features: Tensor, chunks: range, length: int, begin: int, end: int) -> Tensor:
    """[steps, chunks, dims]; zero before the first image and after the last."""
    window = features.new_zeros(end - begin, len(chunks), features.shape[1])
    for k, chunk in enumerate(chunks):
        low, high = chunk * length + begin, chunk * length + end
        some = features[max(low, 0) : max(high, 0)]
        skipped = min(max(-low, 0), end - begin)
        window[skipped : skipped + len(some), k] = some
    return window


def _joined(batches: Sequence[Batch], count: int) -> Tensor:
    scores = torch.cat([batch.scores.detach() for batch in batches], dim=1)  # [length, K]
    return scores.t().reshape(-1)[:count].contiguous()


def _in_threads(work: Callable[[int], T], count: int, device: torch.device) -> list[T]:
    """``work(0)`` … ``work(count - 1)``, each with kernels of one thread, on as many threads as torch may use."""
    threads = torch.get_num_threads()
    if device.type != "cpu":
        return [work(k) for k in range(count)]
    try:
        if threads == 1 or count == 1:
            torch.set_num_threads(1)
            return [work(k) for k in range(count)]
        with ThreadPoolExecutor(min(threads, count), initializer=lambda: torch.set_num_threads(1)) as pool:
            return list(pool.map(work, range(count)))
    finally:
        torch.set_num_threads(threads)
