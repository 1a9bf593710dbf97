"""The price of batches in words and as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mgral.core.errors import MgralError
from mgral.report import prices
from mgral.report.sources import Cell


def audit(signal: bool) -> dict[str, Any]:
    text = "The rewards carry no signal (p = 0.40); the choice is that of the rule learnable."
    return {"signal": {"signal": signal, "level": 0.05, "rule": "learnable", "text": text}}


def test_one_table_speaks_for_itself_and_several_are_counted() -> None:
    assert prices.signals([audit(False)]) == [audit(False)["signal"]["text"]]
    (sentence,) = prices.signals([audit(True), audit(False), audit(True)])
    assert sentence.startswith("The rewards carry a signal in 2 of 3 tables")
    assert sentence.endswith("the choice is that of the rule learnable.")
    assert prices.signals([{"signal": None}, {}]) == []


def test_a_table_of_predicted_gains() -> None:
    def cell(seed: int, gain: float, near: bool) -> Cell:
        value = {
            "batches": [{"name": "mgral, polished", "gain": gain, "deviation": 0.01}],
            "random": {"mean": 0.001, "near_zero": near},
        }
        return Cell("mgral", seed, 0, value)

    found = prices.table([cell(0, 0.02, True), cell(1, 0.04, False)])
    assert [row[0] for row in found.rows] == ["mgral, polished", "random (near 0 in 1 of 2)"]
    assert found.rows[0][1:] == ["+0.0300", "0.0100", "2"]


def test_how_often_the_rule_was_left_is_said() -> None:
    def cell(seed: int, rule: bool, certainty: float, least: float = 0.95) -> Cell:
        return Cell("mgral", seed, 0, {"chosen": {"rule": rule, "certainty": certainty, "least": least}})

    said = prices.choices([cell(0, True, 0.714), cell(1, False, 0.99)])
    assert said is not None and said.startswith("The rule's batch was left for another in 1 of 2 pools")
    assert said.endswith("the price must be 95% certain that the other gains more. It was: 71%, 99%.")
    assert prices.choices([cell(0, False, 1.0, least=0.0), Cell("mgral", 1, 0, {})]) is None


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mgral" / "seed-0" / "cycle-0" / "prices.json"
    path.parent.mkdir(parents=True)
    path.write_text("[]")
    with pytest.raises(MgralError, match=r"prices\.json: holds no predicted gains; run `mgral prices` again"):
        prices.read(tmp_path, ["mgral"], [0], 2)
    assert prices.read(tmp_path, ["mgral"], [1], 2) == []
