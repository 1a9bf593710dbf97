"""Index the records of a cycle's proxies and audit them: how well does the table predict the gain of unseen batches?"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from mgral.cli import _arguments
from mgral.config.base import Settings
from mgral.config.schema import Table
from mgral.core.errors import MgralError
from mgral.core.run_layout import AUDIT, PRICE
from mgral.core.types import Record

if TYPE_CHECKING:
    from mgral.reward.growth import Worlds

FOLDERS = ("out",)  # outputs that are folders


class Params(Settings):
    """What this step reads."""

    table: Table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "embeddings")
    _arguments.add_detections(parser)
    parser.add_argument("--records", required=True, type=Path, nargs="+", help="proxies/<k>.json of the cycle")
    parser.add_argument(
        "--carried",
        type=Path,
        nargs="*",
        default=[],
        help="of earlier cycles: table/records.parquet, of which those of its own cycle are taken, and added.json",
    )
    parser.add_argument("--control", type=Path, nargs="*", default=[], help="records with unsupervised weight zero")
    parser.add_argument("--repeats", type=Path, nargs="*", default=[], help="records of one batch trained again")
    growth = parser.add_argument_group("for the representation growth")
    growth.add_argument("--dataset", type=Path, help="dataset.json of the run")
    growth.add_argument("--pool", type=Path, help="pool.json of the cycle")
    growth.add_argument("--competence", type=Path, help="metrics.json of the cycle")
    for name, what in {
        "--replay-pool": "pool.json of each replay split in their order, if there are replay records",
        "--replay-embeddings": "embeddings.npz of the detectors of these, if they have any",
        "--replay-detections": "detections.npz of the same",
    }.items():
        growth.add_argument(name, type=Path, nargs="+", default=[], help=what)
    _arguments.add_out(parser, "folder for records.parquet, index.faiss, audit.json and (growth) price.npz")


def run(arguments: argparse.Namespace) -> None:
    from mgral.core.files import write_json
    from mgral.reward import batch_price, records, variance
    from mgral.reward.batch_price import BatchPrice
    from mgral.reward.lookup_table import LookupTable
    from mgral.strategies import _evidence_files

    params = _arguments.read_params(Params, arguments.params)
    found = [records.read(path) for path in arguments.records]
    cycle = max(record.cycle for record in found)
    for path, record in zip(arguments.records, found, strict=True):
        if record.cycle < cycle:
            raise MgralError(
                f"--records: {path} is of cycle {record.cycle}, others of {cycle}; name those of one cycle"
            )
    carried = [record for path in arguments.carried for record in _carried(path, cycle)]
    embeddings = _evidence_files.read_embeddings(arguments.embeddings, arguments.detections)
    worlds = _worlds(arguments) if params.table.representation == "growth" else None
    table = LookupTable([*found, *carried], embeddings, params.table, worlds=worlds)
    table.save(arguments.out)
    if worlds is not None:
        batch_price.write(BatchPrice(worlds.own, table.weights), arguments.out / PRICE)
    control, repeats = ([records.read(path) for path in paths] for paths in (arguments.control, arguments.repeats))
    audit = {**table.audit(), **variance.audit(table.own, control, repeats)}
    write_json(arguments.out / AUDIT, audit)
    logging.info(
        "%d records and %d of earlier cycles; held-out error %s against %s by their mean",
        *(audit[key] for key in ("records", "carried", "mae", "mae_mean")),
    )


def _worlds(arguments: argparse.Namespace) -> Worlds:
    """What the representation growth is computed from. Raises MgralError for an option that is missing."""
    from mgral.data import dataset_json
    from mgral.strategies import _evidence_files

    for name in ("dataset", "pool", "detections", "competence"):
        if getattr(arguments, name) is None:
            raise MgralError(f"--{name}: missing; table.representation growth needs it")
    cycle = arguments.pool, arguments.embeddings, arguments.detections
    pools, seen, found = arguments.replay_pool, arguments.replay_embeddings, arguments.replay_detections
    if len(seen) != len(found):
        raise MgralError("--replay-embeddings and --replay-detections belong together; give both or neither")
    if seen and len(seen) != len(pools):
        raise MgralError(
            f"--replay-embeddings: {len(seen)} files for {len(pools)} splits; give one for each --replay-pool"
        )
    none = [None] * len(pools)
    splits = list(zip(pools, seen or none, found or none, strict=True))
    return _evidence_files.read_worlds(dataset_json.read(arguments.dataset), cycle, arguments.competence, splits)


def _carried(path: Path, cycle: int) -> list[Record]:
    """Records of an earlier cycle than ``cycle``: those that were trained for a table, or for its search."""
    from mgral.reward import records, table_files

    found = table_files.read_records(path) if path.suffix == ".parquet" else records.read_list(path)
    latest = max((record.cycle for record in found), default=-1)  # what a table has carried itself is in another
    if latest >= cycle:
        raise MgralError(f"--carried: {path} is of cycle {latest}; name files of cycles before {cycle}")
    return [record for record in found if record.cycle == latest]
