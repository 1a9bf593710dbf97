"""The schema of proxy runs: which batches they are for, and how each is trained."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from mgral.config.base import Count, Fraction, Positive, Rate, Settings, parameter

Generator = Literal["random", "uncertain", "cluster", "class", "designed", "agent"]


class ProxyRun(Settings):
    """How one proxy is trained."""

    semi: str = parameter(
        "isd",
        "kinds unlabelled and both: the semi-supervised term, isd (softmax detectors: SSDs) or sed (sigmoid "
        "ones: retinanet); the control is options: {weight: 0}, the same batches unused",
    )
    options: dict[str, Any] = parameter({}, "the term's own keys")
    start: Literal["scratch", "detector"] = parameter(
        "detector",
        "initial weights: the cycle's detector, or scratch (needs far more steps)",
        source="paper: scratch",
    )
    backbone: Literal["learns", "frozen"] = parameter(
        "learns",
        "learns; or frozen: only the detector's head learns, on feature maps that are computed once a cycle. "
        "Much faster; of the augmentation the flip remains. Needs start: detector",
    )
    steps: Positive = parameter(40, "optimiser steps")
    stop_at: Annotated[float, Field(ge=0, lt=1)] = parameter(
        0.0,
        "share of the steps after which a run is stopped as hopeless if it lies below all random batches; 0: "
        "none is. Saves time where runs are long: docs/results/fidelity.md",
    )
    batch_size: Annotated[int, Field(ge=2)] = parameter(
        12,
        "labelled images per step; as many unlabelled ones come with them",
    )
    learning_rate: Rate = parameter(0.001, "peak, as for the detector")

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

    kind: Literal["unlabelled", "replay", "both"] = parameter(
        "replay",
        "kind of the records. replay: a batch of labelled images that were held out, with its labels; "
        "unlabelled: a batch of the pool, without labels; both: some of each in one table. Why the default is"
        " not the paper's: docs/results/generated.md",
        source="paper: unlabelled",
    )


class HoldOut(Settings):
    """How much of the labelled pool replay proxies take for unlabelled."""

    holdout: Annotated[float, Field(gt=0, lt=1)] = parameter(
        0.5,
        "kinds replay and both: share of the labelled images held out, the same share of every class. A "
        "replay batch has budget.batch images, or half of those held out if that is less",
    )


class Generators(ProxyKind):
    """Which batches proxies are trained for."""

    records: Annotated[int, Field(ge=2)] = parameter(
        24,
        "proxy runs per cycle before the search; of replay those of each split",
        source="paper: 200 on VOC",
    )
    replay_share: Fraction = parameter(0.5, "kind both: share of replay records")
    generators: dict[
        Literal["random", "uncertain", "cluster", "class", "designed", "agent"], Annotated[float, Field(ge=0)]
    ] = parameter(
        {"random": 0.4, "designed": 0.6, "uncertain": 0.0, "cluster": 0.0, "class": 0.0, "agent": 0.0},
        "where the batches come from: shares, scaled to sum to 1",
        entries={
            "random": "uniform; a reward is the difference to the mean of these",
            "designed": "the ends of each signal (entropy, balanced entropy, expected boxes, novelty, quality), and "
            "the batches of the rules balanced, growth and learnable. With a share here, and start: detector, replay "
            "batches are drawn by what a detector sees that has not been trained on them",
            "uncertain": "biased towards images of high entropy",
            "cluster": "most of the batch from few clusters of embeddings",
            "class": "biased towards images in which one class is predicted",
            "agent": "a second round, drawn by an agent that was trained on the others; costs one more search",
        },
    )

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


class Proxy(ProxyRun, HoldOut, Generators):
    """The short trainings that give batches their rewards."""

    control: Count = parameter(
        2,
        "number of the unlabelled batches trained again with unsupervised weight zero, for the audit; 0: none",
    )
    repeats: Count = parameter(
        2,
        "trainings of one batch of each kind with other random numbers, for the audit; 0: none",
    )
    per_job: Positive = parameter(13, "runs that share one process")
    splits: Positive = parameter(
        1,
        "kinds replay and both: replay splits of a cycle, each with images of its own held out at random. To "
        "the price of surrogate bayes a split is one observation, so that more of them make it surer, more records "
        "hardly do; each further split trains one more detector and as many replay records again. learnable and "
        "adaptive measure on all",
    )

    def splits_of(self, kind: str) -> int:
        """How many pools the records of a kind are drawn from."""
        return self.splits if kind == "replay" else 1

    @model_validator(mode="after")
    def _replay_to_split(self) -> Self:
        if self.splits > 1 and self.kind == "unlabelled":
            raise ValueError("splits: kind unlabelled holds no images out; set splits: 1, or kind: replay or both")
        return self

    @model_validator(mode="after")
    def _some_to_control(self) -> Self:
        first = self.rounds("unlabelled")[0]
        if "unlabelled" in self.kinds and (self.control == 1 or self.control > first):
            raise ValueError(f"control: must be 0 for none, or 2 to {first}, the unlabelled batches drawn at first")
        return self
