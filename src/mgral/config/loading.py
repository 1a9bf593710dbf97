"""Parameter files: read, merged, and checked before anything runs. Their schema: :mod:`mgral.config.schema`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

import yaml

from mgral.config.base import Settings
from mgral.config.schema import Params
from mgral.core import plugins
from mgral.core.errors import MgralError, shown
from mgral.core.files import read_text
from mgral.core.types import Activation

S = TypeVar("S", bound=Settings)


def check(given: dict[str, Any], where: str) -> Params:
    """Check a whole experiment: its plug-ins' names and options, and where proxies are trained, that they go together.

    Args:
        given: base.yaml merged with the experiment's file.
        where: the file(s), for messages.

    Raises:
        MgralError: one line with the key and the remedy.
    """
    params = _complete(Params, given, where)
    detector, options = _load_plugins(params, where)
    try:
        _check_oracle(params)
        _check_embedding(params)
        if getattr(detector, "EXTERNAL", False):
            _check_external(params, options)
        _check_priors(params, getattr(detector, "PRIORS", True))
        _check_proxies(params, detector.activation(options))
        _check_tiles(params)
        _check_root(params)
    except MgralError as error:
        raise MgralError(f"{where}: {error}") from None
    return params


def _load_plugins(params: Params, where: str) -> tuple[Any, Settings]:
    """The detector's plug-in and its options, after the names and options of all plug-ins are checked.

    Raises:
        MgralError: an unknown name or an unfit option; the line begins with ``where``.
    """
    chosen = [
        ("formats", params.dataset.format, params.dataset.options, "dataset", "format"),
        ("detectors", params.detector.name, params.detector.options, "detector", "name"),
        ("semi", params.proxy.semi, params.proxy.options, "proxy", "semi"),
        ("annotators", params.annotation.tool, params.annotation.options, "annotation", "tool"),
    ]
    for i, strategy in enumerate(params.strategies):
        chosen.append(("strategies", strategy.plugin, strategy.options, f"strategies[{i}]", "plugin"))
    parsed = {}
    for kind, name, options, group, key in chosen:
        try:
            plugin = plugins.load(kind, name)
        except MgralError as error:
            raise MgralError(f"{where}: {group}.{key}: {error}") from None
        parsed[group] = plugin, plugin.Options.parse(options, f"{where}: {group}.options")
    return parsed["detector"]


def _check_embedding(params: Params) -> None:
    """Refuse an experiment that needs a backbone's weights and names none. Raises MgralError."""
    if params.embedding.weights is None and (by_patterns(params) or params.embedding.kind == "backbone"):
        raise MgralError(
            f"embedding.weights: missing; give a local weights file of {params.embedding.backbone}, or random"
        )


def _check_proxies(params: Params, activation: Activation | None) -> None:
    """Refuse a semi-supervised term that does not fit the detector, if a strategy trains with it. Raises MgralError."""
    searched = any("agent" in plugins.load("strategies", s.plugin).NEEDS for s in params.strategies)
    if activation is not None and searched and "unlabelled" in params.proxy.kinds:
        check_semi(params.proxy.semi, activation)


def _check_root(params: Params) -> None:
    """Refuse a data set without a folder, a generated one with another, and a folder's name with braces.

    Raises:
        MgralError: one line with the key and the remedy.
    """
    root, made = params.dataset.root, f"data/raw/{params.experiment}"  # the workflow says where it puts generated ones
    if root is None and params.dataset.format != "synthetic":
        raise MgralError("dataset.root: missing; give the folder of the data set")
    if params.dataset.format == "synthetic" and root not in (None, made):
        raise MgralError(
            f"dataset.root: {root} would not be looked at, the format synthetic makes its own images; "
            f"set dataset.format ({', '.join(name for name in plugins.names('formats') if name != 'synthetic')})"
        )
    if root is not None and set("{}") & set(root):
        raise MgralError(f"dataset.root: {root}: braces are wildcards to Snakemake; rename or link the folder")


def _check_oracle(params: Params) -> None:
    """Refuse what people cannot answer. That they answer one strategy and one seed, the schema says.

    Raises:
        MgralError: one line with the key and the remedy.
    """
    if params.oracle.kind != "dataset" and params.annotation.tool == "cvat" and params.annotation.annotators > 1:
        raise MgralError("annotation.annotators: the files of CVAT name nobody; set 1, or another annotation.tool")
    if params.budget.unit != "images" and params.oracle.kind == "dataset":
        raise MgralError(
            f"budget.unit: {params.budget.unit} are counted where people answer; set oracle: people or simulated"
        )
    if params.oracle.kind != "people":
        return
    if params.dataset.format == "synthetic":
        raise MgralError("oracle: people: a generated data set knows its labels; set dataset, or oracle: simulated")
    if params.budget.initial != "all":
        raise MgralError(
            "budget.initial: with oracle: people, set all; of a smaller number the other annotated images wait in the "
            "pool, and people are asked for them again"
        )
    cheats = [s.name for s in params.strategies if "truth" in plugins.load("strategies", s.plugin).NEEDS]
    if cheats:
        raise MgralError(f"strategies: {cheats[0]} reads the labels that people are asked for; choose another")


def by_patterns(params: Params) -> bool:
    """Whether the first images or a strategy's batches are chosen by local patterns of a backbone."""
    needs = frozenset[str]().union(*(plugins.load("strategies", one.plugin).NEEDS for one in params.strategies))
    return params.budget.initial_by == "freesel" or "patterns" in needs


def _check_external(params: Params, options: Settings) -> None:
    """Refuse what needs the inside of a network, for a detector that is a user's command. Raises MgralError."""
    for strategy in params.strategies:
        plugin = plugins.load("strategies", strategy.plugin)
        needs = plugin.NEEDS
        if "image_scores" in needs or getattr(plugin, "USES_FEATURES", False):
            raise MgralError(
                f"strategies: {strategy.name} needs the inside of a network, which detector command does not show; "
                "leave it out or choose another detector"
            )
        if "agent" not in needs:
            continue
        if params.proxy.kind != "replay":
            raise MgralError("proxy.kind: the detector command has replay proxies alone; set proxy.kind: replay")
        if params.proxy.backbone == "frozen":
            raise MgralError("proxy.backbone: the detector command has none that can be frozen; set learns")
        if params.proxy.stop_at:
            raise MgralError("proxy.stop_at: a command cannot be stopped partway; set it to 0")
        if params.proxy.start == "detector" and getattr(options, "finetune", None) is None:
            raise MgralError("detector.options.finetune: missing; give it, or set proxy.start: scratch")


def _check_tiles(params: Params) -> None:
    """Refuse what cannot go with images that are cut into tiles. Raises MgralError."""
    tiles = params.dataset.tiles
    if not tiles.size:
        return
    if tiles.by == "tile":
        if params.oracle.kind != "dataset":
            raise MgralError("dataset.tiles.by: people annotate whole files; set image")
        return
    for strategy in params.strategies:
        if "image_scores" in plugins.load("strategies", strategy.plugin).NEEDS:
            raise MgralError(
                f"dataset.tiles.by: {strategy.name} scores the inputs of a network, which are tiles; set tile, or "
                "leave it out"
            )
    if by_patterns(params):
        raise MgralError(
            "dataset.tiles.by: local patterns (freesel) are those of a tile; set tile, or leave freesel out"
        )


def _check_priors(params: Params, has_priors: bool) -> None:
    """Refuse what looks at the priors of a detector that has none. Raises MgralError."""
    if has_priors:
        return
    for strategy in params.strategies:
        plugin = plugins.load("strategies", strategy.plugin)
        if getattr(plugin, "USES_PRIORS", False):
            raise MgralError(
                f"strategies: {strategy.name} needs a detector with priors, and {params.detector.name} has none; "
                "leave it out or choose another detector"
            )
        trained = "agent" in plugin.NEEDS and "unlabelled" in params.proxy.kinds
        if trained and plugins.load("semi", params.proxy.semi).USES_PRIORS:
            raise MgralError(
                f"proxy.semi: {params.proxy.semi} needs a detector with priors, and {params.detector.name} has none; "
                "set proxy.kind: replay or choose another detector"
            )


def check_semi(name: str, activation: Activation) -> None:
    """Refuse a semi-supervised term that is made for detectors of another activation. Raises MgralError."""
    takes = plugins.load("semi", name).ACTIVATIONS
    if activation not in takes:
        others = [other for other in plugins.names("semi") if activation in plugins.load("semi", other).ACTIVATIONS]
        raise MgralError(
            f"proxy.semi: {name} is for detectors with {' or '.join(sorted(takes))}, not {activation}; "
            f"choose another detector or term (for {activation}: {', '.join(others) or 'none'})"
        )


def sections(cls: type[S], given: dict[str, Any], where: str) -> S:
    """The groups that one step reads, from parameters that hold these or the whole experiment.

    Keys that belong to an experiment but not to the step are left out; keys that belong to neither are refused.

    Args:
        cls: the step's own schema; its fields are some of :class:`mgral.config.schema.Params`, or of its groups.
        given: what the file holds, or several merged.
        where: the file(s), for messages.

    Raises:
        MgralError: unknown key, missing key or unfit value.
    """
    return _complete(cls, _needed(cls, Params, given), where)


def _complete(cls: type[S], given: dict[str, Any], where: str) -> S:
    """Parse parameters; of a missing key, say that the base may have been forgotten. Raises MgralError."""
    try:
        return cls.parse(given, f"{where}:")
    except MgralError as error:
        if not str(error).endswith("set this key") or "base.yaml" in where:
            raise
        raise MgralError(f"{error}, or name params/base.yaml before the file: --params params/base.yaml …") from None


def _needed(step: type[Settings], whole: type[Settings], given: dict[str, Any]) -> dict[str, Any]:
    kept = {}
    for key, value in given.items():
        wanted, known = step.model_fields.get(key), whole.model_fields.get(key)
        if wanted is None and known is not None:
            continue
        inner = wanted.annotation if wanted else None
        outer = known.annotation if known else None
        if isinstance(value, dict) and _is_group(inner) and _is_group(outer):
            value = _needed(inner, outer, value)
        kept[key] = value
    return kept


def _is_group(annotation: Any) -> TypeGuard[type[Settings]]:
    return isinstance(annotation, type) and issubclass(annotation, Settings)


def merge(base: Any, override: Any) -> Any:
    """Groups are merged key by key, everything else is replaced: as Snakemake merges configuration files."""
    if isinstance(base, dict) and isinstance(override, dict):
        return {**base, **{key: merge(base.get(key), value) for key, value in override.items()}}
    return override


def read_yaml(path: str | Path) -> Any:
    """Read one parameter file (YAML or JSON).

    Raises:
        MgralError: missing, not valid YAML (names the line), a key that occurs twice, or aliases that expand too far.
    """
    try:
        return parse_yaml(read_text(path), str(path))
    except FileNotFoundError:
        raise MgralError(f"{path}: no such file; give an existing parameter file") from None
    except (UnicodeDecodeError, IsADirectoryError):
        raise MgralError(f"{path}: not a text file; give a YAML parameter file") from None
    except OSError as error:
        raise MgralError(f"{path}: cannot be read ({error.strerror}); give a file that can be") from None


def parse_yaml(text: str, name: str) -> Any:
    """YAML or JSON text as plain values. Raises MgralError as :func:`read_yaml`; ``name`` is for the message."""
    try:
        value = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:  # ValueError: a date that does not exist
        mark = getattr(error, "problem_mark", None)
        at = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        if isinstance(error, _TwiceError):
            raise MgralError(f"{name}: key {error.problem} occurs twice{at}; remove one of them") from None
        if isinstance(error, _OddNumberError):
            raise MgralError(f"{name}: {error.problem}{at}; write it in base 10, or as text in quotes") from None
        raise MgralError(f"{name}: not valid YAML{at}; fix the syntax") from None
    if _values(value, MOST_VALUES) <= 0:
        raise MgralError(f"{name}: aliases expand to more than {MOST_VALUES} values; write the values themselves")
    return value


MOST_VALUES = 1_000_000
"""Values that a YAML file may hold once its aliases are expanded."""


def _values(value: Any, left: int) -> int:
    """What is left of a budget after every value was counted as often as it occurs; 0 or less if it is used up."""
    waiting = [value]
    while waiting and left > 0:
        item = waiting.pop()
        left -= 1
        if isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list | tuple | set):
            waiting.extend(item)
    return left


class _TwiceError(yaml.MarkedYAMLError):
    """A key that occurs twice in a mapping."""


class _Loader(yaml.SafeLoader):
    """Plain values only; a mapping holds each key once."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        if isinstance(node, yaml.MappingNode):
            seen = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    continue
                if (key.tag, key.value) in seen:
                    raise _TwiceError(None, None, shown(key.value), key.start_mark)
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


class _OddNumberError(yaml.MarkedYAMLError):
    """A whole number that YAML reads in base 8 or 60, and a person in base 10."""


def _whole_number(loader: _Loader, node: Any) -> int:
    value = int(loader.construct_yaml_int(node))
    digits = node.value.lstrip("+-").replace("_", "")
    if ":" in digits or (digits.isdecimal() and int(digits) != abs(value)):
        raise _OddNumberError(None, None, f"{shown(node.value)} is read as the number {value}", node.start_mark)
    return value


def _no_set(loader: _Loader, node: Any) -> Any:
    raise yaml.constructor.ConstructorError(None, None, "a set has no order", node.start_mark)


_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)
_Loader.add_constructor("tag:yaml.org,2002:set", _no_set)


def combine(files: Iterable[tuple[str, Any]]) -> tuple[dict[str, Any], str]:
    """Merge the contents of parameter files, each overriding the one before.

    Args:
        files: name and content of each; None is an empty file.

    Returns:
        The parameters, and the names for messages.

    Raises:
        MgralError: a file holds something else than keys and values.
    """
    merged: dict[str, Any] = {}
    names = []
    for name, content in files:
        if not isinstance(content, dict | None):
            raise MgralError(f"{name}: must hold keys and values; see params/base.yaml")
        merged = merge(merged, content or {})
        names.append(name)
    return merged, ", ".join(names)


def read(paths: Sequence[str | Path]) -> Params:
    """Read an experiment: the first file, overridden by each next one. Raises MgralError."""
    return check(*combine((str(path), read_yaml(path)) for path in paths))
