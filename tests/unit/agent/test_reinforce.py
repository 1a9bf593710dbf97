"""REINFORCE by hand on two images, on a reward that is known, and killed half-way."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rewards import Batch, Known, pool, settings
from tables import params

from mgral.agent import reinforce
from mgral.agent.policy import Policy, sample, sequence
from mgral.core import random_streams
from mgral.core.errors import MgralError
from mgral.core.types import Embeddings, Record
from mgral.reward.lookup_table import LookupTable

pytestmark = pytest.mark.slow


def test_gradient_of_a_two_armed_bandit() -> None:
    # Scores ln 3 and ln 1: pi = (3/4, 1/4). Arm 0 was drawn with advantage +0.2, arm 1 with -0.4.
    # d log pi(k) / ds = onehot(k) - pi: (1/4, -1/4) and (-3/4, 3/4).
    # Loss gradient: -(0.2 * (1/4, -1/4) - 0.4 * (-3/4, 3/4)) / 2 = -(0.35, -0.35) / 2 = (-0.175, 0.175).
    # Loss: -(0.2 * ln(3/4) - 0.4 * ln(1/4)) / 2.
    scores = torch.tensor([3.0, 1.0], dtype=torch.float64).log().requires_grad_()
    loss = reinforce.reinforce_loss(scores, torch.tensor([[0], [1]]), np.array([0.2, -0.4]))
    loss.backward()
    assert loss.item() == pytest.approx(-(0.2 * np.log(0.75) - 0.4 * np.log(0.25)) / 2)
    assert scores.grad is not None
    assert scores.grad.tolist() == pytest.approx([-0.175, 0.175])


def test_one_iteration_is_one_analytic_step() -> None:
    """Arms worth 0.6 and 0.2: the scores' gradient by hand, then Adam's first step, lr * g / (|g| + eps)."""
    embeddings, policy = pool(2, 3), Policy(3, 4, seed=1)
    result = reinforce.run(
        policy, embeddings, [1, 2], Known(lambda b: 0.6 if b[0] == 1 else 0.2), 1, settings(1, 8), seed=2
    )

    ids, features = sequence([1, 2], embeddings, policy)
    scores = policy(features)
    noise = torch.Generator().manual_seed(random_streams.stream(2, "search", 0))
    drawn = sample(scores, 1, 8, noise)[:, 0].tolist()
    assert set(drawn) == {0, 1}
    maps = [0.6 if ids[k] == 1 else 0.2 for k in drawn]
    mean = sum(maps) / 8
    pi = scores.detach().softmax(0).double()
    gradient = sum(-(m - mean) * (torch.eye(2).double()[k] - pi) / 8 for m, k in zip(maps, drawn, strict=True))
    assert isinstance(gradient, torch.Tensor)
    scores.backward(gradient.float())

    for (name, before), after in zip(policy.named_parameters(), result.policy.parameters(), strict=True):
        assert before.grad is not None
        expected = before - 0.001 * before.grad / (before.grad.abs() + 1e-8)
        assert torch.allclose(after, expected, rtol=0, atol=2e-6), name
    better = policy(features).detach()[ids.index(1)] - policy(features).detach()[ids.index(2)]
    after_scores = result.policy(features).detach()
    assert after_scores[ids.index(1)] - after_scores[ids.index(2)] > better
    assert result.rows[0].reward == pytest.approx(mean)


def test_the_baseline_trails_by_half() -> None:
    # Iterations are worth 0.2, 0.4, 0.6. It starts at the first mean; then 0.5 * 0.2 + 0.5 * 0.2 = 0.2, then
    # 0.5 * 0.2 + 0.5 * 0.4 = 0.3.
    worth = iter([0.2, 0.4, 0.6])
    table = Known(lambda batch: next(worth))
    rows = reinforce.run(Policy(3, 4, 0), pool(5, 3), range(1, 6), table, 2, settings(3, 1), 0).rows
    assert [row.reward for row in rows] == pytest.approx([0.2, 0.4, 0.6])
    assert [row.baseline for row in rows] == pytest.approx([0.2, 0.2, 0.3])
    assert [row.average for row in rows] == pytest.approx([0.2, 0.3, 0.45])
    assert rows[0].loss == 0
    assert [(row.iteration, row.estimated, row.trained) for row in rows] == [(0, 1, 0), (1, 1, 0), (2, 1, 0)]


def test_the_leave_one_out_baseline_is_the_mean_of_the_other_batches() -> None:
    # 0.1, 0.2, 0.6: others (0.2 + 0.6) / 2, (0.1 + 0.6) / 2, (0.1 + 0.2) / 2. Advantages sum to 0.
    assert reinforce.others_mean(np.array([0.1, 0.2, 0.6])) == pytest.approx([0.4, 0.35, 0.15])
    # Equal batches: nothing to learn from the first iteration, and from the second, better one, neither; the moving
    # average would praise it.
    policy, worth = Policy(3, 4, 0), iter([0.2, 0.2, 0.4, 0.4])
    table = Known(lambda batch: next(worth))
    result = reinforce.run(policy, pool(5, 3), range(1, 6), table, 2, settings(2, 2, baseline="leave_one_out"), 0)
    assert [row.loss for row in result.rows] == [0, 0]
    assert [row.baseline for row in result.rows] == pytest.approx([0.2, 0.4])
    for name, weight in policy.state_dict().items():
        assert torch.equal(weight, result.policy.state_dict()[name])


def test_entropy_of_three_weights() -> None:
    # Weights 1, 1, 2: p = 1/4, 1/4, 1/2; H = 2 * 1/4 ln 4 + 1/2 ln 2 = 1.5 ln 2.
    # dH/ds_i = -p_i (ln p_i + H): -1/4 (-2 ln 2 + 1.5 ln 2) = ln 2 / 8, twice, and -1/2 * 0.5 ln 2 = -ln 2 / 4.
    logits = torch.tensor([1.0, 1.0, 2.0], dtype=torch.float64).log().requires_grad_()
    value = reinforce.entropy(logits)
    value.backward()
    assert value.item() == pytest.approx(1.5 * math.log(2))
    assert logits.grad is not None
    assert logits.grad.tolist() == pytest.approx([math.log(2) / 8, math.log(2) / 8, -math.log(2) / 4])


def test_the_entropy_bonus_alone_flattens_the_scores() -> None:
    # All batches are worth the same: the only gradient is the bonus's. loss = -0.5 H.
    result = reinforce.run(
        Policy(3, 8, 0), pool(9, 3), range(1, 10), Known(lambda b: 0.5), 3, settings(60, entropy_bonus=0.5), 0
    )
    assert result.rows[0].loss == pytest.approx(-0.5 * result.rows[0].entropy)
    assert result.rows[0].entropy < result.rows[-1].entropy <= math.log(9)
    assert result.rows[-1].entropy == pytest.approx(math.log(9), abs=1e-4)


def test_temperature_flattens_the_draws() -> None:
    # The scores are the same in the first iteration; at a million degrees all images are alike, at a
    # millionth the largest scores are taken each time.
    embeddings, policy, seen = pool(9, 3), Policy(3, 8, 0), []

    def worth(batch: Batch) -> float:
        seen.append(batch)
        return 0.5

    hot = reinforce.run(policy, embeddings, range(1, 10), Known(worth), 3, settings(1, 8, temperature=1e6), 0)
    assert hot.rows[0].entropy == pytest.approx(math.log(9))
    assert len(set(seen)) > 1
    seen.clear()
    cold = reinforce.run(policy, embeddings, range(1, 10), Known(worth), 3, settings(1, 8, temperature=1e-6), 0)
    assert cold.rows[0].entropy == pytest.approx(0, abs=1e-6)
    ids, features = sequence(range(1, 10), embeddings, policy)
    assert set(seen) == {tuple(sorted(ids[k] for k in policy(features).topk(3).indices.tolist()))}


def test_patience_ends_a_search_that_no_longer_improves() -> None:
    # One batch an iteration, worth 0.2, 0.4, 0.1, 0.1, …: the average goes 0.2, 0.3, 0.2, 0.15, 0.125. Its high
    # is iteration 1; the third iteration after it, 4, is the last.
    worth = iter([0.2, 0.4] + [0.1] * 8)
    table = Known(lambda batch: next(worth))
    rows = reinforce.run(Policy(3, 4, 0), pool(5, 3), range(1, 6), table, 2, settings(10, 1, patience=3), 0).rows
    assert [row.average for row in rows] == pytest.approx([0.2, 0.3, 0.2, 0.15, 0.125])


def test_patience_is_renewed_by_each_high() -> None:
    worth = iter([0.1 * t for t in range(10)])
    table = Known(lambda batch: next(worth))
    rows = reinforce.run(Policy(3, 4, 0), pool(5, 3), range(1, 6), table, 2, settings(10, 1, patience=1), 0).rows
    assert len(rows) == 10


def test_batches_have_the_size_asked_and_only_unlabelled_images() -> None:
    seen: list[Batch] = []

    def worth(batch: Batch) -> float:
        seen.append(batch)
        return 0.5

    reinforce.run(Policy(3, 4, 0), pool(9, 3), [8, 2, 5, 6], Known(worth), 3, settings(5), 0)
    assert len(seen) == 20
    assert all(len(b) == 3 and list(b) == sorted(set(b)) and set(b) <= {2, 5, 6, 8} for b in seen)
    seen.clear()
    reinforce.run(Policy(3, 4, 0), pool(9, 3), [8, 2], Known(worth), 3, settings(2), 0)
    assert set(seen) == {(2, 8)}  # fewer left than a batch


def test_the_given_policy_is_left_unchanged_and_order_is_of_no_account() -> None:
    policy, table = Policy(3, 4, 0), Known(lambda batch: batch[0] / 10)
    before = {name: weight.clone() for name, weight in policy.state_dict().items()}
    one = reinforce.run(policy, pool(9, 3), range(1, 10), table, 3, settings(5), 0)
    other = reinforce.run(policy, pool(9, 3), list(reversed(range(1, 10))), table, 3, settings(5), 0)
    assert one.rows == other.rows
    for name, weight in policy.state_dict().items():
        assert torch.equal(weight, before[name])
        assert torch.equal(one.policy.state_dict()[name], other.policy.state_dict()[name])
        assert not torch.equal(one.policy.state_dict()[name], before[name])


def far_pool() -> tuple[Embeddings, LookupTable]:
    """Images 1 and 2, which have records, at 0 and 1; images 3 … 6 from 10 on, 10 apart. Threshold: 1."""
    vectors = np.array([[0, 0], [1, 0], [10, 0], [20, 0], [30, 0], [40, 0]], np.float32)
    embeddings = Embeddings(np.arange(1, 7), vectors)
    records = [Record((1,), "random", 0.2, 1.0), Record((2,), "random", 0.3, 1.0)]
    return embeddings, LookupTable(records, embeddings, params(1))


def proxy(ids: tuple[int, ...]) -> Record:
    return Record(ids, "search", 0.1 * ids[0], 2.0)


def test_far_batches_are_trained_while_the_budget_lasts() -> None:
    embeddings, table = far_pool()
    calls: list[tuple[int, ...]] = []

    def train(ids: tuple[int, ...]) -> Record:
        calls.append(ids)
        return proxy(ids)

    result = reinforce.run(Policy(2, 4, 0), embeddings, [3, 4, 5, 6], table, 1, settings(6, 4, fallback=1), 0, train)
    assert len(calls) == 1
    assert result.added == (proxy(calls[0]),)
    assert len(table) == 3
    hit = table.price(calls)
    assert hit.value[0] == pytest.approx(proxy(calls[0]).mAP - 0.25)  # random records: (0.2 + 0.3) / 2
    assert (hit.distance[0], hit.far[0]) == (0, False)
    assert [row.trained for row in result.rows] == [2, 0, 0, 0, 0, 0]  # it was sampled twice
    assert [row.estimated for row in result.rows] == [2, 4, 4, 4, 4, 4]


def test_a_batch_that_is_sampled_twice_is_trained_once() -> None:
    embeddings, table = far_pool()
    result = reinforce.run(Policy(2, 4, 0), embeddings, [6], table, 1, settings(1, 3, fallback=3), 0, proxy)
    assert result.added == (proxy((6,)),) and len(table) == 3
    assert result.rows[0].reward == pytest.approx(0.6 - 0.25)  # each of the three has what was trained
    assert (result.rows[0].trained, result.rows[0].estimated) == (3, 0)


def test_a_trained_proxy_replaces_its_estimate() -> None:
    # One batch an iteration: the first is far, its proxy gives 0.9 where the table would say 0.3 (image 2's).
    # Gains over the random records, of mean 0.25: 0.65, and 0.05.
    embeddings, table = far_pool()
    once = reinforce.run(
        Policy(2, 4, 0), embeddings, [6], table, 1, settings(2, 1, fallback=5), 0,
        lambda ids: Record(ids, "search", 0.9, 2.0),
    )  # fmt: skip
    assert [row.reward for row in once.rows] == pytest.approx([0.65, 0.65])
    assert [row.trained for row in once.rows] == [1, 0]  # the second time it is a hit
    assert [row.distance for row in once.rows] == [39, 0]


def test_without_a_trainer_or_budget_far_batches_keep_their_estimate() -> None:
    for fallback, train in ((5, None), (0, proxy)):
        embeddings, table = far_pool()
        result = reinforce.run(Policy(2, 4, 0), embeddings, [6], table, 1, settings(2, 1, fallback), 0, train)
        assert [row.reward for row in result.rows] == pytest.approx([0.05, 0.05])
        assert [(row.estimated, row.trained, row.far) for row in result.rows] == [(1, 0, 1)] * 2
        assert result.added == ()
        assert len(table) == 2


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    "others",
    [{}, {"baseline": "leave_one_out", "temperature": 2.0, "entropy_bonus": 0.01, "patience": 8}],
    ids=["published", "every option"],
)
def test_a_killed_search_goes_on_to_the_same_result(others: dict[str, Any], tmp_path: Path) -> None:
    """Killed by the third proxy; the records of the first two come back with the checkpoint."""
    parameters = settings(12, 2, fallback=3, checkpoint_every=5, **others)

    def go(checkpoint: Path | None, alive: int) -> tuple[reinforce.Result, LookupTable, int]:
        embeddings, table = far_pool()
        calls = 0

        def train(ids: tuple[int, ...]) -> Record:
            nonlocal calls
            calls += 1
            if calls > alive:
                raise Killed
            return proxy(ids)

        policy = Policy(2, 4, 0)
        found = reinforce.run(policy, embeddings, [3, 4, 5, 6], table, 1, parameters, 3, train, checkpoint)
        return found, table, calls

    through, table, calls = go(None, 3)
    assert calls == 3
    checkpoint = tmp_path / "search.ckpt"
    with pytest.raises(Killed):
        go(checkpoint, 2)
    assert checkpoint.exists()
    resumed, same_table, calls = go(checkpoint, 1)
    assert calls == 1  # nothing is trained twice
    assert resumed.rows == through.rows
    assert resumed.added == through.added
    assert same_table.records == table.records
    through.policy.save(tmp_path / "a.safetensors")
    resumed.policy.save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def interrupted(checkpoint: Path, worth: float, iterations: int) -> reinforce.Result:
    """Killed at the seventh price; checkpoints every 2 iterations of one batch."""
    left = iter(range(6))

    def price(batch: Batch) -> float:
        if next(left, None) is None:
            raise Killed
        return worth * batch[0]

    parameters = settings(iterations, 1, checkpoint_every=2)
    return reinforce.run(Policy(3, 4, 0), pool(9, 3), range(1, 10), Known(price), 3, parameters, 0, None, checkpoint)


def test_a_periodic_checkpoint_saves_the_iterations_before_it(tmp_path: Path) -> None:
    checkpoint = tmp_path / "search.ckpt"
    with pytest.raises(Killed):
        interrupted(checkpoint, 0.01, 12)
    resumed = interrupted(checkpoint, 0.01, 12)  # 6 + 6 prices are enough only if the first 6 are not repeated
    whole = reinforce.run(
        Policy(3, 4, 0), pool(9, 3), range(1, 10), Known(lambda b: 0.01 * b[0]), 3, settings(12, 1), 0
    )
    assert resumed.rows == whole.rows
    for name, weight in whole.policy.state_dict().items():
        assert torch.equal(weight, resumed.policy.state_dict()[name])


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    checkpoint = tmp_path / "search.ckpt"
    for content in (b"", b"not a checkpoint"):
        checkpoint.write_bytes(content)
        with pytest.raises(MgralError, match=r"search\.ckpt: damaged checkpoint; remove it"):
            interrupted(checkpoint, 0.01, 6)


def test_rows_are_written_in_full(tmp_path: Path) -> None:
    row = reinforce.Row(0, 0.1 + 0.2, -0.25, 1e-7, 3, 1, 2, 2.5, 0.5, 6.0)
    reinforce.write_rows([row], tmp_path / "search.csv")
    assert (tmp_path / "search.csv").read_text() == (
        "iteration,reward,baseline,loss,estimated,trained,far,distance,average,entropy\n"
        "0,0.30000000000000004,-0.25,1e-07,3,1,2,2.5,0.5,6.0\n"
    )


def test_progress_is_logged_at_every_tenth(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="mgral.agent.reinforce"):
        reinforce.run(Policy(3, 4, 0), pool(9, 3), [1, 2, 3], Known(lambda b: 0.5), 1, settings(25, 1), 0)
    lines = [line.split(",")[0] for line in caplog.messages]
    assert lines == [f"search: {t} of 25" for t in (3, 5, 8, 10, 13, 15, 18, 20, 23, 25)]


def test_a_search_on_some_of_the_images_scans_those_only() -> None:
    ids = list(range(1, 41))
    chosen = reinforce._some(ids, 12, seed=3)
    assert len(set(chosen)) == 12
    assert set(chosen) < set(ids)
    assert list(chosen) == list(reinforce._some(ids[::-1], 12, seed=3))
    assert set(chosen) != set(reinforce._some(ids, 12, seed=4))
    assert reinforce._some(ids, 40, seed=3) is ids
    assert reinforce._some(ids, 0, seed=3) is ids
