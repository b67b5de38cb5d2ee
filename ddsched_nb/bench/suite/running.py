"""Runs a case, in virtual time or on a real loop: the same pipelines, the same engine.

In real time a service is `asyncio.sleep` on a loop that rounds and lags. What a bare loop needs for
the same sleeps, as many at once, is measured too, so that a bound can be had from it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import statistics
from collections.abc import Coroutine
from typing import Any, NamedTuple, TypeVar

from ddsched_nb.aio.limiter import RequestLimiter
from ddsched_nb.aio.statistics import RunStatistics
from ddsched_nb.analysis.metrics import Metrics, metrics
from ddsched_nb.bench.suite.cases import Case
from ddsched_nb.bench.suite.summary import Clock
from ddsched_nb.clients.simulated import SimulatedClient
from ddsched_nb.core import events as ev
from ddsched_nb.core.limits import FixedLimit
from ddsched_nb.core.model import SUCCESS, ModelKey
from ddsched_nb.engine import StandIns
from ddsched_nb.errors import DdschedError
from ddsched_nb.record import RunRecord
from ddsched_nb.run import Run
from ddsched_nb.sim.apart import apart
from ddsched_nb.sim.loop import new_loop
from ddsched_nb.sim.record import SimulatedRecord
from ddsched_nb.sim.simulate import make_plan, simulate, take_holds

__all__ = [
    "Iteration",
    "bare_sleep_s",
    "llm_slots",
    "run_case",
    "simulate_case",
    "simulated",
    "wake_s",
]

T = TypeVar("T")

_SLEEPS = 40
_TURNS = 10


class Iteration(NamedTuple):
    """One run of a case: its record, how it stood at its end, how busy it was, the wake probe.

    `digest` is that of the record: what is known of a run holds for its equals.
    """

    record: RunRecord
    ended: RunStatistics
    found: Metrics
    wake_s: float
    digest: str

    @property
    def wall_s(self) -> float:
        """From the scheduler's start to its end."""
        started = self.record.select(ev.SchedulerJobStarted)
        ended = self.record.select(ev.SchedulerJobCompleted)
        return ended[-1].at - started[0].at


def run_case(case: Case) -> Iteration:
    """Runs a case once, on a real loop."""
    run = apart(lambda: _on_a_loop(_real(case), "real"))
    record = run.record
    return Iteration(record, run.statistics(), metrics(record), wake_s("real"), record.digest())


def simulate_case(case: Case, known: Iteration) -> Iteration:
    """Runs a case once, in virtual time; what is known of an equal run is not found again."""
    record = simulate(case.workload)
    return simulated(record, known.found if record.digest() == known.digest else metrics(record))


def simulated(record: SimulatedRecord, found: Metrics) -> Iteration:
    """A run in virtual time as an iteration."""
    ended = record.result.statistics
    return Iteration(record, ended, found, wake_s("virtual"), record.digest())


def wake_s(clock: Clock) -> float:
    """Seconds from the release of the only permit to the lease of the one who waits for it."""
    return apart(lambda: _on_a_loop(_wake(), clock))


def bare_sleep_s(seconds: float, workers: int) -> float:
    """What `asyncio.sleep(seconds)` takes on a loop of its own with so many at once; the median."""
    return apart(lambda: _on_a_loop(_sleep(seconds, workers), "real"))


def llm_slots(case: Case) -> int:
    """Tasks of a case that may wait for models at once, and are served."""
    slots = case.workload.config.max_in_flight_tasks
    assert slots is not None, "every case of the suite says how many"
    pipeline = case.workload.pipeline
    if pipeline.models:
        served = {
            ModelKey(name, profile.model): profile.capacity
            for name, profiles in case.workload.profiles.items()
            for profile in profiles
        }
        caps = {key: found.cap for key, found in pipeline.model_capacities.items()}
        return min(slots, sum(min(cap, served.get(key, cap)) for key, cap in caps.items()))
    return max(1, slots // 2)


async def _real(case: Case) -> Run:
    plan = make_plan(case.workload)
    clients = {name: SimulatedClient(name, found) for name, found in plan.profiles.items()}
    others = functools.partial(take_holds, plan.holds)
    stand_ins = StandIns(clients, watch=others)
    run = Run(plan.pipeline, plan.table, plan.config, None, stand_ins)
    run.launch()
    with contextlib.suppress(DdschedError):  # the record says how it ended
        _ = await run
    return run


async def _wake() -> float:
    loop = asyncio.get_running_loop()
    limiter = RequestLimiter(limit=FixedLimit, cap=1)
    pool = limiter.pool(model="probe")
    permit = await limiter.acquire(pool)

    async def wait() -> float:
        later = await limiter.acquire(pool)
        at = loop.time()
        limiter.release(later, SUCCESS)
        return at

    waiter = asyncio.create_task(wait())
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    assert limiter.waiting == 1, "the second caller waits"
    released = loop.time()
    limiter.release(permit, SUCCESS)
    return await waiter - released


async def _sleep(seconds: float, workers: int) -> float:
    loop = asyncio.get_running_loop()
    took: list[float] = []

    async def work() -> None:
        for _ in range(_SLEEPS):
            began = loop.time()
            await asyncio.sleep(seconds)
            took.append(loop.time() - began)

    await asyncio.gather(*(work() for _ in range(workers)))
    return statistics.median(took)


def _on_a_loop(work: Coroutine[Any, Any, T], clock: Clock) -> T:
    # Not asyncio.run: nest-asyncio, once applied, replaces it by one that wants the thread's loop.
    loop = new_loop() if clock == "virtual" else asyncio.new_event_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()
