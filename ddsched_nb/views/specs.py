"""Works on Vega-Lite specs as plain dicts: the v5 label, and a description in words.

Pure functions; none changes its argument. This module must not import altair or draw anything.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any, Final

Spec = dict[str, Any]

V5_SCHEMA: Final = "https://vega.github.io/schema/vega-lite/v5.json"

_PARTS: Final = ("layer", "hconcat", "vconcat", "concat")
_SHOWN_SERIES: Final = 8


def as_v5(spec: Spec) -> Spec:
    """The same spec, said to be of Vega-Lite 5."""
    return {**spec, "$schema": V5_SCHEMA}


def describe(spec: Spec) -> str:
    """A chart's facts in words: title, axes with ranges, series, marks with their points."""
    layers = [_Layer(node, rows) for node, rows in _views(spec)]
    lines = [f"Chart: {_title(spec) or 'untitled'}"]
    lines += [line for axis in ("x", "y") if (line := _axis_line(axis, layers))]
    series = _series(layers)
    if series:
        more = f", and {len(series) - _SHOWN_SERIES} more" if len(series) > _SHOWN_SERIES else ""
        lines.append(f"series: {', '.join(series[:_SHOWN_SERIES])}{more}")
    lines.append(f"marks: {', '.join(layer.words for layer in layers)}")
    return "\n".join(lines)


class _Layer:
    """One drawn view of a spec, with the rows it draws; None where they are not inline."""

    def __init__(self, node: Spec, rows: list[Any] | None) -> None:
        self.rows = rows
        self.encoding: Spec = node.get("encoding", {})
        mark = node["mark"]
        self.mark = str(mark["type"] if isinstance(mark, dict) else mark)

    @property
    def words(self) -> str:
        if self.rows is None:
            return f"{self.mark} (data by reference)"
        return f"{self.mark} ({len(self.rows):,} point{'' if len(self.rows) == 1 else 's'})"

    def column(self, channel: str) -> list[Any]:
        field = _channel(self.encoding, channel).get("field")
        rows = [row for row in self.rows or () if isinstance(row, dict)]
        return [row[field] for row in rows if row.get(field) is not None]


def _views(spec: Spec) -> Iterator[tuple[Spec, list[Any] | None]]:
    """Each view that draws, outer encodings and data handed down."""
    yield from _walk(spec, {}, None, spec.get("datasets", {}))


def _walk(
    node: Spec, encoding: Spec, rows: list[Any] | None, datasets: dict[str, Any]
) -> Iterator[tuple[Spec, list[Any] | None]]:
    rows = _rows(node["data"], datasets) if node.get("data") else rows
    encoding = {**encoding, **node.get("encoding", {})}
    if "mark" in node:
        yield {**node, "encoding": encoding}, rows
    inner = [node["spec"]] if isinstance(node.get("spec"), dict) else []
    for part in (*inner, *(part for key in _PARTS for part in node.get(key, ()))):
        yield from _walk(part, encoding, rows, datasets)


def _rows(data: Spec, datasets: dict[str, Any]) -> list[Any] | None:
    rows = data.get("values", datasets.get(data.get("name", "")))
    return rows if isinstance(rows, list) else None


def _channel(encoding: Spec, channel: str) -> Spec:
    found = encoding.get(channel)
    return found if isinstance(found, dict) else {}


def _title(node: Spec) -> str:
    title = node.get("title")
    if isinstance(title, dict):
        title = title.get("text")
    return " ".join(title) if isinstance(title, list) else str(title or "")


def _axis_line(axis: str, layers: Iterable[_Layer]) -> str:
    definitions = [found for layer in layers if (found := _channel(layer.encoding, axis))]
    if not definitions:
        return ""
    names = [
        _title(found) or str(found.get("field") or found.get("aggregate")) for found in definitions
    ]
    values = [value for layer in layers for value in layer.column(axis)]
    return f"{axis}: {names[0]}{_range(values)}"


def _range(values: list[Any]) -> str:
    numbers = [v for v in values if isinstance(v, int | float) and math.isfinite(v)]
    if numbers and len(numbers) == len(values):
        return f", {min(numbers):.6g} to {max(numbers):.6g}"
    texts = sorted({v if isinstance(v, str) else json.dumps(v) for v in values})
    return f", {texts[0]} to {texts[-1]}" if texts else ""


def _series(layers: Iterable[_Layer]) -> list[str]:
    found = {str(value): None for layer in layers for value in layer.column("color")}
    return list(found)
