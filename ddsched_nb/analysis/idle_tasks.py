"""The books of the scheduler's side: what is held, queued, put aside, and who waits for what.

Books slots and queues from events alone, so that nothing of it comes from what it judges.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ddsched_nb.analysis.causes import DENIED, HORIZON, IdleCause
from ddsched_nb.analysis.hindsight import Hindsight
from ddsched_nb.analysis.task_ids import lost_with
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import SHARED, DenyReason
from ddsched_nb.core.row_groups import BlockReason

__all__ = ["Claim", "TaskBook", "take"]


class Claim(NamedTuple):
    """So many idle slots have this cause; `lacks` is the resource that is full elsewhere."""

    cause: IdleCause
    slots: int
    lacks: str = ""


def take(claims: list[Claim], cause: IdleCause, wanted: float, idle: int, lacks: str = "") -> int:
    """Gives a cause as many of the idle slots as it claims; returns how many are left."""
    slots = idle if wanted >= idle else int(wanted)
    if slots <= 0:
        return idle
    claims.append(Claim(cause, slots, lacks))
    return idle - slots


class TaskBook:
    """Follows the scheduler's stream.

    Args:
        seen: What the end of the record tells.
    """

    def __init__(self, seen: Hindsight) -> None:
        self.paused = False
        self.capacities: dict[str, int] = {}
        self.flow_of: dict[str, str] = {}  # of each task that is queued, held or put aside
        self.leased: dict[str, int] = {}
        self.deferred: Counter[str] = Counter()  # tasks, by flow
        # What each flow's queued tasks wait for, as of the last `claims`.
        self.waiting: dict[str, list[Claim]] = {}
        self._seen = seen
        self._opened = self._stored = 0
        self._blocked: str | None = None
        self._needs: dict[str, Mapping[str, int]] = {}
        self._columns: tuple[str, ...] = ()
        self._queued: set[str] = set()
        self._backlog: Counter[str] = Counter()
        self._denied: dict[str, DenyReason] = {}
        self._put_aside: set[str] = set()
        self._aside: set[str] = set()
        self._overrun: set[str] = set()
        # Units of each resource: held, held for too long, given back, put aside, to come.
        self._held: Counter[str] = Counter()
        self._late: Counter[str] = Counter()
        self._yielded: Counter[str] = Counter()
        self._later: Counter[str] = Counter()
        self._to_come: Counter[str] = Counter()
        if seen.started is not None:
            self._know(seen.started, seen.queued)

    def see(self, event: Any) -> bool:
        """Takes the next event of the scheduler's stream; whether it may change a cause."""
        book = _BOOKS.get(type(event))
        if book is None:
            return False
        book(self, event)
        return True

    def claims(self, now: float) -> dict[str, list[Claim]]:
        """The causes of the idle slots of every resource."""
        held, late = self._held, self._late
        found: dict[str, list[Claim]] = {resource: [] for resource in self.capacities}
        free: dict[str, int] = {}
        for resource, capacity in self.capacities.items():
            claims = found[resource]
            idle = max(0, capacity - held[resource])
            if self.paused:
                idle = take(claims, IdleCause.PAUSED, idle, idle)
            elif late:
                idle = take(claims, IdleCause.SCHEDULER_OVERHEAD, late[resource], idle)
            free[resource] = idle
        self._claim_queued(free, found, now)
        for resource, idle in free.items():
            if not idle:
                continue
            claims, later = found[resource], self._later[resource]
            idle = take(claims, IdleCause.SLOTS_YIELDED, self._yielded[resource], idle)
            idle = take(claims, IdleCause.DEFERRED, later, idle)
            self.claim_absent(claims, idle, self._to_come[resource] - later, now)
        return found

    def claim_absent(self, claims: list[Claim], idle: int, to_come: float, now: float) -> None:
        """Explains slots for which there is no work at all.

        Args:
            claims: Where to write it.
            idle: How many.
            to_come: How many of them will still be wanted.
            now: The instant.
        """
        if not idle:
            return
        seen = self._seen
        if seen.started is not None and not self._opened:
            idle = take(claims, IdleCause.STARTUP, idle, idle)
        elif self._stopped(now):
            idle = take(claims, IdleCause.STOPPED, idle, idle)
        cause = IdleCause.FRONTIER_EMPTY
        if self._rows_left:
            cause = self._horizon()
            to_come = to_come if seen.finished else math.inf  # nobody knows what would have come
        idle = take(claims, cause, to_come, idle)
        take(claims, IdleCause.DRAINING_TAIL, idle, idle)

    def overran(self, task_id: str, lease_id: int) -> None:
        """A task should have given its lease back by now."""
        if self.leased.get(task_id) == lease_id:
            self._hold(task_id, -1)
            self._overrun.add(task_id)
            self._hold(task_id, 1)

    @property
    def _rows_left(self) -> bool:
        seen = self._seen
        if seen.started is None or self._blocked == BlockReason.NO_PENDING_GROUPS:
            return False
        return self._opened < (seen.admitted if seen.finished else seen.started.row_groups)

    def _horizon(self) -> IdleCause:
        """Why no further row group is open. Where their number is fixed, nobody says so."""
        if not self._seen.adaptive and self._opened - self._stored >= self._seen.most_open:
            return IdleCause.HORIZON_CAP
        return _HORIZON.get(self._blocked or "", IdleCause.SCHEDULER_OVERHEAD)

    def _stopped(self, now: float) -> bool:
        seen = self._seen
        return seen.started is not None and not seen.finished and now >= seen.last_begun_at

    def _resized(self, event: ev.TaskCapacityChanged) -> None:
        """As the metrics have it: the most that there ever was, from then on."""
        for name, capacity in event.capacities.items():
            self.capacities[name] = max(self.capacities[name], capacity)

    def _know(self, started: ev.SchedulerJobStarted, queued: Mapping[str, int]) -> None:
        self.capacities = {r: max(1, n) for r, n in started.capacities.items()}
        self._needs = {shape.flow: shape.resources for shape in started.flows.values()}
        self._columns = tuple(started.flows)
        for flow, count in queued.items():
            for resource, units in self._needs.get(flow, {}).items():
                self._to_come[resource] += count * units

    def _claim_queued(
        self, free: dict[str, int], found: Mapping[str, list[Claim]], now: float
    ) -> None:
        """Queued tasks take what is free, in thought, and say why they do not have it."""
        self.waiting = {}
        if not self._queued:
            return
        start = IdleCause.STOPPED if self._stopped(now) else IdleCause.SCHEDULER_OVERHEAD
        lacking = []
        for _, cause, flow, count in sorted(self._by_cause(start)):
            needs = self._needs.get(flow, {})
            fits = min((free[r] // n for r, n in needs.items() if n), default=0)
            fits = min(fits, count)
            self.waiting[flow] = waits = []
            if fits:
                waits.append(Claim(cause, fits))
                for resource, units in needs.items():
                    free[resource] = take(found[resource], cause, fits * units, free[resource])
            if fits < count:
                full = next((r for r, n in needs.items() if free[r] < n), "")
                waits.append(Claim(IdleCause.OTHER_RESOURCE_FULL, count - fits, full))
                lacking.append((needs, count - fits, full))
        cause = IdleCause.OTHER_RESOURCE_FULL
        for needs, count, full in lacking:
            for resource, units in needs.items():
                claims, left = found[resource], free[resource]
                free[resource] = take(claims, cause, count * units, left, full)

    def _by_cause(self, start: IdleCause) -> list[tuple[int, IdleCause, str, int]]:
        """The flows with queued tasks; those that task admission let pass come first."""
        found = []
        for flow, count in self._backlog.items():
            if count:
                denied = self._denied.get(flow)
                cause = start if denied is None else DENIED[denied]
                found.append((_RANK.get(cause, 0), cause, flow, count))
        return found

    def _hold(self, task_id: str, sign: int) -> None:
        """Books what a task holds; one that stepped aside holds nothing of what all share."""
        books = self._late if task_id in self._overrun else self._held
        aside = task_id in self._aside
        for resource, units in self._needs_of(task_id).items():
            if not (aside and resource in SHARED):
                books[resource] += sign * units

    def _needs_of(self, task_id: str) -> Mapping[str, int]:
        return self._needs.get(self.flow_of.get(task_id, ""), {})

    def _enqueued(self, event: ev.ReadyEnqueued) -> None:
        flow, task_id = event.flow.label, event.task_id
        self.flow_of[task_id] = flow
        for resource, units in self._needs.get(flow, {}).items():
            self._to_come[resource] -= units
        self._resume(task_id)
        if task_id not in self._queued:
            self._queue(task_id)

    def _queue(self, task_id: str) -> None:
        self._queued.add(task_id)
        self._backlog[self.flow_of.get(task_id, "")] += 1

    def _unqueue(self, task_id: str) -> None:
        if task_id in self._queued:
            self._queued.remove(task_id)
            flow = self.flow_of.get(task_id, "")
            self._backlog[flow] -= 1
            self._denied.pop(flow, None)

    def _acquired(self, event: ev.TaskLeaseAcquired) -> None:
        self._unqueue(event.task_id)
        self.leased[event.task_id] = event.lease_id
        self._hold(event.task_id, 1)

    def _released(self, event: ev.TaskLeaseReleased) -> None:
        task_id = event.task_id
        if self.leased.pop(task_id, None) is None:
            return
        self._hold(task_id, -1)
        if task_id in self._aside:
            self._back(task_id)
        self._overrun.discard(task_id)
        if task_id not in self._put_aside and task_id not in self._queued:
            self.flow_of.pop(task_id, None)

    def _stepped_aside(self, event: ev.TaskSlotsYielded) -> None:
        if event.task_id in self.leased and event.task_id not in self._aside:
            self._hold(event.task_id, -1)
            self._aside.add(event.task_id)
            self._hold(event.task_id, 1)
            self._yields(event.task_id, 1)

    def _came_back(self, event: ev.TaskSlotsRetaken) -> None:
        if event.task_id in self._aside:
            self._hold(event.task_id, -1)
            self._back(event.task_id)
            self._hold(event.task_id, 1)

    def _back(self, task_id: str) -> None:
        self._aside.remove(task_id)
        self._yields(task_id, -1)

    def _yields(self, task_id: str, sign: int) -> None:
        for resource, units in self._needs_of(task_id).items():
            if resource in SHARED:
                self._yielded[resource] += sign * units

    def _defer(self, event: ev.RetryDeferred) -> None:
        task_id = event.task_id
        if task_id not in self._put_aside:
            self._put_aside.add(task_id)
            self._count_deferred(task_id, 1)

    def _resume(self, task_id: str) -> None:
        if task_id in self._put_aside:
            self._put_aside.remove(task_id)
            self._count_deferred(task_id, -1)

    def _count_deferred(self, task_id: str, sign: int) -> None:
        self.deferred[self.flow_of.get(task_id, "")] += sign
        for resource, units in self._needs_of(task_id).items():
            self._later[resource] += sign * units

    def _dropped(self, event: ev.NonRetryableDropped) -> None:
        for waiting in (self._queued, self._put_aside):
            for task_id in lost_with(event, waiting, self._columns):
                self._unqueue(task_id)
                self._resume(task_id)

    def _deny(self, event: ev.AdmissionDenied) -> None:
        if event.reason in DENIED:
            self._denied[event.flow.label] = event.reason
        else:
            self._denied.pop(event.flow.label, None)

    def _not_spawned(self, event: ev.WorkerSpawnFailed) -> None:
        """It is as ready as before, and nothing but the scheduler keeps it."""
        self._queue(event.task_id)

    def _open(self, event: ev.RowGroupAdmitted) -> None:
        self._opened += 1

    def _store(self, event: ev.RowGroupCheckpointed) -> None:
        self._stored += 1

    def _block(self, event: ev.RowGroupAdmissionBlocked) -> None:
        self._blocked = event.reason

    def _pause(self, event: ev.RunPaused) -> None:
        self.paused = True

    def _go_on(self, event: ev.RunResumed) -> None:
        self.paused = False


_RANK = {IdleCause.CEILING: 1, IdleCause.DEBT: 2, IdleCause.FAIRNESS: 3}
_HORIZON = {str(reason): cause for reason, cause in HORIZON.items()}

_BOOKS: dict[type, Callable[[TaskBook, Any], None]] = {
    ev.TaskCapacityChanged: TaskBook._resized,
    ev.ReadyEnqueued: TaskBook._enqueued,
    ev.TaskLeaseAcquired: TaskBook._acquired,
    ev.TaskLeaseReleased: TaskBook._released,
    ev.TaskSlotsYielded: TaskBook._stepped_aside,
    ev.TaskSlotsRetaken: TaskBook._came_back,
    ev.RetryDeferred: TaskBook._defer,
    ev.NonRetryableDropped: TaskBook._dropped,
    ev.AdmissionDenied: TaskBook._deny,
    ev.WorkerSpawnFailed: TaskBook._not_spawned,
    ev.RowGroupAdmitted: TaskBook._open,
    ev.RowGroupCheckpointed: TaskBook._store,
    ev.RowGroupAdmissionBlocked: TaskBook._block,
    ev.RunPaused: TaskBook._pause,
    ev.RunResumed: TaskBook._go_on,
}
