"""Replay: a record fed back through the pure cores, which must decide the same again.

Only what came from outside is fed in: who asked, when, and how each request ended. What the cores
decide on it (which permit, when, at which limit) is compared with what the record says, and the
statistics at the end are those of the run, to the last digit.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from ddsched_nb.config import RequestAdmissionConfig
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import (
    Admit,
    Flow,
    FlowKey,
    Lease,
    Outcome,
    OutcomeKind,
    Permit,
    ReadyTask,
    ReleaseStatus,
    ResourceKey,
    Task,
    Usage,
)
from ddsched_nb.core.pacing import Pacing
from ddsched_nb.core.pool_facts import Budget, PoolStatistics
from ddsched_nb.core.request_admission import RequestAdmission
from ddsched_nb.core.task_admission import TaskAdmission
from ddsched_nb.engine import make_limit
from ddsched_nb.errors import RecordError
from ddsched_nb.record import RunRecord

__all__ = ["Replayed", "replay"]


@dataclass(frozen=True, slots=True)
class Replayed:
    """Where the cores stood at the end of a record.

    Attributes:
        pools: The statistics of each pool.
        leases: Task leases still held.
        rows_finished: Rows of the row groups that were handed over.
        rows_dropped: Rows of them that were dropped.
        row_groups_finished: Those row groups.
        tasks_done: Tasks that were done, by column.
        decisions: Decisions that were made again and compared.
    """

    pools: tuple[PoolStatistics, ...]
    leases: int
    rows_finished: int
    rows_dropped: int
    row_groups_finished: int
    tasks_done: dict[str, int]
    decisions: int


def replay(record: RunRecord, config: RequestAdmissionConfig | None = None) -> Replayed:
    """Feeds a record through the cores.

    Args:
        record: A whole record of a run.
        config: How the limits moved in that run; the defaults if None.

    Returns:
        The statistics at its end.

    Raises:
        RecordError: The record is cut, or the cores decide otherwise than it says: it is not of
            this version, or not of this configuration.
    """
    if record.truncated:
        raise RecordError("the record is cut: replay needs every event (RunConfig(record=path))")
    player = _Player(config or RequestAdmissionConfig())
    end = 0.0
    for event in record.events:
        play = _PLAYS.get(type(event))
        end = max(end, event.at)
        if play is not None:
            play(player, event)
    return player.finish(end)


class _Player:
    def __init__(self, config: RequestAdmissionConfig) -> None:
        self._config = config
        self._requests = RequestAdmission()
        self._tasks: TaskAdmission | None = None
        self._flows: dict[str, Flow] = {}
        self._flow_of: dict[str, Flow] = {}
        self._known: set[FlowKey] = set()
        self._leases: dict[int, Lease] = {}
        self._granted: dict[int, Permit] = {}
        self._permits: dict[int, Permit] = {}
        self._retry_after: dict[int, float | None] = {}
        self._ended: dict[int, ev.ModelRequestCompleted] = {}
        self._columns: dict[str, str] = {}
        self._done: Counter[str] = Counter()
        self._groups = self._finished = self._dropped = self._decisions = 0

    def finish(self, end: float) -> Replayed:
        pools = self._requests.pools
        return Replayed(
            tuple(self._requests.statistics(pool, end) for pool in pools),
            self._tasks.leases if self._tasks is not None else 0,
            self._finished,
            self._dropped,
            self._groups,
            dict(self._done),
            self._decisions,
        )

    # --- the scheduler's stream

    def started(self, event: ev.SchedulerJobStarted) -> None:
        capacities = {ResourceKey(name): n for name, n in event.capacities.items()}
        self._tasks = TaskAdmission(capacities)
        for shape in event.flows.values():
            held = tuple((ResourceKey(name), n) for name, n in sorted(shape.resources.items()))
            # The label stands for the key: equal flows have equal labels.
            self._flows[shape.flow] = Flow(_key(shape.flow), shape.weight, held)

    def resized(self, event: ev.TaskCapacityChanged) -> None:
        if self._tasks is not None:
            self._tasks.set_capacities({ResourceKey(n): c for n, c in event.capacities.items()})

    def weighed(self, event: ev.FlowWeightChanged) -> None:
        label = event.flow.label
        self._flows[label] = self._flows[label]._replace(weight=event.after)

    def enqueued(self, event: ev.ReadyEnqueued) -> None:
        flow = self._flows.get(event.flow.label)
        if flow is not None:  # the hooks of a pipeline are in no flow of a column
            self._flow_of[event.task_id] = flow._replace(key=event.flow)

    def leased(self, event: ev.TaskLeaseAcquired) -> None:
        flow = self._flow_of.get(event.task_id)
        if self._tasks is None or flow is None:
            return
        if flow.key not in self._known:
            self._known.add(flow.key)
            self._tasks.register(flow)
        ready = ReadyTask(Task("", 0, None), event.task_id, flow, None, 0)
        # Alone, so that the policy's view of its peers does not matter here: only capacity does.
        verdict = self._tasks.decide(ready, contended=False)
        self._expect(isinstance(verdict, Admit), event, "no capacity for this lease")
        self._leases[event.lease_id] = self._tasks.acquire(ready, Admit())

    def returned(self, event: ev.TaskLeaseReleased) -> None:
        lease = self._leases.pop(event.lease_id, None)
        if self._tasks is not None and lease is not None:
            self._expect(
                self._tasks.release(lease) is ReleaseStatus.RELEASED, event, "nobody held it"
            )

    def yielded(self, event: ev.TaskSlotsYielded) -> None:
        lease = self._leases.get(event.lease_id)
        if self._tasks is not None and lease is not None:
            self._expect(self._tasks.step_aside(lease), event, "it held no slots")

    def retaken(self, event: ev.TaskSlotsRetaken) -> None:
        lease = self._leases.get(event.lease_id)
        if self._tasks is not None and lease is not None:
            self._expect(bool(self._tasks.come_back(lease)), event, "no capacity for this lease")

    def spawned(self, event: ev.WorkerSpawned) -> None:
        self._columns[event.task_id] = event.column

    def completed(self, event: ev.TaskCompleted) -> None:
        if event.outcome in ("done", "skipped"):
            self._done[self._columns[event.task_id]] += 1

    def checkpointed(self, event: ev.RowGroupCheckpointed) -> None:
        self._groups += 1
        self._finished += event.rows_kept
        self._dropped += event.rows_dropped

    def paused(self, event: ev.RunPaused | ev.RunResumed) -> None:
        self._requests.pause(isinstance(event, ev.RunPaused))
        self._advance(event.at)

    # --- the stream of request admission

    def registered(self, event: ev.RequestResourceRegistered) -> None:
        limit = make_limit(self._config, event.cap, event.at)
        self._requests.register(
            event.pool,
            limit,
            cap=event.cap,
            aggregate_cap=event.aggregate_cap,
            pacing=Pacing(event.requests_per_minute, event.tokens_per_minute),
            budget=_budget(event.budget),
        )
        found = self._requests.statistics(event.pool, event.at)
        same = (found.limit, found.algorithm) == (event.limit, event.algorithm)
        self._expect(same, event, f"it would start as {found.algorithm} at {found.limit}")

    def shared(self, event: ev.RequestPoolShared) -> None:
        raise RecordError(
            f"{event.pool.label} was shared with {event.runs - 1} other runs, whose requests are "
            "not in this record; replay needs a run that had its account to itself"
        )

    def caps(self, event: ev.RequestEffectiveCapChanged) -> None:
        self._requests.set_caps(
            event.pool, event.at, cap=event.cap, aggregate_cap=event.aggregate_cap
        )
        self._advance(event.at)

    def put(self, event: ev.LimitMoved) -> None:
        if event.reason == "asked":  # every other move follows from what the record holds
            self._requests.set_limit(event.pool, event.after, event.at)
            self._advance(event.at)

    def waits(self, event: ev.RequestWaitStarted) -> None:
        flow = self._flow_of.get(event.task_id or "")
        waiter = self._requests.enqueue(
            event.pool,
            event.at,
            flow=None if flow is None else flow.key,
            weight=1.0 if flow is None else flow.weight,
            tokens=event.tokens,
            not_before=event.not_before,
        )
        self._expect(waiter == event.waiter_id, event, f"it would be waiter {waiter}")

    def gives_up(self, event: ev.RequestWaitCancelled | ev.RequestWaitTimeout) -> None:
        self._requests.cancel(event.waiter_id, event.at)

    def granted(self, event: ev.RequestLeaseAcquired) -> None:
        # One turn may answer many inputs, and a timer leaves no event of its own: the first permit
        # of a turn says when it was taken. Turns that granted nothing decided nothing.
        if event.permit_id not in self._granted:
            self._advance(event.at)
        permit = self._granted.pop(event.permit_id, None)
        self._expect(permit is not None, event, "no permit would be granted now")
        assert permit is not None
        said = (permit.waiter_id, permit.in_flight, permit.limit, permit.pool)
        same = said == (event.waiter_id, event.in_flight, event.limit, event.pool)
        self._expect(same, event, f"the permit would be {said[:3]}")
        self._permits[event.permit_id] = permit

    def refused(self, event: ev.RequestRateLimited) -> None:
        self._retry_after[event.permit_id] = event.retry_after

    def answered(self, event: ev.ModelRequestCompleted) -> None:
        self._ended[event.permit_id] = event

    def released(self, event: ev.RequestLeaseReleased) -> None:
        permit = self._permits.pop(event.permit_id, None)
        if permit is None:
            # Granted to somebody who was gone already: given back before anybody heard of it.
            cancelled = event.outcome is OutcomeKind.LOCAL_CANCELLED
            permit = self._granted.pop(event.permit_id, None) if cancelled else None
        self._expect(permit is not None, event, "nobody holds this permit")
        assert permit is not None
        ended = self._ended.pop(event.permit_id, None)
        usage = None
        if ended is not None and event.outcome is OutcomeKind.SUCCESS:
            written = ended.completion_tokens
            usage = Usage(ended.tokens - written, written)
        outcome = Outcome(
            event.outcome,
            self._retry_after.pop(event.permit_id, None),
            usage,
            quotas=event.quotas,
            spent=event.spent,
            unavailable=event.unavailable,
        )
        self._requests.release(permit, outcome, event.at)
        left = self._requests.in_flight(event.pool)
        self._expect(left == event.in_flight, event, f"{left} would be in flight")

    def _advance(self, now: float) -> None:
        for _, permit in self._requests.advance(now).granted:
            self._granted[permit.permit_id] = permit

    def _expect(self, holds: bool, event: ev.Event, otherwise: str) -> None:
        self._decisions += 1
        if not holds:
            raise RecordError(
                f"replay differs from the record at {event.at:.6f} s, {event.kind} "
                f"{event.sequence}: {otherwise}; give the run's own RequestAdmissionConfig"
            )


def _budget(shape: ev.BudgetShape | None) -> Budget | None:
    if shape is None:
        return None
    pacing = Pacing(shape.requests_per_minute, shape.tokens_per_minute)
    return Budget(shape.name, math.inf if shape.cap is None else shape.cap, pacing)


def _key(label: str) -> FlowKey:
    return FlowKey("local", (label,))


_PLAYS: dict[type, Any] = {
    ev.SchedulerJobStarted: _Player.started,
    ev.TaskCapacityChanged: _Player.resized,
    ev.FlowWeightChanged: _Player.weighed,
    ev.ReadyEnqueued: _Player.enqueued,
    ev.TaskLeaseAcquired: _Player.leased,
    ev.TaskLeaseReleased: _Player.returned,
    ev.TaskSlotsYielded: _Player.yielded,
    ev.TaskSlotsRetaken: _Player.retaken,
    ev.WorkerSpawned: _Player.spawned,
    ev.TaskCompleted: _Player.completed,
    ev.RowGroupCheckpointed: _Player.checkpointed,
    ev.RunPaused: _Player.paused,
    ev.RunResumed: _Player.paused,
    ev.RequestResourceRegistered: _Player.registered,
    ev.RequestPoolShared: _Player.shared,
    ev.RequestEffectiveCapChanged: _Player.caps,
    ev.RequestLimitDecreased: _Player.put,
    ev.RequestLimitIncreased: _Player.put,
    ev.RequestWaitStarted: _Player.waits,
    ev.RequestWaitCancelled: _Player.gives_up,
    ev.RequestWaitTimeout: _Player.gives_up,
    ev.RequestLeaseAcquired: _Player.granted,
    ev.RequestRateLimited: _Player.refused,
    ev.ModelRequestCompleted: _Player.answered,
    ev.RequestLeaseReleased: _Player.released,
}
