"""The worker: runs one task's generator and classifies how it ended. The one place that does."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from ddsched_nb.aio.buffer import RowGroupBuffer
from ddsched_nb.aio.context import CallContext, ModelBinding
from ddsched_nb.aio.correlation import Execution, correlate
from ddsched_nb.aio.executor import ModelExecutor
from ddsched_nb.aio.offload import Offload, Place
from ddsched_nb.aio.seats import Seat
from ddsched_nb.aio.usage import UsageLedger
from ddsched_nb.aio.values import cell_values, hook_values, whole_values
from ddsched_nb.core.model import ColumnSpec, ReadyTask
from ddsched_nb.core.row import Batch, Row
from ddsched_nb.errors import (
    AdmissionClosed,
    ProviderError,
    QueueTimeout,
    RowDropped,
    RunError,
    RunStalled,
)


class EndKind(StrEnum):
    """How a task ended."""

    DONE = "done"
    SKIPPED = "skipped"
    DROP = "drop"
    DEFER = "defer"
    BUG = "bug"
    FAILED = "failed"
    STALLED = "stalled"
    CANCELLED = "cancelled"


class TaskEnd(NamedTuple):
    """The end of a task.

    Attributes:
        kind: How it ended.
        values: Its outputs, if it is done or was skipped: one value each, or one a row of `rows`.
        rows: The rows that a task of a whole group served.
        skipped: The rows that were skipped, and `skip_values` what their outputs hold.
        drops: Those rows that the generator wants dropped, with the reason.
        error: What went wrong, if something did.
    """

    kind: EndKind
    values: Mapping[str, Any] | None = None
    rows: Sequence[int] = ()
    skipped: Sequence[int] = ()
    skip_values: Mapping[str, Any] = {}
    drops: Mapping[int, RowDropped] = {}
    error: BaseException | None = None


class SkipRule(NamedTuple):
    """When a cell is skipped, and what it holds then.

    Attributes:
        when: Whether to skip this row; never on its own account if None.
        value: What each output of a skipped cell holds.
        propagate: Whether a cell is skipped that needs a skipped one.
    """

    when: Callable[[Row], Any] | None = None
    value: Any = None
    propagate: bool = True


class Work(NamedTuple):
    """What a column does.

    Attributes:
        spec: Its shape.
        run: Called with a row (or a group's rows) and a context, or without a context where it runs
            in a thread or a process; gives the value, or an awaitable.
        models: The models it may call, by alias.
        skip: Which cells are skipped.
        place: Where it runs: on the event loop if None.
        writes: Names of the columns that a hook may replace; None in a column.
    """

    spec: ColumnSpec
    run: Callable[..., Any]
    models: Mapping[str, ModelBinding]
    skip: SkipRule = SkipRule()
    place: Place | None = None
    writes: tuple[str, ...] | None = None


class Worker:
    """Runs tasks.

    Args:
        works: What each column does.
        buffer: Gives the inputs.
        executor: Sends the model calls.
        usage: Counts what they used.
        offload: Runs what would hold the event loop.
        run_id: What the run is called in its events.
    """

    def __init__(
        self,
        works: Mapping[str, Work],
        buffer: RowGroupBuffer,
        executor: ModelExecutor,
        usage: UsageLedger,
        offload: Offload,
        run_id: str = "",
    ) -> None:
        self._run_id = run_id
        self._works = works
        self._buffer = buffer
        self._executor = executor
        self._usage = usage
        self._offload = offload

    async def run(self, ready: ReadyTask, seat: Seat | None = None, lease_id: int = 0) -> TaskEnd:
        """Runs one task; only cancellation and the like leave as exceptions.

        Args:
            ready: The task.
            seat: What it gives back while all its calls wait for permits; nothing if None.
            lease_id: Number of its lease, which tells its executions apart.
        """
        work = self._works[ready.task.column]
        correlate(Execution(ready, work.spec.granularity, lease_id, self._run_id))
        try:
            if not work.spec.is_whole:
                return await self._run_cell(work, ready, seat)
            if work.spec.granularity == "root":
                rows = self._buffer.rows(ready.task)
                return await self._run_whole(work, ready, seat, rows, ())
            return await self._run_batch(work, ready, seat)
        except Exception as error:
            return TaskEnd(judge(error), error=error)

    async def _run_cell(self, work: Work, ready: ReadyTask, seat: Seat | None) -> TaskEnd:
        row = self._buffer.row(ready.task, work.spec.needs)
        if self._skips(work, ready, row):
            values = dict.fromkeys(work.spec.outputs, work.skip.value)
            return TaskEnd(EndKind.SKIPPED, values, (), (row.number,), values)
        made = await self._generate(work, ready, seat, row)
        return TaskEnd(EndKind.DONE, cell_values(work.spec, made))

    async def _run_batch(self, work: Work, ready: ReadyTask, seat: Seat | None) -> TaskEnd:
        batch = self._buffer.batch(ready.task, work.spec.needs)
        skips = [row.number for row in batch if self._skips(work, ready, row)]
        return await self._run_whole(work, ready, seat, batch.without(skips), skips)

    async def _run_whole(
        self,
        work: Work,
        ready: ReadyTask,
        seat: Seat | None,
        inputs: range | Batch,
        skipped: Sequence[int],
    ) -> TaskEnd:
        rows: Sequence[int] = inputs.numbers if isinstance(inputs, Batch) else inputs
        made = await self._generate(work, ready, seat, inputs) if rows else None
        if work.writes is not None:
            values, drops = hook_values(work.spec.name, work.writes, rows, made)
        elif rows:
            values, drops = whole_values(work.spec, rows, made)
        else:  # every row is skipped
            values, drops = {}, {}
        skip_values = dict.fromkeys(work.spec.outputs, work.skip.value)
        return TaskEnd(EndKind.DONE, values, rows, skipped, skip_values, drops)

    async def _generate(self, work: Work, ready: ReadyTask, seat: Seat | None, inputs: Any) -> Any:
        context = CallContext(ready, work.models, self._executor, self._usage, seat)
        if work.place is not None:
            # No context there: it belongs to the loop, and a generator on a thread cannot await.
            return await self._offload.run(work.place, work.run, inputs)
        made = work.run(inputs, context)
        return await made if inspect.isawaitable(made) else made

    def _skips(self, work: Work, ready: ReadyTask, row: Row) -> bool:
        rule = work.skip
        if rule.propagate and self._buffer.skipped(ready.task, row.number, work.spec.needs):
            return True
        return rule.when is not None and bool(rule.when(row))


def judge(error: BaseException) -> EndKind:
    """What an exception from a generator means for its task."""
    if isinstance(error, RunError):
        return EndKind.STALLED if isinstance(error, RunStalled) else EndKind.FAILED
    if isinstance(error, RowDropped):
        return EndKind.DROP
    if isinstance(error, ProviderError):
        return EndKind.DEFER if error.retryable else EndKind.DROP
    if isinstance(error, QueueTimeout):
        return EndKind.DEFER
    if isinstance(error, asyncio.CancelledError | AdmissionClosed):
        return EndKind.CANCELLED
    return EndKind.BUG
