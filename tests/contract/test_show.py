"""What `mgral show` prints of files, cycles and runs."""

from __future__ import annotations

import json

from mgral import cli
from mgral.core.types import Record
from mgral.reward import records

SIGNED = "done on {} at 2026-01-02T03:04:05+00:00 after {} s, {} s of processor time, at most {} MiB"
SELECTED = {"strategy": "random", "plugin": "random", "seed": 0, "cycle": 0, "budget": 1}


def test_show_reads_what_steps_made(tmp_path, capsys):
    picks = [{"id": 3, "file_name": "c.jpg", "score": 2.5, "reason": {"entropy": 2.5, "detections": 4}}]
    (tmp_path / "selected.json").write_text(json.dumps({**SELECTED, "picks": picks}))
    (tmp_path / "pool.json").write_text(
        json.dumps({"cycle": 0, "labelled": [{"id": 1, "cycle": 0}], "unlabelled": [2, 3]})
    )
    scores = {"mAP": 0.25, "AP50": 0.5, "AP50_11point": 0.54, "AP50_area": 0.51, "per_class": {"cat": 0.25}}
    (tmp_path / "own.json").write_text(json.dumps({"images": 1, "boxes": 2, "val": scores, "test": scores}))
    assert cli.main(["show", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "cycle 0: 1 labelled, 2 unlabelled images" in text
    assert "own.json:\n  trained on 1 image with 2 boxes" in text
    assert "AP50 as VOC has it: 0.5400 (11 points), 0.5100 (area)" in text
    assert "1. c.jpg  score 2.5  entropy 2.5, detections 4" in text


def test_show_says_what_is_undefined(tmp_path, capsys):
    """A split without boxes has no mAP, a table of one record no error: that is no damage."""
    nothing = {"mAP": None, "AP50": None, "AP50_11point": None, "AP50_area": None, "per_class": {"cat": None}}
    (tmp_path / "metrics.json").write_text(json.dumps({"images": 2, "boxes": 1, "val": nothing, "test": nothing}))
    audit = {"records": 1, "carried": 0, "spread": None, "representation": "growth", "mae": None, "mae_mean": None}
    audit |= {"kinds": {}, "chance": None, "spearman": None, "kendall": None, "far": None}
    (tmp_path / "audit.json").write_text(json.dumps(audit))
    assert cli.main(["show", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "trained on 2 images with 1 box\n" in text
    assert "val: mAP undefined, AP50 undefined (no class has boxes)" in text
    assert "1 record, mAP spread undefined" in text and "far undefined" in text


def test_show_tells_a_proxy_that_was_stopped(tmp_path, capsys):
    path = tmp_path / "proxies" / "0.json"
    for stopped, says in ((False, "mAP 0.2500"), (True, "stopped at mAP 0.1000, expected 0.2500")):
        records.write(Record((3, 8), "class", 0.25, 1.5, "replay", 2, 0.1, stopped), path)
        assert cli.main(["show", str(path)]) == 0
        assert f"class: {says} with 2 images, trained in 1.5 s" in capsys.readouterr().out


def test_show_sums_the_jobs_of_a_run(tmp_path, capsys):
    run = tmp_path / "run"
    for name, signature in [
        ("train/random-0-1", SIGNED.format("one", 2.5, 3.25, 100)),
        ("train/random-0-2", SIGNED.format("two", 4.0, 7.0, 300)),
        ("select/random-0-1", "done on one at 2026-01-02T03:04:05+00:00"),  # of an earlier version: left out
        ("select/random-0-2", SIGNED.format("one", 1.0, 0.5, 150)),
        ("pool/shared-0-0", ""),  # it failed
    ]:
        path = run / "logs" / f"{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"step 1\n{signature}\n")
    (run / "summary.json").write_text('{"random": {"mAP": 0.25, "auc_images": null}}')
    assert cli.main(["show", str(run)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "summary.json:",
        "  random: mAP 0.2500, auc_images undefined",
        "jobs:",
        "  train: 2 jobs, 6.5 s, 10.2 s CPU, at most 300 MiB on one, two",
        "  select: 1 job, 1.0 s, 0.5 s CPU, at most 150 MiB on one",
    ]
    # the jobs of cycle 2, and not those of cycle 1
    cycle = run / "random/seed-0/cycle-2"
    cycle.mkdir(parents=True)
    (cycle / "pool.json").write_text('{"cycle": 2, "labelled": [], "unlabelled": [7]}')
    assert cli.main(["show", str(cycle)]) == 0
    *_, heading, train, select = capsys.readouterr().out.splitlines()
    assert heading == "jobs:"
    assert " ".join(train.split()) == "train random-0-2 4.0 s 7.0 s CPU 300 MiB on two, 2026-01-02T03:04:05+00:00"
    assert " ".join(select.split()) == "select random-0-2 1.0 s 0.5 s CPU 150 MiB on one, 2026-01-02T03:04:05+00:00"


def test_of_what_is_shared_a_cycle_shows_what_its_strategy_took(tmp_path, capsys):
    folders = {label: tmp_path / label / "seed-0/cycle-0" for label in ("shared", "random", "coreset", "mgral")}
    everything = ["pool", "train", "embed", "sample_batches", "proxy/replay", "train/replay", "search"]
    for step in everything:
        path = tmp_path / "logs" / step / ("shared-0-0-8.log" if step == "proxy/replay" else "shared-0-0.log")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{SIGNED.format('one', 1.5, 1.0, 90)}\n")
    for label, files in [
        ("shared", []),
        ("random", ["metrics.json"]),
        ("coreset", ["metrics.json", "embeddings.npz"]),
        ("mgral", ["metrics.json", "embeddings.npz", "agent.safetensors"]),
    ]:
        folders[label].mkdir(parents=True)
        (folders[label] / "pool.json").write_text('{"cycle": 0, "labelled": [], "unlabelled": [7]}')
        for name in files:
            (folders[label] / name).touch()
    shown = {}
    for label, folder in folders.items():
        cli.main(["show", str(folder)])  # not 0, for the empty metrics.json
        shown[label] = [line.split()[0] for line in capsys.readouterr().out.partition("jobs:\n")[2].splitlines()]
    assert shown["random"] == ["pool", "train"]
    assert shown["coreset"] == ["pool", "train", "embed"]
    assert sorted(shown["mgral"]) == sorted(shown["shared"]) == sorted(everything)


def test_show_goes_on_after_a_file_that_it_cannot_read(tmp_path, capsys):
    cycle = tmp_path / "run/random/seed-0/cycle-1"
    for name, text in [
        (cycle / "pool.json", '{"cycle": 1, "labelled": [], "unlabelled": [7]}'),
        (cycle / "metrics.json", '{"images": 1, "boxes": 2}'),  # of a revision that had no splits
        (cycle / "table/audit.json", "{"),
        (cycle / "added.json", "[]"),
        (tmp_path / "run/logs/train/random-0-1.log", f"{SIGNED.format('one', 1.5, 1.0, 90)}\n"),
        (tmp_path / "run/logs/select/random-0-1.log", "nothing\n"),
    ]:
        name.parent.mkdir(parents=True, exist_ok=True)
        name.write_text(text)
    assert cli.main(["show", str(cycle)]) == 2
    printed = capsys.readouterr()
    assert printed.out.splitlines()[:-1] == [
        "pool.json:",
        "  cycle 1: 0 labelled, 1 unlabelled images",
        "metrics.json:",
        "  trained on 1 image with 2 boxes",
        "  cut short, see the error",
        "table/audit.json:",
        "  cut short, see the error",
        "added.json:",
        "  0 proxies trained in the search",
        "jobs:",
    ]
    assert printed.out.splitlines()[-1].startswith("  train              random-0-1              1.5 s")
    first, second = printed.err.splitlines()
    assert first == (
        f"mgral: {cycle}/metrics.json: not what a step writes under that name, damaged or of another revision; "
        f"run `snakemake --forcerun {cycle}/metrics.json`"
    )
    assert second.startswith(f"mgral: {cycle}/table/audit.json: not valid JSON at line 1")
