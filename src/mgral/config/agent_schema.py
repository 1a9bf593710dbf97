"""The schema of the lookup table, the agent and its search."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mgral.config.base import Count, Fraction, Positive, Rate, Settings, parameter


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
    prior: Literal["learnable", "growth", "adaptive"] = Field(
        default="adaptive",
        description="bayes: the rule whose price a batch has where the records carry no signal: learnable, growth with "
        "competence weights, or adaptive (balanced or learnable, as the detector's precision on val tells)",
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
    certainty: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.95,
        description="surrogate bayes: probability, by the price, with which a batch must gain more than that of the "
        "rule in the prior; where polish finds none, the rule's is chosen. 0: always the agent's (paper)",
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
