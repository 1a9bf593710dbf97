"""Where a long training keeps its state, so that a killed one goes on: in a file that no other training takes up."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from mgral import codehash
from mgral.errors import MgralError
from mgral.files import make_folder
from mgral.settings import Settings


def place(out: Path, params: Settings, seed: int, inputs: Sequence[Path], modules: Sequence[str]) -> Path:
    """The checkpoint of a step: hidden beside its output, and named after everything the result depends on.

    Whoever edits a parameter, an input or the code after a kill gets a training from the start; what was begun before
    the edit is removed here.

    Args:
        out: the output; its folder is made if need be, so that an unfit place is refused before the training.
        params: what the step reads.
        seed: of the experiment.
        inputs: files whose content matters.
        modules: dotted names, of the verb and of the plug-ins that the parameters choose.

    Raises:
        MgralError: an input is missing, or the output cannot be written there.
    """
    digest = hashlib.sha256(f"{codehash.code_hash(*modules)} {params.model_dump_json()} {seed}".encode())
    for path in inputs:
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except (FileNotFoundError, IsADirectoryError):
            raise MgralError(f"{path}: no such file; make it with the step before") from None
    make_folder(out)
    wanted = out.with_name(f".{out.stem}.{digest.hexdigest()[:16]}.ckpt")
    for other in out.parent.glob(f".{out.stem}.{'[0-9a-f]' * 16}.ckpt"):
        if other != wanted:
            other.unlink(missing_ok=True)
    return wanted
