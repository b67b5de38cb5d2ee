"""Announces a run: its shape, its limits and its modes, as the first event of its record."""

from __future__ import annotations

from ddsched_nb.config import RunConfig, called
from ddsched_nb.core.events import FlowShape
from ddsched_nb.engine import Engine
from ddsched_nb.pipeline import Pipeline

_MODES = (
    "row_groups",
    "task_policy",
    "request_pressure_advisory",
    "slots_while_waiting",
    "share_limits",
)


def announce(engine: Engine, pipeline: Pipeline, config: RunConfig) -> None:
    """Tells what is about to run.

    Args:
        engine: Its engine.
        pipeline: What it computes.
        config: How.
    """
    schedule = engine.schedule
    graph, plan = schedule.frontier.graph, schedule.governor.plan
    capacities = schedule.dispatcher.admission.capacities
    engine.reporter.job_started(
        plan.rows,
        len(plan),
        tuple(column.name for column in pipeline.columns),
        {str(resource): n for resource, n in capacities.items()},
        _flow_shapes(engine),
        run_id=engine.run_id,
        group_size=plan.size,
        roots=graph.roots,
        depth=graph.depth,
        modes=_modes(config),
    )


def _modes(config: RunConfig) -> dict[str, str]:
    modes = {name: str(getattr(config, name)) for name in _MODES}
    chosen = {"task_policy": config.task_policy, "limit": config.request_admission.limit}
    return modes | {name: called(choice) for name, choice in chosen.items()}


def _flow_shapes(engine: Engine) -> dict[str, FlowShape]:
    """Which flow each column and each hook belongs to, and what its tasks hold."""
    resolver, specs = engine.schedule.resolver, engine.schedule.frontier.graph.specs
    shapes = {}
    for name in resolver.columns:
        flow, pool = resolver.flow(name), resolver.pool(name)
        held = {str(resource): units for resource, units in flow.resources}
        label = None if pool is None else pool.label
        tasks = specs[name].granularity
        shapes[name] = FlowShape(flow.key.label, flow.weight, held, label, tasks)
    return shapes
