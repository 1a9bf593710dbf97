"""Writes the lists in README and docs from the code: ``python -m mgral.cli._lists FILE…``.

A list is between two comments in a Markdown file, and this module replaces what is between them::

    <!-- list: strategies -->
    …
    <!-- end -->

``list: verbs``              the verbs with what each does
``list: verb-options``       a section a verb: options and two examples
``list: KIND``               the plug-ins of a kind, with what each is; see :data:`mgral.core.plugins.PACKAGES`
``list: options KIND``       a section a plug-in: its options with their defaults
``list: names``              the kinds of plug-ins with the names of each
``list: titles``             the strategies by the titles of their pages, for README.md
``list: file PATH``          a file of the repository
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType

from mgral import cli
from mgral.cli import _examples
from mgral.core import plugins
from mgral.core.errors import MgralError, nearest
from mgral.core.files import whole

ROOT = Path(__file__).resolve().parents[3]
PAGES = ROOT / "docs" / "strategies"  # a page a strategy
_BLOCK = re.compile(r"(<!-- list: ([^>]+?) -->\n).*?(<!-- end -->)", re.DOTALL)
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".sh": "console"}
_NEEDS = {
    "agent": "the agent",
    "competence": "AP by class",
    "held_out": "detections of held-out images",
    "image_scores": "a network of its own",
    "labels": "labels of the labelled images",
    "patterns": "local patterns of a backbone",
    "truth": "the ground truth of the pool",
}


def updated(path: Path) -> str:
    """The text of a Markdown file with its lists written again.

    Raises:
        MgralError: a list of an unknown name.
    """

    def block(found: re.Match[str]) -> str:
        start, name, end = found.groups()
        kind, _, argument = name.partition(" ")
        if kind in plugins.PACKAGES and not argument:
            return f"{start}{_plugins(kind, path)}\n{end}"
        if kind not in _LISTS:
            known = [*_LISTS, *plugins.PACKAGES]
            raise MgralError(f"{path}: unknown list '{name}'; {nearest(kind, known)}")
        return f"{start}{_LISTS[kind](argument)}\n{end}"

    return _BLOCK.sub(block, path.read_text(encoding="utf-8"))


def _verbs(_: str) -> str:
    return _table(["verb", "what it does"], ([f"`{verb}`", what] for verb, what in cli.VERBS.items()))


def _verb_options(_: str) -> str:
    return "\n\n".join("\n".join(_verb(verb)) for verb in cli.VERBS)


def _verb(verb: str) -> Iterator[str]:
    yield f"## {verb}\n\n{_rewrapped(importlib.import_module(cli.module(verb)).__doc__)}\n"
    parser = cli.parser_of(verb)
    yield _table(["option", "meaning"], ([_name(action), action.help or ""] for action in parser._actions[1:]))
    examples = "\n".join(map(_examples.wrapped, _examples.of(verb)))
    yield f"\n```console\n{examples}\n```"


def _name(action: argparse.Action) -> str:
    name = action.option_strings[0] if action.option_strings else action.dest.upper()
    return f"`{name}`" + (" (required)" if action.required else "")


def _plugins(kind: str, page: Path) -> str:
    loaded = [(name, plugins.load(kind, name)) for name in plugins.names(kind)]
    if kind != "strategies":
        return _table(["name", "what it is"], ([f"`{name}`", _what(module)] for name, module in loaded))
    rows = []
    for name, module in loaded:
        link = os.path.relpath(PAGES / f"{name}.md", page.parent)
        rows.append([f"[`{name}`]({link})", _what(module), _looks_at(module)])
    return _table(["strategy", "it picks", "it looks at"], rows)


def _looks_at(module: ModuleType) -> str:
    return ", ".join(_NEEDS.get(need, need) for need in sorted(module.NEEDS)) or "nothing"


def _what(module: ModuleType) -> str:
    """The first sentence of a plug-in's docstring, without its name."""
    first = " ".join((module.__doc__ or "").partition("\n\n")[0].split()).replace("``", "`")
    name = module.__name__.rpartition(".")[2]
    head, _, rest = first.partition(": ")
    return (rest if head.lower() == name else first).rstrip(".")


def _options(kind: str) -> str:
    return "\n\n".join("\n".join(_plugin_options(kind, name)) for name in plugins.names(kind))


def _plugin_options(kind: str, name: str) -> Iterator[str]:
    fields = plugins.load(kind, name).Options.model_fields
    yield f"### `{name}`\n"
    if not fields:
        yield "No options."
        return
    rows = []
    for key, field in fields.items():
        default = "required" if field.is_required() else f"`{field.get_default(call_default_factory=True)!r}`"
        rows.append([f"`{key}`", default, field.description or ""])
    yield _table(["option", "default", "meaning"], rows)


def _names(_: str) -> str:
    rows = ([f"`{kind}`", ", ".join(f"`{name}`" for name in plugins.names(kind))] for kind in plugins.PACKAGES)
    return _table(["kind", "names"], rows)


def _titles(_: str) -> str:
    rows = []
    for name in plugins.names("strategies"):
        page = PAGES / f"{name}.md"
        title = page.read_text(encoding="utf-8").partition("\n")[0].partition(": ")[2]
        rows.append([f"[`{name}`]({page.relative_to(ROOT).as_posix()})", title])
    return _table(["strategy", "what it is"], rows)


def _file(name: str) -> str:
    path = ROOT / name
    return f"```{_LANGUAGES[path.suffix]}\n{path.read_text(encoding='utf-8').rstrip()}\n```"


def _table(heads: list[str], rows: Iterable[list[str]]) -> str:
    body = [" | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) for row in rows]
    return "\n".join(["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|", *(f"| {row} |" for row in body)])


def _rewrapped(text: str | None) -> str:
    return "\n\n".join(" ".join(part.split()) for part in (text or "").replace("``", "`").split("\n\n"))


_LISTS: dict[str, Callable[[str], str]] = {
    "verbs": _verbs,
    "verb-options": _verb_options,
    "options": _options,
    "names": _names,
    "titles": _titles,
    "file": _file,
}


def main(paths: Iterable[Path]) -> None:
    """Write the lists of some Markdown files again."""
    for path in paths:
        text = updated(path)
        if text != path.read_text(encoding="utf-8"):
            with whole(path) as temporary:
                temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(map(Path, sys.argv[1:]))
