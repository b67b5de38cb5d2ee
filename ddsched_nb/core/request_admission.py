"""Request admission: may this one model call go out now?

Owns pools (a model of a provider in one domain), their limits, cooldowns and permits, the aggregate
cap of each provider/model over its domains, and the fair queue of waiters. It must not know rows,
columns or task leases. Pure: `now` comes in, grants and the next deadline come out. Its holder
calls `advance` after every `enqueue`, `cancel` and `release`, and again at the deadline it named.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from ddsched_nb.core.fair_queue import check_weight
from ddsched_nb.core.limits import Limit
from ddsched_nb.core.model import ModelKey, Outcome, Permit, PoolKey, ReleaseStatus
from ddsched_nb.core.pools import (
    CooldownStart,
    HeldPermit,
    LimitChange,
    ModelState,
    PoolState,
    PoolStatistics,
    Waiter,
)
from ddsched_nb.errors import ConfigError

WaiterId = int

# Tells the permits of one admission from those of another; it never enters an event.
_issuers = itertools.count(1)
_SWEEP_FLOOR = 64


class Grant(NamedTuple):
    """A waiter's permit."""

    waiter: WaiterId
    permit: Permit


class Turn(NamedTuple):
    """What one `advance` decided."""

    granted: list[Grant]
    expired: list[WaiterId]
    changes: list[LimitChange | CooldownStart]
    next_deadline: float


_Due = tuple[float, int, Waiter | PoolState, bool]


class RequestAdmission:
    """Grants permits to waiters, fairly, within limits, caps and cooldowns."""

    def __init__(self) -> None:
        self._issuer = next(_issuers)
        self._models: dict[ModelKey, ModelState] = {}
        self._pools: dict[PoolKey, PoolState] = {}
        self._waiters: dict[WaiterId, Waiter] = {}
        self._due: list[_Due] = []
        self._dirty: list[ModelState] = []
        self._changes: list[LimitChange | CooldownStart] = []
        self._last_waiter = self._last_permit = self._order = 0
        self._paused = False

    def register(self, pool: PoolKey, limit: Limit, *, cap: int, aggregate_cap: int) -> None:
        """Makes a pool known.

        Args:
            pool: Names it.
            limit: The algorithm that moves its limit.
            cap: What the limit never exceeds, at least 1.
            aggregate_cap: What all domains of its provider/model together never exceed; if several
                pools of one model name different ones, the least holds.

        Raises:
            ConfigError: The pool is registered already, or a cap is below 1.
        """
        if pool in self._pools:
            raise ConfigError(f"pool {pool.label!r} is registered twice; register it once")
        if cap < 1 or aggregate_cap < 1:
            raise ConfigError(f"caps of pool {pool.label!r} are {cap}, {aggregate_cap}; give >= 1")
        model = self._models.setdefault(pool.model_key, ModelState(aggregate_cap))
        model.cap = min(model.cap, aggregate_cap)
        self._pools[pool] = PoolState(pool, model, cap, limit)

    def __contains__(self, pool: PoolKey) -> bool:
        return pool in self._pools

    @property
    def pools(self) -> tuple[PoolKey, ...]:
        """The registered pools, in order of registration."""
        return tuple(self._pools)

    @property
    def waiting(self) -> int:
        """Number of waiters, those not yet due included."""
        return len(self._waiters)

    @property
    def permits(self) -> int:
        """Number of live permits."""
        return sum(len(pool.held) for pool in self._pools.values())

    def in_flight(self, pool: PoolKey) -> int:
        """Live permits of a pool; 0 for one that is not registered."""
        state = self._pools.get(pool)
        return len(state.held) if state else 0

    def waiters(self, pool: PoolKey) -> int:
        """Waiters of a pool; 0 for one that is not registered."""
        state = self._pools.get(pool)
        return state.waiters if state else 0

    def enqueue(
        self,
        pool: PoolKey,
        now: float,
        *,
        flow: Hashable = None,
        weight: float = 1.0,
        not_before: float = 0.0,
        deadline: float = math.inf,
    ) -> WaiterId:
        """Queues a waiter for one permit.

        Args:
            pool: Where it wants to go.
            now: The instant of the call, in seconds.
            flow: Whose request this is; flows share a pool fairly.
            weight: The flow's weight, finite and above 0.
            not_before: No permit before this instant.
            deadline: No permit at or after this instant; then the waiter expires.

        Raises:
            ConfigError: The pool is not registered, or `weight` is not a finite number above 0.
        """
        # Before anything is booked, and not when the waiter comes due: then it would hit others.
        check_weight(flow, weight)
        state = self._pools.get(pool)
        if state is None:
            known = ", ".join(key.label for key in self._pools) or "none"
            raise ConfigError(f"pool {pool.label!r} is not registered; known pools: {known}")
        self._last_waiter += 1
        waiter = Waiter(self._last_waiter, state, flow, weight)
        waiter.deadline = deadline
        self._waiters[waiter.waiter_id] = waiter
        state.waiters += 1
        if deadline < math.inf:
            self._schedule(deadline, waiter, expiry=True)
        if not_before > now:
            self._schedule(not_before, waiter, expiry=False)
        else:
            self._line_up(waiter)
        return waiter.waiter_id

    def cancel(self, waiter_id: WaiterId, now: float) -> bool:
        """Takes a waiter out. False if it is not waiting: granted, expired or never known."""
        waiter = self._waiters.get(waiter_id)
        if waiter is None:
            return False
        self._forget(waiter)
        return True

    def release(self, permit: Permit, outcome: Outcome, now: float) -> ReleaseStatus:
        """Gives a permit back with how its request ended.

        Anything but the exact live permit credits nothing, teaches nothing and never raises.
        """
        pool = self._pools.get(permit.pool)
        status = self._judge(permit, pool)
        if status is not ReleaseStatus.RELEASED or pool is None:
            return status
        self._changes += pool.settle(permit, outcome, now)
        pool.model.queue.open(pool.key)
        self._touch(pool.model)
        return status

    def pause(self, paused: bool) -> None:
        """While paused nothing is granted; waiters keep their places, and may expire."""
        self._paused = paused
        for pool in self._pools.values():
            self._touch(pool.model)

    def advance(self, now: float) -> Turn:
        """Expires, wakes and grants what is due. Touches only pools that changed or are due."""
        expired = self._fall_due(now)
        granted: list[Grant] = []
        dirty, self._dirty = ([], self._dirty) if self._paused else (self._dirty, [])
        for model in dirty:
            model.dirty = False
            self._grant(model, now, granted)
        changes, self._changes = self._changes, []
        return Turn(granted, expired, changes, self._next_deadline())

    def statistics(self, pool: PoolKey, now: float) -> PoolStatistics:
        """How a pool stands at `now`."""
        return self._pools[pool].statistics(now)

    def _line_up(self, waiter: Waiter) -> None:
        pool = waiter.pool
        waiter.ticket = pool.model.queue.enqueue(
            (pool.key, waiter.flow), waiter, weight=waiter.weight
        )
        self._touch(pool.model)

    def _touch(self, model: ModelState) -> None:
        if not model.dirty:
            model.dirty = True
            self._dirty.append(model)

    def _forget(self, waiter: Waiter) -> None:
        waiter.done = True
        del self._waiters[waiter.waiter_id]
        waiter.pool.waiters -= 1
        if waiter.ticket is not None:
            waiter.pool.model.queue.discard(waiter.ticket)

    def _grant(self, model: ModelState, now: float, granted: list[Grant]) -> None:
        while model.in_flight < model.cap:
            selection = model.queue.select()
            if selection is None:
                return
            waiter = selection.item
            pool = waiter.pool
            if not pool.room(now):
                model.queue.close(selection, pool.key)
                self._wake_pool(pool, pool.opens_at(now))
                continue
            model.queue.commit(selection)
            self._forget(waiter)
            granted.append(Grant(waiter.waiter_id, self._issue(pool, waiter.waiter_id, now)))

    def _issue(self, pool: PoolState, waiter_id: WaiterId, now: float) -> Permit:
        self._last_permit += 1
        pool.model.in_flight += 1
        pool.granted += 1
        permit = Permit(
            self._last_permit,
            self._issuer,
            pool.key,
            waiter_id,
            now,
            pool.value(now),
            len(pool.held) + 1,
        )
        pool.held[permit.permit_id] = HeldPermit(permit)
        return permit

    def _judge(self, permit: Permit, pool: PoolState | None) -> ReleaseStatus:
        if permit.issuer != self._issuer:
            return ReleaseStatus.FOREIGN
        if pool is None or not 1 <= permit.permit_id <= self._last_permit:
            return ReleaseStatus.UNKNOWN
        held = pool.held.get(permit.permit_id)
        if held is None:
            return ReleaseStatus.DUPLICATE
        return ReleaseStatus.RELEASED if held.permit == permit else ReleaseStatus.STALE

    def _schedule(self, at: float, what: Waiter | PoolState, *, expiry: bool) -> None:
        if len(self._due) > _SWEEP_FLOOR + 2 * len(self._waiters) + len(self._pools):
            self._due = [entry for entry in self._due if _is_current(entry)]
            heapify(self._due)
        self._order += 1
        heappush(self._due, (at, self._order, what, expiry))

    def _wake_pool(self, pool: PoolState, at: float) -> None:
        if at < math.inf and at != pool.wake_at:
            pool.wake_at = at
            self._schedule(at, pool, expiry=False)

    def _fall_due(self, now: float) -> list[WaiterId]:
        """Handles what is due. Expiry comes before any grant of the same turn."""
        expired = []
        while self._due and self._due[0][0] <= now:
            entry = heappop(self._due)
            what, expiry = entry[2], entry[3]
            if not _is_current(entry):
                continue
            if isinstance(what, PoolState):
                what.wake_at = math.inf
                what.model.queue.open(what.key)
                self._touch(what.model)
            elif expiry:
                self._forget(what)
                expired.append(what.waiter_id)
            else:
                self._line_up(what)
        return expired

    def _next_deadline(self) -> float:
        while self._due and not _is_current(self._due[0]):
            heappop(self._due)
        return self._due[0][0] if self._due else math.inf


def _is_current(entry: _Due) -> bool:
    at, _, what, _ = entry
    return what.wake_at == at if isinstance(what, PoolState) else not what.done
