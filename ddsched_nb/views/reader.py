"""How a run stood after each of its events: what `frames.frame_of` says of a live one.

It counts, and decides nothing. It must not know which moments are wanted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ddsched_nb.analysis.task_ids import group_of, lost_with
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import SUBMISSION, Flow, FlowKey, PoolKey, ResourceKey
from ddsched_nb.core.task_admission import TaskAdmission
from ddsched_nb.views.frames import Frame, Shape, flow_name
from ddsched_nb.views.outlook import Outlook
from ddsched_nb.wording import pool_name

__all__ = ["Reader"]

_GROUPS: Final = 8


class Reader:
    """Follows a run event by event.

    Debt is what is held borrowed; what was repaid otherwise is not seen from here.

    Args:
        events: All of them, for what is known of models from the start.

    Attributes:
        pools: The models, by name.
        errors: Second, where, why, of rows that were dropped.
        refusals: Seconds of refusals.
    """

    def __init__(self, events: Sequence[ev.Event]) -> None:
        first = next((e for e in events if isinstance(e, ev.SchedulerJobStarted)), None)
        self.started = first or ev.SchedulerJobStarted(events[0].at, 0, 0, 0, (), {})
        self.begins = events[0].at
        self.pools = _pools(events)
        self.errors: list[list[Any]] = []
        self.refusals: list[float] = []
        self._numbers = {key: [0, 1, 1, 0, 0, 0, 0] for key in self.pools}
        self._state = "running"
        self._columns = self.started.columns
        self._flows = _flows(self.started)
        self._shares = _shares(self.started)
        self._column_of: dict[str, str] = {}
        self._flow_of: dict[str, str] = {}
        self._queued: dict[str, None] = {}
        self._ready: Counter[str] = Counter()
        self._held: Counter[str] = Counter()
        self._borrowed: Counter[str] = Counter()
        self._leases: dict[str, tuple[str, bool]] = {}
        self._done: Counter[str] = Counter()
        self._running: Counter[str] = Counter()
        self._groups: dict[str, int] = {}
        self._cells: defaultdict[str, int] = defaultdict(int)
        self._deferred: set[str] = set()
        self._aside: set[str] = set()
        self._gone: set[str] = set()
        self._finished = self._dropped = self._stored = 0
        self._target, self._cap = 1, self.started.row_groups
        self._slots = self.started.capacities.get(SUBMISSION, 0)

    def see(self, event: ev.Event) -> None:
        """Takes the next event."""
        reads = _READS.get(type(event))
        if reads is not None:
            reads(self, event)

    def shape(self) -> Shape:
        """What the run consists of."""
        flows, known = self.started.flows, {key.label: key.model for key in self.pools}
        models = {name: known.get(flows[name].pool or "", "") for name in flows}
        return {
            "rows": self.started.rows,
            "groups": self.started.row_groups,
            "columns": [[name, models.get(name, "")] for name in self._columns],
            "pools": [pool_name(key) for key in self.pools],
            "flows": [flow_name(columns) for columns in self._flows.values()],
        }

    def frame(self, now: float, outlook: Outlook, idle: list[list[Any]]) -> Frame:
        """How it stands."""
        t = now - self.begins
        work = self._work()
        outlook.see(t, work, active=self._state == "running")
        pace = outlook.pace() if self._state in ("running", "paused") else None
        rows = self.started.rows
        rate = pace.share_per_s * rows if pace else (self._finished / t if t > 0 else 0.0)
        open_groups = sorted(self._groups, key=int)
        return {
            "t": round(t, 4),
            "state": self._state,
            "rows": [self._finished, self._dropped, len(self._deferred)],
            "work": round(work, 4),
            "rate": float(f"{rate:.2g}" if rate < 100 else f"{rate:.0f}") or None,
            "left": [round(pace.left_s[0]), round(pace.left_s[1])] if pace else None,
            "columns": [[min(rows, self._done[c]), self._running[c]] for c in self._columns],
            "pools": [list(self._numbers[key]) for key in self.pools],
            "groups": [self._stored, len(open_groups), max(self._target, 1), self._cap],
            "opened": [[int(g), self._share_of(g)] for g in open_groups[:_GROUPS]],
            "slots": [self._held.total(), self._slots],
            "flows": [self._flow(label) for label in self._flows],
            "idle": idle,
            "error": None,
            "lost": 0,
        }

    def _work(self) -> float:
        cells = (self.started.rows - self._dropped) * len(self._columns)
        return min(1.0, self._done.total() / cells) if cells > 0 else 0.0

    def _share_of(self, group: str) -> float:
        cells = self._groups[group] * len(self._columns)
        return round(min(1.0, self._cells[group] / cells), 2) if cells else 0.0

    def _flow(self, label: str) -> list[int]:
        ready, held = self._ready[label], self._held[label]
        return [ready, held, self._shares.get(label, 0), self._borrowed[label]]

    def _dequeue(self, task_id: str) -> None:
        if task_id in self._queued:
            del self._queued[task_id]
            self._ready[self._flow_of[task_id]] -= 1

    # --- the scheduler

    def _enqueued(self, event: ev.ReadyEnqueued) -> None:
        self._deferred.discard(event.task_id)
        if event.task_id not in self._queued:
            self._flow_of[event.task_id] = event.flow.label
            self._queued[event.task_id] = None
            self._ready[event.flow.label] += 1

    def _leased(self, event: ev.TaskLeaseAcquired) -> None:
        self._dequeue(event.task_id)
        label = self._flow_of.get(event.task_id, "")
        self._leases[event.task_id] = label, event.borrowed
        self._hold(label, event.borrowed, 1)

    def _hold(self, label: str, borrowed: bool, sign: int) -> None:
        self._held[label] += sign
        self._borrowed[label] += sign * borrowed

    def _spawned(self, event: ev.WorkerSpawned) -> None:
        self._column_of[event.task_id] = event.column
        self._running[event.column] += 1

    def _stepped_aside(self, event: ev.TaskSlotsYielded) -> None:
        if event.task_id in self._leases and event.task_id not in self._aside:
            self._aside.add(event.task_id)
            self._hold(*self._leases[event.task_id], -1)

    def _came_back_to_slots(self, event: ev.TaskSlotsRetaken) -> None:
        if event.task_id in self._aside:
            self._aside.remove(event.task_id)
            self._hold(*self._leases[event.task_id], 1)

    def _released(self, event: ev.TaskLeaseReleased) -> None:
        lease = self._leases.pop(event.task_id, None)
        if lease is not None and event.task_id not in self._aside:
            self._hold(*lease, -1)
        self._aside.discard(event.task_id)
        column = self._column_of.pop(event.task_id, None)
        if column is not None:
            self._running[column] -= 1

    def _completed(self, event: ev.TaskCompleted) -> None:
        column = self._column_of.get(event.task_id)
        if column is None or event.outcome not in ("done", "skipped"):
            return
        group = group_of(event.task_id, self._columns)
        if group in self._gone or f"{group}/{event.task_id.rpartition('/')[2]}" in self._gone:
            return  # its row was dropped while it ran
        shape = self.started.flows.get(column)
        rows = 1 if shape is None or shape.tasks == "cell" else self._groups.get(group, 0)
        self._done[column] += rows
        if column in self._columns:
            self._cells[group] += rows

    def _put_aside(self, event: ev.RetryDeferred) -> None:
        self._deferred.add(event.task_id)

    def _lost(self, event: ev.NonRetryableDropped) -> None:
        where = event.task_id if event.row is None else f"{event.task_id}, row {event.row}"
        group = group_of(event.task_id, self._columns)
        self._gone.add(group if event.row is None else f"{group}/{event.row}")
        self.errors.append([round(event.at - self.begins, 3), where, event.error])
        for task_id in lost_with(event, self._queued, self._columns):
            self._dequeue(task_id)
        for task_id in lost_with(event, self._deferred, self._columns):
            self._deferred.discard(task_id)

    def _opened(self, event: ev.RowGroupAdmitted) -> None:
        self._groups[str(event.row_group)] = event.rows

    def _stored_one(self, event: ev.RowGroupCheckpointed) -> None:
        self._groups.pop(str(event.row_group), None)
        self._cells.pop(str(event.row_group), None)
        self._stored += 1
        self._finished += event.rows_kept
        self._dropped += event.rows_dropped

    def _retarget(self, event: ev.RowGroupAdmissionTargetChanged) -> None:
        self._target = event.after

    def _snapshot(self, event: ev.SchedulerHealthSnapshot) -> None:
        self._target, self._cap = event.target_groups, event.group_cap

    def _resized(self, event: ev.TaskCapacityChanged) -> None:
        self._slots = event.capacities.get(SUBMISSION, self._slots)

    def _paused(self, event: ev.RunPaused | ev.RunResumed) -> None:
        self._state = "paused" if isinstance(event, ev.RunPaused) else "running"

    def _ended(self, event: ev.SchedulerJobCompleted) -> None:
        self._state = event.state

    # --- the models; see `frames.Frame` for what stands where

    def _registered(self, event: ev.RequestResourceRegistered) -> None:
        self._numbers[event.pool][1:3] = event.limit, event.cap

    def _waits(self, event: ev.RequestWaitStarted) -> None:
        self._numbers[event.pool][3] += 1

    def _waits_no_more(self, event: ev.RequestWaitTimeout | ev.RequestWaitCancelled) -> None:
        self._count_waiter(event.pool)

    def _granted(self, event: ev.RequestLeaseAcquired) -> None:
        self._count_waiter(event.pool)
        self._numbers[event.pool][:2] = event.in_flight, event.limit

    def _count_waiter(self, pool: PoolKey) -> None:
        self._numbers[pool][3] = max(0, self._numbers[pool][3] - 1)

    def _came_back(self, event: ev.RequestLeaseReleased) -> None:
        self._numbers[event.pool][0] = event.in_flight

    def _refused(self, event: ev.RequestRateLimited) -> None:
        self._numbers[event.pool][4] += 1
        self.refusals.append(round(event.at - self.begins, 4))

    def _moved(self, event: ev.LimitMoved) -> None:
        self._numbers[event.pool][1] = event.after

    def _capped(self, event: ev.RequestEffectiveCapChanged) -> None:
        self._numbers[event.pool][2] = event.cap

    def _cools(self, event: ev.RequestCooldownStarted) -> None:
        numbers: list[Any] = self._numbers[event.pool]
        numbers[5] = round(event.until - self.begins, 3)
        numbers[6] = int(event.reason == "unavailable" or numbers[6])

    def _recovered(self, event: ev.RequestFullyRecovered) -> None:
        self._numbers[event.pool][6] = 0


def _pools(events: Sequence[ev.Event]) -> list[PoolKey]:
    return sorted({event.pool for event in events if isinstance(event, ev.RequestEvent)})


def _flows(started: ev.SchedulerJobStarted) -> dict[str, tuple[str, ...]]:
    """The columns of each flow."""
    found: dict[str, tuple[str, ...]] = {}
    for column, shape in started.flows.items():
        found[shape.flow] = (*found.get(shape.flow, ()), column)
    return found


def _shares(started: ev.SchedulerJobStarted) -> dict[str, int]:
    """What each flow may have of the task slots, by weight."""
    if SUBMISSION not in started.capacities:
        return {}
    admission = TaskAdmission({ResourceKey(n): c for n, c in started.capacities.items()})
    for shape in started.flows.values():
        resources = tuple((ResourceKey(name), n) for name, n in shape.resources.items())
        admission.register(Flow(_key(shape.flow), shape.weight, resources))
    labels = {shape.flow for shape in started.flows.values()}
    return {label: admission.share(_key(label), SUBMISSION) for label in labels}


def _key(label: str) -> FlowKey:
    return FlowKey("local", (label,))


_READS: Final[Mapping[type, Callable[[Reader, Any], None]]] = {
    ev.ReadyEnqueued: Reader._enqueued,
    ev.TaskLeaseAcquired: Reader._leased,
    ev.TaskLeaseReleased: Reader._released,
    ev.TaskSlotsYielded: Reader._stepped_aside,
    ev.TaskSlotsRetaken: Reader._came_back_to_slots,
    ev.WorkerSpawned: Reader._spawned,
    ev.TaskCompleted: Reader._completed,
    ev.RetryDeferred: Reader._put_aside,
    ev.NonRetryableDropped: Reader._lost,
    ev.RowGroupAdmitted: Reader._opened,
    ev.RowGroupCheckpointed: Reader._stored_one,
    ev.RowGroupAdmissionTargetChanged: Reader._retarget,
    ev.SchedulerHealthSnapshot: Reader._snapshot,
    ev.TaskCapacityChanged: Reader._resized,
    ev.RunPaused: Reader._paused,
    ev.RunResumed: Reader._paused,
    ev.SchedulerJobCompleted: Reader._ended,
    ev.RequestResourceRegistered: Reader._registered,
    ev.RequestWaitStarted: Reader._waits,
    ev.RequestWaitTimeout: Reader._waits_no_more,
    ev.RequestWaitCancelled: Reader._waits_no_more,
    ev.RequestLeaseAcquired: Reader._granted,
    ev.RequestLeaseReleased: Reader._came_back,
    ev.RequestRateLimited: Reader._refused,
    ev.RequestLimitDecreased: Reader._moved,
    ev.RequestLimitIncreased: Reader._moved,
    ev.RequestEffectiveCapChanged: Reader._capped,
    ev.RequestCooldownStarted: Reader._cools,
    ev.RequestFullyRecovered: Reader._recovered,
}
