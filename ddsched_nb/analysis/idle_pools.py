"""The books of the side of requests: pools with their limits, and which calls wait for what."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ddsched_nb.analysis.causes import IdleCause
from ddsched_nb.analysis.hindsight import Hindsight
from ddsched_nb.analysis.idle_tasks import Claim, TaskBook, take
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import PoolKey

__all__ = ["Pool", "PoolBook"]


@dataclass(slots=True)
class Shared:
    """What the pools of a model, or all models of a budget, may have in flight together."""

    cap: float = math.inf
    in_flight: int = 0


@dataclass(slots=True, eq=False)
class Pool:
    """One pool, while its events go by.

    Attributes:
        label: Its name.
        capacity: The highest cap that it had.
        cap: Its cap.
        limit: Its limit.
        model: All domains of its model.
        budget: All models of its account.
        paced: Whether a quota per minute is known for it.
        fallen: Whether its limit ever fell.
        shared: Whether other runs use it too.
        silent: From when to when it serves nothing, earliest first.
        in_flight: Permits.
        cooling_until: No grant before.
        due: When each waiting call may go out, of those that may not yet.
        asking: Calls that might go out now.
        to_come: Calls that will still ask.
        waiters: The tasks of the calls that wait, by number.
        permits: The tasks of the calls in flight, by number.
    """

    label: str
    capacity: int
    cap: int
    limit: int
    model: Shared
    budget: Shared
    paced: bool = False
    fallen: bool = False
    shared: bool = False
    silent: list[tuple[float, float]] = field(default_factory=list)
    in_flight: int = 0
    cooling_until: float = 0.0
    due: dict[int, float] = field(default_factory=dict)
    asking: int = 0
    to_come: int = 0
    waiters: dict[int, str | None] = field(default_factory=dict)
    permits: dict[int, str | None] = field(default_factory=dict)


class PoolBook:
    """Follows the stream of requests.

    Args:
        seen: What the end of the record tells.
        tasks: The books of the scheduler's side.
    """

    def __init__(self, seen: Hindsight, tasks: TaskBook) -> None:
        self.pools: dict[PoolKey, Pool] = {}
        # Instants at which something changes though nothing is told, with the pools they concern.
        self.deadlines: list[tuple[float, Pool]] = []
        self._seen = seen
        self._tasks = tasks
        self._models: dict[tuple[str, str], Shared] = {}
        self._budgets: dict[str, Shared] = {}
        self._calls: Counter[str] = Counter()
        # Leased tasks of each pool's flows, and those of them that have no call out.
        self._pool_of: dict[str, str] = {}
        self._flows: defaultdict[str, list[str]] = defaultdict(list)
        self._thinking: Counter[str] = Counter()
        for shape in seen.started.flows.values() if seen.started is not None else ():
            if shape.pool is not None and shape.flow not in self._pool_of:
                self._pool_of[shape.flow] = shape.pool
                self._flows[shape.pool].append(shape.flow)

    def see(self, event: Any) -> bool:
        """Takes the next event of the stream of requests; whether it may change a cause."""
        book = _BOOKS.get(type(event))
        if book is None:
            return False
        pool = self.pools.get(event.pool)
        if pool is None:
            pool = self._register(event)
        book(self, pool, event)
        return True

    def leased(self, task_id: str, sign: int) -> None:
        """A task got its lease, or gave it back."""
        if not self._calls[task_id]:
            self._think(task_id, sign)

    def fall_due(self, pool: Pool, now: float) -> None:
        """An instant came that was named."""
        for waiter in [w for w, at in pool.due.items() if at <= now]:
            del pool.due[waiter]
            pool.asking += 1

    def claims(self, pool: Pool, now: float) -> list[Claim]:
        """The causes of the idle slots of a pool."""
        claims: list[Claim] = []
        idle = max(0, pool.capacity - pool.in_flight)
        if idle and self._tasks.paused:
            idle = take(claims, IdleCause.PAUSED, idle, idle)
        if not idle:
            return claims
        idle -= self._claim_waiting(claims, pool, min(idle, pool.asking), now)
        idle = take(claims, IdleCause.BACKOFF, len(pool.due), idle)
        known = 0
        for claim in self._queued(pool):
            known += claim.slots
            idle = take(claims, claim.cause, claim.slots, idle, claim.lacks)
        idle = take(claims, IdleCause.BETWEEN_CALLS, self._thinking[pool.label], idle)
        deferred = sum(self._tasks.deferred[flow] for flow in self._flows[pool.label])
        idle = take(claims, IdleCause.DEFERRED, deferred, idle)
        to_come = pool.to_come - known - deferred
        self._tasks.claim_absent(claims, idle, to_come, now)
        return claims

    def _claim_waiting(self, claims: list[Claim], pool: Pool, waiting: int, now: float) -> int:
        """Slots that calls wait for: why they do not have them. Returns how many these are."""
        if waiting and now < pool.cooling_until:
            take(claims, IdleCause.COOLDOWN, waiting, waiting)
        elif waiting:
            silent = any(since <= now < until for since, until in pool.silent)
            most = 1 if silent else min(pool.limit, pool.cap)
            left = waiting
            room = min(waiting, max(0, most - pool.in_flight))
            of_model = min(room, max(0, pool.model.cap - pool.model.in_flight))
            free = min(of_model, max(0, pool.budget.cap - pool.budget.in_flight))
            left = take(claims, _unbound(pool), free, left)
            left = take(claims, IdleCause.BUDGET_CAP, of_model - free, left)
            left = take(claims, IdleCause.AGGREGATE_CAP, room - of_model, left)
            limit = IdleCause.REQUEST_LIMIT if pool.fallen else IdleCause.SLOW_START
            take(claims, IdleCause.PROBING if silent else limit, left, left)
        return waiting

    def _queued(self, pool: Pool) -> Iterator[Claim]:
        """Queued tasks that will call this pool, and what they wait for."""
        waiting = self._tasks.waiting
        if waiting:
            for flow in self._flows[pool.label]:
                yield from waiting.get(flow, ())

    def _register(self, event: ev.RequestEvent) -> Pool:
        """A pool comes into being; one that was never told of is as large as it was ever used."""
        key, label = event.pool, event.pool.label
        told = event if isinstance(event, ev.RequestResourceRegistered) else None
        cap = max(1, told.cap) if told else 1
        model = self._models.setdefault(key.model_key, Shared())
        shape = told.budget if told else None
        budget = self._budgets.setdefault(shape.name, Shared()) if shape else Shared()
        if shape is not None and shape.cap is not None:
            budget.cap = shape.cap
        rates = [(told.requests_per_minute, told.tokens_per_minute)] if told else []
        rates += [(shape.requests_per_minute, shape.tokens_per_minute)] if shape else []
        pool = self.pools[key] = Pool(label, cap, cap, told.limit if told else cap, model, budget)
        if told:
            model.cap = min(model.cap, told.aggregate_cap)
        pool.paced = any(rate is not None for pair in rates for rate in pair)
        pool.silent = sorted(self._seen.silent.get(label, ()))
        pool.to_come = self._seen.calls[label]
        self.deadlines += [(at, pool) for span in pool.silent for at in span if at < math.inf]
        return pool

    def _think(self, task_id: str, sign: int) -> None:
        pool = self._pool_of.get(self._tasks.flow_of.get(task_id, ""))
        if pool is not None:
            self._thinking[pool] += sign

    def _call(self, task_id: str | None, sign: int) -> None:
        if task_id is None:
            return
        calls = self._calls[task_id] + sign
        if calls == max(0, sign) and task_id in self._tasks.leased:
            self._think(task_id, -sign)  # its first call, or its last one ended
        if calls:
            self._calls[task_id] = calls
        else:
            del self._calls[task_id]

    def _registered(self, pool: Pool, event: ev.RequestResourceRegistered) -> None:
        pass

    def _wait_started(self, pool: Pool, event: ev.RequestWaitStarted) -> None:
        pool.waiters[event.waiter_id] = event.task_id
        pool.to_come -= 1
        self._call(event.task_id, 1)
        if event.not_before > event.at:
            pool.due[event.waiter_id] = event.not_before
            self.deadlines.append((event.not_before, pool))
        else:
            pool.asking += 1

    def _wait_ended(self, pool: Pool, event: Any) -> None:
        self._call(self._end_wait(pool, event.waiter_id), -1)

    def _end_wait(self, pool: Pool, waiter_id: int) -> str | None:
        if waiter_id not in pool.waiters:
            return None
        if pool.due.pop(waiter_id, None) is None:
            pool.asking -= 1
        return pool.waiters.pop(waiter_id)

    def _acquired(self, pool: Pool, event: ev.RequestLeaseAcquired) -> None:
        pool.permits[event.permit_id] = self._end_wait(pool, event.waiter_id)
        pool.limit = event.limit  # one that ramps up moves with time alone; grants show it
        self._fly(pool, 1)
        pool.capacity = max(pool.capacity, min(pool.in_flight, event.limit))

    def _released(self, pool: Pool, event: ev.RequestLeaseReleased) -> None:
        pool.paced = pool.paced or bool(event.quotas or event.spent)
        if event.permit_id in pool.permits:
            self._call(pool.permits.pop(event.permit_id), -1)
            self._fly(pool, -1)

    def _fly(self, pool: Pool, sign: int) -> None:
        pool.in_flight += sign
        pool.model.in_flight += sign
        pool.budget.in_flight += sign

    def _moved(self, pool: Pool, event: ev.LimitMoved) -> None:
        pool.limit = event.after
        pool.fallen = pool.fallen or event.after < event.before

    def _caps(self, pool: Pool, event: ev.RequestEffectiveCapChanged) -> None:
        pool.cap, pool.model.cap = event.cap, event.aggregate_cap
        pool.capacity = max(pool.capacity, event.cap)

    def _cools(self, pool: Pool, event: ev.RequestCooldownStarted) -> None:
        pool.cooling_until = event.until
        pool.paced = pool.paced or event.reason in ("requests", "tokens")
        self.deadlines.append((event.until, pool))

    def _shares(self, pool: Pool, event: ev.RequestPoolShared) -> None:
        pool.shared = event.runs > 1


def _unbound(pool: Pool) -> IdleCause:
    """What keeps a call for which there is room."""
    if pool.paced:
        return IdleCause.PACING
    return IdleCause.OTHER_RUNS if pool.shared else IdleCause.SCHEDULER_OVERHEAD


_BOOKS: dict[type, Callable[[PoolBook, Pool, Any], None]] = {
    ev.RequestResourceRegistered: PoolBook._registered,
    ev.RequestPoolShared: PoolBook._shares,
    ev.RequestWaitStarted: PoolBook._wait_started,
    ev.RequestWaitTimeout: PoolBook._wait_ended,
    ev.RequestWaitCancelled: PoolBook._wait_ended,
    ev.RequestLeaseAcquired: PoolBook._acquired,
    ev.RequestLeaseReleased: PoolBook._released,
    ev.RequestLimitDecreased: PoolBook._moved,
    ev.RequestLimitIncreased: PoolBook._moved,
    ev.RequestEffectiveCapChanged: PoolBook._caps,
    ev.RequestCooldownStarted: PoolBook._cools,
}
