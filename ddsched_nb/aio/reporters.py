"""Reporters: turn what the shells do into events, if anybody listens.

One method a fact, so that the shells stay readable and every event has its types checked. Each
stream has its own sequence. Nothing is built without a listener.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ddsched_nb.aio.bus import EventBus
from ddsched_nb.aio.event_forms import event_of, shape_of
from ddsched_nb.core import events as ev
from ddsched_nb.core.dispatch import Denied, Dispatch
from ddsched_nb.core.model import (
    FlowKey,
    Lease,
    Outcome,
    OutcomeKind,
    Permit,
    PoolKey,
    ReadyTask,
    ReleaseStatus,
    ResourceKey,
    RowGroup,
)
from ddsched_nb.core.pacing import Pacing
from ddsched_nb.core.pool_facts import Budget, Change, PoolStatistics
from ddsched_nb.core.retries import Deferred
from ddsched_nb.core.schedule import ScheduleTurn

Clock = Callable[[], float]

SNAPSHOT_EVERY_S = 1.0
"""Seconds between two health snapshots at the least, where nothing is decided about row groups."""


class _Reporter:
    def __init__(self, bus: EventBus, clock: Clock) -> None:
        self.bus = bus  # gather nothing to tell while nobody is `listening`
        self._clock = clock
        self._sequence = 0

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence


class SchedulerReporter(_Reporter):
    """The scheduler's stream.

    Args:
        bus: Where events go.
        clock: The running loop's `time`.
        health: How the scheduler stands at an instant, as an event of this number; no snapshots
            if None.
    """

    def __init__(
        self,
        bus: EventBus,
        clock: Clock,
        health: Callable[[float, int], ev.SchedulerHealthSnapshot] | None = None,
    ) -> None:
        super().__init__(bus, clock)
        self._health = health
        self._snapshot_due = math.inf if health is None else -math.inf

    def job_started(
        self,
        rows: int,
        row_groups: int,
        columns: tuple[str, ...],
        capacities: Mapping[str, int],
        flows: Mapping[str, ev.FlowShape],
        **shape: Any,
    ) -> None:
        """Tells the shape of the run; see `SchedulerJobStarted`."""
        if self.bus.listening:
            now, held = self._clock(), (dict(capacities), dict(flows))
            started = ev.SchedulerJobStarted(
                now, self._next(), rows, row_groups, columns, *held, **shape
            )
            self.bus.publish(started)
            self._snapshot(now)

    def job_completed(self, state: str, finished: int, dropped: int) -> None:
        if self.bus.listening:
            now = self._clock()
            self._snapshot(now)
            self.bus.publish(ev.SchedulerJobCompleted(now, self._next(), state, finished, dropped))

    def lagged(self, seconds: float) -> None:
        if self.bus.listening:
            self.bus.publish(ev.SchedulerLoopLagged(self._clock(), self._next(), seconds))

    def paused(self, paused: bool) -> None:
        if self.bus.listening:
            kind = ev.RunPaused if paused else ev.RunResumed
            self.bus.publish(kind(self._clock(), self._next()))

    def turn(self, turn: ScheduleTurn, open_groups: int, drained: bool) -> None:
        """Everything that one turn of the schedule decided, in its order."""
        if not self.bus.listening:
            return
        now, publish = self._clock(), self.bus.publish
        for change in turn.targets:
            before, after, why = change
            publish(ev.RowGroupAdmissionTargetChanged(now, self._next(), before, after, str(why)))
        if turn.blocked is not None:
            publish(ev.RowGroupAdmissionBlocked(now, self._next(), str(turn.blocked)))
        for group in turn.opened:
            publish(ev.RowGroupAdmitted(now, self._next(), group.index, group.size, open_groups))
        for ready in turn.enqueued:
            publish(ev.DependencyReady(now, self._next(), ready.task_id))
            self._enqueued(now, ready)
        for ready, round_ in turn.salvaged:
            publish(ev.SalvageRedispatched(now, self._next(), ready.task_id, round_))
            self._enqueued(now, ready)
        for dispatch in turn.dispatched:
            self._dispatched(now, dispatch)
        for denied in turn.denied:
            self._denied(now, denied)
        if drained:
            publish(ev.QueueDrained(now, self._next()))
        if now >= self._snapshot_due or turn.targets or turn.blocked is not None:
            self._snapshot(now)

    def spawned(self, dispatch: Dispatch) -> None:
        if self.bus.listening:
            task, task_id = dispatch.ready.task, dispatch.ready.task_id
            self.bus.publish(
                ev.WorkerSpawned(
                    self._clock(), self._next(), task_id, task.column, task.row_group, task.row
                )
            )

    def spawn_failed(self, dispatch: Dispatch, error: BaseException) -> None:
        if self.bus.listening:
            name = type(error).__name__
            task_id = dispatch.ready.task_id
            self.bus.publish(ev.WorkerSpawnFailed(self._clock(), self._next(), task_id, name))

    def completed(self, task_id: str, outcome: str) -> None:
        if self.bus.listening:
            self.bus.publish(ev.TaskCompleted(self._clock(), self._next(), task_id, outcome))

    def released(self, task_id: str, lease: Lease, status: ReleaseStatus) -> None:
        if not self.bus.listening:
            return
        now, lease_id = self._clock(), lease.lease_id
        if status is ReleaseStatus.RELEASED:
            self.bus.publish(ev.TaskLeaseReleased(now, self._next(), task_id, lease_id))
        else:
            self.bus.publish(ev.ReleaseDiagnostic(now, self._next(), lease_id, status))

    def stepped_aside(self, task_id: str, lease: Lease) -> None:
        if self.bus.listening:
            yielded = ev.TaskSlotsYielded(self._clock(), self._next(), task_id, lease.lease_id)
            self.bus.publish(yielded)

    def came_back(self, task_id: str, lease: Lease) -> None:
        if self.bus.listening:
            retaken = ev.TaskSlotsRetaken(self._clock(), self._next(), task_id, lease.lease_id)
            self.bus.publish(retaken)

    def adjusted(self, setting: str, before: object, after: object) -> None:
        if self.bus.listening:
            said = (setting, str(before), str(after))
            self.bus.publish(ev.RunAdjusted(self._clock(), self._next(), *said))

    def capacity_changed(self, capacities: Mapping[ResourceKey, int]) -> None:
        if self.bus.listening:
            named = {str(resource): n for resource, n in capacities.items()}
            self.bus.publish(ev.TaskCapacityChanged(self._clock(), self._next(), named))

    def weight_changed(self, flow: FlowKey, before: float, after: float) -> None:
        if self.bus.listening:
            changed = ev.FlowWeightChanged(self._clock(), self._next(), flow, before, after)
            self.bus.publish(changed)

    def deferred(self, task_id: str, deferred: Deferred, reason: str) -> None:
        if self.bus.listening:
            until, round_ = deferred
            self.bus.publish(
                ev.RetryDeferred(self._clock(), self._next(), task_id, until, round_, reason)
            )

    def dropped(self, task_id: str, row: int | None, error: str) -> None:
        if self.bus.listening:
            self.bus.publish(
                ev.NonRetryableDropped(self._clock(), self._next(), task_id, row, error)
            )

    def cancelled(self, task_id: str) -> None:
        if self.bus.listening:
            self.bus.publish(ev.Cancelled(self._clock(), self._next(), task_id))

    def checkpointed(self, group: RowGroup, kept: int) -> None:
        if self.bus.listening:
            dropped = group.size - kept
            self.bus.publish(
                ev.RowGroupCheckpointed(self._clock(), self._next(), group.index, kept, dropped)
            )

    def _snapshot(self, now: float) -> None:
        if self._health is not None:
            self._snapshot_due = now + SNAPSHOT_EVERY_S
            self.bus.publish(self._health(now, self._next()))

    def _enqueued(self, now: float, ready: ReadyTask) -> None:
        self.bus.publish(ev.ReadyEnqueued(now, self._next(), ready.task_id, ready.flow.key))

    def _dispatched(self, now: float, dispatch: Dispatch) -> None:
        task_id, lease = dispatch.ready.task_id, dispatch.lease
        if dispatch.instead_of is not None:
            (ready, why), pool = dispatch.instead_of, dispatch.instead_of.ready.pool
            assert pool is not None, "only a task with a pool is under pressure"
            skipped = ev.RequestPressureAdvisorySkipped(
                now, self._next(), ready.task_id, ready.flow.key, pool, str(why), task_id
            )
            self.bus.publish(skipped)
        self.bus.publish(ev.Selected(now, self._next(), task_id, lease.flow))
        self.bus.publish(
            ev.TaskLeaseAcquired(now, self._next(), task_id, lease.lease_id, bool(lease.borrowed))
        )

    def _denied(self, now: float, denied: Denied) -> None:
        ready, verdict = denied
        self.bus.publish(
            ev.AdmissionDenied(
                now, self._next(), ready.task_id, ready.flow.key, verdict.reason, verdict.resource
            )
        )


class RequestReporter(_Reporter):
    """The stream of request admission.

    What admission decided is told with the instant at which it was decided, not with that of the
    telling: a record can be fed back through admission, and ends the same to the last digit.
    """

    def registered(
        self,
        pool: PoolStatistics,
        aggregate_cap: int,
        now: float,
        pacing: Pacing | None = None,
        budget: Budget | None = None,
    ) -> None:
        if self.bus.listening:
            declared = (None, None) if pacing is None else pacing.declared
            registered = ev.RequestResourceRegistered(
                now,
                self._next(),
                pool.pool,
                pool.cap,
                aggregate_cap,
                pool.limit,
                pool.algorithm,
                *declared,
                None if budget is None else shape_of(budget),
                pool.signals,
            )
            self.bus.publish(registered)

    def wait_started(
        self,
        pool: PoolKey,
        waiter: int,
        task_id: str | None,
        waiters: int,
        not_before: float,
        tokens: float,
        now: float,
    ) -> None:
        if self.bus.listening:
            waiting = ev.RequestWaitStarted(
                now, self._next(), pool, waiter, task_id, waiters, not_before, tokens
            )
            self.bus.publish(waiting)

    def wait_timeout(self, pool: PoolKey, waiter: int) -> None:
        if self.bus.listening:
            self.bus.publish(ev.RequestWaitTimeout(self._clock(), self._next(), pool, waiter))

    def wait_cancelled(self, pool: PoolKey, waiter: int, now: float) -> None:
        if self.bus.listening:
            self.bus.publish(ev.RequestWaitCancelled(now, self._next(), pool, waiter))

    def acquired(self, permit: Permit) -> None:
        if self.bus.listening:
            acquired = ev.RequestLeaseAcquired(
                permit.granted_at,
                self._next(),
                permit.pool,
                permit.permit_id,
                permit.waiter_id,
                permit.in_flight,
                permit.limit,
            )
            self.bus.publish(acquired)

    def released(
        self,
        permit: Permit,
        outcome: Outcome,
        status: ReleaseStatus,
        in_flight: int,
        now: float,
    ) -> None:
        if not self.bus.listening:
            return
        pool, permit_id = permit.pool, permit.permit_id
        if status is not ReleaseStatus.RELEASED:
            self.bus.publish(
                ev.RequestReleaseDiagnostic(now, self._next(), pool, permit_id, status)
            )
            return
        if outcome.kind is OutcomeKind.RATE_LIMITED:
            refused = ev.RequestRateLimited(
                now, self._next(), pool, permit_id, outcome.retry_after, in_flight, permit.limit
            )
            self.bus.publish(refused)
        self.bus.publish(
            ev.RequestLeaseReleased(
                now,
                self._next(),
                pool,
                permit_id,
                outcome.kind,
                in_flight,
                outcome.quotas,
                outcome.spent,
                outcome.unavailable,
            )
        )

    def shared(self, pool: PoolKey, runs: int, now: float) -> None:
        if self.bus.listening:
            self.bus.publish(ev.RequestPoolShared(now, self._next(), pool, runs))

    def caps_changed(self, pool: PoolKey, cap: int, aggregate_cap: int, now: float) -> None:
        if self.bus.listening:
            self.bus.publish(
                ev.RequestEffectiveCapChanged(now, self._next(), pool, cap, aggregate_cap)
            )

    def changed(self, change: Change, now: float) -> None:
        if self.bus.listening:
            self.bus.publish(event_of(change, now, self._next()))

    def sent(self, permit: Permit, task_id: str | None, attempt: int) -> None:
        if self.bus.listening:
            self.bus.publish(
                ev.ModelRequestStarted(
                    self._clock(), self._next(), permit.pool, permit.permit_id, task_id, attempt
                )
            )

    def answered(
        self, permit: Permit, task_id: str | None, outcome: Outcome, seconds: float
    ) -> None:
        if self.bus.listening:
            completed = ev.ModelRequestCompleted(
                self._clock(),
                self._next(),
                permit.pool,
                permit.permit_id,
                task_id,
                outcome.kind,
                seconds,
                outcome.usage.total_tokens if outcome.usage else 0,
                outcome.usage.completion_tokens if outcome.usage else 0,
            )
            self.bus.publish(completed)
