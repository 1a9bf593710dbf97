"""The parameters of an experiment: what params/base.yaml explains, checked before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import Field, field_validator, model_validator

from mgral import plugins
from mgral.errors import MgralError
from mgral.settings import Settings

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]


class Strategy(Settings):
    """A strategy in a comparison: a label, the plug-in that does it, and that plug-in's options."""

    name: Name
    plugin: str
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _a_name_is_enough(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value, "plugin": value}
        if isinstance(value, dict) and "name" in value:
            return {"plugin": value["name"], **value}
        return value


class Initial(Settings):
    """Images of the initial pool."""

    initial: Positive


class Batch(Settings):
    """Images of a batch."""

    batch: Positive


class Budget(Initial, Batch):
    """Images to annotate."""


class Splits(Settings):
    val: Fraction
    test: Fraction
    seed: Count

    @model_validator(mode="after")
    def _leave_a_pool(self) -> Self:
        if self.val + self.test >= 1:
            raise ValueError("val + test must stay below 1, or no image is left for the pool")
        return self


class DatasetParams(Settings):
    format: str
    root: str | None
    options: dict[str, Any]
    on_invalid: Literal["fail", "drop"]
    splits: Splits


class DetectorParams(Settings):
    name: str
    options: dict[str, Any]


class Training(Settings):
    steps: Positive
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Rate
    weight_decay: Annotated[float, Field(ge=0)]
    warmup: Count
    checkpoint_every: Count
    augment: bool


class Evaluation(Settings):
    score_threshold: Fraction
    nms_iou: Fraction
    max_detections: Positive


class Noise(Settings):
    repeats: Annotated[int, Field(ge=0)]

    @field_validator("repeats")
    @classmethod
    def _a_spread_needs_two(cls, value: int) -> int:
        if value == 1:
            raise ValueError("one training has no spread; set 0 for none or at least 2")
        return value


class ProxyRun(Settings):
    """How one proxy is trained."""

    semi: str
    options: dict[str, Any]
    start: Literal["scratch", "detector"]
    steps: Positive
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Rate


class Generators(Settings):
    """Which batches proxies are trained for."""

    records: Annotated[int, Field(ge=2)]
    generators: dict[Literal["random", "uncertain", "cluster", "class"], Annotated[float, Field(ge=0)]]

    @field_validator("generators")
    @classmethod
    def _some_share(cls, value: dict[str, float]) -> dict[str, float]:
        if sum(value.values()) <= 0:
            raise ValueError("the shares must not all be zero")
        return value


class Proxy(ProxyRun, Generators):
    """Everything about proxies."""

    per_job: Positive


class Table(Settings):
    representation: Literal["embedding", "index", "moments", "counts"]
    centroids: Positive
    surrogate: Literal["nearest", "gp", "ridge"]
    neighbours: Positive
    threshold_deviations: float
    far_uncertainty: Fraction


class Agent(Settings):
    hidden: Positive
    chunk: Count


class Search(Settings):
    iterations: Positive
    subsets: Positive
    learning_rate: Rate
    baseline: Literal["moving", "leave_one_out"]
    baseline_decay: Fraction
    temperature: Rate
    entropy_bonus: Annotated[float, Field(ge=0)]
    patience: Count
    fallback: Count
    checkpoint_every: Count

    @model_validator(mode="after")
    def _others_to_compare_with(self) -> Self:
        if self.baseline == "leave_one_out" and self.subsets < 2:
            raise ValueError("baseline leave_one_out compares the subsets of a scan; set subsets to 2 or more")
        return self


class Report(Settings):
    """What the report shows beside the run."""

    protocol: Literal["none", "voc07+12_ssd300", "coco_retinanet"]


class Machine(Settings):
    threads: Positive
    precision: Literal["auto", "fp32", "bf16"]
    device: Literal["auto", "cpu", "cuda"]


class Params(Settings):
    """One experiment. Meanings, units and defaults: params/base.yaml."""

    experiment: Name
    seeds: Annotated[list[Count], Field(min_length=1)]
    cycles: Positive
    strategies: Annotated[list[Strategy], Field(min_length=1)]
    budget: Budget
    dataset: DatasetParams
    image_size: Annotated[int, Field(ge=32, le=2048)]
    detector: DetectorParams
    training: Training
    evaluation: Evaluation
    noise: Noise
    proxy: Proxy
    table: Table
    agent: Agent
    search: Search
    report: Report
    machine: Machine

    @model_validator(mode="after")
    def _no_repeats(self) -> Self:
        lists = {"seeds": [str(seed) for seed in self.seeds], "strategies": [s.name for s in self.strategies]}
        for key, values in lists.items():
            repeated = sorted({v for v in values if values.count(v) > 1})
            if repeated:
                raise ValueError(f"{key}: '{repeated[0]}' stands twice; give each a label of its own")
        return self

    def strategy(self, label: str) -> Strategy:
        """The strategy of a label. Raises KeyError."""
        return {strategy.name: strategy for strategy in self.strategies}[label]


def check(given: Any, where: str) -> Params:
    """Check a whole experiment, its plug-ins' names and options included.

    Args:
        given: base.yaml merged with the experiment's file.
        where: the file(s), for messages.

    Raises:
        MgralError: one line with the key and the remedy.
    """
    if not isinstance(given, dict):
        raise MgralError(f"{where}: must hold keys and values; see params/base.yaml")
    params = Params.parse(given, f"{where}:")
    chosen = [
        ("formats", params.dataset.format, params.dataset.options, "dataset", "format"),
        ("detectors", params.detector.name, params.detector.options, "detector", "name"),
        ("semi", params.proxy.semi, params.proxy.options, "proxy", "semi"),
    ]
    for i, strategy in enumerate(params.strategies):
        chosen.append(("strategies", strategy.plugin, strategy.options, f"strategies[{i}]", "plugin"))
    for kind, name, options, group, key in chosen:
        try:
            plugin = plugins.load(kind, name)
        except MgralError as error:
            raise MgralError(f"{where}: {group}.{key}: {error}") from None
        plugin.Options.parse(options, f"{where}: {group}.options")
    if params.dataset.root is None and params.dataset.format != "synthetic":
        raise MgralError(f"{where}: dataset.root: missing; give the folder of the data set")
    return params


S = TypeVar("S", bound=Settings)


def sections(cls: type[S], given: Any, where: str) -> S:
    """The groups that one step reads, from a file that holds these or the whole experiment.

    Keys that belong to an experiment but not to the step are left out; keys that belong to neither are refused.

    Args:
        cls: the step's own schema; its fields are some of those of :class:`Params`, or of its groups.
        given: what the file holds.
        where: the file, for messages.

    Raises:
        MgralError: unknown key, missing key or unfit value.
    """
    if not isinstance(given, dict):
        raise MgralError(f"{where}: must hold keys and values; see params/base.yaml")
    return cls.parse(_needed(cls, Params, given), f"{where}:")


def _needed(step: type[Settings], whole: type[Settings], given: dict[str, Any]) -> dict[str, Any]:
    kept = {}
    for key, value in given.items():
        wanted, known = step.model_fields.get(key), whole.model_fields.get(key)
        if wanted is None and known is not None:
            continue
        inner = wanted.annotation if wanted else None
        outer = known.annotation if known else None
        if isinstance(value, dict) and _is_group(inner) and _is_group(outer):
            value = _needed(inner, outer, value)  # type: ignore[arg-type]
        kept[key] = value
    return kept


def _is_group(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Settings)


def merge(base: Any, override: Any) -> Any:
    """Groups are merged key by key, everything else is replaced: as Snakemake merges configuration files."""
    if isinstance(base, dict) and isinstance(override, dict):
        return {**base, **{key: merge(base.get(key), value) for key, value in override.items()}}
    return override


def read_yaml(path: str | Path) -> Any:
    """Read one parameter file (YAML or JSON).

    Raises:
        MgralError: missing, or not valid YAML; names the line.
    """
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MgralError(f"{path}: no such file; give an existing parameter file") from None
    except (UnicodeDecodeError, IsADirectoryError):
        raise MgralError(f"{path}: not a text file; give a YAML parameter file") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise MgralError(f"{path}: not valid YAML{at}; mend the syntax") from None


def read(paths: list[str | Path]) -> Params:
    """Read an experiment: the first file, overridden by each next one."""
    merged: Any = {}
    for path in paths:
        merged = merge(merged, read_yaml(path) or {})
    return check(merged, ", ".join(str(path) for path in paths))
