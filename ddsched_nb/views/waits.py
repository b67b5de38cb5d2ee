"""The chart of where the time of tasks went, column by column.

Decides into which phases a task's time is told apart; its instants are joined in
`analysis.timelines`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import altair as alt

from ddsched_nb.analysis.timelines import TaskTimeline, joined
from ddsched_nb.errors import ConfigError
from ddsched_nb.views.look import bar_legend, colours, finish, inline
from ddsched_nb.views.source import Source, events_of, said

__all__ = ["waits"]

_PHASES: Final = ("queued", "waits for a permit", "in its calls", "own work")
_COLUMNS: Final = 12
_SHARES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)


def waits(record_or_events: Source) -> alt.LayerChart:
    """Where the time of tasks went: for each column the spread of each phase over its tasks.

    The phases are: `queued`, from ready to its first start; `waits for a permit`, from asking for
    its first permit to having it; `in its calls`, from sending the first call to the last answer,
    refusals and waits in between included; `own work`, what is left from start to end, which is all
    of a column that calls no model. A line goes from the 5th to the 95th percentile, a bar from the
    25th to the 75th, and the mark in it is the median, by nearest rank. Phases in which no task of
    a column spent time are left out, and so are tasks that did not end.

    Args:
        record_or_events: A run record, or events in order.

    Raises:
        ConfigError: No task of the record was started and ended.
    """
    spent = _spent(joined(events_of(record_or_events)))
    if not spent:
        raise ConfigError(
            "the record holds no task from its start to its end, so no time was spent; draw a run "
            "that keeps its record (RunConfig(record=True))"
        )
    shown = list(spent)[:_COLUMNS]
    rows = [row for column in shown for row in _rows(column, spent[column])]
    lanes = [row["lane"] for row in rows]
    kinds = [phase for phase in _PHASES if any(row["phase"] == phase for row in rows)]
    some = f"the first {_COLUMNS} of {len(spent)} columns"
    words = said(
        record_or_events,
        "line: 5th to 95th percentile \N{MIDDLE DOT} bar: 25th to 75th \N{MIDDLE DOT} mark: median",
        some if len(spent) > len(shown) else None,
    )
    return finish(_layers(rows, lanes, kinds), "Where the time of tasks went", words, _tall(lanes))


def _layers(rows: list[dict[str, Any]], lanes: list[str], kinds: list[str]) -> list[alt.Chart]:
    colour = alt.Color("phase:N", title=None, scale=colours(kinds), legend=bar_legend(solid=True))
    base = alt.Chart(inline(rows)).encode(
        y=alt.Y("lane:N", title=None, sort=lanes, axis=alt.Axis(labelLimit=320)),
        color=colour,
        tooltip=[
            alt.Tooltip("lane:N", title="column and phase"),
            alt.Tooltip("tasks:Q", format=","),
            *(alt.Tooltip(f"{p}:Q", title=f"{p} s", format=",.3f") for p in _names()),
        ],
    )
    x = alt.X("p5:Q", title="seconds", scale=alt.Scale(zero=True))
    return [
        base.mark_rule(strokeWidth=1.5).encode(x=x, x2="p95:Q"),
        base.mark_bar(height={"band": 0.6}, opacity=0.55).encode(x=alt.X("p25:Q"), x2="p75:Q"),
        base.mark_tick(thickness=3, size=15, opacity=1).encode(x=alt.X("p50:Q")),
    ]


def _spent(tasks: Iterable[TaskTimeline]) -> dict[str, dict[str, list[float]]]:
    """Seconds of each task in each phase, by column, in the order of their first tasks."""
    found: dict[str, dict[str, list[float]]] = {}
    for task in tasks:
        if task.worker_spawned is None or task.task_completed is None:
            continue
        phases = found.setdefault(task.column, {phase: [] for phase in _PHASES})
        for phase, seconds in zip(_PHASES, _phases(task), strict=True):
            if seconds is not None:
                phases[phase].append(seconds)
    return found


def _phases(task: TaskTimeline) -> Iterator[float | None]:
    first = task.executions == 1
    yield task.queue_s if first else _before(task)
    yield task.permit_wait_s
    yield task.service_s
    began, ended = task.worker_spawned or 0.0, task.task_completed or 0.0
    # What was put aside began again: then only the last start is known, and calls before it are
    # no part of what came after.
    calls = (task.permit_wait_s or 0.0) + (task.service_s or 0.0)
    yield max(0.0, ended - began - calls) if first else None


def _before(task: TaskTimeline) -> float | None:
    """How long a task that was started several times queued before it first asked for a permit."""
    asked = task.request_wait_started
    return None if asked is None or task.ready_enqueued is None else asked - task.ready_enqueued


def _rows(column: str, spent: dict[str, list[float]]) -> Iterator[dict[str, Any]]:
    for phase, seconds in spent.items():
        ordered = sorted(seconds)
        if not ordered or ordered[-1] < 1e-6:
            continue
        last = len(ordered) - 1
        ranks = {
            name: round(ordered[round(last * share)], 6)
            for name, share in zip(_names(), _SHARES, strict=True)
        }
        yield {"lane": f"{column}: {phase}", "phase": phase, "tasks": len(ordered), **ranks}


def _names() -> list[str]:
    return [f"p{round(share * 100)}" for share in _SHARES]


def _tall(lanes: list[str]) -> int:
    return 16 + 24 * max(1, len(lanes))
