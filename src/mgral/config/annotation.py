"""The schema of what people do in a run: who answers for labels, and how answers become labels."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from mgral.config.base import Settings

Share = Annotated[float, Field(ge=0, le=1)]


class AnnotatorNoise(Settings):
    """What simulated people do wrong, and how long they take."""

    miss: Share = Field(default=0.0, description="simulated: probability that a box is overlooked")
    wrong: Share = Field(default=0.0, description="simulated: probability that a box gets another class, any alike")
    jitter: float = Field(
        default=0.0,
        ge=0,
        description="simulated: standard deviation of an edge, as a share of the box's side",
    )
    extra: float = Field(default=0.0, ge=0, description="simulated: mean number of boxes an image without an object")
    seconds: float = Field(default=7.0, ge=0, description="simulated: mean seconds a box (7: extreme clicking)")


class Oracle(AnnotatorNoise):
    """Who answers for the labels of a batch."""

    kind: Literal["dataset", "people", "simulated"] = Field(
        default="dataset",
        description="dataset: its own labels; people: the run stops at each batch until they have answered it "
        "(docs/annotation.md); simulated: people with the faults below",
    )

    @model_validator(mode="before")
    @classmethod
    def _a_kind_is_enough(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value


class Account(Settings):
    """What people spend on a batch, if that is not counted in images."""

    unit: Literal["images", "boxes", "minutes"] = Field(
        default="images",
        description="of the budget: images, or boxes or minutes of people; then budget.batch is the largest batch",
    )
    amount: float | None = Field(
        default=None,
        gt=0,
        description="boxes or minutes a cycle; what one cycle leaves over or overdraws is carried to the next",
    )

    @model_validator(mode="after")
    def _an_amount_has_a_unit(self) -> Self:
        if (self.unit == "images") != (self.amount is None):
            raise ValueError("unit and amount: boxes and minutes need an amount; images are counted by batch alone")
        return self


class AnnotationRules(Settings):
    """How answers become labels."""

    annotators: int = Field(default=1, ge=1, description="people who each label every image")
    match_iou: Share = Field(default=0.5, description="overlap from which boxes of two people are one object")
    conflicts: Literal["ignore", "keep", "drop"] = Field(
        default="ignore",
        description="boxes of one person only, or of a disputed class; ignore: neither trained on nor counted",
    )
    unsaid: Literal["refuse", "empty", "unlabelled"] = Field(
        default="refuse",
        description="an image without boxes, where the tool cannot tell whether anybody opened it. refuse: the batch "
        "is not closed; empty: nothing is in it; unlabelled: back to the pool. One with exactly the predicted boxes "
        "is never a label",
    )
    extra: Literal["refuse", "take"] = Field(
        default="refuse", description="labels of registered images that the batch did not ask for"
    )


class Shown(Settings):
    """The annotation tool, and what it shows."""

    tool: str = Field(default="label_studio", description="mgral list annotators")
    options: dict[str, Any] = Field(default_factory=dict, description="the tool's own keys")
    predictions: Share = Field(default=0.3, description="least score of a detection that is shown as a predicted box")
    without_predictions: Share = Field(
        default=0.1, description="share of the images that are shown without, to measure what people overlook on others"
    )


class Annotation(Shown, AnnotationRules):
    """The annotation tool, what it shows, and how its answers become labels."""

    map: dict[str, str] = Field(
        default_factory=dict, description="the data set's name of a class that the tool calls otherwise, or ignore"
    )
    classes: list[str] = Field(
        default_factory=list, description="new classes, appended to the data set's from the next batch that is closed"
    )
