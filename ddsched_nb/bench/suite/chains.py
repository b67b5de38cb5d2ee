"""What one run shows of its chains and row groups: overlap, gaps, targets. A function of a record.

The formulas are those of the reference: a cell is dispatched when its worker starts, and the gap of
a second column's cell is what passes between the end of the first column's cell and that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ddsched_nb.bench.suite.cases import Case
from ddsched_nb.core import events as ev
from ddsched_nb.record import RunRecord

__all__ = ["Chains", "RowGroups", "chains", "complaints", "first_cell", "row_groups"]


class Chains(NamedTuple):
    """The chains of two columns.

    Attributes:
        upstream: Cells of first columns that were done.
        downstream: Cells of second columns that were dispatched.
        gaps: From the end of each first cell to the start of its second, in seconds.
        overlap: The share of the first columns' time in which second columns ran too.
        first_delay_s: From the first dispatch of a first column to that of a second.
        interleaved: Whether a second cell was dispatched before the last first cell was.
    """

    upstream: int = 0
    downstream: int = 0
    gaps: tuple[float, ...] = ()
    overlap: float = 0.0
    first_delay_s: float = 0.0
    interleaved: bool = False


class RowGroups(NamedTuple):
    """Row groups that were open.

    Attributes:
        target: The target at the end.
        highest_target: The highest it was.
        after_peak: The lowest it was after that.
        most_open: The most that were open at once.
        most_rows: The most rows that were.
        mean_rows: Rows that were open, as a mean over time.
    """

    target: int
    highest_target: int
    after_peak: int
    most_open: int
    most_rows: int
    mean_rows: float


def chains(case: Case, record: RunRecord) -> Chains:
    """The chains of a case; none where it has none."""
    if not case.depends:
        return Chains()
    first, second = case.depends
    cells = {e.task_id: (e.column, e.row) for e in record.select(ev.WorkerSpawned)}
    dispatched = {cells[e.task_id]: e.at for e in record.select(ev.WorkerSpawned)}
    ended = {cells[e.task_id]: e.at for e in record.select(ev.TaskCompleted)}
    heavy = [(cell, at) for cell, at in ended.items() if cell[0].startswith(first)]
    began = [at for cell, at in dispatched.items() if cell[0].startswith(first)]
    gaps, follows = [], []
    for (column, row), at in dispatched.items():
        if column.startswith(second):
            follows.append(at)
            before = (first + column.removeprefix(second), row)
            if before in ended:
                gaps.append(max(0.0, at - ended[before]))
    if not heavy or not follows:
        return Chains(len(heavy), len(follows))
    last_end, first_start = max(at for _, at in heavy), min(began)
    span = last_end - first_start
    return Chains(
        len(heavy),
        len(follows),
        tuple(gaps),
        max(0.0, last_end - min(follows)) / span if span else 0.0,
        min(follows) - first_start,
        min(follows) < max(began) and min(follows) < last_end,
    )


def row_groups(case: Case, record: RunRecord) -> RowGroups:
    """How many row groups and rows were open."""
    moved = record.select(ev.RowGroupAdmissionTargetChanged)
    fixed = case.fixed_groups
    start = fixed if fixed is not None else (moved[0].before if moved else 1)
    sizes: dict[int, int] = {}
    groups = rows = 0
    area, since, begins = 0.0, 0.0, None
    for event in record.select(ev.RowGroupAdmitted, ev.RowGroupCheckpointed):
        begins = event.at if begins is None else begins
        area, since = area + sum(sizes.values()) * (event.at - since), event.at
        if isinstance(event, ev.RowGroupAdmitted):
            sizes[event.row_group] = event.rows
        elif isinstance(event, ev.RowGroupCheckpointed):
            sizes.pop(event.row_group, None)
        groups, rows = max(groups, len(sizes)), max(rows, sum(sizes.values()))
    targets = [start, *(event.after for event in moved)]
    highest = max(targets)
    fell = min(targets[targets.index(highest) :])
    span = 0.0 if begins is None else since - begins
    mean = area / span if span else 0.0
    return RowGroups(targets[-1], highest, fell, groups, rows, mean)


def first_cell(case: Case, record: RunRecord) -> str | None:
    """The column of the first cell that was dispatched, where columns call models."""
    if not case.workload.pipeline.models:
        return None
    spawned = record.select(ev.WorkerSpawned)
    return next((event.column for event in spawned if event.row is not None), None)


def complaints(case: Case, record: RunRecord, finished: int) -> Iterator[str]:
    """What is wrong with a run, as the reference's validation has it. Nothing if it is valid."""
    rows = case.workload.rows or 0
    if finished != rows:
        yield f"{finished} of {rows} rows were finished"
    if not case.depends:
        return
    found, wanted = chains(case, record), case.generations // 2
    counts = (found.upstream, found.downstream, len(found.gaps))
    if counts != (wanted, wanted, wanted):
        yield f"{counts} cells of first and second columns and gaps, not {wanted} of each"
    if not found.interleaved:
        yield "no second cell was dispatched before the last first cell"
    fixed = case.fixed_groups or case.workload.config.max_concurrent_row_groups
    most = row_groups(case, record).most_open
    if fixed is not None and most > fixed:
        yield f"{most} row groups were open, not {fixed} at the most"
