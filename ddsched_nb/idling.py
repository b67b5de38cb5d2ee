"""Why slots of models are idle at this moment, read from a running engine: a sample, for views.

`analysis.idle` gives every idle slot its exact cause afterwards, from the record; here one look at
how things stand has to do, with the same causes. It reads, changes nothing, and keeps nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ddsched_nb.analysis.causes import DENIED, HORIZON, IdleCause
from ddsched_nb.core.model import FlowKey, PoolKey
from ddsched_nb.core.pool_facts import PoolStatistics
from ddsched_nb.core.row_groups import BlockReason
from ddsched_nb.engine import Engine

__all__ = ["idle_now"]

_C = IdleCause


def idle_now(
    engine: Engine, pools: Sequence[PoolStatistics], now: float, *, paused: bool
) -> dict[IdleCause, int]:
    """The idle slots of all models, counted by why they are idle now.

    A model has as many slots as its cap. What calls wait for is said of the pool; slots that
    nobody asks for are idle for want of tasks, and the scheduler says why there are none.

    Args:
        engine: The engine.
        pools: How its pools stand now.
        now: The instant, in seconds of the loop's clock.
        paused: Whether the run is paused.
    """
    found: Counter[IdleCause] = Counter()
    told = _denied(engine)
    for pool in pools:
        idle = max(0, pool.cap - pool.in_flight)
        if not idle:
            continue
        if paused:
            found[_C.PAUSED] += idle
            continue
        waiting = min(idle, pool.waiters)
        if waiting:
            found[_why_waiting(pool, now)] += waiting
        _for_want_of_tasks(found, engine, told, pool, idle - waiting)
    return dict(found)


def _why_waiting(pool: PoolStatistics, now: float) -> IdleCause:
    if now < pool.cooldown_until:
        return _C.COOLDOWN
    if pool.probing:
        return _C.PROBING
    if pool.in_flight >= pool.limit:
        return _C.REQUEST_LIMIT if pool.refused else _C.SLOW_START
    # With room under its limit a call waits for a quota, or until it may be sent again.
    return _C.PACING if pool.pacing else _C.BACKOFF


def _for_want_of_tasks(
    found: Counter[IdleCause],
    engine: Engine,
    told: dict[FlowKey, IdleCause],
    pool: PoolStatistics,
    idle: int,
) -> None:
    schedule = engine.schedule
    dispatcher, resolver = schedule.dispatcher, schedule.resolver
    leased = dispatcher.sent_off(pool.pool) - pool.in_flight - pool.waiters
    idle = _take(found, _C.BETWEEN_CALLS, leased, idle)
    for flow in _flows_of(engine, pool.pool):
        why = told.get(flow, _C.SCHEDULER_OVERHEAD)
        idle = _take(found, why, dispatcher.queued(flow), idle)
    if not idle:
        return
    blocked = schedule.governor.why_not()
    to_come = _to_come(engine, [c for c in resolver.columns if resolver.pool(c) == pool.pool])
    if blocked is not None and blocked is not BlockReason.NO_PENDING_GROUPS:
        found[HORIZON[blocked]] += idle
    elif not schedule.governor.open_groups:
        found[_C.STARTUP] += idle
    else:
        idle = _take(found, _C.DRAINING_TAIL, idle - to_come, idle)
        _take(found, _C.FRONTIER_EMPTY, idle, idle)


def _take(found: Counter[IdleCause], cause: IdleCause, slots: int, idle: int) -> int:
    """Books slots under a cause; what is still idle."""
    taken = min(max(0, slots), idle)
    if taken:
        found[cause] += taken
    return idle - taken


def _denied(engine: Engine) -> dict[FlowKey, IdleCause]:
    """What keeps the flows that wait, by what task admission said."""
    return {
        waiting.flow: DENIED.get(obstacle.reason, _C.OTHER_RESOURCE_FULL)
        for obstacle in engine.schedule.dispatcher.explain_blocked().obstacles
        for waiting in obstacle.waiting
    }


def _flows_of(engine: Engine, pool: PoolKey) -> list[FlowKey]:
    resolver = engine.schedule.resolver
    return list(
        dict.fromkeys(resolver.flow(c).key for c in resolver.columns if resolver.pool(c) == pool)
    )


def _to_come(engine: Engine, columns: Sequence[str]) -> int:
    """Cells of these columns that are not done yet, over all rows of the run."""
    rows = engine.schedule.governor.plan.rows - engine.progress.rows_dropped
    done = engine.progress.done
    return sum(max(0, rows - done[column] - engine.progress.running[column]) for column in columns)
