"""The rules as text: their names, and how many lines they take."""

from __future__ import annotations

import re
from pathlib import Path

from mgral import cli
from mgral.core.rule_names import COPIES, RULES, TARGETS, rule_of
from mgral.planning import forecast

ROOT = Path(__file__).resolve().parents[3]
FILES = [ROOT / "Snakefile", *sorted((ROOT / "workflow/rules").glob("*.smk"))]


def bodies() -> dict[str, str]:
    """The text of each rule by its name."""
    found = {}
    for text in (path.read_text() for path in FILES):
        for rule in re.finditer(r"^ *rule ?(\w*):\n(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL):
            names = [rule[1]] if rule[1] else in_loop(text[: rule.start()], rule[2])
            found |= dict.fromkeys(names, rule[2])
    return found


def in_loop(before: str, body: str) -> list[str]:
    """Names that a loop gives to its rule: from the module that knows them, a choice of two, or listed in the loop."""
    (name,) = re.findall(r"^ +name:\n +(.*)$", body, re.MULTILINE)
    if name == 'f"{some.rule}_{position}"':
        return ["proxy"]
    if name == 'f"share_{what}"':
        return list(COPIES)
    if choice := re.fullmatch(r'"(\w+)" if \w+ else "(\w+)"', name):
        return list(choice.groups())
    _, _, listed = before.rpartition(f"for {name}, ")
    return re.findall(r'^    \("(\w+)"', listed, re.MULTILINE)


def test_the_table_of_rules_is_that_of_the_workflow() -> None:
    assert set(bodies()) == set(RULES)


def test_a_rule_runs_the_verb_of_the_table() -> None:
    assert {verb for verb in RULES.values() if verb is not None} <= set(cli.VERBS)
    for rule, body in bodies().items():
        called = re.findall(r"(?:mgral|\{MGRAL\}) ([a-z-]+) \{+params\.options", body)
        assert called == ([] if RULES[rule] is None else [RULES[rule]]), rule


def test_the_rules_are_short() -> None:
    """What can be computed without Snakemake is in mgral.planning, with tests."""
    assert sum(len(path.read_text().splitlines()) for path in FILES) <= 911


def test_the_forecast_knows_rules_that_there_are() -> None:
    known = forecast.LIGHT | forecast.TRAININGS | forecast.SEARCHES | forecast.SCORINGS | {*TARGETS, *COPIES}
    assert {rule.partition("/")[0] for rule in known} <= set(RULES)


def test_chunks_of_proxies_count_as_one_rule() -> None:
    assert [rule_of(name) for name in ("proxy_0", "proxy_second_round_replay_2_13", "proxy", "table")] == [
        *["proxy"] * 3,
        "table",
    ]
