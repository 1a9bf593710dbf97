"""Print what a step made: a file of a run, or all of a cycle's folder or of a run's, with time and host."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from mgral import cli
from mgral.core.errors import MgralError
from mgral.report import jobs, summaries


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, help="a file of a run, or the folder of a cycle or of a run")


def run(arguments: argparse.Namespace) -> None:
    path: Path = arguments.path
    if not path.exists():
        raise MgralError(f"{path}: no such file or folder; give one below data/runs")
    faults: list[MgralError] = []
    for line in _folder(path, faults) if path.is_dir() else _file(path):
        print(line)
    for fault in faults[:-1]:
        cli.complain(fault)
    if faults:
        raise faults[-1]


def _folder(path: Path, faults: list[MgralError]) -> Iterator[str]:
    """All that there is to show; a file that cannot be is added to ``faults``."""
    known = [path / name for name in summaries.IN_FOLDER if (path / name).is_file()]
    if not known:
        raise MgralError(f"{path}: not the folder of a cycle or of a run; give one, or a file below it")
    for file in known:
        yield f"{file.relative_to(path)}:"
        try:
            yield from (f"  {line}" for line in _file(file))
        except MgralError as fault:
            faults.append(fault)
            yield "  cut short, see the error"
    of_cycle = jobs.of_cycle(path)
    lines = jobs.lines(of_cycle) if of_cycle else jobs.totals(jobs.of_run(path))
    for number, line in enumerate(lines):
        if number == 0:
            yield "jobs:"
        yield f"  {line}"


def _file(path: Path) -> Iterator[str]:
    full = path.absolute()
    for kind, show in summaries.SUMMARIES.items():
        if full.match(kind):
            try:
                yield from show(path)
            except OSError as error:
                raise MgralError(f"{path}: cannot be read ({error.strerror}); make it readable") from None
            except (KeyError, TypeError, ValueError, AttributeError):
                raise MgralError(
                    f"{path}: not what a step writes under that name, damaged or of another revision; "
                    f"run `snakemake --forcerun {path}`"
                ) from None
            return
    raise MgralError(f"{path}: no file that a step made for reading; it can show {', '.join(summaries.SUMMARIES)}")
