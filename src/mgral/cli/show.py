"""Print what a step made: a file of a run, or all of a cycle's folder."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

from mgral.errors import MgralError
from mgral.files import read_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, help="a file of a run, or the folder of a cycle")


def run(arguments: argparse.Namespace) -> None:
    path: Path = arguments.path
    if not path.exists():
        raise MgralError(f"{path}: no such file or folder; give one below data/runs")
    for line in _folder(path) if path.is_dir() else _file(path):
        print(line)


def _folder(path: Path) -> Iterator[str]:
    known = [file for name in _SHOWN for file in sorted(path.rglob(name))]
    if not known:
        raise MgralError(f"{path}: holds nothing that a step made; give the folder of a cycle")
    for file in known:
        yield f"{file.relative_to(path)}:"
        yield from (f"  {line}" for line in _SHOWN[file.name](file))


def _file(path: Path) -> Iterator[str]:
    if path.name not in _SHOWN:
        raise MgralError(f"{path}: no file that a step made for reading; it can show {', '.join(_SHOWN)}")
    return _SHOWN[path.name](path)


def _pool(path: Path) -> Iterator[str]:
    from mgral import pools

    pool = pools.read(path)
    yield f"cycle {pool.cycle}: {len(pool.labelled)} labelled, {len(pool.unlabelled)} unlabelled images"


def _metrics(path: Path) -> Iterator[str]:
    metrics = read_json(path)
    yield f"trained on {metrics['images']} images with {metrics['boxes']} boxes"
    for split in ("val", "test"):
        values = metrics[split]
        classes = ", ".join(f"{k} {v:.3f}" for k, v in values["per_class"].items() if v is not None)
        yield f"{split}: mAP {values['mAP']:.4f}, AP50 {values['AP50']:.4f} ({classes})"


def _audit(path: Path) -> Iterator[str]:
    audit = read_json(path)
    yield f"{audit['records']} records, mAP spread {audit['spread']:.4f}; {audit['representation']}"
    yield f"held out: error {audit['mae']:.4f} against {audit['mae_mean']:.4f} by the others' mean"
    for kind, own in audit["kinds"].items():
        spreads = [f"{own[key]:.4f}" if own[key] is not None else "–" for key in ("between_batches", "between_seeds")]
        level = f"random batches {own['reference']:.4f}"
        yield f"{own['records']} {kind}: {level}, spread between batches {spreads[0]}, between seeds {spreads[1]}"
    yield f"rank correlation: Spearman {audit['spearman']}, Kendall {audit['kendall']}; far {audit['far']:.0%}"


def _selected(path: Path) -> Iterator[str]:
    from mgral import selections

    selection = selections.read(path)
    yield f"{selection.strategy}, seed {selection.seed}, cycle {selection.cycle}: {len(selection.picks)} images"
    names = {pick["id"]: pick["file_name"] for pick in read_json(path)["picks"]}
    for rank, pick in enumerate(selection.picks, start=1):
        reason = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in pick.reason.items())
        yield f"{rank:4d}. {names[pick.id]}  score {pick.score:.4g}  {reason}"


_SHOWN: dict[str, Callable[[Path], Iterator[str]]] = {
    "pool.json": _pool,
    "metrics.json": _metrics,
    "audit.json": _audit,
    "selected.json": _selected,
}
