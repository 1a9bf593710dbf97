"""As test_official, for what strategies compute from networks and fits of their own: CALD's choice, PAL, MEH-HUA and
FreeSel."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch.nn import functional as F

from mgral.core.types import Boxes, ImageScores, Patterns
from mgral.data.evidence import Evidence
from mgral.data.pool import Pool
from mgral.detection.base import Target, build_detector
from mgral.detection.priors import PriorOutput
from mgral.strategies import cald, freesel, pal
from mgral.strategies.meh_hua import aggregation, evidence_head
from mgral.strategies.pal import truth

SEEDS = [0, 1, 2]


@pytest.mark.parametrize("seed", SEEDS)
def test_meh_hua_is_the_mutual_information_of_a_dirichlet(seed: int) -> None:
    """The integral E[H(q)] of one probability of two, by the trapezoid rule: q ~ Beta(λp, λ(1 - p))."""
    rng = np.random.default_rng(seed)
    for p, evidence in zip(rng.uniform(0.1, 0.9, 4), rng.uniform(5, 60, 4), strict=True):
        q = np.linspace(0, 1, 200_001)[1:-1]
        a, b = evidence * p, evidence * (1 - p)
        log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
        density = np.exp((a - 1) * np.log(q) + (b - 1) * np.log(1 - q) - log_beta)
        inner = np.trapezoid(density * -(q * np.log(q) + (1 - q) * np.log(1 - q)), q)
        expected = -(p * math.log(p) + (1 - p) * math.log(1 - p)) - inner
        found = aggregation.epistemic(np.array([[p, 1 - p]]), np.array([evidence]))
        assert found[0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_meh_hua_aggregates_along_the_attributes_of_boxes(seed: int) -> None:
    """Mean of boxes, sum of classes, maximum of levels, sum of objects; evidence 25 · mean loss of the level / loss."""
    rng = np.random.default_rng(seed)
    count = 40
    objects, levels, labels = rng.integers(0, 4, count), rng.integers(0, 3, count), rng.integers(0, 2, count)
    distributions, losses = rng.dirichlet(np.ones(4), count), rng.uniform(0.1, 3, count)

    def digamma(x: float) -> float:
        """By the recurrence and the asymptotic series."""
        shift = 0.0
        while x < 20:
            shift, x = shift - 1 / x, x + 1
        return shift + math.log(x) - 1 / (2 * x) - 1 / (12 * x**2) + 1 / (120 * x**4) - 1 / (252 * x**6)

    cells: dict[int, dict[int, dict[int, list[float]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for k in range(count):
        of_level = [losses[j] for j in range(count) if levels[j] == levels[k]]
        strength = 25 * (sum(of_level) / len(of_level)) / losses[k]
        information = sum(
            -p * math.log(p) + p * (digamma(strength * p + 1) - digamma(strength + 1)) for p in distributions[k]
        )
        cells[objects[k]][levels[k]][labels[k]].append(information)
    expected = sum(
        max(sum(sum(of_class) / len(of_class) for of_class in level.values()) for level in one.values())
        for one in cells.values()
    )
    boxes = aggregation.ObjectBoxes(objects, levels, labels, distributions, losses)
    uncertainty, number = aggregation.image_uncertainty(boxes, 25.0)
    assert uncertainty == pytest.approx(expected, abs=1e-6) and number == len(set(objects.tolist()))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny_ssd", "retinanet"])
@pytest.mark.parametrize("seed", SEEDS)
def test_meh_hua_learns_the_losses_of_matched_priors(seed: int, name: str) -> None:
    """Cross-entropy (softmax) or focal loss summed over classes (sigmoid); its gradient reaches the head alone."""
    detector = build_detector(name, ["a", "b", "c"], 96, {}, 0)
    generator = torch.Generator().manual_seed(seed)
    width = 4 if name == "tiny_ssd" else 3
    logits = torch.randn(1, len(detector.priors), width, generator=generator, requires_grad=True)
    box = torch.tensor([[20.0, 24.0, 60.0, 66.0]])
    raw = PriorOutput(logits, torch.zeros(1, len(detector.priors), 4), [])
    images, priors, losses = evidence_head.prior_losses(detector, raw, [Target(box, torch.tensor([1]))])

    def iou(prior: list[float]) -> float:
        sides = [max(0.0, min(prior[k + 2], box[0, k + 2].item()) - max(prior[k], box[0, k].item())) for k in (0, 1)]
        inter = sides[0] * sides[1]
        return inter / ((prior[2] - prior[0]) * (prior[3] - prior[1]) + 40 * 42 - inter)

    overlaps = [iou(prior) for prior in detector.priors.tolist()]
    best = overlaps.index(max(overlaps))
    assert priors.tolist() == [k for k, one in enumerate(overlaps) if one >= 0.5 or k == best] and not images.any()
    for k, loss in zip(priors.tolist(), losses.tolist(), strict=True):
        values = logits[0, k].double().tolist()
        if name == "tiny_ssd":  # class 1 is the third number, after the background
            expected = -values[2] + math.log(sum(math.exp(one) for one in values))
        else:
            p = [1 / (1 + math.exp(-one)) for one in values]
            expected = sum(
                -0.25 * (1 - q) ** 2 * math.log(q) if c == 1 else -0.75 * q**2 * math.log(1 - q)
                for c, q in enumerate(p)
            )
        assert loss == pytest.approx(expected, abs=1e-5)  # logits are float32

    predicted = F.softplus(torch.randn(len(losses), generator=generator)).requires_grad_()
    loss = evidence_head.evidence_loss(predicted, losses)
    (of_head,) = torch.autograd.grad(loss, predicted, retain_graph=True)
    assert torch.allclose(of_head, 2 * (predicted - losses).detach() / len(losses), atol=1e-6)
    assert torch.autograd.grad(loss, logits, allow_unused=True) == (None,)


@pytest.mark.parametrize("seed", SEEDS)
def test_pal_fits_a_penalised_logistic_regression_by_class(seed: int) -> None:
    """The minimum of Σ log(1 + exp(∓ z)) + ½|w|², found by another method; the constant is not penalised."""
    rng = np.random.default_rng(seed)
    count = 120
    scores, counts, labels = rng.random(count), rng.integers(1, 9, count), rng.integers(0, 2, count)
    true = rng.random(count) < scores
    seen = truth.Counted(np.zeros((count, 4)), scores, labels, counts)
    model = truth.fit((seen, true), 2, 1.0)
    raw = np.stack([scores, np.log(counts)], axis=1)
    features = np.hstack([(raw - raw.mean(axis=0)) / raw.std(axis=0), np.ones((count, 1))])
    for label in range(2):
        x, y = features[labels == label], true[labels == label]

        def cost(w: np.ndarray, x: np.ndarray = x, y: np.ndarray = y) -> float:
            return float(np.logaddexp(0, np.where(y, -1, 1) * (x @ w)).sum() + (w[:2] ** 2).sum() / 2)

        found = minimize(cost, np.zeros(3), method="BFGS", options={"gtol": 1e-9})
        assert model.weights[label] == pytest.approx(found.x, abs=1e-4)
        p = 1 / (1 + np.exp(-x @ model.weights[label]))
        expected = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
        rows = labels == label
        some = truth.Counted(np.zeros((rows.sum(), 4)), scores[rows], labels[rows], counts[rows])
        assert truth.bits(model.probabilities(some)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_pal_ranks_the_best_of_each_class_again(seed: int) -> None:
    """Budgets b_c ∝ r_c, the rarest class first; of 2 b_c images 0.9 LIUS + 0.02 RCSP + 0.04 (CWIE + RCDI)."""
    rng = np.random.default_rng(seed)
    images, classes, budget = 30, 3, 9
    detections = rng.integers(0, 4, (images, classes)).astype(float)
    there = detections > 0
    terms = {
        "detections": detections,
        "uncertainty": there * rng.random((images, classes)),
        "entropy": detections * rng.random((images, classes)),
        "objects": detections * rng.random((images, classes)),
    }
    labelled = {100 + k: rng.integers(0, classes, 5) for k in range(4)}
    counts = [sum(int((one == c).sum()) for one in labelled.values()) for c in range(classes)]
    rarity = [1 - (counts[c] / sum(counts) + detections[:, c].sum() / detections.sum()) / 2 for c in range(classes)]
    shares = [budget * one / sum(rarity) for one in rarity]
    places = [math.floor(one) for one in shares]
    for c in sorted(range(classes), key=lambda c: (places[c] - shares[c], c))[: budget - sum(places)]:
        places[c] += 1

    def second(rows: list[int], lius: list[float], many: int) -> list[tuple[int, float]]:
        ranked = sorted(rows, key=lambda row: (-lius[row], row))[: 2 * many]
        scored = []
        for place, row in enumerate(ranked):
            v = terms["objects"][row]
            above = [terms["objects"][other] for other in ranked[:place]]
            near = max((float(v @ w / np.linalg.norm(v) / np.linalg.norm(w)) for w in above), default=0.0)
            weight = sum(detections[row, c] * rarity[c] for c in range(classes))
            cwie = sum(terms["entropy"][row, c] * rarity[c] for c in range(classes)) / weight if weight else 0.0
            rcdi = sum(rarity[c] for c in range(classes) if there[row, c]) / sum(rarity)
            scored.append((row, 0.9 * lius[row] + 0.02 * (1 - near) + 0.04 * (cwie + rcdi)))
        return sorted(scored, key=lambda one: (-one[1], one[0]))[:many]

    expected: dict[int, float] = {}
    for c in sorted(range(classes), key=lambda c: (-rarity[c], c)):
        rows = [row for row in range(images) if there[row, c] and row not in expected]
        expected |= dict(second(rows, terms["uncertainty"][:, c].tolist(), places[c]))
    given = Evidence(
        Pool(0, dict.fromkeys(labelled, 0), tuple(range(1, images + 1))),
        ("a", "b", "c"),
        labels={i: Boxes(np.zeros((5, 4), np.float32), one, np.zeros(5, np.bool_)) for i, one in labelled.items()},
        image_scores=ImageScores(np.arange(1, images + 1), terms),
    )
    picks = pal.select(given, budget, 0, pal.Options())
    assert {pick.id - 1: pick.score for pick in picks} == {
        row: pytest.approx(value, abs=1e-6) for row, value in expected.items()
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_freesel_samples_the_farthest_pattern(seed: int) -> None:
    """Cosine distance of each local pattern to its nearest chosen one; the image of the largest is chosen whole."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(20, 4, 6)).astype(np.float16)
    local = {i: vectors[i - 1].astype(np.float64) for i in range(1, 21)}

    def apart(a: np.ndarray, b: np.ndarray) -> float:
        return float(1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))

    chosen, expected = [19, 20], []
    for _ in range(8):
        far = {
            i: max(min(apart(one, other) for j in chosen for other in local[j]) for one in local[i])
            for i in range(1, 19)
            if i not in chosen
        }
        best = min(far, key=lambda i: (-far[i], i))
        expected.append((best, pytest.approx(far[best], abs=1e-6)))
        chosen.append(best)
    pool = Pool(0, {19: 0, 20: 0}, tuple(range(1, 19)))
    given = Evidence(pool, ("a",), patterns=Patterns(np.arange(1, 21), vectors))
    assert [(pick.id, pick.score) for pick in freesel.select(given, 8, 0, freesel.Options())] == expected


@pytest.mark.parametrize("variant", ["paper", "code"])
@pytest.mark.parametrize("seed", SEEDS)
def test_cald_takes_the_candidates_whose_classes_differ_most(seed: int, variant: str) -> None:
    """The (1 + δ) b smallest mean distances; of these the b largest JS between softmaxes of classes."""
    rng = np.random.default_rng(seed)
    count, classes, budget = 30, 3, 10
    terms = {name: rng.random(count) for name in cald.ALTERATIONS} | {"classes": rng.random((count, classes))}
    terms["classes"][:4] = 0.0
    labelled = {100 + k: rng.integers(0, classes, 4) for k in range(3)}

    def softmax(values: list[float]) -> list[float]:
        return [math.exp(x) / sum(map(math.exp, values)) for x in values]

    def js(p: list[float], q: list[float]) -> float:
        pairs = list(zip(p, q, strict=True))
        return sum(a * math.log2(2 * a / (a + b)) + b * math.log2(2 * b / (a + b)) for a, b in pairs) / 2

    known = softmax([sum(int((one == c).sum()) for one in labelled.values()) / 3 for c in range(classes)])
    mean = [sum(terms[name][k] for name in cald.ALTERATIONS) / 4 for k in range(count)]
    candidates = sorted(range(count), key=lambda k: (mean[k], k))[: math.ceil(1.2 * budget)]
    apart = {
        k: 1.0
        if variant == "code" and not terms["classes"][k].any()
        else js(softmax(terms["classes"][k].tolist()), known)
        for k in candidates
    }
    expected = sorted(candidates, key=lambda k: (-apart[k], mean[k], k))[:budget]
    given = Evidence(
        Pool(0, dict.fromkeys(labelled, 0), tuple(range(1, count + 1))),
        ("a", "b", "c"),
        labels={i: Boxes(np.zeros((4, 4), np.float32), one, np.zeros(4, np.bool_)) for i, one in labelled.items()},
        image_scores=ImageScores(np.arange(1, count + 1), terms),
    )
    picks = cald.select(given, budget, 0, cald.Options(variant=variant))  # type: ignore[arg-type]
    assert {pick.id - 1: pick.score for pick in picks} == {k: pytest.approx(apart[k], abs=1e-6) for k in expected}
