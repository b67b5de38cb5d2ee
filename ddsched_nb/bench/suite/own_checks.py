"""Our own checks, beside the reference's: soundness, bounds, twins that yield, both adaptations,
row groups both ways, limits, task policies, and what the fuzzer found.

What the reference's benchmark process raises on (counts that differ, leases above limits, seconds
that do not add up, a slow wake-up) is a check here, of the group `self-validation`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from ddsched_nb.bench.suite.cases import COMBINED
from ddsched_nb.bench.suite.setting_checks import setting_checks
from ddsched_nb.bench.suite.summary import (
    Check,
    Clock,
    ResourceRow,
    Row,
    Severity,
    Summary,
)
from ddsched_nb.bench.suite.verdicts import Group

__all__ = ["own_checks"]

_WAKE_S = 0.025
_SUM = 1e-9
# In real time a loop has its own costs, and a machine may be shared.
_OVER_BOUND: dict[Clock, float] = {"virtual": 1.03, "real": 2.0}
_OF_WALL_TIMES: dict[Clock, Severity] = {"virtual": "error", "real": "warning"}
# Seconds that a twin may wait under its lease, and as a share of what its like waits that holds. On
# a real loop a turn passes before a task steps aside.
_YIELD_WAIT: dict[Clock, tuple[float, float]] = {"virtual": (0.001, 0.0), "real": (0.010, 0.1)}


def own_checks(summary: Summary) -> list[Check]:
    """All of our checks that apply to a summary."""
    return [
        *_self_validation(summary),
        *_determinism(summary),
        *_bounds(summary),
        *_twins(summary),
        *_combined(summary),
        *_causes(summary.cases),
        *setting_checks(summary, _OF_WALL_TIMES[summary.clock]),
        *_fuzz(summary),
    ]


def _self_validation(summary: Summary) -> list[Check]:
    group = Group("self-validation")
    for row in summary.cases:
        if row.origin == "own":
            _is_clean(group, row)
        group.check(
            f"{row.key}.selected",
            "tasks selected",
            row.selected_count == row.accepted_count,
            row.selected_count,
            f"{row.accepted_count}, as many as were accepted",
            case=row.key,
        )
        for stream, id in (("scheduler", "leases"), ("request", "permits")):
            wrong = [
                r for r in row.resources if r.stream == stream and r.max_in_flight > r.capacity
            ]
            said = ", ".join(f"{r.max_in_flight} of {r.capacity} {r.name}" for r in wrong)
            title = f"{id} above a limit"
            group.check(f"{row.key}.{id}", title, not wrong, said or "none", "none", case=row.key)
        said = "; ".join(fault for resource in row.resources for fault in _faults(resource))
        title = "sums of seconds that are wrong"
        group.check(f"{row.key}.seconds", title, not said, said or "none", "none", case=row.key)
        wake = row.wake_probe_p95_seconds
        title = "seconds from a release to the waiter's lease, p95"
        group.at_most(f"{row.key}.wake-probe", title, wake, _WAKE_S, case=row.key)
    return group.checks


def _is_clean(group: Group, row: Row) -> None:
    left = {
        "task leases": row.final_zero_task_leases,
        "permits": row.final_zero_request_leases,
        "waiters": row.final_zero_request_waiters,
    }
    said = [f"{name} left" for name, clean in left.items() if not clean]
    said += row.validation_errors or ([] if row.validation_passed else ["not valid"])
    observed = "; ".join(said) or "valid"
    group.check(f"{row.key}.valid", "the run", not said, observed, "valid", case=row.key)


def _faults(found: ResourceRow) -> Iterable[str]:
    """What does not add up in the seconds of a resource."""
    seconds = (
        found.capacity_seconds,
        found.busy_seconds,
        found.idle_seconds,
        found.starved_idle_seconds,
        found.frontier_idle_seconds,
    )
    if not all(math.isfinite(one) and one >= 0 for one in seconds):
        yield f"{found.name} has seconds below 0, or none that are finite"
        return
    if found.busy_seconds > found.capacity_seconds + _SUM:
        yield f"{found.name} is busy for longer than it exists"
    if found.idle_seconds > found.capacity_seconds + _SUM:
        yield f"{found.name} is idle for longer than it exists"
    if found.starved_idle_seconds > found.idle_seconds + _SUM:
        yield f"{found.name} is starved for longer than it is idle"
    elif abs(found.starved_idle_seconds + found.frontier_idle_seconds - found.idle_seconds) > _SUM:
        yield f"{found.name}: starved and frontier idle are not all that is idle"


def _determinism(summary: Summary) -> list[Check]:
    group = Group("determinism")
    for row in summary.cases if summary.clock == "virtual" else ():
        if row.iterations > 1:
            different = len(set(row.digests))
            title = "different records of equal iterations"
            group.check(row.key, title, different == 1, different, "1", case=row.key)
    return group.checks


def _bounds(summary: Summary) -> list[Check]:
    group, most = Group("bounds"), _OVER_BOUND[summary.clock]
    for row in summary.cases:
        over = row.mean_wall_time_seconds / row.nominal_bound_seconds
        title = "wall time over the bound of the declared services"
        group.at_least(f"{row.key}.holds", title, over, 1 - _SUM, case=row.key)
        if not row.control:
            title = "wall time over the bound"
            group.at_most(
                f"{row.key}.near",
                title,
                row.wall_over_bound,
                most,
                case=row.key,
                severity=_OF_WALL_TIMES[summary.clock],
            )
    return group.checks


def _twins(summary: Summary) -> list[Check]:
    group, rows = Group("yield"), summary.rows
    for name, held in (
        ("request-pressure-yield", "request-pressure-advisory"),
        ("adaptive-request-pressure-yield", "adaptive-request-pressure-combined"),
    ):
        twin, holder = rows.get(f"adaptations/{name}"), rows.get(f"adaptations/{held}")
        if twin is None or holder is None:
            continue
        least, share = _YIELD_WAIT[summary.clock]
        most = max(least, share * holder.request_wait_seconds_while_task_leased_mean)
        waited = twin.request_wait_seconds_while_task_leased_mean
        title = "seconds that requests waited under a lease"
        group.at_most(f"{name}.leased-wait", title, waited, most, case=twin.key)
        slack = 1 + _SUM if summary.clock == "virtual" else 1.25
        group.at_most(
            f"{name}.wall",
            "wall time over that of the twin that holds its slots",
            twin.mean_wall_time_seconds / holder.mean_wall_time_seconds,
            slack,
            case=twin.key,
            severity=_OF_WALL_TIMES[summary.clock],
        )
    return group.checks


def _combined(summary: Summary) -> list[Check]:
    group, rows = Group("combined", _OF_WALL_TIMES[summary.clock]), summary.rows
    names = ("control", "adaptive-row-groups", "advisory", "both")
    for setting in COMBINED:
        found = [rows.get(f"{setting.sweep}/{name}") for name in names]
        walls = [row.mean_wall_time_seconds for row in found if row is not None]
        if len(walls) < len(names):
            continue
        control, adaptive, advised, both = walls
        for id, beside, other, most in (
            ("than-either", "with the better of them alone", min(adaptive, advised), 0.95),
            ("than-control", "with neither", control, 0.85),
        ):
            title = f"wall time with both adaptations over that {beside}"
            key = f"{setting.sweep}/both"
            group.at_most(f"{setting.sweep}.{id}", title, both / other, most, case=key)
    return group.checks


def _causes(rows: Iterable[Row]) -> list[Check]:
    """The causes of idleness add up to it. Nothing to check in rows that have no causes."""
    group = Group("causes")
    for row in rows:
        idle = {r.name: r.idle_seconds for r in row.resources}
        for name, causes in row.idle_causes.items():
            rest = math.fsum(causes.values()) - idle.get(name, math.nan)
            group.check(
                f"{row.key}.{name}",
                f"causes of {name} less its idle seconds",
                abs(rest) <= _SUM,
                rest,
                "0 within 1e-09",
                case=row.key,
            )
    return group.checks


def _fuzz(summary: Summary) -> list[Check]:
    group = Group("fuzz")
    for row in summary.fuzz:
        said = f"{row.broken} ({row.command})" if row.broken else "none"
        title = f"laws that {row.target} broke in {row.runs} runs"
        group.check(row.target, title, not row.broken, said, "none")
    return group.checks
