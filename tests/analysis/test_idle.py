"""Idle slots: each has one cause, by hand and over every workload; the causes sum to the idle."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings, strategies as st

import ddsched_nb as dd
from ddsched_nb.analysis.causes import CAUSES, DENIED, HORIZON, IdleCause
from ddsched_nb.analysis.idle import ResourceIdle, explain_events, explain_idle
from ddsched_nb.analysis.metrics import metrics
from ddsched_nb.bench.bare_loop import measure_bare_loop
from ddsched_nb.bench.suite.cases import CASES, OWN_CASES
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import DenyReason, FlowKey, OutcomeKind, PoolKey
from ddsched_nb.core.row_groups import BlockReason
from ddsched_nb.errors import RecordError
from ddsched_nb.sim.witness import Witness
from ddsched_nb.workloads.catalog import WORKLOADS

A, B = FlowKey("local", ("a",)), FlowKey("model", ("b",))
POOL = PoolKey("p", "m")
LABEL = POOL.label
KNOWN = {
    **{workload.name: workload for workload in WORKLOADS if workload.name != "million-rows"},
    **{f"case {case.name}": case.workload for case in (*CASES, *OWN_CASES)},
}
C = IdleCause


def started(
    slots: int = 2, groups: int = 1, b: dict[str, int] | None = None, **capacities: int
) -> ev.Event:
    """A job of two columns: `a` takes a slot, and so does `b`, which calls a pool."""
    shapes = {
        "a": ev.FlowShape(A.label, 1.0, {"submission": 1}),
        "b": ev.FlowShape(B.label, 1.0, b or {"submission": 1}, LABEL),
    }
    there = {"submission": slots, **capacities}
    return ev.SchedulerJobStarted(0.0, 0, 2, groups, ("a", "b"), there, shapes)


def opened(at: float, group: int = 0, count: int = 1) -> ev.Event:
    return ev.RowGroupAdmitted(at, 0, group, 1, count)


def queued(at: float, task: str, flow: FlowKey = A) -> ev.Event:
    return ev.ReadyEnqueued(at, 0, task, flow)


def leased(at: float, task: str, lease: int = 1) -> ev.Event:
    return ev.TaskLeaseAcquired(at, 0, task, lease, False)


def ended(at: float, task: str, lease: int = 1) -> ev.Event:
    return ev.TaskLeaseReleased(at, 0, task, lease)


def completed(at: float, state: str = "finished") -> ev.Event:
    return ev.SchedulerJobCompleted(at, 0, state, 0, 0)


def pool(cap: int, limit: int | None = None, **changes: object) -> ev.Event:
    told = ev.RequestResourceRegistered(0.0, 0, POOL, cap, cap, limit or cap, "x")
    return ev.RequestResourceRegistered(
        **{f: getattr(told, f) for f in told.__struct_fields__} | changes
    )


def asks(at: float, waiter: int, task: str | None = None, not_before: float = 0.0) -> ev.Event:
    return ev.RequestWaitStarted(at, 0, POOL, waiter, task, 1, not_before)


def granted(at: float, waiter: int, limit: int = 2) -> ev.Event:
    return ev.RequestLeaseAcquired(at, 0, POOL, waiter, waiter, 1, limit)


def answered(at: float, permit: int, outcome: OutcomeKind = OutcomeKind.SUCCESS) -> ev.Event:
    return ev.RequestLeaseReleased(at, 0, POOL, permit, outcome, 0)


def causes(events: Iterable[ev.Event], name: str = "submission") -> dict[IdleCause, float]:
    found = explain_events(list(events))[name].causes
    return {cause: round(seconds, 9) for cause, seconds in found.items()}


def test_slots_without_work() -> None:
    found = causes(
        [
            started(2),
            opened(1.0),
            queued(1.0, "a/0/0"),
            leased(1.0, "a/0/0"),
            ended(4.0, "a/0/0"),
            queued(4.0, "b/0/0", B),
            leased(4.0, "b/0/0", 2),
            ended(6.0, "b/0/0", 2),
            completed(7.0),
        ]
    )
    assert found == {
        C.STARTUP: 2.0,
        C.FRONTIER_EMPTY: 3.0,  # `b` waits for `a`
        C.DRAINING_TAIL: 2.0 + 2.0,
    }


def test_a_ready_task_beside_a_free_slot_is_the_scheduler_s_fault() -> None:
    found = causes(
        [
            started(2),
            opened(0.0),
            queued(0.0, "a/0/0"),
            leased(3.0, "a/0/0"),
            ended(4.0, "a/0/0"),
            completed(4.0),
        ]
    )
    assert found == {C.SCHEDULER_OVERHEAD: 3.0, C.DRAINING_TAIL: 4.0}


@pytest.mark.parametrize(("reason", "cause"), DENIED.items())
def test_what_task_admission_denied(reason: DenyReason, cause: IdleCause) -> None:
    found = causes(
        [
            started(3),
            opened(0.0),
            queued(0.0, "a/0/0"),
            queued(0.0, "a/0/1"),
            leased(0.0, "a/0/0"),
            ev.AdmissionDenied(0.0, 0, "a/0/1", A, reason, "submission"),
            leased(5.0, "a/0/1", 2),
            completed(5.0),
        ]
    )
    assert found == {cause: 5.0, C.DRAINING_TAIL: 5.0}


def test_one_that_lacks_another_resource_and_how_the_slots_are_shared_out() -> None:
    found = explain_events(
        [
            started(6, b={"submission": 1, "llm_wait": 1}, llm_wait=2),
            opened(0.0),
            queued(0.0, "b/0/0", B),
            leased(0.0, "b/0/0"),
            *(queued(0.0, f"b/0/{i}", B) for i in (1, 2, 3)),
            leased(2.0, "b/0/1", 2),
            leased(2.0, "b/0/2", 3),
            leased(2.0, "b/0/3", 4),
            completed(2.0),
        ]
    )
    # One of three could have started; the others lack `llm_wait`; for two slots there is no work.
    assert found["submission"].causes == {
        C.OTHER_RESOURCE_FULL: 4.0,
        C.SCHEDULER_OVERHEAD: 2.0,
        C.DRAINING_TAIL: 4.0,
    }
    assert found["llm_wait"].causes == {C.SCHEDULER_OVERHEAD: 2.0}
    assert found["submission"].lacking == {"llm_wait": 4.0}
    assert "or more of this; 100% of it: llm_wait" in str(found)


@pytest.mark.parametrize(("reason", "cause"), HORIZON.items())
def test_rows_that_may_not_be_opened(reason: BlockReason, cause: IdleCause) -> None:
    found = causes(
        [
            started(2, groups=2),
            ev.RowGroupAdmissionBlocked(0.0, 0, str(reason)),
            opened(0.0),
            queued(0.0, "a/0/0"),
            leased(0.0, "a/0/0"),
            ended(3.0, "a/0/0"),
            ev.RowGroupCheckpointed(3.0, 0, 0, 1, 0),
            opened(3.0, 1),
            queued(3.0, "a/1/1"),
            leased(3.0, "a/1/1", 2),
            ended(4.0, "a/1/1", 2),
            completed(4.0),
        ]
    )
    assert found == {cause: 3.0, C.DRAINING_TAIL: 1.0}


def test_every_reason_of_the_governor_and_of_admission_has_a_cause() -> None:
    assert set(HORIZON) == set(BlockReason) - {BlockReason.NO_PENDING_GROUPS}
    assert set(DENIED) == set(DenyReason) - {DenyReason.RESOURCE_FULL}
    assert set(CAUSES) == set(IdleCause)


def test_a_fixed_number_of_row_groups_needs_no_telling() -> None:
    events = [
        started(2, groups=2),
        opened(0.0),
        queued(0.0, "a/0/0"),
        leased(0.0, "a/0/0"),
        ended(3.0, "a/0/0"),
        ev.RowGroupCheckpointed(3.0, 0, 0, 1, 0),
        opened(5.0, 1),  # the scheduler took its time
        queued(5.0, "a/1/1"),
        leased(5.0, "a/1/1", 2),
        ended(6.0, "a/1/1", 2),
        completed(6.0),
    ]
    assert causes(events) == {
        C.HORIZON_CAP: 3.0,
        C.DRAINING_TAIL: 3.0,
        C.SCHEDULER_OVERHEAD: 2.0,
    }


def test_paused_stepped_aside_put_aside() -> None:
    found = causes(
        [
            started(1),
            opened(0.0),
            queued(0.0, "b/0/0", B),
            leased(0.0, "b/0/0"),
            ev.TaskSlotsYielded(1.0, 0, "b/0/0", 1),
            ev.TaskSlotsRetaken(3.0, 0, "b/0/0", 1),
            ev.RetryDeferred(4.0, 0, "b/0/0", 9.0, 1, "x"),
            ended(4.0, "b/0/0"),
            ev.RunPaused(5.0, 0),
            ev.RunResumed(7.0, 0),
            queued(9.0, "b/0/0", B),
            leased(9.0, "b/0/0", 2),
            ended(9.5, "b/0/0", 2),
            completed(9.5),
        ]
    )
    assert found == {C.SLOTS_YIELDED: 2.0, C.DEFERRED: 1.0 + 2.0, C.PAUSED: 2.0}


def test_dropped_rows_wait_for_nothing() -> None:
    found = causes(
        [
            started(1),
            opened(0.0),
            queued(0.0, "a/0/0"),
            queued(0.0, "b/0/0", B),
            queued(0.0, "b/0/1", B),
            leased(0.0, "a/0/0"),
            ev.NonRetryableDropped(1.0, 0, "a/0/0", 0, "x"),
            ended(1.0, "a/0/0"),
            leased(2.0, "b/0/1", 2),
            ev.NonRetryableDropped(3.0, 0, "b/0", None, "x"),
            ended(3.0, "b/0/1", 2),
            completed(5.0),
        ]
    )
    assert found == {C.SCHEDULER_OVERHEAD: 1.0, C.DRAINING_TAIL: 2.0}


def test_a_run_that_ended_early_began_nothing_more() -> None:
    events = [
        started(2, groups=5),
        opened(0.0),
        queued(0.0, "a/0/0"),
        queued(0.0, "a/0/1"),
        leased(0.0, "a/0/0"),
        ended(3.0, "a/0/0"),
    ]
    assert causes([*events, completed(4.0, "failed")]) == {C.STOPPED: 3.0 + 2.0}
    assert causes(events) == {C.STOPPED: 3.0}  # nobody lived to tell


def test_a_worker_that_cannot_be_spawned() -> None:
    found = causes(
        [
            started(1),
            opened(0.0),
            queued(0.0, "a/0/0"),
            leased(0.0, "a/0/0"),
            ev.WorkerSpawnFailed(0.0, 0, "a/0/0", "X"),
            ended(0.0, "a/0/0"),
            queued(2.0, "a/0/0"),
            leased(2.0, "a/0/0", 2),
            ended(3.0, "a/0/0", 2),
            completed(3.0),
        ]
    )
    assert found == {C.SCHEDULER_OVERHEAD: 2.0}


def test_calls_that_wait_for_a_limit_a_cooldown_or_their_turn() -> None:
    refused = OutcomeKind.RATE_LIMITED
    found = causes(
        [
            pool(4, 1),
            *(asks(0.0, i) for i in (1, 2, 3)),
            granted(0.0, 1),
            ev.RequestLimitDecreased(2.0, 0, POOL, 2, 1, "x"),
            answered(4.0, 1, refused),
            ev.RequestCooldownStarted(4.0, 0, POOL, 7.0, "refused"),
            asks(4.0, 4, not_before=8.0),
            granted(7.0, 2, 1),
            answered(9.0, 2),
            ev.RequestWaitCancelled(9.0, 0, POOL, 3),
            granted(9.0, 4, 1),
            answered(10.0, 4),
        ],
        LABEL,
    )
    assert found == {
        # The grant told of a limit of two. So one call might have gone, and did not.
        C.SLOW_START: 2.0,
        C.SCHEDULER_OVERHEAD: 2.0,
        C.REQUEST_LIMIT: 2.0 * 2 + 1.0 + 2.0,
        C.COOLDOWN: 3.0 * 2,
        C.BACKOFF: 3.0 + 1.0,
        C.FRONTIER_EMPTY: 4.0,  # until the fourth call came
        C.DRAINING_TAIL: 3.0 + 1.0 + 1.0 + 3.0,
    }


@pytest.mark.parametrize(
    ("told", "cause"),
    [
        ({"requests_per_minute": 60.0}, C.PACING),
        ({"aggregate_cap": 1}, C.AGGREGATE_CAP),
        ({"budget": ev.BudgetShape("p", cap=1)}, C.BUDGET_CAP),
        ({}, C.SCHEDULER_OVERHEAD),
    ],
)
def test_calls_for_which_the_limit_has_room(told: dict[str, object], cause: IdleCause) -> None:
    events = [
        pool(2, **told),
        asks(0.0, 1),
        granted(0.0, 1),
        asks(0.0, 2),
        answered(3.0, 1),
        granted(3.0, 2),
        answered(3.0, 2),
    ]
    assert causes(events, LABEL) == {cause: 3.0}
    if not told:
        shared = ev.RequestPoolShared(0.0, 0, POOL, 2)
        assert causes([events[0], shared, *events[1:]], LABEL) == {C.OTHER_RUNS: 3.0}


def test_a_silent_endpoint_is_asked_one_call_at_a_time() -> None:
    events = [
        pool(3),
        asks(0.0, 1),
        granted(0.0, 1),
        ev.RequestCooldownStarted(1.0, 0, POOL, 2.0, "refused"),
        answered(1.0, 1, OutcomeKind.RATE_LIMITED),
        *(asks(1.0, i) for i in (2, 3, 4)),
        granted(2.0, 2),
        answered(4.0, 2),
        ev.RequestFullyRecovered(4.0, 0, POOL, 1.0),
        granted(4.0, 3),
        granted(4.0, 4),
        answered(5.0, 3),
        answered(5.0, 4),
    ]
    assert causes(events, LABEL) == {
        C.FRONTIER_EMPTY: 2.0,
        C.COOLDOWN: 3.0,
        C.PROBING: 4.0,
        C.DRAINING_TAIL: 1.0,
    }
    # Never heard of again: from its first refusal on it was known to serve nothing.
    again = [*events[:9], answered(4.0, 2, OutcomeKind.RATE_LIMITED)]
    assert causes(again, LABEL) == {C.FRONTIER_EMPTY: 2.0, C.COOLDOWN: 3.0, C.PROBING: 4.0}


def test_tasks_that_will_call_a_pool() -> None:
    found = causes(
        [
            pool(3),
            started(1),
            opened(0.0),
            queued(0.0, "b/0/0", B),
            queued(0.0, "b/0/1", B),
            leased(0.0, "b/0/0"),
            asks(2.0, 1, "b/0/0"),
            granted(2.0, 1, 3),
            answered(4.0, 1),
            ended(5.0, "b/0/0"),
            leased(5.0, "b/0/1", 2),
            asks(5.0, 2, "b/0/1"),
            granted(5.0, 2, 3),
            answered(6.0, 2),
            ended(6.0, "b/0/1", 2),
            completed(6.0),
        ],
        LABEL,
    )
    assert found[C.OTHER_RESOURCE_FULL] == 5.0  # the second task has no slot
    assert found[C.BETWEEN_CALLS] == 2.0 + 1.0
    assert sum(found.values()) == 3 * 6 - 2 - 1


def test_a_lease_that_outlives_its_service_is_the_loop_s_fault() -> None:
    events = [
        started(1),
        opened(0.0),
        queued(0.0, "a/0/0"),
        leased(0.0, "a/0/0"),
        ev.WorkerSpawned(0.0, 0, "a/0/0", "a", 0, 0),
        ended(5.0, "a/0/0"),
        completed(5.0),
    ]
    record = dd.RunRecord(events)
    assert explain_idle(record)["submission"].causes == {}
    late = explain_idle(record, service={"a": 1.0}, bare_loop=lambda s: s + 0.5)["submission"]
    assert late.causes == {C.SCHEDULER_OVERHEAD: 3.5}
    assert explain_idle(record, service={"b": 1.0})["submission"].idle_s == 0.0


def overhead(blocked_s: float) -> float:
    """Slot-seconds of overhead of a run in real time whose tasks sleep, and then hold the loop."""

    async def nap(row: dd.Row) -> int:
        await asyncio.sleep(0.003)
        if blocked_s:
            time.sleep(blocked_s)  # noqa: ASYNC251 - that is what is measured
        return 1

    columns = [
        dd.Column("x", generate=list),
        dd.Column("nap", generate=nap, needs=["x"]),
    ]
    config = dd.RunConfig(max_in_flight_tasks=8)

    async def measured() -> float:
        bare_loop = await measure_bare_loop([0.003], 8)
        run = dd.start(dd.Pipeline(columns=columns), rows=48, config=config)
        await run
        report = explain_idle(run.record, service={"nap": 0.003}, bare_loop=bare_loop)
        return report["submission"].causes.get(C.SCHEDULER_OVERHEAD, 0.0)

    return asyncio.run(measured())


def test_who_holds_the_loop_is_seen() -> None:
    # 48 times 5 ms pass one after the other, and most of the eight slots wait meanwhile.
    blocked = overhead(0.005)
    assert blocked > 0.5
    assert blocked > 2 * overhead(0.0)


TASKS = st.sampled_from(["a/0/0", "a/0/1", "b/0/0", "b/0/1", "b/1/2"])
NUMBERS = st.integers(1, 5)


def some_event() -> st.SearchStrategy[Callable[[float], ev.Event]]:
    """Any event, whether or not it could come here."""
    flow = st.sampled_from([A, B])
    makers: list[st.SearchStrategy[Callable[[float], ev.Event]]] = [
        st.builds(lambda t, f: lambda at: queued(at, t, f), TASKS, flow),
        st.builds(lambda t, n: lambda at: leased(at, t, n), TASKS, NUMBERS),
        st.builds(lambda t, n: lambda at: ended(at, t, n), TASKS, NUMBERS),
        st.builds(lambda t: lambda at: ev.TaskSlotsYielded(at, 0, t, 1), TASKS),
        st.builds(lambda t: lambda at: ev.TaskSlotsRetaken(at, 0, t, 1), TASKS),
        st.builds(lambda t: lambda at: ev.RetryDeferred(at, 0, t, at + 1, 1, "x"), TASKS),
        st.builds(lambda t: lambda at: ev.WorkerSpawnFailed(at, 0, t, "x"), TASKS),
        st.builds(
            lambda t, r: lambda at: ev.NonRetryableDropped(at, 0, t, r, "x"),
            TASKS,
            st.sampled_from([None, 0, 1]),
        ),
        st.builds(
            lambda t, f, r: lambda at: ev.AdmissionDenied(at, 0, t, f, r, "submission"),
            TASKS,
            flow,
            st.sampled_from(DenyReason),
        ),
        st.builds(
            lambda r: lambda at: ev.RowGroupAdmissionBlocked(at, 0, str(r)),
            st.sampled_from(BlockReason),
        ),
        st.builds(lambda n: lambda at: opened(at, n), NUMBERS),
        st.builds(lambda n: lambda at: ev.RowGroupCheckpointed(at, 0, n, 1, 0), NUMBERS),
        st.sampled_from([lambda at: ev.RunPaused(at, 0), lambda at: ev.RunResumed(at, 0)]),
        st.builds(
            lambda n, t, w: lambda at: asks(at, n, t, at + w),
            NUMBERS,
            st.none() | TASKS,
            st.floats(0, 3),
        ),
        st.builds(lambda n, limit: lambda at: granted(at, n, limit), NUMBERS, NUMBERS),
        st.builds(
            lambda n, k: lambda at: answered(at, n, k), NUMBERS, st.sampled_from(OutcomeKind)
        ),
        st.builds(lambda n: lambda at: ev.RequestWaitCancelled(at, 0, POOL, n), NUMBERS),
        st.builds(
            lambda b, a: lambda at: ev.RequestLimitDecreased(at, 0, POOL, b, a, "x"),
            NUMBERS,
            NUMBERS,
        ),
        st.builds(
            lambda s, r: lambda at: ev.RequestCooldownStarted(at, 0, POOL, at + s, r),
            st.floats(0, 3),
            st.sampled_from(["refused", "requests"]),
        ),
        st.builds(
            lambda s: lambda at: ev.RequestFullyRecovered(at, 0, POOL, at - s), st.floats(0, 3)
        ),
        st.builds(lambda n: lambda at: ev.RequestEffectiveCapChanged(at, 0, POOL, n, n), NUMBERS),
    ]
    return st.one_of(makers)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(some_event(), st.sampled_from([0.0, 0.0, 0.25, 1 / 3, 1.0])), max_size=60),
    st.sampled_from(["finished", "failed", None]),
)
def test_whatever_happens_each_idle_slot_has_one_cause(
    told: list[tuple[Callable[[float], ev.Event], float]], state: str | None
) -> None:
    at = 0.0
    events = [started(2, 3, {"submission": 1, "llm_wait": 2}, llm_wait=3), pool(3, 2)]
    for make, gap in told:
        at += gap
        events.append(make(at))
    if state is not None:
        events.append(completed(at + 0.5, state))
    for idle in explain_events(events).resources:
        assert_consistent(idle)
        most = max((sum(claim.slots for claim in split) for _, split in idle.steps), default=0)
        assert most * idle.window_s <= idle.capacity_s + 1e-9 or idle.name == LABEL
        assert idle.idle_s <= idle.capacity_s + 1e-9


@pytest.mark.parametrize("name", KNOWN)
def test_f25_the_causes_sum_to_what_was_idle(name: str) -> None:
    record = dd.simulate(KNOWN[name])
    found, busy = explain_idle(record), metrics(record)
    assert list(found.scheduler) == list(busy.scheduler)
    assert list(found.requests) == list(busy.requests)
    for of_resource in (*busy.scheduler.values(), *busy.requests.values()):
        idle = found[of_resource.name]
        assert idle.idle_s == pytest.approx(of_resource.idle_s, abs=1e-9)
        assert idle.capacity_s == pytest.approx(of_resource.capacity_s, abs=1e-9)
        assert_consistent(idle)
        # In virtual time deciding takes none, and nothing that may start waits.
        assert C.SCHEDULER_OVERHEAD not in idle.causes
    assert "of capacity" in str(found)
    assert "<table" in found._repr_html_()


def assert_consistent(idle: ResourceIdle) -> None:
    assert math.fsum(idle.causes.values()) == pytest.approx(idle.idle_s, abs=1e-9)
    assert all(seconds >= 0 for seconds in idle.causes.values())
    drawn: dict[IdleCause, float] = dict.fromkeys(idle.causes, 0.0)
    for _, slots in idle.series(37):
        for cause, mean in slots.items():
            drawn[cause] += mean * idle.window_s / 37
    assert drawn == pytest.approx(idle.causes, abs=1e-9)
    for _, split in idle.steps:
        assert len({(claim.cause, claim.lacks) for claim in split}) == len(split)
        assert all(claim.slots > 0 for claim in split)
    other = idle.causes.get(C.OTHER_RESOURCE_FULL, 0.0)
    assert math.fsum(idle.lacking.values()) == pytest.approx(other, abs=1e-9)


@pytest.mark.parametrize(
    "name", ["tight", "cross-provider-cooldown", "outage-and-recovery", "dropped-rows"]
)
def test_f25_in_every_order_and_with_every_fault(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[str] = []

    def judge(self: Witness, events: Iterable[ev.Event], state: str, *_: object) -> list[str]:
        record = dd.RunRecord(events)
        found, busy = explain_idle(record), metrics(record)
        assert busy.run.hidden_waiters == 0
        for of_resource in (*busy.scheduler.values(), *busy.requests.values()):
            idle = found[of_resource.name]
            assert idle.idle_s == pytest.approx(of_resource.idle_s, abs=1e-9)
            assert math.fsum(idle.causes.values()) == pytest.approx(idle.idle_s, abs=1e-9)
        judged.append(state)
        return []

    monkeypatch.setattr(Witness, "judge", judge)
    dd.fuzz(name, seeds=range(8), rows=20)
    assert len(judged) >= 9


def test_f25_in_real_time() -> None:
    async def run() -> dd.RunRecord:
        workload = KNOWN["diamond"]
        found = dd.start(workload.pipeline, rows=6, config=workload.config)
        await found
        return found.record

    record = asyncio.run(run())
    found, busy = explain_idle(record), metrics(record)
    for of_resource in (*busy.scheduler.values(), *busy.requests.values()):
        assert found[of_resource.name].idle_s == pytest.approx(of_resource.idle_s, abs=1e-9)
        assert_consistent(found[of_resource.name])


def test_it_reads_the_reference_s_narrow_and_adaptive_cases() -> None:
    narrow = explain_idle(dd.simulate(KNOWN["case adaptive-row-groups-fixed-low"]))["llm_wait"]
    assert narrow.share(C.HORIZON_CAP) > 0.85
    adaptive = explain_idle(dd.simulate(KNOWN["case adaptive-row-groups-adaptive"]))["llm_wait"]
    assert adaptive.idle_s < 0.02 * adaptive.capacity_s


def test_a_cut_record_is_refused() -> None:
    record = dd.RunRecord()
    record.truncated = True
    with pytest.raises(RecordError, match="the record is cut"):
        explain_idle(record)


def test_an_empty_record_has_nothing_idle() -> None:
    assert explain_idle(dd.RunRecord()).resources == ()
