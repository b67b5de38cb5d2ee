"""Builds the engine of one run from what the user declared. Wiring only: no decisions, no loop."""

from __future__ import annotations

import functools
import itertools
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ddsched_nb.aio.account import shared_account
from ddsched_nb.aio.buffer import RowGroupBuffer
from ddsched_nb.aio.bus import EventBus
from ddsched_nb.aio.checkpoints import StoreSink
from ddsched_nb.aio.context import ModelBinding
from ddsched_nb.aio.executor import ModelExecutor
from ddsched_nb.aio.healthcheck import healthcheck_pool
from ddsched_nb.aio.limiter import RequestLimiter
from ddsched_nb.aio.offload import Offload
from ddsched_nb.aio.progress import Progress
from ddsched_nb.aio.reporters import RequestReporter, SchedulerReporter
from ddsched_nb.aio.results import ResultTable, Sink
from ddsched_nb.aio.scheduler import Scheduler
from ddsched_nb.aio.usage import UsageLedger
from ddsched_nb.aio.worker import SkipRule, Work, Worker
from ddsched_nb.clients.base import ModelClient
from ddsched_nb.columns import BaseColumn
from ddsched_nb.config import BorrowConfig, RequestAdmissionConfig, RunConfig
from ddsched_nb.core.dispatch import Dispatcher
from ddsched_nb.core.frontier import Frontier
from ddsched_nb.core.health import health
from ddsched_nb.core.horizon import Horizon
from ddsched_nb.core.limits import (
    AIMDLimit,
    CeilingLimit,
    FixedLimit,
    LatencyLimit,
    Limit,
    limit_from,
)
from ddsched_nb.core.metadata import default_metadata
from ddsched_nb.core.model import Flow, PoolKey, ResourceKey
from ddsched_nb.core.own_policy import policy_from
from ddsched_nb.core.pacing import Pacing
from ddsched_nb.core.pool_facts import Budget
from ddsched_nb.core.pressure import Advisory, Loads
from ddsched_nb.core.resolver import Resolver, Routing, derive_capacities
from ddsched_nb.core.retries import Deferrals, RetryPlan
from ddsched_nb.core.row_groups import RowGroupGovernor, RowGroupPlan
from ddsched_nb.core.run_limits import FailureWindow, RetryBudget
from ddsched_nb.core.schedule import Schedule
from ddsched_nb.core.task_admission import TaskAdmission
from ddsched_nb.core.task_policies import BoundedBorrow, StrictFair, TaskPolicy
from ddsched_nb.errors import ConfigError
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.providers import Provider
from ddsched_nb.table import InputTable

if TYPE_CHECKING:
    from ddsched_nb.store.parquet import ParquetStore

Clock = Callable[[], float]

_runs = itertools.count(1)


class Engine(NamedTuple):
    """The parts of one run, wired."""

    schedule: Schedule
    scheduler: Scheduler
    worker: Worker
    limiter: RequestLimiter
    executor: ModelExecutor
    bindings: Mapping[str, ModelBinding]
    progress: Progress
    results: Sink
    reporter: SchedulerReporter
    usage: UsageLedger
    budget: RetryBudget
    offload: Offload
    clients: tuple[ModelClient, ...]
    run_id: str

    async def close(self) -> None:
        """Gives back what the run held: connections, threads, processes, the store."""
        self.offload.close()
        for client in self.clients:
            await client.close()
        self.limiter.leave()
        await self.results.close()


class StandIns(NamedTuple):
    """What takes the place of real parts, for runs that are simulated.

    Attributes:
        clients: Whom to ask, by provider; None asks the pipeline's own providers.
        sink: Where finished rows go; None keeps them in memory.
        inline: Whether generators that belong into a thread or process run on the loop.
        watch: Told of the engine before it runs.
        run_id: What the run is called in its events; its process, number and start if None.
    """

    clients: Mapping[str, ModelClient] | None = None
    sink: Sink | None = None
    inline: bool = False
    watch: Callable[[Engine], None] | None = None
    run_id: str | None = None


def build(
    pipeline: Pipeline,
    table: InputTable,
    config: RunConfig,
    bus: EventBus,
    clock: Clock,
    store: ParquetStore | None = None,
    stand_ins: StandIns = StandIns(),  # noqa: B008 - a NamedTuple, which does not change
) -> Engine:
    """Wires the engine of a run.

    Args:
        pipeline: What to compute.
        table: The input table; with no columns it only says how many rows.
        config: How to run.
        bus: Where events go.
        clock: The running loop's `time`.
        store: Where finished rows go, and which row groups are there already; in memory if None.
        stand_ins: What takes the place of real parts.

    Raises:
        GraphError: The columns and the input table do not fit together.
    """
    # One canonical key a pool, on the side of the scheduler and on that of admission.
    pools = {model.alias: model.pool for model in pipeline.models}
    pools = {alias: _first_equal(pool, pools.values()) for alias, pool in pools.items()}
    clients = stand_ins.clients
    if clients is None:
        clients = {provider.name: provider.client() for provider in pipeline.providers}
    bindings = _bindings(pipeline, clients, pools)
    requests, budget = RequestReporter(bus, clock), RetryBudget(config.retry.budget)
    shared = config.share_limits and stand_ins.clients is None
    limiter = _limiter(pipeline, pools, config, requests, clock(), shared=shared)
    executor = ModelExecutor(limiter, _retry_plan(config), requests, budget)

    outputs = [name for column in pipeline.columns for name in column.spec.outputs]
    names = [*table.names, *outputs]
    buffer = RowGroupBuffer(table.names, outputs, table.read)
    usage, offload = UsageLedger(), Offload(inline=stand_ins.inline)
    works = _works(pipeline, table, bindings)
    run_id = stand_ins.run_id or f"{os.getpid()}-{next(_runs)}-{clock():.6f}"
    worker = Worker(works, buffer, executor, usage, offload, run_id)
    schedule = _schedule(pipeline, table, pools, config, budget, store, limiter.load)
    progress = _progress(pipeline, store)
    results = stand_ins.sink or (ResultTable(names) if store is None else StoreSink(store, names))
    watched = functools.partial(health, schedule, limiter.pools, limiter.load)
    reporter = SchedulerReporter(bus, clock, watched)
    rate = None if config.disable_early_shutdown else config.shutdown_error_rate
    scheduler = Scheduler(
        schedule,
        worker,
        buffer,
        results,
        progress,
        reporter,
        limiter,
        failures=FailureWindow(rate, config.shutdown_error_window),
        timeout_s=config.run_timeout_s,
        drop_bugs=config.on_bug == "drop",
        yield_slots=config.slots_while_waiting == "yield",
    )
    engine = Engine(
        schedule,
        scheduler,
        worker,
        limiter,
        executor,
        bindings,
        progress,
        results,
        reporter,
        usage,
        budget,
        offload,
        tuple(clients.values()),
        run_id,
    )
    if stand_ins.watch is not None:
        stand_ins.watch(engine)
    return engine


def make_limit(config: RequestAdmissionConfig, cap: int, now: float) -> Limit:
    """The limit that a configuration asks for."""
    if not isinstance(config.limit, str):
        return limit_from(config.limit, cap)
    if config.limit == "fixed":
        return FixedLimit(cap, pause_s=config.cooldown_s)
    if config.limit == "ceiling":
        return CeilingLimit(cap, pause_s=config.cooldown_s, fair=config.fair)
    if config.limit == "latency":
        return LatencyLimit(cap, pause_s=config.cooldown_s)
    return AIMDLimit(
        cap,
        started_at=now,
        multiplicative_decrease_factor=config.multiplicative_decrease_factor,
        additive_increase_step=config.additive_increase_step,
        successes_until_increase=config.successes_until_increase,
        cooldown_s=config.cooldown_s,
        startup_ramp_s=config.startup_ramp_s,
    )


def _retry_plan(config: RunConfig) -> RetryPlan:
    return RetryPlan(
        config.retry.max_attempts,
        config.retry.initial_backoff_s,
        config.retry.max_backoff_s,
        config.stall_timeout_s,
    )


def _limiter(
    pipeline: Pipeline,
    pools: Mapping[str, PoolKey],
    config: RunConfig,
    reporter: RequestReporter,
    now: float,
    *,
    shared: bool,
) -> RequestLimiter:
    limiter = RequestLimiter(reporter=reporter)
    for provider in pipeline.providers:
        account = getattr(provider, "account", None)
        if shared and account is not None:
            limiter.use_account(provider.name, shared_account(account, repr(provider.name)))
    budgets = {provider.name: _budget(provider) for provider in pipeline.providers}
    capacities = pipeline.model_capacities
    needed = dict.fromkeys(pools.values())
    needed |= dict.fromkeys(healthcheck_pool(m.pool) for m in pipeline.models if m.healthcheck)
    for pool in needed:
        cap = capacities[pool.model_key].cap
        limit = make_limit(config.request_admission, cap, now)
        models = [model for model in pipeline.models if model.pool == pool]
        rates = (
            _least(model.requests_per_minute for model in models),
            _least(model.tokens_per_minute for model in models),
        )
        limiter.register(
            pool,
            limit,
            cap=cap,
            pacing=Pacing(*rates),
            budget=budgets[pool.provider],
            now=now,
        )
    return limiter


def _least(declared: Iterable[float | None]) -> float | None:
    """What holds where several aliases of a model declare a rate."""
    return min((rate for rate in declared if rate is not None), default=None)


def _budget(provider: Provider) -> Budget | None:
    """What all models of a provider share, as far as it says so."""
    cap = getattr(provider, "max_parallel_requests", None)
    rates = [getattr(provider, f"{unit}_per_minute", None) for unit in ("requests", "tokens")]
    if cap is None and rates == [None, None]:
        return None
    pacing = None if rates == [None, None] else Pacing(*rates)
    return Budget(provider.name, math.inf if cap is None else cap, pacing)


def _schedule(
    pipeline: Pipeline,
    table: InputTable,
    pools: Mapping[str, PoolKey],
    config: RunConfig,
    budget: RetryBudget,
    store: ParquetStore | None,
    load: Loads,
) -> Schedule:
    graph = pipeline.graph(table.names)
    caps = {key: capacity.cap for key, capacity in pipeline.model_capacities.items()}
    routings = {column.name: _routing(column, pools) for column in pipeline.columns}
    routings |= {
        hook.spec.name: Routing(default_metadata(hook.spec.name))
        for hook in pipeline.hooks(table.names)
    }
    plan = RowGroupPlan(table.rows, config.buffer_size)
    finished = () if store is None else store.groups
    retry = config.retry
    frontier, resolver = Frontier(graph), Resolver(graph, routings)
    capacities = derive_capacities(caps, config.max_in_flight_tasks)
    policy = make_policy(config, resolver.flows)
    advisory = Advisory(load) if config.request_pressure_advisory else None
    dispatcher = Dispatcher(TaskAdmission(capacities, policy), advisory)
    adaptive = config.row_groups == "adaptive"
    most = (
        config.max_concurrent_row_groups if config.row_groups == "adaptive" else config.row_groups
    )
    return Schedule(
        frontier,
        resolver,
        dispatcher,
        RowGroupGovernor(plan, most, finished, adaptive=adaptive),
        Deferrals(retry.max_deferrals, retry.deferral_delay_s, budget),
        Horizon(graph, resolver, dispatcher, frontier, load),
    )


def make_policy(config: RunConfig, flows: Iterable[Flow]) -> TaskPolicy:
    """The task policy that a configuration asks for.

    Raises:
        ConfigError: A ceiling names what does not exist, or what a factory made is no policy.
    """
    if not isinstance(config.task_policy, str):
        return policy_from(config.task_policy)
    if config.task_policy == "strict_fair":
        return StrictFair()
    borrow = config.borrow or BorrowConfig()
    held = {flow.key.label: dict(flow.resources) for flow in flows}
    ceilings = {}
    for label, by_resource in borrow.ceilings.items():
        _check_known("flow", label, held)
        for name, units in by_resource.items():
            _check_known(f"resource of flow {label!r}", name, held[label])
            ceilings[label, ResourceKey(name)] = units
    return BoundedBorrow(borrow.ceiling, ceilings, borrow.repayment)


def _check_known(kind: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise ConfigError(
            f"borrow.ceilings names {name!r}, which is no {kind}; give one of: {', '.join(known)}"
        )


def _bindings(
    pipeline: Pipeline, clients: Mapping[str, ModelClient], pools: Mapping[str, PoolKey]
) -> dict[str, ModelBinding]:
    return {
        model.alias: ModelBinding(
            clients[model.provider], model.model_id, pools[model.alias], model.system, model.params
        )
        for model in pipeline.models
    }


def _works(
    pipeline: Pipeline, table: InputTable, bindings: Mapping[str, ModelBinding]
) -> dict[str, Work]:
    works = {
        column.name: Work(
            column.spec,
            column.work(),
            {alias: bindings[alias] for alias in column.models},
            column.skip,
            column.place,
        )
        for column in pipeline.columns
    }
    for hook in pipeline.hooks(table.names):
        run = _without_context(hook.function)
        # A hook sees skipped rows too.
        rule = SkipRule(propagate=False)
        works[hook.spec.name] = Work(hook.spec, run, {}, rule, None, hook.writes)
    return works


def _without_context(function: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda batch, context: function(batch)


def _routing(column: BaseColumn, pools: Mapping[str, PoolKey]) -> Routing:
    called = [pools[alias] for alias in column.models]
    models = tuple(pool.model_key for pool in called)
    return Routing(column.metadata(pools), models, called[0] if len(set(called)) == 1 else None)


def _progress(pipeline: Pipeline, store: ParquetStore | None) -> Progress:
    """Counts what an earlier run finished."""
    progress = Progress()
    names = [column.name for column in pipeline.columns]
    for group in store.groups.values() if store is not None else ():
        dropped = Counter((drop.column, drop.reason) for drop in group.dropped)
        progress.restored(group.kept, dropped, names)
    return progress


def _first_equal(pool: PoolKey, pools: Iterable[PoolKey]) -> PoolKey:
    return next(other for other in pools if other == pool)
