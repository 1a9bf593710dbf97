"""Strategies against small references in float64, written from the papers and the described public codes.

Each reference is a plain loop over images, detections and anchors, as the formula is printed. None is copied from the
public code. Scores agree to 1e-6 and picks are equal; of what is trained, the gradients agree too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from mgral.core.types import Boxes, Detections, Embeddings, ImageScores
from mgral.data.evidence import Evidence
from mgral.data.pool import Pool
from mgral.reward.semi import isd
from mgral.strategies import cald, cdal, coreset, ebal, entropy, least_confidence, margin, ppal
from mgral.strategies.cald.views import ViewDetections
from mgral.strategies.ll4al.training import ranking_loss
from mgral.strategies.mi_aod import losses as mi_aod

CLASSES, IMAGES, LABELLED = 4, 24, 6
SEEDS = [0, 1, 2]


def world(seed: int) -> Evidence:
    """Images 1 … 24 of a softmax detector, the last six labelled; 2 to 9 detections each, best first."""
    rng = np.random.default_rng(seed)
    detections, labels = {}, {}
    for i in range(1, IMAGES + 1):
        count = int(rng.integers(2, 10))
        probs = rng.dirichlet(np.full(CLASSES + 1, 0.5), count)
        scores, classes = probs[:, 1:].max(axis=1), probs[:, 1:].argmax(axis=1)
        order = np.argsort(-scores, kind="stable")
        corner, sides = rng.random((count, 2)) * 60, 10 + rng.random((count, 2)) * 40
        features = np.abs(rng.normal(size=(count, 8)))
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        detections[i] = Detections(
            np.hstack([corner, corner + sides]).astype(np.float32),
            scores[order].astype(np.float32),
            classes[order],
            probs[order].astype(np.float32),
            features[order].astype(np.float16),
        )
        labels[i] = Boxes(detections[i].xyxy, rng.integers(0, CLASSES, count), np.zeros(count, np.bool_))
    unlabelled = tuple(range(1, IMAGES - LABELLED + 1))
    known = range(IMAGES - LABELLED + 1, IMAGES + 1)
    vectors = rng.normal(size=(IMAGES, 256)).astype(np.float32)
    return Evidence(
        Pool(0, dict.fromkeys(known, 0), unlabelled),
        tuple("abcd"),
        detections,
        "softmax",
        Embeddings(np.arange(1, IMAGES + 1), vectors),
        labels={i: labels[i] for i in known},
        image_scores=ImageScores(
            np.array(unlabelled), {"difficulty": np.tile(rng.random(CLASSES), (len(unlabelled), 1))}
        ),
    )


def each(given: Evidence, image: int, min_score: float) -> list[tuple[float, int, list[float], np.ndarray]]:
    """Score, class, probabilities and feature of an image's detections from a score on, in float64."""
    assert given.detections is not None
    one = given.detections[image]
    assert one.features is not None
    rows = zip(one.scores, one.labels, one.probs, one.features, strict=True)
    return [
        (float(s), int(label), [float(p) for p in probs], f.astype(np.float64))
        for s, label, probs, f in rows
        if s >= min_score
    ]


def binary(p: float) -> float:
    return -sum(x * math.log(x) for x in (p, 1 - p) if x > 0)


def best(scores: Mapping[int, float], count: int) -> list[int]:
    return sorted(scores, key=lambda i: (-scores[i], i))[:count]


@pytest.mark.parametrize("seed", SEEDS)
def test_per_detection_uncertainties(seed: int) -> None:
    given = world(seed)
    expected: dict[str, dict[int, float]] = {"entropy": {}, "margin": {}, "least_confidence": {}}
    for i in given.pool.unlabelled:
        probs = [[x / sum(p) for x in p] for _, _, p, _ in each(given, i, 0.01)]
        expected["entropy"][i] = sum(-x * math.log(x) for p in probs for x in p if x > 0)
        expected["margin"][i] = sum((1 - (sorted(p)[-1] - sorted(p)[-2])) ** 2 for p in probs)
        expected["least_confidence"][i] = sum(1 - max(p) for p in probs)
    for plugin in (entropy, margin, least_confidence):
        scores = expected[plugin.__name__.rpartition(".")[2]]
        picks = plugin.select(given, 5, 0, plugin.Options())
        assert [pick.id for pick in picks] == best(scores, 5)
        assert [pick.score for pick in picks] == pytest.approx([scores[pick.id] for pick in picks], abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_core_set_is_greedy_k_center(seed: int) -> None:
    given = world(seed)
    assert given.embeddings is not None
    vectors = dict(zip(given.embeddings.ids.tolist(), given.embeddings.vectors.astype(np.float64), strict=True))
    centres, expected = list(given.pool.labelled_ids), []
    for _ in range(6):
        left = {i: min(np.linalg.norm(vectors[i] - vectors[c]) for c in centres) for i in given.pool.unlabelled}
        chosen = best({i: far for i, far in left.items() if i not in centres}, 1)[0]
        expected.append((chosen, pytest.approx(left[chosen], abs=1e-6)))
        centres.append(chosen)
    picks = coreset.select(given, 6, 0, coreset.Options())
    assert [(pick.id, pick.score) for pick in picks] == expected


@pytest.mark.parametrize("variant", ["paper", "code"])
@pytest.mark.parametrize("seed", SEEDS)
def test_cdal_is_k_center_over_mixtures_of_classes(seed: int, variant: str) -> None:
    """Paper: a mixture for each class, uniform where it has no detection; code: one per image."""
    given, width = world(seed), CLASSES + 1

    def mixture(i: int, of: int | None) -> list[float]:
        found, total = [0.0] * width, 0.0
        for _, label, probs, _ in each(given, i, 0.01):
            if of in (None, label):
                p = [x / sum(probs) for x in probs]
                weight = sum(-x * math.log(x) for x in p if x > 0)
                total += weight
                found = [a + weight * b for a, b in zip(found, p, strict=True)]
        if not total:
            return [1 / width] * width
        smooth = [x / total + cdal.Options().epsilon for x in found]
        return [x / sum(smooth) for x in smooth]

    def apart(a: int, b: int) -> float:
        pairs = [
            (x, y) for one, other in zip(mixtures[a], mixtures[b], strict=True) for x, y in zip(one, other, strict=True)
        ]
        return sum((x - y) * (math.log(x) - math.log(y)) for x, y in pairs) / 2

    groups: list[int | None] = list(range(CLASSES)) if variant == "paper" else [None]
    mixtures = {i: [mixture(i, of) for of in groups] for i in range(1, IMAGES + 1)}
    centres, expected = list(given.pool.labelled_ids), []
    for _ in range(5):
        left = {i: min(apart(i, c) for c in centres) for i in given.pool.unlabelled}
        chosen = best({i: far for i, far in left.items() if i not in centres}, 1)[0]
        expected.append((chosen, pytest.approx(left[chosen], rel=1e-6, abs=1e-6)))
        centres.append(chosen)
    picks = cdal.select(given, 5, 0, cdal.Options(variant=variant))  # type: ignore[arg-type]
    assert [(pick.id, pick.score) for pick in picks] == expected


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


@pytest.mark.parametrize("seed", SEEDS)
def test_ebal_is_entropy_nms_then_diverse_prototypes(seed: int) -> None:
    """Wu et al. 2022, algorithms 1 and 2, on centred features; quotas of the rarest half, filled up by score."""
    given, budget = world(seed), 6
    assert given.labels is not None
    every = [f for i in given.pool.unlabelled for _, _, _, f in each(given, i, 0.01)]
    mean = sum(every) / len(every)
    scores, prototypes, tops = {}, {}, {}
    for i in given.pool.unlabelled:
        instances = [(binary(s), s, label, f - mean) for s, label, _, f in each(given, i, 0.01)]
        left, total = sorted(instances, key=lambda one: -one[0]), 0.0
        while left:
            first, *rest = left
            total += first[0]
            left = [one for one in rest if one[2] != first[2] or cosine(one[3], first[3]) <= 0.5]
        scores[i] = total
        prototypes[i] = {
            label: sum(h * f for h, _, other, f in instances if other == label)
            / sum(h for h, _, other, _ in instances if other == label)
            for _, _, label, _ in instances
        }
        tops[i] = {c: max(s for _, s, other, _ in instances if other == c) for c in prototypes[i]}
    counts = [sum(int((one.labels == c).sum()) for one in given.labels.values()) for c in range(CLASSES)]
    rarest = sorted(range(CLASSES), key=lambda c: (counts[c], c))[: math.ceil(CLASSES / 2)]
    places = dict.fromkeys(rarest, math.ceil(0.75 * budget / len(rarest)))
    batch: list[int] = []
    for i in best(scores, IMAGES):
        likeness = min(
            max((cosine(f, prototypes[j][c]) for j in batch if c in prototypes[j]), default=-1.0)
            for c, f in prototypes[i].items()
        )
        open_ones = [c for c, left_over in places.items() if left_over]
        rare = max((tops[i].get(c, 0.0) for c in open_ones), default=0.0)
        if len(batch) < budget and likeness < 0.7 and (rare > 0.3 or not open_ones):
            batch.append(i)
            for c in open_ones:
                places[c] -= tops[i].get(c, 0.0) > 0.3
    batch += [i for i in best(scores, IMAGES) if i not in batch][: budget - len(batch)]
    picks = ebal.select(given, budget, 0, ebal.Options())
    assert [pick.id for pick in picks] == best({i: scores[i] for i in batch}, budget)
    assert [pick.score for pick in picks] == pytest.approx([scores[pick.id] for pick in picks], abs=1e-6)


@pytest.mark.parametrize("variant", ["paper", "code"])
@pytest.mark.parametrize("seed", SEEDS)
def test_ppal_weighs_entropy_and_matches_classes(seed: int, variant: str) -> None:
    given = world(seed)
    assert given.image_scores is not None and given.detections is not None
    difficulty = given.image_scores.terms["difficulty"][0]
    weights = [1 + 0.3 * 0.2 * math.log((math.exp(1 / 0.3) - 1) * d + 1) for d in difficulty]

    def counts(box: np.ndarray) -> bool:
        width, height = float(box[2] - box[0]), float(box[3] - box[1])
        return math.sqrt(width * height) > 16 and width / height < 5 and height / width < 5

    uncertain = {}
    for i in given.pool.unlabelled:
        boxes = given.detections[i].xyxy.astype(np.float64)
        rows = zip(each(given, i, 0.05), boxes, strict=False)  # best first, so those below the score come last
        uncertain[i] = sum(binary(s) * weights[c] for (s, c, _, _), box in rows if variant == "paper" or counts(box))
    picks = ppal.select(given, 18, 0, ppal.Options(variant=variant))  # type: ignore[arg-type]
    assert [pick.id for pick in picks] == best(uncertain, 18)
    assert [pick.score for pick in picks] == pytest.approx([uncertain[pick.id] for pick in picks], abs=1e-6)

    every = [f for i in given.pool.unlabelled for _, _, _, f in each(given, i, 0.05)]
    mean = sum(every) / len(every)

    def one_way(a: int, b: int) -> float:
        total = weight = 0.0
        for k, (s, c, _, f) in enumerate(each(given, a, 0.05)):
            found = [2.0]
            for m, (_, other, _, g) in enumerate(each(given, b, 0.05)):
                if other == c:
                    found.append(0.0 if variant == "code" and k == m else 1 - cosine(f - mean, g - mean))
            total, weight = total + s * min(found), weight + s
        return total / weight

    seen = [ppal.described(given.detections, i, 0.05) for i in given.pool.unlabelled]
    distances = ppal.image_distances(seen, mean, equal_ranks=variant == "code")
    for a, b in ((0, 1), (3, 9), (17, 2), (5, 11)):
        ids = given.pool.unlabelled[a], given.pool.unlabelled[b]
        assert distances[a, b] == pytest.approx((one_way(*ids) + one_way(*ids[::-1])) / 2, abs=2e-6)  # six places


@pytest.mark.parametrize("variant", ["paper", "code"])
@pytest.mark.parametrize("seed", SEEDS)
def test_cald_is_the_nearest_of_all_matches(seed: int, variant: str) -> None:
    rng = np.random.default_rng(seed)

    def view(count: int) -> ViewDetections:
        corner, q = rng.random((count, 2)) * 60, rng.dirichlet(np.ones(CLASSES + 1), count)
        return ViewDetections(
            np.hstack([corner, corner + 30]), np.sort(rng.random(count))[::-1].copy(), q[:, 1:].argmax(axis=1), q
        )

    def js(p: np.ndarray, q: np.ndarray) -> float:
        nats = sum(
            a * math.log(2 * a / (a + b)) / 2 + b * math.log(2 * b / (a + b)) / 2 for a, b in zip(p, q, strict=True)
        )
        return nats if variant == "code" else nats / math.log(2)

    def iou(a: np.ndarray, b: np.ndarray) -> float:
        sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
        return float(sides.prod() / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - sides.prod()))

    options = cald.Options(variant=variant)  # type: ignore[arg-type]
    for plain, altered in ((view(5), view(7)), (view(1), view(1)), (view(3), view(0)), (view(0), view(3))):
        largest = {"paper": 1.3, "code": 1.0}[variant]
        found = [largest]
        if variant == "code" and not (len(plain.scores) and len(altered.scores)):
            found = [0.0]
        elif len(altered.scores):
            for box, p, q in zip(plain.xyxy, plain.scores, plain.distributions, strict=True):
                overlaps = [iou(box, other) for other in altered.xyxy]
                k = overlaps.index(max(overlaps))
                m = overlaps[k] + (1 - js(q, altered.distributions[k])) * (p + altered.scores[k]) / 2
                found.append(abs((0.0 if variant == "paper" and max(overlaps) == 0 else m) - 1.3))
        distance = cald.image_distance(plain, plain.xyxy, altered, options)
        assert distance == pytest.approx(min(found), abs=1e-6)


def gradient(loss: Tensor, *of: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, of))


@pytest.mark.parametrize("seed", SEEDS)
def test_ll4al_ranks_pairs(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    losses = torch.rand(8, generator=generator, dtype=torch.float64)
    predicted = torch.randn(8, generator=generator, dtype=torch.float64, requires_grad=True)
    terms = []
    for i in range(4):
        j = 7 - i
        sign = 1.0 if losses[i] > losses[j] else -1.0
        terms.append(torch.clamp(-sign * (predicted[i] - predicted[j]) + 1.0, min=0))
    reference, ours = sum(terms) / 4, ranking_loss(predicted, losses, 1.0)
    assert ours.item() == pytest.approx(reference.item(), abs=1e-9)
    assert torch.allclose(gradient(ours, predicted)[0], gradient(reference, predicted)[0], atol=1e-9)


@pytest.mark.parametrize("variant", ["paper", "code"])
@pytest.mark.parametrize("seed", SEEDS)
def test_mi_aod_weighs_anchors_by_the_mil_head(seed: int, variant: str) -> None:
    """Two images, three levels, sigmoid classifiers. Paper: one softmax and a mean; code: one a level, and sums."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [12, 4, 1]
    shape = (2, sum(sizes), CLASSES)
    logits1, logits2, mil = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3))
    for one in (logits1, logits2, mil):
        one.requires_grad_()
    p1, p2 = logits1.sigmoid(), logits2.sigmoid()
    together = ((logits1 + logits2) / 2).sigmoid() if variant == "code" else (p1 + p2) / 2

    spans = [range(12), range(12, 16), range(16, 17)] if variant == "code" else [range(17)]
    weights: dict[tuple[int, int], Tensor] = {}
    scores = []
    for b in range(2):
        by_level = []
        for span in spans:
            share = torch.stack([together[b, a].max().detach() for a in span]).softmax(0)
            for place, a in enumerate(span):
                weights[b, a] = mil[b, a].softmax(0) * share[place]
            by_level.append(sum(weights[b, a] for a in span))
        scores.append(torch.stack(by_level).max(0).values.clamp(1e-5, 1 - 1e-5))
    apart = [[((p1[b, a] - p2[b, a]).abs() * weights[b, a].detach()).mean() for a in range(17)] for b in range(2)]
    alike = [[((1 - (p1[b, a] - p2[b, a]).abs()) * weights[b, a].detach()).mean() for a in range(17)] for b in range(2)]
    images = 1 if variant == "code" else 2
    expected = [sum(map(sum, terms)) / images for terms in (apart, alike)]

    ours = mi_aod.Combination.of(variant, sizes)
    found = ours.instance_weights(mil, together)
    assert torch.allclose(ours.image_scores(found), torch.stack(scores), atol=1e-9)
    losses = [ours.disagreement(p1, p2, found), ours.agreement(p1, p2, found)]
    for loss, reference in zip(losses, expected, strict=True):
        assert loss.item() == pytest.approx(reference.item(), abs=1e-9)
        kept = torch.autograd.grad(loss, (logits1, logits2), retain_graph=True)
        for a, b in zip(kept, torch.autograd.grad(reference, (logits1, logits2), retain_graph=True), strict=True):
            assert torch.allclose(a, b, atol=1e-9) and a.abs().sum() > 0
    (of_mil,) = torch.autograd.grad(ours.image_scores(found).sum(), mil, retain_graph=True)
    (of_reference,) = torch.autograd.grad(torch.stack(scores).sum(), mil)
    assert torch.allclose(of_mil, of_reference, atol=1e-9)

    worst = sorted(((p1[0, a] - p2[0, a]) ** 2).mean().item() for a in range(17))[::-1]
    mean, peak = mi_aod.discrepancy(p1, p2, 5)
    assert (mean[0].item(), peak[0].item()) == pytest.approx((sum(worst[:5]) / 5, worst[0]), abs=1e-9)


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_isd_compares_the_answers_to_mixed_images(seed: int, detach: bool) -> None:
    """Jeong et al. 2021: type I and II and flip consistency, prior by prior; ``detach`` as in the code."""
    generator = torch.Generator().manual_seed(seed)
    a, b, mix = (torch.randn(2, 9, 3, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(3))
    at = [torch.randn(2, 9, 4, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(3)]
    p, q, m = a.softmax(-1), b.softmax(-1), mix.softmax(-1)
    share, epsilon = 0.4, 1e-7

    def shows(one: Tensor) -> bool:
        return bool(one[1:].max() > one[0])

    def held(one: Tensor) -> Tensor:
        return one.detach() if detach else one

    def kl(one: Tensor, other: Tensor) -> Tensor:
        return sum(one[k] * (torch.log(one[k] + epsilon) - torch.log(other[k] + epsilon)) for k in range(3))  # type: ignore[return-value]

    def mean(values: list[Tensor]) -> Tensor:
        return torch.stack(values).mean() if values else torch.zeros((), dtype=torch.float64)

    places = [(i, k) for i in range(2) for k in range(9)]
    both = [at_ for at_ in places if shows(p[at_]) and shows(q[at_])]
    target = share * p + (1 - share) * q
    first = mean([(kl(held(target[x]), m[x]) + kl(held(m[x]), target[x])) / 2 for x in both])
    alone = [x for x in places if shows(p[x]) and not shows(q[x])]
    offsets = [((at[0][x].detach() - at[2][x]) ** 2).mean() for x in alone]
    second = mean([kl(p[x].detach(), m[x]) for x in alone]) + mean(offsets)
    sign = torch.tensor([-1.0, 1, 1, 1], dtype=torch.float64)
    front = [x for x in places if shows(p[x])]
    third = mean([(kl(held(p[x]), q[x]) + kl(held(q[x]), p[x])) / 2 for x in front])
    third = third + mean([((at[0][x] - at[1][x] * sign) ** 2).mean() for x in front])

    one, other = isd.foreground(p), isd.foreground(q)
    ours = [
        isd.type1(target, m, one & other, detach),
        isd.type2(p, at[0], m, at[2], one & ~other),
        isd.flip_consistency(p, at[0], q, at[1], detach),
    ]
    assert both and alone
    for loss, reference in zip(ours, (first, second, third), strict=True):
        assert loss.item() == pytest.approx(reference.item(), abs=1e-9)
        learning = (a, b, mix, *at)
        kept = torch.autograd.grad(loss, learning, retain_graph=True, allow_unused=True, materialize_grads=True)
        right = torch.autograd.grad(reference, learning, retain_graph=True, allow_unused=True, materialize_grads=True)
        assert all(torch.allclose(x, y, atol=1e-9) for x, y in zip(kept, right, strict=True))
