"""The resolver: one stable id, flows, resources, priorities, derived capacities."""

from __future__ import annotations

import ast
from itertools import pairwise
from pathlib import Path

import pytest

import ddsched_nb
from ddsched_nb.core.graph import ColumnGraph
from ddsched_nb.core.metadata import SchedulingMetadata
from ddsched_nb.core.model import (
    LLM_WAIT,
    LOCAL,
    SUBMISSION,
    ColumnSpec,
    ModelKey,
    PoolKey,
    Task,
)
from ddsched_nb.core.resolver import (
    DEFAULT_LOCAL_SLOTS,
    Resolver,
    Routing,
    derive_capacities,
    model_resource,
    task_id,
)
from ddsched_nb.errors import MetadataError

KEY = ModelKey("p", "m")


def chain(*names: str) -> ColumnGraph:
    specs = [ColumnSpec(names[0], (), (names[0],), "root")]
    specs += [ColumnSpec(name, (before,), (name,)) for before, name in pairwise(names)]
    return ColumnGraph(specs)


def test_r01_the_task_id_is_made_in_one_place() -> None:
    """No other module joins column, row group and row to a string."""
    package = Path(ddsched_nb.__file__).parent
    makers = []
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                names = {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
                if {"column", "row_group"} <= names:
                    makers.append(path.name)
    assert set(makers) == {"resolver.py"}


def test_r01_the_id_says_column_group_and_row() -> None:
    assert task_id(Task("b", 3, 17)) == "b/3/17"
    assert task_id(Task("a", 3, None)) == "a/3"


def test_a_model_column_belongs_to_its_models_flow_and_pool() -> None:
    metadata = SchedulingMetadata.model(*KEY)
    graph = chain("a", "b", "c")
    routings = {
        "a": Routing(SchedulingMetadata.local("a")),
        "b": Routing(metadata, (KEY,), PoolKey(*KEY)),
        "c": Routing(metadata, (KEY,), PoolKey(*KEY)),
    }
    resolver = Resolver(graph, routings)
    b, c = (resolver.resolve(Task(name, 0, 5), 0) for name in "bc")
    assert b.flow is c.flow
    assert set(b.flow.resources) == {(SUBMISSION, 1), (LLM_WAIT, 1), (model_resource(KEY), 1)}
    assert b.pool == metadata.pool == PoolKey("p", "m", "chat")
    assert resolver.flow("a").resources == ((SUBMISSION, 1), (LOCAL, 1))
    assert [flow.key for flow in resolver.flows] == [resolver.flow("a").key, b.flow.key]


def test_priority_is_row_by_row_and_upstream_first() -> None:
    graph = chain("a", "b", "c")
    local = {name: Routing(SchedulingMetadata.local(name)) for name in "abc"}
    resolver = Resolver(graph, local)
    tasks = [Task("c", 0, 1), Task("b", 1, 4), Task("b", 0, 1), Task("a", 1, None), Task("b", 0, 2)]
    ranked = sorted(tasks, key=lambda t: resolver.resolve(t, 4 * t.row_group).priority)
    assert ranked == [
        Task("b", 0, 1),
        Task("c", 0, 1),
        Task("b", 0, 2),
        Task("a", 1, None),
        Task("b", 1, 4),
    ]


def test_one_flow_has_one_weight() -> None:
    graph = chain("a", "b")
    routings = {
        "a": Routing(SchedulingMetadata.local("shared", weight=1)),
        "b": Routing(SchedulingMetadata.local("shared", weight=2)),
    }
    with pytest.raises(MetadataError, match="'b' gives flow 'local/shared' the weight 2"):
        Resolver(graph, routings)


def test_columns_of_one_flow_share_its_resources() -> None:
    other = ModelKey("p", "n")
    shared = SchedulingMetadata.custom_model("shared")
    routings = {"a": Routing(shared, (KEY,)), "b": Routing(shared, (other,))}
    flow = Resolver(chain("a", "b"), routings).flow("a")
    assert {resource for resource, _ in flow.resources} == {
        SUBMISSION,
        LLM_WAIT,
        model_resource(KEY),
        model_resource(other),
    }


def test_capacities_leave_a_waiter_for_every_permit() -> None:
    capacities = derive_capacities({KEY: 32, ModelKey("p", "n"): 2})
    assert capacities[model_resource(KEY)] == 40
    assert capacities[model_resource(ModelKey("p", "n"))] == 6
    assert capacities[LLM_WAIT] == 46
    assert capacities[SUBMISSION] == 46 + DEFAULT_LOCAL_SLOTS
    assert capacities[LOCAL] == DEFAULT_LOCAL_SLOTS


def test_max_in_flight_tasks_bounds_every_resource() -> None:
    assert set(derive_capacities({KEY: 32}, 8).values()) == {8}
