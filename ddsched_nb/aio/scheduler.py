"""The scheduler's shell: futures, one timer, worker tasks and cancellation.

Every input (a worker that ended, the timer, pause, resume, cancel) ends in one turn: ask the
schedule, spawn what it says, re-arm the timer. What should run is decided in `core`.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Mapping

from ddsched_nb.aio.buffer import FinishedGroup, RowGroupBuffer
from ddsched_nb.aio.endings import explain, label
from ddsched_nb.aio.harvest import Harvest
from ddsched_nb.aio.limiter import RequestLimiter
from ddsched_nb.aio.progress import Progress
from ddsched_nb.aio.reporters import SchedulerReporter
from ddsched_nb.aio.results import Sink
from ddsched_nb.aio.seats import Seat, Seats
from ddsched_nb.aio.worker import EndKind, TaskEnd, Worker, judge
from ddsched_nb.core.dispatch import Dispatch
from ddsched_nb.core.model import ResourceKey, RowGroup
from ddsched_nb.core.run_limits import FailureWindow
from ddsched_nb.core.schedule import Schedule, ScheduleTurn
from ddsched_nb.errors import (
    RunCancelled,
    RunError,
    RunStalled,
    RunTimeout,
    TaskCancelled,
)

# Spawned workers get the loop back after so many; a longer burst would starve them.
BATCH = 64
# A loop that comes back so late, in seconds, is worth an event.
LAG_WORTH_TELLING_S = 0.1
# When a worker that could not be started is tried again, in seconds.
SPAWN_RETRY_S = 0.05
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
        failures: Says when so many cells fail that the run should end; never if None.
        timeout_s: The run ends after so long, in seconds; never if None.
        drop_bugs: Whether a bug in a generator drops its row instead of failing the run.
        yield_slots: Whether a task gives its shared slots back while all its calls wait.
    """

    def __init__(
        self,
        schedule: Schedule,
        worker: Worker,
        buffer: RowGroupBuffer,
        sink: Sink,
        progress: Progress,
        reporter: SchedulerReporter,
        limiter: RequestLimiter,
        *,
        failures: FailureWindow | None = None,
        timeout_s: float | None = None,
        drop_bugs: bool = False,
        yield_slots: bool = True,
    ) -> None:
        self._schedule = schedule
        self._worker = worker
        self._buffer = buffer
        self._sink = sink
        self._progress = progress
        self._reporter = reporter
        self._limiter = limiter
        self._harvest = Harvest(schedule, buffer, progress, reporter, failures)
        self._timeout_s = timeout_s
        self._drop_bugs = drop_bugs
        self._seats = Seats(schedule, reporter, self.wake) if yield_slots else None
        self._writes: set[asyncio.Future[None]] = set()
        # A dict for its order: which task is cancelled first must not depend on addresses.
        self._tasks: dict[asyncio.Task[TaskEnd], None] = {}
        self._done: asyncio.Future[None] | None = None
        self._soon: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._alarm: asyncio.TimerHandle | None = None
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
            RunTimeout: It took longer than it may.
            TooManyFailures: Too large a share of a column's cells failed.
            RunCancelled: `cancel` was called.
        """
        self._done = asyncio.get_running_loop().create_future()
        if self._timeout_s is not None:
            self._alarm = self.loop.call_later(self._timeout_s, self._time_out)
        self.wake()
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

    def replace_worker(self, worker: Worker) -> None:
        """Lets another worker run the tasks; before `run` only."""
        self._worker = worker

    def cancel(self) -> None:
        """Starts nothing more and cancels what runs; `run` then raises `RunCancelled`."""
        self._abort(RunCancelled("the run was cancelled; finished rows are kept"))

    def pause(self, paused: bool) -> None:
        """While paused nothing starts; what runs may end."""
        self._schedule.pause(paused)
        self._reporter.paused(paused)
        self.wake()

    def adjusted(self, setting: str, before: object, after: object) -> None:
        """A setting was changed: tells of it, and looks what it lets start."""
        self._reporter.adjusted(setting, before, after)
        self.wake()

    def set_capacities(self, capacities: Mapping[ResourceKey, int]) -> None:
        """Changes what exists of the scheduler's resources."""
        self._schedule.set_capacities(capacities)
        self._reporter.capacity_changed(capacities)
        self.wake()

    def set_weight(self, column: str, weight: float) -> None:
        """Gives the flow of a column another weight."""
        flow, before = self._schedule.set_weight(column, weight)
        self._reporter.weight_changed(flow, before, weight)
        self.wake()

    def _time_out(self) -> None:
        self._abort(
            RunTimeout(
                f"the run was not finished after run_timeout_s={self._timeout_s:g}; finished rows "
                "are kept"
            )
        )

    def _abort(self, failure: RunError) -> None:
        self._fail(failure)
        for task in tuple(self._tasks):
            task.cancel()
        self.wake()

    def wake(self) -> None:
        """Takes a turn soon."""
        if self._soon is None and not self.loop.is_closed():
            self._soon = self.loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._soon = None
        turn = self._decide()
        unspawned = deque(turn.dispatched)
        try:
            if self._seats is not None:
                self._seats.let_in(turn.returned)
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
            self.wake()
        elif not (self._tasks or self._writes) and self._timer is None:
            self._settle()

    def _decide(self) -> ScheduleTurn:
        try:
            return self._schedule.advance(self.loop.time(), batch=BATCH)
        except Exception as error:
            # A bug of ours, or of a policy that a user wrote: a run that hangs would not say so.
            self._fail_because(error)
            begun = self._schedule.begun
            for dispatch in begun.dispatched:
                self._undo(dispatch)
            return begun._replace(dispatched=[], more=False, next_deadline=math.inf)

    def _measure_lag(self, since: float) -> None:
        lag = self.loop.time() - since
        if lag > LAG_WORTH_TELLING_S:
            self._reporter.lagged(lag)

    def _spawn(self, dispatch: Dispatch) -> None:
        seat = None if self._seats is None else Seat(self._seats, dispatch)
        work = self._worker.run(dispatch.ready, seat, dispatch.lease.lease_id)
        try:
            task = self.loop.create_task(work)
        except Exception as error:
            work.close()
            self._spawn_failed(dispatch, error)
            return
        self._spawn_failures = 0
        self._tasks[task] = None
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
        self.loop.call_later(SPAWN_RETRY_S, self.wake)

    def _undo(self, dispatch: Dispatch) -> None:
        status = self._schedule.release(dispatch.lease)
        self._reporter.released(dispatch.ready.task_id, dispatch.lease, status)
        self._schedule.undo(dispatch.ready.task)

    def _on_end(self, dispatch: Dispatch, ended: asyncio.Task[TaskEnd]) -> None:
        self._tasks.pop(ended, None)
        ready = dispatch.ready
        self._progress.ended(ready.task)
        end = _end_of(ended)
        try:
            self._reporter.completed(ready.task_id, end.kind)
            finished = self._take(dispatch, end)
            if self._harvest.too_many is not None and not self._schedule.stopped:
                self._fail(self._harvest.too_many)
            if finished is not None:
                self._checkpoint(finished)
        except Exception as error:
            self._fail_because(error)
        finally:
            status = self._schedule.release(dispatch.lease)
            if self._seats is not None:
                self._seats.left(dispatch.lease)
            self._reporter.released(ready.task_id, dispatch.lease, status)
            self.wake()

    def _take(self, dispatch: Dispatch, end: TaskEnd) -> RowGroup | None:
        """Does what the end of a task asks for; names the row group that this finishes."""
        task = dispatch.ready.task
        if end.values is not None:
            return self._harvest.complete(dispatch.ready, end)
        if end.kind is EndKind.CANCELLED:
            self._reporter.cancelled(dispatch.ready.task_id)
            if self._schedule.stopped:
                return None
        if end.kind in (EndKind.DEFER, EndKind.CANCELLED):
            deferred = self._schedule.defer(task, self.loop.time())
            if deferred is not None:
                self._reporter.deferred(dispatch.ready.task_id, deferred, label(end.error))
                return None
        fatal = end.kind in (EndKind.STALLED, EndKind.FAILED)
        if fatal or (end.kind is EndKind.BUG and not self._drop_bugs):
            self._fail(self._harvest.failure(dispatch.ready, end))
            return None
        return self._harvest.drop(dispatch.ready, end)

    def _checkpoint(self, group: RowGroup) -> None:
        closed = self._buffer.close(group)
        writing = self._sink.store(closed)
        if writing is None:
            self._stored(closed)
            return
        write = asyncio.ensure_future(writing)
        self._writes.add(write)
        write.add_done_callback(lambda ended: self._on_written(closed, ended))

    def _on_written(self, group: FinishedGroup, ended: asyncio.Future[None]) -> None:
        self._writes.discard(ended)
        error = asyncio.CancelledError() if ended.cancelled() else ended.exception()
        if error is None:
            self._stored(group)
        elif isinstance(error, Exception):
            self._fail_because(error)
        self.wake()

    def _stored(self, group: FinishedGroup) -> None:
        kept = len(group.rows)
        self._schedule.stored(group.row_group)
        self._progress.finished(group.row_group, kept)
        self._reporter.checkpointed(group.row_group, kept)

    def _fail_because(self, error: Exception) -> None:
        if isinstance(error, RunError):
            self._fail(error)
            return
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
            why = self._schedule.explain_blocked(self.loop.time())
            self._fail(RunStalled(f"work is left but nothing can start. {why}"))
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
        self.wake()

    def _stop_timers(self) -> None:
        self._arm(math.inf)
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _keep_finished_rows(self) -> None:
        """A run that ended early keeps the finished rows of its open groups too."""
        for group in self._schedule.frontier.open_groups:
            rows = self._schedule.frontier.finished_rows(group.index)
            self._progress.rows_finished += len(rows)
            self._sink.keep(self._buffer.close(group, keep=rows))


def _end_of(task: asyncio.Task[TaskEnd]) -> TaskEnd:
    if task.cancelled():
        return TaskEnd(EndKind.CANCELLED, error=TaskCancelled("its task was cancelled"))
    error = task.exception()
    return task.result() if error is None else TaskEnd(judge(error), error=error)
