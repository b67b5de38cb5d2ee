"""A graph whose edges point one way, as text and as an inline SVG, layered from left to right.

Decides where boxes and lines go. Pure functions of names; standard library only. It must not know
what a node is, or where the picture is shown: it has one ink that reads on white and on black, and
nothing is told by colour.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Final, NamedTuple

__all__ = ["Node", "svg_graph", "text_graph"]

_INK: Final = "#7f7f7f"
_FONT: Final = 12
_SIGN_PX: Final = 7.4
_BOX_PX: Final = 36
_GAP_PX: Final = 14
_BETWEEN_PX: Final = 56
_EDGE_PX: Final = 6
_PAD_PX: Final = 12
_SIGNS: Final = 28
_SWEEPS: Final = 4


class Node(NamedTuple):
    """One box of the picture.

    Attributes:
        name: What it is called; names differ.
        needs: Names of the nodes that it needs.
        note: A second line in the box, such as the model that is asked.
        given: Whether it is there from the start; its box is dashed.
    """

    name: str
    needs: tuple[str, ...] = ()
    note: str = ""
    given: bool = False


class _Box(NamedTuple):
    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        return self.y + self.height / 2


def text_graph(nodes: Sequence[Node]) -> str:
    """One line a node, in the order given: its name, its note, and what it needs.

    Args:
        nodes: The nodes, none before one that it needs.
    """
    lines = []
    for node in nodes:
        note = f" ({_one_line(node.note)})" if node.note else ""
        needs = f" <- {', '.join(map(_one_line, node.needs))}" if node.needs else ""
        lines.append(f"{_one_line(node.name)}{note}{needs}")
    return "\n".join(lines)


def svg_graph(nodes: Sequence[Node], *, title: str) -> str:
    """The picture as an `<svg>` to put into HTML. Every name is escaped, and long ones are cut.

    A node stands to the right of all it needs; a line that passes layers has a place of its own in
    each of them, so that it crosses no box. The same nodes give the same picture.

    Args:
        nodes: The nodes, none before one that it needs.
        title: What the picture shows; screen readers say it, and then who needs whom.
    """
    boxes, routes = _laid_out(nodes)
    width = max((box.x + box.width for box in boxes.values()), default=0.0) + _PAD_PX
    height = max((box.y + box.height for box in boxes.values()), default=0.0) + _PAD_PX
    said = f"{title}: {'; '.join(text_graph(nodes).splitlines()) or 'nothing'}"
    lines = "".join(_line([boxes[key] for key in route]) for route in routes)
    drawn = "".join(_box(node, boxes[node.name, -1]) for node in nodes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(said)}" '
        f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'font-family="Arial, Liberation Sans, Helvetica, sans-serif" font-size="{_FONT}">'
        f'<g fill="none" stroke="{_INK}" stroke-width="1.2">{lines}</g>{drawn}</svg>'
    )


# A place in a layer: a node (-1), or where a line to it passes the layer of this number.
_Key = tuple[str, int]


def _laid_out(nodes: Sequence[Node]) -> tuple[dict[_Key, _Box], list[list[_Key]]]:
    """A box for each place, and the places that each line goes through."""
    layer = _layers(nodes)
    layers: list[list[_Key]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for node in nodes:
        layers[layer[node.name]].append((node.name, -1))
    routes: list[list[_Key]] = []
    for node in nodes:
        for need in node.needs:
            # Lines from one node share their way as long as they can.
            passed = [(need, number) for number in range(layer[need] + 1, layer[node.name])]
            for key in passed:
                if key not in layers[key[1]]:
                    layers[key[1]].append(key)
            routes.append([(need, -1), *passed, (node.name, -1)])
    _untangle(layers, routes)
    widths = {node.name: _width(node) for node in nodes}
    return _placed(layers, widths), routes


def _layers(nodes: Sequence[Node]) -> dict[str, int]:
    layer: dict[str, int] = {}
    for node in nodes:
        layer[node.name] = max((layer[need] + 1 for need in node.needs), default=0)
    return layer


def _untangle(layers: list[list[_Key]], routes: Sequence[Sequence[_Key]]) -> None:
    """Orders each layer by the mean place of its neighbours, forth and back: few lines cross."""
    before: dict[_Key, list[_Key]] = {}
    after: dict[_Key, list[_Key]] = {}
    for route in routes:
        for left, right in pairwise(route):
            before.setdefault(right, []).append(left)
            after.setdefault(left, []).append(right)
    for sweep in range(_SWEEPS):
        forth = sweep % 2 == 0
        for layer in layers[1:] if forth else layers[-2::-1]:
            places = {key: i / len(row) for row in layers for i, key in enumerate(row)}
            neighbours = before if forth else after
            layer.sort(key=lambda key: _mean(places, key, neighbours.get(key, ())))


def _mean(places: Mapping[_Key, float], key: _Key, neighbours: Sequence[_Key]) -> float:
    if not neighbours:
        return places[key]
    return sum(places[other] for other in neighbours) / len(neighbours)


def _placed(layers: Sequence[Sequence[_Key]], widths: Mapping[str, float]) -> dict[_Key, _Box]:
    heights = [sum(map(_height, row)) + _GAP_PX * (len(row) - 1) for row in layers]
    tallest, x = max(heights, default=0.0), float(_PAD_PX)
    boxes: dict[_Key, _Box] = {}
    for row, height in zip(layers, heights, strict=True):
        y = _PAD_PX + (tallest - height) / 2
        widest = max((widths[name] for name, number in row if number < 0), default=0.0)
        for key in row:
            boxes[key] = _Box(x, y, widths[key[0]] if key[1] < 0 else widest, _height(key))
            y += _height(key) + _GAP_PX
        x += widest + _BETWEEN_PX
    return boxes


def _height(key: _Key) -> float:
    return _BOX_PX if key[1] < 0 else _EDGE_PX


def _width(node: Node) -> float:
    signs = max(_columns(_cut(node.name)), 0.9 * _columns(_cut(node.note)))
    return max(48.0, signs * _SIGN_PX + 2 * _PAD_PX)


def _line(places: Sequence[_Box]) -> str:
    """A curve from the right of the first place, through those between, to the left of the last."""
    first, *passed, last = places
    points = [(first.x + first.width, first.middle)]
    for box in passed:
        points += [(box.x, box.middle), (box.x + box.width, box.middle)]
    points.append((last.x - 5, last.middle))
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for number, ((x, y), (to_x, to_y)) in enumerate(pairwise(points)):
        if number % 2:
            path += f"L{to_x:.1f} {to_y:.1f}"
        else:
            bend = (x + to_x) / 2
            path += f"C{bend:.1f} {y:.1f} {bend:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}"
    x, y = last.x, last.middle
    tip = f'<path d="M{x - 7:.1f} {y - 4:.1f}L{x:.1f} {y:.1f}L{x - 7:.1f} {y + 4:.1f}z" '
    return f'<path d="{path}"/>{tip}fill="{_INK}" stroke="none"/>'


def _box(node: Node, box: _Box) -> str:
    dashes = ' stroke-dasharray="4 3"' if node.given else ""
    center = box.x + box.width / 2
    middle = box.middle + _FONT * 0.35
    name_y = middle - (7 if node.note else 0)
    note = (
        f'<text x="{center:.1f}" y="{middle + 8:.1f}" text-anchor="middle" fill="currentColor" '
        f'font-size="{_FONT - 2}" opacity="0.75">{escape(_cut(node.note))}</text>'
        if node.note
        else ""
    )
    whole = escape(_one_line(f"{node.name} ({node.note})" if node.note else node.name))
    return (
        f"<g><title>{whole}</title>"
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.0f}" '
        f'rx="5" fill="{_INK}" fill-opacity="0.12" stroke="{_INK}"{dashes}/>'
        f'<text x="{center:.1f}" y="{name_y:.1f}" text-anchor="middle" fill="currentColor">'
        f"{escape(_cut(node.name))}</text>{note}</g>"
    )


def _cut(text: str) -> str:
    line = _one_line(text)
    return line if len(line) <= _SIGNS else line[: _SIGNS - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in line)


def _columns(text: str) -> int:
    """Wide signs count twice."""
    return sum(1 + (unicodedata.east_asian_width(sign) in "WF") for sign in text)
