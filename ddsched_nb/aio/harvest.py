"""Brings in what a task made: cells into the buffer, drops and counts to whom they concern.

One step for each way a task can end. Which step is due is the scheduler's to say; what starts next
is not known here.
"""

from __future__ import annotations

from ddsched_nb.aio.buffer import RowGroupBuffer
from ddsched_nb.aio.endings import counts_as_failure, explain, failure_of, full_text, label
from ddsched_nb.aio.progress import Progress, RowError
from ddsched_nb.aio.reporters import SchedulerReporter
from ddsched_nb.aio.worker import EndKind, TaskEnd
from ddsched_nb.core.model import ReadyTask, RowGroup, Task
from ddsched_nb.core.run_limits import FailureShare, FailureWindow
from ddsched_nb.core.schedule import Schedule
from ddsched_nb.errors import RunError, TooManyFailures
from ddsched_nb.store.journal import DroppedRow


class Harvest:
    """Takes the ends of tasks.

    Args:
        schedule: Told what is complete and what is dropped.
        buffer: Gets the cells.
        progress: Counts.
        reporter: Tells what happens.
        failures: Says when too many cells fail; never if None.

    Attributes:
        too_many: Set once so many cells failed that the run should end.
    """

    def __init__(
        self,
        schedule: Schedule,
        buffer: RowGroupBuffer,
        progress: Progress,
        reporter: SchedulerReporter,
        failures: FailureWindow | None = None,
    ) -> None:
        self._schedule = schedule
        self._buffer = buffer
        self._progress = progress
        self._reporter = reporter
        self._failures = failures or FailureWindow(None, 1)
        self.too_many: TooManyFailures | None = None

    def complete(self, ready: ReadyTask, end: TaskEnd) -> RowGroup | None:
        """A task made its outputs; names the row group that this finishes, if any."""
        task = ready.task
        if self._schedule.accepts(task):
            done = self._write(task, end)
            self._progress.completed(task, done)
            if end.kind is not EndKind.SKIPPED:
                self._watch(self._failures.note(task.column, done=done))
            for row, error in end.drops.items():
                self._lose(ready, self._schedule.drop_rows(task, (row,)), row, error)
        return self._schedule.complete(task)

    def drop(self, ready: ReadyTask, end: TaskEnd) -> RowGroup | None:
        """A task failed for good: its row is dropped, or its group if it served one."""
        task = ready.task
        lost, finished = self._schedule.drop(task)
        self._lose(ready, lost, task.row, end.error)
        return finished

    def failure(self, ready: ReadyTask, end: TaskEnd) -> RunError:
        """The error that the run raises because of this end."""
        task, error = ready.task, end.error
        self._progress.failed(RowError(task.row, task.column, explain(error), full_text(error)))
        return failure_of(task, end)

    def _write(self, task: Task, end: TaskEnd) -> int:
        """Puts the outputs of a task away; returns how many rows got one."""
        values = end.values or {}
        if task.row is not None:
            self._buffer.write(task, values)
        else:
            self._buffer.write_rows(task, end.rows, values)
        if end.skipped:
            self._buffer.skip(task, end.skipped, end.skip_values)
            self._progress.skipped[task.column] += len(end.skipped)
        rows = 1 if task.row is not None else len(end.rows) + len(end.skipped)
        return rows - len(end.drops)

    def _lose(
        self, ready: ReadyTask, rows: tuple[int, ...], row: int | None, error: BaseException | None
    ) -> None:
        """Rows are dropped for a reason: `row` alone, or all of a group."""
        task, reason = ready.task, label(error)
        self._buffer.drop(task.row_group, [DroppedRow(r, task.column, reason) for r in rows])
        said = RowError(row, task.column, explain(error), full_text(error))
        self._progress.dropped(said, len(rows))
        self._reporter.dropped(ready.task_id, row, reason)
        if counts_as_failure(error):
            self._watch(self._failures.note(task.column, failed=len(rows)))

    def _watch(self, share: FailureShare | None) -> None:
        if share is None:
            return
        last = next((e for e in reversed(self._progress.errors) if e.column == share.column), None)
        self.too_many = TooManyFailures(
            f"column {share.column!r}: {share.failed} of its last {share.cells} cells failed, the "
            f"last with {last.reason if last else 'unknown'}. Finished rows are kept; see "
            "run.errors, or change RunConfig(shutdown_error_rate=..., shutdown_error_window=..., "
            "disable_early_shutdown=True)"
        )
