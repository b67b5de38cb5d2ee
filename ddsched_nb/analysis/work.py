"""The work of a run, task by task: what each took, of which model, and whom it had to wait for.

Read from a record and the endpoint's own log of what it served, so that nothing of how the run was
scheduled is left in it: the same work, to be scheduled by a bound, or by an oracle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ddsched_nb.core.events import (
    SchedulerJobStarted,
    TaskCompleted,
    TaskLeaseAcquired,
    TaskLeaseReleased,
    WorkerSpawned,
)
from ddsched_nb.core.graph import ColumnGraph
from ddsched_nb.core.model import ModelKey, Task
from ddsched_nb.record import RunRecord

__all__ = ["Call", "TaskWork", "read_work"]


class Call(NamedTuple):
    """A call that was answered.

    Attributes:
        task: The task that made it.
        model: Whom it asked.
        work_s: What it takes on an endpoint that nothing slows, in seconds.
        tokens: Tokens of prompt and answer.
    """

    task: Task
    model: ModelKey
    work_s: float
    tokens: int = 0


class TaskWork(NamedTuple):
    """What one task takes.

    Attributes:
        task: The task.
        own_s: Seconds of its own; only known, and only counted, of tasks without calls.
        calls: Its calls, one after the other.
        needs: Indexes of the tasks it waits for.
        holds: What it must hold of the scheduler while it works: its calls are in flight, or it
            does what it does without a model.
        priority: Row by row, upstream first.
    """

    task: Task
    own_s: float
    calls: tuple[Call, ...]
    needs: tuple[int, ...]
    holds: Mapping[str, int]
    priority: int

    @property
    def seconds(self) -> float:
        """What it takes on its own, undisturbed."""
        return self.own_s + sum(call.work_s for call in self.calls)


def read_work(
    record: RunRecord, graph: ColumnGraph, served: Iterable[Call]
) -> tuple[TaskWork, ...]:
    """The work of every task that was done.

    Args:
        record: A whole record of a run in virtual time.
        graph: The columns, hooks included.
        served: What the endpoints answered.

    Returns:
        The tasks, each after those it needs; empty if the record is cut.
    """
    started = record.select(SchedulerJobStarted)
    if record.truncated or not started:
        return ()
    holds = {name: shape.resources for name, shape in started[0].flows.items()}
    seconds = _durations(record)
    calls: dict[Task, list[Call]] = defaultdict(list)
    for call in served:
        calls[call.task].append(call)
    rank = {name: place for place, name in enumerate(graph.order)}
    ordered = sorted(seconds, key=lambda task: (task.row_group, rank[task.column], task.row or 0))
    return _linked(ordered, graph, rank, seconds, calls, holds)


def _linked(
    ordered: Sequence[Task],
    graph: ColumnGraph,
    rank: Mapping[str, int],
    seconds: Mapping[Task, float],
    calls: Mapping[Task, list[Call]],
    holds: Mapping[str, Mapping[str, int]],
) -> tuple[TaskWork, ...]:
    index = {task: place for place, task in enumerate(ordered)}
    of_column: dict[tuple[str, int], list[int]] = defaultdict(list)
    first_row: dict[int, int] = {}
    for place, task in enumerate(ordered):
        of_column[task.column, task.row_group].append(place)
        if task.row is not None:
            first_row[task.row_group] = min(task.row, first_row.get(task.row_group, task.row))
    found = []
    for task in ordered:
        needs: list[int] = []
        for name in graph.upstream(task.column):
            if task.row is None or graph.specs[name].is_whole:
                needs += of_column[name, task.row_group]
            elif (same_row := Task(name, task.row_group, task.row)) in index:
                needs.append(index[same_row])
        made = tuple(calls.get(task, ()))
        row = first_row.get(task.row_group, task.row_group) if task.row is None else task.row
        found.append(
            TaskWork(
                task,
                0.0 if made else seconds[task],
                made,
                tuple(needs),
                holds.get(task.column, {}),
                row * len(rank) + rank[task.column],
            )
        )
    return tuple(found)


def _durations(record: RunRecord) -> dict[Task, float]:
    """Seconds from lease to release of the tasks that were done."""
    tasks: dict[str, Task] = {}
    since: dict[str, float] = {}
    done: dict[str, bool] = {}
    seconds: dict[Task, float] = {}
    for event in record.events:
        if isinstance(event, TaskLeaseAcquired):
            since[event.task_id] = event.at
        elif isinstance(event, WorkerSpawned):
            tasks[event.task_id] = Task(event.column, event.row_group, event.row)
        elif isinstance(event, TaskCompleted):
            done[event.task_id] = event.outcome == "done"
        elif isinstance(event, TaskLeaseReleased) and done.get(event.task_id):
            seconds[tasks[event.task_id]] = event.at - since[event.task_id]
    return seconds
