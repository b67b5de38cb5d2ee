"""How charts look: palette, dashes, size, a frame that serves light and dark themes alike.

Backgrounds are transparent and text is a grey that reads on white and on black; dashes repeat what
a colour says. This module must not know what a chart is about.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import altair as alt

from ddsched_nb.views.renderer import enable_if_default

# Okabe and Ito (2008); their black is missing, since it cannot be seen in a dark theme.
OKABE_ITO: Final = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#E69F00",
    "#8A8A8A",
    "#F0E442",
)
_DASHES: Final = ([1, 0], [7, 3], [2, 2], [9, 3, 2, 3])
_INK: Final = "#7f7f7f"
_GRID: Final = "#7f7f7f33"
# Liberation Sans has the widths of Arial and comes with vl-convert: the same layout anywhere.
_FONT: Final = "Arial, Liberation Sans, Helvetica, sans-serif"
_WIDTH: Final = 640
_HEIGHT: Final = 220


def legend(names: list[str]) -> alt.Legend:
    """A legend above the plot, of strokes, in columns where there are many names."""
    return alt.Legend(
        orient="top",
        offset=10,
        columns=3 if len(names) > 3 else 0,
        symbolType="stroke",
        symbolSize=300,
        symbolStrokeWidth=2.5,
        symbolOpacity=1,
    )


def bar_legend(columns: int = 0, *, solid: bool = False) -> alt.Legend:
    """A legend above the plot, of squares; in one row unless it has columns.

    Args:
        columns: Names in a row; all of them if 0.
        solid: Whether squares are full where the marks are pale.
    """
    return alt.Legend(
        orient="top",
        offset=10,
        columns=columns,
        symbolType="square",
        symbolSize=120,
        symbolOpacity=1 if solid else alt.Undefined,
    )


def colours(names: list[str]) -> alt.Scale:
    """A colour a name; they repeat after eight."""
    return alt.Scale(domain=names, range=_cycle(OKABE_ITO, len(names)))


def dashes(names: list[str]) -> alt.Scale:
    """A dash a name, so that no line is told by its colour alone."""
    return alt.Scale(domain=names, range=_cycle(_DASHES, len(names)))


def inline(rows: list[dict[str, Any]]) -> alt.InlineData:
    """Rows as the data of a chart."""
    return alt.InlineData(values=rows)


def time_axis(field: str = "at") -> alt.X:
    """The axis of seconds since the record began."""
    return alt.X(f"{field}:Q", title="seconds from the start", scale=alt.Scale(nice=False))


def whole_axis(most: float) -> alt.Axis:
    """An axis of whole numbers up to about `most`.

    Of few numbers each is named: Vega-Lite 5 does not heed `tickMinStep` there, and draws halves.
    """
    if most > 5:
        return alt.Axis(tickMinStep=1)
    return alt.Axis(values=list(range(int(most) + 1)), format="d")


def seconds_tip(field: str = "at", title: str = "seconds") -> alt.Tooltip:
    """An instant or a duration in a tooltip."""
    return alt.Tooltip(f"{field}:Q", title=title, format=",.2f")


def finish(
    layers: list[alt.Chart], title: str, subtitle: str | None = None, height: int = _HEIGHT
) -> alt.LayerChart:
    """Lays layers on each other, in the house's frame, ready to be shown without a network."""
    enable_if_default()
    words = alt.TitleParams(
        title,
        anchor="start",
        frame="group",
        fontSize=14,
        offset=6,
        color=_INK,
        subtitle=subtitle or alt.Undefined,
        subtitleColor=_INK,
    )
    return alt.LayerChart(
        layer=layers,
        width=_WIDTH,
        height=height,
        title=words,
        background="transparent",
        config=_config(),
    )


def _config() -> alt.Config:
    ink: dict[str, Any] = {"labelColor": _INK, "titleColor": _INK}
    axis: dict[str, Any] = {"domainColor": _INK, "tickColor": _INK, "gridColor": _GRID}
    return alt.Config(
        font=_FONT,
        view=alt.ViewConfig(stroke=None),
        axis=alt.AxisConfig(titleFontWeight="normal", **ink, **axis),
        axisX=alt.AxisConfig(grid=False),
        legend=alt.LegendConfig(labelLimit=320, **ink),
    )


def _cycle(choices: Sequence[Any], count: int) -> list[Any]:
    return [choices[i % len(choices)] for i in range(count)]
