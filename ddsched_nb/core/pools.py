"""The state behind request admission: waiters, budgets, models and pools, and what a pool learns.

A pool applies outcomes to its limit, its pacing, its cooldown and its circuit; who is granted, and
when, is decided in `request_admission`. Nothing here knows a timer, a task or a row.
"""

from __future__ import annotations

import math
from collections.abc import Hashable

from ddsched_nb.core.fair_queue import FairQueue, Ticket
from ddsched_nb.core.limits import FixedLimit, Limit, put
from ddsched_nb.core.model import (
    REMOTE_OUTCOMES,
    ModelKey,
    Outcome,
    OutcomeKind,
    Permit,
    PoolKey,
    Sample,
)
from ddsched_nb.core.pacing import Pacing, Ticking
from ddsched_nb.core.pool_facts import Change, CooldownStart, LimitChange, PoolStatistics, Recovered
from ddsched_nb.core.pressure import PoolLoad

PROBE_SHARE = 0.1
"""Probes of an endpoint that serves nothing come as often as each tenth of the time since."""

RAREST_PROBE_S = 60.0
"""Seconds between two such probes at the most, unless the endpoint asks for more."""

_SHORTEST_PROBE_S = 0.05

# As often as a request is made: an enum's member, looked up, costs as much as a permit.
_SUCCESS, _RATE_LIMITED = OutcomeKind.SUCCESS, OutcomeKind.RATE_LIMITED
_new = tuple.__new__


class HeldPermit:
    """A live permit, and how many of those in flight at its grant were not refused since."""

    __slots__ = ("budget_taken", "permit", "served", "taken")

    def __init__(
        self, permit: Permit, served: int, taken: Ticking, budget_taken: Ticking | None
    ) -> None:
        self.permit = permit
        self.served = served
        self.taken = taken
        self.budget_taken = budget_taken


class Waiter:
    """A queued acquire."""

    __slots__ = (
        "client",
        "done",
        "flow",
        "pool",
        "ticket",
        "tokens",
        "waiter_id",
        "weight",
    )

    def __init__(
        self,
        waiter_id: int,
        pool: PoolState,
        flow: Hashable,
        weight: float,
        tokens: float,
        client: int,
    ) -> None:
        self.waiter_id = waiter_id
        self.pool = pool
        self.flow = flow
        self.weight = weight
        self.tokens = tokens
        self.client = client
        self.ticket: Ticket[Waiter] | None = None
        self.done = False


class BudgetState:
    """Models that share a budget, or a model alone: one cap, one fair queue."""

    __slots__ = ("cap", "dirty", "in_flight", "only", "pacing", "queue", "wake_at")

    def __init__(self, cap: float = math.inf, pacing: Pacing | None = None) -> None:
        self.cap = cap
        self.pacing = pacing
        self.in_flight = 0
        self.queue: FairQueue[Waiter] = FairQueue()
        # Its pool, where it has just one: then nobody needs to be asked while that has no room.
        self.only: PoolState | None = None
        self.dirty = False
        self.wake_at = math.inf


class ModelState:
    """All domains of a provider/model: one aggregate cap."""

    __slots__ = ("budget", "cap", "in_flight", "key")

    def __init__(self, key: ModelKey, budget: BudgetState, cap: int) -> None:
        self.key = key
        self.budget = budget
        self.cap = cap
        self.in_flight = 0


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
        "learns",
        "limit",
        "model",
        "paced_until",
        "pacing",
        "probed_at",
        "refused",
        "silent_since",
        "succeeded",
        "tokens",
        "waiters",
        "wake_at",
    )

    def __init__(
        self, key: PoolKey, model: ModelState, cap: int, limit: Limit, pacing: Pacing
    ) -> None:
        self.key = key
        self.model = model
        self.cap = cap
        self.limit = limit
        # One that hears samples and does nothing with them is spared them.
        self.learns = getattr(type(limit), "on_sample", None) is not FixedLimit.on_sample
        self.pacing = pacing
        self.held: dict[int, HeldPermit] = {}
        self.cooldown_until = 0.0
        self.wake_at = math.inf
        self.paced_until = 0.0
        # Since when nothing is served, where that is so, and when the last probe went out.
        self.silent_since: float | None = None
        self.probed_at = -math.inf
        self.waiters = 0
        self.granted = self.succeeded = self.refused = self.failed = self.tokens = 0
        self.last_success_at = -math.inf

    def room(self, now: float) -> bool:
        return len(self.held) < self.most(now)

    def most(self, now: float) -> int:
        """How many may be in flight at `now`; no outcome, no change of it."""
        if now < self.cooldown_until:
            return 0
        if self.silent_since is not None:
            return 1  # one at a time, until something is served
        return self.value(now)

    def value(self, now: float) -> int:
        cap, value = self.cap, self.limit.value(now)
        return value if value < cap else cap

    def opens_at(self, now: float) -> float:
        """When a pool without room may have some though nothing is released."""
        if now < self.cooldown_until:
            return self.cooldown_until
        return self.limit.next_change(now)

    def paced(self, tokens: float, now: float) -> float:
        """When a request with a prompt of so many tokens may go out, as far as quotas go.

        Who comes while somebody waits for tokens does not overtake, though it needs fewer.
        """
        at = self.pacing.ready_at(tokens, now)
        if at < self.paced_until:
            return self.paced_until
        self.paced_until = at
        return at

    def settle(self, permit: Permit, outcome: Outcome, now: float) -> list[Change]:
        """Takes a live permit back; learns from it if its outcome is a remote one."""
        held, kind, model = self.held.pop(permit.permit_id), outcome.kind, self.model
        budget = model.budget
        model.in_flight -= 1
        budget.in_flight -= 1
        self.pacing.settle(held.taken, outcome, now)
        if held.budget_taken is not None and budget.pacing is not None:
            budget.pacing.settle(held.budget_taken, outcome, now)
        if kind not in REMOTE_OUTCOMES:
            return []
        if kind is _RATE_LIMITED:
            outcome = self._understood(held, outcome, now)
        if not self.learns:
            return self._count(held, outcome, now)
        before, sent_at = self.value(now), permit.granted_at
        facts = (sent_at, now, now - sent_at, permit.in_flight, permit.limit, held.served, kind)
        sample = _new(Sample, facts)
        if outcome.spent is None:  # a spent quota says nothing about how many may be in flight
            self.limit.on_sample(sample)
        changes = self._count(held, outcome, now)
        after = self.value(now)
        if after != before:
            moved = LimitChange(self.key, before, after, kind, permit.permit_id, sample)
            changes.insert(0, moved)
        return changes

    def recap(self, cap: int, now: float) -> list[Change]:
        """Gives the pool another cap."""
        before = self.value(now)
        self.cap = cap
        self.limit.recap(cap)
        after = self.value(now)
        return [] if before == after else [LimitChange(self.key, before, after, "cap")]

    def put(self, value: int, now: float) -> LimitChange:
        """Puts the limit at a value, from which it moves on; told also where it is there already,
        since it may have forgotten what it had learned.
        """
        before = self.value(now)
        put(self.limit, value, now)
        return LimitChange(self.key, before, self.value(now), "asked")

    def load(self, now: float) -> PoolLoad:
        model, budget = self.model, self.model.budget
        room = min(model.cap - model.in_flight, budget.cap - budget.in_flight)
        cooling = self.cooldown_until if now < self.cooldown_until else 0.0
        if not cooling and self.silent_since is not None:
            cooling = math.inf
        cap = model.in_flight + room
        return PoolLoad(
            self.value(now), len(self.held), self.waiters, cap, model.in_flight, cooling
        )

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
            probing=self.silent_since is not None,
            signals=self.limit.signals,
            pacing=tuple(
                found
                for pacing in (self.pacing, self.model.budget.pacing)
                if pacing is not None
                for found in pacing.statistics()
                if found.per_minute is not None
            ),
        )

    def _understood(self, held: HeldPermit, outcome: Outcome, now: float) -> Outcome:
        """The outcome, with the quota that a refusal is for, where it does not say so itself."""
        if self.limit.cooldown == "always" or not self._serving(held):
            return outcome
        # Among others, how much is accepted between refusals is for them to say, too: a fair
        # limit's own steps are even enough to be taken for a quota.
        if getattr(self.limit, "fair", False):
            return outcome
        known = self.pacing.learned
        spent = self.pacing.suspect(held.taken, outcome, held.served, now)
        if spent is None:
            return outcome
        if not known:
            self.limit.forgive(now)
        return outcome._replace(spent=spent)

    def _count(self, held: HeldPermit, outcome: Outcome, now: float) -> list[Change]:
        if outcome.kind is _SUCCESS:
            return self._on_success(outcome, now)
        if outcome.kind is _RATE_LIMITED:
            return self._on_refusal(held, outcome, now)
        self.failed += 1
        # An endpoint that never was there is not waited for.
        if outcome.unavailable and self.succeeded and not self._serving(held):
            return self._fall_silent(held, outcome, now, "unavailable")
        return []

    def _on_success(self, outcome: Outcome, now: float) -> list[Change]:
        self.succeeded += 1
        self.last_success_at = now
        if outcome.usage is not None:
            self.tokens += outcome.usage.total_tokens
        if self.silent_since is None:
            return []
        since, self.silent_since = self.silent_since, None
        return [Recovered(self.key, since)]

    def _serving(self, held: HeldPermit) -> bool:
        """Whether anything is served: it was answered since, or went out before and still runs."""
        return self.last_success_at > held.permit.granted_at or held.served > 1

    def _on_refusal(self, refused: HeldPermit, outcome: Outcome, now: float) -> list[Change]:
        permit = refused.permit
        self.refused += 1
        for permit_id, other in self.held.items():
            # Whoever was granted later counted this one among those in flight: it was not served.
            if permit_id > permit.permit_id:
                other.served -= 1
        if outcome.spent is not None:
            pause = self._asked(outcome, now)
            if outcome.retry_after is None and self.pacing.learned:
                pause = self.pacing.ready_at(0.0, now) - now  # what it learned says when
            return self._cool(pause, now, outcome.spent)
        if not self._serving(refused):
            return self._fall_silent(refused, outcome, now, "refused")
        if self.limit.cooldown == "spent":
            return []
        return self._cool(self._asked(outcome, now), now, "refused")

    def _asked(self, outcome: Outcome, now: float) -> float:
        return self.limit.pause(now) if outcome.retry_after is None else outcome.retry_after

    def _cool(self, pause: float, now: float, reason: str) -> list[Change]:
        if now + pause <= max(now, self.cooldown_until):
            return []
        self.cooldown_until = now + pause
        return [CooldownStart(self.key, self.cooldown_until, reason)]

    def _fall_silent(
        self, held: HeldPermit, outcome: Outcome, now: float, reason: str
    ) -> list[Change]:
        """Nothing is served: from now on one probe at a time, in gaps that grow geometrically."""
        pause = self._asked(outcome, now)
        if self.silent_since is None:
            self.silent_since = now
            self.probed_at = now
        elif held.permit.granted_at >= self.probed_at:
            # A probe, and not one of those that went out before it fell silent.
            self.probed_at = now
            gone = PROBE_SHARE * (now - self.silent_since)
            pause = max(pause, min(gone, RAREST_PROBE_S), _SHORTEST_PROBE_S)
        return self._cool(pause, now, reason)
