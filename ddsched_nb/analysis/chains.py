"""How two columns of which one needs the other overlap in time, by the reference's formulas."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ddsched_nb.analysis.metrics import ResourceMetrics
from ddsched_nb.analysis.waits import Waits
from ddsched_nb.core import events as ev

__all__ = ["Overlap", "idle_class", "pipeline_overlap"]

# The reference's thresholds: shares of capacity, seconds, and a multiple of the gap.
_NOTABLE = 0.10
_LONG_S = 1.0
_GAPS = 10.0


@dataclass(frozen=True, slots=True)
class Overlap:
    """How the cells of some columns and of those that need them overlap.

    Attributes:
        ratio: Of the time in which upstream cells run, the share in which downstream ones do too.
        ready_gap: From the end of each cell's upstream cell to its own start.
        first_dispatch_delay_s: From the first start upstream to the first one downstream; None if
            there was none.
    """

    ratio: float
    ready_gap: Waits
    first_dispatch_delay_s: float | None


def pipeline_overlap(events: Iterable[ev.Event], needs: Mapping[str, str]) -> Overlap:
    """Measures how columns overlap with those that need them, row by row.

    Args:
        events: The events of a whole record, in order.
        needs: The upstream column of each downstream column, both with a task a row.
    """
    upstream = frozenset(needs.values())
    spawned: dict[str, ev.WorkerSpawned] = {}
    ended: dict[tuple[str, int, int | None], float] = {}
    gaps: list[float] = []
    first_up = first_down = math.inf
    for event in events:
        if isinstance(event, ev.WorkerSpawned):
            spawned[event.task_id] = event
            if event.column in upstream:
                first_up = min(first_up, event.at)
            if event.column in needs:
                first_down = min(first_down, event.at)
                since = ended.get((needs[event.column], event.row_group, event.row))
                gaps += [] if since is None else [max(0.0, event.at - since)]
        elif isinstance(event, ev.TaskCompleted):
            told = spawned.pop(event.task_id, None)
            if told is not None and told.column in upstream:
                ended[told.column, told.row_group, told.row] = event.at
    last_up = max(ended.values(), default=first_up)
    shared = max(0.0, last_up - first_down)
    delay = first_down - first_up
    ratio = shared / (last_up - first_up) if last_up > first_up and shared else 0.0
    return Overlap(ratio, Waits.of(gaps), delay if math.isfinite(delay) else None)


def idle_class(found: ResourceMetrics, ready_gap: Waits) -> str:
    """The reference's word for what kept a resource idle.

    Args:
        found: The resource, `llm_wait` in the reference.
        ready_gap: The gap between cells and those upstream of them.
    """
    if found.frontier_ratio >= _NOTABLE and found.frontier_ratio > found.starved_ratio:
        return "frontier/dependency-horizon"
    long = max(_LONG_S, _GAPS * ready_gap.p95)
    if found.starved_ratio >= _NOTABLE or found.waits.p95 > long:
        return "queued-work starvation"
    return "healthy/control"
