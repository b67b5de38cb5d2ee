"""Resolves a task: to which flow, scheduler resources and request pool does it belong?

The one place that makes task ids, and the one that derives capacities from the models' caps.
It must not know what is running or free.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ddsched_nb.core.graph import ColumnGraph
from ddsched_nb.core.metadata import SchedulingMetadata
from ddsched_nb.core.model import (
    LLM_WAIT,
    LOCAL,
    SUBMISSION,
    Flow,
    FlowKey,
    ModelKey,
    PoolKey,
    ReadyTask,
    ResourceKey,
    Resources,
    Task,
)
from ddsched_nb.errors import MetadataError

# Concurrent local tasks where nobody said otherwise: enough to overlap I/O of a user's own code.
DEFAULT_LOCAL_SLOTS = 64


def task_id(task: Task) -> str:
    """The stable id of a task: equal in every run over the same table."""
    if task.row is None:
        return f"{task.column}/{task.row_group}"
    return f"{task.column}/{task.row_group}/{task.row}"


def model_resource(model: ModelKey) -> ResourceKey:
    """The scheduler resource that bounds how many tasks may wait on one model."""
    return ResourceKey(f"model:{model.label}")


class Routing(NamedTuple):
    """What the author of a column declared, in scheduling terms.

    Attributes:
        metadata: Kind, identity and weight.
        models: The models its tasks may call.
        pool: The pool its calls go to, where there is exactly one.
    """

    metadata: SchedulingMetadata
    models: tuple[ModelKey, ...] = ()
    pool: PoolKey | None = None


class Resolver:
    """Turns tasks into ready tasks.

    Args:
        graph: Gives the order of columns.
        routings: One for each column.

    Raises:
        MetadataError: Two columns declare one flow with different weights.
    """

    def __init__(self, graph: ColumnGraph, routings: Mapping[str, Routing]) -> None:
        self._stride = len(graph.order)
        self._order = {name: index for index, name in enumerate(graph.order)}
        self._pools = {name: routings[name].pool for name in graph.order}
        flows: dict[FlowKey, Flow] = {}
        for name in graph.order:
            _merge(flows, name, routings[name])
        self._flows = {name: flows[routings[name].metadata.flow_key] for name in graph.order}

    @property
    def flows(self) -> tuple[Flow, ...]:
        """Every flow once, in order of columns."""
        return tuple({flow.key: flow for flow in self._flows.values()}.values())

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns, hooks included, upstream first."""
        return tuple(self._order)

    def flow(self, column: str) -> Flow:
        """The flow of a column."""
        return self._flows[column]

    def set_weight(self, key: FlowKey, weight: float) -> Flow:
        """Gives a flow another weight; tasks that are resolved from now on have it."""
        for name, flow in self._flows.items():
            if flow.key == key:
                self._flows[name] = flow._replace(weight=weight)
        return next(flow for flow in self._flows.values() if flow.key == key)

    def pool(self, column: str) -> PoolKey | None:
        """The pool that a column's calls go to, where there is exactly one."""
        return self._pools[column]

    def resolve(self, task: Task, first_row: int) -> ReadyTask:
        """Resolves a task of a row group that starts at `first_row`.

        Priority is row by row, and upstream first within a row: rows finish early, and a model
        that serves several columns is not fed column after column.
        """
        column = task.column
        row = first_row if task.row is None else task.row
        return ReadyTask(
            task,
            task_id(task),
            self._flows[column],
            self._pools[column],
            row * self._stride + self._order[column],
        )


def derive_capacities(
    models: Mapping[ModelKey, int], task_capacity: int | None = None
) -> dict[ResourceKey, int]:
    """Capacities of the scheduler's resources.

    A model gets as many task slots as its request cap, and a quarter (at least 4) more, so that a
    freed permit always finds a task that waits for it, while no model can fill the whole scheduler.

    Args:
        models: The request cap of each model.
        task_capacity: Tasks running at once in all; derived as the sum of all slots if None.
    """
    slots = {model_resource(key): cap + max(4, cap // 4) for key, cap in models.items()}
    waiting = sum(slots.values())
    total = task_capacity or waiting + DEFAULT_LOCAL_SLOTS
    # Without models only columns of custom kinds wait; half is left to them, as in the reference.
    waiting = waiting or max(1, total // 2)
    capacities = {
        SUBMISSION: total,
        LLM_WAIT: min(total, waiting),
        LOCAL: min(total, DEFAULT_LOCAL_SLOTS),
    }
    return capacities | {resource: min(total, n) for resource, n in slots.items()}


def _merge(flows: dict[FlowKey, Flow], column: str, routing: Routing) -> None:
    key, weight = routing.metadata.flow_key, routing.metadata.weight
    resources = _resources(routing)
    known = flows.get(key)
    if known is None:
        flows[key] = Flow(key, weight, resources)
    elif known.weight != weight:
        raise MetadataError(
            f"column {column!r} gives flow {key.label!r} the weight {weight}, another column gave "
            f"it {known.weight}; give one weight, or different identities"
        )
    else:
        merged = dict(known.resources) | dict(resources)
        flows[key] = Flow(key, weight, tuple(sorted(merged.items())))


def _resources(routing: Routing) -> Resources:
    if routing.metadata.kind == "local" and not routing.models:
        return ((SUBMISSION, 1), (LOCAL, 1))
    per_model: Iterable[ResourceKey] = sorted({model_resource(key) for key in routing.models})
    return ((SUBMISSION, 1), (LLM_WAIT, 1), *((resource, 1) for resource in per_model))
