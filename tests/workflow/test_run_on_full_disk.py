"""A disk that fills up fails the step in one line and spoils nothing; with more room the run goes on."""

from __future__ import annotations

import re

import pytest
from checkouts import Checkout
from test_runs import results

pytestmark = pytest.mark.slow

MIB = 2**20
# In turn too small for the decoded images (0.8 MB), a checkpoint of the first training, and copies of what strategies
# share; where exactly it ends, the names of the files say.
SIZES = [MIB // 2, 4 * MIB, 24 * MIB]


def test_a_run_goes_on_where_its_disk_was_full(finished: Checkout, project: Checkout, small_disk):
    full = []
    for size in SIZES:
        small_disk(size, project.run_folder)
        text = project.snakemake(fails=True)
        assert "Traceback" not in text
        lines = re.findall(r"^mgral: \S*data/runs/tiny/(\S+): cannot be written, the disk is full", text, re.MULTILINE)
        copies = re.findall(r"^cp: error writing '\S*data/runs/tiny/(\S+)\.part': No space left", text, re.MULTILINE)
        assert lines + copies
        full += lines + copies
        left = [path for path in project.run_folder.rglob("*") if ".part" in path.name]
        assert left == []
        undisturbed = results(finished)
        for path, content in results(project).items():
            assert content == undisturbed[path], path
    assert full[0] == "dataset/images.npy"
    assert any(path.endswith(".ckpt") for path in full)
    small_disk(512 * MIB, project.run_folder)
    project.snakemake()
    assert results(project) == results(finished)
