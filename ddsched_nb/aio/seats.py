"""Seats: the scheduler's slots of a running task, given back while all its calls wait for permits.

A task that waits for a cooling or saturated model does nothing, and what it holds of the slots that
all share others could use. It takes them again before its call goes out, ahead of all that queue.
What may be given back, and who comes next, is decided in the core.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ddsched_nb.aio.reporters import SchedulerReporter
from ddsched_nb.core.dispatch import Dispatch
from ddsched_nb.core.model import Lease
from ddsched_nb.core.schedule import Schedule


class Seats:
    """The seats of one run.

    Args:
        schedule: Decides.
        reporter: Tells what happens.
        wake: Called when somebody may start on what was given back.
    """

    def __init__(
        self, schedule: Schedule, reporter: SchedulerReporter, wake: Callable[[], None]
    ) -> None:
        self._schedule = schedule
        self._reporter = reporter
        self._wake = wake
        self._coming_back: dict[int, asyncio.Future[None]] = {}

    def step_aside(self, task_id: str, lease: Lease) -> None:
        """A task gives its shared slots back."""
        useful = self._schedule.step_aside(lease)
        if useful is None:
            return  # it was not back yet
        self._reporter.stepped_aside(task_id, lease)
        if useful:
            self._wake()

    async def come_back(self, task_id: str, lease: Lease) -> None:
        """A task takes them again, and waits for that if need be."""
        back = self._schedule.come_back(lease)
        if back:
            self._reporter.came_back(task_id, lease)
        if back is not False:
            return
        future = self._coming_back[lease.lease_id] = asyncio.get_running_loop().create_future()
        await asyncio.shield(future)

    async def is_back(self, lease: Lease) -> None:
        """Waits for a task of which another call has asked for its slots."""
        future = self._coming_back.get(lease.lease_id)
        if future is not None:
            await asyncio.shield(future)

    def let_in(self, leases: list[Lease]) -> None:
        """Tasks have their slots again."""
        for lease in leases:
            self._reporter.came_back(lease.task_id, lease)
            future = self._coming_back.pop(lease.lease_id, None)
            if future is not None:
                future.set_result(None)

    def left(self, lease: Lease) -> None:
        """A task ended, perhaps before it was back."""
        future = self._coming_back.pop(lease.lease_id, None)
        if future is not None:
            future.cancel()


class Seat:
    """What one task holds. Its calls say when they wait, and when they go out.

    Args:
        seats: Those of the run.
        dispatch: The task, with its lease.
    """

    __slots__ = ("_aside", "_asking", "_flying", "_lease", "_seats", "_task_id")

    def __init__(self, seats: Seats, dispatch: Dispatch) -> None:
        self._seats = seats
        self._task_id = dispatch.ready.task_id
        self._lease = dispatch.lease
        self._asking = 0
        self._flying = 0
        self._aside = False

    def asks(self) -> None:
        """A call of the task asks for a permit."""
        self._asking += 1

    def waits(self) -> None:
        """There is none for it now."""
        if not self._flying and not self._aside:
            self._aside = True
            self._seats.step_aside(self._task_id, self._lease)

    def asked(self) -> None:
        """It has one, or asks no more."""
        self._asking -= 1

    async def takes_off(self) -> None:
        """A call has its permit: before it goes out, the task holds its slots again."""
        self._flying += 1
        if self._aside:
            self._aside = False
            await self._seats.come_back(self._task_id, self._lease)
        else:
            await self._seats.is_back(self._lease)

    def lands(self) -> None:
        """A call ended, however it did."""
        self._flying -= 1
        if self._asking:
            self.waits()
