"""What every strategy promises (mgral.strategies._contract), for each that the plug-in lookup finds."""

from __future__ import annotations

import functools
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest

from mgral.agent.policy import Policy
from mgral.config.schema import Strategy
from mgral.core import plugins
from mgral.core.errors import MgralError
from mgral.core.types import Activation, Boxes, Detections, Embeddings, ImageScores, Patterns, Pick
from mgral.data.evidence import Evidence
from mgral.data.pool import Pool
from mgral.strategies._contract import IN_FILES, Terms, kept_for


def cases() -> Iterator[Any]:
    """Every strategy with its defaults, and with each other value of each option that is a choice."""
    for name in plugins.names("strategies"):
        yield pytest.param(name, {}, id=name)
        for key, field in plugins.load("strategies", name).Options.model_fields.items():
            for value in get_args(field.annotation) if get_origin(field.annotation) is Literal else ():
                if value != field.default:
                    yield pytest.param(name, {key: value}, id=f"{name}-{key}-{value}")


CASES = list(cases())
KNOWN_NEEDS = IN_FILES | {"labels", "truth"}
DIMS = 256

Make = Callable[..., Evidence]
Choice = Mapping[str, Any]


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    """A trained policy's file; untrained weights serve as well."""
    path = tmp_path / "agent.safetensors"
    Policy(DIMS, hidden=8, seed=0).save(path)
    return path


@pytest.fixture
def evidence(agent: Path) -> Make:
    """Makes the evidence that a strategy asks for, and nothing more."""

    def make(
        needs: frozenset[str],
        classes: int = 3,
        objects: Sequence[int] = (0, 1, 2, 3, 4),
        activation: Activation = "softmax",
        alike: bool = False,
        terms: Terms | None = None,
    ) -> Evidence:
        """Ids 101 … 140, every third labelled.

        Args:
            needs: the strategy's NEEDS.
            classes: number of classes.
            objects: detections, or annotated boxes, per image, in turn.
            activation: of the detector.
            alike: whether all images have the same embedding, the same detections and the same image scores.
            terms: the strategy's TERMS, if it assesses images.
        """
        ids = np.arange(101, 141)
        labelled = {i: 0 for i in ids.tolist() if i % 3 == 0}
        pool = Pool(0, labelled, tuple(i for i in ids.tolist() if i % 3))
        detections, embeddings, labels, truth, held_out = None, None, None, None, None
        counts = [objects[k % len(objects)] for k in range(len(ids))]
        boxes = {i: annotated(count, classes) for i, count in zip(ids.tolist(), counts, strict=True)}
        if "detections" in needs:
            rows = [0 if alike else k for k in range(len(ids))]
            detections = {
                i: detected(count, classes, activation, seed=row)
                for i, count, row in zip(ids.tolist(), counts, rows, strict=True)
            }
        if "embeddings" in needs:
            vectors = np.random.default_rng(0).normal(size=(len(ids), DIMS)).astype(np.float32)
            embeddings = Embeddings(ids, np.zeros_like(vectors) if alike else vectors)
        patterns = None
        if "patterns" in needs:
            local = np.random.default_rng(1).normal(size=(len(ids), 3, 8)).astype(np.float16)
            patterns = Patterns(ids, np.ones_like(local) if alike else local)
        if "labels" in needs:
            labels = {i: boxes[i] for i in labelled}
        if "truth" in needs:
            truth = boxes
        if "held_out" in needs:
            held_out = {i: detected(len(boxes[i]), classes, activation, seed=i) for i in list(labelled)[::2]}
        return Evidence(
            pool,
            tuple(f"class{k}" for k in range(classes)),
            detections,
            activation if "detections" in needs else None,
            embeddings,
            agent if "agent" in needs else None,
            labels,
            truth,
            scores_of(ids, terms, classes, 0 if objects == (0,) else 1, alike) if terms is not None else None,
            np.linspace(0, 0.5, classes) if "competence" in needs else None,
            held_out,
            patterns,
            confident=(20, 15) if "competence" in needs else None,
        )

    return make


@functools.cache
def detected(count: int, classes: int, activation: Activation, seed: int) -> Detections:
    """Detections with probabilities as a detector of that activation gives them, best first."""
    rng = np.random.default_rng(seed)
    if activation == "softmax":
        probs = rng.dirichlet(np.ones(classes + 1), count)
        of_classes = probs[:, 1:]
    else:
        probs = of_classes = rng.random((count, classes))
    order = np.argsort(-of_classes.max(axis=1))
    corner = rng.random((count, 2)) * 50
    directions = rng.normal(size=(count, 64))
    found = (
        np.hstack([corner, corner + 20]).astype(np.float32),
        of_classes.max(axis=1)[order].astype(np.float32),
        of_classes.argmax(axis=1)[order].astype(np.int64),
        probs[order].astype(np.float32),
        (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float16),
    )
    for array in found:
        array.setflags(write=False)  # all tests share them
    return Detections(*found)


def scores_of(ids: np.ndarray, terms: Terms, classes: int, scale: float, alike: bool) -> ImageScores:
    """An image_scores in ``terms``, with numbers from 0 to ``scale``; some images share theirs, or all if ``alike``."""
    rng = np.random.default_rng(0)
    rows = np.zeros(len(ids), np.int64) if alike else rng.integers(0, 30, len(ids))
    widths = {name: tuple({"class": classes}[axis] for axis in axes) for name, axes in terms.items()}
    return ImageScores(ids, {name: scale * rng.random((30, *width))[rows] for name, width in widths.items()})


def annotated(count: int, classes: int) -> Boxes:
    """Ground truth with the classes in turn."""
    xyxy = np.tile(np.array([10, 10, 30, 30], np.float32), (count, 1))
    return Boxes(xyxy, np.arange(count, dtype=np.int64) % classes, np.zeros(count, np.bool_))


PRICED = {"mgral": {"polished", "rule", "certainty"}}  # only where a price is given: tests/contract/test_prices_verb.py


def given_terms(name: str, make: Make) -> set[str]:
    """Every term that stands in a reason: under all options that are choices, with labels and without any."""
    found: set[str] = set()
    for options in (case.values[1] for case in CASES if case.values[0] == name):
        given = make(**needs(name))
        everything = tuple(sorted([*given.pool.labelled, *given.pool.unlabelled]))
        unstarted = replace(
            given,
            pool=Pool(0, {}, everything),
            labels=given.labels and {},
            held_out=given.held_out and {},
            confident=given.confident and (0, 0),
        )
        for one in (given, unstarted):
            found |= {term for pick in select(name, options, one, 1000) for term in pick.reason}
    return found


def select(name: str, options: Choice, given: Evidence, budget: int, seed: int = 0) -> list[Pick]:
    strategy = plugins.load("strategies", name)
    picks: list[Pick] = strategy.select(given, budget, seed, strategy.Options(**options))
    return picks


def needs(name: str) -> dict[str, Any]:
    """What the evidence of a strategy is made from."""
    strategy = plugins.load("strategies", name)
    return {"needs": strategy.NEEDS, "terms": getattr(strategy, "TERMS", None)}


def check(picks: list[Pick], given: Evidence, budget: int) -> None:
    """Exactly ``budget`` distinct unlabelled ids, best first, with plain numbers and reasons."""
    ids = [pick.id for pick in picks]
    assert len(ids) == min(budget, len(given.pool.unlabelled))
    assert len(set(ids)) == len(ids)
    assert set(ids) <= set(given.pool.unlabelled)
    assert not set(ids) & set(given.pool.labelled)
    scores = [pick.score for pick in picks]
    assert scores == sorted(scores, reverse=True)
    for pick in picks:
        assert type(pick.id) is int
        assert type(pick.score) is float
        assert math.isfinite(pick.score)
        assert json.loads(json.dumps(dict(pick.reason), allow_nan=False)) == dict(pick.reason)


@pytest.mark.parametrize("name", plugins.names("strategies"))
def test_module(name: str) -> None:
    strategy = plugins.load("strategies", name)
    assert strategy.__doc__
    assert isinstance(strategy.NEEDS, frozenset)
    assert strategy.NEEDS <= KNOWN_NEEDS
    assert ("image_scores" in strategy.NEEDS) == hasattr(strategy, "score") == hasattr(strategy, "TERMS")
    assert hasattr(strategy, "reports_own") == hasattr(strategy, "score_and_detect")
    if hasattr(strategy, "reports_own"):
        assert "image_scores" in strategy.NEEDS
        assert not strategy.reports_own(strategy.Options())  # an addition for who asks
    assert strategy.Options.parse(None, name) == strategy.Options()
    for key, field in strategy.Options.model_fields.items():
        assert field.description, f"option {key} has no description"


@pytest.mark.parametrize("name", plugins.names("strategies"))
def test_every_term_of_a_reason_is_explained_and_no_other(name: str, evidence: Make) -> None:
    reasons = plugins.load("strategies", name).REASONS
    assert given_terms(name, evidence) | PRICED.get(name, set()) == set(reasons)
    for text in reasons.values():
        assert text and "\n" not in text and len(text) <= 110


@pytest.mark.parametrize("name", plugins.names("strategies"))
def test_a_control_says_what_for(name: str) -> None:
    strategy = plugins.load("strategies", name)
    if "truth" in strategy.NEEDS:
        assert not hasattr(strategy, "CONTROL")  # it is said of all that read the truth, in the same words
    else:
        assert getattr(strategy, "CONTROL", "a contender")


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("budget", [1, 7, 26, 27, 1000])
def test_budget(name: str, options: Choice, budget: int, evidence: Make) -> None:
    # 40 ids from 101, of which 102, 105, … 138 are labelled (13): 27 are left
    given = evidence(**needs(name))
    assert len(given.pool.unlabelled) == 27
    check(select(name, options, given, budget), given, budget)


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("alike", [False, True])
def test_order_of_the_pool_does_not_matter(name: str, options: Choice, alike: bool, evidence: Make) -> None:
    given = evidence(**needs(name), alike=alike)
    shuffled = np.random.default_rng(1).permutation(given.pool.unlabelled).tolist()
    pool = Pool(0, dict(reversed(given.pool.labelled.items())), tuple(shuffled))
    detections = given.detections and {i: given.detections[i] for i in sorted(given.detections, reverse=True)}
    assert select(name, options, replace(given, pool=pool, detections=detections), 20) == select(
        name, options, given, 20
    )


@pytest.mark.parametrize(("name", "options"), CASES)
def test_same_seed_same_answer(name: str, options: Choice, evidence: Make) -> None:
    given = evidence(**needs(name))
    first = select(name, options, given, 9, seed=5)
    np.random.seed(1)  # noqa: NPY002 - a strategy that drew from the global state would answer differently
    assert select(name, options, given, 9, seed=5) == first


def test_random_follows_the_seed(evidence: Make) -> None:
    given = evidence(frozenset())
    assert select("random", {}, given, 9, seed=1) != select("random", {}, given, 9, seed=2)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_ties_go_to_the_smaller_id(name: str, options: Choice, evidence: Make) -> None:
    picks = select(name, options, evidence(**needs(name), objects=(2,), alike=True), 27)
    for before, after in itertools.pairwise(picks):
        assert before.score != after.score or before.id < after.id


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_one_class(name: str, options: Choice, activation: Activation, evidence: Make) -> None:
    if options.get("per_detection") == "softmax" and activation == "sigmoid":
        pytest.skip("refused: a sigmoid detector has no softmax")
    given = evidence(**needs(name), classes=1, activation=activation)
    check(select(name, options, given, 9), given, 9)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_no_predictions_anywhere(name: str, options: Choice, evidence: Make) -> None:
    given = evidence(**needs(name), objects=(0,))
    check(select(name, options, given, 9), given, 9)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_images_all_alike(name: str, options: Choice, evidence: Make) -> None:
    given = evidence(**needs(name), objects=(2,), alike=True)
    check(select(name, options, given, 9), given, 9)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_nothing_labelled(name: str, options: Choice, evidence: Make) -> None:
    given = evidence(**needs(name))
    everything = tuple(sorted([*given.pool.labelled, *given.pool.unlabelled]))
    given = replace(given, pool=Pool(0, {}, everything), labels=given.labels and {}, held_out=given.held_out and {})
    check(select(name, options, given, 9), given, 9)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_nothing_left(name: str, options: Choice, evidence: Make) -> None:
    given = evidence(**needs(name))
    assert select(name, options, replace(given, pool=Pool(1, given.pool.labelled, ())), 9) == []


MISSING = {
    "detections": r"image {} has no detections entry",
    "embeddings": r"image {} has no embedding",
    "image_scores": r"image {} has no row in the image scores",
    "truth": r"image {} has no annotation",
    "patterns": r"image {} has no local patterns",
}


def without(given: Evidence, need: str, image: int) -> Evidence:
    """The evidence without one image's part of a need."""
    if need == "embeddings":
        assert given.embeddings is not None
        kept = given.embeddings.ids != image
        return replace(given, embeddings=Embeddings(given.embeddings.ids[kept], given.embeddings.vectors[kept]))
    if need == "patterns":
        assert given.patterns is not None
        kept = given.patterns.ids != image
        return replace(given, patterns=Patterns(given.patterns.ids[kept], given.patterns.vectors[kept]))
    if need == "image_scores":
        assert given.image_scores is not None
        kept = given.image_scores.ids != image
        terms = {name: term[kept] for name, term in given.image_scores.terms.items()}
        return replace(given, image_scores=ImageScores(given.image_scores.ids[kept], terms))
    return replace(given, **{need: {i: one for i, one in getattr(given, need).items() if i != image}})


@pytest.mark.parametrize(("name", "options"), CASES)
def test_what_is_needed_and_was_not_given_is_named(name: str, options: Choice, evidence: Make) -> None:
    given = evidence(**needs(name))
    for need in plugins.load("strategies", name).NEEDS:
        with pytest.raises(MgralError, match=rf"^strategy {name}: needs "):
            select(name, options, replace(given, **{need: None}), 9)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_an_image_without_evidence_is_named(name: str, options: Choice, evidence: Make) -> None:
    given = evidence(**needs(name))
    image = given.pool.unlabelled[4]
    for need in plugins.load("strategies", name).NEEDS & MISSING.keys():
        with pytest.raises(MgralError, match=MISSING[need].format(image)):
            select(name, options, without(given, need, image), 9)


def without_kept(given: Evidence, what: str) -> Evidence:
    """The evidence as from a file that does not keep probabilities, or features, of detections."""

    def less(one: Detections) -> Detections:
        return replace(one, probs=one.probs[:, :0]) if what == "probabilities" else replace(one, features=None)

    parts = {name: getattr(given, name) for name in ("detections", "held_out")}
    return replace(given, **{name: part and {i: less(one) for i, one in part.items()} for name, part in parts.items()})


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("what", ["probabilities", "features"])
def test_a_strategy_says_what_it_reads_of_detections(name: str, options: Choice, what: str, evidence: Make) -> None:
    """What it does not name is not kept on disk, and is not missed."""
    given = evidence(**needs(name))
    if what in kept_for(Strategy(name=name, plugin=name, options=dict(options))):
        with pytest.raises(MgralError, match=r"without features|no class probabilities"):
            select(name, options, without_kept(given, what), 9)
    else:
        assert select(name, options, without_kept(given, what), 9) == select(name, options, given, 9)


PAGES = Path(__file__).parents[2] / "docs" / "strategies"
SECTIONS = ("Paper", "Formula", "What differs", "Options", "Cost", "Measured result")


@pytest.mark.parametrize("name", plugins.names("strategies"))
def test_every_strategy_has_a_page(name: str) -> None:
    path = PAGES / f"{name}.md"
    assert path.is_file(), f"write docs/strategies/{name}.md, as those beside it"
    headings = [line.removeprefix("## ") for line in path.read_text().splitlines() if line.startswith("## ")]
    assert len(headings) == len(SECTIONS)
    assert all(found.startswith(wanted) for found, wanted in zip(headings, SECTIONS, strict=True))
    assert f"[`{name}`]({name}.md)" in (PAGES / "README.md").read_text()
    variants = plugins.load("strategies", name).Options.model_fields
    assert all(f"`{key}`" in path.read_text() for key in variants), "name every option"
