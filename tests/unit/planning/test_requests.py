"""What a step asks a cluster for grows with the pool, whose size is read off its files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from snakemake.iocontainers import InputFiles

from mgral.core.types import Embeddings
from mgral.detection import npz_files
from mgral.planning.requests import HALF, REQUESTS, Request, peak_memory, pool_size, requested

PROFILES = Path(__file__).resolve().parents[3] / "profiles"


def test_a_request_grows_with_the_pool() -> None:
    request = Request(base=1000, image=2**20, minutes=30, rate=100)
    assert [request.memory(n) for n in (0, 1, 500)] == [1000, 1001, 1500]
    assert [request.runtime(n) for n in (0, 1, 100, 101)] == [30, 31, 31, 32]


def test_the_size_of_the_pool_is_that_of_its_files(tmp_path: Path) -> None:
    embeddings, images = tmp_path / "embeddings.npz", tmp_path / "images.npy"
    quality = np.zeros((2000, 2), np.float32)
    found = Embeddings(np.arange(2000), np.zeros((2000, 256), np.float32), quality=quality)
    npz_files.write_embeddings(found, embeddings)
    np.save(images, np.zeros((50, 32, 32, 3), np.uint8))
    assert pool_size(None, embeddings, 32) == pytest.approx(2000, rel=0.01)
    with npz_files.writing_embeddings(half := tmp_path / "half.npz", 256, "float16") as add:
        add(found)
    assert pool_size(None, half, 32, half=True) == pytest.approx(2000, rel=0.01)
    assert pool_size(images, None, 32) == pytest.approx(50, rel=0.01)
    assert pool_size(images, embeddings, 32) == pool_size(None, embeddings, 32)
    assert pool_size(tmp_path / "later.npy", None, 32) is pool_size(None, None, 32) is None


def test_a_rule_asks_by_its_files_and_for_more_at_each_attempt(tmp_path: Path) -> None:
    images = tmp_path / "images.npy"
    images.touch()
    os.truncate(images, 117_266 * 32 * 32 * 3)
    asked, request = requested("embed", 32), REQUESTS["embed"]
    given = InputFiles(fromdict={"images": str(images)})
    assert asked["mem_mb"](None, given, 1) == request.memory(117_266)
    assert asked["runtime"](None, given, 2) == 2 * request.runtime(117_266)
    assert asked["mem_mb"](None, InputFiles(), 1) == request.memory(0)
    embeddings = tmp_path / "embeddings.npz"
    embeddings.touch()
    os.truncate(embeddings, 1000 * HALF)
    given = InputFiles(fromdict={"images": str(images), "embeddings": str(embeddings)})
    assert requested("table", 32, half=True)["mem_mb"](None, given, 1) == REQUESTS["table"].memory(1000)


def test_coco_fits_and_a_million_is_asked_for() -> None:
    """As tests/benchmarks/embed.py and million.py measured: 117,266 and a million images in 4 GiB."""
    coco, million = peak_memory(REQUESTS, 117_266), peak_memory(REQUESTS, 1_000_000)
    assert max(coco.values()) <= 4096
    assert million["search"] >= 4096
    assert list(coco.values()) == sorted(coco.values(), reverse=True)
    assert peak_memory(["train", "report"], 10) == {}


@pytest.mark.parametrize("name", ["slurm", "kubernetes"])
def test_no_profile_takes_the_place_of_what_grows_with_the_pool(name: str) -> None:
    profile = yaml.safe_load((PROFILES / name / "profile.yaml").read_text())
    assert not set(profile["set-resources"]) & set(REQUESTS)
