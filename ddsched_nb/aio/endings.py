"""Says how things ended: in full for the run's user, in a safe word for events, logs and stores."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import FrameType

from ddsched_nb.aio.worker import EndKind, TaskEnd
from ddsched_nb.core.model import Task
from ddsched_nb.errors import (
    AnswerDidNotParse,
    CallFailed,
    DdschedError,
    GeneratorBug,
    ProviderError,
    RowDropped,
    RunError,
)

_PACKAGE = str(Path(__file__).parents[1])


def explain(error: BaseException | None) -> str:
    """One line for the user of the run, which may be shown and stored in a notebook.

    It has our own words, the reason that a generator gave for dropping its row, or the type of an
    exception and where it was raised. Never the text of a foreign exception: it may hold a cell.
    """
    if error is None:
        return "unknown"
    if isinstance(error, ProviderError):
        return _one_line(error)
    if isinstance(error, DdschedError):
        return f"{type(error).__name__}: {_one_line(error)}"
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return f"{type(error).__name__}: {error.strerror}{_where(error)}"  # the system's words
    return f"{type(error).__name__}{_where(error)}"


def full_text(error: BaseException | None) -> str:
    """What else is known, for eyes only: may echo a prompt or a cell. Stays in memory."""
    if isinstance(error, ProviderError):
        return error.detail
    return "" if error is None or isinstance(error, DdschedError) else _one_line(error)


def label(error: BaseException | None) -> str:
    """A word for events: only what cannot hold prompts, answers, row values or keys."""
    if isinstance(error, ProviderError):
        return f"{error.kind} {error.status}" if error.status else error.kind
    return type(error).__name__ if error is not None else "unknown"


def counts_as_failure(error: BaseException | None) -> bool:
    """Whether a dropped row is a failure: not where its generator wanted it dropped."""
    return not isinstance(error, RowDropped) or isinstance(error, AnswerDidNotParse | CallFailed)


def failure_of(task: Task, end: TaskEnd) -> RunError:
    """The error that a run raises because of one task's end."""
    if isinstance(end.error, RunError):
        return end.error
    where = f"row {task.row}" if task.row is not None else f"row group {task.row_group}"
    failure = GeneratorBug(
        f"the generator of column {task.column!r} failed at {where} with "
        f"{explain(end.error)}. Rows finished before are kept; mend the generator, or drop such "
        'rows with RunConfig(on_bug="drop")',
        column=task.column,
        row=task.row,
    )
    if end.kind is EndKind.BUG:
        failure.__cause__ = end.error
    return failure


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _where(error: BaseException) -> str:
    """Function and line of the innermost frame outside this package."""
    frames: list[tuple[FrameType, int]] = list(traceback.walk_tb(error.__traceback__))
    own = [(f, line) for f, line in frames if not f.f_code.co_filename.startswith(_PACKAGE)]
    if not own:
        return ""
    frame, line = own[-1]
    return f" in {frame.f_code.co_name}, line {line}"
