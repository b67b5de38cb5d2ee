"""The report's articles, one a case: how long it took, why slots were idle, how it went over time.

Strings of HTML, everything escaped here or by the parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any, Final

from ddsched_nb.bench.suite.report_idle import idle_bars, idle_legend
from ddsched_nb.bench.suite.report_parts import (
    Bar,
    Part,
    bars,
    details,
    legend,
    percent,
    seconds,
    table,
)
from ddsched_nb.bench.suite.report_timeline import timeline
from ddsched_nb.bench.suite.summary import Check, Row, Summary

__all__ = ["Theirs", "articles", "reasons"]

Theirs = Mapping[str, Any]
"""What the reference published of a case."""

_KINDS: Final = (
    ("use", "in use"),
    ("starved", "idle, although tasks were queued (starved)"),
    ("frontier", "idle, as nothing was ready (frontier)"),
)


def reasons(failed: Iterable[Check]) -> str:
    """Why checks failed, as a list."""
    return f"<ul>{''.join(map(_reason, failed))}</ul>"


def _reason(check: Check) -> str:
    return (
        f'<li><b class="fail">{escape(check.severity)}</b>: {escape(check.reason)} '
        f'<code class="quiet">{escape(check.id)}</code></li>'
    )


def articles(summary: Summary, known: Mapping[str, Theirs]) -> Iterator[str]:
    """Case by case.

    Args:
        summary: What is told of.
        known: What the reference published, by the keys of cases.
    """
    yield (
        '<h2 id="cases">Case by case</h2><p class="quiet">Textures of slots in use and idle, '
        f"and of causes:</p>{legend(_KINDS)}{idle_legend()}"
    )
    for number, row in enumerate(summary.cases):
        failed = [c for c in summary.failed if c.case == row.key]
        yield (
            f'<article id="case-{number}"><h3>{escape(row.key)}</h3>'
            f'<p class="quiet">{escape(_about(row))}</p>'
            f"{reasons(failed) if failed else ''}"
            f"{_time_bars(row)}{_slot_bars(row, known.get(row.key, {}))}{idle_bars(row)}"
            f"{timeline(row)}{_resources(row)}</article>"
        )


def _about(row: Row) -> str:
    most = f"{row.row_group_concurrency}"
    if row.row_group_admission_mode == "adaptive":
        most = f"up to {most}" if row.row_group_concurrency else "as many as the work asks for"
    holds = "hold" if row.holds_slots else "leave"
    said = [
        f"{row.record_count:,} rows, {row.buffer_size} a row group, {most} "
        f"open (highest target "
        f"{row.row_group_admission_observed_max_target}), task slots: "
        f"{row.task_admission_capacity}, {row.generation_count:,} cells",
        f"{row.iterations} run{'s' if row.iterations > 1 else ''}",
        f"bound by {row.binding}",
        row.dominant_idle_class,
    ]
    if row.first_model_dispatch_column is not None:
        said.append(f"tasks {holds} their slots while they wait")
        said.append(f"first to go out: {row.first_model_dispatch_column}")
    if row.control:
        said.append("a control: it keeps a behaviour for comparison")
    return "; ".join(said) + "."


def _time_bars(row: Row) -> str:
    longest = max(row.mean_wall_time_seconds, row.bound_seconds, row.oracle_seconds)
    shown = [
        Bar(label, (Part("use", label, value / longest),), said)
        for label, value, said in (
            (
                "wall time",
                row.mean_wall_time_seconds,
                f"{seconds(row.mean_wall_time_seconds)}, {row.wall_over_bound:.3f} x the bound",
            ),
            ("lower bound", row.bound_seconds, seconds(row.bound_seconds)),
            ("oracle", row.oracle_seconds, f"{seconds(row.oracle_seconds)}, every row group open"),
        )
    ]
    return bars("How long it took, and how long it must take", shown)


def _slot_bars(row: Row, theirs: Theirs) -> str:
    ours = (
        row.llm_wait_utilization_ratio,
        row.llm_wait_starved_idle_ratio,
        row.llm_wait_frontier_dependency_horizon_idle_ratio,
    )
    shown = [_slots("here", ours)]
    if theirs:
        names = ("llm_utilization", "starved_idle", "frontier_idle")
        shown.append(_slots("reference", tuple(float(theirs[name]) for name in names)))
    if row.request_utilization_ratio:
        permits = (
            row.request_utilization_ratio,
            row.request_starved_idle_ratio,
            row.request_frontier_dependency_horizon_idle_ratio,
        )
        shown.append(_slots("permits, here", permits))
    return bars("Slots of tasks that wait for models, as shares of their time", shown)


def _slots(label: str, shares: tuple[float, ...]) -> Bar:
    words = ("in use", "starved", "frontier")
    parts = tuple(Part(k, n, s) for (k, n), s in zip(_KINDS, shares, strict=True))
    said = ", ".join(f"{percent(s)} {w}" for w, s in zip(words, shares, strict=True))
    return Bar(label, parts, said)


def _resources(row: Row) -> str:
    lines = [
        (
            found.name,
            f"{found.max_in_flight} of {found.capacity}",
            _of(found.busy_seconds, found.capacity_seconds),
            _of(found.starved_idle_seconds, found.capacity_seconds),
            _of(found.frontier_idle_seconds, found.capacity_seconds),
            seconds(found.queue_age_p95_seconds),
            seconds(found.queue_age_max_seconds),
        )
        for found in row.resources
    ]
    head = ("resource", "most held", "in use", "starved", "frontier", "wait p95", "longest")
    shown = table(f"Resources of {row.key}", head, lines)
    return details("Each resource", shown)


def _of(part: float, whole: float) -> str:
    return percent(part / whole) if whole else "-"
