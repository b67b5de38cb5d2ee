"""Request admission: may this one model call go out now?

Owns pools (a model of a provider in one domain), their limits, pacing, cooldowns and permits, the
aggregate cap of each provider/model over its domains, the budgets that models share, and the fair
queues of waiters. It must not know rows, columns or task leases. Pure: `now` comes in, grants and
the next deadline come out. Its holder calls `advance` after every `enqueue`, `cancel` and
`release`, or once after several of one instant, and again at the deadline it named.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable

from ddsched_nb.core.due import DueHeap
from ddsched_nb.core.limits import Limit
from ddsched_nb.core.model import ModelKey, Outcome, Permit, PoolKey, ReleaseStatus
from ddsched_nb.core.pacing import Pacing
from ddsched_nb.core.pool_facts import (
    Budget,
    Change,
    Grant,
    LimitChange,
    PoolStatistics,
    Turn,
    WaiterId,
)
from ddsched_nb.core.pools import BudgetState, HeldPermit, ModelState, PoolState, Waiter
from ddsched_nb.core.pressure import PoolLoad
from ddsched_nb.core.weight import check_weight
from ddsched_nb.errors import ConfigError

# As often as a request is made: an enum's member, looked up, costs as much as a permit.
_RELEASED = ReleaseStatus.RELEASED
_new = tuple.__new__

# Tells the permits of one admission from those of another; it never enters an event.
_issuers = itertools.count(1)


class RequestAdmission:
    """Grants permits to waiters, fairly, within limits, caps and cooldowns."""

    def __init__(self) -> None:
        self._issuer = next(_issuers)
        self._models: dict[ModelKey, ModelState] = {}
        self._budgets: dict[str, BudgetState] = {}
        self._pools: dict[PoolKey, PoolState] = {}
        self._waiters: dict[WaiterId, Waiter] = {}
        self._due = DueHeap()
        self._expired: list[WaiterId] = []
        self._dirty: list[BudgetState] = []
        self._changes: list[Change] = []
        self._last_waiter = self._last_permit = 0
        self._paused: set[int] = set()

    def register(
        self,
        pool: PoolKey,
        limit: Limit,
        *,
        cap: int,
        aggregate_cap: int,
        pacing: Pacing | None = None,
        budget: Budget | None = None,
    ) -> None:
        """Makes a pool known.

        Args:
            pool: Names it.
            limit: Moves its limit.
            cap: What the limit never exceeds, at least 1.
            aggregate_cap: What all domains of its provider/model together never exceed; if several
                pools of one model name different ones, the least holds.
            pacing: Its quotas per minute; to be learned if None.
            budget: What its model shares with others. The first pool of a model decides.

        Raises:
            ConfigError: The pool is registered already, or a cap is below 1.
        """
        if pool in self._pools:
            raise ConfigError(f"pool {pool.label!r} is registered twice; register it once")
        if cap < 1 or aggregate_cap < 1:
            raise ConfigError(f"caps of pool {pool.label!r} are {cap}, {aggregate_cap}; give >= 1")
        if budget is not None and budget.cap < 1:
            raise ConfigError(f"cap of budget {budget.name!r} is {budget.cap}; give at least 1")
        model = self._models.get(pool.model_key)
        if model is None:
            shared = self._budget(budget)
            model = self._models[pool.model_key] = ModelState(pool.model_key, shared, aggregate_cap)
        model.cap = min(model.cap, aggregate_cap)
        alone = all(state.model.budget is not model.budget for state in self._pools.values())
        state = self._pools[pool] = PoolState(pool, model, cap, limit, pacing or Pacing())
        model.budget.only = state if alone else None

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

    def set_caps(self, pool: PoolKey, now: float, *, cap: int, aggregate_cap: int) -> None:
        """Changes the caps of a pool. A higher one wakes waiters; a lower one lets holders finish.

        Raises:
            ConfigError: A cap is below 1, or the pool is not registered.
        """
        state = self._known(pool)
        if cap < 1 or aggregate_cap < 1:
            raise ConfigError(f"caps of pool {pool.label!r} are {cap}, {aggregate_cap}; give >= 1")
        state.model.cap = aggregate_cap
        self._changes += state.recap(cap, now)
        self._open(state)

    def set_limit(self, pool: PoolKey, value: int, now: float) -> LimitChange:
        """Puts a limit at a value of at least 1, from which it moves on; see `limits.put`."""
        state = self._known(pool)
        self._open(state)
        return state.put(value, now)

    def enqueue(
        self,
        pool: PoolKey,
        now: float,
        *,
        flow: Hashable = None,
        weight: float = 1.0,
        tokens: float = 0.0,
        client: int = 0,
        not_before: float = 0.0,
        deadline: float = math.inf,
    ) -> WaiterId:
        """Queues a waiter for one permit.

        Args:
            pool: Where it wants to go.
            now: The instant of the call, in seconds.
            flow: Whose request this is; flows share a pool fairly.
            weight: The flow's weight, finite and above 0.
            tokens: Tokens of its prompt, as far as known; matters where tokens have a quota.
            client: Who asks, where several share this admission: what one pauses, others use.
            not_before: No permit before this instant.
            deadline: No permit at or after this instant; then the waiter expires.

        Raises:
            ConfigError: The pool is not registered, or `weight` is not a finite number above 0.
        """
        if not 0 < weight < math.inf:
            # Before anything is booked, and not when the waiter comes due: it would hit others.
            check_weight(flow, weight)
        state = self._pools.get(pool) or self._known(pool)
        if self._due.entries:
            self._fall_due(now)  # who is due lines up first, however late his timer comes
        self._last_waiter += 1
        waiter = Waiter(self._last_waiter, state, flow, weight, tokens, client)
        self._waiters[self._last_waiter] = waiter
        state.waiters += 1
        if deadline < math.inf:
            self._add_due(deadline, waiter, expiry=True)
        if not_before > now:
            self._add_due(not_before, waiter, expiry=False)
        else:
            self._line_up(waiter, now)
        return waiter.waiter_id

    def cancel(self, waiter_id: WaiterId, now: float) -> bool:
        """Takes a waiter out. False if it is not waiting: granted, expired or never known."""
        waiter = self._waiters.get(waiter_id)
        if waiter is None:
            return False
        self._take_out(waiter)
        return True

    def release(self, permit: Permit, outcome: Outcome, now: float) -> ReleaseStatus:
        """Gives a permit back with how its request ended.

        Anything but the exact live permit credits nothing, teaches nothing and never raises.
        """
        pool = self._pools.get(permit.pool)
        held = None if pool is None else pool.held.get(permit.permit_id)
        if pool is None or held is None or held.permit is not permit:
            status = self._judge(permit, pool)
            if status is not _RELEASED or pool is None:
                return status
        try:
            self._changes += pool.settle(permit, outcome, now)
        finally:
            self._open(pool)  # a limit of one's own may have raised: the permit is back
        return _RELEASED

    def pause(self, paused: bool, client: int = 0) -> None:
        """While paused a client is granted nothing; its waiters keep their places, and may expire.

        Args:
            paused: Whether from now on.
            client: Whose waiters.
        """
        if paused:
            self._paused.add(client)
            return
        self._paused.discard(client)
        for pool in self._pools.values():
            pool.model.budget.queue.open(_pause_gate(client))
            self._touch(pool.model.budget)

    def advance(self, now: float) -> Turn:
        """Expires, wakes and grants what is due. Touches only pools that changed or are due."""
        if self._due.entries:
            self._fall_due(now)
        expired, self._expired = self._expired, []
        granted: list[Grant] = []
        dirty, self._dirty = self._dirty, []
        for budget in dirty:
            budget.dirty = False
            self._grant(budget, now, granted)
        changes, self._changes = self._changes, []
        return Turn(granted, expired, changes, self._due.next_deadline())

    def may_wait(self, pool: PoolKey) -> bool:
        """Whether the turn after a release to a pool may come after further releases.

        So it is where somebody waits for what came back, and nothing else is to be told of it.
        """
        state = self._pools.get(pool)
        return state is not None and state.waiters > 0 and not self._changes

    def settled(self, now: float, deadline: float) -> bool:
        """Whether `advance` would decide nothing at `now`, and name `deadline` as the next."""
        undecided = self._dirty or self._changes or self._expired or deadline <= now
        return not undecided and deadline == self._due.next_deadline()

    def statistics(self, pool: PoolKey, now: float) -> PoolStatistics:
        """How a pool stands at `now`."""
        return self._pools[pool].statistics(now)

    def load(self, pool: PoolKey, now: float) -> PoolLoad:
        """How a pool stands, as far as a scheduler needs to know."""
        return self._pools[pool].load(now)

    def _line_up(self, waiter: Waiter, now: float) -> None:
        pool = waiter.pool
        budget, flow = pool.model.budget, (pool.key, waiter.client, waiter.flow)
        ticket = waiter.ticket = budget.queue.enqueue(flow, waiter, weight=waiter.weight)
        if ticket.state.live > 1 and budget.only is not None and budget.pacing is None:
            return  # what holds those of its flow back who came before holds it back
        if budget.only is not None and not budget.only.room(now):
            self._wake(budget.only, budget.only.opens_at(now))
        elif not budget.queue.shut_in(ticket):
            self._touch(budget)

    def _known(self, pool: PoolKey) -> PoolState:
        state = self._pools.get(pool)
        if state is None:
            known = ", ".join(key.label for key in self._pools) or "none"
            raise ConfigError(f"pool {pool.label!r} is not registered; known pools: {known}")
        return state

    def _budget(self, budget: Budget | None) -> BudgetState:
        if budget is None:
            return BudgetState()  # of this model alone
        return self._budgets.setdefault(budget.name, BudgetState(budget.cap, budget.pacing))

    def _open(self, pool: PoolState) -> None:
        """Something of a pool changed: whoever waits behind it is looked at again."""
        budget = pool.model.budget
        queue = budget.queue
        pool.paced_until = 0.0
        if queue.gates:
            queue.open(pool.key)
            queue.open(pool.model.key)
        if not budget.dirty:
            self._touch(budget)

    def _touch(self, budget: BudgetState) -> None:
        if not budget.dirty:
            budget.dirty = True
            self._dirty.append(budget)

    def _forget(self, waiter: Waiter) -> None:
        waiter.done = True
        del self._waiters[waiter.waiter_id]
        waiter.pool.waiters -= 1
        waiter.ticket = None  # each points at the other: only the garbage collector would find them

    def _take_out(self, waiter: Waiter) -> None:
        if waiter.ticket is not None:
            waiter.pool.model.budget.queue.discard(waiter.ticket)
        self._forget(waiter)

    def _grant(self, budget: BudgetState, now: float, granted: list[Grant]) -> None:
        queue, only = budget.queue, budget.only
        most, value = (0, 0) if only is None else (only.most(now), only.value(now))
        while budget.in_flight < budget.cap:
            if only is not None and len(only.held) >= most:
                if queue.flows:
                    self._wake(only, only.opens_at(now))
                return
            ticket = queue.front()
            if ticket is None:
                return
            waiter = ticket.item
            pool = waiter.pool
            if waiter.client in self._paused:
                queue.close(ticket, _pause_gate(waiter.client))
                continue
            if pool.model.in_flight >= pool.model.cap:
                queue.close(ticket, pool.model.key)
                continue
            # Behind one gate with all others of its pool: what is smaller must not overtake.
            full = only is None and not pool.room(now)
            opens_at = pool.opens_at(now) if full else pool.paced(waiter.tokens, now)
            if opens_at > now:
                queue.close(ticket, pool.key)
                self._wake(pool, opens_at)
                continue
            if budget.pacing is not None:
                opens_at = budget.pacing.ready_at(waiter.tokens, now)
                if opens_at > now:
                    self._wake(budget, opens_at)
                    return
            queue.take(ticket)
            self._forget(waiter)
            limit = pool.value(now) if only is None else value
            granted.append(_new(Grant, (waiter.waiter_id, self._issue(pool, waiter, limit, now))))

    def _issue(self, pool: PoolState, waiter: Waiter, limit: int, now: float) -> Permit:
        number = self._last_permit = self._last_permit + 1
        model, held = pool.model, pool.held
        budget, in_flight = model.budget, len(held) + 1
        model.in_flight += 1
        budget.in_flight += 1
        pool.granted += 1
        facts = (number, self._issuer, pool.key, waiter.waiter_id, now, limit, in_flight)
        permit = _new(Permit, facts)
        taken, shared = pool.pacing.spend(waiter.tokens, now), budget.pacing
        of_budget = None if shared is None else shared.spend(waiter.tokens, now)
        held[number] = HeldPermit(permit, in_flight, taken, of_budget)
        return permit

    def _judge(self, permit: Permit, pool: PoolState | None) -> ReleaseStatus:
        if permit.issuer != self._issuer:
            return ReleaseStatus.FOREIGN
        if pool is None or not 1 <= permit.permit_id <= self._last_permit:
            return ReleaseStatus.UNKNOWN
        held = pool.held.get(permit.permit_id)
        if held is None:
            return ReleaseStatus.DUPLICATE
        return _RELEASED if held.permit == permit else ReleaseStatus.STALE

    def _add_due(self, at: float, what: Waiter | PoolState | BudgetState, *, expiry: bool) -> None:
        self._due.add(at, what, expiry=expiry, living=len(self._waiters) + len(self._pools))

    def _wake(self, what: PoolState | BudgetState, at: float) -> None:
        if at < math.inf and at != what.wake_at:
            what.wake_at = at
            self._add_due(at, what, expiry=False)

    def _fall_due(self, now: float) -> None:
        """Handles what is due. Expiry comes before any grant of the same turn."""
        while (entry := self._due.pop(now)) is not None:
            what = entry.what
            if isinstance(what, PoolState):
                what.wake_at = math.inf
                self._open(what)
            elif isinstance(what, BudgetState):
                what.wake_at = math.inf
                self._touch(what)
            elif entry.expiry:
                self._take_out(what)
                self._expired.append(what.waiter_id)
            else:
                self._line_up(what, now)


def _pause_gate(client: int) -> tuple[str, int]:
    return ("paused", client)
