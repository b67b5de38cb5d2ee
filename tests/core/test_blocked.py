"""Why nothing can start: every cause, what would change it, and the words for it."""

from __future__ import annotations

import pytest

from ddsched_nb.core.blocked import (
    OPENINGS,
    Blocked,
    Cause,
    Obstacle,
    Opening,
    WaitingFlow,
    opened_by,
)
from ddsched_nb.core.dispatch import Dispatch, Dispatcher
from ddsched_nb.core.frontier import Frontier
from ddsched_nb.core.graph import ColumnGraph
from ddsched_nb.core.metadata import default_metadata
from ddsched_nb.core.model import (
    LLM_WAIT,
    LOCAL,
    SUBMISSION,
    ColumnSpec,
    DenyReason,
    FlowKey,
    ResourceKey,
)
from ddsched_nb.core.resolver import Resolver, Routing
from ddsched_nb.core.retries import Deferrals
from ddsched_nb.core.row_groups import BlockReason, RowGroupGovernor, RowGroupPlan
from ddsched_nb.core.schedule import Schedule
from ddsched_nb.core.task_admission import TaskAdmission
from ddsched_nb.core.task_policies import BoundedBorrow, TaskPolicy

A, B = FlowKey("local", ("column", "a")), FlowKey("local", ("column", "b"))


def schedule(
    *names: str,
    rows: int,
    slots: int,
    group: int = 8,
    max_open: int = 1,
    policy: TaskPolicy | None = None,
) -> Schedule:
    """Columns without inputs, on so many slots."""
    graph = ColumnGraph([ColumnSpec(name, (), (name,)) for name in names])
    routings = {name: Routing(default_metadata(name)) for name in names}
    capacities = {SUBMISSION: slots, LLM_WAIT: slots, LOCAL: slots}
    return Schedule(
        Frontier(graph),
        Resolver(graph, routings),
        Dispatcher(TaskAdmission(capacities, policy)),
        RowGroupGovernor(RowGroupPlan(rows, group), max_open),
        Deferrals(max_deferrals=1, delay_s=2.0),
    )


def turn(what: Schedule, now: float = 0.0) -> list[Dispatch]:
    return what.advance(now).dispatched


def end(what: Schedule, dispatch: Dispatch) -> None:
    group = what.complete(dispatch.ready.task)
    what.release(dispatch.lease)
    if group is not None:
        what.stored(group)


def test_r02_a_full_resource_is_named_with_who_waits_for_it() -> None:
    what = schedule("a", rows=8, slots=3)
    assert what.explain_blocked(0.0).cause is Cause.NOT_BLOCKED
    held = turn(what)
    told = what.explain_blocked(1.5)
    assert (told.cause, told.queued, told.running, told.now) == (Cause.HELD_BACK, 5, 3, 1.5)
    (obstacle,) = told.obstacles
    waiting = (WaitingFlow(A, queued=5, held=3, share=3, debt=0),)
    assert obstacle == Obstacle(
        DenyReason.RESOURCE_FULL, SUBMISSION, 3, 3, waiting, (Opening.LEASE_RELEASED,)
    )
    assert told.opens == (Opening.LEASE_RELEASED, Opening.TASK_ENDS)
    assert str(told).splitlines() == [
        "Nothing can start now: 5 queued tasks wait for slots.",
        "- submission is full (3 of 3 leased), until a lease of it is released: "
        "local/column/a (5 queued)",
        "Running: 3 tasks.",
    ]
    end(what, held[0])
    assert what.explain_blocked(2.0).cause is Cause.NOT_BLOCKED, "what opens it, opened it"


def test_r02_a_flow_that_was_passed_over_says_why() -> None:
    """One column owes, the other one waits for what is full: each with its own reason."""
    what = schedule("a", "b", rows=8, slots=4, policy=BoundedBorrow(ceiling=1))
    turn(what)
    (full,) = what.explain_blocked(0.0).obstacles
    assert full.reason is DenyReason.RESOURCE_FULL
    assert {flow.flow for flow in full.waiting} == {A, B}
    what = schedule("a", rows=8, slots=4, policy=BoundedBorrow(ceiling=0))
    what.dispatcher.admission.register(what.resolver.flow("a")._replace(key=B))
    assert len(turn(what)) == 2
    told = what.explain_blocked(0.0)
    (ceiling,) = told.obstacles
    assert (ceiling.reason, ceiling.resource) == (DenyReason.AT_CEILING, SUBMISSION)
    assert ceiling.opens == (Opening.OWN_LEASE_RELEASED,)
    assert (
        "- may borrow no more of submission, until a lease of the flow's own is released: "
        "local/column/a (6 queued, holds 2, share 2)"
    ) in str(told)


def test_nothing_queued_because_all_of_it_runs() -> None:
    what = schedule("a", rows=3, slots=8)
    turn(what)
    told = what.explain_blocked(0.0)
    assert (told.cause, told.opens) == (Cause.ALL_RUNNING, (Opening.TASK_ENDS,))
    assert told.groups_blocked is BlockReason.NO_PENDING_GROUPS


def test_nothing_queued_because_no_further_group_may_be_opened() -> None:
    what = schedule("a", rows=8, slots=8, group=2)
    turn(what)
    told = what.explain_blocked(0.0)
    assert (told.cause, told.groups_left, told.open_groups) == (Cause.GROUPS_FULL, 3, 1)
    assert told.groups_blocked is BlockReason.ROW_GROUP_CAP
    assert Opening.GROUP_STORED in told.opens
    assert str(told).endswith("Not opened yet: 3 row groups (1 open); as many are open as may be.")


def test_nothing_queued_because_what_failed_is_put_aside() -> None:
    what = schedule("a", rows=1, slots=1)
    (dispatch,) = turn(what, now=10.0)
    what.defer(dispatch.ready.task, 10.0)
    what.release(dispatch.lease)
    turn(what, now=10.5)
    told = what.explain_blocked(10.5)
    assert (told.cause, told.deferred, told.deferred_until) == (Cause.DEFERRED, 1, 12.0)
    assert told.opens == (Opening.INSTANT,)
    assert "Put aside: 1 cell, the next one for 1.5 s." in str(told)
    assert what.explain_blocked(12.0).cause is Cause.NOT_BLOCKED


def test_nothing_queued_because_the_disk_is_slow_and_then_nothing_is_left() -> None:
    what = schedule("a", rows=1, slots=1)
    (dispatch,) = turn(what)
    group = what.complete(dispatch.ready.task)
    what.release(dispatch.lease)
    assert what.explain_blocked(0.0).cause is Cause.BEING_STORED
    assert "Being stored: 1 row group." in str(what.explain_blocked(0.0))
    assert group is not None
    what.stored(group)
    told = what.explain_blocked(0.0)
    assert (told.cause, told.opens) == (Cause.FINISHED, ())


def test_paused_and_stopped_are_told_whatever_else_is_true() -> None:
    what = schedule("a", rows=8, slots=2)
    turn(what)
    what.pause(True)
    told = what.explain_blocked(0.0)
    assert (told.cause, told.opens) == (Cause.PAUSED, (Opening.RESUMED,))
    assert told.obstacles, "they are true all the same"
    what.stop()
    told = what.explain_blocked(0.0)
    assert (told.cause, told.opens) == (Cause.STOPPED, ())


def test_asking_changes_nothing() -> None:
    asked, left_alone = (schedule("a", "b", rows=16, slots=3, group=4) for _ in range(2))
    orders = []
    for what, ask in ((asked, True), (left_alone, False)):
        order, held = [], turn(what)
        while held:
            order += [dispatch.ready.task_id for dispatch in held]
            for dispatch in held:
                end(what, dispatch)
                assert not ask or what.explain_blocked(0.0) == what.explain_blocked(0.0)
            held = turn(what)
        orders.append(order)
        assert what.finished
    assert orders[0] == orders[1]
    assert len(orders[0]) == 32


def test_many_flows_are_counted_and_only_some_are_named() -> None:
    flows = tuple(WaitingFlow(FlowKey("local", (n,)), 1, 0, 1, 0) for n in range(11))
    obstacle = Obstacle(DenyReason.RESOURCE_FULL, LOCAL, 4, 4, flows, OPENINGS[DenyReason.IN_DEBT])
    assert str(obstacle).endswith("local/7 (1 queued) and 3 more flows")


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_words_and_what_opens_it(cause: Cause) -> None:
    blocked = Blocked(cause, queued=2, running=1)
    assert str(blocked).endswith("Running: 1 task.")
    ended = cause in (Cause.FINISHED, Cause.STOPPED, Cause.STUCK)
    assert bool(opened_by(blocked)) is not ended


@pytest.mark.parametrize("reason", DenyReason)
def test_every_reason_has_words_and_what_opens_it(reason: DenyReason) -> None:
    flow = WaitingFlow(A, 3, held=4, share=2, debt=2)
    obstacle = Obstacle(reason, ResourceKey("llm_wait"), 4, 8, (flow,), OPENINGS[reason])
    assert "llm_wait" in str(obstacle)
    assert obstacle.opens
    assert ("owes 2" in str(obstacle)) is (reason is not DenyReason.RESOURCE_FULL)


@pytest.mark.parametrize("reason", BlockReason)
def test_every_reason_against_a_group_has_words(reason: BlockReason) -> None:
    blocked = Blocked(Cause.ALL_RUNNING, groups_left=2, groups_blocked=reason)
    assert "Not opened yet: 2 row groups (0 open); " in str(blocked)


def test_a_table_of_why_nothing_starts_is_never_empty() -> None:
    html = Blocked(Cause.FINISHED)._repr_html_()
    assert html.count("<tr>") > 1
    assert "Nothing is left to start" in html
