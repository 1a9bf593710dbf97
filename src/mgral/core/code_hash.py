"""A hash of the code that a step runs, so that an edit reruns the steps that use it and no others.

The workflow's rules are shell commands, and Snakemake cannot see what is behind them. Each rule therefore
declares this hash among its parameters. It covers the module of the step's verb and everything of this package
that it imports, found by reading the source; nothing is executed. Comments, docstrings, layout, and the defaults and
meanings of parameters do not count: no edit of a comment trains a detector again.
"""

from __future__ import annotations

import ast
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]  # the folder that holds the package

# It finds a verb's module and parses its arguments. Hashed, one new verb would rerun every step.
DISPATCHER = "mgral.cli"

_Function = (ast.FunctionDef, ast.AsyncFunctionDef)
_Documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_DESCRIBED = frozenset({ast.AnnAssign, ast.keyword})


@dataclass(frozen=True)
class _Module:
    """A module's file, and what changes when that is edited.

    Attributes:
        path: of the file.
        is_package: whether it is an ``__init__.py``.
        version: time of modification in ns, and size in bytes.
    """

    path: str
    is_package: bool
    version: tuple[int, int]


@dataclass(frozen=True)
class _Import:
    """``import base``, or ``from base import members``, with the dots of a relative one."""

    base: str
    level: int
    members: tuple[str, ...]
    in_function: bool


def code_hash(*modules: str, source: Path = SOURCE) -> str:
    """The hash of some modules and of all they use of their package: 16 hexadecimal digits.

    Args:
        modules: dotted names; plug-ins that a parameter chooses are named here, since no import names them.
        source: the folder that holds the package.

    Raises:
        ModuleNotFoundError: there is no such module.
    """
    return Snapshot(source).code_hash(*modules)


def closure(modules: Iterable[str], source: Path = SOURCE) -> set[str]:
    """Names of the modules that importing and running ``modules`` can reach; see :meth:`Snapshot.closure`."""
    return Snapshot(source).closure(modules)


class Snapshot:
    """The files of a package as they are now, for many hashes: none is looked for twice.

    Args:
        source: the folder that holds the package.
    """

    def __init__(self, source: Path = SOURCE) -> None:
        self._source = source
        self._modules: dict[str, _Module] = {}
        self._searched: set[str] = set()

    def code_hash(self, *modules: str) -> str:
        """As the function of this name."""
        digest = hashlib.sha256()
        for name in sorted(self.closure(modules)):
            module = self._modules[name]
            digest.update(f"\n{name}\n{_read(module.path, module.version)[0]}".encode())
            for data in _data_files(module):
                digest.update(f"\n{name}/{data.name}\n".encode() + data.read_bytes())
        return digest.hexdigest()[:16]

    def closure(self, modules: Iterable[str]) -> set[str]:
        """Names of the modules that importing and running ``modules`` can reach inside the source.

        Imports inside functions count. A package that is only passed through on the way to one of its modules runs
        its ``__init__`` and no function of it, so of that one only the imports at module level count.

        Raises:
            ModuleNotFoundError: one of ``modules`` does not exist.
        """
        used: set[str] = set()
        passed: set[str] = set()
        waiting = [(name, True) for name in modules]
        for name, _ in waiting:
            if not self._has(name):
                raise ModuleNotFoundError(f"no module {name} below {self._source}", name=name)
        while waiting:
            name, functions = waiting.pop()
            if name == DISPATCHER or name in used or (name in passed and not functions) or not self._has(name):
                continue
            (used if functions else passed).add(name)
            waiting += [(parent, False) for parent in _parents(name)]
            waiting += [(found, True) for found in self._imports(name, functions)]
        return used | passed

    def _has(self, name: str) -> bool:
        """Whether a module is in the source; its top-level package is searched when one of it is first asked for."""
        top = name.partition(".")[0]
        if top not in self._searched:
            self._searched.add(top)
            self._modules |= dict(_modules(self._source, top))
        return name in self._modules

    def _imports(self, name: str, functions: bool) -> Iterator[str]:
        """Modules that ``name`` imports; names that are no module of the source are harmless."""
        module = self._modules[name]
        for found in _read(module.path, module.version)[1]:
            if found.in_function and not functions:
                continue
            base = found.base
            if found.level:
                package = name if module.is_package else name.rpartition(".")[0]
                parts = package.split(".")[: len(package.split(".")) - found.level + 1]
                base = ".".join([*parts, *([base] if base else [])])
            submodules = [f"{base}.{member}" for member in found.members if self._has(f"{base}.{member}")]
            yield from submodules
            if len(submodules) < len(found.members) or not found.members:
                yield base


def _modules(folder: Path, name: str) -> Iterator[tuple[str, _Module]]:
    """Name and file of a module or package and of all below it.

    Of a package and a module with one name the package comes last, and counts, as for Python.
    """
    for path, is_package in ((folder / f"{name}.py", False), (folder / name / "__init__.py", True)):
        if path.is_file():
            yield name, _module(str(path), path.stat(), is_package)
    if (folder / name).is_dir():
        yield from _below(folder / name, name)


def _below(folder: Path, package: str) -> Iterator[tuple[str, _Module]]:
    folders = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir() and entry.name != "__pycache__":
                folders.append(entry.name)
            elif entry.name.endswith(".py") and entry.name != "__init__.py":
                yield f"{package}.{entry.name.removesuffix('.py')}", _module(entry.path, entry.stat(), False)
    for name in folders:
        path = folder / name / "__init__.py"
        if path.is_file():
            yield f"{package}.{name}", _module(str(path), path.stat(), True)
        yield from _below(folder / name, f"{package}.{name}")


def _module(path: str, state: os.stat_result, is_package: bool) -> _Module:
    return _Module(path, is_package, (state.st_mtime_ns, state.st_size))


@cache
def _read(path: str, version: tuple[int, int]) -> tuple[str, tuple[_Import, ...]]:
    """Canonical text and imports of a file. A process that lives on, of tests or a notebook, reads it after an edit."""
    tree = ast.parse(Path(path).read_bytes(), path)
    return _canonical(tree), tuple(dict.fromkeys(_statements(tree, in_function=False)))


def _statements(tree: ast.AST, in_function: bool) -> Iterator[_Import]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.Import):
            yield from (_Import(alias.name, 0, (), in_function) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            names = tuple(alias.name for alias in child.names)
            yield _Import(child.module or "", child.level, names, in_function)
        elif not isinstance(child, ast.expr):
            yield from _statements(child, in_function or isinstance(child, _Function))


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def _data_files(module: _Module) -> list[Path]:
    """Files that belong to a package and are no modules: a page's template, say."""
    if not module.is_package:
        return []
    files = (file for file in Path(module.path).parent.iterdir() if file.is_file() and not file.name.startswith("."))
    return sorted(file for file in files if file.suffix not in {".py", ".pyc", ".pyi"})


def _canonical(node: ast.AST) -> str:
    """The tree as text that is the same in every version of Python that parses it.

    ``ast.dump`` names fields that newer versions added; here an empty field is as good as none.
    """
    parts: list[str] = []
    _append(node, parts)
    return "".join(parts)


def _append(node: ast.AST, parts: list[str]) -> None:
    """Append the text of a tree. It takes most of the time of a start, so it looks at as little as it can."""
    kind = type(node)
    parts.append(kind.__name__)
    for field in kind._fields:
        value = getattr(node, field, None)
        if field == "body" and isinstance(node, _Documented) and ast.get_docstring(node, clean=False) is not None:
            value = node.body[1:]
        if value is None or value == [] or field == "type_comment":
            continue
        if field == "value" and kind in _DESCRIBED and _is_described(node):
            continue
        parts.append(f"({field}=")
        for item in value if type(value) is list else (value,):
            if isinstance(item, ast.AST):
                _append(item, parts)
            else:
                parts.append(repr(item))
            parts.append(",")
        parts.append(")")


def _is_described(node: ast.AST) -> bool:
    """Whether a value is default and meaning of a key: ``key: type = parameter(…)``, or ``description=…``."""
    if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Call):
        function = node.value.func
        return isinstance(function, ast.Name) and function.id == "parameter"
    return isinstance(node, ast.keyword) and node.arg == "description"
