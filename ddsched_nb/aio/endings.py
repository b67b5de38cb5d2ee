"""Says how things ended: in full for the run's user, in a safe word for events and logs."""

from __future__ import annotations

from ddsched_nb.aio.worker import EndKind, TaskEnd
from ddsched_nb.core.model import Task
from ddsched_nb.errors import GeneratorBug, ProviderError, RunError, RunStalled


def explain(error: BaseException | None) -> str:
    """One line for the user of the run. May hold what a generator said; stays in memory."""
    if error is None:
        return "unknown"
    text = " ".join(str(error).split())
    return text if isinstance(error, ProviderError) else f"{type(error).__name__}: {text}"


def label(error: BaseException | None) -> str:
    """A word for events: only what cannot hold prompts, answers, row values or keys."""
    if isinstance(error, ProviderError):
        return f"{error.kind} {error.status}" if error.status else error.kind
    return type(error).__name__ if error is not None else "unknown"


def failure_of(task: Task, end: TaskEnd) -> RunError:
    """The error that a run raises because of one task's end."""
    if end.kind is EndKind.STALLED and isinstance(end.error, RunStalled):
        return end.error
    where = f"row {task.row}" if task.row is not None else f"row group {task.row_group}"
    failure = GeneratorBug(
        f"the generator of column {task.column!r} failed at {where} with "
        f"{explain(end.error)}. Rows finished before are kept; mend the generator, or drop such "
        'rows with RunConfig(on_bug="drop")',
        column=task.column,
        row=task.row,
    )
    failure.__cause__ = end.error
    return failure
