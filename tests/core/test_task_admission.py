"""Task admission and the dispatcher: exact leases, shares, work conservation, what a pick costs."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ddsched_nb.core import fair_queue
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
    ReleaseStatus,
    ResourceKey,
    Task,
)
from ddsched_nb.core.task_admission import TaskAdmission
from ddsched_nb.core.task_policies import POLICIES, StrictFair, TaskPolicy
from ddsched_nb.errors import ConfigError

EXTRA = ResourceKey("extra")


def flow(name: str, *resources: ResourceKey, weight: float = 1.0) -> Flow:
    held = tuple((resource, 1) for resource in (SUBMISSION, *resources))
    return Flow(FlowKey("local", (name,)), weight, held)


def ready(of: Flow, number: int) -> ReadyTask:
    task = Task(str(of.key.identity[0]), 0, number)
    return ReadyTask(task, f"{task.column}/0/{number}", of, None, number)


FLOWS = (flow("a", LLM_WAIT), flow("b", LLM_WAIT, weight=2.0), flow("c"), flow("d", EXTRA))
CAPACITIES = {SUBMISSION: 5, LLM_WAIT: 3, EXTRA: 1}


class Dispatching(RuleBasedStateMachine):
    """Flows with different needs over small capacities; everything is checked after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.admission = TaskAdmission(CAPACITIES)
        for each in FLOWS:
            self.admission.register(each)
        self.dispatcher = Dispatcher(self.admission)
        self.queued: dict[str, ReadyTask] = {}
        self.held: dict[int, Lease] = {}
        self.returned: list[Lease] = []
        self.count = 0

    @rule(which=st.integers(0, 3))
    def enqueue(self, which: int) -> None:
        self.count += 1
        task = ready(FLOWS[which], self.count)
        assert self.dispatcher.enqueue(task)
        assert not self.dispatcher.enqueue(task), "queued once"
        self.queued[task.task_id] = task

    @rule()
    def dispatch_all(self) -> None:
        for _ in range(10_000):
            step = self.dispatcher.next(0.0)
            if step is None:
                break
            if isinstance(step, Dispatch):
                del self.queued[step.ready.task_id]
                self.held[step.lease.lease_id] = step.lease
        else:
            raise AssertionError("dispatching does not come to an end")
        for task in self.queued.values():
            missing = [r for r, amount in task.flow.resources if self.free(r) < amount]
            assert missing, "a slot is free that a queued task could use"
        assert self.dispatcher.next(0.0) is None

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        lease = self.held.pop(data.draw(st.sampled_from(sorted(self.held))))
        assert self.dispatcher.release(lease) is ReleaseStatus.RELEASED
        self.returned.append(lease)

    @precondition(lambda self: self.queued)
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        task_id = data.draw(st.sampled_from(sorted(self.queued)))
        del self.queued[task_id]
        assert self.dispatcher.discard(task_id)
        assert not self.dispatcher.discard(task_id)

    @precondition(lambda self: self.returned)
    @rule(data=st.data())
    def release_twice(self, data: st.DataObject) -> None:
        self.credits_nothing(data.draw(st.sampled_from(self.returned)), ReleaseStatus.DUPLICATE)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release_something_else(self, data: st.DataObject) -> None:
        live = self.held[data.draw(st.sampled_from(sorted(self.held)))]
        self.credits_nothing(live._replace(resources=()), ReleaseStatus.STALE)
        self.credits_nothing(live._replace(lease_id=10**9), ReleaseStatus.UNKNOWN)
        self.credits_nothing(live._replace(issuer=-1), ReleaseStatus.FOREIGN)

    def credits_nothing(self, lease: Lease, expected: ReleaseStatus) -> None:
        before = self.admission.statistics()
        assert self.dispatcher.release(lease) is expected
        assert self.admission.statistics() == before

    def free(self, resource: ResourceKey) -> int:
        return self.admission.free(resource)

    @invariant()
    def nothing_appears_or_vanishes(self) -> None:
        statistics = self.admission.statistics()
        assert statistics == self.admission.statistics(), "asking changes nothing"
        assert statistics.leases == len(self.held)
        for resource, capacity in CAPACITIES.items():
            leased = sum(dict(lease.resources).get(resource, 0) for lease in self.held.values())
            assert leased == statistics.leased[resource] == capacity - self.free(resource)
            assert 0 <= leased <= capacity
        assert len(self.dispatcher) == len(self.queued)


Dispatching.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestDispatching = Dispatching.TestCase


def fill(dispatcher: Dispatcher) -> list[Dispatch]:
    steps = []
    while (step := dispatcher.next(0.0)) is not None:
        if isinstance(step, Dispatch):
            steps.append(step)
    return steps


def served(dispatches: list[Dispatch]) -> dict[str, int]:
    names = [str(d.lease.flow.identity[0]) for d in dispatches]
    return {name: names.count(name) for name in sorted(set(names))}


def test_shares_leave_no_slot_over() -> None:
    admission = TaskAdmission({SUBMISSION: 10})
    flows = [flow(name, weight=weight) for name, weight in (("a", 1), ("b", 1), ("c", 1))]
    for each in flows:
        admission.register(each)
    assert [admission.shares(each.key)[SUBMISSION] for each in flows] == [4, 4, 4]


@given(
    capacity=st.integers(1, 64),
    weights=st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.7, 1.0, 3.0]), min_size=1, max_size=8),
)
def test_f10_shares_give_every_slot_to_somebody(capacity: int, weights: list[float]) -> None:
    admission = TaskAdmission({SUBMISSION: capacity})
    flows = [flow(str(n), weight=weight) for n, weight in enumerate(weights)]
    for each in flows:
        admission.register(each)
    shares = [admission.shares(each.key)[SUBMISSION] for each in flows]
    assert sum(shares) >= capacity
    for share, weight in zip(shares, weights, strict=True):
        exact = capacity * Fraction(str(weight)) / sum(Fraction(str(w)) for w in weights)
        assert share == max(1, math.ceil(exact)), "rounded up, and only up from a fraction"


def test_f11_who_alone_can_run_is_not_denied_for_its_share() -> None:
    """Neither with nobody else queued, nor while the others wait for what is full."""
    a, b = flow("a"), flow("b", LLM_WAIT)
    admission = TaskAdmission({SUBMISSION: 8, LLM_WAIT: 1})
    admission.register(a)
    admission.register(b)
    dispatcher = Dispatcher(admission)
    for number in range(4):
        dispatcher.enqueue(ready(b, number))
    assert isinstance(dispatcher.next(0.0), Dispatch)
    assert isinstance(dispatcher.next(0.0), Denied)
    for number in range(7):
        dispatcher.enqueue(ready(a, number))
    assert all(isinstance(dispatcher.next(0.0), Dispatch) for _ in range(7))


def test_weights_hold_for_a_scarce_resource_while_others_run() -> None:
    heavy, light = flow("heavy", LLM_WAIT, weight=3.0), flow("light", LLM_WAIT)
    free = flow("free")
    admission = TaskAdmission({SUBMISSION: 8, LLM_WAIT: 1})
    for each in (heavy, light, free):
        admission.register(each)
    dispatcher = Dispatcher(admission)
    for number in range(400):
        for each in (heavy, light, free):
            dispatcher.enqueue(ready(each, number))
    total: dict[str, int] = {}
    slow: list[Dispatch] = []
    for turn in range(160):
        steps = fill(dispatcher)
        for name, count in served(steps).items():
            total[name] = total.get(name, 0) + count
        slow += [step for step in steps if step.lease.flow != free.key]
        for step in steps:
            if step.lease.flow == free.key:
                dispatcher.release(step.lease)
        if turn % 4 == 3:
            dispatcher.release(slow.pop().lease)
    assert (total["heavy"], total["light"]) == (30, 10)


def test_a_flow_stays_within_its_share_while_another_could_run() -> None:
    a, b = flow("a"), flow("b")
    admission = TaskAdmission({SUBMISSION: 4})
    admission.register(a)
    admission.register(b)
    dispatcher = Dispatcher(admission)
    for number in range(10):
        dispatcher.enqueue(ready(a, number))
    assert served(fill(dispatcher)) == {"a": 4}, "alone, it may have all"
    for number in range(10):
        dispatcher.enqueue(ready(b, number))
    held = admission.statistics().by_flow[a.key][SUBMISSION]
    assert held == 4


def test_a_late_peer_gets_the_next_released_slots_up_to_its_share() -> None:
    a, b = flow("a"), flow("b")
    admission = TaskAdmission({SUBMISSION: 4})
    admission.register(a)
    admission.register(b)
    dispatcher = Dispatcher(admission)
    for number in range(20):
        dispatcher.enqueue(ready(a, number))
    held = fill(dispatcher)
    for number in range(20):
        dispatcher.enqueue(ready(b, number))
    for _ in range(2):
        dispatcher.release(held.pop(0).lease)
        assert served(fill(dispatcher)) == {"b": 1}
    dispatcher.release(held.pop(0).lease)
    (step,) = fill(dispatcher)
    assert step.lease.flow == a.key, "b has its half; a is below its share again"


def test_what_is_above_the_share_is_marked_as_borrowed() -> None:
    a, b = flow("a"), flow("b")
    admission = TaskAdmission({SUBMISSION: 4})
    admission.register(a)
    admission.register(b)
    dispatcher = Dispatcher(admission)
    for number in range(4):
        dispatcher.enqueue(ready(a, number))
    assert [bool(step.lease.borrowed) for step in fill(dispatcher)] == [False, False, True, True]


def test_f22_with_nothing_in_flight_something_is_admitted() -> None:
    for which in FLOWS:
        admission = TaskAdmission(CAPACITIES)
        for each in FLOWS:
            admission.register(each)
        dispatcher = Dispatcher(admission)
        dispatcher.enqueue(ready(which, 1))
        assert isinstance(dispatcher.next(0.0), Dispatch)


def test_f18_a_blocked_flow_is_not_asked_again() -> None:
    """Of 256 flows that wait for one slot, a release asks two: the next, and the one after it."""
    asked = 0

    class Counting(StrictFair):
        pass

    flows = [flow(str(n)) for n in range(256)]
    admission = TaskAdmission({SUBMISSION: 4}, Counting())
    for each in flows:
        admission.register(each)
    dispatcher = Dispatcher(admission)
    real = admission.decide

    def decide(task: ReadyTask, *, contended: bool) -> Admit | Deny:
        nonlocal asked
        asked += 1
        return real(task, contended=contended)

    admission.decide = decide  # type: ignore[method-assign]
    for number in range(1024):
        dispatcher.enqueue(ready(flows[number % 256], number))
    held = fill(dispatcher)
    asked = 0
    for _ in range(100):
        dispatcher.release(held.pop(0).lease)
        held += fill(dispatcher)
    assert asked <= 3 * 100
    asked = 0
    assert dispatcher.next(0.0) is None
    assert asked == 0


def heap_operations_per_release(monkeypatch: pytest.MonkeyPatch, flows: int, queued: int) -> float:
    """Every flow waits for one full resource; each release lets one more task start."""
    admission = TaskAdmission({SUBMISSION: 2 * flows, LLM_WAIT: flows})
    declared = [flow(str(n), LLM_WAIT) for n in range(flows)]
    for each in declared:
        admission.register(each)
    dispatcher = Dispatcher(admission)
    for number in range(queued):
        dispatcher.enqueue(ready(declared[number % flows], number))
    held = fill(dispatcher)
    operations = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*arguments: Any) -> Any:
            nonlocal operations
            operations += 1
            return real(*arguments)

        return operation

    with monkeypatch.context() as patch:
        for name in ("heappush", "heappop", "heapify"):
            patch.setattr(fair_queue, name, counted(getattr(heapq, name)))
        for n in range(100):
            dispatcher.release(held[n % flows].lease)
            (held[n % flows],) = fill(dispatcher)
    return operations / 100


def test_f17_f18_a_release_costs_the_same_with_any_number_of_flows_and_tasks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for flows in (1, 64, 512):
        few, many = (heap_operations_per_release(monkeypatch, flows, n) for n in (1_200, 12_000))
        assert few == many <= 4


def test_a_denial_says_what_decided() -> None:
    a = flow("a", LLM_WAIT)
    admission = TaskAdmission({SUBMISSION: 4, LLM_WAIT: 1})
    admission.register(a)
    dispatcher = Dispatcher(admission)
    dispatcher.enqueue(ready(a, 1))
    dispatcher.enqueue(ready(a, 2))
    assert isinstance(dispatcher.next(0.0), Dispatch)
    step = dispatcher.next(0.0)
    assert isinstance(step, Denied)
    assert step.verdict == Deny(DenyReason.RESOURCE_FULL, LLM_WAIT)
    assert dispatcher.blocked() == {(DenyReason.RESOURCE_FULL, LLM_WAIT): 1}


def test_a_flow_that_can_never_run_is_refused_when_it_is_declared() -> None:
    admission = TaskAdmission({SUBMISSION: 1})
    with pytest.raises(ConfigError, match="'local/a' needs 1 of 'llm_wait', of which there are 0"):
        admission.register(flow("a", LLM_WAIT))
    with pytest.raises(ConfigError, match="capacity of 'submission' is 0"):
        TaskAdmission({SUBMISSION: 0})


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_every_policy_admits_a_flow_that_is_alone(policy: type[TaskPolicy]) -> None:
    a = flow("a")
    verdict = policy().decide(
        ready(a, 1), {SUBMISSION: 9}, {SUBMISSION: 8}, {SUBMISSION: 1}, contended=False
    )
    assert verdict == Admit(((SUBMISSION, 1),))


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_every_policy_keeps_a_flow_within_its_share_while_another_could_run(
    policy: type[TaskPolicy],
) -> None:
    a = flow("a")
    below = policy().decide(ready(a, 1), {SUBMISSION: 1}, {}, {SUBMISSION: 2}, contended=True)
    assert below == Admit()
    at = policy().decide(ready(a, 1), {SUBMISSION: 2}, {}, {SUBMISSION: 2}, contended=True)
    assert at == Deny(DenyReason.OVER_SHARE, SUBMISSION)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_every_policy_takes_back_no_more_than_is_owed(policy: type[TaskPolicy]) -> None:
    a = flow("a", LLM_WAIT)
    lease = Lease(1, 1, a.key, a.resources, "a/0/1", ((SUBMISSION, 1),))
    assert policy().repayment(lease, {SUBMISSION: 2}) == ((SUBMISSION, 1),)
    assert policy().repayment(lease, {}) == ()


def test_a_flow_that_is_below_its_share_again_takes_its_turns() -> None:
    a, b = flow("a"), flow("b")
    admission = TaskAdmission({SUBMISSION: 8})
    admission.register(a)
    admission.register(b)
    dispatcher = Dispatcher(admission)
    for number in range(6):
        dispatcher.enqueue(ready(a, number))
    held = fill(dispatcher)
    for number in range(6, 26):
        dispatcher.enqueue(ready(a, number))
        dispatcher.enqueue(ready(b, number))
    assert served(fill(dispatcher)) == {"b": 2}
    assert (DenyReason.OVER_SHARE, SUBMISSION) in dispatcher.blocked()
    for step in held:
        dispatcher.release(step.lease)
    order = [str(step.lease.flow.identity[0]) for step in fill(dispatcher)]
    assert "a" in order[:2], "it waits behind nobody's whole share"
    assert order.count("a") == 4
