"""Runs a pipeline in virtual time: the same engine, an endpoint that is described, a clock that
jumps.

A simulation lives in a thread of its own with a loop of its own, so that it can be waited for in a
script and in a notebook cell, and so that the kernel stays responsive meanwhile.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import functools
import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, NamedTuple

from ddsched_nb.aio.correlation import current_task
from ddsched_nb.aio.results import RowCounter
from ddsched_nb.analysis.bounds import Bounds, Endpoint, compute_bounds
from ddsched_nb.analysis.work import Call, read_work
from ddsched_nb.clients.load import ModelStatistics
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.clients.serving import Served
from ddsched_nb.clients.simulated import SimulatedClient
from ddsched_nb.config import RunConfig
from ddsched_nb.core.events import SchedulerJobStarted
from ddsched_nb.core.model import SUCCESS, ModelKey
from ddsched_nb.engine import Engine, StandIns
from ddsched_nb.errors import ConfigError, DdschedError, RunCancelled
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.record import FULL_RECORD_TASKS, RunRecord
from ddsched_nb.run import Run
from ddsched_nb.sim.guards import real_world_refused
from ddsched_nb.sim.loop import VirtualLoop, new_loop
from ddsched_nb.sim.record import SimulatedRecord, SimulatedResult
from ddsched_nb.table import InputTable, read_table
from ddsched_nb.waiting import wait_here
from ddsched_nb.workloads import find_workload
from ddsched_nb.workloads.base import Hold, Workload, described, reseeded

__all__ = ["Progress", "Simulation", "simulate", "start_simulation"]

# Looks for a cancellation, and reports progress, each so many callbacks of the loop.
_LOOK_EVERY = 4096
# Calls kept for bound and oracle at the most; of a larger run neither is computed.
_MOST_CALLS = 4 * FULL_RECORD_TASKS


class Progress(NamedTuple):
    """How far a simulation is: virtual seconds, and rows finished or dropped of all."""

    now_s: float
    rows_done: int
    rows: int


Profiles = Iterable[EndpointProfile] | Mapping[str, Iterable[EndpointProfile]]


def simulate(
    work: Workload | Pipeline | str,
    config: RunConfig | None = None,
    *,
    rows: int | None = None,
    table: Any = None,
    profiles: Profiles | None = None,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> SimulatedRecord:
    """Simulates a run and returns its record.

    The very scheduler that `start` runs, in virtual time: an hour takes seconds, and the same
    arguments give the same record, to the last digit.

    Args:
        work: A workload, the name of one of `WORKLOADS`, or a pipeline.
        config: How to run; the workload's own, or the defaults, if None.
        rows: How many rows, for a pipeline without input table, or other than the workload's.
        table: The input table, for a pipeline.
        profiles: What the models are like, by provider, or in one list for all; None if the
            pipeline's providers are `SimulatedProvider`s.
        seed: Another seed gives other latencies, faults and answers.
        progress: Called now and then, in the thread of the simulation.

    Returns:
        The record; `record.result` says how it ended and what was possible.

    Raises:
        ConfigError: Rows, table or profiles are missing, or do not fit the pipeline.
        SimulationDeadlock: The run waits for what nobody will do. The message says who waits.
        VirtualTimeError: A generator asked for what does not exist in virtual time.
    """
    started = start_simulation(
        work, config, rows=rows, table=table, profiles=profiles, seed=seed, progress=progress
    )
    return started.wait()


def start_simulation(
    work: Workload | Pipeline | str,
    config: RunConfig | None = None,
    *,
    rows: int | None = None,
    table: Any = None,
    profiles: Profiles | None = None,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> Simulation:
    """Starts a simulation and returns at once; `await` it, or `wait()` for it. See `simulate`."""
    plan = make_plan(work, config, rows=rows, table=table, profiles=profiles, seed=seed)
    return Simulation(plan, progress)


class Plan(NamedTuple):
    """All that a simulation needs to know."""

    name: str
    pipeline: Pipeline
    table: InputTable
    config: RunConfig
    profiles: Mapping[str, tuple[EndpointProfile, ...]]
    seed: int
    holds: tuple[Hold, ...] = ()


def make_plan(
    work: Workload | Pipeline | str,
    config: RunConfig | None = None,
    *,
    rows: int | None = None,
    table: Any = None,
    profiles: Profiles | None = None,
    seed: int = 0,
) -> Plan:
    """Checks what `simulate` was told; see there."""
    if isinstance(work, str):
        work = find_workload(work)
    name = "pipeline"
    holds: tuple[Hold, ...] = ()
    if isinstance(work, Workload):
        holds = work.holds
        if rows is not None:
            work = work.with_rows(rows)
        if table is None:
            rows, table = work.rows, work.table
        name, config, pipeline = work.name, config or work.config, work.pipeline
    else:
        pipeline = work
    if (rows is None) == (table is None):
        raise ConfigError("give either rows=NUMBER or table=DATAFRAME to simulate(), and not both")
    source = read_table(table) if table is not None else InputTable.empty(rows or 0)
    pipeline.graph(source.names)
    settings = (config or RunConfig()).model_copy(update={"progress": False})
    found = reseeded(_by_provider(pipeline, profiles), seed)
    return Plan(name, pipeline, source, settings, found, seed, holds)


class Simulation:
    """A simulation under way. Made by `start_simulation`.

    Args:
        plan: What to simulate.
        progress: Called now and then.
    """

    def __init__(self, plan: Plan, progress: Callable[[Progress], None] | None = None) -> None:
        self._plan = plan
        self._progress = progress
        self._cancelled = False
        self._done: concurrent.futures.Future[SimulatedRecord] = concurrent.futures.Future()
        self._ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        carried = contextvars.copy_context()
        thread = threading.Thread(
            target=carried.run, args=(self._run,), name="ddsched-nb-simulation", daemon=True
        )
        thread.start()

    def __repr__(self) -> str:
        state = "ended" if self._done.done() else "running"
        return f"<Simulation of {self._plan.name}, seed {self._plan.seed}: {state}>"

    def __await__(self) -> Generator[Any, None, SimulatedRecord]:
        return asyncio.wrap_future(self._done).__await__()

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._done.done()

    def cancel(self) -> None:
        """Ends it; whoever waits for it gets `RunCancelled`."""
        self._cancelled = True

    def wait(self, timeout: float | None = None) -> SimulatedRecord:
        """Waits for the end.

        Args:
            timeout: Seconds of real time to wait at the most; without end if None.

        Raises:
            TimeoutError: It has not ended within `timeout`; it goes on.
            RunCancelled: It was cancelled.
            DdschedError: As `simulate` does.
        """
        try:
            wait_here(self._ended, None, timeout)
        except KeyboardInterrupt:
            self.cancel()
            raise
        return self._done.result()

    def _run(self) -> None:
        try:
            record = run_plan(self._plan, look=self._look)
        except BaseException as error:
            self._done.set_exception(error)
        else:
            self._done.set_result(record)
        finally:
            self._ended.set_result(None)

    def _look(self, loop: VirtualLoop, run: Run) -> None:
        if self._cancelled:
            raise RunCancelled("the simulation was cancelled")
        if self._progress is not None:
            counts = run.statistics()
            done = counts.rows_finished + counts.rows_dropped
            self._progress(Progress(loop.time(), done, counts.rows))


def run_plan(
    plan: Plan,
    *,
    loop: VirtualLoop | None = None,
    look: Callable[[VirtualLoop, Run], None] | None = None,
) -> SimulatedRecord:
    """Runs a simulation here and now, in this thread, in which no loop may run.

    Args:
        plan: What to simulate.
        loop: The loop to run it on; a fresh one if None.
        look: Called each few thousand callbacks; what it raises ends the simulation.
    """
    served = _Log()
    clients = {
        name: SimulatedClient(name, found, on_served=served.of(name))
        for name, found in plan.profiles.items()
    }
    counter = RowCounter()
    others = functools.partial(take_holds, plan.holds)
    stand_ins = StandIns(
        clients, counter, inline=True, watch=others, run_id=f"{plan.name}/{plan.seed}"
    )
    run = Run(plan.pipeline, plan.table, plan.config, None, stand_ins)
    loop = loop or new_loop()
    if look is not None:
        loop.look = lambda: look(loop, run)
        loop.look_every = _LOOK_EVERY
    with real_world_refused():
        try:
            loop.run_until_complete(_follow(run))
        finally:
            loop.look = None
            loop.close()
    if isinstance(run.error, ConfigError):
        raise run.error  # it never began: that is no result
    return _recorded(plan, run, clients, served, loop, counter.first_at)


def take_holds(holds: Iterable[Hold], engine: Engine) -> None:
    """Others take their permits, before anything of the run starts."""
    loop, limiter = asyncio.get_running_loop(), engine.limiter
    for hold in holds:
        pool = engine.bindings[hold.model].pool
        for _ in range(hold.permits):
            permit = limiter.try_acquire(pool, flow="another client")
            if permit is None:
                raise ConfigError(
                    f"a hold takes {hold.permits} permits of {pool.label}, whose limit is "
                    f"{limiter.statistics(pool).limit} at first; give at most that"
                )
            loop.call_later(hold.until_s, limiter.release, permit, SUCCESS)


async def _follow(run: Run) -> None:
    run.launch()
    with contextlib.suppress(DdschedError):  # the record says how it ended
        _ = await run


class _Log:
    """What the endpoints answered, as long as that is not too much."""

    def __init__(self) -> None:
        self.calls: list[Call] | None = []

    def of(self, provider: str) -> Callable[[Served], None]:
        keys: dict[str, ModelKey] = {}

        def on_served(served: Served) -> None:
            calls, task = self.calls, current_task()
            if calls is None or task is None:
                return
            if len(calls) >= _MOST_CALLS:
                self.calls = None
                return
            key = keys.get(served.model) or keys.setdefault(
                served.model, ModelKey(provider, served.model)
            )
            calls.append(Call(task, key, served.work_s, served.tokens))

        return on_served


def _recorded(
    plan: Plan,
    run: Run,
    clients: Mapping[str, SimulatedClient],
    served: _Log,
    loop: VirtualLoop,
    first_group_s: float | None,
) -> SimulatedRecord:
    record = SimulatedRecord.sharing(run.record)
    models: dict[ModelKey, ModelStatistics] = {}
    profiles: dict[ModelKey, EndpointProfile] = {}
    for name, client in clients.items():
        for model, found in client.statistics(loop.time()).models.items():
            models[ModelKey(name, model)] = found
        profiles |= {ModelKey(name, profile.model): profile for profile in client.profiles}
    used = {model.key for model in plan.pipeline.models}
    record.result = SimulatedResult(
        name=plan.name,
        seed=plan.seed,
        summary=run.summary(),
        statistics=run.statistics(),
        first_group_s=first_group_s,
        models={key: found for key, found in models.items() if key in used},
        profiles={key: found for key, found in profiles.items() if key in used},
        bounds=_bounds(plan, record, profiles, served),
        errors=tuple(run.errors),
        error=run.error,
        steps=loop.steps,
    )
    return record


def _bounds(
    plan: Plan,
    record: RunRecord,
    profiles: Mapping[ModelKey, EndpointProfile],
    served: _Log,
) -> Bounds | None:
    if served.calls is None:
        return None
    works = read_work(record, plan.pipeline.graph(plan.table.names), served.calls)
    if not works:
        return None
    keys = {model.alias: model.key for model in plan.pipeline.models}
    held = {keys[hold.model]: (hold.permits, hold.until_s) for hold in plan.holds}
    endpoints = {
        key: Endpoint(profiles[key], capacity.cap, *held.get(key, ()))
        for key, capacity in plan.pipeline.model_capacities.items()
    }
    return compute_bounds(works, endpoints, record.select(SchedulerJobStarted)[0].capacities)


def _by_provider(
    pipeline: Pipeline, profiles: Profiles | None
) -> dict[str, tuple[EndpointProfile, ...]]:
    """The profiles of each provider, checked against the models."""
    found = described(pipeline)
    if isinstance(profiles, Mapping):
        found |= {name: tuple(given) for name, given in profiles.items()}
    elif profiles is not None:
        given = tuple(profiles)
        found |= {provider.name: given for provider in pipeline.providers}
    for model in pipeline.models:
        known = [profile.model for profile in found.get(model.provider, ())]
        if model.model_id not in known:
            raise ConfigError(
                f"model {model.alias!r} ({model.key.label}) has no profile; there are profiles of "
                f"{', '.join(known) or 'none'}: simulate(..., profiles=[EndpointProfile("
                f"model={model.model_id!r}, ...)])"
            )
    return {name: given for name, given in found.items() if given}
