"""Small pictures as SVG strings: steps, areas, spans and marks on two axes. No widget, no library.

Decides how a picture is laid out, and that no line is told by its colour alone: each kind has its
own dash or hatch, and the legend shows it beside its name. Colours are in `style`, by class, so
that they follow the theme. Whatever is text is escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple

__all__ = ["Plot", "Points", "Span", "legend", "means", "sample"]

Points = Sequence[tuple[float, float]]

_WIDTH: Final = 760
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 18, 34
# A line is thinned to about one point a pixel.
_MOST_POINTS: Final = 700


class Span(NamedTuple):
    """Something that lasts, in a lane."""

    start: float
    end: float
    lane: int
    kind: str


class Plot:
    """A picture that is put together piece by piece.

    Args:
        said: What it shows, in a sentence, for who does not see it.
        x_max: Seconds at the right edge.
        y_max: The value at the upper edge, above 0.
        x_title: What the horizontal axis counts.
        y_title: What the vertical axis counts.
        height: In units of which the picture is 760 wide.
        lanes: Names of lanes, from above; none for an axis of numbers.
    """

    def __init__(
        self,
        said: str,
        *,
        x_max: float,
        y_max: float = 1.0,
        x_title: str = "seconds",
        y_title: str = "",
        height: int = 210,
        lanes: Sequence[str] = (),
    ) -> None:
        self._said = said
        self._x_max = x_max or 1.0
        self._lanes = tuple(lanes)
        self._y_max = float(len(lanes)) if lanes else y_max or 1.0
        self._left = _LEFT + 40 if lanes else _LEFT
        self._height = height
        self._parts: list[str] = []
        self._x_title, self._y_title = x_title, y_title

    def area(self, points: Points, kind: str) -> None:
        """Fills what lies under a line of steps."""
        if points:
            base = f"V{self._y(0):g}H{self._x(points[0][0]):g}Z"
            self._parts.append(f'<path class="dx-area dx-{kind}" d="{self._path(points)}{base}"/>')

    def steps(self, points: Points, kind: str) -> None:
        """Draws a line of steps: each value holds until the next point."""
        if points:
            self._parts.append(f'<path class="dx-line dx-{kind}" d="{self._path(points)}"/>')

    def spans(self, spans: Sequence[Span]) -> None:
        """Draws bars in lanes."""
        for span in spans:
            left, right = self._x(span.start), self._x(span.end)
            top, tall = self._y(self._y_max - span.lane) + 5, self._band() - 10
            width = max(0.8, right - left)
            self._parts.append(
                f'<rect class="dx-span dx-{span.kind}" x="{left:g}" y="{top:g}" '
                f'width="{width:.4g}" height="{tall:g}"/>'
            )

    def upright(self, at: float, words: str) -> None:
        """Draws a dashed line upright at an instant, with a word at its head."""
        x = self._x(at)
        anchor = "end" if x > 0.8 * _WIDTH else "middle"
        self._parts.append(
            f'<path class="dx-upright" d="M{x:g} {_TOP}V{self._y(0):g}"/>'
            f'<text x="{x:g}" y="{_TOP - 6}" text-anchor="{anchor}">{escape(words)}</text>'
        )

    def html(self) -> str:
        """The picture."""
        said = escape(self._said)
        return (
            f'<svg class="dx-plot" viewBox="0 0 {_WIDTH} {self._height}" role="img" '
            f'aria-label="{said}">{self._axes()}{"".join(self._parts)}</svg>'
        )

    def _axes(self) -> str:
        bottom, right = self._y(0), _WIDTH - _RIGHT
        drawn = [f'<path class="dx-axis" d="M{self._left} {bottom:g}H{right}"/>']
        for at in _ticks(self._x_max, 8):
            drawn.append(
                f'<text x="{self._x(at):g}" y="{bottom + 14:g}" text-anchor="middle">{at:g}</text>'
            )
        middle = (self._left + right) / 2
        drawn.append(
            f'<text x="{middle:g}" y="{self._height - 5}" text-anchor="middle">'
            f"{escape(self._x_title)}</text>"
        )
        return "".join([*drawn, *(self._lane_names() if self._lanes else self._numbers())])

    def _numbers(self) -> list[str]:
        right = _WIDTH - _RIGHT
        drawn = [
            f'<path class="dx-grid" d="M{self._left} {self._y(at):g}H{right}"/>'
            f'<text x="{self._left - 6}" y="{self._y(at) + 4:g}" text-anchor="end">{at:g}</text>'
            for at in _ticks(self._y_max, 4)
        ]
        middle = self._y(self._y_max / 2)
        drawn.append(
            f'<text transform="translate(11 {middle:g}) rotate(-90)" text-anchor="middle">'
            f"{escape(self._y_title)}</text>"
        )
        return drawn

    def _lane_names(self) -> list[str]:
        drawn = []
        for place, name in enumerate(self._lanes):
            y = self._y(self._y_max - place) + self._band() / 2 + 4
            drawn.append(
                f'<text x="{self._left - 8}" y="{y:g}" text-anchor="end">{escape(name)}</text>'
            )
        return drawn

    def _path(self, points: Points) -> str:
        kept = _thinned(points)
        pieces = [f"M{self._x(kept[0][0]):g} {self._y(kept[0][1]):g}"]
        pieces += [f"H{self._x(x):g}V{self._y(y):g}" for x, y in kept[1:]]
        return "".join(pieces)

    def _band(self) -> float:
        return (self._height - _TOP - _BOTTOM) / self._y_max

    def _x(self, value: float) -> float:
        inside = _WIDTH - self._left - _RIGHT
        return round(self._left + inside * min(1.0, max(0.0, value / self._x_max)), 1)

    def _y(self, value: float) -> float:
        inside = self._height - _TOP - _BOTTOM
        return round(_TOP + inside * (1 - min(1.0, max(0.0, value / self._y_max))), 1)


def legend(entries: Sequence[tuple[str, str, str]]) -> str:
    """What each line and area is: `(shape, kind, name)`, the shape `line`, `area` or `span`."""
    shown = "".join(
        f"<span>{sample(shape, kind)}{escape(name)}</span>" for shape, kind, name in entries
    )
    return f'<div class="dx-legend">{shown}</div>'


def sample(shape: str, kind: str) -> str:
    """A piece of a line or area, as it is drawn."""
    drawn = (
        f'<path class="dx-line dx-{kind}" d="M0 6H26"/>'
        if shape == "line"
        else f'<rect class="dx-{shape} dx-{kind}" width="26" height="12"/>'
    )
    return f'<svg class="dx-sample" viewBox="0 0 26 12" aria-hidden="true">{drawn}</svg>'


def means(points: Points, end: float, spans: int) -> list[tuple[float, float]]:
    """A line of steps as its means over equal spans, from 0 to `end`."""
    if not points or end <= 0:
        return []
    width, found, place = end / spans, [], 0
    for span in range(spans):
        start, stop, summed = span * width, (span + 1) * width, 0.0
        while place + 1 < len(points) and points[place + 1][0] <= start:
            place += 1
        at = place
        while at < len(points) and points[at][0] < stop:
            until = points[at + 1][0] if at + 1 < len(points) else stop
            summed += points[at][1] * max(0.0, min(until, stop) - max(points[at][0], start))
            at += 1
        found.append((start, summed / width))
    return [*found, (end, found[-1][1])]


def _thinned(points: Points) -> Points:
    if len(points) <= _MOST_POINTS:
        return points
    every = math.ceil(len(points) / _MOST_POINTS)
    return [*points[::every], points[-1]]


def _ticks(most: float, about: int) -> list[float]:
    """Round numbers from 0 to `most`, about so many of them."""
    rough = most / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    return [round(n * step, 10) for n in range(math.floor(most / step + 1e-9) + 1)]
