"""Fills a JSON schema with plausible values: the structured answers of the embedded endpoint.

Decides a value for each part of a schema that pydantic writes; anything else becomes a phrase. Must
not know of prompts beyond the phrase it is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

__all__ = ["fill"]

_DEEP = 4  # below this, lists stay as short and options as empty as they may be
_MAX_DEPTH = 12
_DEFAULT_RANGE = (1, 5)


class _Dice(Protocol):
    def below(self, n: int) -> int: ...


def fill(schema: Mapping[str, Any], dice: _Dice, phrase: str) -> Any:
    """Returns a value that fits the schema.

    Args:
        schema: The schema; `$ref`s into its own `$defs` are followed.
        dice: Makes the choices.
        phrase: What strings say.
    """
    definitions = schema.get("$defs") or {}
    return _Filler(definitions, dice, phrase).value(schema, 0)


class _Filler:
    def __init__(self, definitions: Mapping[str, Any], dice: _Dice, phrase: str) -> None:
        self._definitions = definitions
        self._dice = dice
        self._phrase = phrase

    def value(self, schema: Any, depth: int) -> Any:
        schema = self._resolved(schema)
        if depth > _MAX_DEPTH:  # a type that holds itself
            return None
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][self._dice.below(len(schema["enum"]))]
        for combined in ("anyOf", "oneOf", "allOf"):
            if schema.get(combined):
                # Pydantic writes `T | None` with null last: where the way out is, once deep.
                return self.value(schema[combined][-1 if depth > _DEEP else 0], depth + 1)
        return self._of_type(schema, depth)

    def _of_type(self, schema: Mapping[str, Any], depth: int) -> Any:
        kind = schema.get("type")
        if kind == "object" or "properties" in schema:
            fields = schema.get("properties") or {}
            return {name: self.value(field, depth + 1) for name, field in fields.items()}
        if kind == "array":
            wanted = 0 if depth > _DEEP else min(2, schema.get("maxItems", 2))
            size = max(schema.get("minItems", 0), wanted)
            return [self.value(schema.get("items") or {}, depth + 1) for _ in range(size)]
        if kind in ("integer", "number"):
            return self._number(schema, whole=kind == "integer")
        if kind == "boolean":
            return self._dice.below(2) == 1
        return None if kind == "null" else self._text(schema)

    def _number(self, schema: Mapping[str, Any], *, whole: bool) -> float:
        low = schema.get("minimum", schema.get("exclusiveMinimum"))
        high = schema.get("maximum", schema.get("exclusiveMaximum"))
        if low is None:
            low = _DEFAULT_RANGE[0] if high is None else min(_DEFAULT_RANGE[0], high)
        if high is None:
            high = max(_DEFAULT_RANGE[1], low + _DEFAULT_RANGE[1])
        if not whole:
            return float(round(low + (high - low) * (1 + self._dice.below(99)) / 100, 6))
        first: int = int(low) + (schema.get("exclusiveMinimum") == low)
        last: int = int(high) - (schema.get("exclusiveMaximum") == high)
        return first + self._dice.below(max(1, last - first + 1))

    def _text(self, schema: Mapping[str, Any]) -> str:
        shortest = schema.get("minLength", 0)
        text = self._phrase
        while len(text) < shortest:
            text += " " + self._phrase
        return text[: max(schema.get("maxLength", len(text)), 0)]

    def _resolved(self, schema: Any) -> Mapping[str, Any]:
        for _ in range(_MAX_DEPTH):
            if not isinstance(schema, dict):
                return {}
            if "$ref" not in schema:
                return schema
            schema = self._definitions.get(str(schema["$ref"]).rpartition("/")[2], {})
        return {}
