"""The model request executor: one outbound attempt is one permit, released once with its outcome.

It owns a refused call: the permit goes back, the call lines up again with `not_before`, and the
generator that made it knows nothing of it. Whether to try again is `RetryPlan`'s decision; when,
admission's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Protocol, TypeVar

from ddsched_nb.aio.limiter import RequestLimiter
from ddsched_nb.aio.reporters import RequestReporter
from ddsched_nb.aio.seats import Seat
from ddsched_nb.clients.outcomes import classify
from ddsched_nb.core.model import SUCCESS, Outcome, OutcomeKind, Permit, PoolKey, Quota, Usage
from ddsched_nb.core.retries import CallHistory, GiveUp, RetryPlan
from ddsched_nb.core.run_limits import RetryBudget
from ddsched_nb.errors import AccessDenied, QueueTimeout, RunStalled


class Answer(Protocol):
    """What any call answers: at least what it used, and what was said of quotas."""

    @property
    def usage(self) -> Usage: ...
    @property
    def quotas(self) -> tuple[Quota, ...]: ...


A = TypeVar("A", bound=Answer)


class ModelExecutor:
    """Sends model calls through request admission.

    Args:
        limiter: Grants the permits.
        plan: Decides about failed attempts.
        reporter: Tells what happens.
        budget: Retries that the run may spend; without bound if None.
    """

    def __init__(
        self,
        limiter: RequestLimiter,
        plan: RetryPlan,
        reporter: RequestReporter,
        budget: RetryBudget | None = None,
    ) -> None:
        self._limiter = limiter
        self._plan = plan
        self._reporter = reporter
        self._budget = budget or RetryBudget()

    async def call(
        self,
        pool: PoolKey,
        send: Callable[[], Awaitable[A]],
        *,
        flow: Hashable = None,
        weight: float = 1.0,
        tokens: float = 0.0,
        task_id: str | None = None,
        seat: Seat | None = None,
    ) -> A:
        """Sends one call until it succeeds or cannot go on.

        Args:
            pool: Where it goes.
            send: Makes one attempt; called once for each permit.
            flow: Whose call it is.
            weight: The flow's weight among those that wait for the pool.
            tokens: Tokens of its prompt, as far as known, for quotas per minute.
            task_id: The task that makes it, for events.
            seat: What that task gives back while all its calls wait; nothing if None.

        Returns:
            What `send` returned.

        Raises:
            RunStalled: The endpoint refused for so long that the run should end.
            AccessDenied: It refuses the key, and served nothing with it before.
            Exception: What the last attempt raised, where no further one is due.
        """
        history = CallHistory()
        not_before = 0.0
        attempt = 0
        while True:
            attempt += 1
            wait = {"flow": flow, "weight": weight, "tokens": tokens, "task_id": task_id}
            permit = await self._permit(pool, history, not_before, wait, seat)
            try:
                return await self._attempt(permit, send, task_id, attempt, seat)
            except Exception as error:
                outcome = classify(error)
                now = asyncio.get_running_loop().time()
                silent = self._limiter.statistics(pool).probing
                history = history.after(outcome, now, silent=silent)
                not_before = self._next_try(pool, outcome, history, now, error)

    async def _permit(
        self,
        pool: PoolKey,
        history: CallHistory,
        not_before: float,
        wait: dict[str, Any],
        seat: Seat | None,
    ) -> Permit:
        if seat is None:
            return await self._wait(pool, history, not_before, wait)
        seat.asks()
        try:
            return await self._wait(pool, history, not_before, wait | {"on_wait": seat.waits})
        finally:
            seat.asked()

    async def _wait(
        self, pool: PoolKey, history: CallHistory, not_before: float, wait: dict[str, Any]
    ) -> Permit:
        """Waits for a permit; looks up from a long wait, lest it be for what never comes."""
        loop, patience = asyncio.get_running_loop(), self._plan.stall_timeout_s
        while not_before - loop.time() > patience:
            try:
                return await self._limiter.acquire(
                    pool, not_before=not_before, timeout=patience, **wait
                )
            except QueueTimeout:
                last = self._limiter.statistics(pool).last_success_at
                if loop.time() - max(history.waiting_since, last) >= patience:
                    raise self._stalled(pool) from None
        return await self._limiter.acquire(pool, not_before=not_before, **wait)

    async def _attempt(
        self,
        permit: Permit,
        send: Callable[[], Awaitable[A]],
        task_id: str | None,
        attempt: int,
        seat: Seat | None,
    ) -> A:
        # Nothing may stand between the grant and this try: whatever happens, the permit goes back.
        outcome, sent = SUCCESS, False
        try:
            if seat is not None:
                await seat.takes_off()
            sent = True
            self._reporter.sent(permit, task_id, attempt)
            answer = await send()
            outcome = Outcome(OutcomeKind.SUCCESS, usage=answer.usage, quotas=answer.quotas)
            return answer
        except BaseException as error:
            outcome = classify(error)
            raise
        finally:
            seconds = asyncio.get_running_loop().time() - permit.granted_at
            try:
                if sent:
                    self._reporter.answered(permit, task_id, outcome, seconds)
            finally:
                self._limiter.release(permit, outcome)
                if seat is not None:
                    seat.lands()

    def _next_try(
        self,
        pool: PoolKey,
        outcome: Outcome,
        history: CallHistory,
        now: float,
        error: Exception,
    ) -> float:
        if outcome.kind not in _REMOTE_FAILURES:
            raise error
        statistics = self._limiter.statistics(pool)
        decision = self._plan.decide(
            outcome, history, now, last_success_at=statistics.last_success_at
        )
        if not isinstance(decision, GiveUp):
            if not history.excused and not self._budget.spend():
                raise error
            return decision.not_before
        if decision.reason == "stalled":
            raise self._stalled(pool) from error
        if decision.reason == "denied":
            raise AccessDenied(f"{error}; no call of this model was served before") from error
        raise error

    def _stalled(self, pool: PoolKey) -> RunStalled:
        found = self._limiter.statistics(pool)
        return RunStalled(
            f"{pool.label} served nothing for {self._plan.stall_timeout_s:g} s "
            f"({found.refused} refusals, {found.failed} failures, {found.succeeded} successes in "
            "all). Check the quota of the account and whether the endpoint is there, lower "
            "max_parallel_requests, or raise RunConfig(stall_timeout_s=...); what is finished is "
            "kept"
        )


_REMOTE_FAILURES = frozenset(
    {OutcomeKind.RATE_LIMITED, OutcomeKind.PROVIDER_FAILURE, OutcomeKind.PROVIDER_TIMEOUT}
)
