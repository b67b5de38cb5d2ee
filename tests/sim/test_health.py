"""Health snapshots: when they come, and that their figures are those of the run."""

from __future__ import annotations

from itertools import pairwise

import pytest

import ddsched_nb as dd
from ddsched_nb.aio.reporters import SNAPSHOT_EVERY_S
from ddsched_nb.core import events as ev


@pytest.mark.parametrize("name", ["tight", "cross-provider-cooldown", "real-pipeline-overlap"])
def test_they_come_at_start_end_and_each_decision_and_else_once_a_second(name: str) -> None:
    record = dd.simulate(name)
    events = [event for event in record.events if not isinstance(event, ev.RequestEvent)]
    found = record.select(ev.SchedulerHealthSnapshot)
    assert isinstance(events[0], ev.SchedulerJobStarted)
    assert events[1] is found[0]
    assert events[-2] is found[-1]
    assert isinstance(events[-1], ev.SchedulerJobCompleted)
    decided = {
        event.at
        for event in record.select(ev.RowGroupAdmissionTargetChanged, ev.RowGroupAdmissionBlocked)
    }
    assert decided <= {snapshot.at for snapshot in found}
    for before, after in pairwise(found[:-1]):
        assert after.at in decided or after.at - before.at >= SNAPSHOT_EVERY_S


def test_what_they_say_adds_up() -> None:
    record = dd.simulate("cross-provider-cooldown")
    (started,) = record.select(ev.SchedulerJobStarted)
    found = record.select(ev.SchedulerHealthSnapshot)
    for snapshot in found:
        for resource, capacity in started.capacities.items():
            assert snapshot.leased[resource] + snapshot.available[resource] == capacity
        assert snapshot.leased["submission"] == snapshot.running - snapshot.aside
        assert snapshot.demand.get("submission", 0) == snapshot.queued
        assert 0 <= snapshot.open_groups <= snapshot.target_groups <= snapshot.group_cap
        assert set(snapshot.pools) == {"east/sick/chat", "west/healthy/chat"}
    first, last = found[0], found[-1]
    assert (first.running, first.queued, first.open_groups) == (0, 0, 0)
    assert (last.running, last.queued, last.deferred, last.open_groups) == (0, 0, 0, 0)
    sick = [snapshot.pools["east/sick/chat"] for snapshot in found]
    assert any(pool.pressure == "cooldown" for pool in sick)
    assert any(pool.cooling_until not in (None, 0.0) for pool in sick)
    assert last.skips == len(record.select(ev.RequestPressureAdvisorySkipped))


def test_skips_are_counted() -> None:
    record = dd.simulate("request-pressure")
    skips = len(record.select(ev.RequestPressureAdvisorySkipped))
    assert skips == 32
    assert record.select(ev.SchedulerHealthSnapshot)[-1].skips == skips


def test_the_first_event_holds_the_shape_of_the_run() -> None:
    (started,) = dd.simulate("diamond").select(ev.SchedulerJobStarted)
    assert started.run_id == "diamond/0"
    assert started.roots == ("row_id",)
    assert started.depth == 4
    assert started.group_size == 256
    assert started.flows["row_id"].tasks == "root"
    assert started.modes["row_groups"] == "adaptive"
    assert started.modes["slots_while_waiting"] == "yield"
    assert started.modes["limit"] == "ceiling"
