"""cald: consistency and divergences by hand, boxes that follow the pixels, and the choice."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mgral.core.errors import MgralError
from mgral.core.types import Boxes, ImageScores
from mgral.data.evidence import Evidence
from mgral.data.pool import Pool
from mgral.strategies.cald import (
    ALTERATIONS,
    Options,
    consistency,
    image_classes,
    image_distance,
    jensen_shannon,
    labelled_classes,
    select,
    views,
)
from mgral.strategies.cald.views import ViewDetections

SIZE = 100


def seen(*detections: tuple[list[float], float, list[float]]) -> ViewDetections:
    """Detections of class 0 as (box, score, distribution)."""
    return ViewDetections(
        np.array([box for box, _, _ in detections], np.float64).reshape(-1, 4),
        np.array([score for _, score, _ in detections], np.float64),
        np.zeros(len(detections), np.int64),
        np.array([distribution for _, _, distribution in detections], np.float64).reshape(-1, 2),
    )


def test_divergence_in_bits() -> None:
    p = np.array([[1.0, 0.0], [1.0, 0.0], [0.3, 0.7]])
    q = np.array([[0.0, 1.0], [0.5, 0.5], [0.3, 0.7]])
    # H((p+q)/2) - (H(p)+H(q))/2:  H(1/2) - 0 = 1;  H(3/4) - (0 + 1)/2 = 0.811278 - 0.5;  equals: 0
    assert jensen_shannon(p, q).tolist() == pytest.approx([1.0, 0.311278, 0.0], abs=1e-6)
    assert jensen_shannon(q, p).tolist() == jensen_shannon(p, q).tolist()


def test_two_boxes() -> None:
    plain = seen(([0, 0, 10, 10], 1.0, [0, 1]), ([20, 20, 30, 30], 0.5, [0.5, 0.5]))
    altered = seen(([0, 0, 10, 5], 0.5, [0.5, 0.5]), ([50, 50, 60, 60], 0.4, [0.6, 0.4]))
    # first: IoU 50/100, JS 0.311278:  m = 0.5 + (1 - 0.311278)(1 + 0.5)/2 = 1.016541, |m - 1.3| = 0.283459
    # second: overlaps nothing, m = 0, |m - 1.3| = 1.3
    assert consistency(plain, plain.xyxy, altered).tolist() == pytest.approx([1.016541, 0], abs=1e-6)
    assert image_distance(plain, plain.xyxy, altered, Options()) == pytest.approx(0.283459, abs=1e-6)
    assert image_distance(plain, plain.xyxy, altered, Options(base=0)) == 0


def test_perfect_agreement_and_its_end() -> None:
    plain = seen(([0, 0, 10, 10], 0.9, [0.1, 0.9]))
    # the same again: m = 1 + (0.9 + 0.9)/2 = 1.9; nothing again: m = 0
    assert image_distance(plain, plain.xyxy, plain, Options()) == pytest.approx(0.6)
    assert image_distance(plain, plain.xyxy, seen(), Options()) == pytest.approx(1.3)


def test_no_detection_is_a_policy() -> None:
    # m lies in 0..2, so the largest distance there is from 1.3 is 1.3, and from 0.5 it is 1.5
    for options, distance in ((Options(), 1.3), (Options(base=0.5), 1.5), (Options(empty="first"), 0.0)):
        assert image_distance(seen(), np.zeros((0, 4)), seen(([0, 0, 1, 1], 1.0, [0, 1])), options) == distance


def test_where_boxes_go() -> None:
    box = np.array([[10.0, 20.0, 30.0, 40.0]])
    flip, stay, shrink, turn = (views.move(box, matrix, SIZE)[0] for matrix in views.MOVES)
    assert flip.tolist() == [70, 20, 90, 40]  # 100 - 30, 100 - 10
    assert stay.tolist() == [10, 20, 30, 40]
    assert shrink.tolist() == [18, 26, 34, 42]  # 50 + 0.8 (x - 50)
    # from the centre x in -40..-20, y in -30..-10; x' = cx - sy, y' = sx + cy
    c, s = math.cos(math.radians(5)), math.sin(math.radians(5))
    expected = [50 - 40 * c + 10 * s, 50 - 40 * s - 30 * c, 50 - 20 * c + 30 * s, 50 - 20 * s - 10 * c]
    assert turn.tolist() == pytest.approx(expected)
    corner = views.move(np.array([[0.0, 0.0, 20.0, 20.0]]), views.MOVES[3], SIZE)[0]
    assert corner.min() == 0  # clipped to the image


def test_boxes_go_where_the_pixels_go() -> None:
    box = np.array([[12, 24, 32, 64]])
    x1, y1, x2, y2 = box[0]
    images = torch.zeros(1, 3, SIZE, SIZE)
    images[:, :, y1:y2, x1:x2] = 1
    for name, matrix, altered in zip(ALTERATIONS, views.MOVES, views.alter(images, [7], 0), strict=True):
        if name == "cut_out":
            continue
        rows, columns = torch.nonzero(altered[0, 0] > 0.75).unbind(1)  # grey is 0.5
        bright = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert np.abs(views.move(box.astype(float), matrix, SIZE)[0] - bright).max() < 1.5, name


def test_what_is_cut_out_depends_on_seed_and_id_alone() -> None:
    images = torch.ones(2, 3, SIZE, SIZE)
    both = views.cut_out(images, [7, 8], 0)
    assert torch.equal(both[1:], views.cut_out(images[1:], [8], 0))
    assert not torch.equal(both[0], both[1])
    assert not torch.equal(both, views.cut_out(images, [7, 8], 1))
    assert images.min() == 1
    # two rectangles with sides of 5 to 20 pixels, perhaps one over the other
    for image in both:
        assert set(image.unique().tolist()) == {0.5, 1.0}
        assert 5 * 5 <= (image[0] == 0.5).sum() <= 2 * 20 * 20


def test_labelled_classes() -> None:
    def boxes(*labels: int, ignore: int = 0) -> Boxes:
        marks = np.arange(len(labels)) < ignore
        return Boxes(np.zeros((len(labels), 4), np.float32), np.array(labels, np.int64), marks)

    # two ants in one image, none in the other, one bee to ignore: means 1 and 0, softmax e/(e + 1) and 1/(e + 1)
    found = labelled_classes([boxes(0, 0), boxes(1, ignore=1)], 2)
    assert found.tolist() == pytest.approx([math.e / (math.e + 1), 1 / (math.e + 1)])
    assert labelled_classes([], 2).tolist() == [0.5, 0.5]


def evidence(distances: list[float], classes: list[list[float]]) -> Evidence:
    """Ids 1 … n, whose distance is the same for all alterations; the labelled image 9 shows two ants."""
    ids = np.arange(1, len(distances) + 1)
    terms = {name: np.array(distances) for name in ALTERATIONS}
    ants = Boxes(np.zeros((2, 4), np.float32), np.zeros(2, np.int64), np.zeros(2, np.bool_))
    return Evidence(
        Pool(0, {9: 0}, tuple(ids.tolist())),
        ("ant", "bee"),
        labels={9: ants},
        image_scores=ImageScores(ids, {**terms, "classes": np.array(classes)}),
    )


def test_smallest_distance_first_then_new_classes() -> None:
    given = evidence([0.1, 0.2, 0.3, 0.9], [[1, 0], [0, 1], [0, 0], [0, 1]])
    # budget 2, half as many again: 1, 2 and 3 are candidates. Labelled: softmax(2, 0) = (0.881, 0.119).
    # ants: (0.731, 0.269), bees: (0.269, 0.731), nothing: (0.5, 0.5): 2 is the farthest from it, then 3
    picks = select(given, 2, 0, Options(expand=0.5))
    assert [pick.id for pick in picks] == [2, 3]
    labelled, bees = np.array([0.880797, 0.119203]), np.array([0.268941, 0.731059])
    # H(0.574869) - (H(0.880797) + H(0.268941))/2 = 0.983765 - (0.527066 + 0.839941)/2 = 0.300262 bits
    assert jensen_shannon(labelled, bees) == pytest.approx(0.300262, abs=2e-6)
    assert picks[0].score == pytest.approx(0.300262, abs=2e-6)
    alterations = dict.fromkeys(ALTERATIONS, 0.2)
    assert picks[0].reason == {"distance": pytest.approx(0.2), "rank": 2, **alterations, "top_class": "bee"}
    assert picks[1].reason["top_class"] == "none"
    # without a second choice the smallest distances are the batch
    assert {pick.id for pick in select(given, 2, 0, Options(expand=0))} == {1, 2}


def test_of_equal_classes_the_smaller_distance_is_picked() -> None:
    given = evidence([0.5, 0.1, 0.3, 0.2], [[1, 0]] * 4)
    assert [pick.id for pick in select(given, 2, 0, Options(expand=1))] == [2, 4]


def test_what_is_missing_is_named() -> None:
    given = evidence([0.5], [[1, 0]])
    with pytest.raises(MgralError, match="cald: needs the labels"):
        select(Evidence(given.pool, given.classes, image_scores=given.image_scores), 1, 0, Options())
    with pytest.raises(MgralError, match="cald: needs its image scores; give --image-scores, made by `mgral score`"):
        select(Evidence(given.pool, given.classes, labels=given.labels), 1, 0, Options())
    two = Evidence(Pool(0, {}, (1, 2)), given.classes, labels={}, image_scores=given.image_scores)
    with pytest.raises(MgralError, match="image 2 has no row in the image scores; run"):
        select(two, 1, 0, Options())
    one_class = Evidence(given.pool, ("ant",), labels={}, image_scores=given.image_scores)
    with pytest.raises(MgralError, match=r"cald: the image scores' 'classes' has shape \(1, 2\)"):
        select(one_class, 1, 0, Options())
    assert given.image_scores is not None
    other = ImageScores(given.image_scores.ids, {"predicted_loss": np.zeros(1)})
    with pytest.raises(MgralError, match="the image scores have no array 'flip'"):
        select(Evidence(given.pool, given.classes, labels={}, image_scores=other), 1, 0, Options())


def test_the_code_differs_in_six_points_of_the_distance() -> None:
    code = Options(variant="code")
    one = seen(([0, 0, 10, 10], 0.8, [0.2, 0.8]))
    nothing = seen()
    # a view without detections, or a plain image without any: 0 (paper: 1.3 each)
    assert image_distance(one, one.xyxy, nothing, code) == image_distance(nothing, nothing.xyxy, one, code) == 0
    assert image_distance(one, one.xyxy, nothing, Options()) == pytest.approx(1.3)
    # itself: 1 + (0.8 + 0.8)/2 = 1.8, so 0.5 in both
    assert image_distance(one, one.xyxy, one, code) == pytest.approx(0.5)
    # opposite classes, the same place: JS of (1, 0) and (0, 1) is 1 bit, ln 2 nats. Paper: 1 + 0; code: 1 + (1 - ln 2)
    p, q = seen(([0, 0, 10, 10], 1.0, [1, 0])), seen(([0, 0, 10, 10], 1.0, [0, 1]))
    assert image_distance(p, p.xyxy, q, Options()) == pytest.approx(0.3)
    assert image_distance(p, p.xyxy, q, code) == pytest.approx(abs(2 - math.log(2) - 1.3))
    # no overlap: paper m = 0; code (0.8 + 0.9)/2 with the best-scored of two
    far = seen(([50, 50, 60, 60], 0.9, [0.2, 0.8]), ([70, 70, 80, 80], 0.3, [0.2, 0.8]))
    assert image_distance(one, one.xyxy, far, Options()) == pytest.approx(1.3)
    assert image_distance(one, one.xyxy, far, code) == pytest.approx(1.3 - 0.85)
    # the cap: base 2 and m = 0.85 would be 1.15
    assert image_distance(one, one.xyxy, far, Options(variant="code", base=2)) == 1


def test_classes_of_an_image_in_paper_and_code() -> None:
    best = np.array([[0.4, 0.0], [0.8, 0.2]])
    assert image_classes(best, "paper").tolist() == [0.8, 0.2]
    assert image_classes(best, "code").tolist() == pytest.approx([0.6, 0.1])
    assert image_classes(np.array([[0.0, 0.0], [0.8, 0.2]]), "code").tolist() == [0, 0]


def test_in_the_code_images_without_detections_come_first() -> None:
    given = evidence([0.5, 0.1, 0.3], [[1, 0], [0, 1], [0, 0]])
    picks = select(given, 2, 0, Options(variant="code", expand=1))
    assert picks[0].id == 3 and picks[0].reason["top_class"] == "none"


def test_many_detections_are_thinned_evenly() -> None:
    def count(n: int) -> ViewDetections:
        return ViewDetections(np.zeros((n, 4)), np.arange(n) / 200, np.zeros(n, np.int64), np.zeros((n, 2)))

    assert len(views.thinned(count(40)).scores) == 40
    assert (views.thinned(count(99)).scores * 200).tolist() == pytest.approx(np.arange(0, 99, 2))  # every other one
    assert len(set(views.thinned(count(41)).scores.tolist())) == 41  # 50 of 41: nine twice
    assert len(views.thinned(count(41)).scores) == 50


def test_cut_outs_of_the_code_cover_boxes_in_part() -> None:
    images = torch.ones(2, 3, 100, 100)
    box = np.array([[30.0, 30.0, 70.0, 70.0]])
    cut = views.cut_out_in_part(images, [7, 8], 0, [box, np.zeros((0, 4))])
    black = (cut[0, 0] == 0).double()
    assert 0.1 <= black[30:70, 30:70].mean() <= 0.8  # two rectangles of 10 to 40 % each
    assert torch.equal(cut[1], images[1])  # no box
    assert torch.equal(cut, views.cut_out_in_part(images, [7, 8], 0, [box, np.zeros((0, 4))]))
    assert images.min() == 1
