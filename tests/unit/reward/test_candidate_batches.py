"""Batches for the lookup table: how many of each kind, what they hold, and how far apart they lie."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgral.agent.policy import Policy, sequence
from mgral.agent.second_round import draw_by_agent
from mgral.core.errors import MgralError
from mgral.core.files import write_json
from mgral.core.types import Detections, Embeddings
from mgral.data.evidence import Evidence
from mgral.data.pool import Pool
from mgral.reward import candidate_batches, designed_batches
from mgral.reward.candidate_batches import draw
from mgral.reward.detection_quality import expected_quality
from mgral.reward.proxy_plan import GENERATORS, allot
from mgral.reward.signals import measure
from mgral.strategies import balanced, growth
from mgral.strategies._greedy_picks import by_score

CLASSES = ("ant", "bee")
EVERY = {"random": 0.4, "uncertain": 0.2, "cluster": 0.2, "class": 0.2}


def predicts(label: int, objects: int, certainty: float) -> Detections:
    """``objects`` detections of one class; the rest of the probability is background."""
    probs = np.zeros((objects, 3), np.float32)
    probs[:, 0], probs[:, 1 + label] = 1 - certainty, certainty
    scores, labels = probs[:, 1 + label], np.full(objects, label, np.int64)
    return Detections(np.zeros((objects, 4), np.float32), scores, labels, probs)


def synthetic(size: int = 80) -> Evidence:
    """Four groups of images by id modulo 4, each a cloud of its own in the embedding.

    Groups 0 and 1 hold ants, 2 and 3 bees; groups 0 and 2 are sure of it (entropy of 0.99), 1 and 3 are not (of 0.6).
    """
    ids = np.arange(1, size + 1)
    group = ids % 4
    noise = np.random.default_rng(0).normal(size=(size, 4)) * 0.1
    vectors = (np.eye(4)[group] + noise).astype(np.float32)
    detections = {int(i): predicts(int(g) // 2, 2, (0.99, 0.6)[g % 2]) for i, g in zip(ids, group, strict=True)}
    pool = Pool(0, {}, tuple(ids.tolist()))
    return Evidence(pool, CLASSES, detections, "softmax", Embeddings(ids, vectors), labels={})


def spread(batches: list[candidate_batches.CandidateBatch], evidence: Evidence) -> float:
    """Mean squared distance of the batches' mean embeddings to their centre."""
    assert evidence.embeddings is not None
    means = np.array([evidence.embeddings.rows(batch["ids"]).mean(axis=0) for batch in batches])
    return float(means.var(axis=0).sum())


def test_generators_draw_in_the_order_by_which_jobs_are_planned() -> None:
    assert tuple(candidate_batches.SAMPLERS) == GENERATORS


def test_shares_are_allotted_by_largest_remainder() -> None:
    # 12 · 0.4 = 4.8 and three times 12 · 0.2 = 2.4: whole parts 4 + 2 + 2 + 2 = 10; .8 gets the eleventh, and the first
    # of the three .4 the twelfth
    assert allot(12, EVERY) == {"random": 5, "uncertain": 3, "cluster": 2, "class": 2}


def test_shares_are_scaled_and_may_be_zero() -> None:
    assert allot(4, {"class": 3, "random": 1, "cluster": 0}) == {"random": 1, "cluster": 0, "class": 3}


@given(
    st.integers(0, 300),
    st.dictionaries(st.sampled_from(GENERATORS), st.floats(0, 10), min_size=1).filter(
        lambda shares: sum(shares.values()) > 1e-3
    ),
)
def test_allotment_sums_up_and_stays_within_one_of_the_quota(count: int, shares: dict[str, float]) -> None:
    numbers = allot(count, shares)
    assert sum(numbers.values()) == count
    for kind, number in numbers.items():
        assert abs(number - count * shares[kind] / sum(shares.values())) < 1 + 1e-9


def test_faulty_shares_are_named() -> None:
    with pytest.raises(MgralError, match=r"unknown kind 'clusters'; did you mean 'cluster'\?"):
        allot(3, {"clusters": 1})
    with pytest.raises(MgralError, match=r"^proxy.generators.random: the share is -1"):
        allot(3, {"random": -1, "class": 2})
    with pytest.raises(MgralError, match="must not all be zero"):
        allot(3, {"random": 0})


def test_batches_hold_distinct_unlabelled_ids_in_order() -> None:
    evidence = synthetic()
    unlabelled = tuple(i for i in evidence.pool.unlabelled if i % 5)
    labelled = {i: 0 for i in evidence.pool.unlabelled if not i % 5}
    batches = draw(20, 10, EVERY, replace(evidence, pool=Pool(0, labelled, unlabelled)), seed=3)
    kinds = [batch["generator"] for batch in batches]
    assert kinds == ["random"] * 8 + ["uncertain"] * 4 + ["cluster"] * 4 + ["class"] * 4
    for batch in batches:
        assert len(batch["ids"]) == 10
        assert batch["ids"] == sorted(set(batch["ids"]))
        assert set(batch["ids"]) <= set(unlabelled)
    assert len({tuple(batch["ids"]) for batch in batches}) == 20


def test_the_order_of_the_pool_does_not_matter_and_the_seed_does() -> None:
    evidence = synthetic()
    backwards = replace(evidence, pool=replace(evidence.pool, unlabelled=evidence.pool.unlabelled[::-1]))
    batches = draw(10, 8, EVERY, evidence, seed=1)
    assert draw(10, 8, EVERY, backwards, seed=1) == batches
    assert draw(10, 8, EVERY, evidence, seed=2) != batches
    next_cycle = replace(evidence, pool=replace(evidence.pool, cycle=1))
    assert draw(10, 8, EVERY, next_cycle, seed=1) != batches


def test_a_smaller_pool_is_the_batch() -> None:
    batches = draw(4, 10, EVERY, synthetic(6), seed=0)
    assert [batch["ids"] for batch in batches] == [[1, 2, 3, 4, 5, 6]] * 4


def test_all_batches_of_a_tiny_pool_are_used_before_one_repeats() -> None:
    # five images, batches of two: 5 · 4 / 2 = 10 different ones
    batches = draw(10, 2, EVERY, synthetic(5), seed=0)
    assert len({tuple(batch["ids"]) for batch in batches}) == 10
    assert len(draw(12, 2, EVERY, synthetic(5), seed=0)) == 12


def test_an_empty_pool_is_refused() -> None:
    with pytest.raises(MgralError, match="no unlabelled image is left"):
        draw(1, 1, EVERY, replace(synthetic(), pool=Pool(3, {1: 0}, ())), seed=0)


@pytest.mark.parametrize("kind", ["uncertain", "cluster", "class"])
def test_biased_batches_lie_further_apart_than_random_ones(kind: str) -> None:
    # Of 80 images in four equal groups, 20 drawn at random have between them a variance of about
    # Σ p(1-p)/20 · (1 - 19/79) = 0.75 / 20 · 0.76 = 0.028; taken from one or two groups each, an order more.
    evidence = synthetic()
    random = spread(draw(20, 20, {"random": 1}, evidence, seed=0), evidence)
    assert random == pytest.approx(0.028, rel=0.5)
    assert spread(draw(20, 20, {kind: 1}, evidence, seed=0), evidence) > 3 * random


def test_the_mixture_spreads_further_than_random_batches() -> None:
    evidence = synthetic()
    random = spread(draw(20, 20, {"random": 1}, evidence, seed=0), evidence)
    assert spread(draw(20, 20, EVERY, evidence, seed=0), evidence) > 2 * random


def test_uncertain_batches_are_of_high_entropy_and_low_in_turn() -> None:
    # odd ids are unsure; 20 of 40 each way would be chance
    batches = draw(10, 20, {"uncertain": 1}, synthetic(), seed=0)
    unsure = [sum(i % 2 for i in batch["ids"]) for batch in batches]
    assert min(unsure[0::2]) >= 13
    assert max(unsure[1::2]) <= 7


def test_class_batches_follow_one_class_after_the_other() -> None:
    # 40 images have no bee at all and 40 no ant: a batch of 20 comes from one side only
    batches = draw(6, 20, {"class": 1}, synthetic(), seed=0)
    sides = [{i % 4 // 2 for i in batch["ids"]} for batch in batches]
    assert all(len(side) == 1 for side in sides)
    assert sides[0::2] == [sides[0]] * 3
    assert sides[1::2] == [sides[1]] * 3
    assert sides[0] != sides[1]


def test_class_batches_weigh_images_by_expected_objects() -> None:
    # No bee anywhere. Images 1 … 10 hold 9 ants, 11 … 100 one: a batch of one falls on the former with probability
    # 90 / (90 + 90) = 1/2, so of 200 about 100 do (standard deviation 7).
    ids = np.arange(1, 101)
    detections = {int(i): predicts(0, 9 if i <= 10 else 1, 1.0) for i in ids}
    evidence = Evidence(Pool(0, {}, tuple(ids.tolist())), CLASSES, detections, "softmax")
    draw_one = candidate_batches.SAMPLERS["class"](evidence, ids.tolist(), 1, 0)
    hits = sum(int(draw_one(k, np.random.default_rng(k))[0]) < 10 for k in range(200))
    assert 75 <= hits <= 125


def test_cluster_batches_come_mostly_from_few_clusters() -> None:
    # 80 images, batches of 20: four clusters, the groups. Each holds 20 images, at least the 0.8 · 20 = 16 wanted.
    for batch in draw(8, 20, {"cluster": 1}, synthetic(), seed=0):
        assert max(np.bincount([i % 4 for i in batch["ids"]])) == 16


def test_no_predictions_at_all_leave_every_kind_at_work() -> None:
    evidence = synthetic()
    nothing = {i: predicts(0, 0, 1.0) for i in evidence.pool.unlabelled}
    same = Embeddings(np.arange(1, 81), np.ones((80, 4), np.float32))
    batches = draw(12, 10, EVERY, replace(evidence, detections=nothing, embeddings=same), seed=0)
    assert len({tuple(batch["ids"]) for batch in batches}) == 12


def test_a_kind_asks_only_for_what_it_looks_at() -> None:
    evidence = synthetic()
    bare = Evidence(evidence.pool, CLASSES)
    assert len(draw(3, 5, {"random": 1, "cluster": 0, "class": 0}, bare, seed=0)) == 3
    for kind, file in (("uncertain", "--detections"), ("class", "--detections"), ("cluster", "--embeddings")):
        with pytest.raises(MgralError, match=rf"^proxy.generators.{kind}: needs .* give {file}"):
            draw(3, 5, {kind: 1}, bare, seed=0)


def test_faulty_evidence_is_named() -> None:
    evidence = synthetic()
    assert evidence.embeddings is not None
    some = {i: found for i, found in (evidence.detections or {}).items() if i != 7}
    with pytest.raises(MgralError, match=r"^image 7 has no detections entry"):
        draw(1, 5, {"class": 1}, replace(evidence, detections=some), seed=0)
    part = Embeddings(evidence.embeddings.ids[:40], evidence.embeddings.vectors[:40])
    with pytest.raises(MgralError, match=r"^image 41 has no embedding"):
        draw(1, 5, {"cluster": 1}, replace(evidence, embeddings=part), seed=0)


def test_an_agent_draws_by_its_scores(tmp_path: Path) -> None:
    """Batches are of the size asked, never one of the first round, and hold what the agent prefers."""
    evidence = synthetic()
    policy = Policy(4, 4, 0)
    policy.decoder.weight.data.mul_(200)  # scores far apart: hardly anything is left to chance
    policy.save(tmp_path / "agent.safetensors")
    evidence = replace(evidence, agent=tmp_path / "agent.safetensors")
    assert evidence.embeddings is not None
    scanned, features = sequence(evidence.pool.unlabelled, evidence.embeddings, policy)
    order = np.argsort(-policy(features).detach().numpy())
    wanted = {scanned[k] for k in order[:20]}
    batches = draw_by_agent(10, 10, 1.0, evidence, seed=0)
    assert {batch["generator"] for batch in batches} == {"agent"}
    assert all(batch["ids"] == sorted(set(batch["ids"])) and len(batch["ids"]) == 10 for batch in batches)
    # of 10 images 2.5 by chance alone
    assert np.mean([len(wanted & set(batch["ids"])) for batch in batches]) > 5
    backwards = replace(evidence, pool=replace(evidence.pool, unlabelled=evidence.pool.unlabelled[::-1]))
    assert draw_by_agent(10, 10, 1.0, backwards, seed=0) == batches
    assert draw_by_agent(10, 10, 1.0, evidence, seed=1) != batches
    mild = draw_by_agent(10, 10, 1e6, evidence, seed=0)  # by chance alone, whatever the scores
    assert np.mean([len(wanted & set(batch["ids"])) for batch in mild]) < 4
    again = draw_by_agent(10, 10, 1.0, evidence, seed=0, others=batches)
    assert not {tuple(batch["ids"]) for batch in again} & {tuple(batch["ids"]) for batch in batches}
    with pytest.raises(MgralError, match="needs embeddings and an agent; give --embeddings and --agent"):
        draw_by_agent(1, 2, 1.0, replace(evidence, agent=None), seed=0)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({}, "not a list of batches"),
        ([{"generator": "random", "ids": [1]}, {"ids": [2]}], "entry 1 is no batch"),
        ([{"generator": "random", "ids": []}], "entry 0 is no batch"),
        ([{"generator": "random", "ids": [2, 2]}], "entry 0 is no batch"),
        ([{"generator": "random", "ids": ["2"]}], "entry 0 is no batch"),
    ],
)
def test_what_is_no_list_of_batches_is_refused(tmp_path: Path, content: object, says: str) -> None:
    write_json(tmp_path / "batches.json", content)
    with pytest.raises(MgralError, match=rf"batches\.json: {says}.*; run `mgral sample-batches` again"):
        candidate_batches.read(tmp_path / "batches.json")


def test_designed_batches_are_the_ends_of_each_signal_and_those_of_the_rules() -> None:
    evidence = synthetic()
    batches = draw(30, 10, {"designed": 1}, evidence, seed=0)
    names = list(designed_batches.NAMES)
    assert len(names) == 13
    assert [batch["generator"] for batch in batches[13:26]] == [f"varied {name}" for name in names]
    assert len({tuple(batch["ids"]) for batch in batches}) == 30
    by_name = {name: batch["ids"] for batch in batches for name in batch["generator"].split(", ")}
    assert set(names) < set(by_name)
    # groups 1 and 3 are unsure; of equal ones the smallest ids
    assert by_name["most entropy"] == [i for i in range(1, 81) if i % 2][:10]
    assert by_name["least entropy"] == [i for i in range(1, 81) if i % 2 == 0][:10]
    # entropy and balanced entropy order the images alike here: one batch has both names, and another takes its place
    assert by_name["most balanced entropy"] == by_name["most entropy"]
    assert batches[5]["generator"] == "varied most balanced entropy" and batches[5]["ids"] != by_name["most entropy"]
    assert by_name["rule learnable"] == by_name["rule balanced"]  # the expected quality is 1 everywhere
    picks = balanced.select(evidence, 10, 0, balanced.Options())
    assert by_name["rule balanced"] == sorted(pick.id for pick in picks)
    grown = growth.select(replace(evidence, competence=np.zeros(2)), 10, 0, growth.Options(weights="equal"))
    assert by_name["rule growth"] == sorted(pick.id for pick in grown)


def test_the_learnable_design_is_the_batch_of_that_rule() -> None:
    evidence = replace(synthetic(), quality=(1.0, -1.4))
    number = designed_batches.NAMES.index("rule learnable")
    rows = designed_batches.sampler(evidence, 10)(number, np.random.default_rng(0))
    signals = measure(evidence, "test")
    scores = signals.balanced * expected_quality((1.0, -1.4), signals.entropy)
    assert signals.ids[rows].tolist() == [pick.id for pick in by_score(signals, scores, 10, lambda row: {})]
    assert signals.ids[rows].tolist() != [pick.id for pick in by_score(signals, signals.balanced, 10, lambda row: {})]


def test_designed_batches_do_not_depend_on_the_order_of_the_pool() -> None:
    evidence = synthetic()
    backwards = replace(evidence, pool=replace(evidence.pool, unlabelled=evidence.pool.unlabelled[::-1]))
    assert draw(14, 10, {"designed": 1}, backwards, seed=0) == draw(14, 10, {"designed": 1}, evidence, seed=0)
    with pytest.raises(MgralError, match=r"^proxy.generators.designed: needs the labels"):
        draw(1, 5, {"designed": 1}, replace(evidence, labels=None), seed=0)
