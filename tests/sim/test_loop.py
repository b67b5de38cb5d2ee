"""The virtual loop: an asyncio loop like any other, whose clock jumps, and that says who waits."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from ddsched_nb.errors import SimulationDeadlock, VirtualTimeError
from ddsched_nb.sim.guards import real_world_refused
from ddsched_nb.sim.loop import VirtualLoop, new_loop


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    made = new_loop()
    yield made
    made.close()


def test_an_hour_takes_as_long_as_its_callbacks(loop: VirtualLoop) -> None:
    async def hour() -> float:
        for _ in range(60):
            await asyncio.sleep(60)
        return asyncio.get_running_loop().time()

    assert loop.run_until_complete(hour()) == 3_600
    assert loop.steps < 300


def test_timers_fire_in_order_of_time_and_then_as_they_were_set(loop: VirtualLoop) -> None:
    seen: list[str] = []

    async def main() -> None:
        for name, delay in (("c", 2.0), ("a", 1.0), ("b", 1.0), ("d", 2.0)):
            loop.call_later(delay, seen.append, name)
        loop.call_later(1.5, seen.append, "never").cancel()
        await asyncio.sleep(3)

    loop.run_until_complete(main())
    assert seen == ["a", "b", "c", "d"]


def test_cancelled_timers_do_not_stay(loop: VirtualLoop) -> None:
    async def main() -> None:
        for _ in range(10_000):
            loop.call_later(1_000, print).cancel()
        assert len(loop._timers) < 500
        assert loop.pending == 0

    loop.run_until_complete(main())


def test_what_asyncio_offers_works(loop: VirtualLoop) -> None:
    async def work(n: int) -> int:
        await asyncio.sleep(n)
        return n

    async def main() -> list[object]:
        gathered = await asyncio.gather(*(work(n) for n in (3, 1, 2)))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(work(10), 4)
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            inside = group.create_task(work(1))
        queue: asyncio.Queue[int] = asyncio.Queue()
        loop.call_later(1, queue.put_nowait, 7)
        return [gathered, inside.result(), await queue.get(), loop.time()]

    assert loop.run_until_complete(main()) == [[3, 1, 2], 1, 7, 9.0]


def test_a_lost_wake_up_is_named_at_once(loop: VirtualLoop) -> None:
    async def forgotten() -> None:
        await loop.create_future()

    async def main() -> None:
        await asyncio.gather(forgotten(), asyncio.sleep(1))

    with pytest.raises(SimulationDeadlock, match=r"at 1 s.*\n(.*\n)*.*forgotten.*waits for Future"):
        loop.run_until_complete(main())


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda loop: loop.run_in_executor(None, print), "executors and threads do not exist"),
        (lambda loop: loop.create_connection(), "sockets do not exist in virtual time"),
        (lambda loop: loop.subprocess_exec(), "child processes"),
        (lambda loop: loop.add_signal_handler(2, print), "signals"),
    ],
)
def test_the_real_world_is_refused_by_the_loop(loop: VirtualLoop, call, said: str) -> None:
    async def main() -> None:
        call(loop)

    with pytest.raises(VirtualTimeError, match=said):
        loop.run_until_complete(main())


@pytest.mark.parametrize(
    ("call", "instead"),
    [
        (lambda: time.time(), r"time\.time does not exist.*get_running_loop\(\)\.time"),
        (lambda: time.monotonic_ns(), "monotonic_ns does not exist"),
        (lambda: time.sleep(0), r"await asyncio\.sleep"),
        (lambda: threading.Thread(target=print).start(), r"Thread\.start does not exist"),
        (lambda: socket.socket(), "profiles="),
    ],
)
def test_the_real_world_is_refused_to_generators(call, instead: str) -> None:
    with real_world_refused(), pytest.raises(VirtualTimeError, match=instead):
        call()
    assert time.time() > 0


def test_other_threads_keep_their_clocks() -> None:
    seen: list[object] = []

    def look() -> None:
        try:
            seen.append(time.time())
        except VirtualTimeError as error:
            seen.append(error)

    other = threading.Thread(target=look)
    inside = threading.Event()
    go_on = threading.Event()

    def simulate() -> None:
        with real_world_refused():
            inside.set()
            go_on.wait(10)

    simulating = threading.Thread(target=simulate)
    simulating.start()
    inside.wait(10)
    other.start()
    other.join()
    go_on.set()
    simulating.join()
    assert isinstance(seen[0], float)


def test_a_run_without_end_is_given_up() -> None:
    async def for_ever() -> None:
        while True:  # noqa: ASYNC110 - what is tested
            await asyncio.sleep(1)

    loop = new_loop(until_s=100)
    with pytest.raises(VirtualTimeError, match="not finished after 100 virtual seconds"):
        loop.run_until_complete(for_ever())
    loop.close()
    assert not asyncio.all_tasks(loop)


def test_an_exception_that_nobody_sees_ends_the_simulation(loop: VirtualLoop) -> None:
    async def main() -> None:
        loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)

    with pytest.raises(VirtualTimeError, match="ZeroDivisionError"):
        loop.run_until_complete(main())
