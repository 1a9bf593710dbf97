"""margin, least_confidence and hybrid on numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mgral.config.schema import Strategy
from mgral.core.errors import MgralError
from mgral.core.types import Detections, Embeddings
from mgral.data.evidence import Evidence
from mgral.data.pool import Pool
from mgral.strategies import hybrid, least_confidence, margin
from mgral.strategies._contract import modules_of


def detected(*probs: list[float]) -> Detections:
    """Detections of a softmax detector, background first."""
    given = np.array(probs, np.float32).reshape(-1, 3)
    foreground = given[:, 1:]
    return Detections(
        np.zeros((len(given), 4), np.float32),
        foreground.max(axis=1, initial=0),
        foreground.argmax(axis=1) if len(given) else np.zeros(0, np.int64),
        given,
    )


@pytest.fixture
def given() -> Evidence:
    # margins: 0.5 - 0.3 = 0.2; 0.8 - 0.1 = 0.7; 0.45 - 0.45 = 0
    images = {
        1: detected([0.2, 0.5, 0.3]),
        2: detected([0.1, 0.8, 0.1], [0.1, 0.8, 0.1]),
        3: detected([0.45, 0.45, 0.1]),
        4: detected(),
    }
    vectors = np.zeros((5, 256), np.float32)
    vectors[:, 0] = [0, 1, 5, 2, 9]  # of images 0 (labelled) to 4
    embeddings = Embeddings(np.arange(5), vectors)
    return Evidence(Pool(0, {0: 0}, (1, 2, 3, 4)), ("ant", "bee"), images, "softmax", embeddings, labels={})


def test_margins_are_squared_and_summed(given: Evidence) -> None:
    picks = margin.select(given, 4, 0, margin.Options())
    assert [pick.id for pick in picks] == [3, 1, 2, 4]
    assert [pick.score for pick in picks] == pytest.approx([1.0, 0.64, 2 * 0.09, 0], abs=1e-6)
    mean = margin.select(given, 4, 0, margin.Options(aggregate="mean"))
    assert {pick.id: pick.score for pick in mean}[2] == pytest.approx(0.09, abs=1e-6)


def test_least_confidence_is_the_rest_of_the_likeliest_class(given: Evidence) -> None:
    picks = least_confidence.select(given, 4, 0, least_confidence.Options())
    assert [pick.id for pick in picks] == [3, 1, 2, 4]
    assert [pick.score for pick in picks] == pytest.approx([0.55, 0.5, 0.4, 0], abs=1e-6)
    assert picks[2].reason == {"uncertainty": pytest.approx(0.4), "detections": 2}
    largest = least_confidence.select(given, 4, 0, least_confidence.Options(aggregate="max"))
    assert {pick.id: pick.score for pick in largest}[2] == pytest.approx(0.2, abs=1e-6)


def test_one_strategy_narrows_and_the_other_picks(given: Evidence) -> None:
    # the two of smallest margin are 3 and 1; of these 3 (at 2) is farther from image 0 than 1. Image 4, at 9, is out
    options = hybrid.Options(first="margin", expand=2)
    (pick,) = hybrid.select(given, 1, 0, options)
    assert (pick.id, pick.score) == (3, 2.0)
    assert pick.reason == {"rank": 1, "first": pytest.approx(1.0), "candidates": 2, "second": 2.0}
    assert [pick.id for pick in hybrid.select(given, 1, 0, hybrid.Options(first="margin"))] == [4]


def test_a_hybrid_of_what_trains_is_refused_before_anything_runs() -> None:
    with pytest.raises(MgralError, match=r"hybrid\.second: ll4al needs image_scores too"):
        hybrid.Options(second="ll4al")
    with pytest.raises(MgralError, match=r"hybrid\.first_options\.agregate: unknown key"):
        hybrid.Options(first_options={"agregate": "sum"})
    with pytest.raises(MgralError, match="entropie"):
        hybrid.Options(first="entropie")


def test_the_code_of_a_hybrid_is_that_of_both() -> None:
    entry = Strategy(name="mine", plugin="hybrid", options={"first": "hybrid", "second": "cdal"})
    names = ("hybrid", "hybrid", "entropy", "coreset", "cdal")
    assert modules_of(entry) == [f"mgral.strategies.{name}" for name in names]
    assert modules_of(Strategy(name="entropy", plugin="entropy")) == ["mgral.strategies.entropy"]
