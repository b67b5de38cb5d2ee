"""Permits by the name of a model, at once or not at all, and from plain threads."""

from __future__ import annotations

import _thread
import asyncio
import threading
import time

import pytest

import ddsched_nb as dd
from ddsched_nb.aio.limiter import RequestLimiter
from ddsched_nb.core.limits import CeilingLimit, FixedLimit
from ddsched_nb.core.model import SUCCESS, OutcomeKind, PoolKey, Usage
from ddsched_nb.errors import ConfigError, QueueTimeout

POOL = PoolKey("any", "m")


async def test_a_model_is_made_known_by_its_first_use() -> None:
    limiter = dd.RequestLimiter()
    async with limiter.permit(model="m") as held:
        assert limiter.permits == 1
        held.answered(Usage(3, 4), {"x-ratelimit-limit-requests": "600"})
    found = limiter.statistics(POOL)
    assert (found.algorithm, found.succeeded, found.tokens) == ("ceiling", 1, 7)
    assert found.pacing[0].per_minute == 600.0
    assert [point.limit for point in limiter.history(POOL)] == [12]


@pytest.mark.parametrize("given", [{}, {"pool": POOL, "model": "m"}])
async def test_either_a_pool_or_a_model(given: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="either a pool or model=NAME"):
        async with RequestLimiter().permit(**given):
            pass


class RateLimitError(Exception):
    """As SDKs have them."""

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        self.status_code = status
        self.response = type("Response", (), {"headers": headers})()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RateLimitError(429, {}), OutcomeKind.RATE_LIMITED),
        (RateLimitError(503, {}), OutcomeKind.PROVIDER_FAILURE),
        (type("APITimeoutError", (Exception,), {})(), OutcomeKind.PROVIDER_TIMEOUT),
        (type("APIConnectionError", (Exception,), {})(), OutcomeKind.PROVIDER_FAILURE),
        (ConnectionRefusedError(), OutcomeKind.PROVIDER_FAILURE),
        (KeyboardInterrupt(), OutcomeKind.LOCAL_CANCELLED),
        (ZeroDivisionError(), OutcomeKind.UNEXPECTED_EXCEPTION),
    ],
)
async def test_r11_what_leaves_the_block_is_its_outcome(
    error: BaseException, kind: OutcomeKind
) -> None:
    limiter = RequestLimiter()
    released = []
    real = limiter.release
    limiter.release = lambda permit, outcome: released.append(outcome) or real(permit, outcome)  # type: ignore[method-assign, func-returns-value]
    with pytest.raises(type(error)):
        async with limiter.permit(model="m"):
            raise error
    assert [outcome.kind for outcome in released] == [kind]
    assert limiter.permits == 0


async def test_at_once_or_not_at_all() -> None:
    limiter = RequestLimiter()
    limiter.register(POOL, FixedLimit(1), cap=1)
    held = limiter.try_acquire(POOL)
    assert held is not None
    assert limiter.try_acquire(POOL) is None
    assert (limiter.permits, limiter.waiting) == (1, 0)
    waiting = asyncio.ensure_future(limiter.acquire(POOL))
    await asyncio.sleep(0)
    limiter.release(held, SUCCESS)
    assert limiter.try_acquire(POOL) is None, "it does not overtake who waits"
    limiter.release(await waiting, SUCCESS)


def test_a_plain_thread_waits_its_turn() -> None:
    limiter, most, lock = RequestLimiter(limit=FixedLimit, cap=2), [0, 0], threading.Lock()

    def call() -> None:
        with limiter.permit_blocking(model="m"):
            with lock:
                most[0] += 1
                most[1] = max(most)
            time.sleep(0.01)
            with lock:
                most[0] -= 1

    threads = [threading.Thread(target=call) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [0, 2]
    while limiter.permits:
        time.sleep(0.001)
    assert limiter.statistics(POOL).succeeded == 12


async def test_threads_and_coroutines_wait_in_one_queue() -> None:
    limiter, order = RequestLimiter(limit=FixedLimit, cap=1), []
    held = await limiter.acquire(limiter.pool(model="m"))

    def in_thread() -> None:
        with limiter.permit_blocking(model="m"):
            order.append("thread")

    async def in_loop(name: str) -> None:
        async with limiter.permit(model="m"):
            order.append(name)

    before = asyncio.ensure_future(in_loop("before"))
    await asyncio.sleep(0)
    thread = asyncio.ensure_future(asyncio.to_thread(in_thread))
    while limiter.waiting < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    after = asyncio.ensure_future(in_loop("after"))
    await asyncio.sleep(0)
    limiter.release(held, SUCCESS)
    await asyncio.gather(before, thread, after)
    assert order == ["before", "thread", "after"]


async def test_r05_a_blocking_acquire_refuses_to_run_on_a_running_loop() -> None:
    limiter = RequestLimiter()
    with pytest.raises(ConfigError, match="would block the event loop"):
        limiter.acquire_blocking(model="m")
    with (
        pytest.raises(ConfigError, match="would block the event loop"),
        limiter.permit_blocking(model="m"),
    ):
        pass
    assert limiter.waiting == 0


def test_a_blocking_acquire_may_time_out() -> None:
    limiter = RequestLimiter(limit=FixedLimit, cap=1)
    held = limiter.acquire_blocking(model="m")
    with pytest.raises(QueueTimeout):
        limiter.acquire_blocking(model="m", timeout=0.01)
    limiter.release_blocking(held, SUCCESS)


def test_r11_an_interrupt_while_a_thread_waits_leaves_nothing() -> None:
    limiter = RequestLimiter(limit=FixedLimit, cap=1)
    held = limiter.acquire_blocking(model="m")
    threading.Timer(0.1, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        limiter.acquire_blocking(model="m", timeout=20)
    limiter.release_blocking(held, SUCCESS)
    # Whoever comes next gets it: neither place nor permit stayed behind.
    again = limiter.acquire_blocking(model="m", timeout=5)
    assert limiter.waiting == 0
    limiter.release_blocking(again, SUCCESS)


def test_r11_an_interrupt_in_the_block_is_cancelled_and_not_a_failure() -> None:
    limiter = RequestLimiter()
    with pytest.raises(KeyboardInterrupt), limiter.permit_blocking(model="m"):
        raise KeyboardInterrupt
    while limiter.permits:
        time.sleep(0.001)
    found = limiter.statistics(POOL)
    assert (found.succeeded, found.failed, found.refused) == (0, 0, 0)


async def test_a_cap_may_change_while_it_is_used() -> None:
    limiter = RequestLimiter()
    limiter.register(POOL, CeilingLimit(64), cap=2)
    tasks = [asyncio.ensure_future(limiter.acquire(POOL)) for _ in range(6)]
    await asyncio.sleep(0)
    assert limiter.permits == 2
    limiter.set_cap(POOL, 5)
    await asyncio.sleep(0)
    assert limiter.permits == 5
    with pytest.raises(ConfigError, match="cap of pool 'any/m/chat' is 0"):
        limiter.set_cap(POOL, 0)
    for task in tasks:
        limiter.release(await task, SUCCESS)
    assert [(p.limit, p.reason) for p in limiter.history(POOL)] == [(2, "start"), (5, "cap")]
