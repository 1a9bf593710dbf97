"""Weights of a detector behind command lines, whatever they are, as one safetensors file.

A run's files are the same for every detector: ``detector.safetensors``. Here it holds one tensor of bytes, a tar
archive of the file or folder that the command wrote. The same content gives the same bytes.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mgral.core.errors import MgralError
from mgral.core.files import NO_ROOM, write_bytes

TENSOR = "archive"
KIND = {"mgral": "weights of detector command, as a tar archive"}


def write(weights: Path, path: Path) -> None:
    """Pack a file or a folder.

    Raises:
        MgralError: something in it is neither a file nor a folder, or the output cannot be written.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for file in [weights] if weights.is_file() else sorted(weights.rglob("*")):
            if file.is_dir() and not file.is_symlink():
                continue
            if not file.is_file():
                raise MgralError(f"{file}: neither a file nor a folder; weights can be packed of these alone")
            name = "weights" if file == weights else f"weights/{file.relative_to(weights).as_posix()}"
            entry = tarfile.TarInfo(name)
            content = file.read_bytes()
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    data = np.frombuffer(buffer.getvalue(), np.uint8)
    write_bytes(path, save({TENSOR: data}, metadata=KIND))


def read(path: Path, folder: Path) -> Path:
    """Unpack below a folder. Returns the file or folder of weights.

    Raises:
        MgralError: missing, damaged, of another detector, or a name that leaves the folder.
    """
    if not path.is_file():
        raise MgralError(f"{path}: no such file; make it with `mgral train`")
    remedy = "run `mgral train` again"
    try:
        with safe_open(path, "np") as file:
            if file.metadata() != KIND:
                raise MgralError(f"{path}: not the weights of detector command; {remedy}")
            data = file.get_tensor(TENSOR)
        with tarfile.open(fileobj=io.BytesIO(data.tobytes())) as archive:
            _unpack(archive, folder)
    except (SafetensorError, tarfile.TarError, KeyError, OSError) as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM:  # where they are unpacked, not in the file
            raise
        raise MgralError(f"{path}: damaged weights; {remedy}") from None
    weights = folder / "weights"
    if not weights.exists():
        raise MgralError(f"{path}: holds no weights; {remedy}")
    return weights


def _unpack(archive: tarfile.TarFile, folder: Path) -> None:
    """Write the files of an archive below a folder. Python knows a filter for this from 3.11.4 on.

    Raises:
        TarError: an entry is no file, or its name leaves the folder.
    """
    for entry in archive:
        target = (folder / entry.name).resolve()
        content = archive.extractfile(entry) if entry.isfile() else None
        if content is None or not target.is_relative_to(folder.resolve()):
            raise tarfile.TarError(entry.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.read())
