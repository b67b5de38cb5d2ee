"""What a bare event loop needs for a sleep: the yardstick of the scheduler's overhead in real time.

Timers are rounded, and many at once are late; that is no fault of a scheduler. Measured on this
machine, in this process, at the concurrency of the run that it is compared with.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Iterable

__all__ = ["measure_bare_loop"]

_ROUNDS = 20


async def measure_bare_loop(
    seconds: Iterable[float], concurrency: int, rounds: int = _ROUNDS
) -> Callable[[float], float]:
    """Measures how long sleeps really take on the running loop while nothing else runs.

    Args:
        seconds: The sleeps to measure.
        concurrency: How many at once.
        rounds: How often each is repeated.

    Returns:
        From a sleep to what it takes at the median; one that was not measured takes what the
        measured ones took longer, at the most.
    """
    elapsed = {length: await _median(length, concurrency, rounds) for length in set(seconds)}
    excess = max((took - length for length, took in elapsed.items()), default=0.0)
    return lambda length: elapsed.get(length, length + excess)


async def _median(seconds: float, concurrency: int, rounds: int) -> float:
    loop = asyncio.get_running_loop()

    async def sleep() -> float:
        started = loop.time()
        await asyncio.sleep(seconds)
        return loop.time() - started

    found: list[float] = []
    for _ in range(rounds):
        found += await asyncio.gather(*(sleep() for _ in range(concurrency)))
    return statistics.median(found)
