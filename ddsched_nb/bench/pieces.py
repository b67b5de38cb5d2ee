"""What other parts cost by themselves: a permit, a completed cell, an event, the import, memory.

Each subject does a counted number of operations and says what CPU they took; nothing else is timed.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import subprocess
import sys
import tracemalloc
from collections.abc import Callable

from ddsched_nb.aio.bus import EventBus
from ddsched_nb.aio.limiter import RequestLimiter
from ddsched_nb.bench.cpu import Spent, cpu_s
from ddsched_nb.bench.dispatching import filled
from ddsched_nb.core.events import TaskLeaseAcquired
from ddsched_nb.core.frontier import Frontier
from ddsched_nb.core.graph import ColumnGraph
from ddsched_nb.core.limits import FixedLimit
from ddsched_nb.core.model import SUCCESS, ColumnSpec, RowGroup, Task
from ddsched_nb.core.task_policies import StrictFair
from ddsched_nb.record import RunRecord

__all__ = ["capture", "completions", "importing", "permits", "queued_mib", "waking"]

_CHAIN = ("a", "b", "c", "d")
_SLOTS = 16
_IMPORT = "import ddsched_nb"


def permits(past: int = 0, operations: int = 10_000) -> Callable[[], Spent]:
    """Acquires and releases a permit that is free, through asyncio, after so many past requests."""

    async def use() -> float:
        limiter = RequestLimiter()
        pool = limiter.pool(model="m")
        for _ in range(past):
            limiter.release(await limiter.acquire(pool), SUCCESS)
        since = cpu_s()
        for _ in range(operations):
            limiter.release(await limiter.acquire(pool), SUCCESS)
        return cpu_s() - since

    return lambda: Spent(operations, asyncio.run(use()))


def waking(waiters: int, operations: int = 10_000) -> Callable[[], Spent]:
    """Hands permits from holder to waiter: so many callers on 16 slots, and no call takes time."""

    async def compete() -> float:
        limiter, left = RequestLimiter(limit=FixedLimit, cap=_SLOTS), [operations]
        pool = limiter.pool(model="m")

        async def work() -> None:
            while left[0] > 0:
                left[0] -= 1
                permit = await limiter.acquire(pool)
                await asyncio.sleep(0)
                limiter.release(permit, SUCCESS)

        since = cpu_s()
        await asyncio.gather(*(work() for _ in range(_SLOTS + waiters)))
        return cpu_s() - since

    return lambda: Spent(operations, asyncio.run(compete()))


def completions(
    open_groups: int = 10, size: int = 1_000, operations: int = 1
) -> Callable[[], Spent]:
    """Completes every cell of a chain of four columns, in so many row groups open at once.

    Args:
        open_groups: Row groups that are open.
        size: Rows of each.
        operations: Begins again with as many row groups until so many cells are complete.
    """
    needs = ((), *((name,) for name in _CHAIN))
    graph = ColumnGraph(
        [ColumnSpec(name, need, (name,)) for name, need in zip(_CHAIN, needs, strict=False)]
    )

    def run() -> Spent:
        done, spent = 0, 0.0
        while done < operations:
            more = _complete_all(Frontier(graph), open_groups, size)
            done, spent = done + more.operations, spent + more.cpu_s
        return Spent(done, spent)

    return run


def _complete_all(frontier: Frontier, open_groups: int, size: int) -> Spent:
    ready: list[Task] = []
    for index in range(open_groups):
        ready += frontier.open(RowGroup(index, index * size, (index + 1) * size)).ready
    done, spent = 0, 0.0
    while ready:
        for task in ready:
            frontier.queued(task)
            frontier.started(task)
        since = cpu_s()
        deltas = [frontier.complete(task) for task in ready]
        spent += cpu_s() - since
        done += len(ready)
        ready = [task for delta in deltas for task in delta.ready]
    assert done == open_groups * size * len(_CHAIN), "every cell became ready and was completed"
    return Spent(done, spent)


def capture(operations: int = 10_000) -> Callable[[], Spent]:
    """Builds an event, publishes it on the bus and keeps it in a record."""

    def run() -> Spent:
        bus, record = EventBus(), RunRecord()
        bus.subscribe(record)
        since = cpu_s()
        for number in range(operations):
            bus.publish(TaskLeaseAcquired(1.0, number, "answer/0/12", number, False))
        spent = cpu_s() - since
        assert len(record) == operations
        return Spent(operations, spent)

    return run


def importing() -> Spent:
    """CPU of `import ddsched_nb` in a fresh interpreter, less that of an interpreter alone."""
    return Spent(1, _child_cpu_s(_IMPORT) - _child_cpu_s("pass"))


def _child_cpu_s(code: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def queued_mib(tasks: int = 100_000, flows: int = 64) -> float:
    """MiB that queued tasks take, with their names, by the interpreter's account."""
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    dispatcher = filled(StrictFair, flows, tasks, slots=32)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(dispatcher) == tasks
    return (after - before) / 2**20
