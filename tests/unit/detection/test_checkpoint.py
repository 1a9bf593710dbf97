"""A checkpoint belongs to one training: nothing else takes it up."""

import os

import pytest

from mgral.config.schema import Batch
from mgral.core.errors import MgralError
from mgral.detection import checkpoint

MODULES = ["mgral.core.random_streams"]


@pytest.fixture
def began(tmp_path):
    """A training that was killed: its input, its output and its checkpoint."""
    given, out = tmp_path / "pool.json", tmp_path / "made" / "detector.safetensors"
    given.write_text("{}")
    path = checkpoint.checkpoint_path(out, Batch(batch=4), 0, [given], MODULES)
    path.write_bytes(b"state")
    return given, out, path


def test_the_same_training_finds_it(began):
    given, out, path = began
    assert checkpoint.checkpoint_path(out, Batch(batch=4), 0, [given], MODULES) == path
    assert path.read_bytes() == b"state"
    assert path.name.startswith(".detector.")


@pytest.mark.parametrize("edited", ["parameter", "seed", "input", "code"])
def test_another_training_does_not_and_removes_it(began, edited):
    given, out, path = began
    if edited == "input":
        given.write_text('{"cycle": 0}')
    other = checkpoint.checkpoint_path(
        out,
        Batch(batch=5 if edited == "parameter" else 4),
        1 if edited == "seed" else 0,
        [given],
        ["mgral.core.errors"] if edited == "code" else MODULES,
    )
    assert other != path
    assert not path.exists()


def test_that_of_another_output_stays(began):
    given, out, path = began
    checkpoint.checkpoint_path(out.with_name("image_scores.npz"), Batch(batch=5), 0, [given], MODULES)
    assert path.exists()


@pytest.mark.parametrize("place", ["pool.json/detector.safetensors", "made"])
def test_a_place_that_takes_no_output_is_refused_before_the_training(began, place):
    given, _, path = began
    with pytest.raises(MgralError, match=r"cannot be written \((Not|Is) a directory\); choose another place"):
        checkpoint.checkpoint_path(given.parent / place, Batch(batch=4), 0, [given], MODULES)
    assert path.exists()


def test_it_goes_when_all_is_written_and_stays_after_a_fault(tmp_path):
    out = tmp_path / "agent.safetensors"
    with pytest.raises(KeyboardInterrupt), checkpoint.kept_checkpoint(out, Batch(batch=4), 0, [], MODULES) as path:
        path.write_bytes(b"state")
        raise KeyboardInterrupt
    assert path.exists()
    with checkpoint.kept_checkpoint(out, Batch(batch=4), 0, [], MODULES) as again:
        assert again == path and path.exists()
    assert not path.exists()


def test_a_large_file_counts_by_size_and_time(tmp_path):
    images, out = tmp_path / "images.npy", tmp_path / "agent.safetensors"
    images.write_bytes(b"four")

    def name():
        return checkpoint.checkpoint_path(out, Batch(batch=4), 0, [], MODULES, [images]).name

    names = [name(), name()]
    images.write_bytes(b"longer")
    names.append(name())
    os.utime(images, ns=(0, 0))
    names.append(name())
    assert names[0] == names[1] and len(set(names)) == 3
    with pytest.raises(MgralError, match="none: no such file; make it with the step before"):
        checkpoint.checkpoint_path(out, Batch(batch=4), 0, [], MODULES, [tmp_path / "none"])
