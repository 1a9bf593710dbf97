"""The rules as text: their names, and how many lines they take."""

from __future__ import annotations

import re
from pathlib import Path

from mgral import cli
from mgral.core.rule_names import COPIES, RULES, TARGETS, rule_of
from mgral.planning import forecast

ROOT = Path(__file__).resolve().parents[3]
FILES = [ROOT / "Snakefile", *sorted((ROOT / "workflow/rules").glob("*.smk"))]


def named() -> set[str]:
    """Names of all rules. One that is put together in a loop is the text before its braces, or a choice of two."""
    text = "\n".join(path.read_text() for path in FILES)
    found = set(re.findall(r"^ *rule (\w+):", text, re.MULTILINE))
    found |= set(re.findall(r"^use rule \w+ as (\w+) with:", text, re.MULTILINE))
    for name in re.findall(r"^ +name:\n +(.*)$", text, re.MULTILINE):
        if name == 'f"{some.rule}_{position}"':
            found.add("proxy")
        elif name == 'f"share_{what}"':
            found |= set(COPIES)
        else:
            choice = re.fullmatch(r'"(\w+)" if \w+ else "(\w+)"', name)
            assert choice is not None, name
            found |= set(choice.groups())
    return found


def test_the_table_of_rules_is_that_of_the_workflow() -> None:
    assert named() == set(RULES)


def test_a_rule_runs_the_verb_of_the_table() -> None:
    assert {verb for verb in RULES.values() if verb is not None} <= set(cli.VERBS)
    text = "\n".join(path.read_text() for path in FILES)
    for rule, verb in RULES.items():
        body = re.search(rf"^ *rule {rule}:\n(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
        if body is not None and rule not in TARGETS:
            called = re.findall(r"(?:mgral|\{MGRAL\}) ([a-z-]+)", body[1])
            assert called == ([] if verb is None else [verb]), rule


def test_the_forecast_knows_rules_that_there_are() -> None:
    known = forecast.LIGHT | forecast.TRAININGS | forecast.SEARCHES | forecast.SCORINGS | {*TARGETS, *COPIES}
    assert {rule.partition("/")[0] for rule in known} <= set(RULES)


def test_chunks_of_proxies_count_as_one_rule() -> None:
    assert [rule_of(name) for name in ("proxy_0", "proxy_second_round_replay_13", "proxy", "table")] == [
        *["proxy"] * 3,
        "table",
    ]
