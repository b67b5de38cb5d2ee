"""How a run stands: frozen answers, for views and summaries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ddsched_nb.aio.progress import RowError
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
class FlowStanding:
    """How a flow stands with the slots that all tasks share.

    Attributes:
        columns: The columns whose tasks it holds.
        queued: Its tasks that are ready and wait for a slot.
        held: Slots that it holds.
        share: Its share of them by weight.
        debt: What it holds borrowed, of whatever resource it owes most.
    """

    columns: tuple[str, ...]
    queued: int
    held: int
    share: int
    debt: int


@dataclass(frozen=True, slots=True)
class RunStatistics:
    """How a run stands. Asking changes nothing. Instants and durations are seconds.

    Attributes:
        state: Whether it runs, and if not, how it ended.
        rows: Rows of the table.
        rows_finished: Those that are finished and stored.
        rows_dropped: Those that will not be.
        row_groups: Row groups in all.
        row_groups_finished: Those that are finished and stored.
        open_groups: Those that are worked on, in order.
        columns: How far each column is.
        pools: How each model stands.
        deferred: Cells that failed and are put aside.
        elapsed_s: Since the start; until the end, where it has ended.
        now: The instant that this was asked for.
        last_error: What went wrong last, in a line.
        group_target: Row groups that may be open now.
        group_cap: What that never exceeds.
        flows: How each flow stands.
        slots_held: Task slots that are leased.
        slots: Task slots in all.
        idle: Idle slots of all models, by why they are idle now: a sample.
        errors: The last few reasons why rows were dropped or the run failed.
        events_lost: Events that a listener lost because it raised.
    """

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
    group_target: int = 0
    group_cap: int = 0
    flows: tuple[FlowStanding, ...] = ()
    slots_held: int = 0
    slots: int = 0
    idle: tuple[tuple[str, int], ...] = ()
    errors: tuple[RowError, ...] = ()
    events_lost: int = 0

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
