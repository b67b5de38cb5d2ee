"""The reference's checks, 367 in quick mode, each of severity `error`. Functions of rows.

A behaviour is checked only where its cases are there; that they are is a check of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from ddsched_nb.bench.suite.summary import SUITE_ID, SUITE_VERSION, Check, Mode, Row, Summary
from ddsched_nb.bench.suite.verdicts import Group

__all__ = ["RATIOS", "reference_checks"]

RATIOS = (
    "llm_wait_utilization_ratio",
    "llm_wait_idle_ratio",
    "llm_wait_starved_idle_ratio",
    "llm_wait_frontier_dependency_horizon_idle_ratio",
    "request_utilization_ratio",
    "request_idle_ratio",
    "request_starved_idle_ratio",
    "request_frontier_dependency_horizon_idle_ratio",
)
_CLEAN = ("final_zero_task_leases", "final_zero_request_leases", "final_zero_request_waiters")
_REQUIRED = (
    "adaptations/adaptive-row-groups-adaptive",
    "adaptations/adaptive-row-groups-fixed-high",
    "adaptations/adaptive-row-groups-fixed-low",
    "adaptations/adaptive-request-pressure-combined",
    "adaptations/adaptive-request-pressure-control",
    "adaptations/request-pressure-advisory",
    "adaptations/request-pressure-control",
    "row-scale/rows-64",
    "row-group-concurrency/row-groups-1",
    "buffer-size/buffer-1",
    "stress-shape/narrow-frontier-high-cap",
    "stress-shape/wide-frontier-high-cap",
    "custom-model-weight/weight-model-capacity",
)
_REQUIRED_IN: Mapping[Mode, tuple[str, ...]] = {
    "quick": ("row-scale/rows-256",),
    "full": (
        "row-scale/rows-1024",
        "row-group-concurrency/row-groups-8",
        "buffer-size/buffer-256",
        "llm-capacity/capacity-16",
    ),
}
_Rows = Mapping[str, Row]


def reference_checks(summary: Summary) -> list[Check]:
    """All of the reference's checks that apply to a summary."""
    rows = {row.key: row for row in summary.cases if row.origin == "reference"}
    return [
        *_shape(summary, rows),
        *_required(rows, summary.mode),
        *_correctness(rows),
        *_metrics(rows),
        *_behaviour(rows, summary.mode),
    ]


def _shape(summary: Summary, rows: _Rows) -> list[Check]:
    group, said = Group("shape"), summary.suite_version
    group.check("suite-id", "suite id", summary.suite_id == SUITE_ID, summary.suite_id, SUITE_ID)
    group.check("suite-version", "suite version", said == SUITE_VERSION, said, SUITE_VERSION)
    least = 15 if summary.mode == "quick" else 21
    group.at_least("case-count", "number of cases", len(rows), least)
    largest = max((row.generation_count for row in rows.values()), default=0)
    group.at_least("largest-case", "cells of the largest case", largest, 8192)
    return group.checks


def _required(rows: _Rows, mode: Mode) -> list[Check]:
    group = Group("required")
    for key in (*_REQUIRED, *_REQUIRED_IN[mode]):
        there = key in rows
        group.check(key, f"case {key}", there, "present" if there else "absent", "present")
    return group.checks


def _correctness(rows: _Rows) -> list[Check]:
    group = Group("correctness")
    for key, row in rows.items():
        said = "; ".join(row.validation_errors) or "not valid"
        valid = row.validation_passed
        group.check(
            f"{key}.validation_passed",
            "the run",
            valid,
            "valid" if valid else said,
            "valid",
            case=key,
        )
        for field in _CLEAN:
            clean: bool = getattr(row, field)
            group.check(f"{key}.{field}", field, clean, clean, "yes", case=key)
    return group.checks


def _metrics(rows: _Rows) -> list[Check]:
    group = Group("metrics")
    for key, row in rows.items():
        for field in RATIOS:
            value: float = getattr(row, field)
            sane = math.isfinite(value) and 0 <= value <= 1
            group.check(f"{key}.{field}", field, sane, value, "a share from 0 to 1", case=key)
        age = row.llm_wait_scheduler_queue_age_p95_seconds
        name = "llm_wait_scheduler_queue_age_p95_seconds"
        sane = math.isfinite(age) and age >= 0
        group.check(f"{key}.{name}", name, sane, age, "finite and at least 0", case=key)
        idle, starved = row.llm_wait_idle_ratio, row.llm_wait_starved_idle_ratio
        over = idle - starved
        group.check(
            f"{key}.idle-over-starved",
            "idle less starved idle",
            over + 1e-9 >= 0,
            over,
            "at least 0",
            case=key,
        )
        rest = over - row.llm_wait_frontier_dependency_horizon_idle_ratio
        group.check(
            f"{key}.idle-partition",
            "idle less starved and frontier idle",
            abs(rest) <= 1e-6,
            rest,
            "0 within 1e-06",
            case=key,
        )
    return group.checks


def _behaviour(rows: _Rows, mode: Mode) -> list[Check]:
    group = Group("behaviour")
    _of_row_groups(group, rows, mode)
    _of_shapes(group, rows, mode)
    _of_adaptive_row_groups(group, rows)
    _of_the_advisory(group, rows)
    _of_both(group, rows)
    return group.checks


def _of_row_groups(group: Group, rows: _Rows, mode: Mode) -> None:
    swept = [row for row in rows.values() if row.sweep == "row-group-concurrency"]
    if not swept:
        return
    swept.sort(key=lambda row: row.row_group_concurrency)
    low, high = (row.llm_wait_utilization_ratio for row in (swept[0], swept[-1]))
    group.at_least(
        "row-group-frontier-response",
        "llm utilization with the most row groups, over that with the fewest",
        high - low,
        0.20,
        unless=low >= 0.60,
    )
    group.at_least(
        "wide-row-group-utilization",
        "llm utilization",
        high,
        0.55 if mode == "quick" else 0.70,
        case=swept[-1].key,
    )


def _of_shapes(group: Group, rows: _Rows, mode: Mode) -> None:
    wide_floor = 0.53 if mode == "quick" else 0.55
    for id, key, floor in (
        ("small-buffer-utilization", "buffer-size/buffer-1", 0.65),
        ("high-capacity-floor", "llm-capacity/capacity-16", 0.25),
        ("wide-stress-utilization", "stress-shape/wide-frontier-high-cap", wide_floor),
    ):
        if key in rows:
            util = rows[key].llm_wait_utilization_ratio
            group.at_least(id, "llm utilization", util, floor, case=key)
    narrow, wide = (rows.get(f"stress-shape/{n}-frontier-high-cap") for n in ("narrow", "wide"))
    if narrow and wide:
        group.at_most(
            "wide-frontier-idle",
            "frontier idle of the wide case, over that of the narrow one",
            _frontier(wide) - _frontier(narrow),
            0.10,
        )


def _of_adaptive_row_groups(group: Group, rows: _Rows) -> None:
    names = ("fixed-low", "adaptive", "fixed-high")
    found = [rows.get(f"adaptations/adaptive-row-groups-{name}") for name in names]
    low, adaptive, high = found
    if not (low and adaptive and high):
        return
    group.at_least(
        "adaptive-row-groups-utilization",
        "llm utilization with adaptive row groups, over that with one",
        adaptive.llm_wait_utilization_ratio - low.llm_wait_utilization_ratio,
        0.10,
        unless=low.llm_wait_utilization_ratio >= 0.70,
    )
    group.at_least(
        "adaptive-row-groups-near-fixed-high",
        "llm utilization with adaptive row groups, over that with a fixed high number",
        adaptive.llm_wait_utilization_ratio - high.llm_wait_utilization_ratio,
        -0.10,
    )
    group.at_most(
        "adaptive-row-groups-frontier-idle",
        "frontier idle with adaptive row groups, over the better of the fixed ones",
        _frontier(adaptive) - min(_frontier(low), _frontier(high)),
        0.05,
    )
    _grew(group, "adaptive-row-groups-target", adaptive)


def _of_the_advisory(group: Group, rows: _Rows) -> None:
    control, advised = (
        rows.get(f"adaptations/request-pressure-{n}") for n in ("control", "advisory")
    )
    if not (control and advised):
        return
    _starts_with(group, "control-first-dispatch", control, "a_pressured")
    waited = control.request_wait_seconds_while_task_leased_mean
    title = "seconds that requests waited under a lease"
    group.at_least("control-leased-wait", title, waited, 0.010, case=control.key)
    group.at_most(
        "advisory-leased-wait",
        f"{title} with the advisory, over those without",
        advised.request_wait_seconds_while_task_leased_mean - waited,
        -0.005,
    )
    _starts_with(group, "advisory-first-dispatch", advised, "z_open")


def _of_both(group: Group, rows: _Rows) -> None:
    names = ("control", "combined")
    control, both = (rows.get(f"adaptations/adaptive-request-pressure-{n}") for n in names)
    if not (control and both):
        return
    _grew(group, "combined-target", both)
    advised = both.request_pressure_advisory_enabled
    group.check("combined-advisory", "the advisory is on", advised, advised, "yes", case=both.key)
    skips = both.request_pressure_advisory_skip_count
    group.at_least("combined-skips", "candidates passed over", skips, 1, case=both.key)
    waits = [row.request_wait_seconds_while_task_leased_mean for row in (both, control)]
    group.check(
        "combined-leased-wait",
        "seconds that requests waited under a lease, with and without",
        math.isfinite(waits[0]) and min(waits) >= 0,
        " and ".join(f"{wait:.6g}" for wait in waits),
        "finite and at least 0",
    )
    group.at_least(
        "combined-utilization",
        "llm utilization of the combined case, over its control's",
        both.llm_wait_utilization_ratio - control.llm_wait_utilization_ratio,
        -0.05,
    )
    group.at_most(
        "combined-request-idle",
        "request idle of the combined case, over its control's",
        both.request_idle_ratio - control.request_idle_ratio,
        0.05,
    )


def _frontier(row: Row) -> float:
    return row.llm_wait_frontier_dependency_horizon_idle_ratio


def _grew(group: Group, id: str, row: Row) -> None:
    most = row.row_group_admission_observed_max_target
    group.at_least(id, "the highest target of open row groups", most, 2, case=row.key)


def _starts_with(group: Group, id: str, row: Row, column: str) -> None:
    first = row.first_model_dispatch_column
    group.check(id, "the first column to go out", first == column, first, column, case=row.key)
