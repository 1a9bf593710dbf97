"""What is checked and said before the rules are read: by whom and how Snakemake was called, for which run."""

from __future__ import annotations

import gc
import getpass
import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from mgral.config import loading
from mgral.core.errors import MgralError
from mgral.planning import sufficiency, waiting
from mgral.planning.run_plan import RunPlan


def plan(params: Sequence[str], speaks: bool) -> RunPlan:
    """The plan of a run, with what it says as it starts on standard error.

    The files are read as every verb reads them. Snakemake's own reader takes the last of two equal keys, and ``050``
    as 40.

    Args:
        params: the parameter files, each overriding the one before.
        speaks: whether this process speaks for the run. Of the stages of DVC one does: the last.

    Raises:
        MgralError: a file or a parameter is wrong, images are not registered, or what people said is damaged.
    """
    found = RunPlan(loading.read(params))
    if missing := [path for path in found.registered if not Path(path).exists()]:
        remedy = f"run `mgral register --params {shlex.join(params)}` first"
        if any(Path(missing[0]).parent.glob("cycle-*")):
            remedy = "restore this file (git), since the answers beside it name its ids"
        raise MgralError(f"{missing[0]}: the images are not registered; {remedy}")
    said = notices(found, list(params))
    if said and speaks and os.environ.get("DVC_STAGE", "results") == "results":
        print("\n".join(said), file=sys.stderr)
    return found


def refuse(given: Iterable[str], conda: bool) -> None:
    """Refuse what a run cannot work with.

    Args:
        given: keys of ``--config``.
        conda: whether rules are to run in environments of conda.

    Raises:
        MgralError: a parameter is set on the command line, or conda is not on PATH.
    """
    if keys := ", ".join(given):  # it would be in no file, so neither DVC nor a clone would know of it
        raise MgralError(
            f"--config {keys}: parameters are set in files only, which DVC records; write them to one in params/ and"
            " name it with --configfile"
        )
    if conda and shutil.which("conda") is None:
        raise MgralError(
            "--use-conda: conda is not on PATH; install it (24.7.1 or newer), or leave the flag out and the rules run"
            " in the current environment, which `make environment` builds in .venv"
        )


def name_user() -> None:
    """Name a user without a name: a uid of a container, say. Snakemake's log names who runs it."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ.update(LOGNAME=f"uid-{os.getuid()}")


def keep_modules() -> None:
    """Leave loaded modules, which stay, out of each search for cyclic garbage: 0.1 s of a start."""
    gc.freeze()


def overrides(base: str, files: Iterable[str]) -> list[str]:
    """The parameter files of a run besides ``base``, relative to the working directory."""
    return [path for path in map(os.path.relpath, files) if path != base]


def notices(plan: RunPlan, params: list[str]) -> list[str]:
    """What a run says as it starts, a line each: whom it waits for, and whether its pool suffices.

    Args:
        plan: of the experiment.
        params: its parameter files, for commands.

    Raises:
        MgralError: the manifest of a batch is damaged.
    """
    return [text for text in (waiting.line(plan, params), sufficiency.line(plan)) if text]
