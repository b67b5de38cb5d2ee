"""The report of the lanes: one HTML file, verdict first, no network. From a summary to a string.

What a part looks like is `bench.suite.report_parts`.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

from ddsched_nb.bench.lanes.result import LaneResult, LanesSummary
from ddsched_nb.bench.suite.report_parts import (
    STYLE,
    TEXTURES,
    Bar,
    Part,
    bars,
    legend,
    seconds,
    table,
)

__all__ = ["lanes_report"]

# Nothing is loaded from anywhere, and nothing runs.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_TITLE: Final = "Live lanes"
_HEAD: Final = (
    "lane",
    "wall",
    "over bound",
    "rows",
    "dropped",
    "lost",
    "requests",
    "refused",
    "failed",
    "tokens",
    "limit reached",
    "most in flight",
    "p50",
    "p95",
)
_WORDS: Final = (
    (
        "Over bound",
        "Wall time over what no schedule of the same calls can beat, each as long as it took. "
        "Known only where the capacity is: of the embedded endpoint, or given with --capacity.",
    ),
    ("Lost", "Rows that were not finished, whatever the reason: dropped, or never begun."),
    ("Refused", "Requests answered with 429. They wait and go out again; they drop no row."),
    (
        "Limit reached",
        "The limit of each model at the end, beside the most that was in flight in it.",
    ),
    ("p50, p95", "Latencies of answered requests, from sent to answered, nearest rank."),
)


def lanes_report(summary: LanesSummary) -> str:
    """The whole page."""
    parts = (_walls(summary.lanes), _lanes(summary), _limits(summary.lanes), _methods())
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_TITLE}</title><style>{STYLE}</style></head><body>{TEXTURES}"
        f"<header>{_verdict(summary)}</header><main>{''.join(parts)}</main>"
        f"<footer>{_origin(summary)}</footer></body></html>\n"
    )


def _verdict(summary: LanesSummary) -> str:
    lost, count = summary.lost, len(summary.lanes)
    word, sign, kind = (
        ("Rows lost", "\u2715", "fail") if lost else ("No row lost", "\u2713", "pass")
    )
    rows = sum(lane.rows for lane in summary.lanes)
    models = ", ".join(summary.models)
    return (
        f"<h1>{_TITLE}</h1>"
        f'<p class="verdict {kind}"><span aria-hidden="true">{sign}</span> {word}: '
        f"{rows - lost:,} of {rows:,} rows of {count} lanes were finished.</p>"
        f'<p class="quiet">Endpoint: <code>{escape(summary.endpoint)}</code>; models: '
        f"<code>{escape(models)}</code>. In real time, over HTTP.</p>{_why(summary.lanes)}"
    )


def _why(lanes: Iterable[LaneResult]) -> str:
    said = [
        f"<li><b>{escape(lane.lane)}</b>: {escape(lane.state)}, {lane.lost:,} rows lost"
        f"{escape(f': {lane.why}' if lane.why else '')}</li>"
        for lane in lanes
        if lane.lost or lane.why
    ]
    return f"<ul>{''.join(said)}</ul>" if said else ""


def _walls(lanes: tuple[LaneResult, ...]) -> str:
    longest = max((lane.wall_s for lane in lanes), default=0.0) or 1.0
    shown = []
    for lane in lanes:
        bound = lane.bound_s or 0.0
        parts = (
            Part("use", "the bound", bound / longest),
            Part("starved", "above it", max(0.0, lane.wall_s - bound) / longest),
        )
        said = "bound unknown" if lane.over_bound is None else f"{lane.over_bound:.2f} x the bound"
        shown.append(Bar(lane.lane, parts, f"{seconds(lane.wall_s)}, {said}"))
    keys = legend(
        (("use", "the bound: no schedule is faster"), ("starved", "above it, or bound unknown"))
    )
    return "<h2>Wall time</h2>" + bars("Each lane, from start to end", shown) + keys


def _lanes(summary: LanesSummary) -> str:
    lines = [
        (
            lane.lane,
            seconds(lane.wall_s),
            "unknown" if lane.over_bound is None else f"{lane.over_bound:.3f}",
            f"{lane.rows:,}",
            f"{lane.dropped:,}",
            f"{lane.lost:,}",
            f"{lane.requests:,}",
            f"{lane.refused:,}",
            f"{lane.failed:,}",
            f"{lane.tokens:,}",
            ", ".join(f"{limit:,}" for limit, _ in lane.limits.values()),
            ", ".join(f"{most:,}" for _, most in lane.limits.values()),
            seconds(lane.p50_s),
            seconds(lane.p95_s),
        )
        for lane in summary.lanes
    ]
    about = "".join(
        f"<dt>{escape(lane.lane)}</dt><dd>{escape(lane.about)}"
        f"{f'; record: <code>{escape(lane.record)}</code>' if lane.record else ''}</dd>"
        for lane in summary.lanes
    )
    return f"<h2>Lanes</h2>{table('Each lane', _HEAD, lines)}<dl>{about}</dl>"


def _limits(lanes: Iterable[LaneResult]) -> str:
    lines = [
        (f"{lane.lane}: {pool}", f"{limit:,}", f"{most:,}")
        for lane in lanes
        for pool, (limit, most) in lane.limits.items()
    ]
    return "<h2>Limits</h2>" + table(
        "Each pool of each lane", ("lane and pool", "limit at the end", "most in flight"), lines
    )


def _methods() -> str:
    words = "".join(f"<dt>{escape(w)}</dt><dd>{escape(t)}</dd>" for w, t in _WORDS)
    return f"<h2>Definitions</h2><dl>{words}</dl>"


def _origin(summary: LanesSummary) -> str:
    said = summary.provenance
    versions = ", ".join(f"{name} {version}" for name, version in said.versions.items())
    return (
        f'<p class="quiet"><code>{escape(said.command)}</code> at commit {escape(said.commit)}; '
        f"{escape(said.machine)}, {said.processors} processors; {escape(versions)}.</p>"
    )
