"""What only the end of a record tells: how much work was still to come, and how it all ended.

Idle slots are explained by what came later: whether more work was to come, whether a silent
endpoint was heard of again, from when on nothing was begun any more.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ddsched_nb.core import events as ev
from ddsched_nb.core.model import OutcomeKind

__all__ = ["Hindsight", "in_time", "look_back", "overruns"]


@dataclass(slots=True)
class Hindsight:
    """What was to come, seen from the end.

    Attributes:
        started: The job, if there was one.
        finished: Whether it was worked through to the end.
        admitted: Row groups that were opened.
        most_open: The most that were open at once.
        adaptive: Whether it was told why no further one is opened; where it is not, their number is
            fixed.
        last_begun_at: When something was last opened, queued or started.
        ends: When the scheduler's stream ended, and that of requests.
        begins: When they began.
        queued: How often a task of each flow was queued.
        calls: How many calls waited for each pool.
        used: The pools that calls waited for, or had permits of.
        silent: From when to when each pool was known to serve nothing.
    """

    started: ev.SchedulerJobStarted | None = None
    finished: bool = False
    admitted: int = 0
    most_open: int = 0
    adaptive: bool = False
    last_begun_at: float = -math.inf
    begins: list[float] = field(default_factory=lambda: [math.inf, math.inf])
    ends: list[float] = field(default_factory=lambda: [-math.inf, -math.inf])
    queued: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    used: set[str] = field(default_factory=set)
    silent: dict[str, list[tuple[float, float]]] = field(default_factory=dict)


def in_time(events: Sequence[ev.Event]) -> list[tuple[float, ev.Event]]:
    """The events with the instants from which on they hold, in the order of those.

    In either stream no event holds before one that was told earlier; within an instant the order of
    the record is kept.
    """
    last = [-math.inf, -math.inf]
    found = []
    for event in events:
        stream = isinstance(event, ev.RequestEvent)
        at = last[stream] = max(last[stream], event.at)
        found.append((at, event))
    found.sort(key=_instant)
    return found


def look_back(events: Sequence[tuple[float, ev.Event]]) -> Hindsight:
    """Reads what only the end tells.

    Args:
        events: As `in_time` gives them.
    """
    found = Hindsight()
    suspects: dict[str, float] = {}
    begins, ends = found.begins, found.ends
    for at, event in events:
        stream = isinstance(event, ev.RequestEvent)
        ends[stream] = at
        if stream and at < begins[True]:
            begins[True] = at
        note = _NOTES.get(type(event))
        if note is not None:
            note(found, suspects, at, event)
    for label, since in suspects.items():
        found.silent.setdefault(label, []).append((since, math.inf))
    return found


def _queued(found: Hindsight, _: dict[str, float], at: float, event: ev.ReadyEnqueued) -> None:
    found.queued[event.flow.label] += 1
    found.last_begun_at = at


def _leased(found: Hindsight, _: dict[str, float], at: float, event: ev.TaskLeaseAcquired) -> None:
    found.last_begun_at = at


def _opened(found: Hindsight, _: dict[str, float], at: float, event: ev.RowGroupAdmitted) -> None:
    found.admitted += 1
    found.most_open = max(found.most_open, event.open_groups)
    found.last_begun_at = at


def _blocked(
    found: Hindsight, _: dict[str, float], at: float, event: ev.RowGroupAdmissionBlocked
) -> None:
    found.adaptive = True


def _started(
    found: Hindsight, _: dict[str, float], at: float, event: ev.SchedulerJobStarted
) -> None:
    if found.started is None:
        found.started, found.begins[False] = event, at


def _completed(
    found: Hindsight, _: dict[str, float], at: float, event: ev.SchedulerJobCompleted
) -> None:
    found.finished = event.state == "finished"


def _asked(found: Hindsight, _: dict[str, float], at: float, event: ev.RequestWaitStarted) -> None:
    label = event.pool.label
    found.calls[label] += 1
    found.used.add(label)


def _granted(
    found: Hindsight, _: dict[str, float], at: float, event: ev.RequestLeaseAcquired
) -> None:
    found.used.add(event.pool.label)


def _released(
    found: Hindsight, suspects: dict[str, float], at: float, event: ev.RequestLeaseReleased
) -> None:
    if suspects and event.outcome is OutcomeKind.SUCCESS:
        suspects.pop(event.pool.label, None)


def _recovered(
    found: Hindsight, _: dict[str, float], at: float, event: ev.RequestFullyRecovered
) -> None:
    found.silent.setdefault(event.pool.label, []).append((event.since, at))


def _cooled(
    found: Hindsight, suspects: dict[str, float], at: float, event: ev.RequestCooldownStarted
) -> None:
    if event.reason not in _QUOTAS:
        # If no success follows, it served nothing from here on.
        suspects.setdefault(event.pool.label, at)


def overruns(
    events: Sequence[tuple[float, ev.Event]], allowed: Mapping[str, float]
) -> Iterator[tuple[float, str, int]]:
    """When leases outlived what the service of their columns needs: instant, task, lease.

    Args:
        events: As `in_time` gives them.
        allowed: Seconds that a task of each column may take; others may take any time.
    """
    columns: dict[str, str] = {}
    since: dict[int, float] = {}
    for at, event in events:
        if isinstance(event, ev.WorkerSpawned):
            columns[event.task_id] = event.column
        elif isinstance(event, ev.TaskLeaseAcquired):
            since[event.lease_id] = at
        elif isinstance(event, ev.TaskLeaseReleased):
            most = allowed.get(columns.get(event.task_id, ""))
            due = since.pop(event.lease_id, at) + (math.inf if most is None else most)
            if due < at:
                yield due, event.task_id, event.lease_id


_QUOTAS = frozenset({"requests", "tokens"})

_NOTES: dict[type, Callable[[Hindsight, dict[str, float], float, Any], None]] = {
    ev.ReadyEnqueued: _queued,
    ev.TaskLeaseAcquired: _leased,
    ev.RowGroupAdmitted: _opened,
    ev.RowGroupAdmissionBlocked: _blocked,
    ev.SchedulerJobStarted: _started,
    ev.SchedulerJobCompleted: _completed,
    ev.RequestWaitStarted: _asked,
    ev.RequestLeaseAcquired: _granted,
    ev.RequestLeaseReleased: _released,
    ev.RequestFullyRecovered: _recovered,
    ev.RequestCooldownStarted: _cooled,
}


def _instant(pair: tuple[float, ev.Event]) -> float:
    return pair[0]
