"""The fair queue: fairness, selection without mutation, gates, and what an operation costs."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Hashable
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ddsched_nb.core import fair_queue
from ddsched_nb.core.fair_queue import FairQueue, Selection, Ticket
from ddsched_nb.errors import ConfigError

FLOWS = st.sampled_from("abcd")
GATES = st.sampled_from(["x", "y"])


class Queueing(RuleBasedStateMachine):
    """Against a model: for each flow its items in the order in which they must leave."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: FairQueue[int] = FairQueue()
        self.model: dict[str, list[tuple[float, int]]] = {}
        self.tickets: dict[int, Ticket[int]] = {}
        self.behind: dict[str, str] = {}
        self.closed: set[str] = set()
        self.stale: list[Selection[int]] = []
        self.taken: list[int] = []
        self.count = 0

    @rule(flow=FLOWS, priority=st.integers(0, 3), weight=st.sampled_from([0.5, 1.0, 3.0]))
    def enqueue(self, flow: str, priority: int, weight: float) -> None:
        self.count += 1
        ticket = self.queue.enqueue(flow, self.count, weight=weight, priority=priority)
        self.tickets[self.count] = ticket
        self.model.setdefault(flow, []).append((priority, self.count))

    @rule()
    def select_changes_nothing(self) -> None:
        first = self.queue.select()
        assert self.queue.select() == first
        if first is None:
            assert all(self.behind.get(flow) in self.closed for flow in self.model)
        else:
            assert self.behind.get(str(first.flow)) not in self.closed
            assert first.item == min(self.model[str(first.flow)])[1]
            self.stale.append(first)

    @rule()
    def commit(self) -> None:
        selection = self.queue.select()
        if selection is not None:
            assert self.queue.commit(selection)
            assert not self.queue.commit(selection), "a selection holds once"
            self.serve(str(selection.flow), selection.item)

    @precondition(lambda self: self.stale)
    @rule(data=st.data())
    def commit_something_old(self, data: st.DataObject) -> None:
        """Only a selection that is still the head of its flow may be committed."""
        selection = data.draw(st.sampled_from(self.stale))
        flow = str(selection.flow)
        head = min(self.model[flow])[1] if flow in self.model else None
        if self.queue.commit(selection):
            assert selection.item == head
            self.serve(flow, selection.item)

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from(sorted(self.tickets)))
        queued = item not in self.taken
        assert self.queue.discard(self.tickets[item]) is queued
        if queued:
            self.remove(str(self.tickets[item].flow), item)

    @rule(gate=GATES)
    def close(self, gate: str) -> None:
        selection = self.queue.select()
        if selection is not None:
            self.queue.close(selection, gate)
            self.behind[str(selection.flow)] = gate
            self.closed.add(gate)

    @rule(gate=GATES)
    def open(self, gate: str) -> None:
        self.queue.open(gate)
        self.closed.discard(gate)

    @rule(flow=FLOWS)
    def lift(self, flow: str) -> None:
        self.queue.lift(flow)
        self.behind.pop(flow, None)

    def serve(self, flow: str, item: int) -> None:
        """Whoever is served stays behind an open gate, and leaves a closed one."""
        if self.behind.get(flow) in self.closed:
            del self.behind[flow]
        self.remove(flow, item)

    def remove(self, flow: str, item: int) -> None:
        self.taken.append(item)
        self.model[flow] = [entry for entry in self.model[flow] if entry[1] != item]
        if not self.model[flow]:
            del self.model[flow]
            self.behind.pop(flow, None)

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        assert len(self.queue) == sum(map(len, self.model.values()))
        assert self.queue.flows == len(self.model)
        assert all(self.queue.queued(flow) == len(items) for flow, items in self.model.items())
        assert len(self.taken) == len(set(self.taken))

    @invariant()
    def gates_hold_whom_they_should(self) -> None:
        for flow in self.model:
            assert self.queue.gate_of(flow) == self.behind.get(flow)

    @invariant()
    def f30_entries_are_bounded_by_the_flows(self) -> None:
        assert self.queue.entries() <= 2 * len(self.model) + 3 * fair_queue._SWEEP_FLOOR


Queueing.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestQueueing = Queueing.TestCase


@given(
    weights=st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0, 7.0]), min_size=2, max_size=5),
    rounds=st.integers(1, 120),
)
def test_backlogged_flows_are_served_by_weight(weights: list[float], rounds: int) -> None:
    queue: FairQueue[int] = FairQueue()
    for flow, weight in enumerate(weights):
        for item in range(rounds):
            queue.enqueue(flow, item, weight=weight)
    served: Counter[Any] = Counter()
    for _ in range(rounds):
        selection = queue.select()
        assert selection is not None
        queue.commit(selection)
        served[selection.flow] += 1
        for i, w_i in enumerate(weights):
            for j, w_j in enumerate(weights):
                assert abs(served[i] / w_i - served[j] / w_j) <= 1 / w_i + 1 / w_j + 1e-9


def test_a_flow_that_waited_long_gets_no_more_than_its_turn() -> None:
    queue: FairQueue[str] = FairQueue()
    for n in range(20):
        queue.enqueue("late", f"late {n}")
        queue.enqueue("busy", f"busy {n}")
    selection = queue.select()
    assert selection is not None
    queue.close(selection, "gate")
    for _ in range(10):
        selection = queue.select()
        assert selection is not None
        queue.commit(selection)
    queue.open("gate")
    order = []
    for _ in range(6):
        selection = queue.select()
        assert selection is not None
        queue.commit(selection)
        order.append(selection.flow)
    assert order.count("late") <= 4


@given(
    weights=st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0, 7.0]), min_size=2, max_size=4),
    runs_on=st.integers(0, 5),
    eager=st.booleans(),
)
def test_flows_behind_one_gate_are_served_by_weight_though_the_clock_runs_on(
    weights: list[float], runs_on: int, eager: bool
) -> None:
    """A slow resource with one slot, behind a gate while it is held; a free flow runs meanwhile."""
    queue: FairQueue[int] = FairQueue()
    turns = 60
    for flow, weight in enumerate(weights):
        for item in range(turns):
            queue.enqueue(flow, item, weight=weight)
    for item in range(turns * (len(weights) + runs_on + 2)):
        queue.enqueue("free", item)
    served: Counter[Any] = Counter()
    for _ in range(turns):
        queue.open("slow")
        slot_free, free_runs = True, runs_on
        while (selection := queue.select()) is not None:
            if selection.flow == "free":
                if free_runs == 0 and not (eager and slot_free):
                    break
                free_runs = max(0, free_runs - 1)
                queue.commit(selection)
            elif slot_free:
                slot_free = False
                queue.commit(selection)
                served[selection.flow] += 1
            else:
                queue.close(selection, "slow")
        for i, w_i in enumerate(weights):
            for j, w_j in enumerate(weights):
                assert abs(served[i] / w_i - served[j] / w_j) <= 1 / w_i + 1 / w_j + 1e-9


def test_whoever_comes_to_a_closed_gate_late_waits_for_no_more_than_its_turn() -> None:
    queue: FairQueue[str] = FairQueue()

    def serve() -> Hashable:
        selection = queue.select()
        assert selection is not None
        assert queue.commit(selection)
        return selection.flow

    def shut() -> None:
        selection = queue.select()
        assert selection is not None
        queue.close(selection, "gate")

    for n in range(50):
        queue.enqueue("old", f"old {n}")
    shut()
    for n in range(100):
        queue.enqueue("free", f"free {n}")
    for _ in range(30):
        assert serve() == "free"
    for n in range(50):
        queue.enqueue("new", f"new {n}")
    assert serve() == "free"
    shut()
    assert queue.gate_of("new") == "gate"
    for _ in range(30):
        assert serve() == "free"
    queue.open("gate")
    order = [flow for flow in (serve() for _ in range(12)) if flow != "free"]
    assert 3 <= order.count("new") <= 5
    assert 3 <= order.count("old") <= 5


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf")])
def test_a_weight_must_be_above_0(weight: float) -> None:
    with pytest.raises(ConfigError, match="weight of flow 'a'"):
        FairQueue[int]().enqueue("a", 1, weight=weight)


def test_f30_entries_follow_the_flows_down_as_well() -> None:
    queue: FairQueue[int] = FairQueue()
    tickets = [queue.enqueue(flow, flow, weight=1 / (flow + 1)) for flow in range(1_000)]
    for ticket in tickets[501:]:
        queue.discard(ticket)
    while queue.flows > 1:
        selection = queue.select()
        assert selection is not None
        queue.commit(selection)
    assert queue.entries() <= 2 + fair_queue._SWEEP_FLOOR


class Counting:
    """Counts heap operations, and the entries that comparing them touched at the most."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.operations = 0
        for name in ("heappush", "heappop", "heapify"):
            monkeypatch.setattr(fair_queue, name, self.watched(getattr(heapq, name)))

    def watched(self, operation: Any) -> Any:
        def counted(*args: Any) -> Any:
            self.operations += 1
            return operation(*args)

        return counted


def operations_per_dispatch(monkeypatch: pytest.MonkeyPatch, flows: int, queued: int) -> float:
    queue: FairQueue[int] = FairQueue()
    for item in range(queued):
        queue.enqueue(item % flows, item, priority=item)
    with monkeypatch.context() as patch:
        counting = Counting(patch)
        for _ in range(200):
            selection = queue.select()
            assert selection is not None
            queue.commit(selection)
        return counting.operations / 200


def test_f17_a_dispatch_costs_the_same_however_many_are_queued(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    costs = {operations_per_dispatch(monkeypatch, 8, queued) for queued in (1_000, 50_000)}
    assert len(costs) == 1


def test_f18_a_dispatch_is_two_heap_operations_at_any_number_of_flows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each is O(log flows) comparisons in a heap of at most as many entries as flows."""
    for flows in (1, 64, 1024):
        assert operations_per_dispatch(monkeypatch, flows, 4_096) <= 2


def test_a_selection_that_something_overtook_is_stale() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.enqueue("a", "later", priority=2)
    selection = queue.select()
    assert selection is not None
    queue.enqueue("a", "sooner", priority=1)
    assert not queue.commit(selection)
    again = queue.select()
    assert again is not None
    assert again.item == "sooner"
    assert queue.commit(again)
    assert len(queue) == 1


def test_tags_are_told_of_every_flow_behind_a_gate_or_not() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.enqueue("fast", "f", weight=4.0)
    queue.enqueue("slow", "s", weight=1.0)
    first = queue.select()
    assert first is not None
    queue.close(first, "gate")
    assert queue.tags() == {"fast": 0.25, "slow": 1.0}
    second = queue.select()
    assert second is not None
    assert (second.flow, second.tag) == ("slow", queue.tags()["slow"])
    queue.commit(second)
    assert queue.tags() == {"fast": 0.25}
