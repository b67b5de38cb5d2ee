"""The worker: runs one task's generator and classifies how it ended. The one place that does."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from ddsched_nb.aio.buffer import RowGroupBuffer
from ddsched_nb.aio.context import CallContext, ModelBinding
from ddsched_nb.aio.executor import ModelExecutor
from ddsched_nb.core.model import ColumnSpec, ReadyTask
from ddsched_nb.errors import AdmissionClosed, ProviderError, QueueTimeout, RowDropped, RunStalled


class EndKind(StrEnum):
    """How a task ended."""

    DONE = "done"
    DROP = "drop"
    DEFER = "defer"
    BUG = "bug"
    STALLED = "stalled"
    CANCELLED = "cancelled"


class TaskEnd(NamedTuple):
    """The end of a task: its outputs if it is done, else what went wrong."""

    kind: EndKind
    values: Mapping[str, Any] | None = None
    error: BaseException | None = None


class Work(NamedTuple):
    """What a column does.

    Attributes:
        spec: Its shape.
        run: Called with a row (or a group's rows) and a context; gives the value, or an awaitable.
        models: The models it may call, by alias.
    """

    spec: ColumnSpec
    run: Callable[[Any, CallContext], Any]
    models: Mapping[str, ModelBinding]


class Worker:
    """Runs tasks.

    Args:
        works: What each column does.
        buffer: Gives the inputs.
        executor: Sends the model calls.
    """

    def __init__(
        self, works: Mapping[str, Work], buffer: RowGroupBuffer, executor: ModelExecutor
    ) -> None:
        self._works = works
        self._buffer = buffer
        self._executor = executor

    async def run(self, ready: ReadyTask) -> TaskEnd:
        """Runs one task; only cancellation and the like leave as exceptions."""
        work = self._works[ready.task.column]
        try:
            value = work.run(
                self._inputs(work, ready), CallContext(ready, work.models, self._executor)
            )
            if inspect.isawaitable(value):
                value = await value
            return TaskEnd(EndKind.DONE, _outputs(work.spec, value))
        except Exception as error:
            return TaskEnd(judge(error), error=error)

    def _inputs(self, work: Work, ready: ReadyTask) -> Any:
        if ready.task.row is None:
            return self._buffer.rows(ready.task)
        return self._buffer.row(ready.task, work.spec.needs)


def judge(error: BaseException) -> EndKind:
    """What an exception from a generator means for its task."""
    if isinstance(error, RunStalled):
        return EndKind.STALLED
    if isinstance(error, RowDropped):
        return EndKind.DROP
    if isinstance(error, ProviderError):
        return EndKind.DEFER if error.retryable else EndKind.DROP
    if isinstance(error, QueueTimeout):
        return EndKind.DEFER
    if isinstance(error, asyncio.CancelledError | AdmissionClosed):
        return EndKind.CANCELLED
    return EndKind.BUG


def _outputs(spec: ColumnSpec, value: Any) -> Mapping[str, Any]:
    if len(spec.outputs) == 1:
        return {spec.outputs[0]: value}
    return dict(value)
