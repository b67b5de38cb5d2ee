"""Parts of the report: bars, tables, the style sheet. Strings of HTML, everything escaped here.

Bars are SVG that stretches; what they say is written beside them and in their text alternatives,
and each part has its own texture, so that nothing is told by colour alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import zip_longest
from typing import Final, NamedTuple

__all__ = [
    "STYLE",
    "TEXTURES",
    "Bar",
    "Part",
    "bars",
    "details",
    "legend",
    "percent",
    "seconds",
    "table",
]


class Part(NamedTuple):
    """A part of a bar: its class in the style sheet, its name, and its share of the full width."""

    kind: str
    name: str
    share: float


class Bar(NamedTuple):
    """A bar: what stands before it, its parts, and what stands behind it."""

    label: str
    parts: tuple[Part, ...]
    said: str


def bars(title: str, shown: Sequence[Bar]) -> str:
    """A figure of bars under each other."""
    lines = "".join(
        f'<div class="bar"><span class="label">{escape(bar.label)}</span>{_svg(bar)}'
        f'<span class="said">{escape(bar.said)}</span></div>'
        for bar in shown
    )
    return f"<figure><figcaption>{escape(title)}</figcaption>{lines}</figure>"


def _svg(bar: Bar) -> str:
    at = 0.0
    rects = []
    for part in bar.parts:
        width = 1000 * min(1.0, max(0.0, part.share))
        if width >= 0.5:
            rects.append(
                f'<rect class="{part.kind}" x="{at:.1f}" y="0" width="{width:.1f}" height="20"/>'
            )
        at += width
    spoken = escape(f"{bar.label}: {bar.said}", quote=True)
    return (
        f'<svg viewBox="0 0 1000 20" preserveAspectRatio="none" role="img" aria-label="{spoken}">'
        f'<rect class="ground" x="0" y="0" width="1000" height="20"/>{"".join(rects)}</svg>'
    )


def legend(parts: Iterable[tuple[str, str]]) -> str:
    """What the textures mean; pairs of class and name."""
    keys = "".join(
        f'<li><svg viewBox="0 0 20 20" aria-hidden="true">'
        f'<rect class="{kind}" x="0" y="0" width="20" height="20"/></svg>{escape(name)}</li>'
        for kind, name in parts
    )
    return f'<ul class="legend">{keys}</ul>'


def table(
    caption: str,
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    places: Iterable[str] = (),
    *,
    prose: bool = False,
) -> str:
    """A table that scrolls sideways by itself.

    Args:
        caption: What it shows.
        head: Names of the columns.
        rows: The cells, as text; the first of a row names it.
        places: Ids of what the first cells lead to, if they lead anywhere.
        prose: Whether the last cells are sentences.
    """
    last = len(head) - 1 if prose else -1
    heads = "".join(_head(cell, prose=number == last) for number, cell in enumerate(head))
    lines = []
    for (first, *rest), place in zip_longest(rows, places):
        named = escape(first) if place is None else f'<a href="#{place}">{escape(first)}</a>'
        words = len(rest) - 1 if prose else -1
        cells = "".join(_cell(cell, prose=number == words) for number, cell in enumerate(rest))
        lines.append(f'<tr><th scope="row">{named}</th>{cells}</tr>')
    name = escape(caption, quote=True)
    return (
        f'<p class="quiet caption">{escape(caption)}</p>'
        f'<div class="wide" tabindex="0" role="region" aria-label="{name}">'
        f'<table aria-label="{name}"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def details(summary: str, content: str) -> str:
    """What opens when it is asked for; `content` is HTML."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def _head(text: str, *, prose: bool) -> str:
    words = ' class="words"' if prose else ""
    return f'<th scope="col"{words}>{escape(text)}</th>'


def _cell(text: str, *, prose: bool) -> str:
    return f'<td class="words">{escape(text)}</td>' if prose else f"<td>{escape(text)}</td>"


def percent(share: float) -> str:
    """A share in words; the figure keeps its sign beside it where a line ends."""
    return f"{100 * share:.1f}\u00a0%"


def seconds(value: float) -> str:
    """A duration in words; the figure keeps its unit beside it where a line ends."""
    if not value:
        return "0"
    if value < 1e-3:
        return f"{1e6 * value:.0f}\u00a0us"
    return f"{1e3 * value:.1f}\u00a0ms" if value < 1 else f"{value:.3f}\u00a0s"


def _texture(name: str, size: int, mark: str, turned: int = 0) -> str:
    turn = f' patternTransform="rotate({turned})"' if turned else ""
    return (
        f'<pattern id="{name}" width="{size}" height="{size}" patternUnits="userSpaceOnUse"{turn}>'
        f'<rect class="{name}-ground" width="{size}" height="{size}"/>{mark}</pattern>'
    )


def _marks() -> str:
    dot = '<circle class="{0}-mark" cx="3" cy="3" r="1.4"/>'
    line = '<rect class="{0}-mark" width="{1}" height="8"/>'
    cross = (
        '<rect class="{0}-mark" width="2" height="8"/><rect class="{0}-mark" width="8" height="2"/>'
    )
    squares = (
        '<rect class="{0}-mark" width="4" height="4"/>'
        '<rect class="{0}-mark" x="4" y="4" width="4" height="4"/>'
    )
    return "".join(
        (
            _texture("starved", 8, line.format("starved", 3), 45),
            _texture("frontier", 6, dot.format("frontier")),
            _texture("horizon", 8, line.format("horizon", 3)),
            _texture("full", 8, cross.format("full")),
            _texture("closed", 8, line.format("closed", 3), 90),
            _texture("fair", 8, squares.format("fair")),
            _texture("none", 6, dot.format("none")),
        )
    )


TEXTURES: Final = (
    f'<svg class="defs" aria-hidden="true" width="0" height="0"><defs>{_marks()}</defs></svg>'
)

# Okabe and Ito (2008), lighter ones of them in the dark.
_STYLE: Final = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1c1c1c; --quiet: #5a5a5a;
  --line: #d0d0d0; --ground: #eeeeee; --use: #0072b2; --starved: #d55e00; --starved-2: #f6c9a8;
  --frontier: #8a8a8a; --frontier-2: #e2e2e2; --good: #00664b; --bad: #a83200; --link: #005a8c;
  --horizon: #00805c; --horizon-2: #c4ebdd; --full: #a8447c; --full-2: #f3d5e5;
  --closed: #b37700; --closed-2: #f7e3b5; --fair: #3d7fae; --fair-2: #d3e8f6; --late: #a83200; }
@media (prefers-color-scheme: dark) { :root { --paper: #15171a; --ink: #ececec; --quiet: #b0b0b0;
  --line: #3d4147; --ground: #2a2d32; --use: #56b4e9; --starved: #e69f00; --starved-2: #6a4a00;
  --frontier: #9a9a9a; --frontier-2: #3c3f44; --good: #4fd6ac; --bad: #ff9d6b; --link: #8ccbf0;
  --horizon: #2bb98c; --horizon-2: #0e4434; --full: #d98ab8; --full-2: #552640;
  --closed: #e6b84d; --closed-2: #574008; --fair: #8cc4ea; --fair-2: #24445a; --late: #ff7a4d; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.5;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
main, header, footer { max-width: 82rem; margin: 0 auto; padding: 0 1rem; }
p, ul, dl, figure { max-width: 62rem; }
header { padding-top: 1.5rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1.02rem; margin: 1.8rem 0 .3rem; overflow-wrap: anywhere; }
p, li, dd { overflow-wrap: anywhere; }
a { color: var(--link); }
.verdict { font-size: 1.15rem; font-weight: 600; margin: .2rem 0; }
.pass { color: var(--good); } .fail { color: var(--bad); }
.quiet, figcaption { color: var(--quiet); font-size: .9rem; }
.caption { margin: .5rem 0 .2rem; }
.wide { overflow-x: auto; margin: 0 0 1rem; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; vertical-align: bottom; }
th { white-space: normal; }
th:first-child { text-align: left; padding-left: 0; position: sticky; left: 0; min-width: 14rem;
  background: var(--paper); overflow-wrap: anywhere; font-weight: 500; }
figure { margin: .6rem 0 .8rem; }
.bar { display: grid; grid-template-columns: 8.5rem 1fr; gap: 0 .6rem; align-items: center;
  margin: .25rem 0; font-size: .88rem; }
.bar .said { grid-column: 2; color: var(--quiet); }
.bar svg { width: 100%; height: 1rem; display: block; }
rect.ground { fill: var(--ground); } .use { fill: var(--use); } .late { fill: var(--late); }
@TEXTURES@
path.aim { fill: none; stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 4 3;
  vector-effect: non-scaling-stroke; }
.strip svg { height: 1.9rem; overflow: visible; }
.axis span:last-child { grid-column: 2; display: flex; justify-content: space-between; }
.axis i { font-style: normal; color: var(--quiet); }
summary { cursor: pointer; font-size: .9rem; padding: .15rem 0; }
td.words, th.words { text-align: left; } td.words { white-space: normal; min-width: 14rem; }
.ways { list-style: none; padding: 0; margin: .6rem 0 0; display: flex; flex-wrap: wrap;
  gap: .2rem 1.1rem; }
.ways a { display: inline-block; padding: .2rem 0; }
.legend { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem;
  font-size: .88rem; }
.legend svg { width: 1rem; height: 1rem; vertical-align: -.15rem; margin-right: .4rem; }
.defs { position: absolute; }
dt { font-weight: 600; margin-top: .5rem; } dd { margin: 0; }
code { font-size: .92em; overflow-wrap: anywhere; }
footer { margin-top: 2.5rem; padding-bottom: 2rem; border-top: 1px solid var(--line); }
@media (max-width: 34rem) { th, td { padding: .25rem .45rem; }
  th:first-child { min-width: 8rem; max-width: 9rem; } td.words { white-space: nowrap; }
  .bar { grid-template-columns: minmax(0, 1fr); }
  .bar .said, .axis span:last-child { grid-column: 1; } .axis span:first-child { display: none; } }
@media print { .wide { overflow: visible; } article { break-inside: avoid; } }
"""

# Each texture with the names of its colours; the two that mean that nothing was ready share theirs.
_COLOURS: Final = {
    "starved": "starved",
    "frontier": "frontier",
    "horizon": "horizon",
    "full": "full",
    "closed": "closed",
    "fair": "fair",
    "none": "frontier",
}

STYLE: Final = _STYLE.replace(
    "@TEXTURES@",
    "\n".join(
        f"rect.{name} {{ fill: url(#{name}); }} .{name}-ground {{ fill: var(--{colour}-2); }}\n"
        f".{name}-mark {{ fill: var(--{colour}); }}"
        for name, colour in _COLOURS.items()
    ),
)
