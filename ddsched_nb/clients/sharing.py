"""Requests that slow each other: exact processor sharing, on the running loop.

Up to `knee` requests run at full speed; more share what `knee` of them would have. With everyone
at the same speed a single clock of attained service orders all ends, so one timer serves them all
(processor sharing, Kleinrock 1967).
"""

from __future__ import annotations

import asyncio
import heapq

__all__ = ["SharedServer"]


class SharedServer:
    """Serves requests that share a speed.

    Args:
        knee: Requests that do not slow each other, >= 1.
    """

    def __init__(self, knee: int) -> None:
        self._knee = knee
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
        return min(1.0, self._knee / self._in_service) if self._in_service else 1.0

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
