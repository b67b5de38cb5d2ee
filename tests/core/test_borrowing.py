"""Borrowing above a share: debt, who repays it, ceilings, and that no slot idles for it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ddsched_nb.core.dispatch import Denied, Dispatch, Dispatcher
from ddsched_nb.core.model import (
    LLM_WAIT,
    SUBMISSION,
    Admit,
    Deny,
    DenyReason,
    Flow,
    FlowKey,
    Lease,
    ReadyTask,
    ResourceKey,
    Task,
)
from ddsched_nb.core.task_admission import TaskAdmission
from ddsched_nb.core.task_policies import BoundedBorrow, StrictFair, TaskPolicy
from ddsched_nb.errors import ConfigError

Make = Callable[[], TaskPolicy]
REPAYMENTS = ("per_flow", "per_lease")
WITHOUT_CEILING: dict[str, Make] = {
    "strict_fair": StrictFair,
    "per_flow": BoundedBorrow,
    "per_lease": lambda: BoundedBorrow(repayment="per_lease"),
}
MAKES = WITHOUT_CEILING | {
    "ceiling": lambda: BoundedBorrow(ceiling=1),
    "no_borrowing": lambda: BoundedBorrow(ceiling=0, repayment="per_lease"),
}


def flow(name: str, *resources: ResourceKey, weight: float = 1.0) -> Flow:
    held = tuple((resource, 1) for resource in (SUBMISSION, *resources))
    return Flow(FlowKey("local", (name,)), weight, held)


def ready(of: Flow, number: int) -> ReadyTask:
    task = Task(str(of.key.identity[0]), 0, number)
    return ReadyTask(task, f"{task.column}/0/{number}", of, None, number)


class Desk:
    """A dispatcher with what it holds, driven by hand."""

    def __init__(
        self, flows: Iterable[Flow], policy: TaskPolicy, capacities: dict[ResourceKey, int]
    ) -> None:
        self.admission = TaskAdmission(capacities, policy)
        self.dispatcher = Dispatcher(self.admission)
        self.numbers = itertools.count()
        for each in flows:
            self.admission.register(each)

    def queue(self, of: Flow, count: int) -> None:
        for _ in range(count):
            assert self.dispatcher.enqueue(ready(of, next(self.numbers)))

    def turn(self) -> list[Dispatch | Denied]:
        steps = list(itertools.islice(iter(lambda: self.dispatcher.next(0.0), None), 10_000))
        assert len(steps) < 10_000, "dispatching comes to an end"
        return steps

    def fill(self) -> list[Lease]:
        return [step.lease for step in self.turn() if isinstance(step, Dispatch)]

    def release(self, lease: Lease) -> None:
        self.dispatcher.release(lease)

    def debt(self, of: Flow) -> int:
        return self.admission.statistics().debt.get(of.key, {}).get(SUBMISSION, 0)

    def held(self, of: Flow) -> int:
        return self.admission.held(of.key, SUBMISSION)


def pair(policy: TaskPolicy, capacity: int = 4) -> tuple[Desk, Flow, Flow]:
    a, b = flow("a"), flow("b")
    return Desk((a, b), policy, {SUBMISSION: capacity}), a, b


def borrowed(policy: TaskPolicy) -> tuple[Desk, Flow, Flow, list[Lease]]:
    """A flow alone holds all four slots, two of them borrowed; then a peer comes."""
    desk, a, b = pair(policy)
    desk.queue(a, 20)
    leases = desk.fill()
    desk.queue(b, 20)
    assert [bool(lease.borrowed) for lease in leases] == [False, False, True, True]
    return desk, a, b, leases


@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)
def test_f10_debt_is_what_is_held_above_the_share(make: Make) -> None:
    desk, a, _ = pair(make())
    desk.queue(a, 4)
    desk.fill()
    assert desk.debt(a) == max(0, desk.held(a) - 2)


def test_f10_debt_is_marginal() -> None:
    """A task of three units with one above the share borrows one, not three."""
    bulky = Flow(FlowKey("local", ("bulky",)), 1.0, ((SUBMISSION, 3),))
    desk = Desk((bulky, flow("b")), BoundedBorrow(), {SUBMISSION: 9})
    desk.queue(bulky, 3)
    assert desk.admission.share(bulky.key, SUBMISSION) == 5
    first, second, third = desk.fill()
    assert (first.borrowed, second.borrowed) == ((), ((SUBMISSION, 1),))
    assert third.borrowed == ((SUBMISSION, 3),)
    assert desk.debt(bulky) == 4


@pytest.mark.parametrize("make", WITHOUT_CEILING.values(), ids=WITHOUT_CEILING)
def test_f11_no_slot_is_reserved_for_who_does_not_come(make: Make) -> None:
    desk, a, _ = pair(make(), capacity=8)
    desk.queue(a, 20)
    assert len(desk.fill()) == 8


@pytest.mark.parametrize("make", WITHOUT_CEILING.values(), ids=WITHOUT_CEILING)
def test_f11_a_late_peer_gets_the_next_released_slot(make: Make) -> None:
    for which in range(4):
        desk, _, b, leases = borrowed(make())
        desk.release(leases[which])
        assert [lease.flow for lease in desk.fill()] == [b.key]


def test_f12_r08_per_flow_any_lease_repays() -> None:
    """Borrowed twice; the lease that ends did not borrow, and the debt is less all the same."""
    desk, a, _, leases = borrowed(BoundedBorrow())
    assert desk.debt(a) == 2
    desk.release(leases[0])
    assert (desk.held(a), desk.debt(a)) == (3, 1)
    desk.release(leases[1])
    assert (desk.held(a), desk.debt(a)) == (2, 0)
    desk.release(leases[2])
    assert (desk.held(a), desk.debt(a)) == (1, 0), "it borrowed, but others have paid"


def test_f12_r08_per_lease_only_the_one_that_borrowed_repays() -> None:
    desk, a, _, leases = borrowed(BoundedBorrow(repayment="per_lease"))
    desk.release(leases[0])
    desk.release(leases[1])
    assert (desk.held(a), desk.debt(a)) == (2, 2)
    desk.release(leases[2])
    assert (desk.held(a), desk.debt(a)) == (1, 1)
    desk.release(leases[3])
    assert (desk.held(a), desk.debt(a)) == (0, 0)


def test_r08_the_two_ways_give_the_first_freed_slots_to_different_flows() -> None:
    """Below its share again, a flow takes its turn; in debt, it yields until b has its share."""
    taken = {}
    for repayment in ("per_flow", "per_lease"):
        desk, _, _, leases = borrowed(BoundedBorrow(repayment=repayment))  # type: ignore[arg-type]
        for lease in leases[:3]:
            desk.release(lease)
        taken[repayment] = [str(lease.flow.identity[0]) for lease in desk.fill()]
    assert taken == {"per_flow": ["a", "b", "b"], "per_lease": ["b", "b", "a"]}


def test_f12_a_flow_in_debt_takes_what_nobody_else_can_use() -> None:
    desk, a, _, leases = borrowed(BoundedBorrow(repayment="per_lease"))
    for lease in leases[:3]:
        desk.release(lease)
    for task in range(20, 40):
        desk.dispatcher.discard(f"b/0/{task}")
    assert [lease.flow for lease in desk.fill()] == [a.key] * 3


def test_a_denial_says_whether_it_is_the_debt_the_share_or_the_ceiling() -> None:
    policy = BoundedBorrow(ceiling=1)
    a = flow("a")
    task, shares = ready(a, 1), {SUBMISSION: 2}

    def verdict(held: int, debt: int, *, contended: bool) -> Admit | Deny:
        owed = {SUBMISSION: debt} if debt else {}
        return policy.decide(task, {SUBMISSION: held}, owed, shares, contended)

    assert verdict(1, 0, contended=True) == Admit()
    assert verdict(1, 1, contended=True) == Deny(DenyReason.IN_DEBT, SUBMISSION)
    assert verdict(2, 0, contended=True) == Deny(DenyReason.OVER_SHARE, SUBMISSION)
    assert verdict(2, 0, contended=False) == Admit(((SUBMISSION, 1),))
    for contended in (True, False):
        assert verdict(3, 1, contended=contended) == Deny(DenyReason.AT_CEILING, SUBMISSION)


def test_a_ceiling_bounds_what_is_borrowed_and_the_next_release_opens_it() -> None:
    desk, a, _ = pair(BoundedBorrow(ceiling=1), capacity=8)
    desk.queue(a, 20)
    leases = desk.fill()
    assert (len(leases), desk.debt(a)) == (5, 1)
    assert desk.fill() == []
    desk.release(leases[0])
    assert len(desk.fill()) == 1


def test_a_ceiling_of_one_flow_goes_before_that_of_all() -> None:
    desk, a, b = pair(BoundedBorrow(ceiling=0, ceilings={("local/a", SUBMISSION): 3}), capacity=8)
    desk.queue(a, 20)
    assert len(desk.fill()) == 7
    desk.queue(b, 20)
    assert len(desk.fill()) == 1


def test_a_flow_at_its_ceiling_is_nobody_to_yield_to() -> None:
    desk, a, b = pair(BoundedBorrow(ceilings={("local/a", SUBMISSION): 0}), capacity=8)
    desk.queue(a, 20)
    assert len(desk.fill()) == 4
    desk.queue(b, 20)
    assert len(desk.fill()) == 4
    assert desk.debt(b) == 0
    desk, a, b = pair(BoundedBorrow(ceilings={("local/a", SUBMISSION): 0}), capacity=8)
    c = flow("c")
    desk.admission.register(c)
    desk.queue(a, 20)
    desk.queue(b, 20)
    assert len(desk.fill()) == 8
    assert (desk.held(a), desk.held(b)) == (3, 5), "what c does not want goes to b alone"


def test_f22_one_task_may_run_whatever_the_ceiling() -> None:
    bulky = Flow(FlowKey("local", ("bulky",)), 1.0, ((SUBMISSION, 4),))
    desk = Desk((bulky, flow("b")), BoundedBorrow(ceiling=0), {SUBMISSION: 4})
    desk.queue(bulky, 2)
    assert len(desk.fill()) == 1


def test_what_cannot_be_a_ceiling_or_a_repayment_is_refused() -> None:
    with pytest.raises(ConfigError, match="a ceiling is -1; give 0 or more"):
        BoundedBorrow(ceiling=-1)
    with pytest.raises(ConfigError, match="a ceiling is -2"):
        BoundedBorrow(ceilings={("local/a", SUBMISSION): -2})
    with pytest.raises(ConfigError, match="repayment is 'later'; give one of per_flow, per_lease"):
        BoundedBorrow(repayment="later")  # type: ignore[arg-type]


FLOWS = (flow("a", LLM_WAIT), flow("b", LLM_WAIT, weight=2.0), flow("c"), flow("d"))
CAPACITIES = {SUBMISSION: 6, LLM_WAIT: 4}


class Borrowing(RuleBasedStateMachine):
    """Flows that borrow and repay under every policy; everything is checked after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.leases: dict[int, Lease] = {}
        self.queued: dict[str, ReadyTask] = {}

    @initialize(make=st.sampled_from(sorted(MAKES)))
    def start(self, make: str) -> None:
        self.make = make
        self.desk = Desk(FLOWS, MAKES[make](), CAPACITIES)

    @rule(which=st.integers(0, 3), count=st.integers(1, 5))
    def enqueue(self, which: int, count: int) -> None:
        for _ in range(count):
            task = ready(FLOWS[which], next(self.desk.numbers))
            self.desk.dispatcher.enqueue(task)
            self.queued[task.task_id] = task

    @rule()
    def fill(self) -> None:
        for step in self.desk.turn():
            if isinstance(step, Dispatch):
                self.leases[step.lease.lease_id] = step.lease
                del self.queued[step.ready.task_id]
        for task in self.queued.values():
            roomy = all(self.desk.admission.free(r) for r, _ in task.flow.resources)
            assert not roomy or self.at_ceiling(task), "a slot is free that a queued task could use"
        assert self.desk.dispatcher.explain_blocked().askable is False
        assert self.desk.dispatcher.next(0.0) is None

    def at_ceiling(self, task: ReadyTask) -> bool:
        admission, key = self.desk.admission, task.flow.key
        return self.make not in WITHOUT_CEILING and any(
            admission.held(key, r) >= admission.share(key, r) for r, _ in task.flow.resources
        )

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        self.desk.release(self.leases.pop(data.draw(st.sampled_from(sorted(self.leases)))))

    @precondition(lambda self: self.queued)
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        task_id = data.draw(st.sampled_from(sorted(self.queued)))
        assert self.desk.dispatcher.discard(task_id)
        del self.queued[task_id]

    @invariant()
    def debt_is_no_more_than_what_is_held(self) -> None:
        if not hasattr(self, "desk"):
            return
        admission = self.desk.admission
        statistics = admission.statistics()
        assert statistics == admission.statistics(), "asking changes nothing"
        for each, (resource, capacity) in itertools.product(FLOWS, CAPACITIES.items()):
            mine = [lease for lease in self.leases.values() if lease.flow == each.key]
            held = sum(dict(lease.resources).get(resource, 0) for lease in mine)
            lent = sum(dict(lease.borrowed).get(resource, 0) for lease in mine)
            debt = statistics.debt.get(each.key, {}).get(resource, 0)
            assert statistics.by_flow[each.key].get(resource, 0) == held
            assert 0 <= debt <= held <= capacity
            if "per_lease" in self.make or self.make == "no_borrowing":
                assert debt == lent
            elif resource in dict(each.resources):
                assert debt == max(0, held - admission.share(each.key, resource))
            if self.make == "ceiling":
                assert debt <= 1
            if self.make == "no_borrowing":
                assert debt == 0

    @invariant()
    def an_explanation_adds_up(self) -> None:
        if not hasattr(self, "desk"):
            return
        told = self.desk.dispatcher.explain_blocked()
        assert told == self.desk.dispatcher.explain_blocked(), "asking changes nothing"
        assert told.queued == len(self.queued)
        waiting = [w for obstacle in told.obstacles for w in obstacle.waiting]
        assert len({w.flow for w in waiting}) == len(waiting), "a flow waits for one thing"
        assert sum(w.queued for w in waiting) <= told.queued
        assert told.askable or sum(w.queued for w in waiting) == told.queued


Borrowing.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestBorrowing = Borrowing.TestCase


class Step(NamedTuple):
    """One step of a dispatcher, as fairness sees it: who was served, and who has to yield."""

    served: FlowKey | None
    yielding: frozenset[FlowKey]


def yielding(desk: Desk) -> frozenset[FlowKey]:
    """The flows that wait only because others could run."""
    obstacles = desk.dispatcher.explain_blocked().obstacles
    only_now = [o for o in obstacles if o.reason in (DenyReason.OVER_SHARE, DenyReason.IN_DEBT)]
    return frozenset(w.flow for o in only_now for w in o.waiting)


def steps_of(desk: Desk, order: Iterable[int]) -> Iterator[Step]:
    """Serves a desk for a while, one release at a time."""
    leases: list[Lease] = []
    for position in order:
        while True:
            before = yielding(desk)
            step = desk.dispatcher.next(0.0)
            if step is None:
                break
            lease = step.lease if isinstance(step, Dispatch) else None
            leases += [lease] if lease else []
            yield Step(lease.flow if lease else None, before | yielding(desk))
        desk.release(leases.pop(position % len(leases)))


@pytest.mark.parametrize("make", WITHOUT_CEILING.values(), ids=WITHOUT_CEILING)
@settings(max_examples=60, deadline=None)
@given(
    weights=st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0]), min_size=2, max_size=4),
    capacity=st.integers(1, 12),
    order=st.lists(st.integers(0, 50), min_size=20, max_size=80),
)
def test_selections_are_fair_while_two_flows_are_eligible(
    make: Make, weights: list[float], capacity: int, order: list[int]
) -> None:
    """In every stretch in which neither of the two has to yield, for its share or its debt."""
    flows = [flow(str(n), weight=weight) for n, weight in enumerate(weights)]
    desk = Desk(flows, make(), {SUBMISSION: capacity})
    for each in flows:
        desk.queue(each, 200)
    steps = list(steps_of(desk, order))
    for one, other in itertools.combinations(flows, 2):
        worth = {one.key: 1 / one.weight, other.key: -1 / other.weight}
        lead = most = least = 0.0
        for step in steps:
            if step.yielding & worth.keys():
                lead = most = least = 0.0
            elif step.served in worth:
                lead += worth[step.served]
                most, least = max(most, lead), min(least, lead)
            assert most - least <= 1 / one.weight + 1 / other.weight + 1e-9


@given(held=st.integers(0, 12), share=st.integers(1, 12), contended=st.booleans())
def test_per_flow_without_ceilings_says_yes_where_strict_fair_does(
    held: int, share: int, contended: bool
) -> None:
    task, holds, shares = ready(flow("a"), 1), {SUBMISSION: held}, {SUBMISSION: share}
    owed = {SUBMISSION: held - share} if held > share else {}
    strict, bounded = (
        policy.decide(task, holds, owed, shares, contended)
        for policy in (StrictFair(), BoundedBorrow())
    )
    assert bounded == strict or (isinstance(strict, Deny) and isinstance(bounded, Deny))


@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)
@pytest.mark.parametrize("flows", [4, 64, 512])
def test_f18_a_release_asks_the_flow_that_ended_and_two_more(
    make: Make, flows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many flows wait, and also where one has borrowed most of the slots."""
    declared = [flow(str(n)) for n in range(flows)]
    desk = Desk(declared, make(), {SUBMISSION: 16})
    desk.queue(declared[0], 400)
    leases = desk.fill()
    for each in declared[1:]:
        desk.queue(each, 40)
    desk.turn()
    asked = 0
    real = desk.admission.decide

    def decide(task: ReadyTask, *, contended: bool) -> Admit | Deny:
        nonlocal asked
        asked += 1
        return real(task, contended=contended)

    monkeypatch.setattr(desk.admission, "decide", decide)
    for _ in range(200):
        desk.release(leases.pop(0))
        leases += desk.fill()
    assert asked <= 3 * 200
