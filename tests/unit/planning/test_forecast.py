"""The forecast: times and sizes put together by hand, the schedule of a small graph, a probe of the real detector."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from mgral import cli
from mgral.config import loading
from mgral.config.schema import Params
from mgral.core.errors import MgralError
from mgral.core.files import write_json
from mgral.core.types import Boxes, Dataset, Image, Tiling
from mgral.planning import forecast, timing
from mgral.planning.forecast import Graph, Sizes, Timing

ROOT = Path(__file__).resolve().parents[3]
SIZES = forecast.Sizes(train=100, val=20, test=30)
TIMING = forecast.Timing(
    light=1, start=4, decode=0.01, step=0.5, look=0.1, proxy_step=0.25, proxy=3, scan=0.2, detector=1000, agent=500,
    detections=60, embedding=1032,
)  # fmt: skip


@pytest.fixture
def tiny() -> Params:
    """params/tiny.yaml: 6 steps of training, 4 proxies of 3 steps, 2 a job, 8 iterations, 1 fallback, 64 pixels."""
    return loading.read([ROOT / "params/base.yaml", ROOT / "params/tiny.yaml"])


def graph(rules: list[str], *edges: tuple[int, int]) -> forecast.Graph:
    """Jobs 0, 1, 2 … of these rules; an edge (u, v) says that v waits for u."""
    nodes = [{"id": job, "value": {"jobid": job, "label": rule, "rule": rule}} for job, rule in enumerate(rules)]
    return forecast.read_graph({"nodes": nodes, "edges": [{"u": u, "v": v} for u, v in edges]})


@pytest.mark.parametrize(
    ("rule", "seconds"),
    [
        ("train", 4 + 6 * 0.5 + (20 + 30) * 0.1),  # start, steps, val and test: 12
        ("retrain", 12),
        ("embed", 4 + 100 * 0.1),  # the pool
        ("score", 4 + 6 * 0.5 + 100 * 0.1),  # a training, and the pool
        ("score_own", 4 + 6 * 0.5 + (100 + 20 + 30) * 0.1),  # and val and test
        ("proxy_0", 4 + 2 * (3 + 3 * 0.25 + 20 * 0.1)),  # proxies 0 and 1, each 5.75 s
        ("search", 4 + 8 * 0.2 + 5.75),  # and one proxy more
        ("cache", 1 + 150 * 0.01),
        ("curve", 1),
        ("select", 4),
        ("share_agent", 0),
        ("all", 0),
        ("a_rule_of_tomorrow", 4),
    ],
)
def test_what_a_job_takes(tiny: Params, rule: str, seconds: float) -> None:
    assert forecast.seconds(rule, tiny, SIZES, TIMING) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("rule", "seconds"),
    [
        ("train", 4 + 6 * 0.5 + (60 + 33) * 0.1),  # the tiles of val and test
        ("embed", 4 + 150 * 0.1),
        ("score", 4 + 6 * 0.5 + 150 * 0.1),
        ("score_own", 4 + 6 * 0.5 + (150 + 60 + 33) * 0.1),
        ("proxy_0", 4 + 2 * (3 + 3 * 0.25 + 60 * 0.1)),
        ("cache", 1 + 243 * 0.01),
    ],
)
def test_tiles_are_looked_at_one_by_one(tiny: Params, rule: str, seconds: float) -> None:
    cut = Sizes(100, 20, 30, {"train": 50, "val": 40, "test": 3})
    assert forecast.seconds(rule, tiny, cut, TIMING) == pytest.approx(seconds)
    lines = forecast.table(graph([rule]), tiny, cut, TIMING, 1)
    assert lines[1] == "A detector is given 243 inputs: the 150 images, large ones cut into tiles."
    assert forecast.disk(graph([rule]), tiny, cut, TIMING)["decoded images"] == 243 * 64 * 64 * 3


def test_a_look_is_timed_by_the_tile(tiny: Params, tmp_path: Path) -> None:
    """Images of 160 × 80 pixels are three tiles each; a clock that counts calls shows by what a time is divided."""
    images = {i: Image(i, f"{i}.png", 160, 80, "train" if i < 5 else "val") for i in range(1, 8)}
    for image in images.values():
        PIL.Image.new("RGB", (160, 80)).save(tmp_path / image.file_name)
    whole = Dataset(("cat",), images, dict.fromkeys(images, Boxes.empty()), tmp_path, tiling=Tiling(80, 40, 0.5))

    def counted(work: Callable[[], object]) -> float:
        work()
        return 63.0

    cache, decode = timing._decoded(whole, tiny, counted, tmp_path)
    assert (len(cache.inputs([5, 6, 7])), decode) == (9, 3.0)


def test_where_proxies_race_jobs_and_runs_are_others(tiny: Params) -> None:
    # Of five records the random ones (0.4 of them, 2), two controls and a repeat race with none: five in chunks of two,
    # then the other three. Each run looks at val (20 images) once more.
    race = tiny.model_copy(update={"proxy": tiny.proxy.model_copy(update={"stop_at": 0.5, "records": 5})})
    rules = ["proxy_0", "proxy_2", "proxy_4", "proxy_5", "proxy_7"]
    assert forecast.trainings(graph(rules), race)["proxies"] == 2 + 2 + 1 + 2 + 1
    assert forecast.seconds("proxy_4", race, SIZES, TIMING) == pytest.approx(4 + 3 + 3 * 0.25 + 2 * 20 * 0.1)


def test_trainings_are_counted(tiny: Params) -> None:
    # chunks of two: of five records, two controls and a repeat the third has one record and a control
    five = tiny.model_copy(update={"proxy": tiny.proxy.model_copy(update={"records": 5})})
    rules = ["train", "train", "retrain", "proxy_0", "proxy_2", "proxy_4", "proxy_6", "search", "search"]
    rules += ["sample_batches", "all"]
    # the first search is of the first round: its agent samples batches; the second search follows them
    assert forecast.trainings(graph(rules, (7, 9), (9, 8)), five) == {
        "detectors": 2,
        "detectors, for replay": 0,
        "detectors, for the noise": 1,
        "proxies": 2 + 2 + 2 + 2,
        "proxies in searches, at most": 1,
        "agents": 2,
    }
    # of five records replay has 0.5 · 5 + 0.5 = 3 and a repeat; the rest is 2 and two controls and a repeat
    both = five.model_copy(update={"proxy": five.proxy.model_copy(update={"kind": "both"})})
    more = ["train", "train", "proxy_0", "proxy_2", "proxy_4", "proxy_replay_0", "proxy_replay_2", "search"]
    more += ["replay_split"]
    counted = forecast.trainings(graph(more, (0, 8), (8, 1)), both)  # the second detector, of the pool that was split
    assert counted["detectors, for replay"] == 1
    assert counted["proxies"] == (2 + 2 + 1) + (2 + 2)
    assert graph(rules).counts["proxy"] == 4


def test_what_lies_on_disk(tiny: Params) -> None:
    found = forecast.disk(
        graph(["train", "retrain", "share_detector", "embed", "share_evidence", "search", "share_agent"]),
        tiny,
        SIZES,
        TIMING,
    )
    once = {
        "decoded images": 150 * 64 * 64 * 3,
        "detectors": 2 * 1000,
        "embeddings": 100 * 1032,
        "detections, at most": 100 * 60,
        "agents": 500,
    }
    again = {"copies of what strategies share": 1000 + 100 * (1032 + 60) + 500, "DVC's cache": sum(once.values())}
    assert found == once | again


def test_the_table_says_disk_with_and_without_reflinks_and_memory(tiny: Params) -> None:
    lines = forecast.table(graph(["train", "embed", "select"]), tiny, Sizes(2**20, 1, 1), TIMING, 1)
    text = " ".join(" ".join(lines).split())
    once = (2**20 + 2) * 64 * 64 * 3 + 1000 + 2**20 * (1032 + 60)
    assert f"with reflinks {once / 2**30:.1f} GiB together, on others {2 * once / 2**30:.1f} GiB" in text
    assert "embed 6.5 GiB select 5.5 GiB" in text  # 3,500 + 3 · 1,040 MiB, and 1,500 + 4 · 1,040


def test_images_that_are_not_decoded_fill_memory_and_no_disk(tiny: Params) -> None:
    shapes = {"image_size": 800, "resize": "shortest_edge", "longest_edge": 1333}
    jobs, square = graph(["train"]), 1344 * 1344 * 3
    decoded = tiny.model_copy(update=shapes)
    assert forecast.disk(jobs, decoded, SIZES, TIMING)["decoded images"] == 150 * square
    assert forecast.memory(decoded) == 4 * square * (5 + 2)  # four images, float32, and uint8 before; two batches ahead
    none = tiny.model_copy(update={**shapes, "cache": "none"})
    assert forecast.disk(jobs, none, SIZES, TIMING)["decoded images"] == 0
    assert forecast.memory(none) == 4 * square * (5 + 2 * 2)  # two processes, two batches each


def test_the_schedule_keeps_the_order_and_fills_the_workers() -> None:
    # a (2 s), then b, b and b (3 s each), then c (1 s)
    jobs = graph(["a", "b", "b", "b", "c"], (0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4))
    durations = {"a": 2.0, "b": 3.0, "c": 1.0}
    assert forecast.schedule(jobs, durations, 1) == 2 + 3 * 3 + 1
    assert forecast.schedule(jobs, durations, 2) == 2 + 3 + 3 + 1
    assert forecast.schedule(jobs, durations, 8) == 2 + 3 + 1


def test_the_table_adds_up(tiny: Params) -> None:
    # twice 12 s in a row; 4 s beside them
    lines = forecast.table(graph(["train", "train", "odd"], (0, 1)), tiny, SIZES, TIMING, 2)
    text = "\n".join(" ".join(line.split()) for line in lines)
    assert "tiny: 3 jobs, from nothing" in text
    assert "train 2 12.0 s 24.0 s" in text
    assert "together 28.0 s" in text
    assert "on the wall, 2 jobs at a time, at least 24.0 s" in text
    assert "Not timed, and counted as their start alone: odd." in text


def test_a_budget_beyond_the_pool_is_said(tiny: Params) -> None:
    wanted = tiny.budget.initial + (tiny.cycles - 1) * tiny.budget.batch
    timing = Timing(**dict.fromkeys((field.name for field in fields(Timing)), 1))
    says = f"The pool is exhausted before the last cycle: {wanted - 1} images, and the budget takes {wanted}."
    for train, said in ((wanted, False), (wanted - 1, True)):
        lines = forecast.table(Graph({}, {}), tiny, Sizes(train, 1, 1), timing, 1)
        assert (says in lines) == said


@pytest.mark.parametrize(
    "value", [None, [], {"nodes": [{}], "edges": []}, {"nodes": [], "edges": [{"u": "x", "v": 1}]}]
)
def test_another_file_is_no_graph(value: Any) -> None:
    with pytest.raises(MgralError, match="snakemake --forceall --d3dag"):
        forecast.read_graph(value)


@pytest.mark.parametrize(
    ("python", "params", "says"),
    [
        ("no/python", ["p.yaml"], r"^--python no/python: cannot be run \(No such file or directory\); name one"),
        (
            sys.executable,
            ["no.yaml"],
            rf"^--python {sys.executable}: Snakemake finds no jobs for these parameters: .*no\.yaml",
        ),
        (sys.executable, ["p.yaml", "-"], "^--params -: Snakemake reads files; name one, or give the graph"),
    ],
)
def test_a_graph_that_snakemake_does_not_give(python: str, params: list[str], says: str) -> None:
    with pytest.raises(MgralError, match=re.compile(says, re.DOTALL)):
        forecast.ask_snakemake(python, params)


def test_a_straight_line_is_found() -> None:
    # 3 s and half a second a step
    work, slope = timing._line(lambda call: call(), lambda steps: 3 + 0.5 * steps)  # type: ignore[arg-type, return-value]
    assert (work, slope) == pytest.approx((3, 0.5))


def test_a_probe_needs_images_for_rewards(tiny: Params, tmp_path: Path) -> None:
    images = {i: Image(i, f"{i}.jpg", 40, 30, "train") for i in (1, 2, 3)}
    with pytest.raises(MgralError, match="two annotated images in train and one in val"):
        timing.run(Dataset(("cat",), images, {}, tmp_path), tiny, [])


def test_a_probe_trains_on_annotated_images() -> None:
    images = {i: Image(i, f"{i}.jpg", 40, 30, "train" if i < 5 else "val") for i in range(7)}
    boxes = dict.fromkeys((2, 4, 6), Boxes.empty())
    assert list(timing._some(Dataset(("cat",), images, boxes, Path())).images) == [2, 4, 6]


@pytest.mark.slow
def test_the_verb_times_the_real_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    settings = loading.read([ROOT / "params/base.yaml", ROOT / "params/tiny.yaml"]).model_dump(mode="json")
    settings["dataset"]["root"] = "data/raw/tiny"
    write_json(tmp_path / "p.json", settings)
    for verb, out in (("generate", "data/raw/tiny"), ("import", "dataset.json")):
        assert cli.main([verb, "--params", "p.json", "--out", out]) == 0
    jobs = [{"id": 0, "value": {"rule": "train"}}]
    write_json(tmp_path / "graph.json", {"nodes": jobs, "edges": []})
    started: list[str] = []

    def start(*modules: str) -> float:
        """Interpreters start without the modules: torch's import, twice, is most of what the verb takes."""
        started.extend(modules)
        return timing_started("json")

    timing_started = timing._started
    monkeypatch.setattr(timing, "_started", start)
    arguments = ["--params", "p.json", "--dataset", "dataset.json", "--graph", "graph.json", "--cores"]
    assert cli.main(["forecast", *arguments, "2"]) == 0
    text = capsys.readouterr().out
    assert started and all(importlib.util.find_spec(module) for module in started)
    # 40 + 12 + 12 images of 64 × 64 pixels: 64 · 64 · 64 · 3 bytes
    assert "decoded images" in text and "0.8 MiB" in text
    assert " ".join(text.split()).count("train 1 ") == 1
    assert cli.main(["forecast", *arguments, "0"]) == 2
    assert "'0' is no number of cores" in capsys.readouterr().err
