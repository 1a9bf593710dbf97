"""ISD's terms on numbers worked out by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mgral.detection import priors
from mgral.detection.device import Device
from mgral.detection.training import TrainingConfig
from mgral.reward.semi import isd

P = torch.tensor([0.5, 0.5])
Q = torch.tensor([0.25, 0.75])
# KL(P‖Q) = 0.5 ln(0.5/0.25) + 0.5 ln(0.5/0.75) = 0.5 (0.693147 - 0.405465) = 0.143841
# KL(Q‖P) = 0.25 ln(0.25/0.5) + 0.75 ln(0.75/0.5) = -0.173287 + 0.304099 = 0.130812
KL_PQ, KL_QP = 0.143841, 0.130812


def test_divergences():
    assert isd.kl(P, Q).item() == pytest.approx(KL_PQ, abs=1e-5)
    mask = torch.tensor([True, False])
    both = isd.symmetric_kl(torch.stack([P, P]), torch.stack([Q, P]), mask)
    assert both.item() == pytest.approx((KL_PQ + KL_QP) / 2, abs=1e-5)
    assert isd.symmetric_kl(P[None], Q[None], torch.tensor([False])).item() == 0


def test_foreground_is_the_largest_class_against_background():
    probs = torch.tensor([[0.5, 0.3, 0.2], [0.3, 0.5, 0.2], [0.4, 0.3, 0.3], [0.2, 0.3, 0.5]])
    assert isd.foreground(probs).tolist() == [False, True, False, True]


def test_flip_consistency_negates_dx():
    p = torch.tensor([[0.2, 0.8]])
    offsets = torch.tensor([[0.4, 0.1, 0.2, 0.3]])
    mirrored = torch.tensor([[-0.4, 0.1, 0.2, 0.3]])
    assert isd.flip_consistency(p, offsets, p, mirrored).item() == pytest.approx(0, abs=1e-7)
    # the same sign on both sides is wrong by 0.8 in one of four: 0.64 / 4 = 0.16
    assert isd.flip_consistency(p, offsets, p, offsets).item() == pytest.approx(0.16, abs=1e-6)


def test_type2_teaches_the_mix_and_not_the_source():
    p = Q[None].clone().requires_grad_()
    mixed = P[None].clone().requires_grad_()
    zero, one = torch.zeros(1, 4), torch.ones(1, 4)
    loss = isd.type2(p, zero, mixed, one, torch.tensor([True]))
    assert loss.item() == pytest.approx(KL_QP + 1.0, abs=1e-5)
    loss.backward()
    assert p.grad is None and mixed.grad is not None


def test_ramp_rises_stays_and_falls():
    options = isd.Options(ramp_up=0.2, ramp_down=0.1)
    assert isd.ramp(0, 100, options) == pytest.approx(math.exp(-5))
    assert isd.ramp(10, 100, options) == pytest.approx(math.exp(-5 / 4))  # half way: (1 - 1/2)^2
    assert isd.ramp(50, 100, options) == 1
    assert isd.ramp(95, 100, options) == pytest.approx(math.exp(-12.5 / 4))


@pytest.mark.parametrize(
    ("labelled", "steps", "first"),
    [
        (8, 40, 2),  # 8 images are two steps of four
        (9, 40, 3),
        (60, 40, 10),  # an epoch is 15 steps, the weight rises over 0.27 · 40
        (60, 3, 0),
    ],
)
def test_the_first_epoch_is_labelled_only_as_long_as_the_weight_rises(monkeypatch, labelled, steps, first):
    grows = []
    monkeypatch.setattr(isd, "losses", lambda *_: grows.append(torch.is_grad_enabled()) or {})
    plan = TrainingConfig(steps, 4, 1e-3, 0.0, 0, augment=False)
    machine, cache = Device(torch.device("cpu"), torch.float32), SimpleNamespace(pixels=lambda ids: np.zeros(1))
    monkeypatch.setattr(Device, "images", lambda *_: None)
    monkeypatch.setattr(priors, "with_priors", lambda detector: detector)
    term = isd.build(isd.Options(), cache, [1, 2, 3, 4], list(range(labelled)), plan, machine, 0)
    for step in range(steps):
        term(None, step, None, [])
    assert grows == [step >= first for step in range(steps)]


class Columns:
    """Two priors, one a column of the image: foreground with sigmoid(ln 4 · channel 0), dx is channel 1."""

    mirror = torch.tensor([1, 0])

    def __call__(self, images):
        logits = torch.stack([torch.zeros_like(images[:, 0, 0]), math.log(4) * images[:, 0, 0]], -1)
        offsets = torch.nn.functional.pad(images[:, 1, 0, :, None], (0, 3))
        return SimpleNamespace(logits=logits, offsets=offsets)


def test_each_image_is_mixed_with_the_flipped_one_half_a_batch_on():
    # Channel 0 by column; 1 is p = 4/5, -1 is 1/5, 2 is 16/17. A quarter of a, three quarters of b, which is flipped:
    #   a       b             mix              both are foreground    one is
    #   1 -1    1  2 (of 2)    1     1.25      prior 0                prior 1, b
    #  -1 -1    1 -1 (of 3)   0.5   -1                                prior 0, b
    #   2  1   -1  1 (of 0)  -0.25   1         prior 1                prior 0, a
    #  -1  1   -1 -1 (of 1)  -1     -0.5                              prior 1, a
    objects = torch.tensor([[1.0, -1], [-1, -1], [2, 1], [-1, 1]])
    dx = torch.tensor([[0.1, 0], [0, 0], [0.3, 0.2], [0, 0.4]])
    images = torch.stack([objects, dx, torch.zeros(4, 2)], 1)[:, :, None]  # [4, 3, 1, 2]
    machine = Device(torch.device("cpu"), torch.float32)
    options = isd.Options(flip=1, type1=1, type2=1)
    parts = isd.losses(Columns(), images, 0.25, machine, options)

    # A flipped image says the same at the mirrored prior, but for dx, which should have changed its sign: an error of
    # 2 dx in one offset of four, over the four foreground priors.
    assert parts["flip"].item() == pytest.approx(sum((2 * d) ** 2 / 4 for d in (0.1, 0.3, 0.2, 0.4)) / 4, abs=1e-6)

    def p(value):
        return 4**value / (1 + 4**value)

    def kl(one, other):
        return one * math.log(one / other) + (1 - one) * math.log((1 - one) / (1 - other))

    # In both cases of type 1 both say 1, and so does the mix.
    assert parts["type1"].item() == pytest.approx(0, abs=1e-6)

    # a: p(2) against p(-0.25), dx 0.3 against 0.3 / 4 + 3/4 of nothing; p(1) against p(-0.5), dx 0.4 against 0.1.
    of_a = (kl(p(2), p(-0.25)) + kl(p(1), p(-0.5)) + (0.225**2 + 0.3**2) / 4) / 2
    # b: p(2) against p(1.25), dx 0.3 against 0.225; p(1) against p(0.5), dx 0.4 against 0.3.
    of_b = (kl(p(2), p(1.25)) + kl(p(1), p(0.5)) + (0.075**2 + 0.1**2) / 4) / 2
    assert parts["type2"].item() == pytest.approx(of_a + of_b, abs=1e-5)


def test_a_detached_target_does_not_learn():
    p = torch.tensor([[0.3, 0.7]], requires_grad=True)
    q = torch.tensor([[0.6, 0.4]], requires_grad=True)
    mask = torch.tensor([True])
    whole = isd.symmetric_kl(p, q, mask)
    detached = isd.symmetric_kl(p, q, mask, detach=True)
    assert detached.item() == pytest.approx(whole.item())
    # of KL(q ‖ p) with q held: d/dp_k = -q_k / p_k, half of it
    (gradient,) = torch.autograd.grad(detached, p, retain_graph=True)
    assert gradient[0].tolist() == pytest.approx([-0.6 / 0.3 / 2, -0.4 / 0.7 / 2], abs=1e-5)
    (gradient,) = torch.autograd.grad(whole, p)
    # and of KL(p ‖ q): ln(p_k / q_k) + 1, half of it
    more = [(math.log(a / b) + 1) / 2 for a, b in ((0.3, 0.6), (0.7, 0.4))]
    assert gradient[0].tolist() == pytest.approx([more[0] - 1.0, more[1] - 0.4 / 0.7 / 2], abs=1e-5)


def test_the_ramps_are_those_of_the_code():
    assert isd.ramp(16_000, 120_000, isd.Options()) == pytest.approx(math.exp(-5 / 4))
    assert isd.ramp(32_000, 120_000, isd.Options()) == isd.ramp(100_000, 120_000, isd.Options()) == 1
    assert isd.ramp(110_000, 120_000, isd.Options()) == pytest.approx(math.exp(-12.5 / 4))
