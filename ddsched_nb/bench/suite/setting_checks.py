"""Checks of the cases that differ in one setting: row groups both ways, limits, task policies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ddsched_nb.bench.suite.summary import Check, Row, Severity, Summary
from ddsched_nb.bench.suite.verdicts import Group

__all__ = ["setting_checks"]

# The target goes up by so much, and then down to such a share of that.
_UP, _DOWN = 16, 0.5
# Against a fixed number of row groups that is as high as the target ever was.
_ROWS_OPEN, _WALL = 0.8, 1.03
_OF_REFUSALS = 0.75
_OF_WAITS = 0.75


def setting_checks(summary: Summary, of_wall_times: Severity) -> list[Check]:
    """The checks of those of these cases that are there.

    Args:
        summary: The cases.
        of_wall_times: What it means if a check fails that compares wall times.
    """
    rows = summary.rows
    return [
        *_both_ways(rows, of_wall_times),
        *_limits(rows, of_wall_times),
        *_policies(rows, of_wall_times),
    ]


def _all(rows: Mapping[str, Row], sweep: str, *names: str) -> Iterator[Row]:
    """These cases, or none if one of them is absent."""
    keys = [f"{sweep}/{name}" for name in names]
    if all(key in rows for key in keys):
        yield from (rows[key] for key in keys)


def _both_ways(rows: Mapping[str, Row], of_wall_times: Severity) -> list[Check]:
    group, found = Group("both-ways"), list(_all(rows, "both-ways", "adaptive", "fixed-many"))
    if not found:
        return []
    adaptive, fixed = found
    key, peak = adaptive.key, adaptive.row_group_admission_observed_max_target
    group.at_least("up", "the highest number of row groups asked for", peak, _UP, case=key)
    title = "the lowest number asked for after that, as a share of it"
    share = adaptive.row_group_target_after_peak / peak if peak else 1.0
    group.at_most("down", title, share, _DOWN, case=key)
    title = "rows open on average, over those with as many row groups open throughout"
    open_rows = adaptive.row_group_open_rows_mean / fixed.row_group_open_rows_mean
    group.at_most("rows-open", title, open_rows, _ROWS_OPEN, case=key)
    over = adaptive.mean_wall_time_seconds / fixed.mean_wall_time_seconds
    title = "wall time over that with as many row groups open throughout"
    group.at_most("wall", title, over, _WALL, case=key, severity=of_wall_times)
    return group.checks


def _limits(rows: Mapping[str, Row], of_wall_times: Severity) -> list[Check]:
    group, found = Group("limits"), list(_all(rows, "limit", "fixed", "aimd", "ceiling"))
    if not found:
        return []
    fixed, aimd, ceiling = found
    title = "wall time over that of the faster of the other limits"
    fastest = min(fixed.mean_wall_time_seconds, aimd.mean_wall_time_seconds)
    over = ceiling.mean_wall_time_seconds / fastest
    group.at_most("wall", title, over, 1.0, case=ceiling.key, severity=of_wall_times)
    refusals = [row.refused_request_count for row in (ceiling, fixed, aimd)]
    group.check(
        "refusals",
        "refusals",
        0 < refusals[0] <= _OF_REFUSALS * min(refusals[1:]),
        refusals[0],
        f"some, and at most {_OF_REFUSALS * min(refusals[1:]):g}",
        case=ceiling.key,
    )
    return group.checks


def _policies(rows: Mapping[str, Row], of_wall_times: Severity) -> list[Check]:
    group = Group("policies")
    found = list(_all(rows, "task-policy", "strict-fair", "bounded-borrow-ceiling"))
    if not found:
        return []
    strict, ceiling = found
    waits = [row.queue_wait_p95_seconds.get("late", 0.0) for row in (ceiling, strict)]
    title = "seconds that late tasks wait for a slot, p95"
    most = _OF_WAITS * waits[1]
    group.at_most("late-wait", title, waits[0], most, case=ceiling.key, severity=of_wall_times)
    return group.checks
