"""How a run went as a whole: rows over time, throughput, refusals, lags, and what must be zero.

Formulas are those of the reference's benchmark plan where it has them. Pure functions of the events
of a whole record; times are seconds from the start of the job.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ddsched_nb.analysis.roots import RootDebt
from ddsched_nb.analysis.task_ids import group_of
from ddsched_nb.analysis.waits import Waits
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import OutcomeKind
from ddsched_nb.reprs import html_table, tell_whole, text_table

__all__ = ["RunPace", "run_pace"]


@dataclass(frozen=True, slots=True)
class RunPace:
    """How a run went as a whole.

    Attributes:
        wall_s: From the start of the job to its end.
        rows: Rows that were finished and kept.
        cells: Tasks that were done, of those that serve one row each.
        first_group_s: Until the first row group was finished and stored; None if none was.
        half_rows_s: Until half of `rows` had all their cells.
        row_latency: From the opening of a row's group to the last of its cells.
        refusals: Requests that were refused.
        successes: Requests that were answered.
        loop_lag: Times that the event loop came back late enough to be told of.
        hidden_waiters: Workers that ran without a lease, at most at once: they would wait for the
            scheduler's resources where nobody sees it. Must be 0.
        coming_back: How long calls that had their permits waited until their tasks had back the
            slots which they had given to others.
        root_debt: By how many slots root tasks, started while tasks of later columns were queued,
            held more than their strict fair share, at most.
    """

    wall_s: float
    rows: int
    cells: int
    first_group_s: float | None
    half_rows_s: float | None
    row_latency: Waits
    refusals: int
    successes: int
    loop_lag: Waits
    hidden_waiters: int
    coming_back: Waits
    root_debt: int

    def __repr__(self) -> str:
        return f"<RunPace: {self.rows} rows in {self.wall_s:.2f} s, {self.refusals} refusals>"

    def __str__(self) -> str:
        return text_table(_HEADS, self._cells())

    _repr_pretty_ = tell_whole

    def _repr_html_(self) -> str:
        return html_table(_HEADS, self._cells(), caption="how the run went")

    @property
    def cells_per_s(self) -> float:
        """Cells that were done, over the wall time."""
        return self.cells / self.wall_s if self.wall_s else 0.0

    @property
    def rows_per_s(self) -> float:
        """Rows that were finished, over the wall time."""
        return self.rows / self.wall_s if self.wall_s else 0.0

    @property
    def refusals_per_success(self) -> float:
        """Refused requests for each that was answered; infinite where only refusals came."""
        if not self.successes:
            return math.inf if self.refusals else 0.0
        return self.refusals / self.successes

    def _cells(self) -> list[tuple[str, str]]:
        latency, lag, back = self.row_latency, self.loop_lag, self.coming_back
        return [
            ("wall time s", f"{self.wall_s:.3f}"),
            ("rows, and a second", f"{self.rows:,} / {self.rows_per_s:,.1f}"),
            ("cells, and a second", f"{self.cells:,} / {self.cells_per_s:,.1f}"),
            ("first row group s", _seconds(self.first_group_s)),
            ("half of the rows s", _seconds(self.half_rows_s)),
            ("latency of a row s: p50", f"{latency.p50:.3f}"),
            ("p95", f"{latency.p95:.3f}"),
            ("p99", f"{latency.p99:.3f}"),
            ("refusals per success", f"{self.refusals_per_success:.3f}"),
            ("late loops, longest s", f"{lag.count:,} / {lag.max:.3f}"),
            ("waits for own slots, longest s", f"{back.count:,} / {back.max:.3f}"),
            ("hidden waiters", f"{self.hidden_waiters}"),
            ("root over-admission", f"{self.root_debt}"),
        ]


_HEADS = ("what", "value")


def _seconds(found: float | None) -> str:
    return "-" if found is None else f"{found:.3f}"


def run_pace(events: Iterable[ev.Event]) -> RunPace:
    """Reads how a run went.

    Args:
        events: The events of a whole record, in order.
    """
    reader = _Reader()
    for event in events:
        book = _BOOKS.get(type(event))
        if book is not None:
            book(reader, event)
    return reader.summed()


class _Group:
    """An open row group: when its rows had their last cells."""

    __slots__ = ("dropped", "ends", "opened_at", "whole_at")

    def __init__(self, opened_at: float) -> None:
        self.opened_at = opened_at
        self.whole_at = opened_at
        self.ends: dict[int, float] = {}
        self.dropped: set[int] = set()


class _Reader:
    def __init__(self) -> None:
        self._begins = self._ends = self._last = 0.0
        self._rows = self._cells = self._refusals = self._successes = 0
        self._first_group: float | None = None
        self._groups: dict[int, _Group] = {}
        self._places: dict[str, tuple[int, int | None]] = {}
        self._row_ends: list[float] = []
        self._latencies: list[float] = []
        self._lags: list[float] = []
        self._leases: dict[str, int] = {}
        self._hidden: set[str] = set()
        self._most_hidden = 0
        self._askers: dict[tuple[object, int], str] = {}
        self._aside: set[str] = set()
        self._permit_at: dict[str, float] = {}
        self._coming_back: list[float] = []
        self._columns: tuple[str, ...] = ()
        self._roots = RootDebt()

    def summed(self) -> RunPace:
        """All of it."""
        half = None
        if self._row_ends:
            ordered = sorted(self._row_ends)
            half = ordered[(len(ordered) - 1) // 2] - self._begins
        return RunPace(
            self._ends - self._begins,
            self._rows,
            self._cells,
            self._first_group,
            half,
            Waits.of(self._latencies),
            self._refusals,
            self._successes,
            Waits.of(self._lags),
            self._most_hidden,
            Waits.of(self._coming_back),
            self._roots.most,
        )

    def _started(self, event: ev.SchedulerJobStarted) -> None:
        self._begins = self._ends = event.at
        self._columns = tuple(event.flows)
        self._roots.know(event)

    def _ended(self, event: ev.SchedulerJobCompleted) -> None:
        self._ends = event.at

    def _lagged(self, event: ev.SchedulerLoopLagged) -> None:
        self._lags.append(event.seconds)

    def _opened(self, event: ev.RowGroupAdmitted) -> None:
        self._groups[event.row_group] = _Group(event.at)
        self._roots.opened(event.row_group)

    def _enqueued(self, event: ev.ReadyEnqueued) -> None:
        self._roots.queued(event.task_id, event.flow.label)

    def _leased(self, event: ev.TaskLeaseAcquired) -> None:
        self._leases[event.task_id] = event.lease_id
        self._roots.leased(event.task_id)

    def _spawned(self, event: ev.WorkerSpawned) -> None:
        self._places[event.task_id] = (event.row_group, event.row)
        if event.task_id not in self._leases:
            self._hidden.add(event.task_id)
            self._most_hidden = max(self._most_hidden, len(self._hidden))

    def _completed(self, event: ev.TaskCompleted) -> None:
        self._hidden.discard(event.task_id)
        self._ends = max(self._ends, event.at)
        group, row = self._places.pop(event.task_id, (-1, None))
        found = self._groups.get(group)
        if event.outcome not in _MADE or found is None:
            return
        if row is None:
            found.whole_at = event.at
        else:
            self._cells += 1
            found.ends[row] = event.at

    def _released(self, event: ev.TaskLeaseReleased) -> None:
        self._leases.pop(event.task_id, None)
        self._aside.discard(event.task_id)
        self._permit_at.pop(event.task_id, None)
        self._roots.released(event.task_id)

    def _dropped(self, event: ev.NonRetryableDropped) -> None:
        found = self._groups.get(int(group_of(event.task_id, self._columns)))
        if found is not None and event.row is not None:
            found.dropped.add(event.row)
        self._roots.dropped(event)

    def _checkpointed(self, event: ev.RowGroupCheckpointed) -> None:
        if self._first_group is None:
            self._first_group = event.at - self._begins
        self._ends = max(self._ends, event.at)
        self._rows += event.rows_kept
        group = self._groups.pop(event.row_group, None)
        if group is None:
            return
        ends = [
            max(at, group.whole_at) for row, at in group.ends.items() if row not in group.dropped
        ]
        if not group.ends:
            ends = [group.whole_at] * event.rows_kept  # only tasks for all of them
        ends = sorted(ends)[: event.rows_kept]
        self._row_ends += ends
        self._latencies += [at - group.opened_at for at in ends]

    def _refused(self, event: ev.RequestRateLimited) -> None:
        self._refusals += 1

    def _answered(self, event: ev.ModelRequestCompleted) -> None:
        self._successes += event.outcome is OutcomeKind.SUCCESS

    def _asks(self, event: ev.RequestWaitStarted) -> None:
        if event.task_id is not None:
            self._askers[event.pool, event.waiter_id] = event.task_id

    def _gives_up(self, event: Any) -> None:
        self._askers.pop((event.pool, event.waiter_id), None)

    def _granted(self, event: ev.RequestLeaseAcquired) -> None:
        task_id = self._askers.pop((event.pool, event.waiter_id), None)
        if task_id in self._aside:
            self._permit_at.setdefault(task_id, event.at)

    def _stepped_aside(self, event: ev.TaskSlotsYielded) -> None:
        self._aside.add(event.task_id)

    def _came_back(self, event: ev.TaskSlotsRetaken) -> None:
        self._aside.discard(event.task_id)
        self._coming_back.append(event.at - self._permit_at.pop(event.task_id, event.at))


_MADE = frozenset({"done", "skipped"})


_BOOKS: dict[type, Callable[[_Reader, Any], None]] = {
    ev.SchedulerJobStarted: _Reader._started,
    ev.SchedulerJobCompleted: _Reader._ended,
    ev.SchedulerLoopLagged: _Reader._lagged,
    ev.RowGroupAdmitted: _Reader._opened,
    ev.ReadyEnqueued: _Reader._enqueued,
    ev.TaskLeaseAcquired: _Reader._leased,
    ev.WorkerSpawned: _Reader._spawned,
    ev.TaskCompleted: _Reader._completed,
    ev.TaskLeaseReleased: _Reader._released,
    ev.NonRetryableDropped: _Reader._dropped,
    ev.RowGroupCheckpointed: _Reader._checkpointed,
    ev.RequestRateLimited: _Reader._refused,
    ev.ModelRequestCompleted: _Reader._answered,
    ev.RequestWaitStarted: _Reader._asks,
    ev.RequestWaitTimeout: _Reader._gives_up,
    ev.RequestWaitCancelled: _Reader._gives_up,
    ev.RequestLeaseAcquired: _Reader._granted,
    ev.TaskSlotsYielded: _Reader._stepped_aside,
    ev.TaskSlotsRetaken: _Reader._came_back,
}
