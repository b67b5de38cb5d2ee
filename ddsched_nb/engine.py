"""Builds the engine of one run from what the user declared. Wiring only: no decisions, no loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ddsched_nb.aio.buffer import RowGroupBuffer
from ddsched_nb.aio.bus import EventBus
from ddsched_nb.aio.context import ModelBinding
from ddsched_nb.aio.executor import ModelExecutor
from ddsched_nb.aio.limiter import RequestLimiter
from ddsched_nb.aio.progress import Progress
from ddsched_nb.aio.reporters import RequestReporter, SchedulerReporter
from ddsched_nb.aio.results import ResultTable
from ddsched_nb.aio.scheduler import Scheduler
from ddsched_nb.aio.worker import Work, Worker
from ddsched_nb.clients.base import ModelClient
from ddsched_nb.config import RequestAdmissionConfig, RunConfig
from ddsched_nb.core.dispatch import Dispatcher
from ddsched_nb.core.frontier import Frontier
from ddsched_nb.core.graph import ColumnGraph
from ddsched_nb.core.limits import AIMDLimit, FixedLimit, Limit
from ddsched_nb.core.model import ModelKey, PoolKey
from ddsched_nb.core.resolver import Resolver, Routing, derive_capacities
from ddsched_nb.core.retries import Deferrals, RetryPlan
from ddsched_nb.core.row_groups import RowGroupGovernor, RowGroupPlan
from ddsched_nb.core.schedule import Schedule
from ddsched_nb.core.task_admission import TaskAdmission
from ddsched_nb.pipeline import Column, ModelColumn, Pipeline
from ddsched_nb.table import InputTable

Clock = Callable[[], float]


class Engine(NamedTuple):
    """The parts of one run, wired."""

    schedule: Schedule
    scheduler: Scheduler
    limiter: RequestLimiter
    progress: Progress
    results: ResultTable
    reporter: SchedulerReporter
    clients: tuple[ModelClient, ...]


def build(
    pipeline: Pipeline, table: InputTable, config: RunConfig, bus: EventBus, clock: Clock
) -> Engine:
    """Wires the engine of a run.

    Args:
        pipeline: What to compute.
        table: The input table; with no columns it only says how many rows.
        config: How to run.
        bus: Where events go.
        clock: The running loop's `time`.

    Raises:
        GraphError: The columns and the input table do not fit together.
    """
    graph = pipeline.graph(table.names)
    capacities = pipeline.model_capacities
    # One canonical key a pool, on the side of the scheduler and on that of admission.
    pools = {key: PoolKey(key.provider, key.model) for key in capacities}
    clients = {provider.name: provider.client() for provider in pipeline.providers}
    requests = RequestReporter(bus, clock)
    limiter = RequestLimiter(reporter=requests)
    for key, capacity in capacities.items():
        limit = make_limit(config.request_admission, capacity.cap, clock())
        limiter.register(pools[key], limit, cap=capacity.cap)

    outputs = [name for column in pipeline.columns for name in column.spec.outputs]
    buffer = RowGroupBuffer(table.names, outputs, table.read)
    worker = Worker(
        _works(pipeline, clients, pools),
        buffer,
        ModelExecutor(limiter, _retry_plan(config), requests),
    )
    schedule = _schedule(pipeline, graph, pools, table.rows, config)
    progress, results = Progress(), ResultTable([*table.names, *outputs])
    reporter = SchedulerReporter(bus, clock)
    scheduler = Scheduler(
        schedule,
        worker,
        buffer,
        results,
        progress,
        reporter,
        limiter,
        drop_bugs=config.on_bug == "drop",
    )
    return Engine(
        schedule, scheduler, limiter, progress, results, reporter, tuple(clients.values())
    )


def make_limit(config: RequestAdmissionConfig, cap: int, now: float) -> Limit:
    """The limit that a configuration asks for."""
    if config.limit == "fixed":
        return FixedLimit(cap, pause_s=config.cooldown_s)
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


def _schedule(
    pipeline: Pipeline,
    graph: ColumnGraph,
    pools: Mapping[ModelKey, PoolKey],
    rows: int,
    config: RunConfig,
) -> Schedule:
    caps = {key: capacity.cap for key, capacity in pipeline.model_capacities.items()}
    routings = {column.name: _routing(column, pipeline, pools) for column in pipeline.columns}
    return Schedule(
        Frontier(graph),
        Resolver(graph, routings),
        Dispatcher(TaskAdmission(derive_capacities(caps, config.max_in_flight_tasks))),
        RowGroupGovernor(RowGroupPlan(rows, config.buffer_size), config.max_concurrent_row_groups),
        Deferrals(config.retry.max_deferrals, config.retry.deferral_delay_s),
    )


def _works(
    pipeline: Pipeline, clients: Mapping[str, ModelClient], pools: Mapping[ModelKey, PoolKey]
) -> dict[str, Work]:
    bindings = {
        model.alias: ModelBinding(
            clients[model.provider], model.model_id, pools[model.key], model.system, model.params
        )
        for model in pipeline.models
    }
    return {
        column.name: Work(column.spec, column.run, {a: bindings[a] for a in column.models})
        for column in pipeline.columns
    }


def _routing(
    column: Column | ModelColumn, pipeline: Pipeline, pools: Mapping[ModelKey, PoolKey]
) -> Routing:
    keys = {model.alias: model.key for model in pipeline.models}
    models = tuple(keys[alias] for alias in column.models)
    pool = pools[models[0]] if len(set(models)) == 1 else None
    return Routing(pipeline.metadata(column), models, pool)
