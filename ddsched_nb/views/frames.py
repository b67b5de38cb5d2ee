"""What a view draws of a run, as plain numbers: a shape that stays, and frames that follow it.

A frame is what a moment looks like, and a change is what differs from the frame before. Both are
made of lists and numbers that JSON holds. Pure functions of statistics: nothing here knows a
widget, an event or where a frame goes. `browser/panel.js` draws them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ddsched_nb.aio.statistics import FlowStanding, RunStatistics
from ddsched_nb.core.pool_facts import PoolStatistics
from ddsched_nb.wording import pool_name, work_share

__all__ = ["Frame", "Shape", "change", "errors_of", "flow_name", "frame_of", "shape_of"]

Shape = dict[str, Any]
"""`rows`, `groups` (how many), `columns` (name and model), `pools` and `flows` (names)."""

Frame = dict[str, Any]
"""One moment; lists are in the order of the shape.

`t` seconds since the start; `state`; `rows`: finished, dropped, deferred; `work`: share that is
done; `rate`: rows a second; `left`: least and most seconds, or None; `columns`: done, running;
`pools`: in flight, limit, cap, waiting, refused, the second until which it cools, whether it
probes; `groups`: finished, open, target, cap; `opened`: number and share done of the first open
ones; `slots`: held, all; `flows`: ready, held, share, debt; `idle`: pairs of cause and slots;
`error`: what ended the run; `lost`: events that a listener lost.
"""

# Of each of these a change names only the lines that differ.
_LINES: Final = frozenset({"columns", "pools", "flows"})
_GROUPS: Final = 8
_NAMED: Final = 2


def shape_of(stats: RunStatistics) -> Shape:
    """What a run consists of. Models appear when they are first called."""
    return {
        "rows": stats.rows,
        "groups": stats.row_groups,
        "columns": [[column.name, column.model or ""] for column in stats.columns],
        "pools": [pool_name(pool.pool) for pool in _in_order(stats)],
        "flows": [flow_name(flow.columns) for flow in stats.flows],
    }


def frame_of(
    stats: RunStatistics, rate: float | None = None, left: tuple[float, float] | None = None
) -> Frame:
    """How a run stands.

    Args:
        stats: Its statistics.
        rate: Rows a second, as work goes now; None if nobody can say.
        left: Seconds until the end, at least and at most; None if nobody can say.
    """
    started = stats.now - stats.elapsed_s
    return {
        "t": round(stats.elapsed_s, 2),
        "state": stats.state,
        "rows": [stats.rows_finished, stats.rows_dropped, stats.deferred],
        "work": round(work_share(stats), 4),
        "rate": None if rate is None else float(f"{rate:.2g}" if rate < 100 else f"{rate:.0f}"),
        "left": None if left is None else [round(left[0]), round(left[1])],
        "columns": [[column.done, column.running] for column in stats.columns],
        "pools": [_pool(pool, started) for pool in _in_order(stats)],
        "groups": [
            stats.row_groups_finished,
            len(stats.open_groups),
            stats.group_target,
            stats.group_cap,
        ],
        "opened": [
            [group.index, round(group.cells_done / group.cells if group.cells else 0.0, 2)]
            for group in stats.open_groups[:_GROUPS]
        ],
        "slots": [stats.slots_held, stats.slots],
        "flows": [_flow(flow) for flow in stats.flows],
        "idle": [[cause, slots] for cause, slots in stats.idle],
        "error": stats.last_error if stats.state in ("failed", "stalled", "timed_out") else None,
        "lost": stats.events_lost,
    }


def errors_of(stats: RunStatistics) -> list[list[str]]:
    """Where rows were dropped last, and why."""
    return [
        [f"{e.column}" if e.row is None else f"{e.column}, row {e.row}", e.reason]
        for e in stats.errors
    ]


def change(before: Frame, after: Frame) -> Frame:
    """What differs, for whoever has the frame before."""
    found: Frame = {}
    for name, value in after.items():
        old = before.get(name)
        if value == old:
            continue
        found[name] = _lines(old, value) if name in _LINES else value
    return found


def flow_name(columns: tuple[str, ...]) -> str:
    """A flow is called by its columns."""
    named = ", ".join(columns[:_NAMED])
    more = len(columns) - _NAMED
    return f"{named} and {more} more" if more > 0 else named


def _lines(before: Any, after: list[Any]) -> list[Any] | Mapping[str, Any]:
    if not isinstance(before, list) or len(before) != len(after):
        return after
    found = {str(i): row for i, row in enumerate(after) if row != before[i]}
    return found if 2 * len(found) <= len(after) else after


def _in_order(stats: RunStatistics) -> list[PoolStatistics]:
    # By name: pools come in the order of their first calls, which differs from run to run.
    return sorted(stats.pools, key=lambda pool: pool.pool)


def _pool(pool: PoolStatistics, started: float) -> list[float]:
    until = round(pool.cooldown_until - started, 1) if pool.cooldown_until else 0
    used = [pool.in_flight, pool.limit, pool.cap, pool.waiters, pool.refused]
    return [*used, until, int(pool.probing)]


def _flow(flow: FlowStanding) -> list[int]:
    return [flow.queued, flow.held, flow.share, flow.debt]
