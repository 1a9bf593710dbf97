"""A file that is returned alone is kept under another name, and reads as it did when it was taken.

A VOC file says whose boxes it holds by its name alone: the batch could no longer be read after one was returned.
"""

from __future__ import annotations

from pathlib import Path

import batches
import numpy as np
import pytest

from mgral.annotation import exchange, returns
from mgral.core import plugins
from mgral.core.errors import MgralError


@pytest.mark.parametrize("tool", plugins.names("annotators"))
def test_a_kept_file_reads_as_the_one_that_was_given(tool: str, tmp_path: Path) -> None:
    batch, rng = batches.batch(tmp_path / "set", batches.images(tmp_path / "set")), np.random.default_rng(0)
    said = {im.id: [batches.said(im, "finished", batches.some_boxes(im, rng, 2, True))] for im in batch.images}
    plugins.load("annotators", tool).respond(batch, said, tmp_path / "back")
    alone = 0
    for number, path in enumerate(sorted(path for path in (tmp_path / "back").rglob("*") if path.is_file())):
        found = exchange.sources(path)
        try:
            given = returns.read(tool, found, batch, {})
        except MgralError:  # a file that says nothing without others
            continue
        folder = returns.Folder(tmp_path / f"cycle-{number}")
        folder.take(batch, [(path, found)], tool)
        ((_, kept),) = folder.read_all(folder.returned(batch), batch, tool, {})
        assert kept == given
        alone += 1
    assert alone > 0 or tool == "yolo"  # whose files need the names of the classes beside them


def test_the_same_text_about_two_images_is_two_answers(tmp_path: Path) -> None:
    """Two images without objects, say: their files differ in their names alone. The same name is the same answer."""
    batch = batches.batch(tmp_path / "set", batches.images(tmp_path / "set"))
    files = [tmp_path / f"{Path(image.export_name).stem}.xml" for image in batch.images[:2]]
    for path in files:
        path.write_text("<annotation><segmented>0</segmented></annotation>")
    folder = returns.Folder(tmp_path / "cycle-0")
    kept = folder.take(batch, [(path, exchange.sources(path)) for path in files], "voc")
    names = [answer.name for _, found in folder.read_all(kept, batch, "voc", {}) for answer in found.answers]
    assert names == [path.name for path in files]
    with pytest.raises(MgralError, match=r"xml: was returned before, as 002-voc\.xml; leave it out"):
        folder.take(batch, [(files[1], exchange.sources(files[1]))], "voc")
