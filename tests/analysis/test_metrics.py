"""Metrics: the reference's formulas, by hand and over every workload."""

from __future__ import annotations

import math

import pytest

import ddsched_nb as dd
from ddsched_nb.analysis.metrics import Waits, metrics, useful_utilization
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import FlowKey, OutcomeKind, PoolKey
from ddsched_nb.errors import RecordError
from ddsched_nb.workloads.catalog import WORKLOADS

FLOW, POOL = FlowKey("local", ("a",)), PoolKey("p", "m")


def test_by_hand() -> None:
    shape = ev.FlowShape(FLOW.label, 1.0, {"slots": 1})
    record = dd.RunRecord(
        [
            ev.SchedulerJobStarted(0.0, 1, 2, 1, ("a",), {"slots": 2}, {"a": shape}),
            ev.ReadyEnqueued(1.0, 2, "t1", FLOW),
            ev.TaskLeaseAcquired(2.0, 3, "t1", 1, False),
            ev.ReadyEnqueued(3.0, 4, "t2", FLOW),
            ev.TaskLeaseAcquired(5.0, 5, "t2", 2, False),
            ev.TaskLeaseReleased(6.0, 6, "t1", 1),
            ev.TaskLeaseReleased(8.0, 7, "t2", 2),
            ev.SchedulerJobCompleted(10.0, 8, "finished", 2, 0),
        ]
    )
    slots = metrics(record).scheduler["slots"]
    assert (slots.window_s, slots.capacity_s) == (10.0, 20.0)
    assert slots.busy_s == (6 - 2) + (8 - 5)
    assert slots.idle_s == 13.0
    # Starved: from 1 to 2 both slots, from 3 to 5 the one that was left.
    assert slots.starved_s == 2 * 1 + 1 * 2
    assert slots.frontier_s == 9.0
    assert slots.utilization == 0.35
    assert (slots.max_in_flight, slots.max_idle) == (2, 2)
    assert slots.waits == Waits(2, 1.5, 1.0, 2.0, 2.0, 2.0)
    assert slots.ready_idle_gap_s == 2.0  # from 3 to 5
    assert slots.active_capacity_s == pytest.approx(3.5)
    mean = 0.7
    variance = (3 * 1 + 1 * 4 + 2 * 1) / 10 - mean**2
    assert slots.burstiness == pytest.approx(math.sqrt(variance) / mean)


def test_pools_by_hand() -> None:
    record = dd.RunRecord(
        [
            ev.RequestResourceRegistered(0.0, 1, POOL, 2, 2, 2, "fixed"),
            ev.TaskLeaseAcquired(0.5, 1, "t", 1, False),
            ev.RequestWaitStarted(1.0, 2, POOL, 1, "t", 1),
            ev.RequestWaitStarted(1.0, 3, POOL, 2, None, 2),
            ev.RequestLeaseAcquired(3.0, 4, POOL, 1, 1, 1, 2),
            ev.RequestWaitCancelled(4.0, 5, POOL, 2),
            ev.ModelRequestCompleted(7.0, 6, POOL, 1, "t", OutcomeKind.SUCCESS, 4.0, 9),
            ev.RequestLeaseReleased(7.0, 7, POOL, 1, OutcomeKind.SUCCESS, 0),
            ev.SchedulerJobCompleted(8.0, 2, "finished", 1, 0),
        ]
    )
    found = metrics(record)
    pool = found.requests["p/m/chat"]
    assert (pool.capacity_s, pool.busy_s) == (14.0, 4.0)
    assert pool.starved_s == 2 * 2 + 1 * 1
    assert pool.waits.count == 2
    assert found.scheduler == {}  # nobody said what flows hold
    profile = dd.EndpointProfile(model="m", capacity=2)
    assert useful_utilization(record, [profile]) == 4.0 / 16.0


@pytest.mark.parametrize(
    "workload", [w for w in WORKLOADS if w.name != "million-rows"], ids=lambda w: w.name
)
def test_what_holds_for_every_run(workload: dd.Workload) -> None:
    record = dd.simulate(workload)
    found = metrics(record)
    for resource in (*found.scheduler.values(), *found.requests.values()):
        assert resource.busy_s + resource.idle_s == pytest.approx(resource.capacity_s)
        assert resource.starved_s + resource.frontier_s == pytest.approx(resource.idle_s, abs=1e-9)
        for ratio in (resource.utilization, resource.starved_ratio, resource.frontier_ratio):
            assert -1e-9 <= ratio <= 1 + 1e-9
    profiles = list(record.result.profiles.values())
    if profiles and not any(profile.overhead_s for profile in profiles):
        # The endpoint's own count and the record's agree, where nothing is lost on the way.
        assert useful_utilization(record, profiles) == pytest.approx(
            record.result.useful_utilization, rel=1e-6
        )
    assert "utilization" in str(found)


def test_a_cut_record_is_refused() -> None:
    record = dd.RunRecord()
    record.truncated = True
    with pytest.raises(RecordError, match="the record is cut"):
        metrics(record)


def test_tasks_of_a_dropped_row_leave_the_queue() -> None:
    record = dd.simulate("dropped-rows")
    slots = metrics(record).scheduler["model:local/writer"]
    assert slots.starved_s == pytest.approx(0.0, abs=1e-9), "nobody waits for it at the end"
    flow = FlowKey("model", ("m",))
    shape = ev.FlowShape(flow.label, 1.0, {"slots": 1})
    queued = [ev.ReadyEnqueued(0.0, n, f"a/0/{n}", flow) for n in range(3)]
    shapes = {"a": shape, "b": shape}
    # By a cell of the row, by a task of its whole group, and the whole group.
    for task_id, row, starved in (("b/0/1", 1, 2), ("b/0", 1, 2), ("b/0", None, 0)):
        by_hand = dd.RunRecord(
            [
                ev.SchedulerJobStarted(0.0, 0, 3, 1, ("a", "b"), {"slots": 1}, shapes),
                *queued,
                ev.NonRetryableDropped(1.0, 9, task_id, row, "gone"),
                ev.SchedulerJobCompleted(3.0, 10, "finished", 2, 1),
            ]
        )
        assert metrics(by_hand).scheduler["slots"].starved_s == 1.0 + starved
