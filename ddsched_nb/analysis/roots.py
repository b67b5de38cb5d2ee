"""Root over-admission: what root columns take above their strict fair share while others queue.

The root tasks of a row group are those that are queued in the turn that opens it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

from ddsched_nb.analysis.task_ids import group_of, lost_with
from ddsched_nb.core import events as ev

__all__ = ["RootDebt"]


class RootDebt:
    """Follows a run; `most` is the greatest number of slots above the share."""

    def __init__(self) -> None:
        self.most = 0
        self._needs: dict[str, Mapping[str, int]] = {}
        self._shares: dict[str, dict[str, int]] = {}
        self._columns: tuple[str, ...] = ()
        self._opening: set[str] = set()
        self._flows: dict[str, str] = {}  # of root tasks that are queued or hold a lease
        self._later: set[str] = set()  # queued tasks of later columns
        self._held: dict[str, Counter[str]] = {}
        self._leased: set[str] = set()

    def know(self, started: ev.SchedulerJobStarted) -> None:
        """The job, with its flows and capacities."""
        self._columns = tuple(started.flows)
        shapes = {shape.flow: shape for shape in started.flows.values()}
        self._needs = {flow: shape.resources for flow, shape in shapes.items()}
        totals: dict[str, float] = {}
        for shape in shapes.values():
            for resource in shape.resources:
                totals[resource] = totals.get(resource, 0.0) + shape.weight
        for flow, shape in shapes.items():
            self._held[flow] = Counter()
            self._shares[flow] = {
                r: max(1, math.ceil(started.capacities[r] * shape.weight / totals[r] - 1e-9))
                for r in shape.resources
                if r in started.capacities
            }

    def opened(self, group: int) -> None:
        """A row group was opened; its root tasks are queued next."""
        self._opening.add(str(group))

    def queued(self, task_id: str, flow: str) -> None:
        """A task was queued."""
        if self._opening and group_of(task_id, self._columns) in self._opening:
            self._flows[task_id] = flow
        else:
            self._later.add(task_id)

    def leased(self, task_id: str) -> None:
        """A task got its lease."""
        self._opening.clear()
        self._later.discard(task_id)
        flow = self._flows.get(task_id)
        if flow is None or flow not in self._held:
            return
        self._leased.add(task_id)
        held = self._held[flow]
        held.update(self._needs[flow])
        if self._later:
            above = (held[r] - share for r, share in self._shares[flow].items())
            self.most = max(self.most, *above, 0)

    def released(self, task_id: str) -> None:
        """A task gave its lease back."""
        if task_id in self._leased:
            self._leased.remove(task_id)
            flow = self._flows.pop(task_id)
            self._held[flow].subtract(self._needs[flow])

    def dropped(self, event: ev.NonRetryableDropped) -> None:
        """A row was dropped, or a whole group."""
        self._later.difference_update(lost_with(event, self._later, self._columns))
