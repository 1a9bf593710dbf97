"""`mgral prices` and the polished path of `mgral select`, through the command line, on a cycle in files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import priced_cycle
import pytest
from priced_cycle import READ, picked

from mgral import cli
from mgral.agent import shards
from mgral.agent.policy import Policy
from mgral.core.files import read_json, write_json
from mgral.detection import npz_files
from mgral.reward import batch_price, safe_choice
from mgral.reward.batch_price import BatchPrice
from mgral.reward.growth import FEATURES

STRATEGIES = ["mgral", "random", "entropy", "balanced", "growth", "coreset", "ll4al", "ebal"]
PRICED = ["mgral, agent", "mgral, polished", "random", "entropy", "balanced", "growth", "coreset"]
AGENT = [*READ, "--agent=agent.safetensors", "--price=table/price.npz", "--competence=metrics.json"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("priced")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(found)
        priced_cycle.make(found, STRATEGIES)
    return found


@pytest.fixture
def cycle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


def run(verb: str, out: str, *more: str, params: str = "p.yaml", strategy: str = "mgral") -> int:
    read = AGENT if strategy == "mgral" else READ
    command = [verb, f"--params={params}", f"--strategy={strategy}", *read, "--seed=0", f"--out={out}"]
    return cli.main([*command, *more])


def gain(batch: list[int], file: str = "table/price.npz") -> float:
    price = batch_price.read(file, npz_files.read_embeddings("embeddings.npz"))
    return float(price.of([batch])[0][0])


def test_prices_of_the_batches_that_select_would_write(cycle: Path) -> None:
    assert run("prices", "prices.json", "--polish=10") == 0
    found = read_json("prices.json")
    assert sorted(found) == ["batches", "chosen", "random"]
    # neither those that score or train before they choose, nor those that read features of detections
    assert [row["name"] for row in found["batches"]] == PRICED
    of_file = {row["name"]: row for row in found["batches"]}
    assert run("select", "agent.json") == run("select", "polished.json", "--polish=10") == 0
    for name in ("balanced", "growth"):
        assert run("select", f"{name}.json", "--competence=metrics.json", strategy=name) == 0
        assert of_file[name]["gain"] == pytest.approx(gain(picked(cycle, f"{name}.json")))
    for name in ("agent", "polished"):
        assert of_file[f"mgral, {name}"]["gain"] == pytest.approx(gain(picked(cycle, f"{name}.json")))
    assert all(row["deviation"] > 0 for row in found["batches"])
    best = max(row["gain"] for row in found["batches"])
    assert of_file["mgral, polished"]["gain"] == best > of_file["mgral, agent"]["gain"]


def test_the_rule_is_left_only_where_the_price_is_certain_enough(cycle: Path) -> None:
    more = ["--certainty=1"]
    assert run("prices", "prices.json", *more) == run("select", "safe.json", *more) == 0
    found = read_json("prices.json")
    certainty = found["chosen"]["certainty"]
    assert found["chosen"] == {"rule": True, "certainty": certainty, "least": 1.0}
    assert 0 < certainty < 0.5
    of_file = {row["name"]: row["gain"] for row in found["batches"]}
    assert of_file["mgral, rule"] == pytest.approx(gain(picked(cycle, "safe.json")))
    picks = read_json("safe.json")["picks"]
    assert {(pick["reason"]["rule"], pick["reason"]["certainty"]) for pick in picks} == {("learnable", certainty)}
    assert not any("polished" in pick["reason"] for pick in picks)
    assert [pick["score"] for pick in picks] == sorted((pick["score"] for pick in picks), reverse=True)
    less = [f"--certainty={certainty}"]
    assert run("select", "bold.json", *less) == run("select", "agent.json") == 0
    assert picked(cycle, "bold.json") == picked(cycle, "agent.json") != picked(cycle, "safe.json")
    assert all("rule" not in pick["reason"] for pick in read_json("bold.json")["picks"])


def test_a_batch_that_is_certain_to_gain_more_than_the_rules_is_found_near_it(cycle: Path) -> None:
    price = batch_price.read("table/price.npz", npz_files.read_embeddings("embeddings.npz"))
    assert price.weights is not None
    mean = price.weights.mean + 0.1 * np.isin(FEATURES, ["growth", "boxes"])
    doubt = np.diag([0.2**2 if name == "boxes" else 0.01**2 for name in FEATURES])
    batch_price.write(BatchPrice(price.world, replace(price.weights, mean=mean, covariance=doubt)), "other.npz")
    more = ["--certainty=0.8", "--polish=10", "--price=other.npz"]
    assert run("prices", "prices.json", *more) == run("select", "certain.json", *more) == 0
    found = read_json("prices.json")
    of_file = {row["name"]: row["gain"] for row in found["batches"]}
    assert not found["chosen"]["rule"] and found["chosen"]["certainty"] >= 0.8
    assert of_file["mgral, polished"] > of_file["mgral, certain"] > of_file["mgral, rule"]
    assert of_file["mgral, certain"] == pytest.approx(gain(picked(cycle, "certain.json"), "other.npz"))
    reasons = [pick["reason"] for pick in read_json("certain.json")["picks"]]
    assert {reason["certainty"] for reason in reasons} == {found["chosen"]["certainty"]}
    assert all("rule" not in reason for reason in reasons) and any("polished" in reason for reason in reasons)


def test_the_batch_of_a_rule_is_the_one_that_its_strategy_picks(cycle: Path) -> None:
    own = priced_cycle.world(cycle)
    for strategy, number in {"balanced": "balanced", "growth": "competent growth"}.items():
        assert run("select", f"{strategy}.json", "--competence=metrics.json", strategy=strategy) == 0
        assert safe_choice.rule_batch(own, number, 5) == sorted(picked(cycle, f"{strategy}.json"))


@pytest.mark.parametrize("text", ["-0.1", "1.5", "nan", "much"])
def test_a_certainty_is_a_probability(text: str, cycle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("select", "refused.json", f"--certainty={text}") == 2
    assert f"'{text}' is no probability; give a number from 0 to 1" in capsys.readouterr().err


def test_caution_reaches_the_exchanges_of_both_verbs(cycle: Path) -> None:
    more = ["--polish=10", "--caution=20"]
    assert run("prices", "prices.json", *more) == run("select", "cautious.json", *more) == 0
    assert run("select", "bold.json", "--polish=10") == 0
    of_file = {row["name"]: row["gain"] for row in read_json("prices.json")["batches"]}
    assert of_file["mgral, polished"] == pytest.approx(gain(picked(cycle, "cautious.json")))
    assert set(picked(cycle, "cautious.json")) != set(picked(cycle, "bold.json"))


def test_one_scan_serves_the_batch_and_the_polished_one(cycle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scans = []

    def counted(*given: Any, scored: Any = shards.scored) -> Any:
        scans.append(given)
        return scored(*given)

    monkeypatch.setattr(shards, "scored", counted)
    assert run("prices", "prices.json", "--polish=10") == 0
    assert len(scans) == 1


def test_random_batches_are_worth_nothing(cycle: Path) -> None:
    assert run("prices", "prices.json") == 0
    found = read_json("prices.json")
    random = found["random"]
    assert random["batches"] == 256 and random["near_zero"]
    assert abs(random["mean"]) < random["deviation"] / 4
    assert random["error"] == pytest.approx(random["deviation"] / 16 * 2**0.5)
    without = {row["name"]: row["gain"] for row in found["batches"]}
    assert without["mgral, polished"] == without["mgral, agent"]  # --polish is 0 where it is not given


def test_a_shifted_price_is_told(cycle: Path) -> None:
    """Random batches that are worth something: the reference was that of other batches."""
    embeddings = npz_files.read_embeddings("embeddings.npz")
    price = batch_price.read("table/price.npz", embeddings)
    price.world.__dict__["_levels"] = {5: price.world.raw(np.arange(5)[None])[0] - 1.0}
    from mgral.reward import price_list

    assert not price_list.compare(price, {"any": [20, 21, 22, 23, 24]}, seed=0)["random"]["near_zero"]


def test_a_batch_is_polished_and_says_so(cycle: Path) -> None:
    for name, more in {"agent": [], "one": ["--polish=1"], "ten": ["--polish=10"], "again": ["--polish=10"]}.items():
        assert run("select", f"{name}.json", *more) == 0
    assert Path("ten.json").read_bytes() == Path("again.json").read_bytes()
    agent, one, ten = (picked(cycle, f"{name}.json") for name in ("agent", "one", "ten"))
    assert gain(agent) < gain(one) <= gain(ten)
    assert len(set(ten)) == 5
    picks = read_json("ten.json")["picks"]
    # the agent's own keep their rank, those exchanged for others say so, and all stand in the order of the scores
    assert {pick["id"] for pick in picks if "rank" in pick["reason"]} == set(agent) & set(ten)
    assert {pick["id"] for pick in picks if pick["reason"].get("polished") == 1} == set(ten) - set(agent) != set()
    assert [pick["score"] for pick in picks] == sorted((pick["score"] for pick in picks), reverse=True)


def test_equal_scores_of_a_polished_batch_go_by_id(cycle: Path) -> None:
    policy = Policy.load(Path("agent.safetensors"))
    policy.decoder.weight.data.zero_()
    policy.save(Path("flat.safetensors"))
    command = ["select", "--params=p.yaml", "--strategy=mgral", *AGENT, "--agent=flat.safetensors", "--seed=0"]
    assert cli.main([*command, "--out=plain.json"]) == cli.main([*command, "--polish=5", "--out=flat.json"]) == 0
    assert picked(cycle, "plain.json") == [13, 14, 15, 16, 17]
    flat = picked(cycle, "flat.json")
    assert flat == sorted(flat) != [13, 14, 15, 16, 17]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--price=none.npz"], "none.npz: no such file; make it with `mgral table`"),
        (["--price=embeddings.npz"], "embeddings.npz: has no array 'expected'; run `mgral table` again"),
        (["--agent=none.safetensors"], "none.safetensors: no such file"),
        (["--strategy=mgrla"], "--strategy: unknown label 'mgrla'; did you mean 'mgral'?"),
        (["--competence=p.yaml"], "p.yaml: "),
    ],
)
def test_unfit_files_are_one_line(more: list[str], says: str, cycle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run("prices", "refused.json", *more) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert not Path("refused.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ids", np.array(3)),
        ("boxes", np.array(3.0)),
        ("boxes", np.zeros((2, 2))),
        ("expected", np.array("x" * 9)),
        ("scale", np.array("1")),
        ("scale", np.array(np.nan)),
        ("labelled", np.array(np.inf)),
        ("rule", np.array("growth")),
    ],
)
def test_a_spoilt_price_is_one_line(
    name: str, value: Any, cycle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = npz_files.read_arrays("table/price.npz", "ids", others=True)
    npz_files.write_arrays(tmp_path / "price.npz", arrays | {name: value})
    assert run("prices", str(tmp_path / "out.json"), f"--price={tmp_path / 'price.npz'}") == 2
    (line,) = [one for one in capsys.readouterr().err.splitlines() if one.startswith("mgral: ")]
    assert "price.npz" in line and line.endswith("run `mgral table` again")
    assert not (tmp_path / "out.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("slope", "says"),
    [(0.3, "carries signal, learnable; p = 0.0"), (0.0, "no signal: the price is the prior's rule, learnable; p = ")],
)
def test_show_says_whether_the_records_carry_a_signal(
    slope: float, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    priced_cycle.make(tmp_path, slope=slope)
    capsys.readouterr()
    assert cli.main(["show", "table/audit.json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith(says) and lines[1].endswith("(level 0.05)")
    audit = read_json("table/audit.json")
    write_json("audit.json", {**audit, "signal": None})  # of another surrogate
    assert cli.main(["show", "audit.json"]) == 0
    assert capsys.readouterr().out.splitlines() == [lines[0], *lines[2:]]
