"""The base of every group of parameters: typed, closed, and clear about what is wrong with a value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

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


class Settings(BaseModel):
    """Parameters of one step or plug-in. Unknown keys are refused; instances do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

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
            raise MgralError(_message(cls, first, where)) from None


def _message(cls: type[BaseModel], error: Any, where: str) -> str:
    path = [part for part in error["loc"] if not (isinstance(part, str) and part.startswith("function-"))]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    place = f"{where}.{key}" if key and not where.endswith(":") else f"{where} {key}" if key else where.rstrip(":")
    if error["type"] == "extra_forbidden":
        return f"{place}: unknown key; {nearest(str(path[-1]), _fields_at(cls, path[:-1]))}"
    if error["type"] == "missing":
        return f"{place}: missing; set this key"
    reason = error["msg"].removeprefix("Value error, ")
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
