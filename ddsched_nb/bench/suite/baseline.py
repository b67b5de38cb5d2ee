"""Is a run better or worse than an earlier one? The reference's comparison, with its tolerances."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ddsched_nb.bench.suite.summary import Change, Check, Row, Summary
from ddsched_nb.bench.suite.verdicts import Group
from ddsched_nb.errors import ConfigError

__all__ = ["Tolerances", "baseline_checks", "changes", "must_be_comparable"]


class Tolerances(NamedTuple):
    """How much worse a case may be than the baseline's.

    Attributes:
        utilization_drop: Of llm utilization, absolute.
        idle_rise: Of idle, absolute.
        starved_rise: Of starved idle, absolute.
        frontier_rise: Of frontier idle, absolute.
        throughput_share: What must be left of the baseline's throughput.
    """

    utilization_drop: float = 0.05
    idle_rise: float = 0.05
    starved_rise: float = 0.05
    frontier_rise: float = 0.05
    throughput_share: float = 0.75


class _Metric(NamedTuple):
    """A figure that is watched; on a real loop, changes within its noise are none."""

    field: str
    more_is_better: bool
    relative: float = 0.0
    absolute: float = 0.0


_WATCHED = (
    _Metric("wall_over_bound", False, relative=0.10),
    _Metric("mean_wall_time_seconds", False, relative=0.10),
    _Metric("llm_wait_utilization_ratio", True, absolute=0.02),
    _Metric("llm_wait_idle_ratio", False, absolute=0.02),
    _Metric("request_wait_seconds_while_task_leased_mean", False, relative=0.25, absolute=0.005),
)
_EQUAL = 1e-9


def must_be_comparable(summary: Summary, base: Summary) -> None:
    """Refuses to compare runs of different cases or clocks.

    Raises:
        ConfigError: They differ in mode or clock.
    """
    for name, ours, theirs in (
        ("mode", summary.mode, base.mode),
        ("clock", summary.clock, base.clock),
    ):
        if ours != theirs:
            raise ConfigError(
                f"the baseline has {name} {theirs!r}, this run {ours!r}; compare like with like"
            )


def baseline_checks(summary: Summary, base: Summary, allowed: Tolerances) -> list[Check]:
    """The comparison, case by case of the baseline."""
    group, rows = Group("baseline"), summary.rows
    for key, before in base.rows.items():
        after = rows.get(key)
        there = "absent" if after is None else "present"
        group.check(f"{key}.present", f"case {key}", after is not None, there, "present")
        if after is not None:
            _compare(group, before, after, allowed)
    return group.checks


def _compare(group: Group, before: Row, after: Row, allowed: Tolerances) -> None:
    key = before.key
    for id, field, most in (
        ("idle", "llm_wait_idle_ratio", allowed.idle_rise),
        ("starved", "llm_wait_starved_idle_ratio", allowed.starved_rise),
        ("frontier", "llm_wait_frontier_dependency_horizon_idle_ratio", allowed.frontier_rise),
    ):
        rise = getattr(after, field) - getattr(before, field)
        group.at_most(f"{key}.{id}", f"{field}, over the baseline's", rise, most + _EQUAL, case=key)
    gain = after.llm_wait_utilization_ratio - before.llm_wait_utilization_ratio
    title = "llm_wait_utilization_ratio, over the baseline's"
    least = -allowed.utilization_drop - _EQUAL
    group.at_least(f"{key}.utilization", title, gain, least, case=key)
    share = after.throughput_generations_per_second / before.throughput_generations_per_second
    group.check(
        f"{key}.throughput",
        "throughput as a share of the baseline's",
        share >= allowed.throughput_share - _EQUAL,
        share,
        f"at least {allowed.throughput_share:g}",
        case=key,
        severity="warning",
    )


def changes(summary: Summary, base: Summary) -> tuple[Change, ...]:
    """What got better or worse, beyond the noise of a real loop where there is one."""
    return tuple(_changes(summary, base))


def _changes(summary: Summary, base: Summary) -> Iterator[Change]:
    before = base.rows
    for row in summary.cases:
        for metric in _WATCHED if row.key in before else ():
            was, now = getattr(before[row.key], metric.field), getattr(row, metric.field)
            most = max(abs(was), abs(now))
            noise = _EQUAL * most
            if summary.clock == "real":
                noise = metric.relative * most + metric.absolute
            if abs(now - was) > noise:
                better = (now > was) == metric.more_is_better
                yield Change(
                    case=row.key,
                    metric=metric.field,
                    before=was,
                    after=now,
                    verdict="better" if better else "worse",
                )
