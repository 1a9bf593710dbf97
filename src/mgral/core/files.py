"""Files between steps: JSON in, JSON out, and outputs that appear whole or not at all."""

from __future__ import annotations

import codecs
import errno
import fcntl
import gc
import io
import json
import os
import re
import secrets
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pydantic_core

from mgral.core.errors import MgralError, shown

NO_ROOM = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "it is larger than a file may be here (ulimit -f)",
}


_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


@contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; it takes the place of ``path`` only if the block succeeds.

    The temporary name keeps the suffix (some writers choose a format by it), is hidden and differs between writers, so
    two that write the same output never mix: the last to finish is the one whose file stays. A writer holds a lock on
    its temporary file, and removes those beside it that a killed writer left without one.

    The block writes in ways that report a full disk as OSError with its number: not through a memory map, where the
    process is killed (SIGBUS), and not through writers in C++ that raise something of their own; see
    :func:`write_bytes`.

    An OSError of the block counts as one of the output if it names the temporary file or says that there is no room.
    Any other is of something that the block reads, and passes through.

    Raises:
        MgralError: the file cannot be written there, there is no room for it, something that is no regular file has
            its name, or its text is none in UTF-8; ``path`` is as it was, and the temporary file is gone.
    """
    path = Path(path)
    make_folder(path)
    if path.exists() and not path.is_file():
        raise MgralError(f"{path}: is not a regular file and is not replaced; choose another place")
    stem = path.stem.encode()[:200].decode(errors="ignore")
    _remove_abandoned(path.parent, f".{stem}.", f".part{path.suffix}")
    # a place that takes no file is known before the block has done its work
    temporary, lock = _temporary(path, stem)
    try:
        with _refused(path, temporary):
            yield temporary
            temporary.replace(path)
    finally:
        with suppress(OSError):  # what is under way says more
            temporary.unlink(missing_ok=True)
        os.close(lock)


def _temporary(path: Path, stem: str) -> tuple[Path, int]:
    """A new file beside an output, and the lock on it. Raises MgralError where none can be made."""
    while True:
        temporary = path.with_name(f".{stem}.{secrets.token_hex(4)}.part{path.suffix}")
        with _refused(path, temporary):
            lock = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(lock).st_nlink:
                    return temporary, lock
            except BlockingIOError:
                pass
            except OSError:  # a file system without locks
                return temporary, lock
            os.close(lock)  # another writer took it for abandoned before it was locked, and removes it


def _remove_abandoned(folder: Path, start: str, end: str) -> None:
    """Remove temporary files whose writer was killed: no process holds the lock on them."""
    with suppress(OSError):
        for entry in os.scandir(folder):
            middle = entry.name[len(start) : len(entry.name) - len(end)]
            if not (entry.name.startswith(start) and entry.name.endswith(end) and len(middle) == 8):
                continue
            with suppress(OSError):  # BlockingIOError: it is being written
                found = os.open(entry.path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    Path(entry.path).unlink()
                finally:
                    os.close(found)


def require_regular(path: str | os.PathLike[str]) -> None:
    """Refuse an input that reading may never end on: a pipe, a device, a socket.

    Raises:
        FileNotFoundError: there is none.
        IsADirectoryError: it is a folder.
        PermissionError: it is something else than a regular file.
    """
    mode = os.stat(path).st_mode  # noqa: PTH116 (of every image: a Path is ten times as slow)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise PermissionError(errno.EACCES, "not a regular file", str(path))


def make_folder(path: str | os.PathLike[str]) -> None:
    """Make the folder that an output will lie in. Raises MgralError if it cannot be, or ``path`` is a folder itself."""
    path = Path(path)
    with _refused(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError:  # the parent is a file
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None


@contextmanager
def _refused(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Turn an OSError into one line about ``path``; with ``temporary`` only one of that file, or of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            reason, remedy = f", {NO_ROOM[error.errno]}", "make room and run this again"
        elif temporary is None or str(error.filename) == str(temporary):
            reason, remedy = f" ({error.strerror})", "choose another place"
        else:
            raise
        raise MgralError(f"{path}: cannot be written{reason}; {remedy}") from None
    except UnicodeEncodeError as error:
        raise MgralError(
            f"{path}: cannot be written as UTF-8: {_around(error)} holds half a character; correct it in the input"
        ) from None


@contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Hold the lock on a folder, which is made; another process that asks for it waits.

    Where the file system has no locks, nothing is held.

    Raises:
        MgralError: the folder cannot be made.
    """
    with _refused(Path(folder)):
        Path(folder).mkdir(parents=True, exist_ok=True)
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def write_bytes(path: str | os.PathLike[str], content: bytes | memoryview) -> None:
    """Write what a library has serialised in memory. Raises MgralError as :func:`whole`."""
    with whole(path) as temporary:
        temporary.write_bytes(content)


def write_checkpoint(path: str | os.PathLike[str], state: Any) -> None:
    """Write tensors, numbers and containers of these in torch's own format. Raises MgralError as :func:`whole`."""
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_bytes(path, buffer.getbuffer())


def read_checkpoint(path: str | os.PathLike[str] | None) -> dict[str, Any] | None:
    """Read what :func:`write_checkpoint` left, on the processor and without running code; None if there is none.

    Raises:
        MgralError: the file is damaged, or cannot be read.
    """
    import torch

    if path is None or not Path(path).exists():
        return None
    try:
        require_regular(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise MgralError(f"{path}: cannot be read ({error.strerror}); make it readable") from None
    except Exception:  # torch's unpickler raises whatever the bytes lead it to
        state = None
    if not isinstance(state, dict):
        raise MgralError(f"{path}: damaged checkpoint; remove it and the step starts over")
    return state


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as indented JSON with a final newline; NaN is refused, since JSON has none."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    with whole(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_text(path: str | os.PathLike[str]) -> str:
    """A text file in UTF-8, with or without a byte order mark.

    Raises:
        OSError: missing, a folder, no regular file (:func:`require_regular`), or not readable.
        UnicodeDecodeError: not UTF-8.
    """
    require_regular(path)
    return Path(path).read_text(encoding="utf-8-sig")


def read_json(path: str | os.PathLike[str], halves: bool = False) -> Any:
    """Read a JSON file.

    Args:
        path: of the file.
        halves: whether texts may hold half a character, which cannot be written again (:func:`half_character`).

    Raises:
        MgralError: the file is missing, not UTF-8 or not JSON (names the line and column), or holds a key twice or half
            a character.
    """
    path = Path(path)
    try:
        require_regular(path)
        content = path.read_bytes().removeprefix(codecs.BOM_UTF8)
        try:
            with no_collection():
                value = pydantic_core.from_json(content)
                if _each_key_kept(content, value):
                    return value
        except ValueError:  # json's words say where and why
            pass
        value = json.loads(content.decode("utf-8"), object_pairs_hook=each_key_once)
        if not halves and (text := half_character(content, value)):
            raise MgralError(f"{path}: {text} holds half a character (a lone surrogate); fix or replace it")
        return value
    except FileNotFoundError:
        raise MgralError(f"{path}: no such file; give the path of an existing JSON file") from None
    except IsADirectoryError:
        raise MgralError(f"{path}: is a folder; give the path of a JSON file") from None
    except OSError as error:
        raise MgralError(f"{path}: cannot be read ({error.strerror}); give a file that can be") from None
    except UnicodeDecodeError:
        raise MgralError(f"{path}: not UTF-8 text; save it as UTF-8 JSON") from None
    except RecursionError:
        raise MgralError(f"{path}: cannot be read, nested too deep; fix or replace it") from None
    except json.JSONDecodeError as error:
        raise MgralError(
            f"{path}: not valid JSON at line {error.lineno}, column {error.colno} ({error.msg}); fix or replace it"
        ) from None
    except DuplicateKeyError as error:
        raise MgralError(f"{path}: key {error} occurs twice in one object; remove one of them") from None
    except ValueError:  # Python reads no number of more than 4300 digits
        raise MgralError(f"{path}: holds a number of thousands of digits; fix or replace it") from None


@contextmanager
def set_aside() -> Iterator[None]:
    """Leave what exists now out of searches for cyclic garbage: each looks at all objects, maybe millions."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def no_collection() -> Iterator[None]:
    """Put off the search for cyclic garbage: it takes a third of the time while a million containers are made."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Search for cyclic garbage after 100,000 new containers, not 700: importing torch makes more, and no garbage."""
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], 100_000) if before[0] else 0, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _each_key_kept(content: bytes, value: Any) -> bool:
    """Whether no object of JSON text held a key twice: written again, the value has as many keys as the text.

    A key is what a colon follows. Colons within texts count on both sides alike, unless one is spelt as a number. False
    means that the text must be read key by key.
    """
    if b"\\u003" in content:
        return False
    try:
        return content.count(b":") == pydantic_core.to_json(value).count(b":")
    except ValueError:  # what the fast writer cannot write
        return False


def half_character(content: bytes, value: Any) -> str | None:
    r"""Where JSON holds a lone surrogate, which is half a character and nothing in UTF-8.

    Args:
        content: the JSON text, where such a thing can only be written as ``\\ud800``.
        value: what it means.

    Returns:
        What stands around it, for a message; None if there is none.
    """
    if not _SURROGATE.search(content):
        return None
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        return _around(error)
    return None


def _around(error: UnicodeEncodeError) -> str:
    """The text in which a character could not be encoded, cut to what is near."""
    return shown(error.object[max(0, error.start - 15) : error.start + 15])


class DuplicateKeyError(ValueError):
    """A key that occurs twice in one mapping; readers would disagree about which value counts."""


def each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, for ``json.loads``. Raises DuplicateKeyError."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise DuplicateKeyError(shown(Counter(key for key, _ in pairs).most_common(1)[0][0]))
    return found
