"""ll4al: pairs of losses by hand, whom the ranking teaches and when, resuming, and the choice."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from contexts import context

from mgral.config.schema import Machine
from mgral.core.types import Boxes, Dataset, Image, ImageScores
from mgral.data.evidence import Evidence
from mgral.data.image_cache import Cache
from mgral.data.pool import Pool
from mgral.detection.base import Detector, RawOutput, Target, build_detector
from mgral.detection.device import Device, prepare_device
from mgral.detection.training import TrainingConfig
from mgral.strategies.ll4al import Options, select, training
from mgral.strategies.ll4al.training import LossHead, ranking_loss

SIZE = 64
HEAD = Options(hidden=8, joint=0.5)


@pytest.fixture
def machine() -> Device:
    return prepare_device(Machine(threads=1, precision="fp32", device="cpu"))


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """Eight images of noise, each with one bright square."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 80, (8, SIZE, SIZE, 3), dtype=np.uint8)
    listed, boxes = {}, {}
    for i in range(8):
        x, y = generator.integers(0, SIZE - 24, 2)
        pixels[i, y : y + 24, x : x + 24] = 230
        listed[i + 1] = Image(i + 1, f"{i}.png", SIZE, SIZE, "train")
        boxes[i + 1] = Boxes(np.array([[x, y, x + 24, y + 24]], np.float32), np.array([0]), np.array([False]))
    np.save(tmp_path / "images.npy", pixels)
    return Cache(Dataset(("square",), listed, boxes, tmp_path), tmp_path / "images.npy")


def new_detector() -> Detector:
    return build_detector("tiny_ssd", ("square",), SIZE, {}, 0)


def plan(steps: int, checkpoint_every: int = 0) -> TrainingConfig:
    return TrainingConfig(steps, 4, 1e-3, weight_decay=0.0, warmup=2, augment=True, checkpoint_every=checkpoint_every)


def test_pairs_of_four_images() -> None:
    losses = torch.tensor([3.0, 1.0, 2.0, 0.5])
    predicted = torch.tensor([0.2, 0.9, 0.4, 0.1], requires_grad=True)
    # images 0 and 3: 3 > 0.5, predicted 0.2 - 0.1:  max(0, -0.1 + 1) = 0.9
    # images 1 and 2: 1 < 2,   predicted 0.9 - 0.4:  max(0,  0.5 + 1) = 1.5;  mean 1.2
    loss = ranking_loss(predicted, losses, margin=1.0)
    assert loss.item() == pytest.approx(1.2)
    # each pair counts half: 0 and 2 are to be raised, 3 and 1 lowered
    loss.backward()
    assert predicted.grad is not None
    assert predicted.grad.tolist() == [-0.5, 0.5, -0.5, 0.5]


def test_a_pair_in_the_right_order_by_the_margin_costs_nothing() -> None:
    assert ranking_loss(torch.tensor([2.0, 1.0]), torch.tensor([9.0, 1.0]), 1.0) == 0
    assert ranking_loss(torch.tensor([2.0, 1.0]), torch.tensor([9.0, 1.0]), 1.5) == pytest.approx(0.5)


def test_equal_losses_and_the_middle_of_an_odd_batch_teach_nothing() -> None:
    predicted = torch.tensor([5.0, 7.0, 1.0], requires_grad=True)
    loss = ranking_loss(predicted, torch.tensor([2.0, 8.0, 2.0]), 1.0)
    loss.backward()
    assert loss.item() == 1 and predicted.grad is not None and not predicted.grad.any()


def test_losses_are_targets_and_get_no_gradient() -> None:
    losses = torch.tensor([3.0, 1.0], requires_grad=True)
    predicted = torch.tensor([0.0, 0.0], requires_grad=True)
    ranking_loss(predicted, losses, 1.0).backward()
    assert losses.grad is None


def test_head_by_hand() -> None:
    head = LossHead([2, 1], hidden=1)
    with torch.no_grad():
        head.of_map[0].weight[:], head.of_map[0].bias[:] = torch.tensor([[1.0, -1.0]]), 0.5
        head.of_map[1].weight[:], head.of_map[1].bias[:] = torch.tensor([[-2.0]]), 0.0
        head.out.weight[:], head.out.bias[:] = torch.tensor([[3.0, 4.0]]), 0.25
    first = torch.tensor([[[[1.0, 3.0]], [[0.0, 1.0]]]])  # averages 2 and 0.5
    second = torch.tensor([[[[-1.0], [-2.0]]]])  # average -1.5
    # relu(2 - 0.5 + 0.5) = 2 and relu(3) = 3;  3 * 2 + 4 * 3 + 0.25 = 18.25
    assert head([first, second]).tolist() == [18.25]
    assert head([first, -second]).tolist() == [6.25]  # relu(-3) = 0


def test_a_head_learns_which_image_has_the_larger_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    features = [torch.rand(16, 4, 3, 3, generator=generator), torch.rand(16, 6, 1, 1, generator=generator)]
    losses = features[0][:, 0].mean((1, 2)) + features[1][:, 1, 0, 0]
    torch.manual_seed(0)
    head = LossHead([4, 6], hidden=16)
    optimizer = torch.optim.Adam(head.parameters(), 1e-2)
    for _ in range(300):
        order = torch.randperm(16, generator=generator)
        loss = ranking_loss(head([one[order] for one in features]), losses[order], 1.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    predicted = head(features)
    ahead = (predicted[:, None] > predicted) == (losses[:, None] > losses)
    assert ahead.float().mean() > 0.9


@pytest.mark.parametrize(("joint", "moves"), [(0.0, [0, 0, 0, 0]), (0.5, [1, 1, 0, 0]), (1.0, [1, 1, 1, 1])])
def test_the_ranking_trains_the_detector_for_a_share_of_the_steps(
    cache: Cache, machine: Device, joint: float, moves: list[int]
) -> None:
    """With the detector's own losses out of the way, its weights move in those steps and no other."""
    detector = new_detector()
    weights = []

    def watched(raw: RawOutput, targets: list[Target]) -> torch.Tensor:
        weights.append(next(detector.parameters()).detach().clone())
        return torch.arange(float(len(targets)))

    detector.losses = lambda raw, targets: {}  # type: ignore[method-assign]
    detector.image_losses = watched  # type: ignore[method-assign, assignment]
    given = context(cache, [1, 2, 3, 4], plan(4), machine)
    training.train(detector, given, 0, HEAD.model_copy(update={"joint": joint}))
    steps = [*weights, next(detector.parameters())]  # before each step, and at the end
    assert [not torch.equal(a, b) for a, b in itertools.pairwise(steps)] == [bool(moved) for moved in moves]


def test_training_takes_the_losses_of_each_image(cache: Cache, machine: Device) -> None:
    """The ranking sees, for the batch of a step, what the detector loses on each of its images."""
    detector = new_detector()
    seen: list[tuple[int, int]] = []
    whole = detector.image_losses

    def watched(raw: RawOutput, targets: list[Target]) -> torch.Tensor:
        losses = whole(raw, targets)
        seen.append((len(targets), len(losses.unique())))
        return losses

    detector.image_losses = watched  # type: ignore[method-assign, assignment]
    training.train(detector, context(cache, [1, 2, 3, 4, 5], plan(3), machine), 0, HEAD)
    assert seen == [(4, 4)] * 3
    assert not hasattr(detector, "beside")


@pytest.mark.slow
def test_a_killed_training_resumes_to_the_same_head(cache: Cache, machine: Device, tmp_path: Path) -> None:
    def run(checkpoint: Path, images: Cache = cache) -> np.ndarray:
        detector = new_detector()
        head = training.train(detector, context(images, [1, 2, 3], plan(6, 2), machine, checkpoint), 0, HEAD)
        return training.predicted_losses(detector, head, cache, [4, 5, 6, 7, 8], machine)

    class Killed(Exception):
        pass

    class Interrupted:
        """A cache that fails at its sixth reading."""

        reads = 0

        def __getattr__(self, name: str) -> object:
            return getattr(cache, name)

        def pixels(self, ids: list[int]) -> np.ndarray:
            self.reads += 1
            if self.reads == 6:
                raise Killed
            return cache.pixels(ids)

        def stream(self, batches: Iterable[list[int]], empty: object = None) -> Iterator[np.ndarray]:
            for some in batches:
                yield self.pixels(some)

    through = run(tmp_path / "through.ckpt")
    with pytest.raises(Killed):
        run(tmp_path / "killed.ckpt", Interrupted())  # type: ignore[arg-type]
    assert (tmp_path / "killed.ckpt").exists()
    assert run(tmp_path / "killed.ckpt").tolist() == through.tolist()
    assert len(set(through.tolist())) == 5


def evidence(predicted: list[float]) -> Evidence:
    """Ids 1 … n, all unlabelled."""
    ids = np.arange(1, len(predicted) + 1)
    return Evidence(
        Pool(2, {}, tuple(ids.tolist())),
        ("ant",),
        image_scores=ImageScores(ids, {"predicted_loss": np.array(predicted)}),
    )


def test_the_largest_predictions_are_picked() -> None:
    picks = select(evidence([0.5, 2.0, -1.0, 2.0]), 3, 0, Options())
    assert [(pick.id, pick.score) for pick in picks] == [(2, 2.0), (4, 2.0), (1, 0.5)]
    assert picks[2].reason == {"predicted_loss": 0.5, "rank": 3, "candidates": 4}


def test_within_a_subset() -> None:
    given = evidence([float(i) for i in range(100)])
    seen = [tuple(pick.id for pick in select(given, 5, seed, Options(subset=20))) for seed in range(3)]
    assert len(set(seen)) == 3
    for ids in seen:
        assert list(ids) == sorted(ids, reverse=True) and len(ids) == 5
    # the best of 20 of 100 are not the best of all, and a subset smaller than the budget does not shrink the batch
    assert (100, 99, 98, 97, 96) not in seen
    assert len(select(given, 30, 0, Options(subset=20))) == 30
    assert [pick.id for pick in select(given, 2, 0, Options(subset=100))] == [100, 99]
