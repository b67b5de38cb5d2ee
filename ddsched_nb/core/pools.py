"""The state behind request admission: waiters, models and pools, and what a pool learns.

A pool applies outcomes to its limit and its cooldown; who is granted, and when, is decided in
`request_admission`. Nothing here knows a timer, a task or a row.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import NamedTuple

from ddsched_nb.core.fair_queue import FairQueue, Ticket
from ddsched_nb.core.limits import Limit
from ddsched_nb.core.model import (
    REMOTE_OUTCOMES,
    Outcome,
    OutcomeKind,
    Permit,
    PoolKey,
    Sample,
)


class LimitChange(NamedTuple):
    """A limit moved because of a request's outcome."""

    pool: PoolKey
    before: int
    after: int
    reason: OutcomeKind


class CooldownStart(NamedTuple):
    """A pool stopped granting until an instant."""

    pool: PoolKey
    until: float


class PoolStatistics(NamedTuple):
    """How a pool stands. Asking changes nothing; instants are on the caller's clock."""

    pool: PoolKey
    algorithm: str
    limit: int
    cap: int
    in_flight: int
    waiters: int
    cooldown_until: float
    granted: int
    succeeded: int
    refused: int
    failed: int
    last_success_at: float
    tokens: int


class HeldPermit:
    """A live permit, and how many of those in flight at its grant were not refused since."""

    __slots__ = ("permit", "served")

    def __init__(self, permit: Permit) -> None:
        self.permit = permit
        self.served = permit.in_flight


class Waiter:
    """A queued acquire."""

    __slots__ = ("deadline", "done", "flow", "pool", "ticket", "waiter_id", "weight")

    def __init__(self, waiter_id: int, pool: PoolState, flow: Hashable, weight: float) -> None:
        self.waiter_id = waiter_id
        self.pool = pool
        self.flow = flow
        self.weight = weight
        self.deadline = math.inf
        self.ticket: Ticket[Waiter] | None = None
        self.done = False


class ModelState:
    """All domains of a provider/model: one aggregate cap, one fair queue."""

    __slots__ = ("cap", "dirty", "in_flight", "queue")

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.in_flight = 0
        self.queue: FairQueue[Waiter] = FairQueue()
        self.dirty = False


class PoolState:
    """One limit with what it governs."""

    __slots__ = (
        "cap",
        "cooldown_until",
        "failed",
        "granted",
        "held",
        "key",
        "last_success_at",
        "limit",
        "model",
        "refused",
        "succeeded",
        "tokens",
        "waiters",
        "wake_at",
    )

    def __init__(self, key: PoolKey, model: ModelState, cap: int, limit: Limit) -> None:
        self.key = key
        self.model = model
        self.cap = cap
        self.limit = limit
        self.held: dict[int, HeldPermit] = {}
        self.cooldown_until = 0.0
        self.wake_at = math.inf
        self.waiters = 0
        self.granted = self.succeeded = self.refused = self.failed = self.tokens = 0
        self.last_success_at = -math.inf

    def room(self, now: float) -> bool:
        return now >= self.cooldown_until and len(self.held) < self.value(now)

    def value(self, now: float) -> int:
        return min(self.cap, self.limit.value(now))

    def opens_at(self, now: float) -> float:
        """When a pool without room may have some though nothing is released."""
        if now < self.cooldown_until:
            return self.cooldown_until
        return self.limit.next_change(now)

    def settle(
        self, permit: Permit, outcome: Outcome, now: float
    ) -> list[LimitChange | CooldownStart]:
        """Takes a live permit back; learns from it if its outcome is a remote one."""
        held = self.held.pop(permit.permit_id)
        self.model.in_flight -= 1
        if outcome.kind not in REMOTE_OUTCOMES:
            return []
        before = self.value(now)
        self.limit.on_sample(
            Sample(
                sent_at=permit.granted_at,
                now=now,
                rtt=now - permit.granted_at,
                in_flight=permit.in_flight,
                limit=permit.limit,
                served=held.served,
                outcome=outcome.kind,
            )
        )
        changes = self._count(held, outcome, now)
        after = self.value(now)
        if after != before:
            changes.insert(0, LimitChange(self.key, before, after, outcome.kind))
        return changes

    def statistics(self, now: float) -> PoolStatistics:
        return PoolStatistics(
            pool=self.key,
            algorithm=self.limit.name,
            limit=self.value(now),
            cap=self.cap,
            in_flight=len(self.held),
            waiters=self.waiters,
            cooldown_until=self.cooldown_until if now < self.cooldown_until else 0.0,
            granted=self.granted,
            succeeded=self.succeeded,
            refused=self.refused,
            failed=self.failed,
            last_success_at=self.last_success_at,
            tokens=self.tokens,
        )

    def _count(
        self, held: HeldPermit, outcome: Outcome, now: float
    ) -> list[LimitChange | CooldownStart]:
        if outcome.kind is OutcomeKind.RATE_LIMITED:
            return self._on_refusal(held, outcome, now)
        if outcome.kind is OutcomeKind.SUCCESS:
            self.succeeded += 1
            self.last_success_at = now
            if outcome.usage is not None:
                self.tokens += outcome.usage.total_tokens
        else:
            self.failed += 1
        return []

    def _on_refusal(
        self, refused: HeldPermit, outcome: Outcome, now: float
    ) -> list[LimitChange | CooldownStart]:
        permit = refused.permit
        self.refused += 1
        for permit_id, other in self.held.items():
            # Whoever was granted later counted this one among those in flight: it was not served.
            if permit_id > permit.permit_id:
                other.served -= 1
        # Something is served: it was answered since, or went out before and was not refused.
        serving = self.last_success_at > permit.granted_at or refused.served > 1
        if self.limit.cooldown == "spent" and serving:
            return []
        pause = outcome.retry_after if outcome.retry_after is not None else self.limit.pause(now)
        if now + pause <= max(now, self.cooldown_until):
            return []
        self.cooldown_until = now + pause
        return [CooldownStart(self.key, self.cooldown_until)]
