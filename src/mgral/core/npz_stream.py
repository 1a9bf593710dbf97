"""NumPy archives whose arrays do not fit in memory: written row by row, and read a few rows at a time.

An archive is a ZIP file of one ``.npy`` file an array, not compressed, as ``numpy.savez`` writes it; ``numpy.load``
reads it too.
"""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from mgral.core.files import require_regular, whole

Row = tuple[npt.DTypeLike, tuple[int, ...]]
"""dtype and shape of a row of an array."""

PADDING = 0xD935  # the kind of extra field by which zipalign pads
BLOCK = 2**20  # bytes that are copied at a time

DAMAGE = (zipfile.BadZipFile, zlib.error, NotImplementedError, TypeError, ValueError, EOFError, OSError, MemoryError)
"""What a damaged archive may raise."""


class Writer:
    """What :func:`writing` yields.

    Attributes:
        arrays: whole arrays by name; put in what shall be written.
    """

    def __init__(self, rows: Mapping[str, Row], files: Mapping[str, IO[bytes]]) -> None:
        self.arrays: dict[str, npt.NDArray[Any]] = {}
        self._rows = {name: (np.dtype(dtype), shape) for name, (dtype, shape) in rows.items()}
        self._counts = dict.fromkeys(rows, 0)
        self._files = files

    def add(self, name: str, rows: npt.NDArray[Any]) -> None:
        """Append [n, …] rows to an array that grows; they are cast to its dtype."""
        dtype, shape = self._rows[name]
        if rows.shape[1:] != shape:
            raise ValueError(f"{name}: rows of shape {rows.shape[1:]}, not {shape}")
        self._files[name].write(np.ascontiguousarray(rows, dtype).tobytes())
        self._counts[name] += len(rows)

    def assemble(self, path: Path) -> None:
        """Write the archive, one array after the other."""
        with zipfile.ZipFile(path, "w") as archive:
            for name, array in self.arrays.items():
                with archive.open(_aligned(archive, f"{name}.npy"), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
            for name, (dtype, shape) in self._rows.items():
                header = {"descr": dtype.str, "fortran_order": False, "shape": (self._counts[name], *shape)}
                self._files[name].seek(0)
                with archive.open(_aligned(archive, f"{name}.npy"), "w", force_zip64=True) as member:
                    np.lib.format.write_array_header_1_0(member, header)
                    shutil.copyfileobj(self._files[name], member, BLOCK)


def _aligned(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """An entry whose content begins at a multiple of 64 bytes, as NumPy aligns arrays, so that it can be mapped.

    The local header has 30 bytes, the name, and extra fields: 20 bytes for the lengths of a large file, and ours.
    """
    assert archive.fp is not None
    info = zipfile.ZipInfo(name)
    padding = -(archive.fp.tell() + 30 + len(name) + 20 + 4) % 64
    info.extra = struct.pack("<HH", PADDING, padding) + bytes(padding)
    return info


@contextmanager
def writing(path: str | Path, growing: Mapping[str, Row]) -> Iterator[Writer]:
    """Write an archive of whole arrays, and of arrays that grow by rows.

    Rows are kept in files without a name beside the archive, so a killed writer leaves nothing behind. Until the end,
    the disk needs room for twice the rows.

    Args:
        path: of the archive; it takes its place whole, if the block succeeds.
        growing: dtype and shape of a row of each array that grows, by name.

    Raises:
        MgralError: the file cannot be written there, see :func:`mgral.core.files.whole`.
    """
    with whole(path) as temporary, ExitStack() as stack:
        files = {name: stack.enter_context(tempfile.TemporaryFile(dir=temporary.parent)) for name in growing}
        writer = Writer(growing, files)
        yield writer
        writer.assemble(temporary)


class Reader:
    """Reads rows of an archive's arrays where they are asked for. No array is read whole unless asked for.

    Args:
        path: of an archive; its arrays are not compressed.
        check: read the archive once, and compare each array's checksum.

    Raises:
        ValueError: no such archive.
        OSError: it cannot be read.
    """

    def __init__(self, path: str | Path, check: bool = True) -> None:
        require_regular(path)
        self._path = Path(path)
        self._file = self._path.open("rb", buffering=0)
        weakref.finalize(self, self._file.close)
        self._at: dict[str, int] = {}
        self.dtypes: dict[str, np.dtype[Any]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                self._find(archive, info)
            damaged = archive.testzip() if check else None
            if damaged is not None:
                raise ValueError(f"the checksum of {damaged} differs")

    def _find(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{info.filename} is compressed")
        with archive.open(info) as member:
            version = np.lib.format.read_magic(member)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            if version not in read:
                raise ValueError(f"{info.filename} has format {version}")
            shape, fortran, dtype = read[version](member)
            inside = member.tell()
        if dtype.hasobject or (fortran and len(shape) > 1):
            raise ValueError(f"{info.filename} cannot be read by rows")
        name = info.filename.removesuffix(".npy")
        # local header: 30 bytes, of which 26 … 29 are the lengths of the name and of the extra field that follow
        lengths = np.frombuffer(os.pread(self._file.fileno(), 4, info.header_offset + 26), "<u2")
        self._at[name] = info.header_offset + 30 + int(lengths.sum()) + inside
        self.dtypes[name], self.shapes[name] = dtype, shape
        if inside + dtype.itemsize * int(np.prod(shape)) != info.file_size:
            raise ValueError(f"{info.filename} is not as long as its header says")

    def __contains__(self, name: object) -> bool:
        """Whether there is such an array."""
        return name in self._at

    def rows(self, name: str, begin: int, end: int) -> npt.NDArray[Any]:
        """Rows ``begin`` … ``end`` - 1 of an array, as a new array."""
        dtype, shape = self.dtypes[name], self.shapes[name][1:]
        found = np.empty((max(end - begin, 0), *shape), dtype)
        into, at = found.reshape(-1).view(np.uint8).data, self._at[name] + begin * dtype.itemsize * _size(shape)
        while len(into):
            count = os.preadv(self._file.fileno(), [into], at)
            if not count:
                raise EOFError(f"{name} ends early")
            into, at = into[count:], at + count
        return found

    def whole(self, name: str) -> npt.NDArray[Any]:
        """All of an array."""
        shape = self.shapes[name]
        return self.rows(name, 0, shape[0]) if shape else self._scalar(name)

    def mapped(self, name: str) -> npt.NDArray[Any]:
        """All of an array, as a read-only map of the file: rows are in memory when they are looked at."""
        dtype, shape, at = self.dtypes[name], self.shapes[name], self._at[name]
        return np.memmap(self._path, dtype, "r", at, shape).view(np.ndarray) if _size(shape) else self.whole(name)

    def _scalar(self, name: str) -> npt.NDArray[Any]:
        dtype = self.dtypes[name]
        return np.frombuffer(os.pread(self._file.fileno(), dtype.itemsize, self._at[name]), dtype).reshape(())


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))
