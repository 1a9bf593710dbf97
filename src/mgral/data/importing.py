"""Data sets: many formats in, one canonical form out (COCO JSON, an image root and a split per image).

Formats (:mod:`mgral.data.formats`) read the files, ``validation`` judges what they found.

Ids: a format's own numbers (COCO) or the digits at the end of every stem (elsewhere) are kept if all differ
and none is 0; else images count from 1 in order of file name. A missing or damaged image keeps its number, so the
others keep theirs when it is restored.

The first fault ends an import, or with ``dataset.on_invalid: drop`` all faulty boxes and images stay outside and
are listed in the canonical file, ``info.dropped``. An image goes with its boxes; of ids or names that stand
twice the first stays; an image in two splits leaves both.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mgral.config.schema import DatasetParams
from mgral.core import plugins
from mgral.core.errors import MgralError
from mgral.core.types import Dataset
from mgral.data.faults import Findings
from mgral.data.validation import assemble


def import_dataset(params: DatasetParams) -> tuple[Dataset, dict[str, Any]]:
    """Read a data set of any format and check all of it; every image is decoded once.

    Args:
        params: the group ``dataset`` of an experiment; ``root`` must be set.

    Returns:
        The data set, and the ``info`` of its canonical file.

    Raises:
        MgralError: a fault in the data; one line with file, id and remedy.
    """
    if params.root is None:
        raise MgralError("dataset.root: missing; give the folder of the data set")
    root = Path(params.root)
    if not root.is_dir():
        raise MgralError(f"{root}: no such folder; set dataset.root to the folder of the data set")
    plugin = plugins.load("formats", params.format)
    report = Findings(root, params.on_invalid)
    source = plugin.read(root, plugin.Options.parse(params.options, "dataset.options"), report)
    dataset, made = assemble(source, params.splits, report)
    info = {
        "format": params.format,
        "image_root": dataset.root.as_posix(),
        **made,
        "dropped": report.dropped,
        "clipped": report.clipped,
        "unlisted": source.unlisted,
    }
    return dataset, info
