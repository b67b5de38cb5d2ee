"""How a case went over time: means over equal spans, small enough to be kept with its figures.

A function of a record and of why its slots were idle. It must not know how anything is drawn.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from ddsched_nb.analysis.idle import IdleReport, ResourceIdle
from ddsched_nb.analysis.waits import Waits
from ddsched_nb.bench.suite.summary import Counted, Series, Timeline
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import LLM_WAIT, SUBMISSION
from ddsched_nb.record import RunRecord
from ddsched_nb.views.series import Step, group_series

__all__ = ["SPANS", "over_time", "queue_waits"]

SPANS: Final = 60
"""Points of each series."""

_Change = tuple[float, float]


def over_time(record: RunRecord, idle: IdleReport) -> Timeline:
    """Slots leased, permits in flight, refusals and row groups, each as `SPANS` figures."""
    (started,) = record.select(ev.SchedulerJobStarted)
    ended = record.select(ev.SchedulerJobCompleted)[-1]
    begins, seconds = started.at, ended.at - started.at
    found = [_leased(idle, begins, seconds)]
    found += [_in_flight(pool, begins, seconds) for pool in idle.requests.values()]
    found += _refused(record, begins, seconds)
    # The charts count from the first event, which may be that of a pool.
    offset = begins - record.events[0].at
    opened, target = group_series(record.events)
    most = float(max(step.value for step in (*opened, *target)))
    lines: tuple[tuple[Counted, list[Step]], ...] = (("row_groups", opened), ("target", target))
    for what, steps in lines:
        if steps:
            moved = [(step.at - offset, step.value) for step in steps]
            found.append(Series(what, "", most, means(moved, seconds)))
    return Timeline(seconds, tuple(found))


def means(changes: Sequence[_Change], seconds: float, spans: int = SPANS) -> tuple[float, ...]:
    """The mean of a value over each of equal spans.

    Args:
        changes: Instants in order, each with the value from then on.
        seconds: How long all spans take together; the first begins at 0.
        spans: How many.
    """
    areas, width = [0.0] * spans, seconds / spans
    if width <= 0:
        return tuple(areas)
    ends = (*changes, (seconds, 0.0))
    for (at, value), (until, _) in pairwise(ends):
        at, until = max(0.0, at), min(seconds, until)
        for place in range(int(at / width), min(spans, int(until / width) + 1)):
            shared = min(until, (place + 1) * width) - max(at, place * width)
            areas[place] += value * max(0.0, shared)
    return tuple(round(area / width, 3) for area in areas)


def queue_waits(record: RunRecord) -> dict[str, float]:
    """From being queued to being leased, by column: the 95th percentile, in seconds."""
    queued: dict[str, float] = {}
    waited: dict[str, list[float]] = defaultdict(list)
    leased: dict[str, float] = {}
    for event in record.select(ev.ReadyEnqueued, ev.TaskLeaseAcquired, ev.WorkerSpawned):
        if isinstance(event, ev.ReadyEnqueued):
            queued[event.task_id] = event.at
        elif isinstance(event, ev.TaskLeaseAcquired):
            leased[event.task_id] = event.at - queued.get(event.task_id, event.at)
        elif isinstance(event, ev.WorkerSpawned):
            waited[event.column].append(leased.get(event.task_id, 0.0))
    return {column: Waits.of(seconds).p95 for column, seconds in waited.items()}


def _leased(idle: IdleReport, begins: float, seconds: float) -> Series:
    name = LLM_WAIT if LLM_WAIT in idle.scheduler else SUBMISSION
    return _used("leased", idle.scheduler[name], begins, seconds)


def _in_flight(pool: ResourceIdle, begins: float, seconds: float) -> Series:
    return _used("in_flight", pool, begins, seconds)


def _used(what: Counted, resource: ResourceIdle, begins: float, seconds: float) -> Series:
    """What was used is what was not idle."""
    capacity = round(resource.capacity_s / resource.window_s) if resource.window_s else 0
    changes = [
        (at - begins, capacity - sum(claim.slots for claim in split))
        for at, split in resource.steps
    ]
    return Series(what, resource.name, float(capacity), means(changes, seconds))


def _refused(record: RunRecord, begins: float, seconds: float) -> Iterable[Series]:
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for event in record.select(ev.RequestRateLimited):
        place = min(SPANS - 1, int(SPANS * (event.at - begins) / seconds)) if seconds else 0
        counts[event.pool.label][place] += 1
    for label, found in counts.items():
        values = tuple(float(found[place]) for place in range(SPANS))
        yield Series("refused", label, max(values), values)
