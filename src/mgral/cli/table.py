"""Index the records of a cycle's proxies and audit them: how well does the table price a batch it has not seen?"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from mgral.cli import _arguments
from mgral.params import Table
from mgral.settings import Settings


class Params(Settings):
    """What this step reads."""

    table: Table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "embeddings")
    parser.add_argument("--records", required=True, type=Path, nargs="+", help="proxies/<k>.json of the cycle")
    parser.add_argument("--control", type=Path, nargs="*", default=[], help="records with unsupervised weight zero")
    parser.add_argument("--repeats", type=Path, nargs="*", default=[], help="records of one batch trained again")
    _arguments.add_out(parser, "folder for records.parquet, index.faiss and audit.json")


def run(arguments: argparse.Namespace) -> None:
    from mgral import arrays, records, spreads
    from mgral.files import write_json
    from mgral.lookup import LookupTable

    params = _arguments.read_params(Params, arguments.params)
    found = [records.read(path) for path in arguments.records]
    table = LookupTable(found, arrays.read_embeddings(arguments.embeddings), params.table)
    table.save(arguments.out)
    control, repeats = ([records.read(path) for path in paths] for paths in (arguments.control, arguments.repeats))
    audit = {**table.audit(), **spreads.audit(table.records, control, repeats)}
    write_json(arguments.out / "audit.json", audit)
    logging.info("%d records; held-out error %s against %s by their mean", len(found), audit["mae"], audit["mae_mean"])
