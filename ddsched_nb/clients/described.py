"""Descriptions as values: frozen pydantic models whose complaints are ours."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ddsched_nb.errors import ConfigError

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
