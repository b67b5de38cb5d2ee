"""The chart of the scheduler's slots: who works, who only waits, and what is free.

Reads the states of tasks from events, and draws them stacked to the number of slots.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import altair as alt

from ddsched_nb.core import events as ev
from ddsched_nb.core.model import SUBMISSION
from ddsched_nb.views.look import bar_legend, finish, whole_axis
from ddsched_nb.views.source import Source, events_of, said

__all__ = ["task_slots"]

_WORKING: Final = "working"
_WAITING: Final = "held while waiting"
_FREE: Final = "free"
_KINDS: Final = (_WORKING, _WAITING, _FREE)
_SHADES: Final = ("#0072B2", "#E69F00", "#8A8A8A55")
_POINTS: Final = 400


class _Level(NamedTuple):
    """From `at` on so many slots are in each state."""

    at: float
    working: float
    waiting: float
    free: float


def task_slots(record_or_events: Source) -> alt.LayerChart:
    """The task slots of a run over time: working, held by tasks that wait for a permit, free.

    A task that stepped aside holds none. Long records are drawn as means of short spans.

    Args:
        record_or_events: A run record, or events in order.
    """
    levels = _levels(events_of(record_or_events))
    rows = [
        {"at": round(level.at, 6), "slots": round(slots, 4), "state": kind, "order": place}
        for level in _thinned(levels)
        for place, (kind, slots) in enumerate(zip(_KINDS, level[1:], strict=True))
    ]
    shades = alt.Scale(domain=list(_KINDS), range=list(_SHADES))
    slots = sum(levels[0][1:])
    all_slots = alt.Scale(domain=[0, slots], nice=False)
    chart: alt.Chart = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_area(interpolate="step-after")
        .encode(
            x=alt.X("at:Q", title="seconds from the start", scale=alt.Scale(nice=False)),
            y=alt.Y(
                "slots:Q", title="task slots", stack="zero", axis=whole_axis(slots), scale=all_slots
            ),
            color=alt.Color("state:N", title=None, scale=shades, legend=bar_legend()),
            order=alt.Order("order:Q"),
            tooltip=["state:N", alt.Tooltip("at:Q", title="seconds", format=",.3f"), "slots:Q"],
        )
    )
    return finish([chart], "Task slots over time", said(record_or_events))


def _levels(events: Sequence[ev.Event]) -> list[_Level]:
    started = [e for e in events if isinstance(e, ev.SchedulerJobStarted)]
    capacity = started[0].capacities.get(SUBMISSION, 0) if started else 0
    book, first = _Book(), events[0].at if events else 0.0
    found = [_Level(0.0, 0, 0, 0)]
    for event in events:
        held, waiting = book.see(event)
        level = _Level(event.at - first, held - waiting, waiting, -held)
        if level[1:] == found[-1][1:]:
            continue
        if level.at <= found[-1].at:
            found[-1] = level
        else:
            found.append(level)
    # A cut record does not say how many there are: then as many as were ever held.
    slots = max(capacity, *(-level.free for level in found))
    end = events[-1].at - first if events else 0.0
    if end > found[-1].at:
        found.append(found[-1]._replace(at=end))
    return [level._replace(free=slots + level.free) for level in found]


class _Book:
    """Which tasks hold slots, and which of them have all their calls waiting."""

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._asking: Counter[str] = Counter()
        self._flying: Counter[str] = Counter()
        self._waiters: dict[tuple[object, int], str] = {}
        self._waiting: set[str] = set()

    def see(self, event: ev.Event) -> tuple[int, int]:
        """Takes an event; how many hold slots, and how many of them wait."""
        task = self._take(event)
        if task is not None:
            waits = task in self._held and self._asking[task] and not self._flying[task]
            (self._waiting.add if waits else self._waiting.discard)(task)
        return len(self._held), len(self._waiting)

    def _take(self, event: ev.Event) -> str | None:
        if isinstance(event, ev.TaskLeaseAcquired | ev.TaskSlotsRetaken):
            self._held.add(event.task_id)
        elif isinstance(event, ev.TaskLeaseReleased | ev.TaskSlotsYielded):
            self._held.discard(event.task_id)
        elif isinstance(event, ev.RequestWaitStarted):
            if event.task_id is not None:
                self._waiters[event.pool, event.waiter_id] = event.task_id
                self._asking[event.task_id] += 1
            return event.task_id
        elif isinstance(event, _WAIT_ENDS):
            task = self._waiters.pop((event.pool, event.waiter_id), None)
            if task is not None:
                self._asking[task] -= 1
            return task
        elif isinstance(event, ev.ModelRequestStarted | ev.ModelRequestCompleted):
            sign = 1 if isinstance(event, ev.ModelRequestStarted) else -1
            self._flying[event.task_id or ""] += sign
        else:
            return None
        return event.task_id


_WAIT_ENDS = (ev.RequestLeaseAcquired, ev.RequestWaitTimeout, ev.RequestWaitCancelled)


def _thinned(levels: list[_Level]) -> list[_Level]:
    """The levels; where they are many, their means over equal spans."""
    if len(levels) <= _POINTS:
        return levels
    end, place = levels[-1].at, 0
    found = []
    for span in range(_POINTS):
        start, stop = end * span / _POINTS, end * (span + 1) / _POINTS
        while place + 1 < len(levels) and levels[place + 1].at <= start:
            place += 1
        sums, at = [0.0, 0.0, 0.0], place
        while at < len(levels) and levels[at].at < stop:
            until = levels[at + 1].at if at + 1 < len(levels) else stop
            share = max(0.0, min(until, stop) - max(levels[at].at, start)) / (stop - start)
            sums = [s + share * v for s, v in zip(sums, levels[at][1:], strict=True)]
            at += 1
        found.append(_Level(start, *sums))
    return [*found, found[-1]._replace(at=end)]
