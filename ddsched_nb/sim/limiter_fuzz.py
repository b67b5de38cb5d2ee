"""Fuzzes request admission alone: callers with timeouts, who may be cancelled at any await.

A run of a pipeline has no queue timeouts, so what they need is watched here (a permit must not go
to a caller whose time is up).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Sequence

from ddsched_nb.aio.bus import EventBus
from ddsched_nb.aio.limiter import RequestLimiter
from ddsched_nb.aio.reporters import RequestReporter
from ddsched_nb.core.limits import AIMDLimit
from ddsched_nb.core.model import Outcome, OutcomeKind, PoolKey
from ddsched_nb.errors import AdmissionClosed, QueueTimeout
from ddsched_nb.record import RunRecord
from ddsched_nb.sim.chaos import ChaosLoop, InjectedFault, pick
from ddsched_nb.sim.laws import broken_laws

__all__ = ["limiter_run"]

_POOLS = (PoolKey("p", "a"), PoolKey("p", "a", "embedding"), PoolKey("q", "b"))
_OUTCOMES = (
    *(Outcome(OutcomeKind.SUCCESS),) * 6,
    Outcome(OutcomeKind.RATE_LIMITED, retry_after=0.3),
    Outcome(OutcomeKind.PROVIDER_FAILURE),
)


def limiter_run(
    seed: int, faults: Sequence[InjectedFault], callers: int
) -> tuple[tuple[str, ...], int]:
    """One run of so many callers; what was broken, and the steps it took."""
    dice = random.Random(f"limiter|{seed}")
    tasks: list[asyncio.Task[None]] = []
    limiters: list[RequestLimiter] = []
    broken: list[str] = []

    def act(fault: InjectedFault) -> None:
        waiting = [task for task in tasks if not task.done()]
        chosen = pick(waiting, fault, seed)
        if fault.kind == "cancel" and chosen is not None:
            chosen.cancel()
        elif fault.kind == "pause" and limiters:
            limiters[0].pause(True)
            loop.call_later(0.4, limiters[0].pause, False)
        elif fault.kind == "stop" and limiters:
            limiters[0].close()

    loop = ChaosLoop(seed, faults, act, steps=10 * callers)  # type: ignore[abstract]
    record, bus = RunRecord(), EventBus()
    bus.subscribe(record)

    async def call(limiter: RequestLimiter, pool: PoolKey, draw: random.Random) -> None:
        await asyncio.sleep(draw.choice((0.0, 0.0, 0.2, 0.5)))
        timeout = draw.choice((None, 0.05, 0.2, 1.0))
        deadline = None if timeout is None else loop.time() + timeout
        outcome = draw.choice(_OUTCOMES)
        with contextlib.suppress(QueueTimeout, AdmissionClosed):
            async with limiter.permit(pool, timeout=timeout, flow=draw.randrange(3)) as held:
                if deadline is not None and held.permit.granted_at > deadline + 1e-9:
                    broken.append(f"a permit of {pool.label} went to a caller past its deadline")
                held.outcome = outcome
                await asyncio.sleep(draw.choice((0.01, 0.05, 0.2)))

    async def main() -> None:
        limiter = RequestLimiter(reporter=RequestReporter(bus, loop.time))
        limiters.append(limiter)
        for pool in _POOLS:
            limit = AIMDLimit(3, started_at=0.0, successes_until_increase=4, cooldown_s=0.2)
            limiter.register(pool, limit, cap=3, aggregate_cap=4)
        for number in range(callers):
            draw = random.Random(dice.random())
            task = loop.create_task(call(limiter, draw.choice(_POOLS), draw), name=f"c{number}")
            tasks.append(task)
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            error = None if task.cancelled() else task.exception()
            if error is not None:
                broken.append(f"a caller ended with {error!r}")
        if limiter.permits or limiter.waiting:
            broken.append(f"left behind: {limiter.permits} permits, {limiter.waiting} waiters")

    try:
        loop.run_until_complete(main())
    except Exception as error:
        broken.append(f"{type(error).__name__}: {error}")
    finally:
        loop.close()
    return (*broken, *broken_laws(record.events)), loop.steps
