"""The schema of an experiment: type, bounds, default, meaning, unit and source of each key.

:mod:`mgral.config.loading` reads and checks the files. From this schema :mod:`mgral.config.reference` writes
``params/base.yaml`` and ``params/params.schema.json`` (``make params``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from mgral.config.agent_schema import Agent as Agent
from mgral.config.agent_schema import Search as Search
from mgral.config.agent_schema import Table as Table
from mgral.config.agent_schema import TableParams as TableParams
from mgral.config.annotation import Account, Annotation, Oracle
from mgral.config.base import Count, Fraction, Positive, Rate, Settings, parameter
from mgral.config.data_schema import DatasetParams as DatasetParams
from mgral.config.data_schema import Splits as Splits
from mgral.config.embedding import StoredEmbedding
from mgral.config.proxy_schema import Generators as Generators
from mgral.config.proxy_schema import HoldOut as HoldOut
from mgral.config.proxy_schema import Proxy as Proxy
from mgral.config.proxy_schema import ProxyKind as ProxyKind
from mgral.config.proxy_schema import ProxyRun as ProxyRun
from mgral.core import plugins

FOLDERS = {"shared", "dataset", "figures", "logs", "noise"}  # of a run, beside those of its strategies
FIRST_NOISE_SEED = 1000  # noise.repeats train with this and the next ones
FEWEST_HELD_OUT = 4  # images, at least: two batches of two that share none
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=100)]
OWN = ":own"  # ends the name of the curve of a strategy's own detector; a label holds no colon


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

    @property
    def reports_own(self) -> bool:
        """Whether the detector that the strategy trains for itself is evaluated too. Raises MgralError."""
        plugin = plugins.load("strategies", self.plugin)
        if not hasattr(plugin, "reports_own"):
            return False
        return bool(plugin.reports_own(plugin.Options.parse(self.options, f"strategies ({self.name}): options")))

    @property
    def curves(self) -> list[str]:
        """Names of its learning curves: the label, and ``<label>:own`` if that detector is evaluated too."""
        return [self.name, self.name + OWN] if self.reports_own else [self.name]


def curve_names(strategies: Iterable[Strategy]) -> list[str]:
    """Names of all their learning curves, in the order of the strategies. Raises MgralError."""
    return [name for strategy in strategies for name in strategy.curves]


def reference(strategies: Iterable[Strategy]) -> str | None:
    """Label of the first that picks at random, which the others are compared with; None if there is none."""
    return next((strategy.name for strategy in strategies if strategy.plugin == "random"), None)


class Initial(Settings):
    """Images of the initial pool."""

    initial: Positive | Literal["all"] = parameter(
        60, "images labelled before cycle 0, from the train split; all: every annotated one"
    )
    initial_by: Literal["random", "freesel"] = Field(
        default="random",
        description="how these are drawn: random, or freesel: by local patterns of the backbone in the group embedding",
    )


class Batch(Settings):
    """Images of a batch."""

    batch: Positive = parameter(20, "images annotated per cycle (b)")


class Budget(Batch, Initial, Account):
    """Images to annotate."""


class DetectorParams(Settings):
    """The detector and its options."""

    name: str = parameter(
        "tiny_ssd",
        "tiny_ssd, ssd, ssd300, ssdlite, retinanet, retinanet_v2, fasterrcnn, fcos, mmdet (needs `make env-mmdet`), "
        "command (your own trainer)",
    )
    options: dict[str, Any] = parameter({}, "the detector's own keys")


class Training(Settings):
    """Training of the cycle's detector."""

    steps: Positive = parameter(150, "optimiser steps, the same in each cycle")
    batch_size: Annotated[int, Field(ge=2)] = parameter(12, "images per step")
    learning_rate: Rate = parameter(0.002, "peak; AdamW with linear warm-up and cosine decay")
    weight_decay: Annotated[float, Field(ge=0)] = parameter(0.0005, "of AdamW")
    warmup: Count = parameter(20, "length of the linear warm-up", unit="steps")
    checkpoint_every: Count = parameter(500, "distance between resumable checkpoints; 0 for none", unit="steps")
    augment: bool = parameter(True, "flip, scale and shift, colour")


class Evaluation(Settings):
    """How detections are taken and scored."""

    score_threshold: Fraction = parameter(0.01, "detections with a lower score are dropped")
    nms_iou: Fraction = parameter(
        0.5,
        "overlap above which non-maximum suppression drops the lower score; per class",
        unit="IoU",
    )
    max_detections: Positive = parameter(100, "detections kept per image")


class Noise(Settings):
    """Retraining of one pool with other seeds."""

    repeats: Annotated[int, Field(ge=0)] = parameter(
        4,
        "additional trainings of one pool (the last of the first strategy and seed), each with a seed of its "
        "own; their spread is the difference in mAP that arises by chance. 0 for none",
    )

    @field_validator("repeats")
    @classmethod
    def _a_spread_needs_two(cls, value: int) -> int:
        if value == 1:
            raise ValueError("one training has no spread; set 0 for none or at least 2")
        return value


class Stopping(Settings):
    """Trainings on parts of the labelled pool, from which the report says what further images would bring."""

    shares: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        default=[0.25, 0.5], description="of the last labelled pool of the first strategy and seed, drawn at random"
    )
    repeats: Count = Field(default=0, description="trainings for each share, each of another part; 0: none")

    @model_validator(mode="after")
    def _a_curve_needs_points(self) -> Self:
        if self.repeats and len(set(self.shares)) < 2:
            raise ValueError("shares: a curve needs two different ones beside the whole pool")
        return self


class Report(Settings):
    """What the report shows beside the run."""

    protocol: Literal["none", "voc07+12_ssd300", "coco_retinanet"] = parameter(
        "none",
        "published curves to draw behind your own, for an experiment that follows their protocol: "
        "voc07+12_ssd300 (AP50), coco_retinanet (mAP), or none",
    )


class Machine(Settings):
    """What a job uses of the machine."""

    threads: Positive = parameter(
        1,
        "per job; fixed, since the order of sums changes with it. Jobs run in parallel instead",
    )
    precision: Literal["auto", "fp32", "bf16"] = parameter(
        "auto",
        "fp32, bf16, or auto: bf16 where the processor multiplies it in hardware",
    )
    device: Literal["auto", "cpu", "cuda"] = parameter(
        "auto",
        "cpu, cuda, or auto: a GPU where there is one. On it the search also finds nearest neighbours "
        "(FAISS); predicted gains are the same either way",
    )
    decoders: int = Field(
        default=2,
        ge=0,
        description="processes of a job that read image files ahead, with cache: none; 0: the job itself. It changes "
        "no result",
    )


class Params(Settings):
    """One experiment."""

    experiment: Name = parameter("demo", "results go to data/runs/<experiment>")
    seeds: Annotated[list[Count], Field(min_length=1)] = parameter(
        [0, 1],
        "each seed draws its own initial pool and initial weights; shared by all strategies",
    )
    cycles: Positive = parameter(
        3,
        "detectors trained one after the other: cycle 0 … cycles-1, with a selection between two",
    )
    strategies: Annotated[list[Strategy], Field(min_length=1)] = parameter(
        ["random", "entropy", "mgral"],
        "names, or {name: label, plugin: name, options: {…}} for a variant",
    )
    budget: Budget
    dataset: DatasetParams
    image_size: Annotated[int, Field(ge=32, le=2048)] = parameter(
        128,
        "side of the images as the detector sees them; what it means depends on resize",
        unit="pixels",
    )
    resize: Literal["squash", "letterbox", "shortest_edge"] = Field(
        default="squash",
        description="squash: to a square of image_size; letterbox: the longer side to image_size; shortest_edge: the "
        "shorter side to image_size. The last two keep the shape and fill the square input with grey",
    )
    longest_edge: int = Field(
        default=1333,
        ge=32,
        le=4096,
        description="of shortest_edge: an image whose longer side would exceed it becomes smaller [pixels] (RetinaNet: "
        "image_size 800, longest_edge 1333)",
    )
    cache: Literal["decoded", "none"] = Field(
        default="decoded",
        description="decoded: each image is decoded once and kept on disk; none: image files are read whenever needed, "
        "for data sets too large to keep decoded. The results are the same",
    )
    detector: DetectorParams
    embedding: StoredEmbedding = Field(default_factory=StoredEmbedding, description="what embeds images")
    training: Training
    evaluation: Evaluation
    noise: Noise
    proxy: Proxy
    table: TableParams
    agent: Agent
    search: Search
    report: Report
    machine: Machine
    stopping: Stopping = Field(default_factory=Stopping, description="what further images would bring")
    oracle: Oracle = Field(default_factory=Oracle, description="who answers for the labels of a batch")
    annotation: Annotation = Field(default_factory=Annotation, description="the tool, and how answers become labels")

    @model_validator(mode="after")
    def _people_answer_one_run(self) -> Self:
        if self.oracle.kind == "people" and (len(self.strategies) > 1 or len(self.seeds) > 1):
            raise ValueError("oracle: people annotate the batches of one strategy and one seed; leave one of each")
        return self

    @model_validator(mode="after")
    def _no_repeats(self) -> Self:
        twice = [seed for seed, times in Counter(self.seeds).items() if times > 1]
        if twice:
            raise ValueError(f"seeds: {min(twice)} is given twice; give each seed once")
        names = [strategy.name for strategy in self.strategies]
        repeated = [name for name in names if names.count(name) > 1]
        if repeated:
            raise ValueError(f"strategies: '{min(repeated)}' is given twice; give each a label of its own")
        taken = sorted(FOLDERS.intersection(names))
        if taken:
            raise ValueError(f"strategies: '{taken[0]}' is a folder beside the strategies' own; choose another label")
        return self

    @model_validator(mode="after")
    def _noise_has_seeds_of_its_own(self) -> Self:
        own = range(FIRST_NOISE_SEED, FIRST_NOISE_SEED + self.noise.repeats)
        taken = [seed for seed in self.seeds if seed in own]
        if taken:
            raise ValueError(f"seeds: {taken[0]} is one that noise.repeats trains with; choose another")
        return self

    @model_validator(mode="after")
    def _caution_needs_deviations(self) -> Self:
        if self.search.caution and self.table.surrogate not in ("bayes", "gp"):
            raise ValueError(
                f"search.caution: surrogate {self.table.surrogate} knows no standard deviation; set it to 0, or "
                "table.surrogate to bayes or gp"
            )
        return self

    @model_validator(mode="after")
    def _a_second_round_reads_embeddings(self) -> Self:
        if self.table.representation == "growth" and self.proxy.generators.get("agent", 0) > 0:
            raise ValueError(
                "proxy.generators.agent: a second round reads embeddings alone; set it to 0, or "
                "table.representation to another than growth"
            )
        return self

    @model_validator(mode="after")
    def _replay_is_possible(self) -> Self:
        if "replay" not in self.proxy.kinds or self.budget.initial == "all":
            return self
        initial, held_out = self.budget.initial, int(self.proxy.holdout * self.budget.initial + 0.5)
        if not FEWEST_HELD_OUT <= held_out < initial:
            raise ValueError(
                f"proxy.holdout: {self.proxy.holdout} of budget.initial {initial} holds out {held_out} images; "
                f"at least {FEWEST_HELD_OUT} must be held out and one kept: raise budget.initial or change it"
            )
        if self.table.representation == "index" and self.proxy.kind == "replay":
            raise ValueError(
                "table.representation: index compares batches by the images they share, and replay batches share none "
                "with those of the pool; choose another, or proxy.kind: both"
            )
        return self
