"""Print the names of plug-ins, one a line; with --options also what can be set."""

from __future__ import annotations

import argparse
import sys

from mgral.core import plugins


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", help=", ".join(plugins.PACKAGES))
    parser.add_argument("--options", action="store_true", help="print each plug-in's options with their defaults")


def run(arguments: argparse.Namespace) -> None:
    names = plugins.names(arguments.kind)
    if not names:
        print(f"{arguments.kind}: none yet", file=sys.stderr)
    for name in names:
        print(name)
        if arguments.options:
            for key, field in plugins.load(arguments.kind, name).Options.model_fields.items():
                default = "required" if field.is_required() else repr(field.get_default(call_default_factory=True))
                print(f"  {key}: {default}  # {field.description}")
