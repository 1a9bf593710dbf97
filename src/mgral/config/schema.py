"""The schema of an experiment; :mod:`mgral.config.loading` reads and checks the files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from mgral.config.annotation import Annotation, Oracle
from mgral.config.base import Settings
from mgral.core import plugins

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
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

    initial: Positive | Literal["all"]


class Batch(Settings):
    """Images of a batch."""

    batch: Positive


class Budget(Initial, Batch):
    """Images to annotate."""


class Splits(Settings):
    """How splits are drawn that the data set does not bring."""

    val: Fraction = Field(description="share of all annotated images; rewards are measured here")
    test: Fraction = Field(description="likewise; reported")
    seed: Count = Field(description="of the draw")
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

    format: str = Field(description="importer: coco, voc, yolo, folder, synthetic")
    root: str | None = Field(description="folder of the data set, ~ is the home folder; null for a generated one")
    options: dict[str, Any] = Field(description="the importer's own keys")
    on_invalid: Literal["fail", "drop"] = Field(
        description="fail: the first fault ends the import; drop: faulty boxes and images are left out and listed. A "
        "box left out leaves an ignored region, or its image unannotated"
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

    name: str
    options: dict[str, Any]


class Training(Settings):
    """Training of a detector on the labelled pool."""

    steps: Positive
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Rate
    weight_decay: Annotated[float, Field(ge=0)]
    warmup: Count
    checkpoint_every: Count
    augment: bool


class Evaluation(Settings):
    """How detections are taken and scored."""

    score_threshold: Fraction
    nms_iou: Fraction
    max_detections: Positive


class Noise(Settings):
    """Retraining of one pool with other seeds."""

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
    backbone: Literal["learns", "frozen"]
    steps: Positive
    stop_at: Annotated[float, Field(ge=0, lt=1)]
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Rate

    @property
    def judged_after(self) -> int:
        """Steps after which a run may be stopped, 1 to ``steps`` - 1; 0 for never."""
        return min(max(int(self.stop_at * self.steps), 1), self.steps - 1) if self.stop_at else 0

    @model_validator(mode="after")
    def _a_frozen_trunk_has_learnt(self) -> Self:
        if self.backbone == "frozen" and self.start == "scratch":
            raise ValueError("backbone: frozen keeps what the detector's backbone has learnt; set start: detector")
        return self

    @model_validator(mode="after")
    def _a_step_is_left(self) -> Self:
        if self.stop_at and self.steps < 2:
            raise ValueError("stop_at: a run of one step cannot be stopped before its end; set it to 0")
        return self


class ProxyKind(Settings):
    """Which kinds of records fill the table."""

    kind: Literal["unlabelled", "replay", "both"]


class HoldOut(Settings):
    """How much of the labelled pool replay proxies take for unlabelled."""

    holdout: Annotated[float, Field(gt=0, lt=1)]


class Generators(ProxyKind):
    """Which batches proxies are trained for."""

    records: Annotated[int, Field(ge=2)]
    replay_share: Fraction
    generators: dict[
        Literal["random", "uncertain", "cluster", "class", "designed", "agent"], Annotated[float, Field(ge=0)]
    ]

    @property
    def kinds(self) -> tuple[Literal["unlabelled", "replay"], ...]:
        """The kinds of records that are trained."""
        return ("unlabelled", "replay") if self.kind == "both" else (self.kind,)

    @property
    def first_shares(self) -> dict[str, float]:
        """Shares of the generators of the first round: all but the agent's."""
        return {str(name): share for name, share in self.generators.items() if name != "agent"}

    def rounds(self, kind: str) -> tuple[int, int]:
        """How many records of a kind are drawn before there is an agent, and how many by the agent of those."""
        replay = {"unlabelled": 0, "replay": self.records, "both": int(self.records * self.replay_share + 0.5)}
        count = replay[self.kind] if kind == "replay" else self.records - replay[self.kind]
        second = int(count * self.generators.get("agent", 0) / sum(self.generators.values()) + 0.5)
        return count - second, second

    @field_validator("generators")
    @classmethod
    def _some_share(cls, value: dict[str, float]) -> dict[str, float]:
        if sum(share for name, share in value.items() if name != "agent") <= 0:
            raise ValueError("the shares must not all be zero; the agent's alone is not enough, it needs records first")
        return value

    @model_validator(mode="after")
    def _a_reference_for_each_kind(self) -> Self:
        shares = self.first_shares
        for kind in self.kinds:
            first, _ = self.rounds(kind)
            if first * shares.get("random", 0) < sum(shares.values()):
                raise ValueError(
                    f"generators: of {first} {kind} records none is sure to be random, to compare the others with; "
                    "raise records or the share of random"
                )
        if sum(self.rounds(kind)[0] for kind in self.kinds) < 2:
            raise ValueError("generators: the agent needs 2 records before its own; raise records or lower its share")
        return self


class Proxy(ProxyRun, Generators, HoldOut):
    """Everything about proxies."""

    control: Count
    repeats: Count
    per_job: Positive

    @model_validator(mode="after")
    def _some_to_control(self) -> Self:
        first = self.rounds("unlabelled")[0]
        if "unlabelled" in self.kinds and (self.control == 1 or self.control > first):
            raise ValueError(f"control: must be 0 for none, or 2 to {first}, the unlabelled batches drawn at first")
        return self


class Table(Settings):
    """How its records price a batch."""

    representation: Literal["embedding", "index", "moments", "counts", "objects"]
    centroids: Positive
    surrogate: Literal["nearest", "gp", "ridge"]
    neighbours: Positive
    threshold_deviations: float
    far_uncertainty: Fraction


class TableParams(Table):
    """Everything about the table."""

    carry: Count


class Agent(Settings):
    """The LSTM policy."""

    hidden: Positive
    chunk: Count
    parallel: Positive
    precision: Literal["float32", "bfloat16"]
    train_on: Count


class Search(Settings):
    """Training of the agent."""

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
    """What a job uses of the machine."""

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
    table: TableParams
    agent: Agent
    search: Search
    report: Report
    machine: Machine
    oracle: Oracle = Field(default_factory=Oracle, description="who answers for the labels of a batch")
    annotation: Annotation = Field(default_factory=Annotation, description="the tool, and how answers become labels")

    @model_validator(mode="after")
    def _people_answer_one_run(self) -> Self:
        if self.oracle.kind == "people" and (len(self.strategies) > 1 or len(self.seeds) > 1):
            raise ValueError("oracle: people annotate the batches of one strategy and one seed; leave one of each")
        return self

    @model_validator(mode="after")
    def _no_repeats(self) -> Self:
        twice = [seed for seed in self.seeds if self.seeds.count(seed) > 1]
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
