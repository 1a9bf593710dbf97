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
from mgral.data import identity
from mgral.data.faults import Findings
from mgral.data.identity import Known
from mgral.data.validation import assemble


def import_dataset(params: DatasetParams, known: Known | None = None) -> tuple[Dataset, dict[str, Any]]:
    """Read a data set of any format and check all of it; every image is decoded once.

    Args:
        params: the group ``dataset`` of an experiment; ``root`` must be set.
        known: images whose ids and splits were drawn before; they keep them.

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
    dataset, made = assemble(source, params.splits, report, known)
    info = {
        "format": params.format,
        "image_root": dataset.root.as_posix(),
        **made,
        "dropped": report.dropped,
        "clipped": report.clipped,
        "unlisted": source.unlisted,
    }
    return dataset, info


def register(
    params: DatasetParams, experiment: str, before: identity.Register | None, since: int
) -> tuple[identity.Register, dict[str, Any], list[str]]:
    """Register all images of a data set: those that are registered stay, new ones are appended.

    Args:
        params: as for :func:`import_dataset`.
        experiment: whose images these are.
        before: what is registered; None: nothing.
        since: the cycle from which new images can be selected.

    Returns:
        The register, the ``info`` of the import, and the names of registered images that are not there now.

    Raises:
        MgralError: a fault in the data, a registered file with other content, or a split that stays empty.
    """
    dataset, info = import_dataset(params, before.known() if before else None)
    if before is not None:
        moved = identity.renamed(before, dataset.root, [image.file_name for image in dataset.images.values()])
        if moved != before:
            before = moved
            dataset, info = import_dataset(params, before.known())
    empty = [split for split in ("val", "test") if not any(image.split == split for image in dataset.images.values())]
    if empty:
        raise MgralError(
            f"{dataset.root}: no image in split {empty[0]}; splits are drawn once, at registration: annotate some "
            f"images and set dataset.splits.{empty[0]} above 0 before"
        )
    names = {image.file_name for image in dataset.images.values()}
    gone = [image.file_name for image in before.images if image.file_name not in names] if before else []
    return identity.extend(before, dataset, experiment, info, since), info, gone
