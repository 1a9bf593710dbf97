"""What a step reads beside its input files, its parameters and its code, and the command that runs it.

A rule declares both, so that Snakemake runs it again when one of them has changed.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from mgral.config import loading
from mgral.core.files import write_bytes
from mgral.planning.known_hashes import KnownHashes
from mgral.planning.rule_files import Given, Wildcards, folder_of, options_of, whose
from mgral.planning.run_plan import RunPlan

FOLDER = Path(".snakemake/parameters")

Plugin = str | Callable[[Wildcards], Iterable[str]]  # dotted names of modules


class StepInputs:
    """Parameters and code of the steps of one experiment.

    Args:
        plan: of the experiment; a step for one strategy sees the parameters of no other.
        module_of: the module of a verb.
        does: what each verb does, for the message of its jobs.
    """

    def __init__(self, plan: RunPlan, module_of: Callable[[str], str], does: Mapping[str, str]) -> None:
        self._parameters = plan.parameters()
        self._strategies = plan.strategies
        self._module_of = module_of
        self._does = does
        self.parameters = cache(self._declared)
        self.file = cache(self._written)
        self.code = KnownHashes().code_hash

    def of_rule(self, verb: str, *plugins: Plugin, reads: bool = True, words: Any = (), **more: Any) -> dict[str, Any]:
        """What a rule declares as ``params``: what its verb reads, a hash of its code, and the command of a job.

        Snakemake records the parameters by value, the hash, ``words`` and ``more``, and runs the step again when they
        change. It ignores what is derived from input or output: the file that holds the same parameters, the command
        and the message.

        The options of the command are ``--params``, the named inputs and outputs of the job, and ``more``.

        Args:
            verb: that the rule runs.
            plugins: modules that the parameters choose, or a function of a job that names them.
            reads: whether the verb reads any parameters.
            words: what follows the options: a text as a shell reads it, a list, or a function as in ``more``.
            more: further options by name. A text may hold wildcards; a list gives several words, or none; of True there
                is the name alone, of None, False and an empty text nothing. A function of the wildcards gives one of
                these, or one of ``wildcards`` and ``input`` or ``output``: then it is derived.
        """
        module = self._module_of(verb)

        def code(wildcards: Wildcards) -> str:
            return self.code(module, *(n for p in plugins for n in ([p] if isinstance(p, str) else p(wildcards))))

        def settings(wildcards: Wildcards) -> str:
            return self.parameters(module, wildcards.get("label"))

        def file(wildcards: Wildcards, output: Given) -> str:
            return self.file(module, wildcards.get("label"))

        def command(wildcards: Wildcards, input: Given, output: Given) -> str:
            options = ["--params", file(wildcards, output)] if reads else []
            options += [*options_of(input), *options_of(output)]
            for name, value in more.items():
                options += _option(name, _of_job(value, wildcards, input, output))
            last = _of_job(words, wildcards, input, output)
            return " ".join([verb, *map(shlex.quote, options), *([last] if isinstance(last, str) else map(str, last))])

        return {
            "code": code,
            **({"settings": settings, "file": file} if reads else {}),
            **more,
            "words": words,
            "command": command,
            "message": lambda wildcards, output: f"{whose(wildcards)}{self._does[verb]}",
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


def folder_of_input(wildcards: Wildcards, input: Sequence[str]) -> str:
    """The folder of a job's first input, for a command that is told a folder."""
    return folder_of(input)


def folder_of_output(wildcards: Wildcards, output: Sequence[str]) -> str:
    """The folder of a job's first output."""
    return folder_of(output)


def _of_job(value: Any, wildcards: Wildcards, input: Given, output: Given) -> Any:
    """An option of a job; arguments as of a function in a rule's ``params``."""
    if not callable(value):
        return value.format(**dict(wildcards.items())) if isinstance(value, str) else value
    given = {"wildcards": wildcards, "input": input, "output": output}
    _, *others = inspect.signature(value).parameters
    return value(wildcards, **{name: given[name] for name in others})


def _option(name: str, value: Any) -> list[str]:
    """The words of an option."""
    if value is None or value is False or value == "":
        return []
    words = [] if value is True else value if isinstance(value, list) else [value]
    return [f"--{name.replace('_', '-')}", *map(str, words)]
