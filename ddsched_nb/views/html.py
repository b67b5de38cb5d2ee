"""The areas of the live view as HTML strings. Pure functions of statistics.

Decides what is shown and in which words; how it looks is `style`, when it is drawn is `panel`.
Whatever a user named or a provider said is escaped here. Nothing is told by colour alone.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from ddsched_nb.wording import (
    ENDED,
    duration,
    number,
    percent,
    plural,
    pool_name,
    rows_per_second,
    work_share,
)

if TYPE_CHECKING:
    from ddsched_nb.aio.statistics import ColumnProgress, GroupProgress, RunStatistics
    from ddsched_nb.core.pool_facts import PoolStatistics

_SIGNS: Final = {
    "running": "\u25b6",
    "paused": "\u2016",
    "cancelling": "\u25a0",
    "finished": "\u2713",
    "failed": "\u2715",
    "cancelled": "\u25a0",
    "stalled": "!",
    "timed_out": "!",
}
_FAILED: Final = frozenset({"failed", "stalled", "timed_out"})
_GROUPS: Final = 8


def state_html(stats: RunStatistics) -> str:
    """The state as a sign and a word; a status that screen readers announce when it changes."""
    sign = _SIGNS.get(stats.state, "?")
    return (
        f'<span class="ddsched-state ddsched-is-{escape(stats.state)}" role="status">'
        f'<b aria-hidden="true">{sign}</b>{escape(stats.state.capitalize())}</span>'
    )


def figures_html(stats: RunStatistics) -> str:
    """Rows, drops, time and speed in one line."""
    parts = [f"<b>{stats.rows_finished:,}</b> of {plural(stats.rows, 'row')}"]
    if stats.rows_dropped:
        parts.append(f"<b>{stats.rows_dropped:,}</b> dropped")
    parts.append(duration(stats.elapsed_s))
    if rate := rows_per_second(stats):
        parts.append(f"{number(rate)} rows/s")
    if stats.deferred:
        parts.append(f"{stats.deferred:,} deferred")
    spans = "".join(f"<span>{part}</span>" for part in parts)
    return f'<div class="ddsched-figures">{spans}</div>'


def progress_html(stats: RunStatistics) -> str:
    """The bar over everything: finished rows full, work in open groups pale, drops hatched."""
    share = work_share(stats)
    rows = max(1, stats.rows)
    fills = (
        _fill(share, "pale")
        + _fill(stats.rows_finished / rows)
        + (_fill(stats.rows_dropped / rows, "lost") if stats.rows_dropped else "")
    )
    said = (
        f"{percent(share)} of the work done; {stats.rows_finished:,} rows finished, "
        f"{stats.rows_dropped:,} dropped, of {stats.rows:,}"
    )
    return f'<div class="ddsched-all">{_bar(fills, share, said)}</div>'


def columns_html(stats: RunStatistics) -> str:
    """A row a column, with its bar."""
    body = "".join(map(_column_row, stats.columns))
    head = _head(("Column", ""), ("Progress", "wide"), ("Rows", ""), ("Running", ""))
    return _table("Progress of each column", head, body) if body else ""


def groups_html(stats: RunStatistics) -> str:
    """Row groups: how many are finished, and how far the first open ones are."""
    if not stats.row_groups:
        return ""
    shown = "".join(map(_group, stats.open_groups[:_GROUPS]))
    hidden = len(stats.open_groups) - _GROUPS
    more = f"<span>and {hidden:,} more</span>" if hidden > 0 else ""
    head = f"<span>Row groups: {stats.row_groups_finished:,} of {stats.row_groups:,} finished"
    head += f", {len(stats.open_groups):,} open</span>" if stats.open_groups else "</span>"
    return f'<div class="ddsched-groups">{head}{shown}{more}</div>'


def models_html(stats: RunStatistics) -> str:
    """A row a model: slots in use, limit, cap, waiters, cooldown, refusals."""
    if not stats.pools:
        return '<span class="soft">No model has been called yet.</span>' if stats.columns else ""
    head = _head(
        ("Model", ""),
        ("Slots", "slots"),
        ("In use", ""),
        ("Limit", ""),
        ("Cap", ""),
        ("Waiting", ""),
        ("Refused", ""),
        ("Cooldown", ""),
    )
    ended = stats.state in ENDED
    # By name: pools come in the order of their first calls, which differs from run to run.
    pools = sorted(stats.pools, key=lambda pool: pool.pool)
    body = "".join(_pool_row(pool, stats.now, ended=ended) for pool in pools)
    return _table("Slots, limit and refusals of each model", head, body)


def error_html(stats: RunStatistics) -> str:
    """The last error in a line of its own; empty without one."""
    if not stats.last_error:
        return ""
    if stats.state in _FAILED:
        return _error(f"Run {stats.state}:", stats.last_error, "bad", role="alert")
    return _error("Last error:", stats.last_error)


def trouble_html(error: BaseException) -> str:
    """The view itself failed: says so, and that the run is not concerned."""
    text = f"{type(error).__name__}: {error}. The run itself goes on."
    return _error("This view cannot be drawn:", text, "bad", role="alert")


def _column_row(column: ColumnProgress) -> str:
    share = column.done / column.total if column.total else 0.0
    name = escape(column.name)
    title = escape(f"{column.name}, model {column.model}") if column.model else name
    model = f' <span class="soft">{escape(column.model)}</span>' if column.model else ""
    bar = _bar(_fill(share), share, f"{name}: {percent(share)}")
    running = f"{column.running:,}" if column.running else ""
    return (
        f'<tr><th scope="row" title="{title}">{name}{model}</th><td class="wide">{bar}</td>'
        f'<td>{column.done:,}<span class="soft"> / {column.total:,}</span></td>'
        f"<td>{running}</td></tr>"
    )


def _pool_row(pool: PoolStatistics, now: float, *, ended: bool) -> str:
    name = escape(pool_name(pool.pool))
    cap = max(1, pool.cap)
    used, limit = pool.in_flight / cap, pool.limit / cap
    said = f"{name}: {pool.in_flight} of {pool.cap} slots in use, limit {pool.limit}"
    bar = _bar(_fill(limit, "pale") + _fill(used) + _mark(limit), used, said)
    left = 0.0 if ended else max(0.0, pool.cooldown_until - now)
    cooldown = f'<td class="wait">{left:.1f} s</td>' if left else '<td class="soft">\u2013</td>'
    return (
        f'<tr><th scope="row" title="{escape(pool.pool.label)}">{name}</th>'
        f'<td class="slots">{bar}</td><td>{pool.in_flight:,}</td><td>{pool.limit:,}</td>'
        f'<td class="soft">{pool.cap:,}</td><td>{pool.waiters:,}</td>'
        f"<td>{pool.refused:,}</td>{cooldown}</tr>"
    )


def _group(group: GroupProgress) -> str:
    share = group.cells_done / group.cells if group.cells else 0.0
    bar = _bar(_fill(share), share, f"row group {group.index}: {percent(share)}")
    return f"<span>#{group.index}{bar}{percent(share)}</span>"


def _head(*cells: tuple[str, str]) -> str:
    return "".join(f'<th scope="col" class="{kind}">{escape(name)}</th>' for name, kind in cells)


def _table(caption: str, head: str, body: str) -> str:
    return (
        f'<table><caption class="ddsched-hidden">{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _bar(fills: str, share: float, said: str) -> str:
    """`said` is escaped already; it is what a screen reader says and a tooltip shows."""
    return (
        f'<div class="ddsched-bar" role="progressbar" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{round(share * 100)}" aria-label="{said}" title="{said}">{fills}</div>'
    )


def _fill(share: float, kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<i{name} style="width:{_css(share)}"></i>'


def _mark(share: float) -> str:
    return f'<i class="mark" style="left:{_css(share)}"></i>'


def _css(share: float) -> str:
    return f"{min(1.0, max(0.0, share)) * 100:.1f}%"


def _error(head: str, text: str, *kinds: str, role: str = "note") -> str:
    names = " ".join(("ddsched-error", *kinds))
    return f'<div class="{names}" role="{role}"><b>{escape(head)}</b> {escape(text)}</div>'
