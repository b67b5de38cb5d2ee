"""Runs the cases in virtual time and puts the reference's figures, as published, beside ours."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any, NamedTuple

from ddsched_nb.analysis.chains import Overlap, idle_class, pipeline_overlap
from ddsched_nb.analysis.metrics import Metrics, ResourceMetrics, metrics
from ddsched_nb.analysis.waits import Waits
from ddsched_nb.bench.suite.cases import CASES, COMBINED, OWN_CASES, Case
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import LLM_WAIT
from ddsched_nb.sim.record import SimulatedRecord
from ddsched_nb.sim.simulate import simulate

__all__ = ["Measured", "combined", "measure", "published", "suite_table"]


class Measured(NamedTuple):
    """What one case came to. Seconds, and shares of capacity time.

    Attributes:
        case: Which.
        record: The run.
        lower_s: No schedule of the case is faster, given its fixed knobs.
        found: How busy everything was, by the reference's formulas.
    """

    case: Case
    record: SimulatedRecord
    lower_s: float
    found: Metrics

    @property
    def makespan_s(self) -> float:
        """Wall time in virtual seconds."""
        return self.record.result.makespan_s

    @property
    def over_bound(self) -> float:
        """Wall time over the bound."""
        return self.makespan_s / self.lower_s

    @property
    def waiting(self) -> ResourceMetrics:
        """The slots of tasks that wait for models."""
        return self.found.scheduler[LLM_WAIT]

    @property
    def overlap(self) -> Overlap | None:
        """How the columns of its chain overlap, if it has one."""
        if not self.case.depends:
            return None
        before, after = self.case.depends
        columns = self.record.select(ev.SchedulerJobStarted)[0].columns
        needs = {name: name.replace(after, before, 1) for name in columns if name.startswith(after)}
        return pipeline_overlap(self.record.events, needs)

    @property
    def idle_class(self) -> str:
        """The reference's word for what kept the slots of waiting tasks idle."""
        overlap = self.overlap
        return idle_class(self.waiting, Waits() if overlap is None else overlap.ready_gap)

    @property
    def skips(self) -> int:
        """Candidates that the advisory passed over."""
        return len(self.record.select(ev.RequestPressureAdvisorySkipped))

    @property
    def first_dispatch(self) -> str:
        """The column of the first cell that was started."""
        spawned = self.record.select(ev.WorkerSpawned)
        return next((event.column for event in spawned if event.row is not None), "")


def measure(case: Case) -> Measured:
    """Runs a case once: virtual time has no noise."""
    record = simulate(case.workload)
    bounds = record.result.bounds
    assert bounds is not None, "the cases are small enough to be recorded whole"
    lower = max(bounds.lower_s, _horizon_bound(case, record))
    return Measured(case, record, lower, metrics(record))


def _horizon_bound(case: Case, record: SimulatedRecord) -> float:
    """What a fixed number of open row groups costs at the least.

    Each row group is open for as long as its longest chain takes; so many at once share the time.
    """
    if case.fixed_groups is None:
        return 0.0
    started = {e.task_id: e.at for e in record.select(ev.TaskLeaseAcquired)}
    spawned = {e.task_id: e for e in record.select(ev.WorkerSpawned)}
    seconds: dict[tuple[int, int | None], float] = {}
    for event in record.select(ev.TaskCompleted):
        task = spawned[event.task_id]
        row = (task.row_group, task.row)
        # In these cases the columns of a row that follow each other take their time in turn.
        took = event.at - started[event.task_id]
        seconds[row] = seconds.get(row, 0.0) + took if case.depends else took
    chains: dict[int, float] = {}
    fan_out = case.generations / (2 * (case.workload.rows or 1)) if case.depends else 1.0
    for (group, _), took in seconds.items():
        chains[group] = max(chains.get(group, 0.0), took / fan_out)
    return math.fsum(chains.values()) / case.fixed_groups


def published() -> dict[str, Mapping[str, Any]]:
    """The reference's figures by the names of its cases."""
    text = files("ddsched_nb.bench.suite").joinpath("reference.json").read_text(encoding="utf-8")
    return {entry["case"]: entry for entry in json.loads(text)["cases"]}


def suite_table(cases: Iterable[Case] = (*CASES, *OWN_CASES)) -> list[dict[str, object]]:
    """A line for each case: ours, in virtual time, and the reference's as published."""
    known = published()
    lines: list[dict[str, object]] = []
    for case in cases:
        measured, theirs = measure(case), known.get(case.name, {})
        waiting = measured.waiting
        lines.append(
            {
                "#": case.number or "own",
                "case": case.name + (" (control)" if case.control else ""),
                "wall s": f"{measured.makespan_s:.4f}",
                "over bound": f"{measured.over_bound:.3f}",
                "llm util": _both(waiting.utilization, theirs, "llm_utilization"),
                "frontier idle": _both(waiting.frontier_ratio, theirs, "frontier_idle"),
                "leased wait ms": _both(
                    1e3 * measured.found.leased_request_wait_s, theirs, "leased_request_wait_s", 1e3
                ),
                "skips": f"{measured.skips} ({theirs.get('advisory_skips', '-')})",
                "first": measured.first_dispatch,
            }
        )
    return lines


def _both(ours: float, theirs: Mapping[str, Any], name: str, factor: float = 1.0) -> str:
    published_figure = theirs.get(name)
    other = "-" if published_figure is None else f"{factor * published_figure:.3g}"
    return f"{ours:.3f} ({other})"


def combined() -> list[dict[str, object]]:
    """The combined case: control, each adaptation alone, and both, at four settings."""
    lines: list[dict[str, object]] = []
    for setting in COMBINED:
        walls: dict[str, Measured] = {}
        for adaptive, advisory in ((False, False), (True, False), (False, True), (True, True)):
            case = setting.case(adaptive=adaptive, advisory=advisory)
            walls[case.name] = measure(case)
        both = walls["both"].makespan_s
        single = min(walls[n].makespan_s for n in ("adaptive-row-groups", "advisory"))
        entry: dict[str, object] = {
            "held ms": f"{1e3 * setting.held_s:g}",
            "rows": setting.rows,
            "slots": setting.slots,
        }
        entry |= {name: f"{found.makespan_s:.4f}" for name, found in walls.items()}
        entry |= {
            "both over bound": f"{walls['both'].over_bound:.3f}",
            "faster than the best single": f"{1 - both / single:.1%}",
            "than control": f"{1 - both / walls['control'].makespan_s:.1%}",
        }
        lines.append(entry)
    return lines
