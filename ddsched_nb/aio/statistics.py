"""How a run stands: frozen answers, for views and summaries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ddsched_nb.core.pool_facts import PoolStatistics, pools_html
from ddsched_nb.reprs import brief, html_table

RunState = Literal[
    "running", "paused", "cancelling", "finished", "failed", "cancelled", "stalled", "timed_out"
]


@dataclass(frozen=True, slots=True)
class ColumnProgress:
    """How far a column is, counted in rows.

    Attributes:
        name: The column.
        model: Alias of the model it calls, if it is a model column.
        done: Rows that have its value.
        total: Rows of the run.
        running: Tasks of it that run now.
    """

    name: str
    model: str | None
    done: int
    total: int
    running: int


@dataclass(frozen=True, slots=True)
class GroupProgress:
    """How far an open row group is, counted in tasks."""

    index: int
    rows: int
    cells_done: int
    cells: int


@dataclass(frozen=True, slots=True)
class RunStatistics:
    """How a run stands. Asking changes nothing. Instants and durations are seconds."""

    state: RunState
    rows: int
    rows_finished: int
    rows_dropped: int
    row_groups: int
    row_groups_finished: int
    open_groups: tuple[GroupProgress, ...]
    columns: tuple[ColumnProgress, ...]
    pools: tuple[PoolStatistics, ...]
    deferred: int
    elapsed_s: float
    now: float
    last_error: str | None

    def __repr__(self) -> str:
        return brief(
            f"<RunStatistics: {self.state}, {self.rows_finished} of {self.rows} rows finished, "
            f"{self.rows_dropped} dropped, {self.elapsed_s:.2f} s>"
        )

    def _repr_html_(self) -> str:
        columns = [(c.name, c.model or "-", c.done, c.total, c.running) for c in self.columns]
        heads = ("column", "model", "done", "of", "running")
        caption = f"{self.state}: {self.rows_finished} of {self.rows} rows finished"
        shown = html_table(heads, columns, caption=caption)
        return shown + (pools_html(self.pools, "slots of each model") if self.pools else "")
