"""Starts a run and stands for it: wait, watch, pause, cancel, read the results.

A run lives on the event loop that runs where it was started (a notebook's kernel, an async
program); in a plain script it gets a loop of its own in a daemon thread. Every control only posts
to that loop, so it may be called from any thread.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddsched_nb.adjusting import Adjuster, Adjustment
from ddsched_nb.aio.background import background_loop
from ddsched_nb.aio.bus import EventBus
from ddsched_nb.aio.healthcheck import check_models
from ddsched_nb.aio.membership import LimitPoint
from ddsched_nb.aio.progress import RowError
from ddsched_nb.aio.statistics import RunState, RunStatistics
from ddsched_nb.announcing import announce
from ddsched_nb.capacity_plan import CapacityPlan, capacity_plan
from ddsched_nb.config import RunConfig
from ddsched_nb.core.blocked import Blocked, Cause, Opening
from ddsched_nb.core.events import Event
from ddsched_nb.core.story import TaskStory
from ddsched_nb.engine import Engine, StandIns, build
from ddsched_nb.errors import ConfigError, RunCancelled, RunError, RunStalled, RunTimeout
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.record import FULL_RECORD_TASKS, TRUNCATED_EVENTS, RunRecord
from ddsched_nb.standing import not_started, standing
from ddsched_nb.storing import open_store
from ddsched_nb.summary import RunSummary, summarize
from ddsched_nb.table import InputTable, read_table, to_pandas
from ddsched_nb.terminal import print_progress, show_progress, wants_progress
from ddsched_nb.waiting import wait_here

if TYPE_CHECKING:
    import pandas as pd

    from ddsched_nb.store.parquet import ParquetStore


def start(
    pipeline: Pipeline,
    *,
    rows: int | None = None,
    table: Any = None,
    config: RunConfig | None = None,
    store: str | Path | None = None,
    listeners: Iterable[Callable[[Event], None]] = (),
) -> Run:
    """Starts a run and returns at once.

    Args:
        pipeline: What to compute.
        rows: How many rows to make, where there is no input table.
        table: The input table: a pandas DataFrame, a pyarrow Table, or a mapping of columns.
        config: How to run; the defaults if None.
        store: A directory to which each finished row group goes as Parquet, at once and safely. If
            it holds some already, of the same pipeline and table, the run goes on from there. In
            memory if None.
        listeners: Called with each event from the very first on, at once and without waiting: a
            `JsonLinesSink`, a `RunRecord(keep=1000)`, any function.

    Returns:
        The run: `await` it, or `wait()` for it; a notebook shows it live.

    Raises:
        ConfigError: Neither `rows` nor `table` was given, or both; or they do not fit the pipeline.
        StoreMismatch: The store holds rows of a different pipeline or table.
        StoreInUse: Another run writes to the store.
        StoreError: The store cannot be read or written.
    """
    if (rows is None) == (table is None):
        raise ConfigError("give either rows=NUMBER or table=DATAFRAME to start(), and not both")
    if rows is not None and not _is_count(rows):
        raise ConfigError(f"rows is {rows!r}; give a whole number, 0 or more")
    source = read_table(table) if table is not None else InputTable.empty(rows or 0)
    settings = config or RunConfig()
    pipeline.graph(source.names)
    opened = None if store is None else open_store(store, pipeline, source, settings)
    run = Run(pipeline, source, settings, opened)
    for listener in listeners:
        run.events.subscribe(listener)
    try:
        run.launch()
    except BaseException:
        if opened is not None:
            opened.close()  # nothing runs that would
        raise
    return run


class Run:
    """One run of a pipeline over a table. Made by `start`."""

    def __init__(
        self,
        pipeline: Pipeline,
        table: InputTable,
        config: RunConfig,
        store: ParquetStore | None = None,
        stand_ins: StandIns = StandIns(),  # noqa: B008 - a NamedTuple, which does not change
    ) -> None:
        self.pipeline = pipeline
        self._store = store
        self._stand_ins = stand_ins
        self.config = config
        self._table = table
        self._bus = EventBus()
        self.record = self._make_record()
        self._ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._engine: Engine | None = None
        self._adjuster: Adjuster | None = None
        self._state: RunState = "running"
        self._started_at = 0.0
        self._ended_at: float | None = None
        self._error: BaseException | None = None

    def __repr__(self) -> str:
        finished, dropped = self._counts()
        return (
            f"<Run {self._state}: {finished} of {self._table.rows} rows finished, "
            f"{dropped} dropped>"
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        from ddsched_nb.views.live import mimebundle

        return mimebundle(self)

    def __await__(self) -> Generator[Any, None, Run]:
        return self._await().__await__()

    @property
    def state(self) -> RunState:
        """Where the run stands: `running`, `paused`, `finished`, `failed`, ..."""
        return self._state

    @property
    def done(self) -> bool:
        """Whether the run has ended, however it did."""
        return self._ended.done()

    @property
    def events(self) -> EventBus:
        """Where its events go; subscribe to hear them as they happen."""
        return self._bus

    @property
    def settings(self) -> RunConfig:
        """How it runs now: `config`, with what was adjusted since."""
        return self._adjuster.config if self._adjuster else self.config

    @property
    def error(self) -> BaseException | None:
        """What ended the run early, if something did."""
        return self._error

    @property
    def errors(self) -> list[RowError]:
        """Why rows were dropped or the run failed, in order."""
        return list(self._engine.progress.errors) if self._engine else []

    @property
    def limits(self) -> dict[str, tuple[LimitPoint, ...]]:
        """How the limit of each pool went, by its label: each move, and what moved it."""
        return self._engine.limiter.histories() if self._engine else {}

    def wait(self, timeout: float | None = None) -> Run:
        """Waits for the end, in a script or in a notebook cell.

        Args:
            timeout: Seconds to wait at the most; without end if None.

        Returns:
            The run itself.

        Raises:
            TimeoutError: It has not ended within `timeout`; it goes on.
            GeneratorBug: A generator raised something unexpected.
            RunStalled: The endpoint refused for too long.
            RunCancelled: The run was cancelled.
        """
        try:
            wait_here(self._ended, self._loop, timeout)
        except KeyboardInterrupt:
            self.cancel()
            raise
        return self._outcome()

    def pause(self) -> None:
        """Nothing new starts; what is in flight ends."""
        self._post(lambda: self._pause(True))

    def resume(self) -> None:
        """Goes on after `pause`."""
        self._post(lambda: self._pause(False))

    def cancel(self) -> None:
        """Ends the run; finished rows are kept."""
        self._post(self._cancel)

    def adjust(self, **changes: Any) -> None:
        """Changes settings while the run goes on; each change is an event of the record.

        Args:
            **changes: `weights={column: weight}`, `caps={alias: cap}`, `limits={alias: limit}`
                (where to put a limit; it moves on from there), and, as in `RunConfig`,
                `row_groups`, `max_in_flight_tasks`, `task_policy`, `request_pressure_advisory`.

        Raises:
            ConfigError: A name is unknown, or a value is out of range.
        """
        change = Adjustment(**changes)
        change.check(self.pipeline, self.config)
        self._post(lambda: self._adjuster.apply(change) if self._adjuster else None)

    def to_pandas(self) -> pd.DataFrame:
        """The finished rows so far as a DataFrame, indexed by row number."""
        rows, columns = self._engine.results.read() if self._engine else ([], {})
        return to_pandas(columns, rows)

    def summary(self) -> RunSummary:
        """What the run did, in figures."""
        return summarize(self.statistics(), self.pipeline, self.config, self._engine)

    def statistics(self) -> RunStatistics:
        """How the run stands. Asking changes nothing; safe from any thread."""
        engine = self._engine
        if engine is None or self._loop is None:
            return not_started(self._state, self.pipeline, self._table.rows)
        return standing(
            engine,
            self.pipeline,
            self._table.rows,
            self._state,
            self._error,
            self._started_at,
            self._now(),
        )

    def explain_blocked(self) -> Blocked:
        """Why no further task can start now, and what would change that; `print` it for words.

        Tasks that run may wait themselves, for permits: `statistics().pools` tells. Asking changes
        nothing; safe from any thread.
        """
        if self._engine is None or self._loop is None:
            if self._error is not None:
                return Blocked(Cause.STOPPED)
            return Blocked(Cause.STARTING, (Opening.NEXT_TURN,))
        return self._engine.schedule.explain_blocked(self._now())

    def capacity_plan(self) -> CapacityPlan:
        """Every number that bounds the run: what it is, where it comes from, what was used of it.

        Raises:
            ConfigError: The run is still being set up.
        """
        if self._engine is None:
            raise ConfigError("the run is being set up; ask for its capacity plan in a moment")
        return capacity_plan(self._engine, self.pipeline, self.config, self.record)

    def explain(self, task: str, row: int | None = None) -> TaskStory:
        """Tells the story of a task so far; see `RunRecord.explain`."""
        return self.record.explain(task, row)

    def _now(self) -> float:
        """The loop's time; once the run has ended, the instant of its end."""
        assert self._loop is not None, "the run was launched"
        return self._loop.time() if self._ended_at is None else self._ended_at

    def _make_record(self) -> RunRecord:
        setting = self.config.record
        tasks = self._table.rows * len(self.pipeline.columns)
        keep = TRUNCATED_EVENTS if setting is True and tasks > FULL_RECORD_TASKS else None
        record = RunRecord(keep=keep)
        if setting is not False:
            self._bus.subscribe(record)
        return record

    def launch(self) -> None:
        """Starts it: on the loop that runs here, or on one of its own. `start` has done so."""
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = background_loop()
            launched = asyncio.run_coroutine_threadsafe(self._begin(), self._loop)
            launched.result()
        else:
            self._task = self._loop.create_task(self._run())

    async def _begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        self._started_at = loop.time()
        shown = wants_progress(self.config.progress)
        progress = asyncio.create_task(show_progress(self.statistics)) if shown else None
        try:
            engine = self._engine = build(
                self.pipeline,
                self._table,
                self.config,
                self._bus,
                loop.time,
                self._store,
                self._stand_ins,
            )
            self._adjuster = Adjuster(engine, self.pipeline, self.config)
            announce(engine, self.pipeline, self.config)
            await self._check_models(engine)
            await engine.scheduler.run()
            self._state = "finished"
        except asyncio.CancelledError:
            self._state, self._error = "cancelled", RunCancelled("the run's task was cancelled")
        except RunError as error:
            self._state, self._error = _state_of(error), error
        except Exception as error:
            self._state, self._error = "failed", error
        finally:
            self._ended_at = loop.time()
            try:
                await self._clean_up(progress)
            finally:
                self._ended.set_result(None)

    async def _check_models(self, engine: Engine) -> None:
        aliases = [model.alias for model in self.pipeline.models if model.healthcheck]
        if aliases and not engine.schedule.finished:
            await check_models(engine.bindings, aliases, engine.executor)

    async def _clean_up(self, progress: asyncio.Task[None] | None) -> None:
        if progress is not None:
            progress.cancel()
            await asyncio.gather(progress, return_exceptions=True)
            print_progress(self.statistics(), last=True)
        if self._engine is not None:
            finished, dropped = self._counts()
            self._engine.reporter.job_completed(self._state, finished, dropped)
            await self._engine.close()
        elif self._store is not None:
            self._store.close()
        if isinstance(self.config.record, Path):
            self.record.save(self.config.record)

    async def _await(self) -> Run:
        await asyncio.shield(asyncio.wrap_future(self._ended))
        return self._outcome()

    def _outcome(self) -> Run:
        if self._error is not None:
            raise self._error
        return self

    def _post(self, command: Callable[[], None]) -> None:
        if self._loop is not None and not self.done:
            self._loop.call_soon_threadsafe(command)

    def _pause(self, paused: bool) -> None:
        wanted: RunState = "paused" if paused else "running"
        if self._engine is None or self._state not in ("running", "paused"):
            return
        if self._state != wanted:
            self._state = wanted
            # Told first: a record must say that the run goes on before it says what that granted.
            self._engine.scheduler.pause(paused)
            self._engine.limiter.pause(paused)

    def _cancel(self) -> None:
        if self._engine is None or self._state not in ("running", "paused"):
            return
        self._state = "cancelling"
        self._engine.limiter.pause(False)
        self._engine.scheduler.cancel()

    def _counts(self) -> tuple[int, int]:
        progress = self._engine.progress if self._engine else None
        return (progress.rows_finished, progress.rows_dropped) if progress else (0, 0)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _state_of(error: RunError) -> RunState:
    if isinstance(error, RunStalled):
        return "stalled"
    if isinstance(error, RunTimeout):
        return "timed_out"
    return "cancelled" if isinstance(error, RunCancelled) else "failed"
