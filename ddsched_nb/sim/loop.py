"""An event loop in virtual time: a small asyncio loop whose clock jumps to the next timer.

Coroutines, tasks, futures and sleeps run as on any loop, an hour in as long as its callbacks take.
What would tie a run to the real world (sockets, threads, executors, signals) is refused, so that
equal programs take equal steps. Nothing ready and no timer pending while something still waits
means that a wake-up was lost: the loop says who waits for what, at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from asyncio import events
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, Final, NoReturn, TypeVar, TypeVarTuple, Unpack, cast

from ddsched_nb.errors import SimulationDeadlock, VirtualTimeError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_REFUSED: Final = {
    "executors and threads": (
        "run_in_executor set_default_executor shutdown_default_executor",
        "compute in the generator itself, and stand for its duration with asyncio.sleep",
    ),
    "sockets": (
        "create_connection create_server create_unix_connection create_unix_server sock_recv "
        "sock_recv_into sock_sendall sock_connect sock_accept sock_sendfile sendfile start_tls "
        "create_datagram_endpoint connect_accepted_socket getaddrinfo getnameinfo add_reader "
        "remove_reader add_writer remove_writer",
        "give simulate() profiles=[EndpointProfile(...)], or make the provider a SimulatedProvider",
    ),
    "child processes and pipes": (
        "connect_read_pipe connect_write_pipe subprocess_exec subprocess_shell",
        "stand for their duration with asyncio.sleep",
    ),
    "signals": (
        "add_signal_handler remove_signal_handler",
        "cancel the simulation from outside",
    ),
}
# As asyncio does it: cancelled timers are swept when there are many, and most are.
_SWEEP_FROM = 128


class VirtualLoop(asyncio.AbstractEventLoop):
    """Runs coroutines in virtual time, which starts at 0 and moves only when nothing is ready.

    Timers that are due at the same instant fire in the order in which they were set. One loop
    belongs to one thread.

    Args:
        until_s: Virtual seconds after which the loop gives up, against runs that never end.
    """

    is_virtual = True
    """What is shared in real time is not shared with it."""

    def __init__(self, until_s: float = 1e9) -> None:
        self._now = 0.0
        self._until_s = until_s
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timers_set = 0
        self._timers_cancelled = 0
        # The only door for other threads: append and popleft of a deque are atomic.
        self._posted: deque[asyncio.Handle] = deque()
        self._running = False
        self._closed = False
        self._task_factory: Any = None
        self._exception_handler: Any = None
        self.steps = 0
        """Callbacks run so far."""
        self.look: Callable[[], object] | None = None
        """Called each `look_every` callbacks; what it raises ends the run."""
        self.look_every = 4096
        self._looked = 0

    def __repr__(self) -> str:
        return f"<VirtualLoop at {self._now:g} s: {len(self._ready)} ready, {self.pending} timers>"

    @property
    def pending(self) -> int:
        """Timers that are set and not cancelled."""
        return len(self._timers) - self._timers_cancelled

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def call_soon(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._posted.append(handle)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        # What tells asyncio's TimerHandle that its loop wants to hear of a cancellation.
        timer._scheduled = True  # type: ignore[attr-defined]
        self._timers_set += 1
        heapq.heappush(self._timers, (when, self._timers_set, timer))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self._timers_cancelled += 1
        if self._timers_cancelled > max(_SWEEP_FROM, len(self._timers) // 2):
            # The one that is being cancelled does not say so yet.
            self._timers = [
                entry
                for entry in self._timers
                if entry[2] is not handle and not entry[2].cancelled()
            ]
            heapq.heapify(self._timers)
            self._timers_cancelled = 0

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: str | None = None,
        **options: Any,
    ) -> asyncio.Task[T]:
        if self._task_factory is not None:
            made: asyncio.Task[T] = self._task_factory(self, coro, **options)
            return made
        return asyncio.Task(cast("Coroutine[Any, Any, T]", coro), loop=self, name=name, **options)

    def set_task_factory(self, factory: Any) -> None:
        self._task_factory = factory

    def get_task_factory(self) -> Any:
        return self._task_factory

    def run_until_complete(self, future: Awaitable[T] | Generator[Any, None, T]) -> T:
        """Runs until `future` is done.

        Returns:
            Its result.

        Raises:
            SimulationDeadlock: Nothing is ready, no timer is set, and `future` is not done.
            VirtualTimeError: The clock passed `until_s`, or a loop runs in this thread already.
        """
        if events._get_running_loop() is not None:
            raise VirtualTimeError("another event loop runs in this thread; use simulate()")
        main = asyncio.ensure_future(cast("Awaitable[T]", future), loop=self)
        events._set_running_loop(self)
        self._running = True
        try:
            while not main.done():
                self._turn()
                if self.look is not None and self.steps - self._looked >= self.look_every:
                    self._looked = self.steps
                    self.look()
        finally:
            self._running = False
            events._set_running_loop(None)
        return main.result()

    def _turn(self) -> None:
        """Runs what is ready; if nothing is, moves the clock to the next timer first."""
        while self._posted:
            self._ready.append(self._posted.popleft())
        if not self._ready:
            self._advance()
        ready = self._ready
        # As asyncio does it: what becomes ready meanwhile runs in the next turn.
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                self.steps += 1
                handle._run()

    def _advance(self) -> None:
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
            self._timers_cancelled -= 1
        if not timers:
            raise SimulationDeadlock(
                f"nothing is ready and no timer is set at {self._now:g} s, but this waits:\n"
                + "\n".join(who_waits(self))
            )
        now = self._now = max(self._now, timers[0][0])
        if now > self._until_s:
            raise VirtualTimeError(f"not finished after {self._until_s:g} virtual seconds")
        while timers and timers[0][0] <= now:
            timer = heapq.heappop(timers)[2]
            timer._scheduled = False  # type: ignore[attr-defined]
            if timer.cancelled():
                self._timers_cancelled -= 1
            else:
                self._ready.append(timer)

    def close(self) -> None:
        """Ends what still runs, so that nothing outlives the loop. May be called twice."""
        if self._closed:
            return
        left = sorted(asyncio.all_tasks(self), key=asyncio.Task.get_name)
        for task in left:
            task.cancel()
        with contextlib.suppress(VirtualTimeError):  # a task that will not end: it is dropped
            if left:
                self.run_until_complete(asyncio.wait(left))
        self._ready.clear()
        self._timers.clear()
        self._closed = True

    def is_closed(self) -> bool:
        return self._closed

    def is_running(self) -> bool:
        return self._running

    def get_debug(self) -> bool:
        return False

    def set_debug(self, enabled: bool) -> None:
        """Ignored: asyncio's debug mode measures wall time."""

    def set_exception_handler(self, handler: Any) -> None:
        self._exception_handler = handler

    def get_exception_handler(self) -> Any:
        return self._exception_handler

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What no awaiter saw is told to the handler; without one it ends the simulation."""
        if self._exception_handler is not None:
            self._exception_handler(self, context)
            return
        error = context.get("exception")
        raise VirtualTimeError(f"{context['message']}: {error!r}") from error

    async def shutdown_asyncgens(self) -> None:
        """Nothing to do: simulated code closes its generators itself."""


def _refuse(name: str, what: str, instead: str) -> Callable[..., NoReturn]:
    def refused(self: VirtualLoop, *args: Any, **options: Any) -> NoReturn:
        raise VirtualTimeError(f"{what} do not exist in virtual time (loop.{name}); {instead}")

    refused.__name__ = name
    return refused


for _what, (_names, _instead) in _REFUSED.items():
    for _name in _names.split():
        setattr(VirtualLoop, _name, _refuse(_name, _what, _instead))


def new_loop(until_s: float = 1e9) -> VirtualLoop:
    """A fresh loop, its clock at 0."""
    return VirtualLoop(until_s)  # type: ignore[abstract]  # what is refused is made above


def who_waits(loop: asyncio.AbstractEventLoop) -> list[str]:
    """Where the tasks stand that are not done, and what they wait for; equal ones are counted."""
    places = Counter(_described(task) for task in asyncio.all_tasks(loop))
    return [f"  {count} x {place}" for place, count in sorted(places.items())]


def _described(task: asyncio.Task[Any]) -> str:
    coroutine: Any = task.get_coro()
    name = getattr(coroutine, "__qualname__", repr(coroutine))
    waits_for: Any = None
    where = ""
    while coroutine is not None and hasattr(coroutine, "cr_await"):
        frame = coroutine.cr_frame
        if frame is not None:
            where = f"{coroutine.__qualname__}, line {frame.f_lineno}"
        waits_for = coroutine.cr_await
        coroutine = waits_for
    return f"{name}: in {where}, waits for {type(waits_for).__name__}"
