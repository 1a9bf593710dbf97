"""ISD's terms on numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from mgral.training.semi import isd

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
