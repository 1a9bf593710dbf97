"""The figures of docs/performance.md are those that the benchmarks printed."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from mgral.core import plugins

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def runner() -> ModuleType:
    return loaded("all_benchmarks", "all.py")


@pytest.fixture(scope="module")
def detectors() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "tests/benchmarks")  # as a script has it
        yield loaded("benchmark_of_detectors", "detectors.py")


def loaded(name: str, file: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tests/benchmarks" / file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_the_figures_that_are_kept(runner: ModuleType) -> None:
    figures = json.loads(runner.FIGURES.read_text())
    shown = runner.PAGE.read_text().split(runner.BEGIN)[1].split(runner.END)[0]
    assert shown == f"\n{runner.table(figures)}\n", "write it with `make benchmarks`, or --only some of them"


def test_every_benchmark_is_there_and_has_figures(runner: ModuleType) -> None:
    assert set(json.loads(runner.FIGURES.read_text())) <= set(runner.BENCHMARKS)
    for benchmark in runner.BENCHMARKS.values():
        assert (ROOT / "tests/benchmarks" / benchmark.command.split()[0]).is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["search", "million", "price", "coreset", "rules", "evaluation", "embed", "steps"])
def test_a_benchmark_runs_and_prints_its_figures(
    name: str, runner: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The small check of each; ``proxies`` imports a data set of a run and has none."""
    threads = torch.get_num_threads()
    script, *options = runner.BENCHMARKS[name].command.split()
    one = ["--threads", "1"] if "--threads" in options else []  # several wait for each other on a busy machine
    monkeypatch.syspath_prepend(ROOT / "tests/benchmarks")
    monkeypatch.setattr(sys, "argv", [script, *options, "--small", *one])
    try:
        loaded(f"benchmark_{name}", script).main()
    finally:
        torch.set_num_threads(threads)
    assert {"seconds", "peak_mib"} <= runner.entry(capsys.readouterr().out).keys()


def test_what_a_benchmark_prints_becomes_a_row(runner: ModuleType) -> None:
    found = runner.entry("12 images: fast\nratio=15.2 seconds=0.5012 peak_mib=1273\n")
    assert (found["ratio"], found["seconds"], found["peak_mib"], found["lines"]) == (
        15.2, 0.5012, 1273, ["12 images: fast"]
    )  # fmt: skip
    text = runner.table({"search": found})
    assert "| 15.2 | 0.501 s | 1,273 MiB | 5 s on two cores |" in text
    assert "- search: 12 images: fast" in text
    assert found["machine"] in text and found["versions"]["torch"] in text
    text = runner.table({"million": runner.entry("ratio=- seconds=1.672e+03 peak_mib=4044")})
    assert "| – | 1,672 s | 4,044 MiB |" in text


def test_the_page_of_detectors_shows_the_figures_that_are_kept(detectors: ModuleType) -> None:
    figures = json.loads(detectors.FIGURES.read_text())
    shown = detectors.PAGE.read_text().split(detectors.BEGIN)[1].split(detectors.END)[0]
    assert shown == f"\n{detectors.table(figures)}\n", "write it with tests/benchmarks/detectors.py"
    assert set(figures) <= set(detectors.SETTINGS)


def test_every_detector_of_this_package_has_a_setting(detectors: ModuleType) -> None:
    named = {setting.detector or name for name, setting in detectors.SETTINGS.items()}
    assert {*named, "command"} == set(plugins.names("detectors"))


def test_what_a_detector_is_refused_for_comes_from_the_check_of_parameters(detectors: ModuleType) -> None:
    assert detectors.refused("retinanet") == []
    assert {"mi_aod", "ppal"} <= set(detectors.refused("fcos")) < set(plugins.names("strategies"))
    assert {"mi_aod", "ppal", "ll4al"} <= set(detectors.refused("command"))


def test_each_data_set_weighs_the_same_however_many_seeds_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gains = {"many": [0.01, 0.02, 0.03, 0.02], "few": [0.05, 0.07]}  # means of 0.02 and 0.06
    files = []
    for name, found in gains.items():
        lines = ["strategy,seed,cycle,images,boxes,mAP,AP50"]
        for seed, gain in enumerate(found):
            for who, last in [("random", 0.2), ("adaptive", 0.2 + gain), *([("cdal", 0.2)] if name == "few" else [])]:
                lines += [f"{who},{seed},{cycle},{60 + 20 * cycle},90,{(0.1, last)[cycle]},0.5" for cycle in (0, 1)]
        files.append(tmp_path / f"{name}.csv")
        files[-1].write_text("\n".join(lines) + "\n")
    figure = tmp_path / "gains.png"
    command = ["over_sets.py", "adaptive", *map(str, files), "--figure", str(figure)]
    monkeypatch.setattr(sys, "argv", command)
    loaded("benchmark_over_sets", "over_sets.py").main()
    out = capsys.readouterr().out
    # (0.02 + 0.06) / 2; variances of the means 0.0000167 and 0.0001, so 1.35 degrees of freedom and ±0.038
    assert "| `random` | +0.020 (4 seeds) | +0.060 (2 seeds) | +0.040 (+0.002 to +0.078) |" in out
    assert "left out: cdal, with two pairs or more in 1 of 2 files" in out
    assert figure.read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(sys, "argv", [*command, "--sets", "1"])
    loaded("benchmark_over_sets", "over_sets.py").main()
    assert "| `cdal` | – | +0.060 (2 seeds) |" in capsys.readouterr().out
