"""Where a long training keeps its state, so that a killed one goes on: in a file that no other training takes up."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mgral.config.base import Settings
from mgral.config.schema import DetectorParams
from mgral.core import code_hash
from mgral.core.errors import MgralError
from mgral.core.files import make_folder, require_regular


def initial_weights(detector: DetectorParams) -> list[Path]:
    """The file of initial weights that a detector's options name, if they do."""
    given = detector.options.get("weights")
    return [Path(given)] if isinstance(given, str) else []


@contextmanager
def kept_checkpoint(
    out: Path, params: Settings, seed: int, inputs: Sequence[Path], modules: Sequence[str], large: Sequence[Path] = ()
) -> Iterator[Path]:
    """The checkpoint of a step, see :func:`checkpoint_path`; removed once the step has written all its outputs."""
    path = checkpoint_path(out, params, seed, inputs, modules, large)
    yield path
    _discard(path)


def checkpoint_path(
    out: Path, params: Settings, seed: int, inputs: Sequence[Path], modules: Sequence[str], large: Sequence[Path] = ()
) -> Path:
    """The checkpoint of a step: hidden beside its output, and named after everything the result depends on.

    Whoever edits a parameter, an input or the code after a kill gets a training from the start; what was begun before
    the edit is removed here.

    Args:
        out: the output; its folder is made if need be, so that an unfit place is refused before the training.
        params: what the step reads.
        seed: of the experiment.
        inputs: files whose content matters.
        modules: dotted names, of the verb and of the plug-ins that the parameters choose.
        large: files too large to be read for this: size and time of change stand for the content.

    Raises:
        MgralError: an input is missing, or the output cannot be written there.
    """
    digest = hashlib.sha256(f"{code_hash.code_hash(*modules)} {params.model_dump_json()} {seed}".encode())
    for path in inputs:
        try:
            require_regular(path)
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except (FileNotFoundError, IsADirectoryError):
            raise MgralError(f"{path}: no such file; make it with the step before") from None
    for path in large:
        try:
            stat = path.stat()
        except OSError:
            raise MgralError(f"{path}: no such file; make it with the step before") from None
        digest.update(f"{stat.st_size} {stat.st_mtime_ns}".encode())
    make_folder(out)
    wanted = out.with_name(f".{out.stem}.{digest.hexdigest()[:16]}.ckpt")
    for found in out.parent.glob(f".{out.stem}.{'[0-9a-f]' * 16}.ckpt*"):
        other = found.with_name(found.name.removesuffix(".files"))
        if other != wanted:
            _discard(other)
    return wanted


def files_beside(checkpoint: Path) -> Path:
    """A folder for a training that keeps files of its own; it goes when the checkpoint goes."""
    return checkpoint.with_name(f"{checkpoint.name}.files")


def _discard(checkpoint: Path) -> None:
    checkpoint.unlink(missing_ok=True)
    shutil.rmtree(files_beside(checkpoint), ignore_errors=True)
