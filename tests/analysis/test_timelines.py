"""Two streams joined by task: every instant is there, in order, and nothing is lost."""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise

import pytest

import ddsched_nb as dd
from ddsched_nb.core import events as ev
from ddsched_nb.workloads.parts import asking, one_endpoint, row_ids

INSTANTS = [f.name for f in fields(dd.TaskTimeline) if f.type == "float | None"]


def test_there_are_thirteen_instants() -> None:
    assert len(INSTANTS) == 13


@pytest.mark.parametrize("name", ["tight", "drop", "generate-then-judge", "dropped-rows"])
def test_every_task_is_told_and_its_instants_are_in_order(name: str) -> None:
    record = dd.simulate(name)
    timelines = dd.task_timelines(record)
    spawned = record.select(ev.WorkerSpawned)
    assert {each.task_id for each in timelines} >= {event.task_id for event in spawned}
    assert sum(each.executions for each in timelines) == len(spawned)
    assert sum(each.requests for each in timelines) == len(record.select(ev.ModelRequestStarted))
    assert sum(each.refused for each in timelines) == len(record.select(ev.RequestRateLimited))
    for each in timelines:
        if each.executions != 1 or each.outcome != "done":
            continue
        found = [at for name in INSTANTS if (at := getattr(each, name)) is not None]
        assert all(a <= b for a, b in pairwise(found)), each
        assert len(found) in (8, 13), "with calls, or without"
        assert (each.queue_s or 0.0) >= 0.0
    calling = [each for each in timelines if each.requests]
    assert all((each.permit_wait_s or 0.0) >= 0.0 for each in calling)
    frame = timelines.to_pandas()
    assert len(frame) == len(timelines)
    assert list(frame.task_id) == [each.task_id for each in timelines]


def test_a_task_that_was_tried_again_is_told_with_how_often() -> None:
    flaky = dd.EndpointProfile(
        model="m",
        capacity=4,
        latency=dd.Latency(mean_s=0.2),
        faults=(dd.Fault(kind="error", share=0.3),),
    )
    work = one_endpoint([row_ids(), asking("a", "m")], [flaky], {"m": 4})
    retry = dd.RetryConfig(max_attempts=1, max_deferrals=20, deferral_delay_s=0.5)
    record = dd.simulate(work, dd.RunConfig(retry=retry, disable_early_shutdown=True), rows=120)
    timelines = dd.task_timelines(record)
    again = [each for each in timelines if each.executions > 1]
    assert len(again) >= 10
    assert sum(each.executions for each in timelines) == len(record.select(ev.WorkerSpawned))
    for each in again:
        assert each.requests == each.executions
        assert each.outcome == "done"
        assert (each.lease_acquired or 0.0) > (each.permit_acquired or 0.0), "last, and first"


def test_a_cut_record_tells_what_it_has() -> None:
    record = dd.simulate("tight", rows=40)
    cut = dd.RunRecord(record.events[len(record.events) // 2 :])
    assert len(dd.task_timelines(cut)) > 0
    assert dd.task_timelines(dd.RunRecord()) == ()
