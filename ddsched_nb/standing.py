"""How a run stands, read from its engine.

Reads and counts, and changes nothing. It must not know how a run is started, waited for or ended.
"""

from __future__ import annotations

from ddsched_nb.aio.endings import explain
from ddsched_nb.aio.progress import Progress, RowError
from ddsched_nb.aio.statistics import (
    ColumnProgress,
    FlowStanding,
    GroupProgress,
    RunState,
    RunStatistics,
)
from ddsched_nb.core.model import SUBMISSION, FlowKey
from ddsched_nb.engine import Engine
from ddsched_nb.idling import idle_now
from ddsched_nb.pipeline import Pipeline

_ERRORS = 5


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
    schedule, limiter = engine.schedule, engine.limiter
    admission, governor = schedule.dispatcher.admission, schedule.governor
    pools = tuple(limiter.statistics(pool) for pool in limiter.pools)
    live = state in ("running", "paused")
    idle = idle_now(engine, pools, now, paused=state == "paused") if live else {}
    return RunStatistics(
        state=state,
        rows=rows,
        rows_finished=progress.rows_finished,
        rows_dropped=progress.rows_dropped,
        row_groups=governor.total,
        row_groups_finished=progress.groups_finished,
        open_groups=_open_groups(engine),
        columns=_columns(pipeline, rows, progress),
        pools=pools,
        deferred=len(schedule.deferrals),
        elapsed_s=now - started_at,
        now=now,
        last_error=_last_error(error, errors),
        group_target=governor.target,
        group_cap=governor.cap,
        flows=_flows(engine),
        slots_held=admission.capacities[SUBMISSION] - admission.free(SUBMISSION),
        slots=admission.capacities[SUBMISSION],
        idle=tuple(sorted((cause.value, slots) for cause, slots in idle.items())),
        errors=tuple(errors[-_ERRORS:]),
        events_lost=engine.reporter.bus.lost.total(),
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


def _flows(engine: Engine) -> tuple[FlowStanding, ...]:
    dispatcher, resolver = engine.schedule.dispatcher, engine.schedule.resolver
    admission = dispatcher.admission
    columns: dict[FlowKey, list[str]] = {}
    for column in resolver.columns:
        columns.setdefault(resolver.flow(column).key, []).append(column)
    return tuple(
        FlowStanding(
            tuple(columns[flow.key]),
            dispatcher.queued(flow.key),
            admission.held(flow.key, SUBMISSION),
            admission.share(flow.key, SUBMISSION),
            max(admission.debt(flow.key, resource) for resource, _ in flow.resources),
        )
        for flow in resolver.flows
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
