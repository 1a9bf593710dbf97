"""A user's own trainer through the verbs: trained, run over the pool, and priced by replay."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from mgral import cli
from mgral.config import loading
from mgral.core.errors import MgralError
from mgral.core.files import read_json, write_json
from mgral.detection import detections_file, npz_files

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
TOY = f"'{sys.executable}' '{ROOT}/tests/helpers/toy_trainer.py'"
OPTIONS = {
    "train": f"{TOY} train {{train}} {{images}} {{weights}} {{seed}}",
    "predict": f"{TOY} predict {{list}} {{images}} {{weights}} {{results}} {{vectors}}",
}

DATA = ["--dataset=dataset.json", "--images=images.npy", "--pool=pool.json"]
EVIDENCE = ["--embeddings=made/embeddings.npz", "--detections=made/detections.npz"]


def parameters(folder: Path, **more: object) -> Path:
    given = loading.combine(
        (str(path), loading.read_yaml(ROOT / "params" / path)) for path in ("base.yaml", "tiny.yaml")
    )[0]
    given["dataset"] |= {"root": "raw"}
    given["detector"] = {"name": "command", "options": OPTIONS}
    given["strategies"] = ["random", "entropy", "coreset", "mgral"]
    given["proxy"] |= {"kind": "replay", "start": "scratch", "control": 0}
    path = folder / "p.yaml"
    path.write_text(yaml.safe_dump(loading.merge(given, more)))
    return path


def run(*words: str) -> None:
    assert cli.main(list(words)) == 0


@pytest.fixture(scope="module")
def cycle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set, a pool, its replay part, and in ``made`` a detector with its evidence."""
    folder = tmp_path_factory.mktemp("cycle")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        p = f"--params={parameters(folder)}"
        run("generate", p, "--out=raw")
        run("import", p, "--out=dataset.json")
        run("cache", p, "--dataset=dataset.json", "--out=images.npy")
        run("pool", p, "--dataset=dataset.json", "--seed=0", "--out=pool.json")
        run("replay-split", p, "--dataset=dataset.json", "--pool=pool.json", "--seed=0", "--out=replay.json")
        run("train", p, *DATA, "--seed=0", "--out=made")
        run("embed", p, *DATA, "--detector=made/detector.safetensors", *EVIDENCE)
    return folder


def test_train_embed_and_select(cycle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(cycle)
    p = f"--params={parameters(cycle)}"
    metrics = read_json(cycle / "made/metrics.json")
    assert metrics["images"] == 12 and 0 <= metrics["val"]["mAP"] <= 1
    run("train", p, *DATA, "--seed=0", f"--out={tmp_path}/again")
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == [
        "detector.safetensors",
        "metrics.json",
        "train.csv",
    ]
    for name in ("detector.safetensors", "metrics.json"):
        assert (tmp_path / "again" / name).read_bytes() == (cycle / "made" / name).read_bytes()
    detections, activation = detections_file.read(cycle / "made/detections.npz")
    assert activation == "sigmoid" and len(detections) == 40
    assert npz_files.read_embeddings(cycle / "made/embeddings.npz").vectors.shape == (40, 256)
    for strategy, evidence in zip(("coreset", "entropy"), EVIDENCE, strict=True):
        select = ["--strategy", strategy, "--dataset=dataset.json", "--pool=pool.json", evidence, "--seed=0"]
        run("select", p, *select, "--out=selected.json")
        assert len(read_json(cycle / "selected.json")["picks"]) == 4
    half = f"--params={parameters(tmp_path, embedding={'precision': 'float16'})}"
    found = ["--embeddings=half.npz", "--detections=half_detections.npz"]
    run("embed", half, *DATA, "--detector=made/detector.safetensors", *found)
    with np.load("half.npz") as kept, np.load("made/embeddings.npz") as whole:
        assert kept["vectors"].dtype == np.float16
        np.testing.assert_array_equal(kept["vectors"], whole["vectors"].astype(np.float16))
    assert Path("half_detections.npz").read_bytes() == Path("made/detections.npz").read_bytes()


@pytest.mark.parametrize("by", ["image", "tile"])
def test_large_images_are_cut_for_it(by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is trained on tiles, evaluated on whole images, and a batch is of the one or the other."""
    monkeypatch.chdir(tmp_path)
    p = f"--params={parameters(tmp_path, dataset={'tiles': {'size': 48, 'overlap': 16, 'visible': 0.5, 'by': by}})}"
    data = ["--dataset=dataset.json", "--images=images.npy", "--pool=pool.json"]
    run("generate", p, "--out=raw")
    run("import", p, "--out=dataset.json")
    run("cache", p, "--dataset=dataset.json", "--out=images.npy")
    run("pool", p, "--dataset=dataset.json", "--seed=0", "--out=pool.json")
    run("train", p, *data, "--seed=0", "--out=made")
    metrics = read_json(Path("made/metrics.json"))
    assert metrics["images"] == 12 and 0 < metrics["test"]["mAP"] <= 1
    found = ["--embeddings=embeddings.npz", "--detections=detections.npz"]
    run("embed", p, *data, "--detector=made/detector.safetensors", *found)
    pool, images = read_json(Path("pool.json")), {one["id"]: one for one in read_json(Path("dataset.json"))["images"]}
    detections, _ = detections_file.read(Path("detections.npz"))
    assert sorted(detections) == sorted([*(one["id"] for one in pool["labelled"]), *pool["unlabelled"]])
    assert {"tile" in images[i] for i in detections} == {by == "tile"}
    side = max(float(one.xyxy.max()) for one in detections.values() if len(one))
    assert side <= 48 if by == "tile" else 48 < side <= 64
    select = ["--strategy=entropy", "--dataset=dataset.json", "--pool=pool.json", "--detections=detections.npz"]
    run("select", p, *select, "--seed=0", "--out=selected.json")
    picks = [one["id"] for one in read_json(Path("selected.json"))["picks"]]
    assert len(picks) == 4 and set(picks) <= set(pool["unlabelled"])
    run("replay-split", p, "--dataset=dataset.json", "--pool=pool.json", "--seed=0", "--out=replay.json")
    held_out = sorted(read_json(Path("replay.json"))["unlabelled"])[:2]
    write_json("batches.json", [{"generator": "random", "ids": held_out}])
    replay = ["--pool=replay.json", "--kind=replay", "--seed=0", "--batches=batches.json", "--batch", "0"]
    run("proxy", p, *data[:2], *replay, "--out=priced")
    assert read_json(Path("priced/proxies/0.json"))["ids"] == held_out


def test_proxies_are_priced_by_replay(cycle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`mgral proxy` trains the command on kept images and a batch, and records its mAP on val."""
    monkeypatch.chdir(cycle)
    p, data = f"--params={parameters(cycle)}", DATA[:2]
    replay, batches = ["--pool=replay.json", "--kind=replay", "--seed=0"], f"{tmp_path}/batches.json"
    run("sample-batches", p, "--dataset=dataset.json", *replay, *EVIDENCE, f"--out={batches}")
    run("proxy", p, *data, *replay, f"--batches={batches}", "--batch", "0", "1", f"--out={tmp_path}/once")
    run("proxy", p, *data, *replay, f"--batches={batches}", "--batch", "1", f"--out={tmp_path}/again")
    held_out = set(read_json(cycle / "replay.json")["unlabelled"])
    found = [path.relative_to(tmp_path / "once") for path in sorted((tmp_path / "once").rglob("*")) if path.is_file()]
    assert [str(path) for path in found] == ["proxies/0.json", "proxies/1.json"]
    for path, batch in zip(found, read_json(Path(batches)), strict=False):
        record = read_json(tmp_path / "once" / path)
        assert record["kind"] == "replay" and record["ids"] == sorted(batch["ids"])
        assert set(record["ids"]) < held_out
        assert 0 < record["mAP"] <= 1 and len(record["per_class"]) == len(
            read_json(cycle / "dataset.json")["categories"]
        )
    # the same, alone in its job
    record, other = (read_json(tmp_path / folder / "proxies/1.json") for folder in ("once", "again"))
    assert {**record, "seconds": 0} == {**other, "seconds": 0}


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("'import sys; sys.exit(3)'", "detector.options.train: the command failed (exit status 3)"),
        ("'0'", "detector.options.train: the command left no weights"),
    ],
)
def test_a_proxy_whose_command_fails_leaves_no_record(
    program: str,
    says: str,
    cycle: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(cycle)
    held_out = sorted(read_json(cycle / "replay.json")["unlabelled"])
    write_json(tmp_path / "batches.json", [{"generator": "random", "ids": held_out[:2]}])
    train = f"'{sys.executable}' -c {program} {{train}} {{weights}} {{seed}}"
    given = parameters(tmp_path, detector={"options": {"train": train}})
    files = [
        "--dataset=dataset.json",
        "--images=images.npy",
        "--pool=replay.json",
        f"--batches={tmp_path}/batches.json",
    ]
    words = ["proxy", f"--params={given}", *files, "--kind=replay", "--seed=0", "--batch", "0", f"--out={tmp_path}/out"]
    assert cli.main(words) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"mgral: {says}")
    assert not list(tmp_path.glob("out/**/*.json"))


def test_its_data_can_be_checked(
    cycle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(cycle)
    run("check", f"--params={parameters(tmp_path, dataset={'root': None})}", "--data", "--dataset=dataset.json")
    said = capsys.readouterr().out
    assert "images first, then 4 a cycle" in said and "priors" not in said


def test_weights_of_another_detector_are_refused(
    cycle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(cycle)
    Path("other.safetensors").write_bytes(b"no weights")
    words = [f"--params={parameters(cycle)}", "--dataset=dataset.json", "--images=images.npy", "--pool=pool.json"]
    words += ["--detector=other.safetensors", "--embeddings=e.npz", "--detections=d.npz"]
    assert cli.main(["embed", *words]) == 2
    assert capsys.readouterr().err == "mgral: other.safetensors: damaged weights; run `mgral train` again\n"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"strategies": ["random", "ll4al"]}, "strategies: ll4al needs the inside of a network"),
        ({"strategies": ["ebal"]}, "strategies: ebal needs the inside of a network"),
        ({"proxy": {"kind": "unlabelled"}}, "the detector command has replay proxies alone; set proxy.kind: replay"),
        ({"proxy": {"start": "detector"}}, r"detector\.options\.finetune: missing; give it, or set"),
        ({"proxy": {"start": "detector", "backbone": "frozen"}}, r"proxy\.backbone: the detector command has none"),
        ({"proxy": {"stop_at": 0.5}}, r"proxy\.stop_at: a command cannot be stopped partway"),
    ],
)
def test_what_a_command_cannot_do_is_refused_first(tmp_path: Path, more: dict[str, object], says: str) -> None:
    with pytest.raises(MgralError, match=says):
        loading.read([parameters(tmp_path, **more)])
