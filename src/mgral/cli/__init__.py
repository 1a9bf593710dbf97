"""The command line: a verb reads files, makes one call, writes files."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import itertools
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from mgral.core.errors import MgralError, nearest, shown
from mgral.core.files import NO_ROOM, require_regular, seldom_collected

# verb: what it does. Its module is mgral.cli.<verb>, with _ for - and at the end where Python owns the word.
VERBS = {
    "generate": "make the generated data set",
    "import": "bring a data set into canonical form, checking everything",
    "register": "give images ids and splits that never change, for people to annotate",
    "cache": "decode and resize every image once",
    "pool": "draw the initial labelled pool",
    "export": "write a selected batch for an annotation tool",
    "push": "send a batch to the server of the annotation tool",
    "pull": "fetch the answers from the server of the annotation tool",
    "return": "take what an annotation tool returned for a batch",
    "status": "show the progress of people with a batch",
    "close": "let the run go on with what people returned",
    "labels": "make the labels of a cycle from what people returned",
    "annotate": "label a selected batch: the pool of the next cycle",
    "train": "train and evaluate a detector",
    "embed": "embed the pool and detect objects in it",
    "replay-split": "hold out labelled images, which replay proxies learn from as if they were new",
    "sample-batches": "sample the candidate batches that proxies are trained for",
    "foundation-features": "embed the pool by a backbone that is no part of the detector",
    "backbone-features": "precompute features of the frozen backbone for all proxies",
    "proxy": "train proxies for batches",
    "table": "index the records of proxies and audit them",
    "search": "train the agent against the lookup table",
    "score": "score the unlabelled images by a strategy's own network",
    "select": "select the next batch",
    "prices": "compare the predicted gains of an agent's batch and of other strategies' batches",
    "noise": "measure the spread between trainings of one pool",
    "subset": "draw a part of the labelled pool",
    "stopping": "say what further images are expected to bring",
    "curve": "collect the metrics of a run",
    "compare": "compare the strategies of a run",
    "report": "write the report of a run",
    "list": "print the names of plug-ins",
    "probe": "try how long the first detector must be trained, and whether labels help",
    "forecast": "say what an experiment will take on this machine",
    "check": "check the parameters of an experiment",
    "show": "print what a step made",
}

BY_HAND = ("check", "register", "push", "pull", "return", "status", "close", "show", "list")  # in this order

LOOKING = {
    "list",
    "check",
    "show",
    "status",
}  # they make nothing; the log of the others ends with host and hour

_UNREADABLE = (PermissionError, NotADirectoryError, IsADirectoryError)
_NOT_READ = {errno.ELOOP, errno.ENAMETOOLONG, errno.EIO, errno.ESTALE, errno.EROFS, errno.ENODEV, errno.ENXIO}

_log = logging.getLogger(__name__)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise MgralError(f"{message}; see `{self.prog} --help`")


def module(verb: str) -> str:
    """The module of a verb."""
    name = verb.replace("-", "_")
    return f"mgral.cli.{name}_" if verb in {"import", "list", "return"} else f"mgral.cli.{name}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb. Returns 0; 2 after one line on standard error; 130 after Ctrl-C."""
    began = time.perf_counter()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with seldom_collected():
            try:
                return _run(arguments, began)
            finally:  # argparse ends this process after --help
                if sys.stdout is not None:  # None: it was closed before this process began
                    sys.stdout.flush()
    except MgralError as error:
        complain(error)
        return 2
    except KeyboardInterrupt:
        complain(MgralError("interrupted; run the same command again to go on"))
        return 130
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        _silence()
        return 0
    except UnicodeEncodeError as error:
        if error.encoding.lower() in {"utf-8", "utf8"}:
            raise
        complain(
            MgralError(
                f"{shown(error.object)}: cannot be said in this environment's encoding, {error.encoding}; set "
                "PYTHONUTF8=1, or LC_ALL to a locale in UTF-8"
            )
        )
        return 2
    except OSError as error:  # any reader of any input may meet these
        complaint = _about(error)
        if complaint is None:
            raise
        if error.filename is None:
            _silence()
        complain(complaint)
        return 2


def _silence() -> None:
    """Let nothing more be written to standard output: Python would try it once again at its end, and complain."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _about(error: OSError) -> MgralError | None:
    """What is said of an error of the system; None where it is a fault of the program."""
    if error.errno in NO_ROOM:
        where = error.filename or "standard output or a temporary file (TMPDIR)"
        return MgralError(f"{where}: cannot be written, {NO_ROOM[error.errno]}; make room and run this again")
    if error.filename is None:
        if "temporary directory" not in str(error):
            return None
        return MgralError("TMPDIR: no folder for temporary files can be written; set it to one that can")
    if isinstance(error, _UNREADABLE) or error.errno in _NOT_READ:
        return MgralError(f"{error.filename}: cannot be read ({error.strerror}); give a file that can be")
    return None


def complain(error: MgralError) -> None:
    """Print an error as one line on standard error."""
    with contextlib.suppress(OSError):  # a log on a disk that is full
        print("mgral: " + " ".join(str(error).split()), file=sys.stderr, flush=True)


def _run(arguments: list[str], began: float) -> int:
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(_overview())
        return 0
    if arguments[0] == "--version":
        print(_version())
        return 0
    verb, *rest = arguments
    if verb not in VERBS:
        raise MgralError(f"unknown verb '{verb}'; {nearest(verb, VERBS)}")
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    implementation = importlib.import_module(module(verb))
    given = parser_of(verb).parse_args(rest)
    _check_paths(given, getattr(implementation, "OUTPUTS", ()), getattr(implementation, "FOLDERS", ()))
    implementation.run(given)
    if verb not in LOOKING:
        from mgral.report import jobs

        _log.info(jobs.signature(began))
    return 0


def parser_of(verb: str) -> argparse.ArgumentParser:
    """The parser of a verb's options; its help ends with two examples."""
    from mgral.cli import _examples

    implementation = importlib.import_module(module(verb))
    parser = _Parser(
        prog=f"mgral {verb}",
        description=implementation.__doc__,
        epilog=_examples.epilog(verb),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    implementation.add_arguments(parser)
    return parser


def _check_paths(given: argparse.Namespace, more: Sequence[str], folders: Sequence[str]) -> None:
    """Refuse inputs that reading may never end on, and an output that would replace an input or another output.

    Args:
        given: options of the verb.
        more: of these, what is written beside ``out``.
        folders: of both, what is a folder.

    Raises:
        MgralError: a path is a pipe, a device or a socket, cannot be a path, or an output is an input too.
    """
    paths: dict[str, list[Path]] = {}
    for name, value in vars(given).items():
        values = value if isinstance(value, list) else [value]
        paths[name] = [Path(v) for v in values if isinstance(v, Path) or (name == "params" and v != "-")]
    outputs = {f"--{name.replace('_', '-')}": path for name in ("out", *more) for path in paths.pop(name, [])}
    inputs = [path for found in paths.values() for path in found]
    for path in [*inputs, *outputs.values()]:
        try:
            found = path.exists()
            if found and not path.is_dir():
                require_regular(path)
        except PermissionError as error:
            if error.strerror == "not a regular file":
                raise MgralError(f"{path}: not a regular file; give one, not a pipe or a device") from None
        except (OSError, ValueError) as error:  # too long, or with a NUL in it
            if isinstance(error, NotADirectoryError):
                continue
            raise MgralError(f"{shown(str(path))}: cannot be a file ({error}); give another path") from None
    for option, out in outputs.items():
        if out.is_dir() and option[2:].replace("-", "_") not in folders:
            raise MgralError(f"{out}: is a folder, and {option} names a file; give its name too")
        if out.is_file() and option[2:].replace("-", "_") in folders and not any(map(out.samefile, _there(inputs))):
            raise MgralError(f"{out}: is a file, and {option} names a folder; choose another place")
        for path in inputs:
            if out.is_file() and path.is_file() and out.samefile(path):
                raise MgralError(f"{out}: is an input too, which {option} would replace; write elsewhere")
    for (option, out), (other, second) in itertools.combinations(outputs.items(), 2):
        if os.path.realpath(out) == os.path.realpath(second):
            raise MgralError(f"{out}: is given to both {option} and {other}; give each a file of its own")


def _there(paths: Sequence[Path]) -> list[Path]:
    return [path for path in paths if path.is_file()]


def _version() -> str:
    from importlib import metadata

    try:
        return f"mgral {metadata.version('mgral')}"
    except metadata.PackageNotFoundError:
        raise MgralError("--version: mgral is on the path, but not installed; run `make environment`") from None


def _overview() -> str:
    width = max(map(len, VERBS))
    by_hand = [f"  {verb:<{width}}  {VERBS[verb]}" for verb in BY_HAND]
    steps = [f"  {verb:<{width}}  {what}" for verb, what in VERBS.items() if verb not in BY_HAND]
    usage = "usage: mgral <verb> [options]    (mgral <verb> --help for its options, mgral --version)"
    called = "steps, which Snakemake calls for you:"
    return "\n".join(
        [usage, "", "by hand:", *by_hand, "", called, *steps, "", "To begin: README.md, docs/own-images.md"]
    )
