"""Requests that slow each other: exact processor sharing, on the running loop.

Up to `knee` requests run at full speed; more share what `knee` of them would have. With everyone
at the same speed a single clock of attained service orders all ends, so one timer serves them all
(processor sharing, Kleinrock 1967).
"""

from __future__ import annotations

import asyncio
import heapq

__all__ = ["SharedServer", "WaitingLine", "speed"]


def speed(knee: int, in_service: int, *, soft: bool) -> float:
    """The speed at which each of so many requests is served; 1 is that of one alone."""
    if in_service <= 1:
        return 1.0
    return knee / (knee + in_service - 1) if soft else min(1.0, knee / in_service)


class WaitingLine:
    """Serves so many requests at full speed; the others wait their turn.

    Args:
        servers: How many, >= 1.
    """

    def __init__(self, servers: int) -> None:
        self._servers = asyncio.Semaphore(servers)

    async def serve(self, seconds: float) -> None:
        """Returns after its turn came and `seconds` of service."""
        async with self._servers:
            await asyncio.sleep(seconds)


class SharedServer:
    """Serves requests that share a speed.

    Args:
        knee: Requests that do not slow each other, >= 1.
        soft: Whether each further one slows all: n of them run at knee / (knee + n - 1).
    """

    def __init__(self, knee: int, *, soft: bool = False) -> None:
        self._knee = knee
        self._soft = soft
        self._attained = 0.0
        self._since = 0.0
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0
        self._in_service = 0
        self._timer: asyncio.TimerHandle | None = None

    async def serve(self, seconds: float) -> None:
        """Returns after `seconds` of service at full speed."""
        loop = asyncio.get_running_loop()
        self._settle(loop.time())
        done: asyncio.Future[None] = loop.create_future()
        self._count += 1
        self._in_service += 1
        heapq.heappush(self._waiting, (self._attained + seconds, self._count, done))
        self._arm(loop)
        try:
            await done
        finally:
            if done.cancelled():
                self._settle(loop.time())
                self._in_service -= 1
                self._arm(loop)

    @property
    def _speed(self) -> float:
        return speed(self._knee, self._in_service, soft=self._soft)

    def _settle(self, now: float) -> None:
        self._attained += (now - self._since) * self._speed
        self._since = now

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and self._waiting[0][2].cancelled():
            heapq.heappop(self._waiting)
        if self._waiting:
            left = max(0.0, self._waiting[0][0] - self._attained)
            self._timer = loop.call_at(self._since + left / self._speed, self._finish, loop)

    def _finish(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        first = self._waiting[0][0]
        self._settle(loop.time())
        # The timer was set for the first; rounding must not leave it a hair short for ever.
        self._attained = max(self._attained, first)
        while self._waiting and self._waiting[0][0] <= self._attained:
            done = heapq.heappop(self._waiting)[2]
            if not done.done():
                done.set_result(None)
                self._in_service -= 1
        self._arm(loop)
