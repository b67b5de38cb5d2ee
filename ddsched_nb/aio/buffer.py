"""The row-group buffer: the cells of the open row groups, as columns.

Gives a task its inputs, takes its outputs, and hands a finished group over without the rows that
were dropped. It must not know what is ready or running. Memory is O(open row groups).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ddsched_nb.core.model import RowGroup, Task
from ddsched_nb.core.row import Row

Inputs = Callable[[str, int, int], Sequence[Any]]


class FinishedGroup(NamedTuple):
    """A finished row group: the numbers of the rows kept, and their cells by column."""

    row_group: RowGroup
    rows: list[int]
    columns: dict[str, list[Any]]


class _Cells:
    __slots__ = ("columns", "dropped", "row_group")

    def __init__(self, row_group: RowGroup, columns: dict[str, list[Any]]) -> None:
        self.row_group = row_group
        self.columns = columns
        self.dropped: set[int] = set()


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
        """The rows of the task's group, by number."""
        group = self._groups[task.row_group].row_group
        return range(group.start, group.stop)

    def row(self, task: Task, needs: Sequence[str]) -> Row:
        """The cells that a cell task needs."""
        assert task.row is not None
        cells = self._groups[task.row_group]
        slot = task.row - cells.row_group.start
        values = {name: cells.columns[name][slot] for name in needs}
        return Row(values, number=task.row, column=task.column)

    def write(self, task: Task, values: Mapping[str, Any]) -> None:
        """Writes a task's outputs: one value each, or a whole column each for a root task."""
        cells = self._groups[task.row_group]
        for name, value in values.items():
            if task.row is None:
                cells.columns[name][:] = value
            else:
                cells.columns[name][task.row - cells.row_group.start] = value

    def drop(self, row_group: int, rows: Sequence[int]) -> None:
        """Marks rows as dropped."""
        self._groups[row_group].dropped.update(rows)

    def close(self, group: RowGroup) -> FinishedGroup:
        """Hands a finished group over and forgets it."""
        cells = self._groups.pop(group.index)
        rows = [row for row in range(group.start, group.stop) if row not in cells.dropped]
        columns = cells.columns
        if len(rows) < group.size:
            slots = [row - group.start for row in rows]
            columns = {name: [column[s] for s in slots] for name, column in columns.items()}
        return FinishedGroup(group, rows, columns)

    @property
    def open_groups(self) -> int:
        """Number of groups held."""
        return len(self._groups)
