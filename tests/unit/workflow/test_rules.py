"""The rules as text: their names, and how many lines they take."""

from __future__ import annotations

import re
from pathlib import Path

from mgral import cli
from mgral.core.rule_names import COPIES, RULES, TARGETS, TEMPLATES, rule_of
from mgral.planning import forecast

ROOT = Path(__file__).resolve().parents[3]
FILES = [ROOT / "Snakefile", *sorted((ROOT / "workflow/rules").glob("*.smk"))]


def bodies() -> dict[str, str]:
    """The text of each rule by its name, after the texts of those that it is made from."""
    found: dict[str, str] = {}
    for text in (path.read_text() for path in sorted(FILES, key=lambda path: path.stem != "common")):
        head = r"^ *(?:use rule (?P<parent>\w+) as (?P<child>\w+) with|rule ?(?P<own>\w*)):\n"
        for rule in re.finditer(
            rf"{head}(?P<body>.*?)(?=^ *(?:use rule|rule)\b|^\S|\Z)", text, re.MULTILINE | re.DOTALL
        ):
            name, body = rule["child"] or rule["own"], rule["body"]
            names = [name] if name else in_loop(body)
            found |= dict.fromkeys(names, found.get(rule["parent"], "") + body)
    return found


def in_loop(body: str) -> list[str]:
    """Names that a loop gives to its rule: from the module that knows them."""
    (name,) = re.findall(r"^ +name:\n +(.*)$", body, re.MULTILINE)
    return {'f"{some.rule}_{position}"': ["proxy"], 'f"share_{what}"': list(COPIES)}[name]


def test_the_table_of_rules_is_that_of_the_workflow() -> None:
    assert set(bodies()) == set(RULES) | set(TEMPLATES)


def test_a_rule_runs_the_verb_of_the_table() -> None:
    assert {verb for verb in RULES.values() if verb is not None} <= set(cli.VERBS)
    for rule, body in bodies().items():
        called = re.findall(r"\bstep\(\s*(?:\*\()?\"([a-z-]+)\"", body)
        assert called[-1:] == ([RULES[rule]] if RULES.get(rule) else []), rule


def test_the_rules_are_short() -> None:
    """What can be computed without Snakemake is in mgral.planning, with tests."""
    assert sum(len(path.read_text().splitlines()) for path in FILES) <= 694


def test_the_forecast_knows_rules_that_there_are() -> None:
    known = forecast.LIGHT | forecast.TRAININGS | forecast.SEARCHES | forecast.SCORINGS | {*TARGETS, *COPIES}
    assert {rule.partition("/")[0] for rule in known} <= set(RULES)


def test_chunks_of_proxies_count_as_one_rule() -> None:
    assert [rule_of(name) for name in ("proxy_0", "proxy_second_round_replay_2_13", "proxy", "table")] == [
        *["proxy"] * 3,
        "table",
    ]
