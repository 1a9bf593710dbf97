"""Pipes where a file should be: every reader refuses one at once, in place of waiting for a writer that never comes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mgral.agent.policy import Policy
from mgral.annotation import exchange, labels
from mgral.config import loading
from mgral.core import files
from mgral.core.errors import MgralError
from mgral.core.npz_stream import Reader
from mgral.core.types import Dataset
from mgral.data import dataset_json, identity, image_cache, image_files
from mgral.data.pool import read_pool
from mgral.data.selection import read_selection
from mgral.detection import backbone_embedding, base, detections_file, npz_files, packed_weights
from mgral.report import comparison, learning_curves, summaries
from mgral.reward import candidate_batches, records

READERS: dict[str, Callable[[Path], Any]] = {
    "JSON": files.read_json,
    "text": files.read_text,
    "checkpoint": files.read_checkpoint,
    "parameters": loading.read_yaml,
    "dataset.json": dataset_json.read,
    "pool.json": read_pool,
    "selected.json": read_selection,
    "images.json": identity.read_register,
    "hash of an image": identity.sha256_of,
    "image": image_files.examine,
    "size of an image": image_files.size_of,
    "images.npy": lambda path: image_cache.Cache(Dataset((), {}, {}, Path()), path),
    "embeddings.npz": npz_files.read_embeddings,
    "detections.npz": detections_file.read,
    "a large archive": Reader,
    "vectors of a command": lambda path: backbone_embedding.from_file(path, [1]),
    "weights of a command": lambda path: packed_weights.read(path, path.parent / "out"),
    "agent.safetensors": Policy.load,
    "weights": base.read_weights,
    "returned annotations": exchange.sources,
    "labels.json": labels.read_states,
    "batches.json": candidate_batches.read,
    "a record": records.read,
    "comparison.json": comparison.read,
    "curve.csv": learning_curves.read,
    "a column of a table": lambda path: summaries._column(path, "loss"),
}


@pytest.fixture(autouse=True)
def _limit() -> Iterator[None]:
    """A reader that waits is stopped."""

    def stop(*_: object) -> None:
        raise TimeoutError("it waits for the pipe")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", READERS)
def test_no_reader_waits_for_a_pipe(name: str, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises((MgralError, PermissionError, ValueError)) as caught:
        READERS[name](pipe)
    assert not isinstance(caught.value, TimeoutError)
    assert len(str(caught.value).splitlines()) == 1
