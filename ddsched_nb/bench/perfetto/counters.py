"""Reads counters from events: what is held, queued and open, at every change of it.

Of several changes at one instant the last counts; a value that was there before is left out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ddsched_nb.bench.perfetto.spans import ROW_GROUPS, SLOTS, Place, pool_place, split_task_id
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import SHARED

__all__ = ["Level", "read_counters"]


class Level(NamedTuple):
    """What some counters of one name changed to at an instant."""

    at: int
    place: Place
    name: str
    values: dict[str, int]


_Series = dict[tuple[Place, str, str], list[tuple[int, int]]]


def read_counters(events: Iterable[tuple[int, ev.Event]]) -> list[Level]:
    """Reads the counters of a record, in the order of time."""
    series = _Recorder()
    slots, groups, pools = _Slots(series), _Groups(series), _Pools(series)
    for at, event in events:
        series.now = at
        if isinstance(event, ev.RequestEvent):
            pools.see(event)
        else:
            groups.see(event)
            slots.see(event)
    return series.levels()


class _Recorder:
    """Takes values; gives levels."""

    def __init__(self) -> None:
        self.now = 0
        self._series: _Series = defaultdict(list)

    def put(self, place: Place, name: str, key: str, value: int, *, at: int | None = None) -> None:
        points, now = self._series[place, name, key], self.now if at is None else at
        if points and points[-1][0] == now:
            points.pop()
        if not points or points[-1][1] != value:
            points.append((now, value))

    def levels(self) -> list[Level]:
        found: dict[tuple[int, Place, str], dict[str, int]] = defaultdict(dict)
        for (place, name, key), points in self._series.items():
            for at, value in points:
                found[at, place, name][key] = value
        levels = [Level(*where, values) for where, values in found.items()]
        levels.sort(key=lambda level: level.at)
        return levels


class _Groups:
    """How many row groups are open, and how many may be."""

    def __init__(self, series: _Recorder) -> None:
        self._series = series
        self._open: set[int] = set()
        self._target_known = False

    def see(self, event: ev.Event) -> None:
        if isinstance(event, ev.RowGroupAdmitted):
            self._open.add(event.row_group)
        elif isinstance(event, ev.RowGroupCheckpointed):
            self._open.discard(event.row_group)
        elif isinstance(event, ev.RowGroupAdmissionTargetChanged):
            if not self._target_known:
                self._series.put(ROW_GROUPS, _GROUPS, "target", event.before, at=0)
            self._target_known = True
            self._series.put(ROW_GROUPS, _GROUPS, "target", event.after)
            return
        else:
            return
        self._series.put(ROW_GROUPS, _GROUPS, "open", len(self._open))


class _Slots:
    """How much of each of the scheduler's resources is leased, and how much is queued for.

    Nothing is known of them in a record that lacks the start of the job.
    """

    def __init__(self, series: _Recorder) -> None:
        self._series = series
        self._needs: dict[str, Mapping[str, int]] = {}
        self._leased: Counter[str] = Counter()
        self._queued: Counter[str] = Counter()
        self._waiting: dict[int, dict[str, tuple[int | None, Mapping[str, int]]]] = {}
        self._held: dict[str, Mapping[str, int]] = {}
        self._aside: set[str] = set()

    def see(self, event: ev.Event) -> None:
        if isinstance(event, ev.SchedulerJobStarted):
            self._needs = {shape.flow: shape.resources for shape in event.flows.values()}
            for name in event.capacities:
                self._add(self._leased, "leased", {name: 0}, 1)
                self._add(self._queued, "queued", {name: 0}, 1)
        elif isinstance(event, ev.ReadyEnqueued):
            _, group, row = split_task_id(event.task_id)
            units = self._needs.get(event.flow.label, {})
            self._waiting.setdefault(group, {})[event.task_id] = row, units
            self._add(self._queued, "queued", units, 1)
        elif isinstance(event, ev.TaskEvent):
            self._see_task(event)
        elif isinstance(event, ev.RowGroupCheckpointed):
            for task_id in list(self._waiting.get(event.row_group, ())):
                self._leaves_queue(event.row_group, task_id)

    def _see_task(self, event: ev.TaskEvent) -> None:
        task_id = event.task_id
        if isinstance(event, ev.TaskLeaseAcquired):
            self._held[task_id] = self._leaves_queue(split_task_id(task_id)[1], task_id)
            self._add(self._leased, "leased", self._held[task_id], 1)
        elif isinstance(event, ev.TaskLeaseReleased):
            units = self._held.pop(task_id, {})
            if task_id in self._aside:
                self._aside.discard(task_id)
                units = {name: n for name, n in units.items() if name not in SHARED}
            self._add(self._leased, "leased", units, -1)
        elif isinstance(event, ev.TaskSlotsYielded | ev.TaskSlotsRetaken):
            yields = isinstance(event, ev.TaskSlotsYielded)
            (self._aside.add if yields else self._aside.discard)(task_id)
            units = {n: u for n, u in self._held.get(task_id, {}).items() if n in SHARED}
            self._add(self._leased, "leased", units, -1 if yields else 1)
        elif isinstance(event, ev.NonRetryableDropped):
            self._lost(split_task_id(task_id)[1], event.row)

    def _lost(self, group: int, row: int | None) -> None:
        """What a dropped row, or a whole group, had in the queue leaves it without an event."""
        for task_id, (its_row, _) in list(self._waiting.get(group, {}).items()):
            if row is None or its_row == row:
                self._leaves_queue(group, task_id)

    def _leaves_queue(self, group: int, task_id: str) -> Mapping[str, int]:
        _, units = self._waiting.get(group, {}).pop(task_id, (None, {}))
        self._add(self._queued, "queued", units, -1)
        return units

    def _add(self, book: Counter[str], key: str, units: Mapping[str, int], sign: int) -> None:
        for name, n in units.items():
            book[name] += sign * n
            self._series.put(SLOTS, name, key, book[name])


class _Pools:
    """What each pool has in flight, its limit, and who waits for it."""

    def __init__(self, series: _Recorder) -> None:
        self._series = series
        self._waiting: dict[Place, set[int]] = defaultdict(set)

    def see(self, event: ev.RequestEvent) -> None:
        place = pool_place(event)
        if isinstance(event, ev.RequestResourceRegistered):
            self._put(place, "limit", event.limit)
            self._put(place, "in flight", 0)
            self._put(place, "waiters", 0)
        elif isinstance(event, ev.LimitMoved):
            self._put(place, "limit", event.after)
        elif isinstance(event, ev.RequestLeaseAcquired):
            self._put(place, "limit", event.limit)
            self._put(place, "in flight", event.in_flight)
        elif isinstance(event, ev.RequestLeaseReleased):
            self._put(place, "in flight", event.in_flight)
        waiting = self._waiting[place]
        if isinstance(event, ev.RequestWaitStarted):
            waiting.add(event.waiter_id)
        elif isinstance(event, _WAIT_ENDS):
            waiting.discard(event.waiter_id)
        else:
            return
        self._put(place, "waiters", len(waiting))

    def _put(self, place: Place, key: str, value: int) -> None:
        self._series.put(place, "requests", key, value)


_GROUPS = "row groups"
_WAIT_ENDS = (ev.RequestLeaseAcquired, ev.RequestWaitTimeout, ev.RequestWaitCancelled)
