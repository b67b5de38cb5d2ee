"""How a run stands, read from its engine.

Reads and counts, and changes nothing. It must not know how a run is started, waited for or ended.
"""

from __future__ import annotations

from ddsched_nb.aio.endings import explain
from ddsched_nb.aio.progress import Progress, RowError
from ddsched_nb.aio.statistics import ColumnProgress, GroupProgress, RunState, RunStatistics
from ddsched_nb.engine import Engine
from ddsched_nb.pipeline import Pipeline


def not_started(state: RunState, pipeline: Pipeline, rows: int) -> RunStatistics:
    """How a run stands whose engine is not built yet."""
    columns = _columns(pipeline, rows, Progress())
    return RunStatistics(state, rows, 0, 0, 0, 0, (), columns, (), 0, 0.0, 0.0, None)


def standing(
    engine: Engine,
    pipeline: Pipeline,
    rows: int,
    state: RunState,
    error: BaseException | None,
    started_at: float,
    now: float,
) -> RunStatistics:
    """How a run stands.

    Args:
        engine: Its engine.
        pipeline: What it computes.
        rows: Rows of the run.
        state: What the run says of itself.
        error: What ended it early, if something did.
        started_at: When it was started, in seconds of its loop's clock.
        now: The instant that it is asked for; that of the end for a run that has ended.
    """
    progress, errors = engine.progress, engine.progress.errors
    return RunStatistics(
        state=state,
        rows=rows,
        rows_finished=progress.rows_finished,
        rows_dropped=progress.rows_dropped,
        row_groups=engine.schedule.governor.total,
        row_groups_finished=progress.groups_finished,
        open_groups=_open_groups(engine),
        columns=_columns(pipeline, rows, progress),
        pools=tuple(engine.limiter.statistics(pool) for pool in engine.limiter.pools),
        deferred=len(engine.schedule.deferrals),
        elapsed_s=now - started_at,
        now=now,
        last_error=_last_error(error, errors),
    )


def _columns(pipeline: Pipeline, rows: int, progress: Progress) -> tuple[ColumnProgress, ...]:
    return tuple(
        ColumnProgress(
            column.name,
            column.models[0] if len(column.models) == 1 else None,
            progress.done[column.name],
            rows,
            progress.running[column.name],
        )
        for column in pipeline.columns
    )


def _open_groups(engine: Engine) -> tuple[GroupProgress, ...]:
    return tuple(
        GroupProgress(group.index, group.size, cells - pending, cells)
        for group, cells, pending in engine.schedule.frontier.progress()
    )


def _last_error(error: BaseException | None, errors: list[RowError]) -> str | None:
    if error is not None:
        return explain(error)
    if not errors:
        return None
    last = errors[-1]
    where = "" if last.row is None else f", row {last.row}"
    return f"column {last.column}{where}: {last.reason}"
