"""Ids and splits are drawn once: growing folders, later labels, renamed files, and what must be refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from partly_annotated import folder
from PIL import Image

from mgral import cli
from mgral.config.schema import DatasetParams, Splits
from mgral.core.errors import MgralError
from mgral.data import dataset_json, identity, importing
from mgral.data.identity import Known

SPLITS = {"val": 0.2, "test": 0.2, "seed": 0}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    given = {
        "experiment": "mine",
        "dataset": {
            "format": "folder",
            "root": str(tmp_path / "set"),
            "options": {"annotations": "labels.json"},
            "on_invalid": "fail",
            "splits": SPLITS,
        },
    }
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(given))
    return tmp_path


def run(verb: str, place: Path, *more: str) -> int:
    out = "dataset.json" if verb == "import" else "images.json"
    return cli.main([verb, "--params", str(place / "p.yaml"), "--out", str(place / out), *more])


def seen(place: Path) -> dict[str, tuple[int, str]]:
    """Id and split of each image, by file name."""
    images = dataset_json.read(place / "dataset.json").images.values()
    return {image.file_name: (image.id, image.split) for image in images}


def test_a_folder_grows_and_no_image_changes_its_id_or_split(place: Path) -> None:
    names = [f"photo {chr(97 + i)}.png" for i in range(26)] + [f"z{i}x.png" for i in range(4)]
    folder(place / "set", names, names)
    assert run("import", place) == 0
    before = seen(place)
    assert {split for _, split in before.values()} == {"train", "val", "test"}

    grown = ["0 first.png", "m.png", *names, "zz.png", "photo a1.jpg.png", "k.png", "ä.png"]
    folder(place / "set", grown, grown)
    assert run("import", place) == 0
    after = seen(place)
    assert {name: after[name] for name in names} == before
    new = {name: after[name] for name in set(grown) - set(names)}
    assert sorted(number for number, _ in new.values()) == list(range(31, 37))
    assert {split for _, split in new.values()} == {"train"}
    assert run("import", place) == 0
    assert seen(place) == after


def test_twenty_more_labels_all_reach_train(place: Path) -> None:
    names = [f"{i}.png" for i in range(1, 101)]
    folder(place / "set", names, names[:40])
    assert run("import", place) == 0
    before = seen(place)
    folder(place / "set", names, names[:60])
    assert run("import", place) == 0
    assert seen(place) == before
    boxes = dataset_json.read(place / "dataset.json").boxes
    assert [before[name][1] for name in names[40:60] if before[name][0] in boxes] == ["train"] * 20


def test_a_first_import_is_what_it_was_and_one_over_nothing_new_adds_nothing(place: Path) -> None:
    names = [f"{i}.png" for i in range(1, 11)]
    folder(place / "set", names, names)
    assert run("import", place) == 0
    first = json.loads((place / "dataset.json").read_text())
    assert "splits" not in first["info"]  # the bytes of first imports stay, so that runs of before are valid
    assert run("import", place) == 0
    second = json.loads((place / "dataset.json").read_text())
    assert second["info"].pop("splits") == SPLITS
    assert second["info"].pop("kept") == 10
    assert second == first


@pytest.mark.parametrize("changed", [{"seed": 1}, {"val": 0.4}, {"test": 0.0}])
def test_changed_shares_are_drawn_again_and_ids_stay(place: Path, changed: dict[str, Any], caplog: Any) -> None:
    caplog.set_level("INFO")
    names = [f"{chr(97 + i)}.png" for i in range(20)]
    folder(place / "set", names, names)
    run("import", place)
    before = seen(place)
    params = yaml.safe_load((place / "p.yaml").read_text())
    params["dataset"]["splits"].update(changed)
    (place / "p.yaml").write_text(yaml.safe_dump(params))
    assert run("import", place) == 0
    assert "drawn again" in caplog.text
    after = seen(place)
    assert {name: i for name, (i, _) in after.items()} == {name: i for name, (i, _) in before.items()}
    fresh, _ = importing.import_dataset(DatasetParams.parse(params["dataset"], ""))
    assert {name: split for name, (_, split) in after.items()} == {i.file_name: i.split for i in fresh.images.values()}
    assert run("import", place) == 0
    assert seen(place) == after


def test_redraw_disregards_what_was_there(place: Path) -> None:
    folder(place / "set", ["b.png", *"cdefgh"[:0], "c.png", "d.png", "e.png"], ["b.png", "c.png", "d.png", "e.png"])
    run("import", place)
    folder(place / "set", ["a.png"], ["a.png", "b.png", "c.png", "d.png", "e.png"])
    run("import", place)
    assert seen(place)["a.png"][0] == 5
    assert run("import", place, "--redraw") == 0
    assert seen(place)["a.png"][0] == 1


def test_an_unreadable_earlier_file_is_refused_and_stays(place: Path, capsys: Any) -> None:
    folder(place / "set", ["1.png", "2.png"], ["1.png", "2.png"])
    (place / "dataset.json").write_text('{"half": ')
    assert run("import", place) == 2
    assert "(not valid JSON at line 1, column 10 (" in (error := capsys.readouterr().err)
    assert "restore or remove it, or write elsewhere" in error
    assert (place / "dataset.json").read_text() == '{"half": '


def test_images_that_became_links_keep_their_ids(place: Path, capsys: Any) -> None:
    """Their folder was moved, or DVC has taken them: to remove the earlier file, as was advised, loses all ids."""
    folder(place / "set", ["a.png", "b.png", "c.png"], ["a.png", "b.png", "c.png"])
    run("import", place)
    before = seen(place)
    (place / "set/b.png").rename(place / "moved.png")
    (place / "set/b.png").symlink_to(place / "moved.png")
    (place / "set/0.png").write_bytes((place / "set/c.png").read_bytes())
    assert run("import", place) == 2
    assert "dataset.links: follow" in capsys.readouterr().err
    content = yaml.safe_load((place / "p.yaml").read_text())
    content["dataset"] |= {"links": "follow", "unlisted": "pool"}
    (place / "p.yaml").write_text(yaml.safe_dump(content))
    assert run("import", place) == 0
    assert {name: seen(place)[name] for name in before} == before


def test_registered_images_only_grow(place: Path, capsys: Any, caplog: Any) -> None:
    caplog.set_level("INFO")
    names = [f"{chr(97 + i)}.png" for i in range(10)]
    folder(place / "set", names, names[:6])
    assert run("register", place) == 0
    assert "10 images, 10 of them new\n" in caplog.text
    assert "annotated: 4 in train, 1 in val, 1 in test; not annotated: 4" in caplog.text
    first = (place / "images.json").read_text()
    assert run("register", place) == 0
    assert (place / "images.json").read_text() == first

    folder(place / "set", ["0.png", *names], names[:8])
    assert run("import", place, "--registered", str(place / "images.json")) == 2
    assert "1 images of" in (error := capsys.readouterr().err)
    assert "0.png first; run `mgral register`" in error
    assert run("register", place, "--cycle", "3") == 0
    register = identity.read_register(place / "images.json", "mine")
    assert register.images[:10] == identity.Register.parse(json.loads(first), "").images
    assert (register.images[10].file_name, register.images[10].id, register.images[10].since) == ("0.png", 11, 3)
    assert run("import", place, "--registered", str(place / "images.json")) == 0
    assert seen(place) == {image.file_name: (image.id, image.split) for image in register.images if not image.since}


@pytest.mark.slow
def test_images_that_come_after_a_backbone_embedded_the_pool_are_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, caplog: Any
) -> None:
    """The run embeds its images once: later ones have no embedding, and no cycle could ask for them."""
    monkeypatch.chdir(place)
    caplog.set_level("INFO")
    (place / "more.yaml").write_text(
        yaml.safe_dump(
            {"image_size": 32, "embedding": {"kind": "backbone", "backbone": "resnet18", "weights": "random"}}
        )
    )
    params = ["--params", str(Path(__file__).parents[3] / "params/base.yaml"), "p.yaml", "more.yaml"]
    register, made = Path("data/annotations/mine/images.json"), "data/runs/mine/dataset"
    names = [f"{i}.png" for i in range(1, 9)]
    folder(place / "set", names, names)
    assert cli.main(["register", *params]) == 0
    first = register.read_text()
    data = ["--dataset", f"{made}/dataset.json"]
    assert cli.main(["import", *params, "--registered", str(register), "--out", data[1]]) == 0
    assert cli.main(["cache", *params, *data, "--out", f"{made}/images.npy"]) == 0
    embed = ["foundation-features", *params, *data, "--images", f"{made}/images.npy", "--out", f"{made}/foundation.npz"]
    assert cli.main(embed) == 0

    folder(place / "set", [*names, "late.png"], names)
    capsys.readouterr()
    assert cli.main(["register", *params]) == 2
    line = (
        f"mgral: {register}: 1 images are new, and this run embedded its images by a backbone when it began; take them "
    )
    assert line + "out of the folder, or begin another experiment with them" in capsys.readouterr().err.splitlines()
    assert register.read_text() == first
    (place / "set/late.png").rename(place / "late.png")
    assert cli.main(["register", *params]) == 0
    assert register.read_text() == first

    (place / "late.png").rename(place / "set/late.png")
    (place / made / "foundation.npz").unlink()  # as in a run without such a backbone
    assert cli.main(["register", *params]) == 0
    assert "1 of them new, for the pool of cycle 1" in caplog.text


def test_a_renamed_file_keeps_its_id_and_a_changed_one_is_refused(place: Path, capsys: Any) -> None:
    names = [f"{chr(97 + i)}.png" for i in range(6)]
    folder(place / "set", names, names[:5])
    run("register", place)
    (place / "set/f.png").rename(place / "set/a new name.png")
    assert run("register", place) == 0
    images = identity.read_register(place / "images.json").images
    assert [(image.id, image.file_name) for image in images][-1] == (6, "a new name.png")
    before = (place / "images.json").read_text()
    Image.new("RGB", (16, 12), (99, 99, 99)).save(place / "set/b.png")
    assert run("register", place) == 2
    assert "image 2 has other content than when it was registered" in capsys.readouterr().err
    assert (place / "images.json").read_text() == before


def test_one_that_registers_at_the_same_time_is_not_overwritten(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other has given an id to an image that this one would number otherwise."""
    names = [f"{chr(97 + i)}.png" for i in range(6)]
    folder(place / "set", names, names[:5])
    run("register", place)
    original, calls = importing.register, []

    def meanwhile(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 1:  # the other sees z.png alone, this one two new images
            folder(place / "set", [*names, "z.png"], names[:5])
            assert run("register", place) == 0
            folder(place / "set", ["0.png", *names, "z.png"], names[:5])
        return original(*given)

    monkeypatch.setattr(importing, "register", meanwhile)
    assert run("register", place) == 0
    images = identity.read_register(place / "images.json").images
    assert [(image.id, image.file_name) for image in images][6:] == [(7, "z.png"), (8, "0.png")]
    assert len(calls) == 3


def test_a_register_that_lost_images_of_its_run_is_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Registered again, they would join the run once more, or their ids would be given to others."""
    monkeypatch.chdir(place)
    params, register = ["--params", "p.yaml"], Path("data/annotations/mine/images.json")
    names = [f"{i}.png" for i in range(1, 9)]
    folder(place / "set", names, names)
    assert cli.main(["register", *params]) == 0
    assert (
        cli.main(["import", *params, "--registered", str(register), "--out", "data/runs/mine/dataset/dataset.json"])
        == 0
    )
    good = json.loads(register.read_text())
    for images, what in (
        (good["images"][:-1], "image 8 (8.png), with which the run began, is missing there"),
        (
            [good["images"][0] | {"width": 99}, *good["images"][1:]],
            "image 1 (1.png), with which the run began, is another",
        ),
    ):
        spoilt = json.dumps(good | {"images": images})
        register.write_text(spoilt)
        capsys.readouterr()
        assert cli.main(["register", *params]) == 2
        assert f"mgral: {register}: {what}" in capsys.readouterr().err
        assert register.read_text() == spoilt
    register.write_text(json.dumps(good))
    assert cli.main(["register", *params]) == 0


@pytest.mark.parametrize("key", ["id", "since"])
def test_numbers_of_a_register_have_bounds(key: str, place: Path) -> None:
    folder(place / "set", ["1.png", "2.png", "3.png"], ["1.png", "2.png", "3.png"])
    run("register", place)
    content = json.loads((place / "images.json").read_text())
    content["images"][0][key] = 2**63
    (place / "images.json").write_text(json.dumps(content))
    with pytest.raises(MgralError, match=rf"images.json: images\[0\].{key}: "):
        identity.read_register(place / "images.json")


def test_a_registered_image_that_changed_is_not_imported(place: Path, capsys: Any, caplog: Any) -> None:
    """The run would train on other pictures than people were asked about."""
    names = [f"{chr(97 + i)}.png" for i in range(6)]
    folder(place / "set", names, names[:5])
    run("register", place)
    registered = ("--registered", str(place / "images.json"))
    assert run("import", place, *registered) == 0
    (place / "set/f.png").rename(place / "f.png")
    assert run("import", place, *registered) == 0
    assert "1 registered images are not there now, f.png first; they are left out" in caplog.text
    before = (place / "dataset.json").read_text()
    (place / "set/b.png").rename(place / "set/f.png")
    (place / "f.png").rename(place / "set/b.png")  # the two have changed their names
    assert run("import", place, *registered) == 2
    assert "b.png: image 2 has other content than when it was registered; restore" in capsys.readouterr().err
    assert (place / "dataset.json").read_text() == before


def test_registration_without_test_images_is_refused(place: Path, capsys: Any) -> None:
    folder(place / "set", ["1.png", "2.png"], [])
    assert run("register", place) == 2
    assert "no image in split val" in capsys.readouterr().err
    assert not (place / "images.json").exists()


def test_another_experiments_register_is_refused(place: Path) -> None:
    names = [f"{i}.png" for i in range(1, 6)]
    folder(place / "set", names, names)
    run("register", place)
    with pytest.raises(MgralError, match="of experiment mine, not other; give its own"):
        identity.read_register(place / "images.json", "other")


def test_a_registered_image_is_not_moved_by_the_data_sets_lists() -> None:
    known = Known({"a": 1, "b": 2}, {"a": "val", "b": "test"}, drawn=["test"], closed=True)
    assert known.split("b", "train") == "test"  # drawn from the list of train, where the data set still has it
    assert known.split("c", "val") == "val"
    with pytest.raises(ValueError, match="registered in val, now listed in train"):
        known.split("a", "train")


@given(st.sets(st.text("ab1", min_size=1, max_size=4), min_size=1), st.data())
def test_numbers_are_kept_and_never_given_twice(names: set[str], data: st.DataObject) -> None:
    ordered = sorted(names)
    old = data.draw(st.lists(st.sampled_from(ordered), unique=True))
    ids = dict(zip(old, data.draw(st.permutations(range(1, len(old) + 1))), strict=True))
    own = data.draw(st.dictionaries(st.sampled_from(ordered), st.integers(-1, 9)))
    numbers = Known(ids, {}, own_ids=data.draw(st.booleans())).number(ordered, own)
    assert set(numbers) == names
    assert all(numbers[name] == number for name, number in ids.items())
    assert len(set(numbers.values())) == len(names)
    assert min(numbers.values()) >= 1


def test_what_is_missing_is_drawn_from_train_alone() -> None:
    split = dict.fromkeys(range(1, 9), "train") | {9: "val"}
    params = Splits(val=0.5, test=0.25, seed=0)
    drawn, names = identity.draw_missing(split, {i: {0} for i in range(1, 10)}, params)  # type: ignore[arg-type]
    assert names == ["test"]
    assert sorted(drawn.values()).count("test") == 2  # 0.25 of 9 annotated images are 2.25
    assert drawn[9] == "val"
