"""What every verb promises: help, and one line with exit 2 for bad input."""

from __future__ import annotations

import errno
import io
import json
import os
import platform
import re
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import yaml

from mgral import cli
from mgral.core import plugins
from mgral.core.files import write_json
from mgral.core.types import Boxes, Dataset, Detections, Embeddings, Image, Record
from mgral.data import dataset_json
from mgral.data.pool import Pool, read_pool, write_pool
from mgral.detection import detections_file, npz_files
from mgral.reward import records

BASE = Path(__file__).parents[2] / "params" / "base.yaml"


@pytest.mark.parametrize("verb", list(cli.VERBS))
def test_every_verb_explains_itself(verb, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main([verb, "--help"])
    assert stopped.value.code == 0
    assert f"mgral {verb}" in capsys.readouterr().out


def test_without_a_verb_all_are_listed(capsys):
    assert cli.main([]) == 0
    text = capsys.readouterr().out
    assert all(verb in text for verb in cli.VERBS)


@pytest.mark.parametrize("kind", list(plugins.PACKAGES))
def test_list_prints_names_one_a_line(kind, capsys):
    assert cli.main(["list", kind]) == 0
    printed = capsys.readouterr()
    assert printed.out.split() == plugins.names(kind)
    assert printed.err == ("" if plugins.names(kind) else f"{kind}: none yet\n")


def test_the_version_is_that_of_the_package(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"mgral {metadata.version('mgral')}\n"


def test_list_can_print_the_options(capsys):
    assert cli.main(["list", "semi", "--options"]) == 0
    assert "  type1: 0.1  # weight of type I" in capsys.readouterr().out


SELECTED = {"strategy": "random", "plugin": "random", "seed": 0, "cycle": 0, "budget": 1}
INPUTS = ["--dataset", "d", "--images", "i", "--pool", "pool.json", "--detector", "w", "--batches", "b"]
ANNOTATE = ["annotate", "--dataset", "d.json", "--out", "o"]
SOUND = [*ANNOTATE, "--pool", "pool.json", "--selected", "sound.json"]
SELECT = [
    "select",
    "--params",
    "p.yaml",
    "--dataset",
    "d",
    "--pool",
    "p",
    "--strategy",
    "m",
    "--seed",
    "0",
    "--out",
    "o",
]
PROXY = ["proxy", "--params", "p.yaml", "--seed", "0", *INPUTS, "--out", "o"]

RACE = [*PROXY, "--batch", "1", "--kind", "replay", "--params", "race.yaml", "--rivals"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["trian"], "unknown verb 'trian'; did you mean 'train'?"),
        (["train"], "the following arguments are required: --params"),
        (["list", "strategy"], "unknown kind of plug-in 'strategy'; did you mean 'strategies'?"),
        (["pool", "--params", "none.yaml", "--dataset", "d", "--seed", "0", "--out", "o"], "none.yaml: no such file"),
        (["pool", "--params", "p.yaml", "--dataset", "d", "--seed", "-1", "--out", "o"], "'-1' is no seed"),
        (["pool", "--params", "p.yaml", "--dataset", "d", "--seed", "x", "--out", "o"], "'x' is no seed"),
        ([*SELECT, "--polish", "-1"], "--polish: '-1' is no number of passes; give a whole number, 0 or more"),
        ([*SELECT, "--polish", "1.5"], "--polish: '1.5' is no number of passes"),
        (
            [*SELECT, "--caution", "-0.5"],
            "--caution: '-0.5' is no number of standard deviations; give a number",
        ),
        ([*SELECT, "--caution", "nan"], "--caution: 'nan' is no number of standard deviations"),
        (["cache", "--params", "tabs.yaml", "--dataset", "d", "--out", "o"], "tabs.yaml: not valid YAML at line 2"),
        (["cache", "--params", "list.yaml", "--dataset", "d", "--out", "o"], "list.yaml: must hold keys and values"),
        (["cache", "--params", "typo.yaml", "--dataset", "d", "--out", "o"], "did you mean 'image_size'?"),
        (["cache", "--params", "p.yaml", "--dataset", "none.json", "--out", "o"], "none.json: no such file"),
        ([*ANNOTATE, "--pool", "pool.json", "--selected", "again.json"], "image 1 is labelled already"),
        ([*ANNOTATE, "--pool", "pool.json", "--selected", "pool.json"], "not a selection"),
        ([*ANNOTATE, "--pool", "again.json", "--selected", "again.json"], "not a pool"),
        (
            [*ANNOTATE, "--pool", "pool.json", "--selected", "new.json"],
            "new.json: 1 of 1 images are not annotated in the data set, 3.jpg first; annotate them",
        ),
        ([*ANNOTATE, "--pool", "other.json", "--selected", "new.json"], "other.json: image 9 is not in the data set"),
        (
            ["pool", "--params", "p.yaml", "--dataset", "d.json", "--seed", "0", "--out", "o"],
            "d.json: no annotated image in split val, where rewards come from; annotate some, or set",
        ),
        (["cache", "--params", "date.yaml", "--dataset", "d", "--out", "o"], "date.yaml: not valid YAML"),
        (
            [
                "replay-split",
                "--params",
                "p.yaml",
                "--dataset",
                "d",
                "--pool",
                "pool.json",
                "--seed",
                "0",
                "--out",
                "o",
            ],
            "proxy",
        ),
        (PROXY, "nothing to train; give --batch, --control or --repeat with numbers"),
        ([*PROXY, "--batch", "0", "--repeat", "0"], "'0' is no number of a repetition; give a whole number, 1 or"),
        ([*PROXY, "--control", "0", "--kind", "replay"], "--control: a replay proxy has no unsupervised weight"),
        ([*PROXY, "--batch", "first"], "'first' is no number of a batch; give a whole number, 0 or more"),
        ([*PROXY, "--batch", "0", "--kind", "replayed"], "invalid choice: 'replayed'"),
        ([*RACE, "none.json"], "none.json: no such file"),
        ([*RACE, "unlabelled.json"], "unlabelled.json is no replay record of a random batch; leave it out"),
        ([*RACE, "whole.json", "--split", "2"], "whole.json is of replay split 1, not 2; leave it out"),
        ([*PROXY, "--batch", "1", "--split", "2"], "--split: unlabelled proxies have no replay splits; leave it out"),
        ([*RACE, "sound.json"], "sound.json: not a record (ids, generator, mAP"),
        ([*RACE, "whole.json"], "whole.json has no mAP from partway; run it again with proxy.stop_at"),
        (["show", "none"], "none: no such file or folder"),
        (["show", "p.yaml"], "no file that a step made"),
        (["show", "damaged/summary.json"], "summary.json: not what a step writes under that name"),
        (["show", "damaged/search.csv"], "search.csv: not what a step writes under that name"),
        (["show", "damaged/logs/train/a.log"], "no file that a step made for reading"),
        (["show", "damaged/logs"], "not the folder of a cycle or of a run"),
        (["check", "--params", "p.yaml"], "mgral: p.yaml: experiment: missing"),
        (["check", "--params", "p.yaml", "list.yaml"], "mgral: list.yaml: must hold keys and values"),
        (["check", "--params", "p.yaml", "typo.yaml"], "p.yaml, typo.yaml: image_sise: unknown key"),
        (["pool", "--params", "p.yaml/no.yaml", "--dataset", "d", "--seed", "0", "--out", "o"], "(Not a directory)"),
        ([*SOUND, "--pool", "p.yaml/pool.json"], "p.yaml/pool.json: cannot be read (Not a directory)"),
        ([*SOUND, "--out", "p.yaml/o.json"], "p.yaml/o.json: cannot be written (Not a directory); choose another"),
        ([*SOUND, "--out", "damaged"], "damaged: is a folder, and --out names a file; give its name too"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yaml").write_text("image_size: 64\nbudget: {initial: 2, batch: 1}\n")
    race = {key: yaml.safe_load(BASE.read_text())[key] for key in ("detector", "proxy", "evaluation", "machine")}
    race["proxy"]["stop_at"] = 0.5
    (tmp_path / "race.yaml").write_text(yaml.safe_dump(race))
    for name, kind in (("whole", "replay"), ("unlabelled", "unlabelled")):
        records.write(Record((2,), "random", 0.5, 1.0, kind), tmp_path / f"{name}.json")
    (tmp_path / "tabs.yaml").write_text("a: 1\n\tb: 2\n")
    (tmp_path / "list.yaml").write_text("[1, 2]\n")
    (tmp_path / "typo.yaml").write_text("image_sise: 64\n")
    (tmp_path / "date.yaml").write_text("experiment: 2001-99-99\n")
    listed = {i: Image(i, f"{i}.jpg", 64, 64, "train") for i in (1, 2, 3)}
    dataset_json.write(Dataset(("ant",), listed, dict.fromkeys((1, 2), Boxes.empty()), tmp_path), {}, "d.json")
    (tmp_path / "pool.json").write_text(
        json.dumps({"cycle": 0, "labelled": [{"id": 1, "cycle": 0}], "unlabelled": [2, 3]})
    )
    (tmp_path / "other.json").write_text(json.dumps({"cycle": 0, "labelled": [], "unlabelled": [3, 9]}))
    for name, i in (("again", 1), ("sound", 2), ("new", 3)):
        picks = [{"id": i, "score": 1.0, "reason": {}}]
        (tmp_path / f"{name}.json").write_text(json.dumps({**SELECTED, "picks": picks}))
    (tmp_path / "damaged/logs/train").mkdir(parents=True)
    for name in ("summary.json", "search.csv", "logs/train/a.log"):
        (tmp_path / "damaged" / name).write_text("[1]\n")
    before = sorted(tmp_path.iterdir())
    assert cli.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 and printed.err.startswith("mgral: ")
    assert says in printed.err
    assert sorted(tmp_path.iterdir()) == before


def test_ctrl_c_is_one_line_and_exit_130(monkeypatch, capsys):
    def interrupted(given):
        raise KeyboardInterrupt

    monkeypatch.setattr("mgral.cli.list_.run", interrupted)
    assert cli.main(["list", "strategies"]) == 130
    assert capsys.readouterr().err == "mgral: interrupted; run the same command again to go on\n"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.EIO, "Input/output error", "a.jpg"), "a.jpg: cannot be read (Input/output error); give a file"),
        (OSError(errno.ELOOP, "Too many links", "a.jpg"), "a.jpg: cannot be read (Too many links); give a file that"),
        (OSError(errno.ENOSPC, "No space", "/tmp/x"), "/tmp/x: cannot be written, the disk is full; make room"),
        (OSError(errno.ENOSPC, "No space"), "standard output or a temporary file (TMPDIR): cannot be written, the"),
        (FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"), "TMPDIR: no folder for"),
    ],
)
def test_errors_of_the_system_are_one_line(error, says, monkeypatch, capsys):
    def fails(given):
        raise error

    monkeypatch.setattr("mgral.cli.list_.run", fails)
    assert cli.main(["list", "strategies"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"mgral: {says}") and printed.count("\n") == 1


def test_an_environment_in_another_encoding_is_one_line(monkeypatch, capsys):
    """The name of a file, or what is printed."""
    monkeypatch.setattr("mgral.cli.list_.run", lambda given: "bées".encode("ascii"))
    assert cli.main(["list", "strategies"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("mgral: 'bées': cannot be said in this environment's encoding, ascii; set PYTHONUTF8=1")
    assert printed.count("\n") == 1
    monkeypatch.setattr("mgral.cli.list_.run", lambda given: "\ud800".encode())
    with pytest.raises(UnicodeEncodeError):
        cli.main(["list", "strategies"])


def test_the_command_exits_with_the_same_code():
    done = subprocess.run([sys.executable, "-m", "mgral.cli", "shw"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert (
        done.stderr == "mgral: unknown verb 'shw'; did you mean 'show'? (valid: " + ", ".join(sorted(cli.VERBS)) + ")\n"
    )


def test_parameter_files_override_those_before(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    splits = [*["train"] * 5, "val", "test"]
    images = {i: Image(i, f"{i}.jpg", 64, 64, split) for i, split in enumerate(splits, start=1)}
    dataset_json.write(Dataset(("ant",), images, dict.fromkeys(images, Boxes.empty()), tmp_path), {}, "d.json")
    Path("base.yaml").write_text("budget: {initial: 1, batch: 1}\nimage_size: 64\n")
    Path("two.yaml").write_text("budget: {initial: 2}\n")
    Path("three.yaml").write_text("budget: {initial: 3}\n")
    monkeypatch.setattr(sys, "stdin", io.StringIO("budget: {initial: 4}"))
    for given, labelled in [
        ("--params base.yaml", 1),
        ("--params base.yaml two.yaml", 2),
        ("--params base.yaml two.yaml three.yaml", 3),
        ("--params base.yaml three.yaml two.yaml", 2),
        ("--params base.yaml --params three.yaml", 3),
        ("--params base.yaml -", 4),
    ]:
        assert cli.main(["pool", *given.split(), "--dataset=d.json", "--seed=0", "--out=pool.json"]) == 0
        assert len(read_pool("pool.json").labelled) == labelled, given


@pytest.mark.parametrize("kind", ["class", "uncertain"])
def test_detections_of_other_classes_are_refused(kind, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    images = {i: Image(i, f"{i}.jpg", 64, 64, "train") for i in (1, 2, 3)}
    dataset_json.write(Dataset(("ant", "bee"), images, {}, tmp_path), {}, "dataset.json")
    write_pool(Pool(0, {}, (1, 2, 3)), "pool.json")
    npz_files.write_embeddings(Embeddings(np.array([1, 2, 3]), np.zeros((3, 256), np.float32)), "embeddings.npz")
    # background and three classes
    probs = np.full((1, 4), 0.25, np.float32)
    one = Detections(np.array([[1, 1, 9, 9]], np.float32), probs[0, :1], np.zeros(1, np.int64), probs)
    detections_file.write("detections.npz", dict.fromkeys(images, one), "softmax", 3)
    proxy = {"records": 2, "kind": "unlabelled", "replay_share": 0, "generators": {"random": 1, kind: 1}}
    Path("p.yaml").write_text(json.dumps({"proxy": proxy, "budget": {"batch": 1}}))
    command = "sample-batches --params p.yaml --dataset dataset.json --pool pool.json --embeddings embeddings.npz"
    assert cli.main([*command.split(), "--detections", "detections.npz", "--seed", "0", "--out", "b.json"]) == 2
    says = "mgral: detections.npz: is of 3 classes, the data set of 2; run `mgral embed` again\n"
    assert capsys.readouterr().err == says
    assert not Path("b.json").exists()


def test_a_generated_data_set_is_checked_where_it_lies_and_not_asked_for_before(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = {"train": 12, "val": 2, "test": 2, "size": 64, "empty": 0}
    changes = {"experiment": "x", "dataset": {"options": options}, "budget": {"initial": 8, "batch": 3}, "cycles": 2}
    Path("p.yaml").write_text(yaml.safe_dump(changes))
    check = ["check", "--params", str(BASE), "p.yaml", "--data"]
    assert cli.main(check) == 0
    head, *rest = capsys.readouterr().out.splitlines()
    made = "dataset.format: synthetic: the run generates the data set in data/raw/x"
    assert head == f"{made}; 16 of its images are not there yet, so there is nothing to check"
    assert [line.split()[0] for line in rest] == ["x:", "next:"]
    assert cli.main(["generate", "--params", str(BASE), "p.yaml", "--out", "data/raw/x"]) == 0
    assert cli.main(check) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{made}; the 16 images that lie there are checked\n")
    Path("more.yaml").write_text("cycles: 3\n")
    assert cli.main([*check[:-1], "more.yaml", "--data"]) == 0
    assert "warning: budget.initial 8 and 2 batches of 3 need 14 images, but train has 12" in capsys.readouterr().out
    Path("more.yaml").write_text("cycles: 4\n")
    assert cli.main([*check[:-1], "more.yaml", "--data"]) == 2
    says = "mgral: data/raw/x/images: budget.initial 8 and 3 batches of 3 need 17 images, but train has 12; lower"
    assert capsys.readouterr().err.startswith(says)


@pytest.mark.parametrize("verb", ["status", "push", "pull", "close"])
def test_verbs_for_people_say_that_nobody_is_asked(verb, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main([verb, "--params", str(BASE)]) == 2
    assert capsys.readouterr().err == "mgral: oracle: dataset: the run asks nobody, so no batch waits; set people\n"


def test_what_makes_a_file_signs_its_log(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    Path("p.json").write_text('{"strategies": ["random"], "seeds": [0], "cycles": 1}')
    write_json("random/seed-0/cycle-0/metrics.json", {"images": 1, "boxes": 1, "test": {"mAP": 0.5, "AP50": 0.5}})
    command = "curve --params p.json --run . --out curve.csv --summary summary.json"
    began = time.perf_counter()
    with caplog.at_level("INFO"):
        assert cli.main(command.split()) == 0
    match = re.fullmatch(
        rf"done on {re.escape(platform.node())} at \d{{4}}-\S+\+00:00 after ([\d.]+) s, "
        r"([\d.]+) s of processor time, at most (\d+) MiB",
        caplog.messages[-1],
    )
    assert match is not None
    assert 0 <= float(match[1]) <= time.perf_counter() - began + 0.01
    assert 0 < float(match[2]) <= time.process_time() + 0.03 + sum(os.times()[2:4])
    assert int(match[3]) > 20  # an interpreter with numpy
    caplog.clear()
    assert cli.main(["show", "curve.csv"]) == 0
    assert caplog.messages == []


def test_ground_truth_is_shown_to_those_alone_who_ask(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    two = Boxes(np.array([[1, 1, 9, 9], [2, 2, 9, 9]], np.float32), np.zeros(2, np.int64), np.zeros(2, np.bool_))
    images = {i: Image(i, f"{i}.jpg", 64, 64, "train") for i in (1, 2, 3)}
    boxes = {1: Boxes.empty(), 2: Boxes.empty(), 3: two}
    dataset_json.write(Dataset(("ant",), images, boxes, tmp_path), {}, "dataset.json")
    write_pool(Pool(0, {}, (1, 2, 3)), "pool.json")
    Path("p.yaml").write_text(
        "strategies: [random, oracle_rare]\nbudget: {initial: 1, batch: 1}\n"
        "machine: {threads: 1, precision: fp32, device: cpu}\n"
    )
    shown = {}
    for name in ("random", "oracle_rare"):
        plugin = plugins.load("strategies", name)

        def watched(evidence, *rest, name=name, select=plugin.select):
            shown[name] = evidence.truth
            return select(evidence, *rest)

        monkeypatch.setattr(plugin, "select", watched)
        command = f"select --params p.yaml --strategy {name} --dataset dataset.json --pool pool.json --seed 0"
        assert cli.main([*command.split(), "--out", f"{name}.json"]) == 0
    assert shown["random"] is None and len(shown["oracle_rare"][3]) == 2
    pick = json.loads(Path("oracle_rare.json").read_text())["picks"][0]
    assert pick["id"] == 3 and pick["reason"] == {"cheats": "reads the ground truth", "rare_boxes": 2, "boxes": 2}


def test_the_initial_pool_is_drawn_from_annotated_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    splits = ["train"] * 8 + ["val", "test"]
    images = {i: Image(i, f"{i}.jpg", 64, 64, split) for i, split in enumerate(splits, start=1)}
    boxes = dict.fromkeys((2, 5, 7, 9, 10), Boxes.empty())
    dataset_json.write(Dataset(("ant",), images, boxes, tmp_path), {}, "dataset.json")
    Path("p.yaml").write_text("budget: {initial: 3}\n")
    command = "pool --params p.yaml --dataset dataset.json --seed 0 --out pool.json"
    assert cli.main(command.split()) == 0
    pool = read_pool("pool.json")
    assert set(pool.labelled) == {2, 5, 7} and pool.unlabelled == (1, 3, 4, 6, 8)


def test_an_exhausted_pool_ends_the_experiment(tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.chdir(tmp_path)
    images = {i: Image(i, f"{i}.jpg", 64, 64, "train") for i in (1, 2)}
    dataset_json.write(Dataset(("ant",), images, dict.fromkeys(images, Boxes.empty()), tmp_path), {}, "dataset.json")
    machine = {"threads": 1, "precision": "fp32", "device": "cpu"}
    Path("p.yaml").write_text(json.dumps({"strategies": ["random"], "budget": {"batch": 2}, "machine": machine}))
    command = "select --params p.yaml --strategy random --dataset dataset.json --pool pool.json --seed 0 --out s.json"
    write_pool(Pool(1, {1: 0}, (2,)), "pool.json")
    assert cli.main(command.split()) == 0
    assert "pool exhausted: cycle 1 takes the 1 images that are left, not 2" in caplog.messages
    write_pool(Pool(2, {1: 0, 2: 1}, ()), "pool.json")
    assert cli.main(command.split()) == 2
    assert "pool.json: pool exhausted: no unlabelled image is left in cycle 2; lower cycles" in capsys.readouterr().err
