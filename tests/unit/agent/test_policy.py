"""The scan against a loop over its steps, and Plackett–Luce against sums over all ordered draws."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mgral.agent.policy import Policy, log_probability, sample, sequence
from mgral.core.errors import MgralError
from mgral.core.types import Embeddings


def scan_by_steps(policy: Policy, features: Tensor) -> Tensor:
    """The paper's loop, one step at a time: h_i, c_i = LSTM([f_i ; s_{i-1}], h_{i-1}, c_{i-1})."""
    lstm = policy.lstm
    h = c = features.new_zeros(policy.hidden)
    score = features.new_zeros(1)
    scores = []
    for feature in features:
        x = torch.cat([feature, score])
        gates = lstm.weight_ih_l0 @ x + lstm.bias_ih_l0 + lstm.weight_hh_l0 @ h + lstm.bias_hh_l0
        i, f, g, o = gates.chunk(4)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        score = policy.decoder(h)
        scores.append(score)
    return torch.cat(scores)


@pytest.mark.parametrize("length", [1, 2, 37])
def test_the_scan_is_the_loop_with_its_gradients(length: int) -> None:
    torch.manual_seed(0)
    policy = Policy(dims=6, hidden=9, seed=4).double()
    features = torch.randn(length, 6, dtype=torch.float64)
    weight = torch.randn(length, dtype=torch.float64)  # so that each score has a gradient of its own
    gradients = []
    scores = [policy(features), scan_by_steps(policy, features)]
    assert scores[0].shape == (length,)
    assert torch.allclose(scores[0], scores[1], rtol=0, atol=1e-10)
    for one in scores:
        policy.zero_grad()
        (one * weight).sum().backward()
        gradients.append({name: p.grad.clone() for name, p in policy.named_parameters() if p.grad is not None})
    assert len(gradients[0]) == 6
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], rtol=0, atol=1e-10), name
        assert length < 3 or gradient.abs().max() > 1e-6, name  # none is trivially right


@pytest.mark.parametrize("chunk", [1, 5, 36, 37])
def test_a_scan_in_chunks_is_the_same_scan(chunk: int) -> None:
    """The loop over steps again: 37 images in chunks, the last one shorter or not there at all."""
    torch.manual_seed(0)
    policy = Policy(dims=6, hidden=9, seed=4, chunk=chunk).double()
    features = torch.randn(37, 6, dtype=torch.float64)
    weight = torch.randn(37, dtype=torch.float64)
    expected = scan_by_steps(policy, features)
    assert torch.allclose(policy(features), expected, rtol=0, atol=1e-12)
    with torch.no_grad():
        assert torch.allclose(policy(features), expected, rtol=0, atol=1e-12)
    parameters = list(policy.parameters())
    exact = torch.autograd.grad((expected * weight).sum(), parameters)
    chunked = torch.autograd.grad((policy(features) * weight).sum(), parameters)
    for one, other in zip(chunked, exact, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-10)


def test_chunks_in_single_precision() -> None:
    torch.manual_seed(0)
    features = torch.randn(300, 256)
    whole, chunked = Policy(256, 257, 0)(features), Policy(256, 257, 0, chunk=64)(features)
    assert torch.allclose(chunked, whole, rtol=0, atol=1e-6)
    assert torch.equal(chunked, Policy(256, 257, 0, chunk=64)(features))


def test_chunks_keep_no_activations_of_the_pool() -> None:
    """What autograd holds between the way there and the way back, beside the features themselves."""

    def held(chunk: int, length: int) -> int:
        policy, features = Policy(16, 32, 0, chunk), torch.randn(length, 16)
        sizes: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() != features.untyped_storage().data_ptr():
                sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            policy(features)
        return sum(sizes.values())

    assert held(0, 4000) > 10 * held(100, 4000)


def test_published_widths() -> None:
    policy = Policy(dims=256, hidden=257, seed=0)
    assert policy.lstm.weight_ih_l0.shape == (4 * 257, 257)
    assert policy(torch.zeros(5, 256)).shape == (5,)


def test_a_scan_repeats_to_the_last_bit() -> None:
    policy, features = Policy(256, 257, 0), torch.randn(300, 256)
    first = policy(features)
    assert torch.equal(first, policy(features))
    with torch.no_grad():  # another kernel where there is no gradient to prepare
        selection = policy(features)
        assert torch.equal(selection, policy(features))
    assert torch.allclose(first, selection, rtol=0, atol=1e-5)


def test_weights_depend_on_the_seed_and_nothing_else() -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    one = Policy(5, 7, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(1)
    same, other = Policy(5, 7, seed=3), Policy(5, 7, seed=4)
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, same.state_dict()[name])
        assert not torch.equal(weight, other.state_dict()[name])


def pool(*ids: int, dims: int = 5) -> Embeddings:
    rng = np.random.default_rng(0)
    return Embeddings(np.array(ids), (7 + 3 * rng.normal(size=(len(ids), dims))).astype(np.float32))


def test_the_order_of_the_scan_depends_on_seed_and_set() -> None:
    embeddings = pool(*range(1, 41))
    ids, features = sequence(range(5, 41), embeddings, Policy(5, 7, 0))
    again, same = sequence(reversed(range(5, 41)), embeddings, Policy(5, 7, 0))
    other, _ = sequence(range(5, 41), embeddings, Policy(5, 7, 1))
    assert ids == again
    assert torch.equal(features, same)
    assert sorted(ids) == sorted(other) == list(range(5, 41))
    assert ids != other
    assert ids != sorted(ids)


def test_features_are_standardised_over_the_pool() -> None:
    # First dimension 1 and 3: mean 2, standard deviation 1. The second is constant.
    embeddings = Embeddings(np.array([4, 9]), np.array([[1, 0.1], [3, 0.1]], np.float32))
    ids, features = sequence([9, 4], embeddings, Policy(2, 3, 0))
    assert dict(zip(ids, features.tolist(), strict=True)) == {4: [-1, 0], 9: [1, 0]}
    _, only = sequence([9], embeddings, Policy(2, 3, 0))
    assert only.tolist() == [[1, 0]]  # the whole pool, not the images scanned


def test_sequences_that_cannot_be_scanned() -> None:
    policy, embeddings = Policy(5, 7, 0), pool(1, 2, 3)
    with pytest.raises(MgralError, match="image 8 has no embedding"):
        sequence([1, 8], embeddings, policy)
    with pytest.raises(MgralError, match="embeddings are 4 wide, the agent reads 5"):
        sequence([1], pool(1, 2, dims=4), policy)
    with pytest.raises(MgralError, match="no unlabelled image"):
        sequence([], embeddings, policy)


def test_a_saved_policy_is_the_same_policy(tmp_path: Path) -> None:
    policy = Policy(6, 9, 2**62 + 1, chunk=5, parallel=3, precision="bfloat16", lead=4)
    features = torch.randn(200, 6)
    policy.save(tmp_path / "agent.safetensors")
    loaded = Policy.load(tmp_path / "agent.safetensors")
    assert (loaded.dims, loaded.hidden, loaded.seed, loaded.chunk) == (6, 9, 2**62 + 1, 5)
    assert (loaded.parallel, loaded.precision, loaded.lead) == (3, "bfloat16", policy.lead)
    loaded.save(tmp_path / "again.safetensors")
    assert torch.equal(loaded(features), policy(features))
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "agent.safetensors").read_bytes()


def test_files_that_hold_no_agent(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "agent.safetensors"
    with pytest.raises(MgralError, match=r"agent\.safetensors: no such file"):
        Policy.load(path)
    Policy(3, 4, 0).save(path)
    whole = path.read_bytes()
    for content in (b"", b"not an agent", whole[:-5]):
        path.write_bytes(content)
        with pytest.raises(MgralError, match=r"agent\.safetensors: not the weights of an agent"):
            Policy.load(path)
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(MgralError, match="not the weights of an agent"):
        Policy.load(path)
    save_file({"weight": torch.zeros(2)}, path, {"policy": '{"dims": 3, "hidden": 4, "seed": 0}'})
    with pytest.raises(MgralError, match="not the weights of an agent"):
        Policy.load(path)


def test_log_probability_of_three_images() -> None:
    # Weights e^s = 1, 2, 5. Image 2, then image 0: 5/8 * 1/3 = 5/24. Image 1, then 2: 2/8 * 5/6 = 5/24.
    # Image 0 alone: 1/8.
    scores = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64).log()
    pairs = log_probability(scores, torch.tensor([[2, 0], [1, 2]]))
    assert pairs.tolist() == pytest.approx([math.log(5 / 24)] * 2)
    assert log_probability(scores, torch.tensor([[0]])).tolist() == pytest.approx([math.log(1 / 8)])


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_all_ordered_draws_sum_to_one(size: int) -> None:
    scores = torch.tensor([0.3, -2.0, 4.0, 1.0], dtype=torch.float64)
    draws = torch.tensor(list(itertools.permutations(range(4), size)))
    assert log_probability(scores, draws).exp().sum().item() == pytest.approx(1)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_gradient_of_the_log_probability(size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(5, dtype=torch.float64, generator=generator, requires_grad=True)
    subsets = torch.tensor([[4, 0, 2, 1, 3], [1, 2, 3, 0, 4]])[:, :size]
    assert torch.autograd.gradcheck(lambda s: log_probability(s, subsets), (scores,))


def test_log_probability_of_far_apart_scores_is_finite() -> None:
    # Drawing the image of weight e^-1000 first costs 1000 each time; the one of weight 1 then is certain.
    scores = torch.tensor([0.0, -1000.0, -2000.0], requires_grad=True)
    value = log_probability(scores, torch.tensor([[1, 0]]))
    value.sum().backward()
    assert value.tolist() == pytest.approx([-1000])
    # d/ds of s_1 - logsumexp(all) + s_0 - logsumexp(s_0, s_2) = (1 - 1 - 1, 1, 0)
    assert scores.grad is not None
    assert scores.grad.tolist() == pytest.approx([-1, 1, 0])


def test_draws_follow_plackett_luce() -> None:
    scores = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64).log()
    drawn = sample(scores, 2, 60_000, torch.Generator().manual_seed(5))
    assert drawn.shape == (60_000, 2)
    for pair in itertools.permutations(range(3), 2):
        expected = log_probability(scores, torch.tensor([pair])).exp().item()
        share = (drawn == torch.tensor(pair)).all(1).double().mean().item()
        # standard error below sqrt(0.25 / 60,000) = 0.002
        assert share == pytest.approx(expected, abs=0.008)


def test_a_draw_repeats_by_its_generator_and_never_an_image() -> None:
    scores = torch.randn(50, requires_grad=True)
    first = sample(scores, 50, 3, torch.Generator().manual_seed(1))
    assert torch.equal(first, sample(scores, 50, 3, torch.Generator().manual_seed(1)))
    assert not torch.equal(first, sample(scores, 50, 3, torch.Generator().manual_seed(2)))
    assert not torch.equal(first[0], first[1])
    assert first.sort(1).values.tolist() == [list(range(50))] * 3
