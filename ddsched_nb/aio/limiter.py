"""The request limiter: request admission on a running event loop.

Owns one future a waiter and one timer. Every input (acquire, cancel, release, timer) ends in one
turn: ask the core, hand permits over, re-arm the timer. It has no opinion about who is granted.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Any

from ddsched_nb.aio.bus import EventBus
from ddsched_nb.aio.reporters import RequestReporter
from ddsched_nb.clients.outcomes import classify
from ddsched_nb.core.limits import Limit
from ddsched_nb.core.model import Outcome, OutcomeKind, Permit, PoolKey, ReleaseStatus
from ddsched_nb.core.pools import PoolStatistics
from ddsched_nb.core.request_admission import RequestAdmission, Turn
from ddsched_nb.errors import AdmissionClosed, QueueTimeout

_CANCELLED = Outcome(OutcomeKind.LOCAL_CANCELLED)
_CLOSED = "the run has ended; the provider was not asked"


class PermitInUse:
    """A permit in use. Set `outcome` where an exception does not tell it."""

    __slots__ = ("outcome", "permit")

    def __init__(self, permit: Permit) -> None:
        self.permit = permit
        self.outcome: Outcome | None = None


class RequestLimiter:
    """Grants permits for model calls to coroutines of one event loop.

    Args:
        admission: The pure core; a fresh one by default.
        reporter: Tells what happens; nobody by default.
    """

    def __init__(
        self,
        admission: RequestAdmission | None = None,
        reporter: RequestReporter | None = None,
    ) -> None:
        self._admission = admission or RequestAdmission()
        self._reporter = reporter or RequestReporter(EventBus(), self._now)
        self._closed = False
        self._futures: dict[int, asyncio.Future[Permit]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        core = self._admission
        return f"<RequestLimiter: {core.permits} in flight, {core.waiting} waiting>"

    def register(
        self,
        pool: PoolKey,
        limit: Limit,
        *,
        cap: int,
        aggregate_cap: int | None = None,
        now: float | None = None,
    ) -> None:
        """Makes a pool known; see `RequestAdmission.register`."""
        aggregate = cap if aggregate_cap is None else aggregate_cap
        self._admission.register(pool, limit, cap=cap, aggregate_cap=aggregate)
        self._reporter.registered(self.statistics(pool), aggregate, now)

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

        Raises:
            QueueTimeout: `timeout` passed. No provider was asked.
            AdmissionClosed: The limiter was closed.
            ConfigError: The pool is not registered, or `weight` is not a finite number above 0.
        """
        loop = self._running_loop()
        if self._closed:
            raise AdmissionClosed(_CLOSED)
        now = loop.time()
        waiter = self._admission.enqueue(
            pool,
            now,
            flow=flow,
            weight=weight,
            tokens=tokens,
            not_before=not_before,
            deadline=math.inf if timeout is None else now + timeout,
        )
        future: asyncio.Future[Permit] = loop.create_future()
        self._futures[waiter] = future
        # Nothing may stand between here and the try: however this ends, nothing stays behind.
        try:
            waiters = self._admission.waiters(pool)
            self._reporter.wait_started(pool, waiter, task_id, waiters, not_before, tokens, now)
            self._turn(now)
            return await future
        except QueueTimeout:
            self._reporter.wait_timeout(pool, waiter)
            raise
        except BaseException:
            self._abandon(pool, waiter, future)
            raise

    def release(self, permit: Permit, outcome: Outcome) -> ReleaseStatus:
        """Gives a permit back with how its call ended; a bad release credits nothing."""
        now = self._running_loop().time()
        try:
            return self._give_back(permit, outcome, now)
        finally:
            self._turn(now)

    @asynccontextmanager
    async def permit(self, pool: PoolKey, **wait: Any) -> AsyncIterator[PermitInUse]:
        """Holds a permit around a call: `async with limiter.permit(pool): ...`.

        The outcome is read from the exception that leaves the block, or from `held.outcome`.
        """
        held = PermitInUse(await self.acquire(pool, **wait))
        outcome = _CANCELLED
        try:
            yield held
            outcome = held.outcome or classify(None)
        except BaseException as error:
            outcome = held.outcome or classify(error)
            raise
        finally:
            self.release(held.permit, outcome)

    def pause(self, paused: bool) -> None:
        """While paused no permit is granted; calls in flight go on."""
        self._admission.pause(paused)
        self._turn(self._running_loop().time())

    def close(self) -> None:
        """Ends all waiting, now and later, with `AdmissionClosed`; calls in flight go on."""
        self._closed = True
        now = self._now()
        for waiter, future in list(self._futures.items()):
            del self._futures[waiter]
            self._admission.cancel(waiter, now)
            if not future.done():
                future.set_exception(AdmissionClosed(_CLOSED))
        self._turn(now)

    def statistics(self, pool: PoolKey) -> PoolStatistics:
        """How a pool stands. Asking changes nothing."""
        # Before the first use there is no clock yet, and nothing has happened either.
        now = self._loop.time() if self._loop is not None else 0.0
        return self._admission.statistics(pool, now)

    def __contains__(self, pool: PoolKey) -> bool:
        return pool in self._admission

    @property
    def pools(self) -> tuple[PoolKey, ...]:
        """The registered pools."""
        return self._admission.pools

    @property
    def permits(self) -> int:
        """Permits out now."""
        return self._admission.permits

    @property
    def waiting(self) -> int:
        """Waiters now."""
        return self._admission.waiting

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    def _now(self) -> float:
        return self._running_loop().time()

    def _turn(self, now: float) -> None:
        # A permit given back may go to a waiter that was cancelled too: a loop, not a recursion,
        # since as many as wait may be cancelled at once.
        while orphans := self._hand_over(self._admission.advance(now), now):
            for permit in orphans:
                self._give_back(permit, _CANCELLED, now)

    def _give_back(self, permit: Permit, outcome: Outcome, now: float) -> ReleaseStatus:
        status = self._admission.release(permit, outcome, now)
        in_flight = self._admission.in_flight(permit.pool)
        self._reporter.released(permit, outcome, status, in_flight, now)
        return status

    def _hand_over(self, turn: Turn, now: float) -> list[Permit]:
        """Wakes whom a turn names, then tells of it; gives the permits that nobody waits for."""
        orphans = []
        for waiter, permit in turn.granted:
            future = self._futures.pop(waiter)
            if future.done():
                # Its coroutine was cancelled, and has not run since to take the waiter out.
                orphans.append(permit)
            else:
                future.set_result(permit)
        for waiter in turn.expired:
            future = self._futures.pop(waiter)
            if not future.done():
                future.set_exception(
                    QueueTimeout("no permit within the timeout; the provider was not asked")
                )
        self._arm(turn.next_deadline)
        for _, permit in turn.granted:
            self._reporter.acquired(permit)
        for change in turn.changes:
            self._reporter.changed(change, now)
        return orphans

    def _arm(self, deadline: float) -> None:
        if deadline == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = deadline
        if deadline < math.inf:
            self._timer = self._running_loop().call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        # asyncio may fire a clock tick early; then the core would say "not yet" and we would spin.
        now = max(self._timer_at, self._running_loop().time())
        self._timer, self._timer_at = None, math.inf
        self._turn(now)

    def _abandon(self, pool: PoolKey, waiter: int, future: asyncio.Future[Permit]) -> None:
        """The waiting coroutine cannot go on: no place and no permit may remain."""
        self._futures.pop(waiter, None)
        now = self._running_loop().time()
        if future.done() and not future.cancelled() and future.exception() is None:
            self.release(future.result(), _CANCELLED)
        elif self._admission.cancel(waiter, now):
            self._turn(now)
        self._reporter.wait_cancelled(pool, waiter, now)
