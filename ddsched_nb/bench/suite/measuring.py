"""From the iterations of a case to its row, by the reference's formulas.

Shares are means over iterations, or means of seconds over means of seconds; burstiness, queue ages
and waits are the worst of any iteration; the advisory's skips are summed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from ddsched_nb.analysis.idle import IdleReport, explain_idle
from ddsched_nb.analysis.metrics import ResourceMetrics, Waits
from ddsched_nb.bench.suite.cases import Case
from ddsched_nb.bench.suite.chains import chains, complaints, first_cell, row_groups
from ddsched_nb.bench.suite.over_time import over_time, queue_waits
from ddsched_nb.bench.suite.running import Iteration, llm_slots
from ddsched_nb.bench.suite.summary import ResourceRow, Row
from ddsched_nb.bench.suite.table import Measured
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import LLM_WAIT, SUBMISSION
from ddsched_nb.record import RunRecord

__all__ = ["Possible", "make_row"]

# Rounding may put a share this far outside of 0 to 1.
_HAIR = 1e-9


class Possible(NamedTuple):
    """What was possible: with services as they elapse, and as they are declared.

    Attributes:
        elapsed: The case in virtual time, with what services take on a bare loop.
        nominal: The same with declared services; the same object in virtual time.
        service_s: What services take on a bare loop; in virtual time, what they are declared to.
    """

    elapsed: Measured
    nominal: Measured
    service_s: tuple[float, ...]


def make_row(case: Case, iterations: Sequence[Iteration], possible: Possible) -> Row:
    """The row of a case."""
    llm = _Resource([it.found.scheduler.get(LLM_WAIT) for it in iterations])
    submission = _Resource([it.found.scheduler.get(SUBMISSION) for it in iterations])
    first = iterations[0]
    groups = row_groups(case, iterations[-1].record)
    idle = _explained(iterations)
    fields: dict[str, Any] = {
        **_shape(case, first),
        **_speed(case, iterations, possible),
        **{f"llm_wait_{name}": value for name, value in llm.fields().items()},
        "submission_utilization_ratio": submission.utilization,
        "submission_starved_idle_ratio": submission.starved,
        "submission_frontier_dependency_horizon_idle_ratio": submission.frontier,
        **_chain_fields(case, iterations),
        **_request_fields(case, iterations),
        "row_group_admission_target": groups.target,
        "row_group_admission_observed_max_target": groups.highest_target,
        "row_group_admission_max_admitted_rows": groups.most_rows,
        "row_group_target_after_peak": groups.after_peak,
        "row_group_open_rows_mean": groups.mean_rows,
        **_soundness(case, iterations),
        "digests": tuple(it.digest for it in iterations),
        "resources": _resources(iterations),
        "idle_causes": _idle_causes(idle),
        "queue_wait_p95_seconds": queue_waits(first.record),
        "timeline": over_time(first.record, idle[0]),
    }
    idle_class, lever = _dominant(fields)
    return Row(**fields, dominant_idle_class=idle_class, recommended_next_lever=lever)


def _shape(case: Case, first: Iteration) -> dict[str, Any]:
    config, capacities = case.workload.config, _capacities(first.record)
    adaptive = config.row_groups == "adaptive"
    most = config.max_concurrent_row_groups if case.fixed_groups is None else case.fixed_groups
    chained = bool(case.depends)
    return {
        "key": case.key,
        "sweep": case.sweep,
        "name": case.name,
        "number": case.number,
        "origin": "reference" if case.number else "own",
        "control": case.control,
        "scenario": "pipeline" if chained else "request pressure",
        "iterations": case.iterations,
        "record_count": case.workload.rows or 0,
        "buffer_size": config.buffer_size,
        "row_group_concurrency": most or 0,
        "row_group_admission_mode": "adaptive" if adaptive else "fixed",
        "task_admission_capacity": capacities.get(SUBMISSION, 0),
        "llm_wait_capacity": capacities.get(LLM_WAIT, 0),
        "holds_slots": config.slots_while_waiting == "hold",
        "generation_count": case.generations,
        "rows_finished": first.ended.rows_finished,
    }


def _speed(case: Case, iterations: Sequence[Iteration], possible: Possible) -> dict[str, Any]:
    walls = [it.wall_s for it in iterations]
    wall, elapsed = _mean(walls), possible.elapsed
    bounds = elapsed.record.result.bounds
    assert bounds is not None, "the cases are small enough to be recorded whole"
    horizon = elapsed.lower_s > bounds.lower_s * (1 + _HAIR)
    return {
        "mean_wall_time_seconds": wall,
        "p95_wall_time_seconds": Waits.of(walls).p95,
        "throughput_generations_per_second": case.generations / wall,
        "service_seconds": case.service_s,
        "bare_service_seconds": possible.service_s,
        "bound_seconds": elapsed.lower_s,
        "nominal_bound_seconds": possible.nominal.lower_s,
        "binding": "row groups that may be open" if horizon else bounds.binding,
        "wall_over_bound": wall / elapsed.lower_s,
        "oracle_seconds": bounds.oracle_s,
        "wall_over_oracle": wall / bounds.oracle_s,
        "useful_utilization_ratio": case.work_s / (llm_slots(case) * wall),
    }


class _Resource:
    """One of the scheduler's resources over all iterations."""

    def __init__(self, found: Iterable[ResourceMetrics | None]) -> None:
        self.all = [one for one in found if one is not None]
        self._capacity = self._of(lambda one: one.capacity_s)
        self.starved_s = self._of(lambda one: one.starved_s)
        self.idle_s = self._of(lambda one: one.idle_s)

    @property
    def utilization(self) -> float:
        return _share(self._of(lambda one: one.utilization))

    @property
    def starved(self) -> float:
        return _ratio(self.starved_s, self._capacity)

    @property
    def frontier(self) -> float:
        return _ratio(max(0.0, self.idle_s - self.starved_s), self._capacity)

    def fields(self) -> dict[str, float]:
        return {
            "utilization_ratio": self.utilization,
            "idle_ratio": _ratio(self.idle_s, self._capacity),
            "starved_idle_ratio": self.starved,
            "frontier_dependency_horizon_idle_ratio": self.frontier,
            "starved_idle_seconds": self.starved_s,
            "frontier_dependency_horizon_idle_seconds": max(0.0, self.idle_s - self.starved_s),
            "scheduler_queue_age_p95_seconds": _most(one.waits.p95 for one in self.all),
            "scheduler_queue_age_max_seconds": _most(one.waits.max for one in self.all),
            "burstiness_coefficient": _most(one.burstiness for one in self.all),
        }

    def _of(self, what: Callable[[ResourceMetrics], float]) -> float:
        return _mean([what(one) for one in self.all])


def _chain_fields(case: Case, iterations: Sequence[Iteration]) -> dict[str, float]:
    found = [chains(case, it.record) for it in iterations]
    gaps = [Waits.of(one.gaps) for one in found]
    return {
        "pipeline_overlap_ratio": _mean([one.overlap for one in found]),
        "downstream_ready_gap_p95_seconds": Waits.of([one.p95 for one in gaps]).p95,
        "downstream_ready_gap_max_seconds": _most(one.max for one in gaps),
        "first_downstream_dispatch_delay_seconds": _mean([one.first_delay_s for one in found]),
    }


def _request_fields(case: Case, iterations: Sequence[Iteration]) -> dict[str, Any]:
    pools = [list(it.found.requests.values()) for it in iterations]
    capacity = _mean([math.fsum(p.capacity_s for p in each) for each in pools])
    idle = _mean([math.fsum(p.idle_s for p in each) for each in pools])
    starved = _mean([math.fsum(p.starved_s for p in each) for each in pools])
    frontier = _mean([math.fsum(p.frontier_s for p in each) for each in pools])
    waited = [it.found.leased_request_wait_s for it in iterations]
    skips = [len(it.record.select(ev.RequestPressureAdvisorySkipped)) for it in iterations]
    return {
        "request_utilization_ratio": _share(
            _mean([_mean([p.utilization for p in each]) for each in pools])
        ),
        "request_idle_ratio": _ratio(idle, capacity),
        "request_starved_idle_ratio": _ratio(starved, capacity),
        "request_frontier_dependency_horizon_idle_ratio": _ratio(frontier, capacity),
        "request_burstiness_coefficient": _most(p.burstiness for each in pools for p in each),
        "request_wait_seconds_while_task_leased_mean": _mean(waited),
        "request_wait_seconds_while_task_leased_max": _most(waited),
        "request_pressure_advisory_enabled": case.workload.config.request_pressure_advisory,
        "request_pressure_advisory_skip_count": sum(skips),
        "refused_request_count": sum(
            len(it.record.select(ev.RequestRateLimited)) for it in iterations
        ),
        "first_model_dispatch_column": first_cell(case, iterations[0].record),
    }


def _soundness(case: Case, iterations: Sequence[Iteration]) -> dict[str, Any]:
    said = [c for it in iterations for c in complaints(case, it.record, _finished(it))]
    pools = [pool for it in iterations for pool in it.ended.pools]
    return {
        "validation_passed": not said,
        "validation_errors": tuple(dict.fromkeys(said)),
        "final_zero_task_leases": all(_leases_left(it.record) == 0 for it in iterations),
        "final_zero_request_leases": all(pool.in_flight == 0 for pool in pools),
        "final_zero_request_waiters": all(pool.waiters == 0 for pool in pools),
        "selected_count": sum(len(it.record.select(ev.Selected)) for it in iterations),
        "accepted_count": sum(len(it.record.select(ev.TaskLeaseAcquired)) for it in iterations),
        "wake_probe_p95_seconds": Waits.of([it.wake_s for it in iterations]).p95,
    }


def _finished(iteration: Iteration) -> int:
    return iteration.ended.rows_finished


def _leases_left(record: RunRecord) -> int:
    acquired = {event.lease_id for event in record.select(ev.TaskLeaseAcquired)}
    return len(acquired ^ {event.lease_id for event in record.select(ev.TaskLeaseReleased)})


def _capacities(record: RunRecord) -> dict[str, int]:
    return record.select(ev.SchedulerJobStarted)[0].capacities


def _resources(iterations: Sequence[Iteration]) -> tuple[ResourceRow, ...]:
    record = iterations[0].record
    caps = {e.pool.label: e.cap for e in record.select(ev.RequestResourceRegistered)}
    capacities = _capacities(record)
    rows = []
    for name in iterations[0].found.scheduler:
        found = [it.found.scheduler[name] for it in iterations if name in it.found.scheduler]
        rows.append(_resource(name, "scheduler", capacities[name], found))
    for name in iterations[0].found.requests:
        found = [it.found.requests[name] for it in iterations if name in it.found.requests]
        rows.append(_resource(name, "request", caps[name], found))
    return tuple(rows)


def _resource(
    name: str, stream: Any, capacity: int, found: Sequence[ResourceMetrics]
) -> ResourceRow:
    return ResourceRow(
        name,
        stream,
        capacity,
        max(one.max_in_flight for one in found),
        _mean([one.capacity_s for one in found]),
        _mean([one.busy_s for one in found]),
        _mean([one.idle_s for one in found]),
        _mean([one.starved_s for one in found]),
        _mean([one.frontier_s for one in found]),
        _most(one.burstiness for one in found),
        _most(one.waits.p95 for one in found),
        _most(one.waits.max for one in found),
    )


def _explained(iterations: Sequence[Iteration]) -> list[IdleReport]:
    """Why slots were idle, run by run; equal runs are explained once."""
    known: dict[str, IdleReport] = {}
    for it in iterations:
        if it.digest not in known:
            known[it.digest] = explain_idle(it.record)
    return [known[it.digest] for it in iterations]


def _idle_causes(explained: Sequence[IdleReport]) -> dict[str, dict[str, float]]:
    """Idle slot-seconds by resource and cause, of those that were idle at all: means."""
    found: dict[str, dict[str, float]] = {}
    for report in explained:
        for resource in report.resources:
            causes = found.setdefault(resource.name, {}) if resource.causes else {}
            for cause, seconds in resource.causes.items():
                share = seconds / len(explained)
                causes[str(cause)] = causes.get(str(cause), 0.0) + share
    return found


def _dominant(fields: dict[str, Any]) -> tuple[str, str]:
    """The reference's class of idleness, and what might help."""
    frontier = fields["llm_wait_frontier_dependency_horizon_idle_ratio"]
    starved = fields["llm_wait_starved_idle_ratio"]
    age = fields["llm_wait_scheduler_queue_age_p95_seconds"]
    gap = fields["downstream_ready_gap_p95_seconds"]
    if frontier >= 0.10 and frontier > starved:
        return "frontier/dependency-horizon", "open more row groups, or let them adapt"
    if starved >= 0.10 or age > max(1.0, 10 * gap):
        return "queued-work starvation", "look at selection and fairness of task admission"
    return "healthy/control", "nothing; keep it as a control"


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


def _most(values: Iterable[float]) -> float:
    return max(values, default=0.0)


def _ratio(part: float, whole: float) -> float:
    return _share(part / whole) if whole else 0.0


def _share(value: float) -> float:
    """A share without the hair that rounding leaves outside of 0 to 1; what is wrong stays so."""
    return min(1.0, max(0.0, value)) if -_HAIR < value < 1 + _HAIR else value
