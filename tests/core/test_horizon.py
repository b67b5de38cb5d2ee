"""How many row groups are open: as many as keep the front busy, and fewer under pressure."""

from __future__ import annotations

import pytest

import ddsched_nb as dd
from ddsched_nb.core import events as ev
from ddsched_nb.core.dispatch import Dispatch, Dispatcher
from ddsched_nb.core.frontier import Frontier
from ddsched_nb.core.graph import ColumnGraph
from ddsched_nb.core.horizon import Horizon
from ddsched_nb.core.metadata import SchedulingMetadata, default_metadata
from ddsched_nb.core.model import (
    LLM_WAIT,
    LOCAL,
    SUBMISSION,
    ColumnSpec,
    PoolKey,
    RowGroup,
    Task,
)
from ddsched_nb.core.pressure import PoolLoad
from ddsched_nb.core.resolver import Resolver, Routing, derive_capacities
from ddsched_nb.core.row_groups import BlockReason, Demand, RowGroupGovernor, RowGroupPlan
from ddsched_nb.core.task_admission import TaskAdmission
from ddsched_nb.errors import ConfigError
from ddsched_nb.sim.record import SimulatedRecord
from ddsched_nb.workloads import find_workload
from ddsched_nb.workloads.parts import asking, chat_latency, one_endpoint, row_ids
from ddsched_nb.workloads.real_pipeline_overlap import pipeline

LACKING = Demand(lacking=2, free=2, queued=0, most_queued=10)
AHEAD = Demand(lacking=0, free=2, queued=1, most_queued=10)
FULL = Demand(lacking=0, free=0, queued=1, most_queued=10)
PRESSED = Demand(lacking=2, free=2, queued=10, most_queued=10)


def governor(groups: int = 10, cap: int | None = None, size: int = 4) -> RowGroupGovernor:
    return RowGroupGovernor(RowGroupPlan(groups * size, size), cap, adaptive=True)


def opened(it: RowGroupGovernor) -> list[int]:
    found = []
    while (group := it.next()) is not None:
        found.append(group.index)
    return found


def test_it_starts_narrow_and_grows_several_times_while_work_is_lacking() -> None:
    it = governor()
    assert opened(it) == [0]
    changes = [it.consider(LACKING) for _ in range(3)]
    assert [(c.before, c.after) for c in changes if c] == [(1, 2), (2, 3), (3, 4)]
    assert opened(it) == [1, 2, 3]


def test_r10_the_reasons_against_are_told_apart() -> None:
    it = governor(groups=3, cap=2)
    opened(it)
    assert it.consider(FULL) is None
    assert it.blocked is BlockReason.SLOTS_LEASED
    assert it.consider(AHEAD) is None
    assert it.blocked is BlockReason.WORK_AHEAD
    assert it.consider(PRESSED) is None
    assert it.blocked is BlockReason.QUEUED_DEMAND
    assert it.consider(LACKING) is not None
    opened(it)
    assert it.consider(LACKING) is None
    assert it.blocked is BlockReason.ROW_GROUP_CAP
    it.finish(0)
    opened(it)
    assert it.consider(LACKING) is None
    assert it.blocked is BlockReason.NO_PENDING_GROUPS
    storing = governor()
    opened(storing)
    assert storing.consider(LACKING._replace(storing=2)) is None
    assert storing.blocked is BlockReason.BEING_STORED
    rows = governor(groups=20, size=1_000)
    while opened(rows) and rows.consider(LACKING):
        pass
    assert rows.blocked is BlockReason.ADMITTED_ROWS
    assert rows.open_rows <= 8_192


def test_f13_the_target_falls_while_pressure_lasts() -> None:
    it = governor(groups=30)
    opened(it)
    for _ in range(5):
        it.consider(LACKING)
    opened(it)
    targets = []
    for index in range(12):
        it.consider(PRESSED)
        it.finish(index)
        opened(it)
        targets.append(it.target)
    assert targets[0] == 6
    assert targets == sorted(targets, reverse=True)
    assert targets[-1] == 1
    assert it.consider(LACKING) is not None, "and rises again"


def test_rows_of_open_groups_are_counted_as_they_come_and_go() -> None:
    it = RowGroupGovernor(RowGroupPlan(10, 4), 3)
    assert opened(it) == [0, 1, 2]
    assert it.open_rows == 10
    it.finish(2)
    it.finish(2)
    assert it.open_rows == 8


def test_what_is_on_its_way_is_counted_once_and_forgotten_with_its_group() -> None:
    graph = ColumnGraph([ColumnSpec("n", (), ("n",), "root"), ColumnSpec("m", ("n",), ("m",))])
    routings = {name: Routing(default_metadata(name)) for name in ("n", "m")}
    resolver, frontier = Resolver(graph, routings), Frontier(graph)
    dispatcher = Dispatcher(TaskAdmission({SUBMISSION: 4, LLM_WAIT: 2, LOCAL: 4}))
    for flow in resolver.flows:
        dispatcher.admission.register(flow)
    horizon = Horizon(graph, resolver, dispatcher, frontier)
    for group in RowGroupPlan(9, 3):
        horizon.opened(group)
    assert horizon.demand(0.0).lacking == 0, "nine cells are on their way"
    for row in range(9):
        horizon.ready(Task("m", row // 3, row))
        horizon.ready(Task("m", row // 3, row))
    assert horizon.demand(0.0).lacking == 4, "none is any more, however often it was told"
    horizon.opened(RowGroup(3, 9, 12))
    assert horizon.demand(0.0).lacking == 1
    horizon.closed(3)
    assert horizon.demand(0.0).lacking == 4


def test_f13_no_group_is_opened_for_a_closed_model_and_the_open_one_is_looked_ahead_for() -> None:
    names = ("sick", "well")
    graph = ColumnGraph([ColumnSpec(name, (), (name,)) for name in names])
    pools = {name: PoolKey("p", name) for name in names}
    routings = {
        name: Routing(SchedulingMetadata.model("p", name), (pool.model_key,), pool)
        for name, pool in pools.items()
    }
    resolver, frontier = Resolver(graph, routings), Frontier(graph)
    capacities = derive_capacities({pool.model_key: 4 for pool in pools.values()}, 4)
    dispatcher = Dispatcher(TaskAdmission(capacities))
    for flow in resolver.flows:
        dispatcher.admission.register(flow)
    at_ease = PoolLoad(4, 0, 0, 4, 0, 0.0)
    loads = dict.fromkeys(pools.values(), at_ease)
    horizon = Horizon(graph, resolver, dispatcher, frontier, lambda pool, now: loads[pool])
    assert horizon.demand(0.0) == Demand(lacking=8, free=8, queued=0, most_queued=16)
    loads[pools["sick"]] = at_ease._replace(cooling_until=9.0)
    demand = horizon.demand(0.0)
    assert (demand.lacking, demand.closed_until) == (4, 9.0), "only for the one that is well"
    for row in range(4):
        task = Task("well", 0, row)
        dispatcher.enqueue(resolver.resolve(task, 0))
    assert horizon.demand(0.0)._replace(queued=0) == Demand(0, 8, 0, 16, closed_until=9.0)
    it = governor()
    opened(it)
    assert it.consider(horizon.demand(0.0)) is None
    assert it.blocked is BlockReason.MODELS_CLOSED
    while isinstance(dispatcher.next(0.0), Dispatch):
        pass
    for row in range(9):
        dispatcher.enqueue(resolver.resolve(Task("sick", 0, row), 0))
    demand = horizon.demand(0.0)
    assert demand.lacking == 4, "as many as run are to wait, though no slot is free"
    assert demand.queued == 0, "what waits for a closed model keeps no other from its work"


def test_a_number_that_is_asked_for_holds_and_then_the_work_is_followed_again() -> None:
    it = governor(groups=50)
    opened(it)
    change = it.ask(5)
    assert change is not None
    assert (change.before, change.after, it.cap, it.adaptive) == (1, 5, 5, False)
    assert opened(it) == [1, 2, 3, 4]
    assert it.ask(40) is not None
    back = it.ask(None)
    assert back is not None
    assert (back.after, it.cap, it.adaptive) == (5, 50, True), "as many as are open"
    assert opened(it) == []
    assert it.ask(None) is None


def test_a_fixed_number_needs_one_and_never_moves() -> None:
    with pytest.raises(ConfigError, match="max_open is None"):
        RowGroupGovernor(RowGroupPlan(10, 1), None)
    it = RowGroupGovernor(RowGroupPlan(10, 1), 3)
    assert opened(it) == [0, 1, 2]
    it.blocked = BlockReason.QUEUED_DEMAND
    assert it.finish(0) is None
    assert it.target == 3


def reference(row_groups: str | int, cap: int | None = None) -> SimulatedRecord:
    config = dd.RunConfig(
        buffer_size=1,
        row_groups=row_groups,
        max_concurrent_row_groups=cap,
        max_in_flight_tasks=16,
    )
    return dd.simulate(pipeline(1, 0.006, 0.0003), rows=256, config=config)


def test_f08_the_setting_is_seen_in_the_events() -> None:
    narrow, adaptive, wide = reference(1), reference("adaptive", 8), reference(8)
    assert not narrow.select(ev.RowGroupAdmissionTargetChanged)
    targets = [event.after for event in adaptive.select(ev.RowGroupAdmissionTargetChanged)]
    assert max(targets) == 8
    assert adaptive.select(ev.RowGroupAdmissionBlocked)
    seconds = [record.result.makespan_s for record in (narrow, adaptive, wide)]
    assert seconds[1] <= 1.001 * seconds[2] < 0.2 * seconds[0]


@pytest.mark.parametrize("name", ["diamond", "heavy-tail", "fan-out", "tight", "bottleneck"])
def test_f24_adaptive_is_within_five_hundredths_of_the_best_fixed_number(name: str) -> None:
    workload = find_workload(name)
    small = workload.config.model_copy(update={"buffer_size": 8})
    seconds = {
        row_groups: dd.simulate(
            workload, small.model_copy(update={"row_groups": row_groups}), rows=96
        ).result.makespan_s
        for row_groups in ("adaptive", 1, 2, 4, 12)
    }
    assert seconds["adaptive"] <= 1.05 * min(seconds.values())


def test_rows_begin_early_enough_where_a_root_takes_its_time() -> None:
    record = dd.simulate("heavy-root")
    targets = [event.after for event in record.select(ev.RowGroupAdmissionTargetChanged)]
    assert targets, "it learns to look further ahead"
    assert record.result.makespan_s < 15


def test_rows_that_are_dropped_before_the_front_are_not_waited_for() -> None:
    def even(row: object) -> int:
        if row["row_id"] % 2:  # type: ignore[index]
            raise dd.RowDropped("odd")
        return 1

    columns = [row_ids(), dd.Column("kept", needs=["row_id"], generate=even)]
    columns.append(asking("text", "writer", ["row_id", "kept"]))  # type: ignore[arg-type]
    profile = dd.EndpointProfile(model="writer", capacity=16, latency=chat_latency(0.3))
    record = dd.simulate(
        one_endpoint(columns, [profile], {"writer": 16}),
        rows=400,
        config=dd.RunConfig(buffer_size=10),
    )
    assert record.result.summary.dropped == 200
    assert record.result.makespan_s < 1.05 * record.result.bounds.oracle_s
