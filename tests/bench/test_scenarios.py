"""The benchmark's yardsticks: a bound that nobody beats, an oracle that says what can be had."""

from __future__ import annotations

import pytest

from ddsched_nb.bench import endpoint, tasks
from ddsched_nb.bench.scenarios import COLUMNS, SCENARIOS, Scenario, prompt, reference
from ddsched_nb.sim.simulate import simulate


def latency(scenario: Scenario, row: int, column: str) -> float:
    (profile,) = [p for p in scenario.profiles() if p.model == COLUMNS[column]]
    return profile.latency_s(f"user: {prompt(row, column)}")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_the_oracle_respects_the_bound_and_comes_near_it(scenario: Scenario) -> None:
    known = reference(scenario, 512)
    assert known.bound_s <= known.oracle_s <= 1.2 * known.bound_s


def test_with_room_for_all_the_oracle_needs_the_longest_row() -> None:
    roomy = Scenario("roomy", capacity=10_000, cap=10_000)
    longest = max(
        max(latency(roomy, row, "a1"), latency(roomy, row, "a2"))
        + latency(roomy, row, "b1")
        + latency(roomy, row, "judge")
        for row in range(64)
    )
    known = reference(roomy, 64)
    assert known.bound_s == pytest.approx(longest)
    assert known.oracle_s == pytest.approx(longest)


def test_with_one_slot_the_oracle_needs_all_the_work_of_a_model() -> None:
    narrow = Scenario("narrow", capacity=1, cap=1)
    judge = sum(latency(narrow, row, column) for row in range(8) for column in ("b1", "judge"))
    known = reference(narrow, 8)
    assert judge < known.oracle_s
    assert known.bound_s >= judge


def test_a_lost_capacity_costs_the_oracle_what_it_must() -> None:
    whole = reference(Scenario("whole", capacity=32, cap=32), 512)
    drop = reference(SCENARIOS[2], 512)
    # 24 of 32 slots are gone for 10 s: three quarters of them must be made up for.
    assert drop.bound_s == pytest.approx(whole.bound_s + 7.5, rel=0.01)


def test_every_client_does_the_same_work() -> None:
    small = Scenario("small", capacity=64, cap=16)
    entries = endpoint.measure(small, rows=6, repeats=1)
    assert [entry["client"] for entry in entries] == list(endpoint.CLIENTS)
    assert {entry["rows lost"] for entry in entries} == {0}
    assert all(float(str(entry["over oracle"])) < 20 for entry in entries)


def test_tasks_are_counted() -> None:
    measured = tasks.measure(300, record=False)
    assert measured["tasks"] == 300
    assert float(str(measured["CPU us a task"])) < 5_000


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_two_oracles_of_one_work_agree(scenario: Scenario) -> None:
    # They share no code: one is made for this work alone, the other reads any record.
    bounds = simulate(scenario.name, rows=96).result.bounds
    assert bounds is not None
    assert bounds.oracle_s == pytest.approx(reference(scenario, 96).oracle_s, rel=1e-9)
