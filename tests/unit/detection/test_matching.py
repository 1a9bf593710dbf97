"""Matching of priors and boxes: all images at once as torchvision does it one by one, and hard negatives by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.models.detection._utils import SSDMatcher
from torchvision.ops import box_iou

from mgral.detection.base import Target, build_detector
from mgral.detection.detectors._ssd import NEGATIVES_PER_POSITIVE, SSD, hardest
from mgral.detection.priors import PriorOutput, overlaps


@pytest.fixture(scope="module")
def detector() -> SSD:
    built = build_detector("tiny_ssd", ("a", "b", "c"), 128, {}, 0)
    assert isinstance(built, SSD)
    return built


def alone(detector: SSD, target: Target) -> tuple[torch.Tensor, torch.Tensor]:
    classes, boxes = torch.zeros(len(detector.priors), dtype=torch.int64), detector.priors.clone()
    if len(target.labels):
        matched = SSDMatcher(0.5)(box_iou(target.xyxy, detector.priors))
        positive = matched >= 0
        classes[positive] = target.labels[matched[positive]] + 1
        boxes[positive] = target.xyxy[matched[positive]]
    return classes, boxes


@pytest.mark.parametrize("seed", range(20))
def test_all_images_at_once_as_one_by_one(detector: SSD, seed: int) -> None:
    """Images without a box among them, tiny boxes that reach no prior by half, and boxes twice in one place."""
    draw = torch.Generator().manual_seed(seed)
    targets = []
    for count in [*torch.randint(0, 9, (6,), generator=draw).tolist(), 0]:
        corner = torch.rand(count, 2, generator=draw) * 80
        xyxy = torch.cat([corner, corner + 0.5 + torch.rand(count, 2, generator=draw) * 47], 1)
        xyxy[1:2] = xyxy[:1]
        targets.append(Target(xyxy, torch.randint(0, 3, (count,), generator=draw)))
    classes, boxes = detector.match(targets)
    for image, target in enumerate(targets):
        expected = alone(detector, target)
        assert torch.equal(classes[image], expected[0]) and torch.equal(boxes[image], expected[1])


def test_overlaps_are_those_of_torchvision_to_the_bit(detector: SSD) -> None:
    corner = torch.rand(200, 2, generator=torch.Generator().manual_seed(0)) * 120
    boxes = torch.cat([corner, corner + 0.01 + torch.rand(200, 2, generator=torch.Generator().manual_seed(1)) * 90], 1)
    assert torch.equal(overlaps(boxes, detector.priors), box_iou(boxes, detector.priors))


def test_no_box_in_any_image(detector: SSD) -> None:
    nothing = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    classes, boxes = detector.match([nothing, nothing])
    assert not classes.any() and torch.equal(boxes, detector.priors.expand(2, -1, -1))


def test_the_hardest_negatives_count(detector: SSD) -> None:
    """One box on one prior: its entropy and those of the three worst negatives, of equal ones the first."""
    prior = detector.priors[40]
    target = Target(prior[None].clone(), torch.tensor([1]))
    logits = torch.zeros(1, len(detector.priors), 4)
    logits[..., 0] = 5.0  # background, surely
    logits[0, [7, 100, 101, 102, 103], 0] = torch.tensor([-3.0, 1.0, 2.0, 2.0, 2.0])
    raw = PriorOutput(logits, torch.zeros(1, len(detector.priors), 4), [])
    classes, _ = detector.match([target])
    positive = int((classes > 0).sum())
    entropy = torch.nn.functional.cross_entropy(logits[0], classes[0], reduction="none")
    negatives = entropy[classes[0] == 0].sort(descending=True).values[: NEGATIVES_PER_POSITIVE * positive]
    expected = (entropy[classes[0] > 0].sum() + negatives.sum()) / positive
    assert detector.losses(raw, [target])["classification"].item() == pytest.approx(expected.item(), rel=1e-6)


@given(st.lists(st.lists(st.integers(0, 4), min_size=6, max_size=6), min_size=1, max_size=4), st.data())
def test_the_hardest_are_those_of_a_stable_sort(rows: list[list[int]], data: st.DataObject) -> None:
    values = torch.tensor(rows).float()
    quota = torch.tensor([[data.draw(st.integers(1, 9))] for _ in rows])
    rank = values.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    assert torch.equal(hardest(values, quota), rank < quota)


def test_of_too_many_candidates_the_best_enter_and_of_equals_the_first(detector: SSD) -> None:
    """3,000 boxes apart from each other, of ten scores: what is kept is the head of a stable sort of all."""
    draw = torch.Generator().manual_seed(0)
    scores = torch.randint(1, 11, (1000, 3), generator=draw) / 20
    places = torch.arange(3000.0)

    def apart(candidate: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        corner = 2 * places[candidate * 3 + labels]
        return torch.stack([corner, corner, corner + 1, corner + 1], 1)

    probs = torch.cat([torch.zeros(1000, 1), scores], 1)
    found = detector.suppress(probs, apart, None, 0.1, 0.5, 100)
    best = scores.flatten().sort(descending=True, stable=True).indices[:100]
    assert torch.equal(found.xyxy[:, 0], 2.0 * best) and torch.equal(found.labels, best % 3)
