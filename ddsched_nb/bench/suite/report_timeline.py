"""The report's part on time: a strip for each series of a case, and its figures as a table.

A strip is SVG that stretches; what it shows is said in words beside it and in its text alternative.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Final

from ddsched_nb.bench.suite.report_parts import details, seconds, table
from ddsched_nb.bench.suite.summary import Row, Series, Timeline
from ddsched_nb.core.model import LLM_WAIT

__all__ = ["timeline"]

_NAMES: Final = {
    "leased": "task slots leased",
    "in_flight": "in flight",
    "refused": "refused",
    "row_groups": "row groups open",
    "target": "row groups asked for",
}
_HEIGHT: Final = 100


def timeline(row: Row) -> str:
    """The strips of a case; nothing where its summary has none."""
    line = row.timeline
    if line is None or not line.series:
        return ""
    drawn = "".join(_strips(line))
    end = seconds(line.seconds)
    axis = f'<div class="bar axis"><span></span><span><i>0</i><i>{escape(end)}</i></span></div>'
    title = f"Over time: the first run, as means of {len(line.series[0].values)} spans"
    note = "" if any(s.what == "refused" for s in line.series) else ". Nothing was refused"
    return (
        f"<figure><figcaption>{escape(title)}{note}.</figcaption>{drawn}{axis}</figure>"
        f"{details('The same as figures', _table(row, line))}"
    )


def _strips(line: Timeline) -> Iterator[str]:
    aims = [series for series in line.series if series.what == "target"]
    for series in line.series:
        if series.what == "target":
            continue
        aim = aims[0] if aims and series.what == "row_groups" else None
        said = _said(series, line.seconds)
        if aim is not None:
            said += f"; dashed: how many may be open, {_said(aim, line.seconds)}"
        label = _label(series)
        spoken = escape(f"{label}: {said}", quote=True)
        yield (
            f'<div class="bar strip"><span class="label">{escape(label)}</span>'
            f'<svg viewBox="0 0 {len(series.values)} {_HEIGHT}" preserveAspectRatio="none" '
            f'role="img" aria-label="{spoken}"><rect class="ground" x="0" y="0" '
            f'width="{len(series.values)}" height="{_HEIGHT}"/>'
            f'<path class="{"late" if series.what == "refused" else "use"}" '
            f'd="{_area(series)}"/>{"" if aim is None else _dashes(aim)}</svg>'
            f'<span class="said">{escape(said)}</span></div>'
        )


def _label(series: Series) -> str:
    name = _NAMES[series.what]
    if series.what == "leased" and series.of == LLM_WAIT:
        return "slots for models leased"
    return f"{name}: {series.of}" if series.what in ("in_flight", "refused") else name


def _said(series: Series, whole: float) -> str:
    values = series.values
    most = max(values)
    if series.what == "refused":
        return f"{sum(values):g} in all, at the most {most:g} in a span"
    at = whole * values.index(most) / len(values)
    mean = sum(values) / len(values)
    said = f"{values[0]:.3g} at first, most {most:.3g} from {seconds(at)}, {values[-1]:.3g} at last"
    bound = "" if series.what in ("row_groups", "target") else f" of {series.top:g}"
    return f"{said}; mean {mean:.3g}{bound}"


def _area(series: Series) -> str:
    steps = "".join(f"V{y}H{place + 1}" for place, y in enumerate(_heights(series)))
    return f"M0 {_HEIGHT}{steps}V{_HEIGHT}Z"


def _dashes(series: Series) -> str:
    heights = list(_heights(series))
    steps = "".join(f"V{y}H{place + 1}" for place, y in enumerate(heights))
    return f'<path class="aim" d="M0 {heights[0]}{steps}"/>'


def _heights(series: Series) -> Iterable[str]:
    top = series.top or 1.0
    return (f"{_HEIGHT - _HEIGHT * min(1.0, value / top):.1f}" for value in series.values)


def _table(row: Row, line: Timeline) -> str:
    heads = ["from", *(_head(series) for series in line.series)]
    width = line.seconds / len(line.series[0].values)
    columns: list[Sequence[float]] = [series.values for series in line.series]
    lines = [
        (seconds(place * width), *(f"{value:.3g}" for value in values))
        for place, values in enumerate(zip(*columns, strict=True))
    ]
    return table(f"{row.key} over time", heads, lines)


def _head(series: Series) -> str:
    return _label(series).replace(": ", " ", 1)
