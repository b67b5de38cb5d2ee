"""The scheduler's shell: futures, one timer, worker tasks and cancellation.

Every input (a worker that ended, the timer, pause, resume, cancel) ends in one turn: ask the
schedule, spawn what it says, re-arm the timer. What should run is decided in `core`.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable

from ddsched_nb.aio.buffer import FinishedGroup, RowGroupBuffer
from ddsched_nb.aio.endings import explain, failure_of, label
from ddsched_nb.aio.limiter import RequestLimiter
from ddsched_nb.aio.progress import Progress, RowError
from ddsched_nb.aio.reporters import SchedulerReporter
from ddsched_nb.aio.worker import EndKind, TaskEnd, Worker, judge
from ddsched_nb.core.dispatch import Dispatch
from ddsched_nb.core.model import RowGroup
from ddsched_nb.core.schedule import Schedule
from ddsched_nb.errors import RunCancelled, RunError, RunStalled

# Spawned workers get the loop back after so many; a longer burst would starve them.
BATCH = 64
# A loop that comes back so late, in seconds, is worth an event.
LAG_WORTH_TELLING_S = 0.1
_SPAWN_RETRY_S = 0.05
_SPAWN_TRIES = 20


class Scheduler:
    """Runs a schedule's tasks on the running event loop.

    Args:
        schedule: Decides what runs.
        worker: Runs one task.
        buffer: Holds the cells of open row groups.
        sink: Takes each finished row group.
        progress: Counts.
        reporter: Tells what happens.
        limiter: Told when the run ends early, so that nobody goes on waiting for a permit.
        drop_bugs: Whether a bug in a generator drops its row instead of failing the run.
    """

    def __init__(
        self,
        schedule: Schedule,
        worker: Worker,
        buffer: RowGroupBuffer,
        sink: Callable[[FinishedGroup], None],
        progress: Progress,
        reporter: SchedulerReporter,
        limiter: RequestLimiter,
        *,
        drop_bugs: bool = False,
    ) -> None:
        self._schedule = schedule
        self._worker = worker
        self._buffer = buffer
        self._sink = sink
        self._progress = progress
        self._reporter = reporter
        self._limiter = limiter
        self._drop_bugs = drop_bugs
        self._tasks: set[asyncio.Task[TaskEnd]] = set()
        self._done: asyncio.Future[None] | None = None
        self._soon: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._failure: RunError | None = None
        self._spawn_failures = 0
        self._queue_was_empty = True

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop it runs on."""
        assert self._done is not None, "the scheduler runs"
        return self._done.get_loop()

    async def run(self) -> None:
        """Runs to the end.

        Raises:
            GeneratorBug: A generator raised something unexpected.
            RunStalled: The endpoint refused for too long.
            RunCancelled: `cancel` was called.
        """
        self._done = asyncio.get_running_loop().create_future()
        self._wake()
        try:
            await asyncio.shield(self._done)
        except asyncio.CancelledError:
            self.cancel()
            await self._done
            raise
        finally:
            self._stop_timers()
            self._keep_finished_rows()
        if self._failure is not None:
            raise self._failure

    def cancel(self) -> None:
        """Starts nothing more and cancels what runs; `run` then raises `RunCancelled`."""
        self._fail(RunCancelled("the run was cancelled; finished rows are kept"))
        for task in self._tasks:
            task.cancel()
        self._wake()

    def pause(self, paused: bool) -> None:
        """While paused nothing starts; what runs may end."""
        self._schedule.pause(paused)
        self._reporter.paused(paused)
        self._wake()

    def _wake(self) -> None:
        if self._soon is None and not self.loop.is_closed():
            self._soon = self.loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._soon = None
        turn = self._schedule.advance(self.loop.time(), batch=BATCH)
        unspawned = deque(turn.dispatched)
        try:
            for group in turn.opened:
                self._buffer.open(group)
            self._reporter.turn(turn, self._buffer.open_groups, self._drained())
            while unspawned:
                self._spawn(unspawned[0])
                unspawned.popleft()
            if turn.dispatched:
                # Comes after the first steps of the workers just spawned: did they hold the loop?
                self.loop.call_soon(self._measure_lag, self.loop.time())
        except Exception as error:
            self._fail_because(error)
        finally:
            # Empty unless something raised: then no lease may outlive the turn.
            for dispatch in unspawned:
                self._undo(dispatch)
        self._arm(turn.next_deadline)
        if turn.more:
            self._wake()
        elif not self._tasks and self._timer is None:
            self._settle()

    def _measure_lag(self, since: float) -> None:
        lag = self.loop.time() - since
        if lag > LAG_WORTH_TELLING_S:
            self._reporter.lagged(lag)

    def _spawn(self, dispatch: Dispatch) -> None:
        work = self._worker.run(dispatch.ready)
        try:
            task = self.loop.create_task(work)
        except Exception as error:
            work.close()
            self._spawn_failed(dispatch, error)
            return
        self._spawn_failures = 0
        self._tasks.add(task)
        self._progress.started(dispatch.ready.task)
        # A callback, not a `finally` in the task: a task cancelled before its first step runs none.
        task.add_done_callback(lambda ended: self._on_end(dispatch, ended))
        self._reporter.spawned(dispatch)

    def _spawn_failed(self, dispatch: Dispatch, error: Exception) -> None:
        self._reporter.spawn_failed(dispatch, error)
        self._undo(dispatch)
        self._spawn_failures += 1
        if self._spawn_failures >= _SPAWN_TRIES:
            failure = RunError(f"workers cannot be started: {type(error).__name__}")
            failure.__cause__ = error
            self._fail(failure)
        # Yield instead of spinning: the next try comes with the timer.
        self.loop.call_later(_SPAWN_RETRY_S, self._wake)

    def _undo(self, dispatch: Dispatch) -> None:
        status = self._schedule.release(dispatch.lease)
        self._reporter.released(dispatch.ready.task_id, dispatch.lease, status)
        self._schedule.undo(dispatch.ready.task)

    def _on_end(self, dispatch: Dispatch, ended: asyncio.Task[TaskEnd]) -> None:
        self._tasks.discard(ended)
        ready = dispatch.ready
        self._progress.ended(ready.task)
        end = _end_of(ended)
        try:
            self._reporter.completed(ready.task_id, end.kind)
            finished = self._take(dispatch, end)
            if finished is not None:
                self._checkpoint(finished)
        except Exception as error:
            self._fail_because(error)
        finally:
            status = self._schedule.release(dispatch.lease)
            self._reporter.released(ready.task_id, dispatch.lease, status)
            self._wake()

    def _take(self, dispatch: Dispatch, end: TaskEnd) -> RowGroup | None:
        """Does what the end of a task asks for; names the row group that this finishes."""
        task = dispatch.ready.task
        if end.kind is EndKind.DONE and end.values is not None:
            return self._complete(dispatch, end)
        if end.kind is EndKind.CANCELLED:
            self._reporter.cancelled(dispatch.ready.task_id)
            if self._schedule.stopped:
                return None
        if end.kind in (EndKind.DEFER, EndKind.CANCELLED):
            deferred = self._schedule.defer(task, self.loop.time())
            if deferred is not None:
                self._reporter.deferred(dispatch.ready.task_id, deferred, label(end.error))
                return None
        if end.kind is EndKind.STALLED or (end.kind is EndKind.BUG and not self._drop_bugs):
            self._fail_by(dispatch, end)
            return None
        return self._drop(dispatch, end)

    def _complete(self, dispatch: Dispatch, end: TaskEnd) -> RowGroup | None:
        task = dispatch.ready.task
        if self._schedule.accepts(task) and end.values is not None:
            self._buffer.write(task, end.values)
            rows = len(self._buffer.rows(task)) if task.row is None else 1
            self._progress.completed(task, rows)
        return self._schedule.complete(task)

    def _drop(self, dispatch: Dispatch, end: TaskEnd) -> RowGroup | None:
        task, reason = dispatch.ready.task, label(end.error)
        rows, finished = self._schedule.drop(task)
        self._buffer.drop(task.row_group, rows)
        self._progress.rows_dropped += len(rows)
        self._note(dispatch, end)
        self._reporter.dropped(dispatch.ready.task_id, task.row, reason)
        return finished

    def _checkpoint(self, group: RowGroup) -> None:
        closed = self._buffer.close(group)
        self._sink(closed)
        self._progress.finished(group, len(closed.rows))
        self._reporter.checkpointed(group, len(closed.rows))

    def _note(self, dispatch: Dispatch, end: TaskEnd) -> None:
        task = dispatch.ready.task
        detail = str(getattr(end.error, "detail", ""))
        self._progress.errors.append(RowError(task.row, task.column, explain(end.error), detail))

    def _fail_by(self, dispatch: Dispatch, end: TaskEnd) -> None:
        self._note(dispatch, end)
        self._fail(failure_of(dispatch.ready.task, end))

    def _fail_because(self, error: Exception) -> None:
        failure = RunError(f"the run cannot go on: {explain(error)}; finished rows are kept")
        failure.__cause__ = error
        self._fail(failure)

    def _fail(self, failure: RunError) -> None:
        """The first failure counts. What is in flight may end; nothing new starts."""
        self._failure = self._failure or failure
        self._schedule.stop()
        self._limiter.close()

    def _settle(self) -> None:
        """Nothing runs and nothing will wake us: the run is over, paused, or stuck."""
        assert self._done is not None
        if self._schedule.stuck and not self._schedule.stopped and not self._spawn_failures:
            blocked = self._schedule.dispatcher.blocked()
            self._fail(RunStalled(f"work is left but nothing can start; blocked: {blocked}"))
        if (self._schedule.finished or self._schedule.stopped) and not self._done.done():
            self._done.set_result(None)

    def _drained(self) -> bool:
        empty = not len(self._schedule.dispatcher)
        drained, self._queue_was_empty = empty and not self._queue_was_empty, empty
        return drained

    def _arm(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline < math.inf:
            self._timer = self.loop.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._wake()

    def _stop_timers(self) -> None:
        self._arm(math.inf)
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None

    def _keep_finished_rows(self) -> None:
        """A run that ended early keeps the finished rows of its open groups too."""
        for group in self._schedule.frontier.open_groups:
            rows = self._schedule.frontier.finished_rows(group.index)
            self._buffer.drop(group.index, sorted(set(range(group.start, group.stop)) - set(rows)))
            self._progress.rows_finished += len(rows)
            self._sink(self._buffer.close(group))


def _end_of(task: asyncio.Task[TaskEnd]) -> TaskEnd:
    if task.cancelled():
        return TaskEnd(EndKind.CANCELLED, error=asyncio.CancelledError("its task was cancelled"))
    error = task.exception()
    return task.result() if error is None else TaskEnd(judge(error), error=error)
