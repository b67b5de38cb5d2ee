"""The two streams of a record, joined by task: thirteen instants from row group to release.

A pure function of a record. What a task did several times (it was put aside and started again, or
made several calls) is told by the first and the last of them, and by how often.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from ddsched_nb.core import events as ev
from ddsched_nb.record import RunRecord
from ddsched_nb.reprs import brief, html_table

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 10

__all__ = ["TaskTimeline", "Timelines", "joined", "task_timelines"]


@dataclass(slots=True)
class TaskTimeline:
    """When what happened to one task, in seconds of the run's clock; None where it did not.

    Attributes:
        task_id: The task.
        column: Its column.
        row_group: Index of its row group.
        row: Number of its row; None in a task of a whole row group.
        flow: Label of its flow.
        group_admitted: Its row group was opened.
        dependency_ready: All its inputs were there.
        ready_enqueued: It was queued, for the first time.
        selected: It was its turn, the last time.
        lease_acquired: It had its lease, the last time.
        worker_spawned: Its worker was started, the last time.
        request_wait_started: Its first call asked for a permit.
        permit_acquired: Its first call had one.
        request_started: Its first call went out.
        request_completed: Its last call was answered.
        permit_released: The last permit was given back.
        task_completed: It ended, the last time.
        lease_released: Its lease was given back, the last time.
        executions: How often it was started.
        requests: How many calls went out.
        refused: How many of them were refused.
        outcome: How it ended.
    """

    task_id: str
    column: str = ""
    row_group: int = 0
    row: int | None = None
    flow: str = ""
    group_admitted: float | None = None
    dependency_ready: float | None = None
    ready_enqueued: float | None = None
    selected: float | None = None
    lease_acquired: float | None = None
    worker_spawned: float | None = None
    request_wait_started: float | None = None
    permit_acquired: float | None = None
    request_started: float | None = None
    request_completed: float | None = None
    permit_released: float | None = None
    task_completed: float | None = None
    lease_released: float | None = None
    executions: int = 0
    requests: int = 0
    refused: int = 0
    outcome: str | None = None

    def __repr__(self) -> str:
        return brief(
            f"<TaskTimeline of {self.task_id}: started {self.executions} times, "
            f"{self.requests} calls, {self.refused} refused, {self.outcome or 'not ended'}>"
        )

    def _repr_html_(self) -> str:
        found = [(name, getattr(self, name)) for name in _INSTANTS]
        rows = [(name.replace("_", " "), f"{at:.3f}") for name, at in found if at is not None]
        caption = f"{self.task_id}, of flow {self.flow}"
        return html_table(("what", "at s"), rows, caption=caption)

    @property
    def queue_s(self) -> float | None:
        """From queued to its lease, in seconds."""
        return _between(self.ready_enqueued, self.lease_acquired)

    @property
    def permit_wait_s(self) -> float | None:
        """From asking for the first permit to having it, in seconds."""
        return _between(self.request_wait_started, self.permit_acquired)

    @property
    def service_s(self) -> float | None:
        """From the first call that went out to the last answer, in seconds."""
        return _between(self.request_started, self.request_completed)


_INSTANTS = tuple(f.name for f in fields(TaskTimeline) if f.type == "float | None")


class Timelines(tuple[TaskTimeline, ...]):
    """The timelines of a record's tasks, in the order in which they were ready."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<Timelines of {len(self)} tasks>"

    def _repr_html_(self) -> str:
        rows = [
            (t.task_id, t.flow, *map(_seconds, (t.queue_s, t.permit_wait_s, t.service_s)))
            for t in self[:_SHOWN]
        ]
        more = f"; the first {_SHOWN}" if len(self) > _SHOWN else ""
        heads = ("task", "flow", "queued s", "permit s", "calls s")
        return html_table(heads, rows, caption=f"timelines of {len(self):,} tasks{more}")

    def to_pandas(self) -> pd.DataFrame:
        """One row a task."""
        import pandas as pd

        names = [field.name for field in fields(TaskTimeline)]
        return pd.DataFrame({name: [getattr(each, name) for each in self] for name in names})


def task_timelines(record: RunRecord) -> Timelines:
    """Joins the scheduler's stream and that of request admission.

    Args:
        record: A record. Of one that was cut, the tasks are told as far as they are in it.
    """
    return joined(record.events)


def joined(events: Iterable[ev.Event]) -> Timelines:
    """The same of events in order, without a record.

    Args:
        events: The events of a run.
    """
    joiner = _Joiner()
    for event in events:
        join = _JOINS.get(type(event))
        if join is not None:
            join(joiner, event)
    return Timelines(joiner.tasks.values())


class _Joiner:
    def __init__(self) -> None:
        self.tasks: dict[str, TaskTimeline] = {}
        self._groups: dict[int, float] = {}
        self._waiters: dict[tuple[Any, int], str] = {}
        self._permits: dict[tuple[Any, int], str] = {}

    def _of(self, task_id: str) -> TaskTimeline:
        found = self.tasks.get(task_id)
        if found is None:
            found = self.tasks[task_id] = TaskTimeline(task_id)
        return found

    def group(self, event: ev.RowGroupAdmitted) -> None:
        self._groups[event.row_group] = event.at

    def ready(self, event: ev.DependencyReady) -> None:
        task = self._of(event.task_id)
        if task.dependency_ready is None:
            task.dependency_ready = event.at

    def enqueued(self, event: ev.ReadyEnqueued) -> None:
        task = self._of(event.task_id)
        task.flow = event.flow.label
        if task.ready_enqueued is None:
            task.ready_enqueued = event.at

    def selected(self, event: ev.Selected) -> None:
        self._of(event.task_id).selected = event.at

    def leased(self, event: ev.TaskLeaseAcquired) -> None:
        self._of(event.task_id).lease_acquired = event.at

    def spawned(self, event: ev.WorkerSpawned) -> None:
        task = self._of(event.task_id)
        task.column, task.row_group, task.row = event.column, event.row_group, event.row
        task.group_admitted = self._groups.get(event.row_group)
        task.worker_spawned = event.at
        task.executions += 1

    def asks(self, event: ev.RequestWaitStarted) -> None:
        if event.task_id is None:
            return
        self._waiters[event.pool, event.waiter_id] = event.task_id
        task = self._of(event.task_id)
        if task.request_wait_started is None:
            task.request_wait_started = event.at

    def gives_up(self, event: ev.RequestWaitCancelled | ev.RequestWaitTimeout) -> None:
        self._waiters.pop((event.pool, event.waiter_id), None)

    def permitted(self, event: ev.RequestLeaseAcquired) -> None:
        task_id = self._waiters.pop((event.pool, event.waiter_id), None)
        if task_id is None:
            return
        self._permits[event.pool, event.permit_id] = task_id
        task = self._of(task_id)
        if task.permit_acquired is None:
            task.permit_acquired = event.at

    def sent(self, event: ev.ModelRequestStarted) -> None:
        if event.task_id is None:
            return
        task = self._of(event.task_id)
        task.requests += 1
        if task.request_started is None:
            task.request_started = event.at

    def answered(self, event: ev.ModelRequestCompleted) -> None:
        if event.task_id is not None:
            self._of(event.task_id).request_completed = event.at

    def refused(self, event: ev.RequestRateLimited) -> None:
        task_id = self._permits.get((event.pool, event.permit_id))
        if task_id is not None:
            self._of(task_id).refused += 1

    def returned(self, event: ev.RequestLeaseReleased) -> None:
        task_id = self._permits.pop((event.pool, event.permit_id), None)
        if task_id is not None:
            self._of(task_id).permit_released = event.at

    def completed(self, event: ev.TaskCompleted) -> None:
        task = self._of(event.task_id)
        task.task_completed, task.outcome = event.at, event.outcome

    def released(self, event: ev.TaskLeaseReleased) -> None:
        self._of(event.task_id).lease_released = event.at


_JOINS: dict[type, Any] = {
    ev.RowGroupAdmitted: _Joiner.group,
    ev.DependencyReady: _Joiner.ready,
    ev.ReadyEnqueued: _Joiner.enqueued,
    ev.Selected: _Joiner.selected,
    ev.TaskLeaseAcquired: _Joiner.leased,
    ev.WorkerSpawned: _Joiner.spawned,
    ev.RequestWaitStarted: _Joiner.asks,
    ev.RequestWaitCancelled: _Joiner.gives_up,
    ev.RequestWaitTimeout: _Joiner.gives_up,
    ev.RequestLeaseAcquired: _Joiner.permitted,
    ev.ModelRequestStarted: _Joiner.sent,
    ev.ModelRequestCompleted: _Joiner.answered,
    ev.RequestRateLimited: _Joiner.refused,
    ev.RequestLeaseReleased: _Joiner.returned,
    ev.TaskCompleted: _Joiner.completed,
    ev.TaskLeaseReleased: _Joiner.released,
}


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else end - start


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
