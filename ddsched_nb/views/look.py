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


def bar_legend(columns: int = 0) -> alt.Legend:
    """A legend above the plot, of squares; in one row unless it has columns."""
    return alt.Legend(orient="top", offset=10, columns=columns, symbolType="square", symbolSize=120)


def colours(names: list[str]) -> alt.Scale:
    """A colour a name; they repeat after eight."""
    return alt.Scale(domain=names, range=_cycle(OKABE_ITO, len(names)))


def dashes(names: list[str]) -> alt.Scale:
    """A dash a name, so that no line is told by its colour alone."""
    return alt.Scale(domain=names, range=_cycle(_DASHES, len(names)))


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
