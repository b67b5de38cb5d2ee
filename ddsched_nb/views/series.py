"""Reads from events what charts draw: a pool's limit, its requests in flight, its refusals.

Pure functions. Long records are thinned to a number of points; this module decides what survives.
It must not know a chart library. Times are seconds from the first event of the record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

from ddsched_nb.core.events import (
    Event,
    ModelRequestCompleted,
    RequestEvent,
    RequestLeaseAcquired,
    RequestLeaseReleased,
    RequestLimitDecreased,
    RequestLimitIncreased,
    RequestRateLimited,
    RequestResourceRegistered,
    RowGroupAdmissionTargetChanged,
    RowGroupAdmitted,
    RowGroupCheckpointed,
    SchedulerJobStarted,
    WorkerSpawned,
)
from ddsched_nb.core.model import OutcomeKind, PoolKey


class Step(NamedTuple):
    """From `at` on the value is `value`."""

    at: float
    value: float


class Refusals(NamedTuple):
    """So many requests were refused, the first at `at`, under the limit of that instant."""

    at: float
    limit: int
    refused: int


class PoolSeries(NamedTuple):
    """What happened to one pool; each series is in the order of time."""

    pool: PoolKey
    limit: list[Step]
    in_flight: list[Step]
    refusals: list[Refusals]


class TokenShare(NamedTuple):
    """The tokens that a column's calls of one model used, and the calls that were answered."""

    column: str
    pool: PoolKey
    calls: int
    tokens: int


class RowSeries(NamedTuple):
    """Rows finished and dropped so far, at each row group that ended."""

    finished: list[Step]
    dropped: list[Step]


def token_shares(events: Sequence[Event]) -> list[TokenShare]:
    """One entry a column and pool, in the order of columns.

    Calls that no task made (healthchecks), or whose task began before a truncated record does, have
    no column and are left out.
    """
    columns: dict[str, str] = {}
    order: dict[str, int] = {}
    calls: Counter[tuple[str, PoolKey]] = Counter()
    tokens: Counter[tuple[str, PoolKey]] = Counter()
    for event in events:
        if isinstance(event, SchedulerJobStarted):
            order = {name: place for place, name in enumerate(event.columns)}
        elif isinstance(event, WorkerSpawned):
            columns[event.task_id] = event.column
        elif isinstance(event, ModelRequestCompleted) and event.outcome is OutcomeKind.SUCCESS:
            column = columns.get(event.task_id or "")
            if column is not None:
                calls[column, event.pool] += 1
                tokens[column, event.pool] += event.tokens
    # Which column is answered first differs from run to run.
    found = sorted(calls, key=lambda key: (order.get(key[0], len(order)), key))
    return [TokenShare(*key, calls[key], tokens[key]) for key in found]


def pool_series(events: Sequence[Event]) -> list[PoolSeries]:
    """One entry a pool, in the order in which pools appeared, every change in it."""
    if not events:
        return []
    start = events[0].at
    found: dict[PoolKey, PoolSeries] = {}
    for event in events:
        if isinstance(event, RequestEvent):
            series = found.setdefault(event.pool, PoolSeries(event.pool, [], [], []))
            _note(series, event, _seconds(event.at, start))
    end = _seconds(events[-1].at, start)
    for series in found.values():
        _extend(series.limit, end)
        _extend(series.in_flight, end)
    return list(found.values())


def row_series(events: Sequence[Event]) -> RowSeries:
    """How the table filled, row group by row group."""
    if not events:
        return RowSeries([], [])
    start = events[0].at
    finished, dropped = [Step(0.0, 0)], [Step(0.0, 0)]
    for event in events:
        if isinstance(event, RowGroupCheckpointed):
            at = _seconds(event.at, start)
            _change(finished, at, finished[-1].value + event.rows_kept)
            _change(dropped, at, dropped[-1].value + event.rows_dropped)
    end = _seconds(events[-1].at, start)
    _extend(finished, end)
    _extend(dropped, end)
    return RowSeries(finished, dropped)


def group_series(events: Sequence[Event]) -> tuple[list[Step], list[Step]]:
    """Row groups that were open, and how many might have been where that moved."""
    if not events:
        return [], []
    start, end, count = events[0].at, _seconds(events[-1].at, events[0].at), 0
    opened, target = [Step(0.0, 0)], list[Step]()
    for event in events:
        at = _seconds(event.at, start)
        match event:
            case RowGroupAdmitted():
                count += 1
                _change(opened, at, count)
            case RowGroupCheckpointed():
                count = max(0, count - 1)
                _change(opened, at, count)
            case RowGroupAdmissionTargetChanged(before=before, after=after):
                if not target:
                    _change(target, 0.0, before)
                _change(target, at, after)
    _extend(opened, end)
    _extend(target, end)
    return opened, target


def keep_extremes(steps: list[Step], most: int) -> list[Step]:
    """Thins a line without changing how it looks: per interval the first, lowest, highest, last.

    Args:
        steps: Changes in the order of time.
        most: Points to keep, about; fewer steps are returned as they are.
    """
    if len(steps) <= most:
        return steps
    kept: list[Step] = []
    for _, found in groupby(steps, _interval(steps, most // 4)):
        group = list(found)
        low, high = min(group, key=_value), max(group, key=_value)
        kept += sorted({group[0], low, high, group[-1]})
    return kept


def average(steps: list[Step], most: int) -> list[Step]:
    """Thins a line without changing the area under it: per interval the mean over time.

    Args:
        steps: Changes in the order of time.
        most: Intervals to keep; fewer steps are returned as they are.
    """
    if len(steps) <= most:
        return steps
    start, end = steps[0].at, steps[-1].at
    width = (end - start) / most
    if width <= 0:
        return steps[-1:]
    areas = [0.0] * most
    for step, following in pairwise(steps):
        _spread(areas, step.at - start, following.at - start, step.value, width)
    means = [Step(round(start + i * width, 6), round(a / width, 3)) for i, a in enumerate(areas)]
    return [*means, steps[-1]]


def gather(refusals: list[Refusals], most: int) -> list[Refusals]:
    """Joins refusals that are close to each other, so that at most about `most` are left."""
    if len(refusals) <= most:
        return refusals
    joined = []
    for _, found in groupby(refusals, _interval(refusals, most)):
        group = list(found)
        joined.append(group[0]._replace(refused=sum(refusal.refused for refusal in group)))
    return joined


def _note(series: PoolSeries, event: RequestEvent, at: float) -> None:
    match event:
        case RequestResourceRegistered(limit=limit):
            _change(series.limit, at, limit)
            _change(series.in_flight, at, 0)
        case RequestLimitIncreased(after=limit) | RequestLimitDecreased(after=limit):
            _change(series.limit, at, limit)
        case RequestLeaseAcquired(in_flight=in_flight, limit=limit):
            # A limit that ramps up moves with time alone; grants are where it is seen.
            _change(series.limit, at, limit)
            _change(series.in_flight, at, in_flight)
        case RequestLeaseReleased(in_flight=in_flight):
            _change(series.in_flight, at, in_flight)
        case RequestRateLimited(limit=limit):
            series.refusals.append(Refusals(at, limit, 1))


def _change(steps: list[Step], at: float, value: float) -> None:
    if steps and steps[-1].value == value:
        return
    if steps and steps[-1].at == at:
        steps.pop()
    if not steps or steps[-1].value != value:
        steps.append(Step(at, value))


def _extend(steps: list[Step], end: float) -> None:
    if steps and steps[-1].at < end:
        steps.append(Step(end, steps[-1].value))


def _seconds(at: float, start: float) -> float:
    return round(at - start, 6)


def _value(step: Step) -> float:
    return step.value


def _interval(
    points: Sequence[Step] | Sequence[Refusals], intervals: int
) -> Callable[[Step | Refusals], int]:
    """Numbers the interval of a point, where the time of `points` is cut into equal intervals."""
    start, last = points[0].at, max(1, intervals) - 1
    width = (points[-1].at - start) / (last + 1) or 1.0
    return lambda point: min(last, int((point.at - start) / width))


def _spread(areas: list[float], begin: float, end: float, value: float, width: float) -> None:
    """Adds `value` times the time it lasted to each interval that it touched."""
    for index in range(int(begin / width), min(len(areas) - 1, int(end / width)) + 1):
        left, right = max(begin, index * width), min(end, (index + 1) * width)
        areas[index] += value * max(0.0, right - left)
