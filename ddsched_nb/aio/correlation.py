"""Whose work is this? The task that the running code belongs to, in a context variable.

Tasks and threads inherit it; a child process gets it passed. Must not hold values of rows.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple

from ddsched_nb.core.model import ReadyTask, Task


class Correlation(NamedTuple):
    """The task that code runs for; plain data, so that it can be sent to another process.

    Attributes:
        task_id: The task, as in events.
        flow: The flow it belongs to.
        column: The column it computes.
        row_group: Index of its row group.
        row: Number of its row; None in a task of a whole row group.
        tasks: What a task of its column serves: `cell`, `root` or `batch`.
        execution: Number of its lease: a task that is tried again has another.
        run_id: The run, as in the first event of its record.
    """

    task_id: str
    flow: str
    column: str
    row_group: int
    row: int | None
    tasks: str = "cell"
    execution: int = 0
    run_id: str = ""


class Execution(NamedTuple):
    """A task that runs, as the scheduler knows it."""

    ready: ReadyTask
    tasks: str
    lease_id: int
    run_id: str


# The task itself on the loop, where many are set and few are asked for; plain data elsewhere.
_current: ContextVar[Execution | Correlation | None] = ContextVar(
    "ddsched_nb_correlation", default=None
)


def current_correlation() -> Correlation | None:
    """The task that the calling code runs for; None outside generators.

    Works in generators, in tasks and threads they start, and in generators that run in a thread or
    a process: for log records, traces and headers of one's own.
    """
    current = _current.get()
    if not isinstance(current, Execution):
        return current
    ready, tasks, execution, run_id = current
    column, row_group, row = ready.task
    flow = ready.flow.key.label
    return Correlation(ready.task_id, flow, column, row_group, row, tasks, execution, run_id)


def current_task() -> Task | None:
    """The task that the calling code runs for, as the scheduler knows it; on the loop only."""
    current = _current.get()
    return current.ready.task if isinstance(current, Execution) else None


def correlate(task: Execution | Correlation | None) -> None:
    """Makes a task the current one, in the context of the caller."""
    _current.set(task)
