"""Descriptions as values: frozen pydantic models whose complaints are ours."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from ddsched_nb.errors import ConfigError
from ddsched_nb.reprs import settings_html, settings_line

__all__ = ["Described", "Seconds", "draw"]

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]

_TWO_64 = 2.0**64


class Described(BaseModel):
    """A frozen model whose complaints are `ConfigError`s that name the field and the value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise ConfigError(_complaint(type(self).__name__, error)) from None

    def __repr__(self) -> str:
        return settings_line(type(self).__name__, self._fields())

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        return settings_html(type(self).__name__, self._fields())

    def _fields(self) -> list[tuple[str, object, object]]:
        # What names the kind of a description is what its class says already.
        fields = type(self).model_fields
        shown = [
            name
            for name, field in fields.items()
            if get_origin(field.annotation) is not Literal or len(get_args(field.annotation)) > 1
        ]
        return [(name, getattr(self, name, None), _default(fields[name])) for name in shown]


def _default(field: FieldInfo) -> object:
    return "-" if field.is_required() else field.default


def draw(key: str) -> tuple[float, float]:
    """Two numbers that are a function of `key` on any platform: in (0, 1] and in [0, 1)."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    first, second = int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big")
    return (first + 1) / _TWO_64, second / _TWO_64


def _complaint(name: str, error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{name} has no field {field!r}; see help({name})"
    if first["type"] == "missing":
        return f"{name} needs {field!r}"
    reason = first["msg"].removeprefix("Value error, ")
    return f"{name}: {field}={first['input']!r}: {reason}" if field else f"{name}: {reason}"
