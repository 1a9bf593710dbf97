"""What a step reads beside its input files: its parameters, by value, and its code.

A rule declares both, so that Snakemake runs it again when one of them has changed.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mgral.config import loading
from mgral.config.schema import Strategy
from mgral.core import code_hash, run_layout
from mgral.core.files import write_bytes
from mgral.planning.rule_files import Given, Wildcards, folder_of, options_of

FOLDER = Path(".snakemake/parameters")

Plugin = str | Callable[[Wildcards], Iterable[str]]  # dotted names of modules


class StepInputs:
    """Parameters and code of the steps of one experiment.

    Args:
        parameters: of the whole experiment, as JSON values.
        strategies: by label; a step for one strategy sees the parameters of no other.
        module_of: the module of a verb.
    """

    def __init__(
        self, parameters: Mapping[str, Any], strategies: Mapping[str, Strategy], module_of: Callable[[str], str]
    ) -> None:
        self._parameters = parameters
        self._strategies = strategies
        self._module_of = module_of
        self.parameters = cache(self._declared)
        self.file = cache(self._written)
        self.code = cache(code_hash.Snapshot().code_hash)

    def of_rule(self, verb: str, *plugins: Plugin, reads: bool = True) -> dict[str, Any]:
        """What a rule declares as ``params``: the parameters of its verb by value, and a hash of its code.

        Snakemake records these and runs the step again when they change. It ignores what is derived from input or
        output: the file that holds the same parameters, the options of the command, the folder
        of the first output, and the part for the message.

        Args:
            verb: that the rule runs.
            plugins: modules that the parameters choose, or a function of a job that names them.
            reads: whether the verb reads any parameters.
        """
        module = self._module_of(verb)

        def code(wildcards: Wildcards) -> str:
            return self.code(module, *(n for p in plugins for n in ([p] if isinstance(p, str) else p(wildcards))))

        def settings(wildcards: Wildcards) -> str:
            return self.parameters(module, wildcards.get("label"))

        def file(wildcards: Wildcards, output: Given) -> str:
            return self.file(module, wildcards.get("label"))

        def options(wildcards: Wildcards, input: Given, output: Given) -> list[str]:
            given = ["--params", file(wildcards, output)] if reads else []
            return given + options_of(input) + options_of(output)

        return {
            "code": code,
            **({"settings": settings, "file": file} if reads else {}),
            "options": options,
            "folder": lambda wildcards, output: folder_of(output),
            "of": lambda wildcards, output: run_layout.part_in_words(wildcards.get("part", "")),
        }

    def _declared(self, module: str, label: str | None = None) -> str:
        """The parameters that a verb reads, as JSON. Its own schema says which: it cannot read any other.

        Args:
            module: of the verb.
            label: of the strategies only this one.
        """
        given = dict(self._parameters)
        if label is not None:
            given["strategies"] = [self._strategies[label].model_dump(mode="json")]
        schema = getattr(importlib.import_module(module), "Params", None)
        if schema is not None:
            given = loading.sections(schema, given, "parameters").model_dump(mode="json")
        return json.dumps(given, sort_keys=True)

    def _written(self, module: str, label: str | None = None) -> str:
        """The path of a file that holds those parameters, for the command of a rule.

        The name holds a hash of the content. So a job that waits while someone edits a parameter file is still given
        what Snakemake has recorded for it, and a file that was edited itself is written again.
        """
        text = self.parameters(module, label)
        verb = module.rpartition(".")[2].strip("_")
        path = FOLDER / f"{verb}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
        content = (json.dumps(json.loads(text), sort_keys=True, indent=1) + "\n").encode()
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, content)
        return str(path)
