"""The reference's cases in virtual time: each at its bound, and what each adaptation brings."""

from __future__ import annotations

import pytest

from ddsched_nb.bench.suite.cases import CASES, COMBINED, FULL_CASES, OWN_CASES, Case, Combined
from ddsched_nb.bench.suite.table import Measured, measure, published
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import SUBMISSION

BY_NAME = {case.name: case for case in (*CASES, *OWN_CASES)}
_measured: dict[str, Measured] = {}


def found(name: str) -> Measured:
    if name not in _measured:
        _measured[name] = measure(BY_NAME[name])
    return _measured[name]


def test_all_22_are_there_with_the_reference_s_figures() -> None:
    assert [case.number for case in CASES] == list(range(1, 23))
    known = published()
    assert sorted(known) == sorted(case.name for case in CASES)
    for case in CASES:
        assert known[case.name]["generations"] == case.generations
        assert known[case.name]["sweep"] == case.sweep


@pytest.mark.parametrize("case", [*CASES, *OWN_CASES], ids=lambda case: case.name)
def test_each_ends_within_three_percent_of_its_bound(case: Case) -> None:
    it = found(case.name)
    assert it.record.result.summary.finished == case.workload.rows
    assert it.over_bound >= 1.0 - 1e-9, "a bound that is beaten is none"
    assert case.control or it.over_bound <= 1.03


def test_full_mode_has_28_cases_of_which_those_that_differ_end_at_their_bounds() -> None:
    assert [case.number for case in FULL_CASES] == list(range(1, 29))
    assert {case.key for case in CASES} < {case.key for case in FULL_CASES}
    quick = {(case.key, case.workload.rows) for case in CASES}
    for case in FULL_CASES:
        if (case.key, case.workload.rows) not in quick:
            it = measure(case)
            assert it.record.result.summary.finished == case.workload.rows
            assert it.over_bound >= 1.0 - 1e-9
            assert case.control or it.over_bound <= 1.03, case.key


def test_adaptive_row_groups_use_what_a_narrow_horizon_leaves_idle() -> None:
    low, adaptive, high = (
        found(f"adaptive-row-groups-{name}") for name in ("fixed-low", "adaptive", "fixed-high")
    )
    assert low.waiting.utilization == pytest.approx(0.125, abs=0.001)
    assert adaptive.waiting.utilization >= 0.98
    assert adaptive.waiting.frontier_ratio <= 0.01
    assert adaptive.makespan_s <= high.makespan_s * (1 + 1e-9)


def test_the_advisory_sends_the_open_model_first() -> None:
    control, advised = (found(f"request-pressure-{name}") for name in ("control", "advisory"))
    assert control.first_dispatch == "a_pressured"
    assert control.makespan_s == pytest.approx(0.114)
    assert control.found.leased_request_wait_s == pytest.approx(0.05)
    assert advised.first_dispatch == "z_open"
    assert advised.makespan_s == pytest.approx(0.082)
    # After 32 ms only tasks of the held model are left, and one of them holds the only slot.
    assert advised.found.leased_request_wait_s == pytest.approx(0.018)
    assert advised.skips == 32
    assert control.skips == 0


@pytest.mark.parametrize("name", ["request-pressure", "adaptive-request-pressure"])
def test_f37_twins_that_yield_wait_without_their_slots(name: str) -> None:
    twin = found(f"{name}-yield")
    assert twin.found.leased_request_wait_s <= 0.001
    assert twin.over_bound <= 1.03
    assert twin.record.select(ev.TaskSlotsYielded)
    slots = twin.case.workload.config.max_in_flight_tasks
    assert slots is not None
    assert twin.found.scheduler[SUBMISSION].max_in_flight <= slots


@pytest.mark.parametrize("setting", COMBINED, ids=lambda s: f"{s.held_s:g}-{s.rows}-{s.slots}")
def test_both_adaptations_bring_more_than_either_alone(setting: Combined) -> None:
    walls = {
        (adaptive, advisory): measure(setting.case(adaptive=adaptive, advisory=advisory)).makespan_s
        for adaptive in (False, True)
        for advisory in (False, True)
    }
    both = walls[True, True]
    assert both <= 0.95 * min(walls[True, False], walls[False, True])
    assert both <= 0.85 * walls[False, False]


def test_combined_is_never_slower_than_its_control() -> None:
    control, both = (found(f"adaptive-request-pressure-{n}") for n in ("control", "combined"))
    assert both.makespan_s <= control.makespan_s * (1 + 1e-9)
    assert both.skips > 0
