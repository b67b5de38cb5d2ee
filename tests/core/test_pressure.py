"""The pressure advisory, and tasks that step aside: preferred, never vetoed, credited exactly."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ddsched_nb.core.dispatch import Denied, Dispatch, Dispatcher
from ddsched_nb.core.model import (
    LLM_WAIT,
    SUBMISSION,
    DenyReason,
    Flow,
    FlowKey,
    Lease,
    PoolKey,
    ReadyTask,
    ReleaseStatus,
    ResourceKey,
    Task,
)
from ddsched_nb.core.pressure import Advisory, PoolLoad, PressureReason, is_closed, pressure
from ddsched_nb.core.task_admission import TaskAdmission
from ddsched_nb.core.task_policies import BoundedBorrow, StrictFair, TaskPolicy

OPEN = PoolLoad(limit=4, in_flight=0, waiters=0, model_cap=4, model_in_flight=0, cooling_until=0.0)
COOLING = OPEN._replace(cooling_until=9.0)
HELD = OPEN._replace(in_flight=4, model_in_flight=4)


def model(name: str) -> Flow:
    own = ResourceKey(f"model:{name}")
    held = ((SUBMISSION, 1), (LLM_WAIT, 1), (own, 1))
    return Flow(FlowKey("model", ("p", name, "chat")), 1.0, held)


A, B, Z = model("a"), model("b"), model("z")
LOCALS = Flow(FlowKey("local", ("l",)), 1.0, ((SUBMISSION, 1),))
FLOWS = (A, B, Z, LOCALS)


def pool(of: Flow) -> PoolKey | None:
    return None if of is LOCALS else PoolKey("p", str(of.key.identity[1]))


class Desk:
    """A dispatcher whose models are as they are said to be."""

    def __init__(
        self, slots: int, *, advised: bool = True, policy: TaskPolicy | None = None, own: int = 8
    ) -> None:
        names = {r for flow in FLOWS for r, _ in flow.resources} - {SUBMISSION, LLM_WAIT}
        capacities = {SUBMISSION: slots, LLM_WAIT: slots, **dict.fromkeys(names, own)}
        self.admission = TaskAdmission(capacities, policy)
        for flow in FLOWS:
            self.admission.register(flow)
        self.loads: dict[PoolKey, PoolLoad] = {}
        self.asked = 0
        self.dispatcher = Dispatcher(self.admission, Advisory(self.load) if advised else None)
        self._numbers = itertools.count()

    def load(self, of: PoolKey, now: float) -> PoolLoad:
        self.asked += 1
        return self.loads.get(of, OPEN)

    def set(self, of: Flow, load: PoolLoad) -> None:
        found = pool(of)
        assert found is not None
        self.loads[found] = load

    def queue(self, of: Flow, count: int = 1) -> None:
        for _ in range(count):
            number = next(self._numbers)
            column = str(of.key.identity[-2 if of is not LOCALS else 0])
            task = Task(column, 0, number)
            ready = ReadyTask(task, f"{column}/0/{number}", of, pool(of), number)
            assert self.dispatcher.enqueue(ready)

    def turn(self, told: list[Denied] | None = None) -> list[Dispatch]:
        self.dispatcher.look_around()
        steps = [*itertools.islice(iter(lambda: self.dispatcher.next(0.0), None), 10_000)]
        if told is not None:
            told += [step for step in steps if isinstance(step, Denied)]
        return [step for step in steps if isinstance(step, Dispatch)]

    def names(self) -> list[str]:
        return [step.ready.task.column for step in self.turn()]


@pytest.mark.parametrize(
    ("load", "sent_off", "why"),
    [
        (OPEN, 0, None),
        (OPEN, 3, None),
        (OPEN, 4, PressureReason.SENT_OFF),
        (COOLING, 0, PressureReason.COOLDOWN),
        (OPEN._replace(cooling_until=math.inf), 0, PressureReason.COOLDOWN),
        (OPEN._replace(waiters=1), 0, PressureReason.WAITERS),
        (OPEN._replace(in_flight=4), 0, PressureReason.LIMIT),
        (OPEN._replace(model_in_flight=4), 0, PressureReason.AGGREGATE_CAP),
        (OPEN._replace(limit=1), 1, PressureReason.SENT_OFF),
    ],
)
def test_a_call_would_wait_for_one_of_these_reasons(
    load: PoolLoad, sent_off: int, why: PressureReason | None
) -> None:
    assert pressure(load, sent_off) is why


def test_a_model_is_closed_that_serves_us_nothing_though_we_ask() -> None:
    assert is_closed(COOLING, 0)
    assert is_closed(HELD, 0), "others hold all of it"
    assert is_closed(HELD._replace(waiters=2), 2), "and all of ours wait"
    assert not is_closed(HELD, 1), "one of ours is served"
    assert not is_closed(HELD._replace(waiters=2), 3)
    assert not is_closed(OPEN, 0)


def test_the_peer_whose_model_is_open_goes_first_and_who_was_passed_over_is_told() -> None:
    desk = Desk(1)
    desk.queue(A, 2)
    desk.queue(Z, 2)
    desk.set(A, COOLING)
    first = desk.turn()
    assert [step.ready.task.column for step in first] == ["z"]
    skipped = first[0].instead_of
    assert skipped is not None
    assert (skipped.ready.task_id, skipped.reason) == ("a/0/0", PressureReason.COOLDOWN)
    assert desk.dispatcher.passed_over == 1
    desk.dispatcher.release(first[0].lease)
    assert desk.names() == ["z"]
    assert desk.dispatcher.passed_over == 2, "once for each task that went before it"


def test_without_the_advisory_the_order_is_that_of_the_queue() -> None:
    desk = Desk(1, advised=False)
    desk.queue(A)
    desk.queue(Z)
    desk.set(A, COOLING)
    assert desk.names() == ["a"]
    assert desk.asked == 0


def test_it_never_vetoes() -> None:
    desk = Desk(3)
    desk.queue(A, 2)
    desk.queue(B)
    desk.set(A, COOLING)
    desk.set(B, HELD)
    steps = desk.turn()
    assert sorted(step.ready.task.column for step in steps) == ["a", "a", "b"]
    assert all(step.instead_of is None for step in steps), "nobody was preferred to them"


def test_tasks_that_were_sent_off_count_though_they_have_not_asked_yet() -> None:
    desk = Desk(4)
    desk.set(Z, OPEN._replace(limit=1))
    desk.set(A, OPEN._replace(limit=1))
    desk.queue(Z, 4)
    desk.queue(A, 4)
    assert desk.names()[:2] in (["z", "a"], ["a", "z"]), "one each, and not four of the first"


def test_an_open_flow_may_borrow_what_only_closed_ones_could_take() -> None:
    desk = Desk(4)
    desk.queue(A, 4)
    desk.queue(B, 4)
    desk.queue(Z, 4)
    desk.set(A, COOLING)
    desk.set(B, HELD)
    told: list[Denied] = []
    steps = desk.turn(told)
    assert [step.ready.task.column for step in steps] == ["z"] * 4
    assert steps[-1].lease.borrowed
    reasons = {denied.verdict.reason for denied in told}
    assert reasons == {DenyReason.RESOURCE_FULL}, "nobody was told to leave a slot to the closed"
    for step in steps:
        desk.dispatcher.release(step.lease)
    assert sorted(desk.names()) == ["a", "a", "b", "b"], "among the closed, shares hold"


def test_a_late_peer_that_opens_gets_the_next_released_slot() -> None:
    desk = Desk(4)
    desk.queue(Z, 8)
    desk.queue(A, 2)
    desk.set(A, COOLING)
    steps = desk.turn()
    assert {step.ready.task.column for step in steps} == {"z"}
    desk.set(A, OPEN)
    desk.dispatcher.release(steps[0].lease)
    assert desk.names() == ["a"]


def test_who_was_passed_over_is_asked_again_in_the_next_turn() -> None:
    desk = Desk(4)
    desk.queue(A)
    desk.queue(Z, 3)
    desk.set(A, COOLING)
    step = desk.dispatcher.next(0.0)
    assert isinstance(step, Dispatch)
    assert step.ready.task.column == "z"
    desk.set(A, OPEN)  # while others of the same instant are still to be asked
    assert desk.names()[0] == "a"


def test_a_local_task_is_never_under_pressure() -> None:
    desk = Desk(1)
    desk.queue(A)
    desk.queue(LOCALS)
    desk.set(A, HELD)
    step = desk.turn()[0]
    assert step.ready.pool is None
    assert step.instead_of is not None


def test_asking_changes_nothing() -> None:
    desk = Desk(2)
    desk.queue(A, 2)
    desk.queue(Z, 1)
    desk.set(A, COOLING)
    before = desk.dispatcher.explain_blocked(), desk.admission.statistics()
    assert (desk.dispatcher.explain_blocked(), desk.admission.statistics()) == before
    advice = Advisory(desk.load)
    where = PoolKey("p", "a")
    assert advice.against(where, 0, 0.0) is advice.against(where, 0, 0.0)


def test_f18_what_a_pick_costs_does_not_grow_with_the_queue() -> None:
    costs = []
    for queued in (10, 1_000):
        desk = Desk(1)
        for of in (A, B, Z):
            desk.queue(of, queued)
        desk.set(A, COOLING)
        desk.set(B, HELD)
        lease = desk.turn()[0].lease
        desk.asked = 0
        for _ in range(5):
            desk.dispatcher.release(lease)
            lease = desk.turn()[0].lease
        costs.append(desk.asked)
    assert costs[0] == costs[1]
    assert costs[0] <= 5 * 12, "a few questions a pick, of three pools"


# --- tasks that step aside


def test_f37_a_task_that_waits_leaves_its_shared_slots_and_keeps_that_of_its_model() -> None:
    desk = Desk(1, advised=False, own=2)
    desk.queue(A, 4)
    leases = []
    for _ in range(2):
        step = desk.turn()[0]
        leases.append(step.lease)
        assert desk.dispatcher.step_aside(step.lease) is True, "somebody may want them"
    assert desk.admission.free(SUBMISSION) == 1
    assert desk.turn() == [], "no more of them than may wait for this model"
    assert desk.admission.aside == 2
    desk.queue(Z)
    assert desk.names() == ["z"]
    assert not desk.dispatcher.come_back(leases[0]), "the only slot is taken"


def test_who_comes_back_goes_before_all_that_queue() -> None:
    desk = Desk(1, advised=False)
    desk.queue(A)
    waiting = desk.turn()[0].lease
    desk.dispatcher.step_aside(waiting)
    desk.queue(Z, 3)
    other = desk.turn()[0].lease
    assert not desk.dispatcher.come_back(waiting)
    desk.dispatcher.release(other)
    assert desk.dispatcher.returned() == [waiting]
    assert desk.dispatcher.returned() == []
    assert desk.turn() == []
    desk.dispatcher.release(waiting)
    assert desk.names() == ["z"]


def test_stepping_aside_twice_gives_back_once() -> None:
    desk = Desk(2, advised=False)
    desk.queue(A)
    lease = desk.turn()[0].lease
    assert desk.dispatcher.step_aside(lease) is False, "nobody waits for it"
    assert desk.dispatcher.step_aside(lease) is None
    assert desk.admission.free(SUBMISSION) == 2
    assert desk.dispatcher.release(lease) is ReleaseStatus.RELEASED
    assert desk.admission.free(SUBMISSION) == 2
    assert desk.dispatcher.step_aside(lease) is None
    assert desk.dispatcher.release(lease) is ReleaseStatus.DUPLICATE


POLICIES: tuple[Callable[[], TaskPolicy], ...] = (
    StrictFair,
    BoundedBorrow,
    lambda: BoundedBorrow(repayment="per_lease"),
)


class Pressed(RuleBasedStateMachine):
    """Models that open and close under tasks that come, wait, go on and end."""

    policy: Callable[[], TaskPolicy] = StrictFair

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(4, policy=type(self).policy(), own=3)
        self.queued: dict[str, Flow] = {}
        self.held: dict[int, Lease] = {}
        self.aside: dict[int, Lease] = {}
        self.coming: dict[int, Lease] = {}

    @rule(which=st.integers(0, 3), count=st.integers(1, 3))
    def enqueue(self, which: int, count: int) -> None:
        self.desk.queue(FLOWS[which], count)

    @rule(which=st.integers(0, 2), load=st.sampled_from([OPEN, COOLING, HELD]))
    def change(self, which: int, load: PoolLoad) -> None:
        self.desk.set(FLOWS[which], load)

    @rule()
    def turn(self) -> None:
        for lease in self.desk.dispatcher.returned():
            self.held[lease.lease_id] = self.coming.pop(lease.lease_id)
        for step in self.desk.turn():
            self.held[step.lease.lease_id] = step.lease
            if step.instead_of is not None:
                skipped = step.instead_of.ready
                assert skipped.pool is not None
                assert self.desk.load(skipped.pool, 0.0) is not OPEN or self.is_full(skipped.pool)
        block = self.desk.dispatcher.explain_blocked()
        for flow in FLOWS:
            free = all(self.desk.admission.free(r) >= n for r, n in flow.resources)
            assert not (free and self.desk.dispatcher.queued(flow.key)), "no slot stays free"
        assert not block.askable

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def wait(self, data: st.DataObject) -> None:
        lease = self.held.pop(data.draw(st.sampled_from(sorted(self.held))))
        assert self.desk.dispatcher.step_aside(lease) is not None
        self.aside[lease.lease_id] = lease

    @precondition(lambda self: self.aside)
    @rule(data=st.data())
    def come_back(self, data: st.DataObject) -> None:
        lease = self.aside.pop(data.draw(st.sampled_from(sorted(self.aside))))
        back = self.desk.dispatcher.come_back(lease)
        (self.held if back else self.coming)[lease.lease_id] = lease

    @precondition(lambda self: self.held or self.aside or self.coming)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        live = self.held | self.aside | self.coming
        lease = live[data.draw(st.sampled_from(sorted(live)))]
        for where in (self.held, self.aside, self.coming):
            where.pop(lease.lease_id, None)
        assert self.desk.dispatcher.release(lease) is ReleaseStatus.RELEASED
        assert self.desk.dispatcher.release(lease) is ReleaseStatus.DUPLICATE

    @invariant()
    def books_are_exact(self) -> None:
        admission = self.desk.admission
        away = [*self.aside.values(), *self.coming.values()]
        assert admission.aside == len(away)
        for resource, capacity in admission.capacities.items():
            taken = sum(dict(lease.resources).get(resource, 0) for lease in self.held.values())
            if resource not in (SUBMISSION, LLM_WAIT):
                taken += sum(dict(lease.resources).get(resource, 0) for lease in away)
            assert admission.free(resource) == capacity - taken
        for flow in FLOWS:
            for resource, _ in flow.resources:
                held = admission.held(flow.key, resource)
                assert 0 <= admission.debt(flow.key, resource) <= held

    @invariant()
    def tasks_of_a_pool_are_counted(self) -> None:
        live = [*self.held.values(), *self.aside.values(), *self.coming.values()]
        for flow in (A, B, Z):
            where = pool(flow)
            assert where is not None
            assert self.desk.dispatcher.sent_off(where) == sum(
                lease.flow == flow.key for lease in live
            )

    def is_full(self, where: PoolKey) -> bool:
        return self.desk.dispatcher.sent_off(where) >= OPEN.limit

    def teardown(self) -> None:
        for lease in (self.held | self.aside | self.coming).values():
            self.desk.dispatcher.release(lease)
        found = self.desk.admission.statistics()
        assert (found.leases, found.aside, found.debt) == (0, 0, {})
        assert not any(found.leased.values())


class PressedAndBorrowing(Pressed):
    policy = BoundedBorrow


class PressedAndStrict(Pressed):
    policy = POLICIES[2]


TestPressed = Pressed.TestCase
TestPressedAndBorrowing = PressedAndBorrowing.TestCase
TestPressedAndStrict = PressedAndStrict.TestCase


@given(
    weights=st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0]), min_size=2, max_size=4),
    releases=st.lists(st.integers(0, 5), min_size=20, max_size=60),
)
def test_fairness_holds_among_flows_whose_models_are_open(
    weights: list[float], releases: list[int]
) -> None:
    """While two flows are eligible: |n_i/w_i - n_j/w_j| <= 1/w_i + 1/w_j in selections."""
    flows = [
        Flow(FlowKey("local", (f"f{i}",)), weight, ((SUBMISSION, 1),))
        for i, weight in enumerate(weights)
    ]
    closed = model("closed")
    own = ResourceKey("model:closed")
    # One slot: nobody is ever above its share, so all are eligible all the time.
    admission = TaskAdmission({SUBMISSION: 1, LLM_WAIT: 1, own: 1})
    for flow in (*flows, closed):
        admission.register(flow)
    dispatcher = Dispatcher(admission, Advisory(lambda where, now: COOLING))
    for number in range(200):
        for flow in flows:
            name = str(flow.key.identity[0])
            dispatcher.enqueue(ReadyTask(Task(name, 0, number), f"{name}/{number}", flow, None, 0))
    task = ReadyTask(Task("c", 0, 0), "c/0", closed, PoolKey("p", "closed"), 0)
    dispatcher.enqueue(task)
    counts = dict.fromkeys((flow.key for flow in flows), 0)
    held: list[Lease] = []
    for release in releases:
        if held:
            dispatcher.release(held.pop(release % len(held)))
        while isinstance(step := dispatcher.next(0.0), Dispatch | Denied):
            if isinstance(step, Dispatch):
                held.append(step.lease)
                assert step.ready is not task, "somebody else was open all the time"
                counts[step.ready.flow.key] += 1
        for one, other in itertools.combinations(flows, 2):
            w, v = Fraction(one.weight), Fraction(other.weight)
            lag = abs(counts[one.key] / w - counts[other.key] / v)
            assert lag <= 1 / w + 1 / v + Fraction(1, 10**9)


def test_a_denial_is_told_as_ever() -> None:
    desk = Desk(1)
    desk.queue(Z, 2)
    desk.dispatcher.next(0.0)
    step = desk.dispatcher.next(0.0)
    assert isinstance(step, Denied)
    assert step.verdict.reason is DenyReason.RESOURCE_FULL
