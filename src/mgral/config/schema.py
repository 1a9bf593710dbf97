"""The schema of an experiment: type, bounds, default, meaning, unit and source of each key.

:mod:`mgral.config.loading` reads and checks the files. From this schema :mod:`mgral.config.reference` writes
``params/base.yaml`` and ``params/params.schema.json`` (``make params``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from mgral.config.annotation import Account, Annotation, Oracle
from mgral.config.base import Count, Fraction, Positive, Rate, Settings, parameter
from mgral.config.embedding import EmbeddingParams
from mgral.config.proxy_schema import Generators as Generators
from mgral.config.proxy_schema import HoldOut as HoldOut
from mgral.config.proxy_schema import Proxy as Proxy
from mgral.config.proxy_schema import ProxyKind as ProxyKind
from mgral.config.proxy_schema import ProxyRun as ProxyRun
from mgral.core import plugins

FOLDERS = {"shared", "dataset", "figures", "logs", "benchmarks", "noise"}  # of a run, beside those of its strategies
FIRST_NOISE_SEED = 1000  # noise.repeats train with this and the next ones
FEWEST_HELD_OUT = 4  # images, at least: two batches of two that share none
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]
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


class Splits(Settings):
    """Shares drawn per class, for a data set that brings no splits."""

    val: Fraction = parameter(0.2, "share of all annotated images; rewards are measured on them")
    test: Fraction = parameter(0.3, "share of all annotated images; reported results are measured on them")
    seed: Count = parameter(0, "seed of the draw")
    group: str | None = Field(
        default=None,
        description="regular expression over the file name: images whose matched groups are equal (variants of one "
        "picture, frames of one video) stay in one split, e.g. '^(.*)\\.rf\\.'; null: each image is drawn alone",
    )

    @field_validator("group")
    @classmethod
    def _a_pattern(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"is no regular expression ({error})") from None
        return value

    @model_validator(mode="after")
    def _leave_a_pool(self) -> Self:
        if self.val + self.test >= 1:
            raise ValueError("val + test must stay below 1, or no image is left for the pool")
        return self


class DatasetParams(Settings):
    """Which data set, and how its files are taken."""

    format: str = parameter("synthetic", "importer: coco, voc, yolo, folder, synthetic")
    root: str | None = parameter(None, "folder of the data set, ~ is the home folder; null for a generated one")
    options: dict[str, Any] = parameter({}, "the importer's own keys")
    on_invalid: Literal["fail", "drop"] = parameter(
        "fail",
        "fail: the first fault ends the import; drop: faulty boxes and images are left out and listed. A box left out "
        "leaves an ignored region, or its image unannotated",
    )
    splits: Splits
    links: Literal["refuse", "follow"] = Field(
        default="refuse",
        description="symbolic links that lead out of the data set: refuse, or follow (DVC, git-annex, hub caches, "
        "folders on another disk). Links within it are always followed",
    )
    match: Literal["path", "name"] = Field(
        default="path",
        description="how file names in annotations lead to images. path: as given, without leading folders that do not "
        "exist; name: by the bare file name, wherever below the image root",
    )
    unlisted: Literal["leave", "pool"] = Field(
        default="leave",
        description="images in the folder that no list or annotation names. leave: they stay outside and are counted; "
        "pool: they wait in the pool, unannotated",
    )
    max_pixels: Positive = Field(
        default=178_956_970,
        description="pixels; a larger image is refused, since a small file can expand to fill the memory. Raise it for "
        "panoramas and satellite images",
    )


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


class Table(Settings):
    """How its records price a batch."""

    representation: Literal["growth", "embedding", "index", "moments", "counts", "objects"] = parameter(
        "growth",
        "of a batch: growth (of each class's labelled boxes, and a few image scores; docs/strategies/mgral.md), "
        "embedding (mean over its images), index (one-hot over the pool), moments (mean and spread), counts (shares of "
        "clusters), objects (of each class, as the detector expects them). audit.json compares them",
        source="paper: embedding; its first version: index",
    )
    centroids: Positive = parameter(32, "counts: clusters of the pool")
    surrogate: Literal["bayes", "nearest", "gp", "ridge"] = parameter(
        "bayes",
        "how records predict the gain of a batch: bayes (linear in the numbers of growth, with a rule as its prior), "
        "nearest (inverse-distance mean), gp (Gaussian process) or ridge (linear regression). audit.json compares them",
        source="paper: nearest",
    )
    prior: Literal["learnable", "growth"] = Field(
        default="learnable",
        description="bayes: the rule whose price a batch has where the records carry no signal: learnable, or growth "
        "with competence weights",
    )
    neighbours: Positive = parameter(5, "nearest: records averaged (M)", source="the paper gives no number")
    threshold_deviations: float = parameter(
        1.0,
        "nearest, ridge: a batch is extrapolated if its nearest record lies beyond mean - this * standard "
        "deviation of the distances between records",
        source="paper: 1",
    )
    far_uncertainty: Fraction = parameter(
        0.9,
        "gp, bayes: a batch is extrapolated if the records leave more than this share of the standard deviation",
    )

    @model_validator(mode="after")
    def _bayes_reads_growth(self) -> Self:
        if self.surrogate == "bayes" and self.representation != "growth":
            raise ValueError(
                f"surrogate: bayes reads the numbers of representation growth, not {self.representation}; set "
                "representation: growth, or surrogate to nearest, gp or ridge"
            )
        return self


class TableParams(Table):
    """The lookup table: how records predict the gain of a batch."""

    carry: Count = parameter(
        3,
        "number of earlier cycles of the same strategy and seed whose records stay in the table, each as a "
        "gain over the random batches of its own cycle; 0: none",
        source="paper: COCO's table has five labelled sizes, which is 4 for the last of five cycles",
    )


class Agent(Settings):
    """The LSTM policy."""

    hidden: Positive = parameter(257, "size of the LSTM state", source="paper: 257")
    chunk: Count = parameter(
        0,
        "images whose activations are kept at a time, for a pool whose scan does not fit in memory (18 KiB an image); "
        "a second pass over each costs a third of the time again. 0: the whole pool",
    )
    parallel: Positive = parameter(
        64,
        "parts of the scan that may run side by side, each at least 512 images long; they give the scores of the whole "
        "scan up to rounding, in less time and on all threads. 1: one chain of steps",
    )
    precision: Literal["float32", "bfloat16"] = parameter(
        "float32",
        "of the LSTM in such parts; bfloat16 takes two thirds of the time, and its scores are off by about 0.001 where "
        "those of float32 are by 0.0000001",
    )
    train_on: Count = parameter(
        0,
        "images that the search scans: so many of the unlabelled ones, drawn at random; all of them are scanned once "
        "to pick the batch. 0: all",
    )


class Search(Settings):
    """Training of the agent."""

    iterations: Positive = parameter(150, "REINFORCE steps per cycle", source="paper: VOC 2200, COCO 800")
    subsets: Positive = parameter(4, "batches sampled per scan")
    learning_rate: Rate = parameter(0.001, "of Adam")
    baseline: Literal["moving", "leave_one_out"] = parameter(
        "moving",
        "what a reward is compared with: moving (its moving average), or leave_one_out (the mean of the "
        "scan's other batches; Kool et al. 2019), which needs no history",
        source="paper: moving",
    )
    baseline_decay: Fraction = parameter(
        0.5,
        "decay of that moving average; patience watches it whatever the baseline",
        source="paper: 0.5",
    )
    temperature: Rate = parameter(
        1.0,
        "batches are drawn from softmax(scores / temperature); above 1 they vary more",
        source="paper: 1",
    )
    entropy_bonus: Annotated[float, Field(ge=0)] = parameter(
        0.0,
        "weight of the first draw's entropy in the objective, beside reward * log pi",
        unit="nats",
        source="paper: none",
    )
    patience: Count = parameter(
        0,
        "iterations without a new maximum of the moving average after which the search stops; 0: never",
        source="paper: never",
    )
    fallback: Count = parameter(
        1,
        "largest number of proxies trained during a search, for batches beyond the threshold; with "
        "proxy.kind: replay none, since batches of the pool have no labels",
    )
    checkpoint_every: Count = parameter(100, "distance between checkpoints; 0 for none", unit="iterations")
    caution: Annotated[float, Field(ge=0)] = Field(
        default=0.0,
        description="standard deviations of a predicted gain that are subtracted from the reward; above 0 needs a "
        "surrogate that knows them (bayes, gp)",
    )
    polish: Count = Field(
        default=10,
        description="surrogate bayes: passes over the agent's batch, at most, that exchange images where that raises "
        "the predicted gain; 0: none (paper: none)",
    )

    @model_validator(mode="after")
    def _others_to_compare_with(self) -> Self:
        if self.baseline == "leave_one_out" and self.subsets < 2:
            raise ValueError("baseline leave_one_out compares the subsets of a scan; set subsets to 2 or more")
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
    embedding: EmbeddingParams = Field(default_factory=EmbeddingParams, description="what embeds images")
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
            raise ValueError(f"seeds: {min(twice)} stands twice; give each seed once")
        names = [strategy.name for strategy in self.strategies]
        repeated = [name for name in names if names.count(name) > 1]
        if repeated:
            raise ValueError(f"strategies: '{min(repeated)}' stands twice; give each a label of its own")
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
