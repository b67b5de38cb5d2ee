"""The chart of rows: when each one's tasks were queued, worked on, and out at a model.

Decides which rows are drawn where they are many, and how a task is drawn; the instants of tasks are
joined in `analysis.timelines`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import altair as alt

from ddsched_nb.analysis.timelines import TaskTimeline, joined
from ddsched_nb.errors import ConfigError
from ddsched_nb.views.look import (
    OKABE_ITO,
    bar_legend,
    colours,
    finish,
    inline,
    seconds_tip,
    time_axis,
)
from ddsched_nb.views.source import Source, events_of, said, span

__all__ = ["row_gantt"]

# Lanes drawn where nobody chose rows: a lane is a column of a row.
_LANES: Final = 96
_MOST_ROWS: Final = 24
_LANE_PX: Final = 5
_LEAST_ROW_PX: Final = 14
_CROSS: Final = "M-1,-1L1,1M-1,1L1,-1"


def row_gantt(record_or_events: Source, rows: Iterable[int] | None = None) -> alt.LayerChart:
    """Rows over time, from the first task to the last: a lane for each column of a row.

    In a lane a thin line is the time a task was queued, a pale bar the time from its last start to
    its end, and a full bar the time from sending its first call to its last answer. A cross ends a
    task that did not succeed. A task of a whole row group is drawn in each row it serves. Where
    there are many rows some are drawn, spread evenly over their first starts, the first and the
    last of them included; the subtitle says how many.

    Args:
        record_or_events: A run record, or events in order.
        rows: Numbers of the rows to draw; a choice of them if None.

    Raises:
        ConfigError: There are no tasks in the record, or one of the rows has none.
    """
    events = events_of(record_or_events)
    start, end = span(events)
    by_row, whole = _sorted_out(joined(events))
    if not by_row and not whole:
        raise ConfigError(
            "the record holds no task that was started; draw a run that keeps its record "
            "(RunConfig(record=True))"
        )
    columns = list(dict.fromkeys(t.column for t in _all(by_row, whole)))
    shown = _chosen(by_row, rows, len(columns))
    lanes = {
        f"row {row}": [*by_row[row], *whole.get(by_row[row][0].row_group, ())] for row in shown
    } or {f"group {group}": tasks for group, tasks in list(whole.items())[:_MOST_ROWS]}
    bars = [
        bar
        for name, tasks in lanes.items()
        for task in tasks
        for bar in _bars(name, task, start, end)
    ]
    some = None if rows is not None or len(shown) == len(by_row) else f"{len(shown)} of"
    words = said(
        record_or_events,
        f"{some} {len(by_row):,} rows" if some else None,
        "thin: queued \N{MIDDLE DOT} pale: started \N{MIDDLE DOT} full: at its model",
    )
    row_px = max(_LEAST_ROW_PX, _LANE_PX * len(columns) + 3)
    return finish(
        _layers(bars, list(lanes), columns),
        "Rows, from first task to last",
        words,
        row_px * len(lanes),
    )


def _layers(bars: list[dict[str, Any]], lanes: list[str], columns: list[str]) -> list[alt.Chart]:
    base = alt.Chart(inline(bars)).encode(
        y=alt.Y("lane:N", title=None, sort=lanes),
        yOffset=alt.YOffset("column:N", sort=columns),
        color=alt.Color(
            "column:N", title=None, scale=colours(columns), legend=bar_legend(4, solid=True)
        ),
        tooltip=[
            alt.Tooltip("lane:N", title="row"),
            "column:N",
            "phase:N",
            seconds_tip("at", "from"),
            seconds_tip("until"),
        ],
    )

    def phase(name: str) -> alt.Chart:
        chosen = base.transform_filter(f"datum.phase == '{name}'")
        chart: alt.Chart = chosen.encode(x=time_axis(), x2="until:Q")
        return chart

    stroke = alt.Stroke("column:N", scale=colours(columns), legend=None)
    layers = [
        phase("queued").mark_rule(strokeWidth=1),
        # A stroke, so that what took next to no time is seen as well.
        phase("started").encode(stroke=stroke).mark_bar(opacity=0.55, strokeWidth=1),
        phase("at its model").encode(stroke=stroke).mark_bar(strokeWidth=1),
    ]
    if any(bar["phase"] == "failed" for bar in bars):
        marks = base.transform_filter("datum.phase == 'failed'").mark_point(
            shape=_CROSS, size=30, strokeWidth=2, opacity=1, color=OKABE_ITO[1]
        )
        layers.append(marks.encode(x=time_axis(), color=alt.value(OKABE_ITO[1])))
    return layers


def _bars(lane: str, task: TaskTimeline, start: float, end: float) -> Iterator[dict[str, Any]]:
    done = end if task.task_completed is None else task.task_completed
    begun = task.worker_spawned if task.worker_spawned is not None else done
    asked = begun if task.request_wait_started is None else min(begun, task.request_wait_started)
    calls = task.request_started
    spans = [
        ("queued", task.ready_enqueued, asked),
        ("started", asked, done),
        ("at its model", calls, end if task.request_completed is None else task.request_completed),
    ]
    for phase, since, until in spans:
        if since is not None and until > since:
            at, stop = round(since - start, 6), round(until - start, 6)
            yield {"lane": lane, "column": task.column, "phase": phase, "at": at, "until": stop}
    if task.outcome not in (None, "done"):
        at = round(done - start, 6)
        yield {"lane": lane, "column": task.column, "phase": "failed", "at": at, "until": at}


def _sorted_out(
    tasks: Iterable[TaskTimeline],
) -> tuple[dict[int, list[TaskTimeline]], dict[int, list[TaskTimeline]]]:
    """Tasks of single rows by row, and those of whole row groups by group; started ones only."""
    by_row: dict[int, list[TaskTimeline]] = {}
    whole: dict[int, list[TaskTimeline]] = {}
    for task in tasks:
        if task.worker_spawned is None:
            continue
        if task.row is None:
            whole.setdefault(task.row_group, []).append(task)
        else:
            by_row.setdefault(task.row, []).append(task)
    return by_row, whole


def _all(*found: Mapping[int, Sequence[TaskTimeline]]) -> Iterator[TaskTimeline]:
    """Every task, in the order in which columns first had one."""
    tasks = [task for group in found for tasks in group.values() for task in tasks]
    return iter(sorted(tasks, key=lambda task: task.ready_enqueued or 0.0))


def _chosen(
    by_row: Mapping[int, Sequence[TaskTimeline]], rows: Iterable[int] | None, columns: int
) -> list[int]:
    if rows is not None:
        wanted = list(rows)
        for row in wanted:
            if row not in by_row:
                raise ConfigError(f"rows holds {row!r}, of which the record has no task")
        return wanted
    order = sorted(by_row, key=lambda row: (min(t.worker_spawned or 0.0 for t in by_row[row]), row))
    most = max(2, min(_MOST_ROWS, _LANES // max(1, columns)))
    if len(order) <= most:
        return order
    return [order[round(i * (len(order) - 1) / (most - 1))] for i in range(most)]
