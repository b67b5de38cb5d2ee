"""The request limiter on a real loop: hand-off, cancellation, timeouts, and no polling."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ddsched_nb.aio.bus import EventBus
from ddsched_nb.aio.limiter import RequestLimiter
from ddsched_nb.aio.reporters import RequestReporter
from ddsched_nb.clients.outcomes import classify
from ddsched_nb.core import events as ev
from ddsched_nb.core.limits import AIMDLimit, FixedLimit
from ddsched_nb.core.model import (
    SUCCESS,
    Outcome,
    OutcomeKind,
    Permit,
    PoolKey,
    ReleaseStatus,
)
from ddsched_nb.errors import AdmissionClosed, ConfigError, ProviderError, QueueTimeout
from ddsched_nb.record import RunRecord

POOL = PoolKey("p", "m")


@pytest.fixture
async def record() -> RunRecord:
    return RunRecord()


@pytest.fixture
async def limiter(record: RunRecord) -> AsyncIterator[RequestLimiter]:
    """One pool of one slot; every test must leave it empty."""
    bus = EventBus()
    bus.subscribe(record)
    made = RequestLimiter(reporter=RequestReporter(bus, asyncio.get_running_loop().time))
    made.register(POOL, FixedLimit(1), cap=1)
    yield made
    assert made.permits == 0
    assert made.waiting == 0
    assert not made._private.account._futures


async def park(
    limiter: RequestLimiter, count: int, pool: PoolKey = POOL
) -> list[asyncio.Task[Permit]]:
    tasks = [asyncio.ensure_future(limiter.acquire(pool)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def steps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def drain(limiter: RequestLimiter, tasks: list[asyncio.Task[Permit]]) -> None:
    for task in tasks:
        limiter.release(await task, SUCCESS)


async def test_r04_a_waiter_is_woken_in_order(limiter: RequestLimiter) -> None:
    held = await limiter.acquire(POOL)
    tasks = await park(limiter, 3)
    assert not any(task.done() for task in tasks)
    limiter.release(held, SUCCESS)
    await steps(2)
    assert [task.done() for task in tasks] == [True, False, False]
    await drain(limiter, tasks)


def noting(real: Any, name: str, asked: list[str]) -> Any:
    def noted(*arguments: Any, **options: Any) -> Any:
        asked.append(name)
        return real(*arguments, **options)

    return noted


async def test_f31_parked_waiters_cost_nothing(
    limiter: RequestLimiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No poll: with 200 waiters and nothing happening, nobody asks the loop for anything."""
    held = await limiter.acquire(POOL)
    tasks = await park(limiter, 200)
    loop = asyncio.get_running_loop()
    asked: list[str] = []
    with monkeypatch.context() as patch:
        for name in ("call_at", "call_later"):
            patch.setattr(loop, name, noting(getattr(loop, name), name, asked))
        turns = 0
        real_turn = limiter._private.account.turn

        def counted(now: float) -> None:
            nonlocal turns
            turns += 1
            real_turn(now)

        patch.setattr(limiter._private.account, "turn", counted)
        await asyncio.sleep(0.05)
        assert asked == ["call_later", "call_at"], "only this test's own sleep"
        assert turns == 0
    limiter.release(held, SUCCESS)
    await drain(limiter, tasks)


async def test_f31_the_timer_stays_while_the_next_deadline_does(
    limiter: RequestLimiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls come and go while one waits with a deadline: nobody sets its timer again."""
    held = await limiter.acquire(POOL)
    patient = asyncio.ensure_future(limiter.acquire(POOL, timeout=60))
    tasks = await park(limiter, 20)
    loop = asyncio.get_running_loop()
    asked: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(loop, "call_at", noting(loop.call_at, "call_at", asked))
        for task in tasks[10:]:
            task.cancel()
        await asyncio.gather(*tasks[10:], return_exceptions=True)
        assert asked == []
    limiter.release(held, SUCCESS)
    await drain(limiter, [patient, *tasks[:10]])


async def test_f31_a_release_wakes_one(limiter: RequestLimiter) -> None:
    held = await limiter.acquire(POOL)
    tasks = await park(limiter, 200)
    for _ in range(3):
        limiter.release(held, SUCCESS)
        await steps(2)
        (woken,) = [task for task in tasks if task.done()]
        tasks.remove(woken)
        held = woken.result()
    limiter.release(held, SUCCESS)
    await drain(limiter, tasks)


async def test_f03_a_queue_timeout_is_not_the_providers_fault(limiter: RequestLimiter) -> None:
    held = await limiter.acquire(POOL)
    with pytest.raises(QueueTimeout) as caught:
        await limiter.acquire(POOL, timeout=0.01)
    assert classify(caught.value).kind is OutcomeKind.LOCAL_TIMEOUT
    assert limiter.statistics(POOL).failed == 0
    limiter.release(held, SUCCESS)


async def test_f03_there_is_no_queue_deadline_by_default(limiter: RequestLimiter) -> None:
    held = await limiter.acquire(POOL)
    (task,) = await park(limiter, 1)
    assert limiter._private.account._timer is None, "no timer at all waits for it"
    limiter.release(held, SUCCESS)
    await drain(limiter, [task])


async def test_not_before_is_kept(limiter: RequestLimiter) -> None:
    loop = asyncio.get_running_loop()
    wanted = loop.time() + 0.03
    permit = await limiter.acquire(POOL, not_before=wanted)
    assert loop.time() >= wanted - 1e-3
    assert permit.granted_at >= wanted
    limiter.release(permit, SUCCESS)


async def test_cancelled_while_waiting(limiter: RequestLimiter, record: RunRecord) -> None:
    held = await limiter.acquire(POOL)
    (task,) = await park(limiter, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert limiter.waiting == 0
    assert len(record.select(ev.RequestWaitCancelled)) == 1
    limiter.release(held, SUCCESS)


async def test_cancelled_after_the_grant_gives_the_permit_back(limiter: RequestLimiter) -> None:
    held = await limiter.acquire(POOL)
    first, second = await park(limiter, 2)
    limiter.release(held, SUCCESS)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await drain(limiter, [second])


async def test_cancelled_before_the_grant_of_the_same_turn(limiter: RequestLimiter) -> None:
    held = await limiter.acquire(POOL)
    first, second = await park(limiter, 2)
    first.cancel()
    limiter.release(held, SUCCESS)
    with pytest.raises(asyncio.CancelledError):
        await first
    await drain(limiter, [second])


async def test_f22_a_cooldowns_end_wakes_by_itself(limiter: RequestLimiter) -> None:
    held = await limiter.acquire(POOL)
    limiter.release(held, Outcome(OutcomeKind.RATE_LIMITED, retry_after=0.03))
    permit = await asyncio.wait_for(limiter.acquire(POOL), 5)
    assert permit.granted_at >= held.granted_at + 0.03
    limiter.release(permit, SUCCESS)


async def test_a_start_ramp_wakes_by_itself() -> None:
    limiter = RequestLimiter()
    now = asyncio.get_running_loop().time()
    limiter.register(POOL, AIMDLimit(4, started_at=now, startup_ramp_s=0.06), cap=4)
    permits = await asyncio.wait_for(asyncio.gather(*(limiter.acquire(POOL) for _ in range(4))), 5)
    assert [round((p.granted_at - now) / 0.02) for p in permits] == [0, 1, 2, 3]
    for permit in permits:
        limiter.release(permit, SUCCESS)


async def test_paused_grants_nothing_and_forgets_nobody(limiter: RequestLimiter) -> None:
    limiter.pause(True)
    (task,) = await park(limiter, 1)
    await asyncio.sleep(0.01)
    assert not task.done()
    limiter.pause(False)
    await drain(limiter, [task])


async def test_closed_ends_all_waiting(limiter: RequestLimiter) -> None:
    held = await limiter.acquire(POOL)
    tasks = await park(limiter, 2)
    limiter.close()
    for task in tasks:
        with pytest.raises(AdmissionClosed):
            await task
    with pytest.raises(AdmissionClosed):
        await limiter.acquire(POOL)
    assert limiter.release(held, SUCCESS) is ReleaseStatus.RELEASED


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (None, OutcomeKind.SUCCESS),
        (ProviderError("no", kind="rate_limited", retry_after=0.0), OutcomeKind.RATE_LIMITED),
        (TimeoutError(), OutcomeKind.PROVIDER_TIMEOUT),
        (KeyError("x"), OutcomeKind.UNEXPECTED_EXCEPTION),
        (asyncio.CancelledError(), OutcomeKind.LOCAL_CANCELLED),
    ],
)
async def test_a_block_reads_its_outcome_from_the_exception(
    limiter: RequestLimiter, record: RunRecord, error: BaseException | None, kind: OutcomeKind
) -> None:
    async def call() -> None:
        async with limiter.permit(POOL):
            if error is not None:
                raise error

    if error is None:
        await call()
    else:
        with pytest.raises(type(error)):
            await call()
    assert [e.outcome for e in record.select(ev.RequestLeaseReleased)] == [kind]


async def test_an_outcome_may_be_reported(limiter: RequestLimiter, record: RunRecord) -> None:
    async with limiter.permit(POOL) as held:
        held.outcome = Outcome(OutcomeKind.RATE_LIMITED, retry_after=0.0)
    assert [e.outcome for e in record.select(ev.RequestLeaseReleased)] == ["rate_limited"]


async def test_r12_a_bad_release_is_an_event_and_credits_nothing(
    limiter: RequestLimiter, record: RunRecord
) -> None:
    held = await limiter.acquire(POOL)
    assert limiter.release(held, SUCCESS) is ReleaseStatus.RELEASED
    assert limiter.release(held, SUCCESS) is ReleaseStatus.DUPLICATE
    assert limiter.release(held._replace(issuer=-1), SUCCESS) is ReleaseStatus.FOREIGN
    told = [e.status for e in record.select(ev.RequestReleaseDiagnostic)]
    assert told == [ReleaseStatus.DUPLICATE, ReleaseStatus.FOREIGN]
    assert limiter.statistics(POOL).in_flight == 0


async def test_f33_asking_twice_is_asking_once(limiter: RequestLimiter) -> None:
    held = await limiter.acquire(POOL)
    answers: list[Any] = [limiter.statistics(POOL) for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert repr(limiter) == "<RequestLimiter: 1 in flight, 0 waiting>"
    limiter.release(held, SUCCESS)


async def test_a_timer_that_fires_a_tick_early_does_not_spin(limiter: RequestLimiter) -> None:
    held = await limiter.acquire(POOL)
    limiter.release(held, Outcome(OutcomeKind.RATE_LIMITED, retry_after=30.0))
    (task,) = await park(limiter, 1)
    due = limiter._private.account._timer_at
    assert limiter._private.account._timer is not None
    limiter._private.account._timer.cancel()
    limiter._private.account._on_timer()
    permit = await asyncio.wait_for(task, 1)
    assert permit.granted_at == due
    limiter.release(permit, SUCCESS)


async def test_any_number_of_waiters_may_be_cancelled_in_one_turn(limiter: RequestLimiter) -> None:
    """The permit passes by all who are gone, one after another, and not by calls within calls."""
    held = await limiter.acquire(POOL)
    tasks = await park(limiter, sys.getrecursionlimit())
    *gone, last = tasks
    for task in gone:
        task.cancel()
    limiter.release(held, SUCCESS)
    await asyncio.gather(*gone, return_exceptions=True)
    assert all(task.cancelled() for task in gone)
    await drain(limiter, [last])


@pytest.mark.parametrize("timeout", [0.0, -1.0, 0.01])
async def test_every_wait_that_ends_says_how(
    limiter: RequestLimiter, record: RunRecord, timeout: float
) -> None:
    held = await limiter.acquire(POOL)
    with pytest.raises(QueueTimeout):
        await limiter.acquire(POOL, timeout=timeout)
    cancelled, closed = await park(limiter, 2)
    cancelled.cancel()
    await asyncio.sleep(0)
    limiter.close()
    with pytest.raises(AdmissionClosed):
        await closed
    assert cancelled.cancelled()
    started = {e.waiter_id for e in record.select(ev.RequestWaitStarted)}
    ends: tuple[Any, ...] = (
        ev.RequestLeaseAcquired,
        ev.RequestWaitTimeout,
        ev.RequestWaitCancelled,
    )
    ended = [(type(e).__name__, e.waiter_id) for end in ends for e in record.select(end)]
    assert sorted(waiter for _, waiter in ended) == sorted(started)
    assert [name for name, _ in ended] == [
        "RequestLeaseAcquired",
        "RequestWaitTimeout",
        "RequestWaitCancelled",
        "RequestWaitCancelled",
    ]
    limiter.release(held, SUCCESS)


class Interrupted(BaseException):
    """What no bus may swallow."""


@pytest.mark.parametrize("kind", [ev.RequestWaitStarted, ev.RequestLeaseAcquired])
async def test_f27_nothing_leaks_when_telling_of_it_is_interrupted(kind: type[ev.Event]) -> None:
    def interrupting(event: ev.Event) -> None:
        if isinstance(event, kind):
            raise Interrupted

    bus = EventBus()
    bus.subscribe(interrupting)
    limiter = RequestLimiter(reporter=RequestReporter(bus, asyncio.get_running_loop().time))
    limiter.register(POOL, FixedLimit(1), cap=1)
    with pytest.raises(Interrupted):
        await limiter.acquire(POOL)
    assert (limiter.permits, limiter.waiting) == (0, 0)


async def test_f27_a_release_wakes_the_next_though_telling_of_it_is_interrupted() -> None:
    def interrupting(event: ev.Event) -> None:
        if isinstance(event, ev.RequestLeaseReleased):
            raise Interrupted

    bus = EventBus()
    limiter = RequestLimiter(reporter=RequestReporter(bus, asyncio.get_running_loop().time))
    limiter.register(POOL, FixedLimit(1), cap=1)
    held = await limiter.acquire(POOL)
    (task,) = await park(limiter, 1)
    leave = bus.subscribe(interrupting)
    with pytest.raises(Interrupted):
        limiter.release(held, SUCCESS)
    leave()
    await drain(limiter, [task])
    assert limiter.permits == 0


async def test_flows_share_a_pool_by_turns(limiter: RequestLimiter) -> None:
    held = await limiter.acquire(POOL)
    order: list[str] = []

    async def call(flow: str) -> None:
        async with limiter.permit(POOL, flow=flow):
            order.append(flow)

    calls = [asyncio.ensure_future(call(flow)) for flow in ["many"] * 6 + ["few"] * 2]
    await asyncio.sleep(0)
    limiter.release(held, SUCCESS)
    await asyncio.gather(*calls)
    assert order[:4].count("few") == 2


async def test_a_timeout_around_it_leaves_nothing(limiter: RequestLimiter) -> None:
    held = await limiter.acquire(POOL)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await limiter.acquire(POOL)
    assert limiter.waiting == 0
    limiter.release(held, SUCCESS)


async def test_a_weight_that_cannot_be_leaves_nothing(limiter: RequestLimiter) -> None:
    with pytest.raises(ConfigError, match="weight of flow 'a' is 0"):
        await limiter.acquire(POOL, flow="a", weight=0, timeout=0.01)
    await asyncio.sleep(0.02)


def counting_turns(limiter: RequestLimiter, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []
    admission = limiter._private.account.admission
    monkeypatch.setattr(admission, "advance", noting(admission.advance, "advance", asked))
    return asked


async def test_releases_of_one_step_share_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    limiter = RequestLimiter(limit=FixedLimit, cap=16)
    pool = limiter.pool(model="m")
    asked = counting_turns(limiter, monkeypatch)
    held = [await limiter.acquire(pool) for _ in range(16)]
    assert len(asked) == 16, "who comes first waits for nobody"
    tasks = await park(limiter, 40, pool)
    assert len(asked) == 16, "who waits behind others decides nothing"

    async def again() -> Permit:
        for permit in held:
            assert limiter.release(permit, SUCCESS) is ReleaseStatus.RELEASED
        return await limiter.acquire(pool)  # no more than a place behind the others

    tasks.append(asyncio.ensure_future(again()))
    woken = await asyncio.gather(*tasks[:16])
    assert len(asked) == 17, "one turn for all"
    assert not any(task.done() for task in tasks[16:])
    assert len({permit.granted_at for permit in woken}) == 1
    for permit in woken:
        limiter.release(permit, SUCCESS)
    await drain(limiter, tasks[16:])
    assert limiter.permits == 0


async def test_whoever_may_have_one_at_once_gets_it_before_the_shared_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limiter = RequestLimiter(limit=FixedLimit, cap=3)
    pool = limiter.pool(model="m")
    asked = counting_turns(limiter, monkeypatch)
    held = [await limiter.acquire(pool) for _ in range(3)]
    (task,) = await park(limiter, 1, pool)
    for permit in held:
        limiter.release(permit, SUCCESS)
    assert len(asked) == 3
    mine = limiter.try_acquire(pool)
    assert len(asked) == 4
    assert mine is not None, "two are left when those before it have theirs"
    assert mine.permit_id == held[-1].permit_id + 2, "and it overtook nobody"
    other = asyncio.ensure_future(limiter.acquire(pool))
    await asyncio.sleep(0)
    limiter.release(mine, SUCCESS)
    await drain(limiter, [task, other])
    assert limiter.permits == 0


async def test_a_newcomer_for_whom_there_is_room_does_not_wait_for_the_shared_turn() -> None:
    limiter = RequestLimiter()
    limiter.register(POOL, FixedLimit(2), cap=2)
    held = [await limiter.acquire(POOL) for _ in range(2)]
    (waiting,) = await park(limiter, 1)
    waited: list[str] = []
    for permit in held:
        limiter.release(permit, SUCCESS)  # one step: two came back, one waits for them
    mine = await limiter.acquire(POOL, on_wait=lambda: waited.append("newcomer"))
    assert waited == []
    for permit in (mine, await waiting):
        limiter.release(permit, SUCCESS)
    assert limiter.permits == 0


async def test_a_release_that_moves_a_limit_takes_its_turn_at_once(
    limiter: RequestLimiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = await limiter.acquire(POOL)
    tasks = await park(limiter, 2)
    asked = counting_turns(limiter, monkeypatch)
    limiter.release(held, Outcome(OutcomeKind.RATE_LIMITED, retry_after=0.01))
    assert len(asked) == 1
    await drain(limiter, tasks)


async def test_nobody_is_forgotten_who_came_or_went_before_the_shared_turn(
    limiter: RequestLimiter,
) -> None:
    held = await limiter.acquire(POOL)
    first, second, third = await park(limiter, 3)

    async def again() -> Permit:
        first.cancel()
        limiter.release(held, SUCCESS)
        second.cancel()
        return await limiter.acquire(POOL, timeout=0.01)

    patient = asyncio.ensure_future(again())
    permit = await third
    assert first.cancelled()
    assert second.cancelled()
    with pytest.raises(QueueTimeout):
        await patient
    limiter.release(permit, SUCCESS)
    assert limiter.permits == 0


@pytest.mark.parametrize("ended", [False, True])
async def test_what_ends_or_pauses_before_the_shared_turn_is_kept(
    limiter: RequestLimiter, ended: bool
) -> None:
    held = await limiter.acquire(POOL)
    (task,) = await park(limiter, 1)
    limiter.release(held, SUCCESS)
    if ended:
        limiter.close()
        with pytest.raises(AdmissionClosed):
            await task
    else:
        limiter.pause(True)
        await asyncio.sleep(0.01)
        assert not task.done()
        limiter.pause(False)
        await drain(limiter, [task])
    assert (limiter.permits, limiter.waiting) == (0, 0)
