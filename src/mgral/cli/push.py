"""Send a batch to the server of the annotation tool. Again, it sends only what is not there.

The server and your token come from the environment: LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY.
"""

from __future__ import annotations

import argparse
import shlex
from types import ModuleType

from mgral.cli import _people
from mgral.core import plugins
from mgral.core.errors import MgralError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _people.add_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    asked = _people.find(arguments)
    asked.require_registered()
    annotation = asked.params.annotation
    tool = server_of(annotation.tool)
    options = tool.Options.parse(annotation.options, "annotation.options")
    asked.folder.keep(asked.batch)
    print(tool.push(asked.batch, options, annotation.annotators))
    print(f"when people have annotated: mgral pull --params {shlex.join(arguments.params)}")


def server_of(name: str) -> ModuleType:
    """A tool that has a server. Raises MgralError for one that works with files alone."""
    tool = plugins.load("annotators", name)
    if not hasattr(tool, "push"):
        raise MgralError(f"annotation.tool: {name} works with files; see the folder of the batch, and `mgral return`")
    return tool
