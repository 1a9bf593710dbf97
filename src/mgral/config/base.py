"""The base of every group of parameters: typed, closed, and clear about what is wrong with a value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from mgral.core.errors import MgralError, nearest, shown

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


def parameter(
    default: Any, meaning: str, *, unit: str = "", source: str = "", entries: Mapping[str, str] | None = None
) -> Any:
    """A key of a parameter file that each step must be given: no step falls back to a default in silence.

    The hash of the code leaves all of this out (:mod:`mgral.core.code_hash`): a step computes with what the file says.

    Args:
        default: what ``params/base.yaml`` gives.
        meaning: a line of that file.
        unit: where the meaning does not name it.
        source: what the paper or another source takes.
        entries: the meaning of each entry, for a group whose entries have no schema of their own.
    """
    text = meaning + (f" [{unit}]" if unit else "") + (f" ({source})" if source else "")
    extra: dict[str, Any] = {"default": default, **({"entries": dict(entries)} if entries else {})}
    return Field(description=text, json_schema_extra=extra)


_OF_PYDANTIC = ("function-", "constrained-", "literal[")  # parts of a place that no file has


class Settings(BaseModel):
    """Parameters of one step or plug-in. Unknown keys are refused; instances do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value_is_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        kinds = _kinds(cls.model_fields[info.field_name or ""].annotation)
        given = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(one, bool) for one in given) and kinds & {int, float} and not kinds & {bool, Any}:
            raise ValueError("should be a number, and YAML reads yes, no, on, off, true and false as truth values")
        return value

    @classmethod
    def parse(cls, given: Any, where: str) -> Self:
        """Check values read from a parameter file.

        Args:
            given: the mapping as YAML gave it; None counts as empty.
            where: file and key path for the message, e.g. ``params/bccd.yaml: strategies[1].options``.

        Raises:
            MgralError: unknown key (with the nearest valid one), missing key or unfit value; one line.
        """
        try:
            return cls.model_validate({} if given is None else given)
        except ValidationError as error:
            errors = error.errors(include_url=False)
            first = min(errors, key=lambda e: e["type"] != "extra_forbidden")  # a misspelt key is also a missing one
            place = _place(first)
            reasons = [_reason(one) for one in errors if _place(one) == place and one["type"] != "extra_forbidden"]
            reason = ", or ".join(dict.fromkeys(reasons)).replace(", or Input ", ", or ")
            raise MgralError(_message(cls, first, reason, where)) from None


def _kinds(annotation: Any) -> set[Any]:
    """All types that an annotation is made of."""
    return {annotation}.union(*map(_kinds, get_args(annotation))) if get_args(annotation) else {annotation}


def _place(error: Any) -> list[Any]:
    """The keys and positions that lead to a value."""
    return [part for part in error["loc"] if not (isinstance(part, str) and part.startswith(_OF_PYDANTIC))]


def _reason(error: Any) -> str:
    return str(error["msg"]).removeprefix("Value error, ")


def _message(cls: type[BaseModel], error: Any, reason: str, where: str) -> str:
    path = _place(error)
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    place = f"{where}.{key}" if key and not where.endswith(":") else f"{where} {key}" if key else where.rstrip(":")
    if error["type"] == "extra_forbidden":
        return f"{place}: unknown key; {nearest(str(path[-1]), _fields_at(cls, path[:-1]))}"
    if error["type"] == "missing":
        return f"{place}: missing; set this key"
    if error["type"] == "value_error" and isinstance(error["input"], dict):  # our own words on a group say what matters
        return f"{place}: {reason}"
    given = error["input"] if isinstance(error["input"], str) else shown(error["input"])
    return f"{place}: {reason} (given: {given[:80]!r})"


def _fields_at(cls: type[BaseModel], path: list[Any]) -> list[str]:
    """Valid keys of the group at ``path`` below ``cls``."""
    for part in path:
        if isinstance(part, int) or part not in cls.model_fields:
            continue
        annotation = cls.model_fields[part].annotation
        inner = [annotation, *getattr(annotation, "__args__", ())]
        groups = [kind for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if groups:
            cls = groups[0]
    return list(cls.model_fields)
