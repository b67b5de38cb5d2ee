"""Hand-off: many callers on few slots, beside a bare asyncio loop with the same holds.

The holds are real (`asyncio.sleep`), so what a loop itself loses on them is in both.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable

from ddsched_nb.aio.limiter import RequestLimiter
from ddsched_nb.bench.cpu import cpu_s
from ddsched_nb.core.limits import FixedLimit

__all__ = ["compare", "idle"]

_SLOTS = 16
_HOLD_S = 0.01


def compare(waiters: int, *, calls: int = 12_000, repeats: int = 5) -> dict[str, object]:
    """Calls a second through the limiter, over those of as many bare workers as slots.

    Args:
        waiters: Callers, each of which calls again as soon as it is done.
        calls: Calls in all.
        repeats: Runs of each, in turns.
    """
    ratios, costs, bare_costs = [], [], []
    for _ in range(repeats):
        bare_s, bare_cpu = asyncio.run(_bare(calls))
        ours_s, ours_cpu = asyncio.run(_limited(waiters, calls))
        ratios.append(bare_s / ours_s)
        costs.append(1e6 * ours_cpu / calls)
        bare_costs.append(1e6 * bare_cpu / calls)
    return {
        "waiters": waiters,
        "slots": _SLOTS,
        "hold ms": 1e3 * _HOLD_S,
        "of a bare loop": f"{statistics.median(ratios):.4f}",
        "CPU us a call": round(statistics.median(costs), 1),
        "of which the bare loop's": round(statistics.median(bare_costs), 1),
        "repeats": repeats,
    }


def idle(waiters: int = 2_000, seconds: float = 2.0) -> dict[str, object]:
    """CPU while all slots are held and everybody waits."""
    return {"waiters": waiters, "seconds": seconds, "CPU s": asyncio.run(_idle(waiters, seconds))}


async def _bare(calls: int) -> tuple[float, float]:
    left = [calls]

    async def work() -> None:
        while left[0] > 0:
            left[0] -= 1
            await asyncio.sleep(_HOLD_S)

    return await _timed([work] * _SLOTS)


async def _limited(waiters: int, calls: int) -> tuple[float, float]:
    limiter, left = RequestLimiter(limit=FixedLimit, cap=_SLOTS), [calls]
    pool = limiter.pool(model="m")

    async def work() -> None:
        while left[0] > 0:
            left[0] -= 1
            async with limiter.permit(pool):
                await asyncio.sleep(_HOLD_S)

    return await _timed([work] * waiters)


async def _timed(works: list[Callable[[], Awaitable[None]]]) -> tuple[float, float]:
    loop = asyncio.get_running_loop()
    began, spent = loop.time(), cpu_s()
    await asyncio.gather(*(work() for work in works))
    return loop.time() - began, cpu_s() - spent


async def _idle(waiters: int, seconds: float) -> float:
    limiter = RequestLimiter(limit=FixedLimit, cap=_SLOTS)
    pool = limiter.pool(model="m")
    tasks = [asyncio.ensure_future(limiter.acquire(pool)) for _ in range(waiters + _SLOTS)]
    await asyncio.sleep(0.2)
    before = cpu_s()
    await asyncio.sleep(seconds)
    spent = cpu_s() - before
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return round(spent, 4)
