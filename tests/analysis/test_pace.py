"""How runs went as a whole, and how columns overlap: by hand, and over workloads and cases."""

from __future__ import annotations

import math

import pytest

import ddsched_nb as dd
from ddsched_nb.analysis.chains import idle_class, pipeline_overlap
from ddsched_nb.analysis.metrics import ResourceMetrics, metrics
from ddsched_nb.analysis.pace import run_pace
from ddsched_nb.analysis.task_ids import group_of
from ddsched_nb.analysis.waits import Waits
from ddsched_nb.bench.suite.cases import CASES
from ddsched_nb.bench.suite.table import measure
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import FlowKey, OutcomeKind, PoolKey
from ddsched_nb.workloads.catalog import WORKLOADS

ROOT, NEXT = FlowKey("local", ("root",)), FlowKey("model", ("next",))
POOL = PoolKey("p", "m")


def started(slots: int = 4) -> ev.Event:
    shapes = {
        "root": ev.FlowShape(ROOT.label, 1.0, {"submission": 1}),
        "next": ev.FlowShape(NEXT.label, 1.0, {"submission": 1}, POOL.label),
    }
    return ev.SchedulerJobStarted(10.0, 0, 4, 2, ("root", "next"), {"submission": slots}, shapes)


def task(column: str, group: int, row: int | None, start: float, end: float) -> list[ev.Event]:
    """A task from its lease to its release."""
    name = f"{column}/{group}" + ("" if row is None else f"/{row}")
    return [
        ev.TaskLeaseAcquired(start, 0, name, 1, False),
        ev.WorkerSpawned(start, 0, name, column, group, row),
        ev.TaskCompleted(end, 0, name, "done"),
        ev.TaskLeaseReleased(end, 0, name, 1),
    ]


def in_order(*events: ev.Event) -> list[ev.Event]:
    return sorted(events, key=lambda event: event.at)


def test_rows_by_hand() -> None:
    found = run_pace(
        in_order(
            started(),
            ev.RowGroupAdmitted(10.0, 0, 0, 2, 1),
            *task("root", 0, None, 10.0, 11.0),
            *task("next", 0, 0, 11.0, 12.0),
            *task("next", 0, 1, 11.0, 14.0),
            ev.RowGroupCheckpointed(15.0, 0, 0, 2, 0),
            ev.RowGroupAdmitted(15.0, 0, 1, 2, 1),
            *task("next", 1, 2, 15.0, 16.0),
            *task("next", 1, 3, 15.0, 18.0),
            ev.NonRetryableDropped(18.0, 0, "next/1/3", 3, "x"),
            ev.RowGroupCheckpointed(18.0, 0, 1, 1, 1),
            ev.SchedulerJobCompleted(20.0, 0, "finished", 3, 1),
        )
    )
    assert (found.wall_s, found.rows, found.cells) == (10.0, 3, 4)
    assert found.first_group_s == 5.0
    assert found.half_rows_s == 4.0  # rows had their cells at 2, 4 and 6
    assert found.row_latency == Waits.of([2.0, 4.0, 1.0])
    assert (found.cells_per_s, found.rows_per_s) == (0.4, 0.3)
    assert "rows, and a second                3 / 0.3" in str(found)
    assert "<table" in found._repr_html_()


def test_refusals_lags_and_slots_that_are_taken_again() -> None:
    found = run_pace(
        [
            started(),
            ev.SchedulerLoopLagged(11.0, 0, 0.2),
            *task("next", 0, 0, 11.0, 12.0)[:2],
            ev.RequestWaitStarted(11.0, 0, POOL, 1, "next/0/0", 1),
            ev.TaskSlotsYielded(11.0, 0, "next/0/0", 1),
            ev.RequestLeaseAcquired(12.0, 0, POOL, 1, 1, 1, 1),
            ev.TaskSlotsRetaken(12.5, 0, "next/0/0", 1),
            ev.RequestRateLimited(13.0, 0, POOL, 1, None, 0, 1),
            ev.ModelRequestCompleted(14.0, 0, POOL, 2, None, OutcomeKind.SUCCESS, 1.0, 9),
            ev.ModelRequestCompleted(14.0, 0, POOL, 3, None, OutcomeKind.SUCCESS, 1.0, 9),
            ev.SchedulerJobCompleted(15.0, 0, "failed", 0, 0),
        ]
    )
    assert found.loop_lag == Waits.of([0.2])
    assert found.coming_back == Waits.of([0.5])
    assert found.refusals_per_success == 0.5
    assert (found.first_group_s, found.half_rows_s, found.row_latency.count) == (None, None, 0)
    only_refused = run_pace([ev.RequestRateLimited(0.0, 0, POOL, 1, None, 0, 1)])
    assert only_refused.refusals_per_success == math.inf
    nothing = run_pace([])
    assert (nothing.refusals_per_success, nothing.cells_per_s, nothing.rows_per_s) == (0, 0, 0)


def test_a_worker_without_a_lease_is_a_hidden_waiter() -> None:
    leased = task("next", 0, 0, 11.0, 12.0)
    assert run_pace([started(), *leased]).hidden_waiters == 0
    without = [event for event in leased if not isinstance(event, ev.TaskLeaseAcquired)]
    assert run_pace([started(), *without]).hidden_waiters == 1


@pytest.mark.parametrize(("roots", "debt"), [(1, 0), (2, 0), (3, 1), (4, 2)])
def test_roots_that_take_more_than_their_share_while_others_queue(roots: int, debt: int) -> None:
    events = [
        started(4),
        ev.RowGroupAdmitted(10.0, 0, 0, 4, 1),
        *(ev.ReadyEnqueued(10.0, 0, f"root/0/{i}", ROOT) for i in range(roots)),
        ev.TaskLeaseAcquired(10.0, 0, "root/0/0", 1, False),
    ]
    later = ev.ReadyEnqueued(11.0, 0, "next/0/9", NEXT)
    rest = [ev.TaskLeaseAcquired(12.0, 0, f"root/0/{i}", i, False) for i in range(1, roots)]
    assert run_pace([*events, later, *rest]).root_debt == debt
    assert run_pace([*events, *rest]).root_debt == 0  # nobody else was there
    gone = ev.NonRetryableDropped(11.5, 0, "next/0/9", 9, "x")
    assert run_pace([*events, later, gone, *rest]).root_debt == 0
    done = ev.TaskLeaseReleased(11.5, 0, "root/0/0", 1)
    assert run_pace([*events, later, done, *rest]).root_debt == max(0, debt - 1)


def test_overlap_by_hand() -> None:
    events = in_order(
        *task("root", 0, 0, 0.0, 4.0),
        *task("root", 0, 1, 2.0, 10.0),
        *task("next", 0, 0, 5.0, 6.0),
        *task("next", 0, 1, 10.0, 12.0),
    )
    found = pipeline_overlap(events, {"next": "root"})
    assert found.ratio == 0.5  # from 5 to 10 of 0 to 10
    assert found.ready_gap == Waits.of([1.0, 0.0])
    assert found.first_dispatch_delay_s == 5.0
    alone = pipeline_overlap(task("root", 0, 0, 0.0, 4.0), {"next": "root"})
    assert (alone.ratio, alone.ready_gap.count, alone.first_dispatch_delay_s) == (0.0, 0, None)


@pytest.mark.parametrize(
    ("idle", "starved", "age", "gap", "said"),
    [
        (0.5, 0.2, 0.0, 0.0, "frontier/dependency-horizon"),
        (0.5, 0.3, 0.0, 0.0, "queued-work starvation"),
        (0.05, 0.05, 1.5, 0.0, "queued-work starvation"),
        (0.05, 0.05, 1.5, 0.2, "healthy/control"),
        (0.05, 0.0, 0.5, 0.0, "healthy/control"),
    ],
)
def test_the_reference_s_word_for_it(
    idle: float, starved: float, age: float, gap: float, said: str
) -> None:
    waits, gaps = Waits.of([age]), Waits.of([gap])
    found = ResourceMetrics("llm_wait", 1.0, 1.0, 1 - idle, idle, starved, 1, 1, 0.0, waits)
    assert idle_class(found, gaps) == said


@pytest.mark.parametrize(
    ("name", "group"), [("a/3", "3"), ("a/3/5", "3"), ("x/y/4", "4"), ("x/y/4/9", "4")]
)
def test_the_group_of_a_task(name: str, group: str) -> None:
    assert group_of(name, ("a", "x/y")) == group


@pytest.mark.parametrize(
    "workload", [w for w in WORKLOADS if w.name != "million-rows"], ids=lambda w: w.name
)
def test_what_holds_for_every_run(workload: dd.Workload) -> None:
    record = dd.simulate(workload)
    found = metrics(record).run
    assert found.hidden_waiters == 0
    assert found.root_debt == 0
    assert found.wall_s == pytest.approx(record.result.makespan_s)
    assert found.rows == found.row_latency.count == record.result.summary.finished
    assert found.first_group_s is not None
    assert found.half_rows_s is not None
    assert 0 < found.half_rows_s <= found.wall_s
    assert found.row_latency.p50 <= found.row_latency.p95 <= found.row_latency.p99


@pytest.mark.parametrize("number", [1, 4, 10, 16, 17])
def test_the_reference_s_cases_overlap(number: int) -> None:
    measured = measure(CASES[number - 1])
    overlap = measured.overlap
    assert overlap is not None
    assert overlap.ready_gap.count == measured.case.generations // 2
    assert overlap.ratio > 0.95
    narrow = number in (4, 16)
    assert (measured.idle_class == "frontier/dependency-horizon") is narrow
    assert measure(CASES[18]).overlap is None
