"""A scan in parts side by side is the whole scan: its scores and gradients, whatever the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from mgral.agent import scan
from mgral.agent.policy import LEAD, Policy

DIMS, HIDDEN, IMAGES = 6, 9, 1_111


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def weighted(policy: Policy, features: Tensor) -> tuple[Tensor, Tensor]:
    """Scores, and the gradients of a sum in which each has a weight of its own."""
    weight = torch.randn(len(features), dtype=features.dtype, generator=torch.Generator().manual_seed(1))
    policy.zero_grad()
    scores = policy(features)
    policy.backward(features, scores, lambda scores: (scores * weight).sum())
    found = [parameter.grad for parameter in policy.parameters() if parameter.grad is not None]
    assert len(found) == 6
    return scores.detach(), torch.cat([one.flatten() for one in found])


def like(policy: Policy, **others: object) -> Policy:
    """The same weights in another layout."""
    made = Policy(policy.dims, policy.hidden, policy.seed, **others)  # type: ignore[arg-type]
    made.load_state_dict(policy.state_dict())
    return made.to(policy.decoder.weight.dtype)


def inputs(dtype: torch.dtype, count: int = IMAGES) -> Tensor:
    return torch.randn(count, DIMS, dtype=dtype, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("chunk", [0, 100])
@pytest.mark.parametrize("parallel", [2, 3, 11])
def test_parts_give_the_scores_and_gradients_of_the_whole_scan(parallel: int, chunk: int) -> None:
    features = inputs(torch.float64)
    policy = Policy(DIMS, HIDDEN, 0).double()
    parts = like(policy, parallel=parallel, chunk=chunk, lead=12)
    scores, gradients = weighted(policy, features)
    same, others = weighted(parts, features)
    assert len(features) // (8 * parts.lead) >= 2, "nothing ran side by side"
    assert torch.allclose(same, scores, rtol=0, atol=1e-6)
    assert (others - gradients).norm() <= 1e-6 * gradients.norm()
    with torch.no_grad():
        assert torch.allclose(parts(features), scores, rtol=0, atol=1e-6)


def test_single_precision_at_the_published_widths() -> None:
    features = torch.randn(2_100, 256, generator=torch.Generator().manual_seed(0))
    policy = Policy(256, 257, 0)
    scores, gradients = weighted(policy, features)
    same, others = weighted(like(policy, parallel=4), features)
    assert torch.allclose(same, scores, rtol=0, atol=1e-6)
    assert (others - gradients).norm() <= 1e-5 * gradients.norm()
    half, rough = weighted(like(policy, parallel=4, precision="bfloat16"), features)
    assert 1e-6 < (half - scores).abs().max() < 5e-3
    assert (rough - gradients).norm() <= 2e-2 * gradients.norm()


def remembering(scale: float) -> Policy:
    """A policy whose forget gates are nearly open: its state lasts some ``1 + exp(scale)`` images."""
    policy = Policy(DIMS, HIDDEN, 0).double()
    with torch.no_grad():
        policy.lstm.bias_ih_l0[HIDDEN : 2 * HIDDEN] = scale
    return policy


def test_a_lead_that_is_too_short_is_doubled_until_it_is_not() -> None:
    policy, features = remembering(1.0), inputs(torch.float64)
    scores, gradients = weighted(policy, features)
    parts = like(policy, parallel=8, lead=4)
    same, others = weighted(parts, features)
    assert 4 < parts.lead <= IMAGES // 16, "not doubled, or so often that the scan is in one chain"
    assert torch.allclose(same, scores, rtol=0, atol=1e-5)
    assert (others - gradients).norm() <= 1e-5 * gradients.norm()


def test_a_policy_that_does_not_forget_is_scanned_in_one_chain() -> None:
    policy, features = remembering(20.0), inputs(torch.float64)
    parts = like(policy, parallel=8, lead=4)
    assert torch.equal(parts(features), policy(features))
    assert parts.lead > IMAGES // 16


def test_a_gradient_that_outlasts_the_lead_is_noticed_on_the_way_back() -> None:
    """Scores of zero width at the border hide that the state differs; what flows back does not."""
    policy, features = remembering(20.0), inputs(torch.float64)
    with torch.no_grad():  # every cell gets nothing in, so all states are 0, but gradients pass undiminished
        policy.lstm.weight_ih_l0[2 * HIDDEN : 3 * HIDDEN] = 0
        policy.lstm.weight_hh_l0[2 * HIDDEN : 3 * HIDDEN] = 0
        policy.lstm.bias_ih_l0[2 * HIDDEN : 3 * HIDDEN] = 0
        policy.lstm.bias_hh_l0[2 * HIDDEN : 3 * HIDDEN] = 0
        policy.decoder.bias[:] = 0
    scores, gradients = weighted(policy, features)
    parts = like(policy, parallel=8, lead=4)
    assert torch.equal(parts(features), scores)
    assert parts.lead == 4
    _, others = weighted(parts, features)
    assert parts.lead > 4
    assert (others - gradients).norm() <= 1e-6 * gradients.norm()


def test_the_number_of_threads_changes_no_bit() -> None:
    features = inputs(torch.float32, 5_000)
    found = []
    for count in (1, 2, 3):
        with threads(count):
            policy = Policy(DIMS, HIDDEN, 0, parallel=20, lead=16)
            found.append(weighted(policy, features))
            with torch.no_grad():
                found[-1] = (*found[-1], policy(features))  # type: ignore[assignment]
            assert torch.get_num_threads() == count
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


def test_short_sequences_are_one_chain() -> None:
    """Below 16 leads nothing runs side by side, so results of small pools keep every bit."""
    features = inputs(torch.float32, 16 * LEAD - 1)
    policy = Policy(DIMS, HIDDEN, 0)
    assert torch.equal(like(policy, parallel=64)(features), policy(features))


def test_activations_of_a_chunk_only_are_kept() -> None:
    """What a scan in parts holds for its way back, by the sizes of what its backward would read."""

    def held(chunk: int) -> int:
        sizes: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        features = inputs(torch.float32, 4_000)
        weights = [weight.requires_grad_() for weight in Policy(DIMS, HIDDEN, 0)._weights()]
        layout = scan.Layout(4, 32, chunk // 4, torch.float32)
        with threads(1), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            batches = scan._run(features, weights, layout, True, leaves=True)
        return sum(sizes.values()) + 0 * len(batches)

    assert held(0) > 5 * held(100)
