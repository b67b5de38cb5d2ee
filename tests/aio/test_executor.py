"""The model request executor: one attempt, one permit; who owns a refused call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from ddsched_nb.aio.bus import EventBus
from ddsched_nb.aio.executor import ModelExecutor
from ddsched_nb.aio.limiter import RequestLimiter
from ddsched_nb.aio.reporters import RequestReporter
from ddsched_nb.clients.base import Completion
from ddsched_nb.core import events as ev
from ddsched_nb.core.limits import FixedLimit
from ddsched_nb.core.model import SUCCESS, OutcomeKind, PoolKey, Usage
from ddsched_nb.core.retries import RetryPlan
from ddsched_nb.errors import AdmissionClosed, ProviderError, QueueTimeout, RunStalled
from ddsched_nb.record import RunRecord

POOL = PoolKey("p", "m")
PLAN = RetryPlan(max_attempts=3, initial_backoff_s=0.005, max_backoff_s=0.01, stall_timeout_s=0.1)
ANSWER = Completion("text", Usage(3, 4))
REFUSED = ProviderError("429", kind="rate_limited", status=429, retryable=True, retry_after=0.02)
FAILED = ProviderError("503", status=503, retryable=True)
SILENT = ProviderError("no answer", kind="provider_timeout", retryable=True)
REJECTED = ProviderError("400", status=400)


class Interrupted(BaseException):
    """What no bus may swallow."""


def interrupt(bus: EventBus, kind: type[ev.Event]) -> None:
    """Lets a subscriber interrupt every event of a kind."""

    def interrupting(event: ev.Event) -> None:
        if isinstance(event, kind):
            raise Interrupted

    bus.subscribe(interrupting)


class Bench:
    """An executor over one pool, and the record of what it did."""

    def __init__(self) -> None:
        self.record = RunRecord()
        self.bus = EventBus()
        self.bus.subscribe(self.record)
        reporter = RequestReporter(self.bus, asyncio.get_running_loop().time)
        self.limiter = RequestLimiter(reporter=reporter)
        self.limiter.register(POOL, FixedLimit(2, pause_s=0.0), cap=2)
        self.executor = ModelExecutor(self.limiter, PLAN, reporter)
        self.sent = 0

    def answers(self, *script: Exception | None) -> Callable[[], Awaitable[Completion]]:
        async def send() -> Completion:
            step = script[min(self.sent, len(script) - 1)]
            self.sent += 1
            if step is not None:
                raise step
            return ANSWER

        return send


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    assert made.limiter.permits == 0
    assert made.limiter.waiting == 0


async def test_every_attempt_has_a_permit_of_its_own(bench: Bench) -> None:
    send = bench.answers(REFUSED, FAILED, None)
    assert await bench.executor.call(POOL, send, task_id="t") is ANSWER
    permits = [e.permit_id for e in bench.record.select(ev.ModelRequestStarted)]
    assert len(set(permits)) == 3
    assert [e.attempt for e in bench.record.select(ev.ModelRequestStarted)] == [1, 2, 3]
    outcomes = [e.outcome for e in bench.record.select(ev.RequestLeaseReleased)]
    assert outcomes == ["rate_limited", "provider_failure", "success"]
    assert bench.record.select(ev.ModelRequestCompleted)[-1].tokens == 7
    acquired = [e.permit_id for e in bench.record.select(ev.RequestLeaseAcquired)]
    assert acquired == permits


async def test_a_refused_call_waits_as_long_as_the_server_asked(bench: Bench) -> None:
    await bench.executor.call(POOL, bench.answers(REFUSED, None))
    (refused,) = bench.record.select(ev.RequestRateLimited)
    again = bench.record.select(ev.ModelRequestStarted)[1]
    assert again.at >= refused.at + 0.02 - 1e-6


async def test_the_wait_binds_the_failed_call_and_nobody_else(bench: Bench) -> None:
    busy = ProviderError("503", status=503, retryable=True, retry_after=0.05)
    call = asyncio.ensure_future(bench.executor.call(POOL, bench.answers(busy, None), task_id="a"))
    await asyncio.sleep(0)
    assert bench.sent == 1
    await bench.executor.call(POOL, bench.answers(None), task_id="b")
    await call
    first, other, again = bench.record.select(ev.ModelRequestStarted)
    assert [e.task_id for e in (first, other, again)] == ["a", "b", "a"]
    assert again.at >= first.at + 0.05 - 1e-6


async def test_a_refused_call_holds_no_permit_while_it_waits(bench: Bench) -> None:
    call = asyncio.ensure_future(bench.executor.call(POOL, bench.answers(REFUSED, None)))
    await asyncio.sleep(0.005)
    assert (bench.limiter.permits, bench.limiter.waiting) == (0, 1)
    await call


async def test_a_call_that_cannot_be_retried_is_not(bench: Bench) -> None:
    with pytest.raises(ProviderError) as caught:
        await bench.executor.call(POOL, bench.answers(REJECTED))
    assert caught.value is REJECTED
    assert bench.sent == 1


@pytest.mark.parametrize("error", [FAILED, SILENT, TimeoutError()])
async def test_failures_use_up_the_budget(bench: Bench, error: Exception) -> None:
    with pytest.raises(type(error)):
        await bench.executor.call(POOL, bench.answers(error))
    assert bench.sent == PLAN.max_attempts


async def test_r12_a_timeout_without_a_status_is_the_providers_end_to_end(bench: Bench) -> None:
    with pytest.raises(TimeoutError):
        await bench.executor.call(POOL, bench.answers(TimeoutError()))
    outcomes = {e.outcome for e in bench.record.select(ev.RequestLeaseReleased)}
    assert outcomes == {OutcomeKind.PROVIDER_TIMEOUT}
    assert bench.limiter.statistics(POOL).failed == PLAN.max_attempts


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (KeyError("x"), OutcomeKind.UNEXPECTED_EXCEPTION),
        (QueueTimeout("f03: in a queue of its own"), OutcomeKind.LOCAL_TIMEOUT),
        (AdmissionClosed(), OutcomeKind.LOCAL_CANCELLED),
    ],
)
async def test_what_is_not_the_providers_fault_is_raised_at_once(
    bench: Bench, error: Exception, outcome: OutcomeKind
) -> None:
    with pytest.raises(type(error)):
        await bench.executor.call(POOL, bench.answers(error))
    assert bench.sent == 1
    (released,) = bench.record.select(ev.RequestLeaseReleased)
    assert released.outcome is outcome


async def test_refusals_alone_end_as_stalled_with_what_to_do(bench: Bench) -> None:
    with pytest.raises(RunStalled, match=r"p/m/chat served nothing for 0\.1 s.*quota"):
        await asyncio.wait_for(bench.executor.call(POOL, bench.answers(REFUSED)), 5)
    assert bench.sent >= 3


async def test_cancelled_in_flight_gives_the_permit_back(bench: Bench) -> None:
    async def hangs() -> Completion:
        await asyncio.sleep(60)
        return ANSWER

    call = asyncio.ensure_future(bench.executor.call(POOL, hangs))
    await asyncio.sleep(0.005)
    assert bench.limiter.permits == 1
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    (released,) = bench.record.select(ev.RequestLeaseReleased)
    assert released.outcome is OutcomeKind.LOCAL_CANCELLED


async def test_cancelled_while_a_refused_call_waits_sends_nothing_more(bench: Bench) -> None:
    call = asyncio.ensure_future(bench.executor.call(POOL, bench.answers(REFUSED, None)))
    await asyncio.sleep(0.005)
    assert bench.limiter.waiting == 1
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert bench.sent == 1


async def test_cancelled_between_the_grant_and_the_call_sends_nothing(bench: Bench) -> None:
    held = [await bench.limiter.acquire(POOL) for _ in range(2)]
    call = asyncio.ensure_future(bench.executor.call(POOL, bench.answers(None)))
    await asyncio.sleep(0)
    bench.limiter.release(held[0], SUCCESS)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (bench.sent, bench.limiter.permits) == (0, 1)
    bench.limiter.release(held[1], SUCCESS)


@pytest.mark.parametrize("kind", [ev.ModelRequestStarted, ev.ModelRequestCompleted])
async def test_f27_a_permit_goes_back_though_its_event_was_interrupted(
    bench: Bench, kind: type[ev.Event]
) -> None:
    interrupt(bench.bus, kind)
    with pytest.raises(Interrupted):
        await bench.executor.call(POOL, bench.answers(None))
    assert bench.limiter.permits == 0


async def test_r11_ctrl_c_in_a_call_is_a_local_cancellation(bench: Bench) -> None:
    async def interrupted() -> Completion:
        raise KeyboardInterrupt

    # Stepped by hand: a task would hand the interrupt to the loop that runs this test.
    with pytest.raises(KeyboardInterrupt):
        bench.executor.call(POOL, interrupted).send(None)
    (released,) = bench.record.select(ev.RequestLeaseReleased)
    assert released.outcome is OutcomeKind.LOCAL_CANCELLED
