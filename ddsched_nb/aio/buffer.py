"""The row-group buffer: the cells of the open row groups, as columns.

Gives a task its inputs, takes its outputs, and hands a finished group over without the rows that
were dropped. It must not know what is ready or running. Memory is O(open row groups).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ddsched_nb.core.model import RowGroup, Task
from ddsched_nb.core.row import Batch, Row
from ddsched_nb.store.journal import DroppedRow
from ddsched_nb.table import plain

Inputs = Callable[[str, int, int], Sequence[Any]]


class FinishedGroup(NamedTuple):
    """A finished row group: the numbers of the rows kept, their cells by column, and the rest."""

    row_group: RowGroup
    rows: list[int]
    columns: dict[str, list[Any]]
    dropped: tuple[DroppedRow, ...]


class _Cells:
    __slots__ = ("columns", "dropped", "row_group", "skipped")

    def __init__(self, row_group: RowGroup, columns: dict[str, list[Any]]) -> None:
        self.row_group = row_group
        self.columns = columns
        self.dropped: dict[int, DroppedRow] = {}
        self.skipped: dict[str, set[int]] = {}


class RowGroupBuffer:
    """Cells of open row groups.

    Args:
        inputs: Names of the columns of the input table.
        outputs: Names of the columns that generators write.
        read: Gives the cells of an input column from a start row to a stop row.
    """

    def __init__(self, inputs: Sequence[str], outputs: Sequence[str], read: Inputs) -> None:
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)
        self._read = read
        self._groups: dict[int, _Cells] = {}

    def open(self, group: RowGroup) -> None:
        """Makes room for a row group and reads its inputs."""
        columns: dict[str, list[Any]] = {
            name: list(self._read(name, group.start, group.stop)) for name in self._inputs
        }
        columns |= {name: [None] * group.size for name in self._outputs}
        self._groups[group.index] = _Cells(group, columns)

    def rows(self, task: Task) -> range:
        """The rows of the task's group, by number, whether dropped or not."""
        group = self._groups[task.row_group].row_group
        return range(group.start, group.stop)

    def row(self, task: Task, needs: Sequence[str]) -> Row:
        """The cells that a cell task needs."""
        assert task.row is not None
        cells = self._groups[task.row_group]
        slot = task.row - cells.row_group.start
        values = {name: cells.columns[name][slot] for name in needs}
        return Row(values, number=task.row, column=task.column)

    def batch(self, task: Task, needs: Sequence[str]) -> Batch:
        """The cells that a task of a whole group needs, of the rows that are left."""
        cells = self._groups[task.row_group]
        numbers = [row for row in self.rows(task) if row not in cells.dropped]
        columns = {name: self._kept(cells, name, numbers) for name in needs}
        return Batch(columns, numbers=numbers, column=task.column)

    def skipped(self, task: Task, row: int, needs: Iterable[str]) -> bool:
        """Whether any of the cells that a row needs was skipped."""
        skipped = self._groups[task.row_group].skipped
        return bool(skipped) and any(row in skipped.get(name, ()) for name in needs)

    def write(self, task: Task, values: Mapping[str, Any]) -> None:
        """Writes the outputs of a cell."""
        assert task.row is not None
        cells = self._groups[task.row_group]
        for name, value in values.items():
            cells.columns[name][task.row - cells.row_group.start] = value

    def write_rows(
        self, task: Task, rows: Sequence[int], columns: Mapping[str, Sequence[Any]]
    ) -> None:
        """Writes the outputs of a task of a whole group, for these rows of it."""
        cells = self._groups[task.row_group]
        start, size = cells.row_group.start, cells.row_group.size
        for name, values in columns.items():
            if len(rows) == size:
                cells.columns[name][:] = values
                continue
            column = cells.columns[name]
            for row, value in zip(rows, values, strict=True):
                column[row - start] = value

    def skip(self, task: Task, rows: Sequence[int], values: Mapping[str, Any]) -> None:
        """Marks cells as skipped, and gives each output its value."""
        cells = self._groups[task.row_group]
        for name, value in values.items():
            cells.skipped.setdefault(name, set()).update(rows)
            for row in rows:
                cells.columns[name][row - cells.row_group.start] = value

    def drop(self, row_group: int, dropped: Iterable[DroppedRow]) -> None:
        """Marks rows as dropped."""
        self._groups[row_group].dropped |= {drop.row: drop for drop in dropped}

    def close(self, group: RowGroup, *, keep: Sequence[int] | None = None) -> FinishedGroup:
        """Hands a group over and forgets it.

        Args:
            group: The group.
            keep: The rows to hand over; all that were not dropped if None.
        """
        cells = self._groups.pop(group.index)
        rows = list(keep) if keep is not None else list(range(group.start, group.stop))
        rows = [row for row in rows if row not in cells.dropped]
        columns = {name: plain(self._kept(cells, name, rows)) for name in cells.columns}
        dropped = tuple(cells.dropped[row] for row in sorted(cells.dropped))
        return FinishedGroup(group, rows, columns, dropped)

    @property
    def open_groups(self) -> int:
        """Number of groups held."""
        return len(self._groups)

    def _kept(self, cells: _Cells, name: str, rows: Sequence[int]) -> list[Any]:
        column, start = cells.columns[name], cells.row_group.start
        if len(rows) == len(column):
            return list(column)
        return [column[row - start] for row in rows]
