"""The request limiter: request admission on a running event loop, for one run or around any client.

It knows which account a pool belongs to, tells events, and keeps the history of each limit. Who is
granted, and when, is decided in the core; how to wait, in `aio.account`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Hashable
from typing import Any

from ddsched_nb.aio.account import Account
from ddsched_nb.aio.background import background_loop
from ddsched_nb.aio.bus import EventBus
from ddsched_nb.aio.membership import LimitPoint, Membership, Place
from ddsched_nb.aio.permits import Holding, refuse_on_a_loop, wait_in_thread
from ddsched_nb.aio.reporters import RequestReporter
from ddsched_nb.core.limits import CeilingLimit, Limit, OwnLimit, limit_from
from ddsched_nb.core.model import Domain, Outcome, Permit, PoolKey, ReleaseStatus
from ddsched_nb.core.pacing import Pacing
from ddsched_nb.core.pool_facts import Budget, PoolStatistics, pools_html
from ddsched_nb.core.pressure import PoolLoad
from ddsched_nb.core.request_admission import RequestAdmission
from ddsched_nb.errors import AdmissionClosed, ConfigError, QueueTimeout

_RELEASED = ReleaseStatus.RELEASED
_CLOSED = "the run has ended; the provider was not asked"
DEFAULT_CAP = 256
"""What the limit of a model never exceeds where nobody says otherwise."""


class RequestLimiter:
    """Grants permits for model calls to coroutines of one event loop.

    `async with limiter.permit(model="writer"):` around any call is all it takes: the limit starts
    at a dozen, finds what the endpoint serves, and stays there.

    Args:
        admission: The pure core; a fresh one by default.
        reporter: Tells what happens; nobody by default.
        limit: Makes the limit of a model that nobody registered, from its cap.
        cap: What that limit never exceeds.
    """

    def __init__(
        self,
        admission: RequestAdmission | None = None,
        reporter: RequestReporter | None = None,
        *,
        limit: Callable[[int], OwnLimit] = CeilingLimit,
        cap: int = DEFAULT_CAP,
    ) -> None:
        self._reporter = reporter or RequestReporter(EventBus(), self._now)
        self._make_limit = limit
        self._cap = cap
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._private = Membership(Account(admission), self._reporter)
        self._members: dict[str, Membership] = {}
        self._places: dict[PoolKey, Place] = {}
        self._waiting = 0

    def __repr__(self) -> str:
        return f"<RequestLimiter: {self.permits} in flight, {self.waiting} waiting>"

    def _repr_html_(self) -> str:
        return pools_html(map(self.statistics, sorted(self.pools)), "request limiter")

    def use_account(self, provider: str, account: Account) -> None:
        """Says where the pools of a provider are, before they are registered.

        Args:
            provider: Its name in our pools.
            account: Shared with other limiters, perhaps.
        """
        known = (each for each in self._members.values() if each.account is account)
        self._members[provider] = next(known, None) or Membership(account, self._reporter)
        self._loop = self._loop or account.loop

    def register(
        self,
        pool: PoolKey,
        limit: Limit,
        *,
        cap: int,
        aggregate_cap: int | None = None,
        pacing: Pacing | None = None,
        budget: Budget | None = None,
        now: float | None = None,
    ) -> None:
        """Makes a pool known; see `RequestAdmission.register`.

        In an account that is shared, a pool that another run registered is used as it stands: its
        limit, its pacing and its budget; the least of all caps holds.
        """
        aggregate = cap if aggregate_cap is None else aggregate_cap
        if pool in self._places:
            raise ConfigError(f"pool {pool.label!r} is registered twice; register it once")
        member = self._members.get(pool.provider, self._private)
        admission = member.account.admission
        theirs = pool
        if member is not self._private:
            theirs = next((key for key in admission.pools if key[1:] == pool[1:]), pool)
        if theirs not in admission:
            admission.register(
                theirs, limit, cap=cap, aggregate_cap=aggregate, pacing=pacing, budget=budget
            )
        self._places[pool] = Place(member, theirs)
        at = self._at() if now is None else now
        member.add(pool, theirs, self.statistics(pool).limit, at)
        member.account.ask_caps(member.number, theirs, cap, aggregate)
        self._reporter.registered(self.statistics(pool), aggregate, at, pacing, budget)

    def set_cap(self, pool: PoolKey, cap: int) -> None:
        """Changes what the limit of a pool never exceeds.

        A higher cap wakes waiters; a lower one lets the holders finish. It is the cap of the model
        over its domains too.

        Raises:
            ConfigError: The cap is below 1, or the pool is not registered.
        """
        if cap < 1:
            raise ConfigError(f"cap of pool {pool.label!r} is {cap}; give at least 1")
        member, theirs = self._place(pool)
        now = self._running_loop(member.account).time()
        self._reporter.caps_changed(pool, cap, cap, now)
        member.account.ask_caps(member.number, theirs, cap, cap)

    def set_limit(self, pool: PoolKey, value: int) -> None:
        """Puts the limit of a pool at a value, from which it moves on; see `limits.put`."""
        member, theirs = self._place(pool)
        member.account.put_limit(theirs, value)

    async def acquire(
        self,
        pool: PoolKey,
        *,
        flow: Hashable = None,
        weight: float = 1.0,
        tokens: float = 0.0,
        not_before: float = 0.0,
        timeout: float | None = None,
        task_id: str | None = None,
        on_wait: Callable[[], None] | None = None,
    ) -> Permit:
        """Waits for a permit.

        Args:
            pool: Where the call goes.
            flow: Whose call it is; flows share a pool fairly.
            weight: The flow's weight, finite and above 0.
            tokens: Tokens of the prompt, as far as known, for quotas per minute.
            not_before: No permit before this instant of the loop's clock.
            timeout: Seconds to wait at the most; without end if None.
            task_id: The task that asks, for events.
            on_wait: Called once if there is none to be had at once.

        Raises:
            QueueTimeout: `timeout` passed. No provider was asked.
            AdmissionClosed: The limiter was closed.
            ConfigError: The pool is not registered, or `weight` is not a finite number above 0.
        """
        member, theirs = self._places.get(pool) or self._place(pool)
        account = member.account
        loop = account.loop
        if loop is None or self._loop is None:
            loop = self._running_loop(account)
        if self._closed:
            raise AdmissionClosed(_CLOSED)
        now = loop.time()
        waiter = account.admission.enqueue(
            theirs,
            now,
            flow=flow,
            weight=weight,
            tokens=tokens,
            client=member.number,
            not_before=not_before,
            deadline=math.inf if timeout is None else now + timeout,
        )
        future = account.wait(member.number, waiter)
        self._waiting += 1
        # Nothing may stand between here and the try: however this ends, nothing stays behind.
        try:
            if self._reporter.bus.listening:
                waiters = account.admission.waiters(theirs)
                self._reporter.wait_started(pool, waiter, task_id, waiters, not_before, tokens, now)
            account.came(theirs, now)
            if on_wait is not None and not future.done():
                on_wait()
            permit = await future
            return permit if permit.pool is pool else member.translated(permit)
        except QueueTimeout:
            self._reporter.wait_timeout(pool, waiter)
            raise
        except BaseException:
            account.abandon(waiter, future)
            self._reporter.wait_cancelled(pool, waiter, loop.time())
            raise
        finally:
            self._waiting -= 1

    def try_acquire(
        self, pool: PoolKey, *, flow: Hashable = None, weight: float = 1.0, tokens: float = 0.0
    ) -> Permit | None:
        """A permit if one is free now, else None. Never overtakes anybody who waits.

        Arguments and errors are those of `acquire`.
        """
        member, theirs = self._place(pool)
        account = member.account
        if self._closed:
            raise AdmissionClosed(_CLOSED)
        now = self._running_loop(account).time()
        waiter = account.admission.enqueue(
            theirs, now, flow=flow, weight=weight, tokens=tokens, client=member.number
        )
        future = account.wait(member.number, waiter)
        waiters = account.admission.waiters(theirs)
        try:
            self._reporter.wait_started(pool, waiter, None, waiters, 0.0, tokens, now)
            account.turn(now)
        except BaseException:
            account.abandon(waiter, future)
            raise
        if future.done():
            return member.translated(future.result())
        account.abandon(waiter, future)
        self._reporter.wait_cancelled(pool, waiter, now)
        return None

    def release(self, permit: Permit, outcome: Outcome) -> ReleaseStatus:
        """Gives a permit back with how its call ended; a bad release credits nothing."""
        place = self._places.get(permit.pool)
        if place is None:
            status = ReleaseStatus.UNKNOWN
            self._reporter.released(permit, outcome, status, 0, self._now())
            return status
        member, theirs = place
        if permit.pool is not theirs and permit.pool != theirs:
            permit = permit._replace(pool=theirs)
        now = self._running_loop(member.account).time()
        status = member.account.release(permit, outcome, now)
        if status is not _RELEASED:
            self._reporter.released(permit, outcome, status, 0, now)
        return status

    def permit(
        self,
        pool: PoolKey | None = None,
        *,
        model: str | None = None,
        domain: Domain = "chat",
        **wait: Any,
    ) -> Holding:
        """Holds a permit around a call: `async with limiter.permit(model="writer"): ...`.

        The outcome is read from the exception that leaves the block, or from `held.outcome`;
        exceptions of the usual clients (openai, anthropic, httpx) are understood.

        Args:
            pool: Where the call goes.
            model: In place of a pool, a model by name; made known with its first use.
            domain: What the model is asked for.
            **wait: As of `acquire`.
        """
        where = pool if pool is not None and model is None else self.pool(pool, model, domain)
        return Holding(where, wait, self.acquire, self.release)

    def acquire_blocking(
        self,
        pool: PoolKey | None = None,
        *,
        model: str | None = None,
        domain: Domain = "chat",
        **wait: Any,
    ) -> Permit:
        """As `acquire`, for a plain thread; waits in the same queue as the coroutines.

        Arguments are those of `permit`. Give it back with `release_blocking`.

        Raises:
            ConfigError: A loop runs in this thread; otherwise as `acquire`.
        """

        async def acquire() -> Permit:
            return await self.acquire(self.pool(pool, model, domain), **wait)

        return wait_in_thread(self._owner(), acquire, self.release)

    def release_blocking(self, permit: Permit, outcome: Outcome) -> None:
        """As `release`, from a plain thread."""
        self._owner().call_soon_threadsafe(self.release, permit, outcome)

    def permit_blocking(self, pool: PoolKey | None = None, **what: Any) -> Holding:
        """As `permit`, for a plain thread: `with limiter.permit_blocking(model="writer"): ...`."""
        return Holding.of(self.acquire_blocking(pool, **what), self.release_blocking)

    def pool(
        self, pool: PoolKey | None = None, model: str | None = None, domain: Domain = "chat"
    ) -> PoolKey:
        """The pool that is meant; one of a model by name is made known with its first use.

        Raises:
            ConfigError: Neither pool nor model was given, or both.
        """
        if (pool is None) == (model is None):
            raise ConfigError("give either a pool or model=NAME to permit(), and not both")
        if pool is not None:
            return pool
        key = PoolKey("any", str(model), domain)
        if key not in self._places:
            self.register(key, limit_from(self._make_limit, self._cap), cap=self._cap)
        return key

    def pause(self, paused: bool) -> None:
        """While paused no permit is granted to us; calls in flight go on."""
        for member in self._memberships():
            member.account.admission.pause(paused, member.number)
            member.account.turn(self._running_loop(member.account).time())

    def close(self) -> None:
        """Ends all waiting, now and later, with `AdmissionClosed`; calls in flight go on."""
        self._closed = True
        for member in self._memberships():
            self._running_loop(member.account)
            member.account.dismiss(member.number, AdmissionClosed(_CLOSED))

    def leave(self) -> None:
        """Leaves accounts that are shared, with the caps it asked for there."""
        for member in self._members.values():
            member.account.leave(member.number)

    def statistics(self, pool: PoolKey) -> PoolStatistics:
        """How a pool stands. Asking changes nothing."""
        place = self._place(pool)
        found = place.member.account.admission.statistics(place.pool, self._at())
        return found._replace(pool=pool)

    def load(self, pool: PoolKey, now: float) -> PoolLoad:
        """How a pool stands, as far as a scheduler needs to know."""
        return self._places[pool].member.account.admission.load(self._places[pool].pool, now)

    def history(self, pool: PoolKey) -> tuple[LimitPoint, ...]:
        """How the limit of a pool went, its last 10,000 moves, each with what moved it."""
        return self._place(pool).member.history(pool)

    def histories(self) -> dict[str, tuple[LimitPoint, ...]]:
        """The histories of all pools, by their labels."""
        return {pool.label: self.history(pool) for pool in self._places}

    def __contains__(self, pool: PoolKey) -> bool:
        return pool in self._places

    @property
    def pools(self) -> tuple[PoolKey, ...]:
        """The registered pools."""
        return tuple(self._places)

    @property
    def permits(self) -> int:
        """Permits of ours that are out now."""
        return sum(member.permits for member in self._memberships())

    @property
    def waiting(self) -> int:
        """Waiters of ours now."""
        return self._waiting

    def _place(self, pool: PoolKey) -> Place:
        place = self._places.get(pool)
        if place is None:
            known = ", ".join(key.label for key in self._places) or "none"
            raise ConfigError(f"pool {pool.label!r} is not registered; known pools: {known}")
        return place

    def _owner(self) -> asyncio.AbstractEventLoop:
        refuse_on_a_loop("a blocking acquire", "async with limiter.permit(...)")
        if self._loop is None or self._loop.is_closed():
            self._loop = self._private.account.loop = background_loop()
        return self._loop

    def _memberships(self) -> list[Membership]:
        return list(dict.fromkeys([self._private, *self._members.values()]))

    def _running_loop(self, account: Account) -> asyncio.AbstractEventLoop:
        loop = account.loop or account.running_loop()
        self._loop = self._loop or loop
        return loop

    def _now(self) -> float:
        self._loop = self._loop or asyncio.get_running_loop()
        return self._loop.time()

    def _at(self) -> float:
        # Before the first use there is no clock yet, and nothing has happened either.
        return self._loop.time() if self._loop is not None else 0.0
