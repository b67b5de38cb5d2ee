"""Runs generators that would hold the event loop: in a thread, or in a process of their own.

Decides which pool a function runs in and that the task it runs for stays known there. Pools are
made when first used and belong to one run. Must not know what the functions compute.
"""

from __future__ import annotations

import asyncio
import contextvars
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Literal

from ddsched_nb.aio.correlation import Correlation, correlate, current_correlation
from ddsched_nb.errors import RunError

Place = Literal["thread", "process"]
PLACES: tuple[Place, ...] = ("thread", "process")


class Offload:
    """The pools of one run.

    Args:
        workers: Threads, and processes, at the most; as many as there are processors if None.
        inline: Whether to compute on the loop all the same: a simulation has no threads.
    """

    def __init__(self, workers: int | None = None, *, inline: bool = False) -> None:
        self._inline = inline
        self._workers = workers or os.cpu_count() or 1
        self._pools: dict[Place, Executor] = {}

    async def run(self, place: Place, function: Callable[[Any], Any], inputs: Any) -> Any:
        """Calls `function(inputs)` elsewhere and waits for what it returns.

        Raises:
            RunError: A process of the pool died.
            Exception: What the function raised.
        """
        if self._inline:
            return function(inputs)
        loop = asyncio.get_running_loop()
        pool = self._pool(place)
        if place == "thread":
            carried = contextvars.copy_context().run
            return await loop.run_in_executor(pool, carried, function, inputs)
        correlation = current_correlation()
        try:
            return await loop.run_in_executor(pool, _in_child, correlation, function, inputs)
        except BrokenProcessPool as error:
            raise RunError(
                "a process that ran a generator died (killed, out of memory, or it could not "
                "import the generator's module; a script needs `if __name__ == '__main__':`)"
            ) from error

    def close(self) -> None:
        """Gives the pools back without waiting; what runs in them ends, what waits does not run."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        self._pools.clear()

    def _pool(self, place: Place) -> Executor:
        if place not in self._pools:
            self._pools[place] = self._make(place)
        return self._pools[place]

    def _make(self, place: Place) -> Executor:
        if place == "thread":
            return ThreadPoolExecutor(self._workers, thread_name_prefix="ddsched-nb")
        # Never fork: this process has threads and a running loop, whose locks a child would copy.
        methods = multiprocessing.get_all_start_methods()
        method = "forkserver" if "forkserver" in methods else "spawn"
        return ProcessPoolExecutor(self._workers, mp_context=multiprocessing.get_context(method))


def _in_child(correlation: Correlation | None, function: Callable[[Any], Any], inputs: Any) -> Any:
    correlate(correlation)
    return function(inputs)
