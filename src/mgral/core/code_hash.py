"""A hash of the code that a step runs, so that an edit reruns the steps that use it and no others.

The workflow's rules are shell commands, and Snakemake cannot see what is behind them. Each rule therefore
declares this hash among its parameters. It covers the module of the step's verb and everything of this package
that it imports, found by reading the source; nothing is executed. Comments, docstrings, layout, and the defaults and
meanings of parameters do not count: no edit of a comment trains a detector again.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parents[2]  # the folder that holds the package

# It finds a verb's module and parses its arguments. Hashed, one new verb would rerun every step.
DISPATCHER = "mgral.cli"

_Function = (ast.FunctionDef, ast.AsyncFunctionDef)
_Documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_hash(*modules: str, source: Path = SOURCE) -> str:
    """The hash of some modules and of all they use of their package: 16 hexadecimal digits.

    Args:
        modules: dotted names; plug-ins that a parameter chooses are named here, since no import names them.
        source: the folder that holds the package.

    Raises:
        ModuleNotFoundError: there is no such module.
    """
    digest = hashlib.sha256()
    for name in sorted(closure(modules, source)):
        path = _find(name, source)
        assert path is not None  # closure holds nothing else
        digest.update(f"\n{name}\n{_text(path)}".encode())
        for data in _data_files(path):
            digest.update(f"\n{name}/{data.name}\n".encode() + data.read_bytes())
    return digest.hexdigest()[:16]


def closure(modules: Iterable[str], source: Path = SOURCE) -> set[str]:
    """Names of the modules that importing and running ``modules`` can reach inside ``source``.

    Imports inside functions count. A package that is only passed through on the way to one of its modules runs
    its ``__init__`` and no function of it, so of that one only the imports at module level count.

    Raises:
        ModuleNotFoundError: one of ``modules`` does not exist.
    """
    used: set[str] = set()
    passed: set[str] = set()
    waiting = [(name, True) for name in modules]
    for name, _ in waiting:
        if _find(name, source) is None:
            raise ModuleNotFoundError(f"no module {name} below {source}", name=name)
    while waiting:
        name, functions = waiting.pop()
        if name == DISPATCHER or name in used or (name in passed and not functions):
            continue
        path = _find(name, source)
        if path is None:
            continue
        (used if functions else passed).add(name)
        waiting += [(parent, False) for parent in _parents(name)]
        waiting += [(found, True) for found in _imported(name, path, functions, source)]
    return used | passed


def _imports(name: str, path: Path, functions: bool, source: Path) -> Iterator[str]:
    """Modules that ``name`` imports; names that are no module of ``source`` are harmless."""
    for node in _statements(_parse(path, *_version(path)), functions):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name if path.name == "__init__.py" else name.rpartition(".")[0]
                parts = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parts, *([base] if base else [])])
            members = [f"{base}.{alias.name}" for alias in node.names]
            submodules = [member for member in members if _find(member, source)]
            yield from submodules
            if len(submodules) < len(members):
                yield base


def _statements(tree: ast.AST, functions: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(tree):
        if not isinstance(child, ast.expr) and (functions or not isinstance(child, _Function)):
            yield child
            yield from _statements(child, functions)


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def _find(name: str, source: Path) -> Path | None:
    stem = source.joinpath(*name.split("."))
    for path in (stem / "__init__.py", stem.with_suffix(".py")):
        if path.is_file():
            return path
    return None


def _data_files(path: Path) -> list[Path]:
    """Files that belong to a package and are no modules: a page's template, say."""
    if path.name != "__init__.py":
        return []
    files = (file for file in path.parent.iterdir() if file.is_file() and not file.name.startswith("."))
    return sorted(file for file in files if file.suffix not in {".py", ".pyc", ".pyi"})


def _text(path: Path) -> str:
    return _text_of_version(path, *_version(path))


def _imported(name: str, path: Path, functions: bool, source: Path) -> tuple[str, ...]:
    return _imported_by_version(name, path, functions, source, *_version(path))


def _version(path: Path) -> tuple[int, int]:
    """What changes when a file is edited: a process that lives on, of tests or a notebook, reads it again then."""
    state = path.stat()
    return state.st_mtime_ns, state.st_size


@cache
def _parse(path: Path, modified: int, size: int) -> ast.Module:
    return ast.parse(path.read_bytes(), str(path))


@cache
def _text_of_version(path: Path, modified: int, size: int) -> str:
    return _canonical(_parse(path, modified, size))


@cache
def _imported_by_version(
    name: str, path: Path, functions: bool, source: Path, modified: int, size: int
) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_imports(name, path, functions, source)))


def _canonical(node: ast.AST) -> str:
    """The tree as text that is the same in every version of Python that parses it.

    ``ast.dump`` names fields that newer versions added; here an empty field is as good as none.
    """
    parts: list[str] = []
    _append(node, parts)
    return "".join(parts)


def _append(node: ast.AST, parts: list[str]) -> None:
    parts.append(type(node).__name__)
    for field in node._fields:
        value: Any = getattr(node, field, None)
        if field == "body" and isinstance(node, _Documented) and ast.get_docstring(node, clean=False) is not None:
            value = value[1:]
        if value is None or value == [] or field == "type_comment" or _is_described(node, field):
            continue
        parts.append(f"({field}=")
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, ast.AST):
                _append(item, parts)
            else:
                parts.append(repr(item))
            parts.append(",")
        parts.append(")")


def _is_described(node: ast.AST, field: str) -> bool:
    """Whether a field holds default and meaning of a key: ``key: type = parameter(…)``, or ``description=…``."""
    if field != "value":
        return False
    if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Call):
        function = node.value.func
        return isinstance(function, ast.Name) and function.id == "parameter"
    return isinstance(node, ast.keyword) and node.arg == "description"
