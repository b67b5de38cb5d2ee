"""Says in words how a run stands: for terminals, for notebooks without widgets, for nbval.

Pure functions of statistics. This module must not import a widget library or know a colour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ddsched_nb.aio.statistics import ColumnProgress, RunStatistics
    from ddsched_nb.core.model import PoolKey

ENDED = frozenset({"finished", "failed", "cancelled", "stalled", "timed_out"})

_LINE = 100
_BAR = 20


def progress_line(stats: RunStatistics) -> str:
    """One line for a plain terminal, at most 100 columns, ASCII where the names are.

    The line changes with time. For text that stays equal from run to run see `facts`.
    """
    share = work_share(stats)
    filled = int(share * _BAR)
    parts = [
        f"{stats.state} [{'#' * filled}{'-' * (_BAR - filled)}] {percent(share)}",
        f"{stats.rows_finished:,}/{stats.rows:,} rows",
        *([f"{stats.rows_dropped:,} dropped"] if stats.rows_dropped else []),
        duration(stats.elapsed_s),
        *([f"{number(rate)} rows/s"] if (rate := rows_per_second(stats)) else []),
        *_requests(stats),
    ]
    return shorten(", ".join(parts), _LINE)


def facts(stats: RunStatistics) -> str:
    """What is true of a run however fast it went, so that two equal runs read equal.

    Rows, drops and errors are told once the run has ended; before that they depend on the moment.
    Times, limits and refusals depend on the endpoint's mood and are left to the live view.
    """
    ended = stats.state in ENDED
    lines = [f"Run {stats.state}: {_rows(stats) if ended else plural(stats.rows, 'row')}"]
    if stats.columns:
        lines.append(f"columns: {', '.join(map(_column, stats.columns))}")
    # Which row was dropped last depends on timing; the summary says why rows were dropped.
    if ended and stats.state != "finished" and stats.last_error:
        lines.append(f"last error: {stats.last_error}")
    return "\n".join(lines)


def work_share(stats: RunStatistics) -> float:
    """How much of the work is done, 0 to 1: cells, or rows where those are further.

    Rows are counted when their row group ends, so cells say more while groups are open; the cells
    that a dropped row will never get are not waited for.
    """
    if not stats.rows:
        return float(stats.state == "finished")
    rows = (stats.rows_finished + stats.rows_dropped) / stats.rows
    wanted = sum(column.total for column in stats.columns)
    wanted -= stats.rows_dropped * len(stats.columns)
    cells = sum(column.done for column in stats.columns) / wanted if wanted > 0 else 0.0
    return min(1.0, max(rows, cells))


def rows_per_second(stats: RunStatistics) -> float:
    """Finished rows per second of the run so far, pauses included; 0 before the first."""
    return stats.rows_finished / stats.elapsed_s if stats.elapsed_s > 0 else 0.0


def pool_name(pool: PoolKey) -> str:
    """`provider/model`, with the domain where it is not the usual one."""
    return pool.model_key.label if pool.domain == "chat" else pool.label


def percent(share: float) -> str:
    """A share as whole percents; says 100 only when nothing is left."""
    return f"{int(share * 100 + 1e-9)}%"


def duration(seconds: float) -> str:
    """Seconds as `m:ss`, or `h:mm:ss` from an hour on."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def number(value: float) -> str:
    """A number to about two significant digits below ten, whole with separators above."""
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}"


def plural(count: int, word: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def shorten(text: str, width: int) -> str:
    """Cuts to a width, and shows that something was cut."""
    return text if len(text) <= width else text[: width - 3] + "..."


def _rows(stats: RunStatistics) -> str:
    return f"{stats.rows_finished:,} of {plural(stats.rows, 'row')}, {stats.rows_dropped:,} dropped"


def _column(column: ColumnProgress) -> str:
    return f"{column.name} ({column.model})" if column.model else column.name


def _requests(stats: RunStatistics) -> Iterable[str]:
    in_flight = sum(pool.in_flight for pool in stats.pools)
    refused = sum(pool.refused for pool in stats.pools)
    if in_flight:
        yield f"{in_flight:,} in flight"
    if refused:
        yield f"{refused:,} refused"
