"""What a generator gets to read: a row, or a batch of rows, with the columns it needs only."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, overload

from ddsched_nb.errors import UndeclaredNeedError
from ddsched_nb.reprs import brief


class Row(dict[str, Any]):
    """Cells by column name.

    Attributes:
        number: Number of the row in the table, counted from 0.
        column: The column it was made for.
    """

    __slots__ = ("column", "number")

    def __init__(self, values: Mapping[str, Any], *, number: int, column: str) -> None:
        super().__init__(values)
        self.number = number
        self.column = column

    def __missing__(self, name: str) -> Any:
        raise UndeclaredNeedError(_undeclared(self.column, name, self))

    def __repr__(self) -> str:
        return brief(f"<Row {self.number}: {', '.join(self)}>")


class Batch(Sequence[Row]):
    """The rows of a row group that are left: a sequence of rows, and columns by name.

    `len(batch)` is the number of rows, `batch[0]` the first row, `batch["topic"]` a whole column.

    Args:
        columns: Cells by column name, each as long as `numbers`.
        numbers: Numbers of the rows in the table, ascending.
        column: The column it was made for.
    """

    __slots__ = ("_columns", "column", "numbers")

    def __init__(
        self, columns: Mapping[str, list[Any]], *, numbers: Sequence[int], column: str
    ) -> None:
        self._columns = dict(columns)
        self.numbers = tuple(numbers)
        self.column = column

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, key: int) -> Row: ...
    @overload
    def __getitem__(self, key: slice) -> list[Row]: ...
    @overload
    def __getitem__(self, key: str) -> list[Any]: ...
    def __getitem__(self, key: int | slice | str) -> Row | list[Row] | list[Any]:
        if isinstance(key, str):
            if key not in self._columns:
                raise UndeclaredNeedError(_undeclared(self.column, key, self._columns))
            return self._columns[key]
        if isinstance(key, slice):
            return [self[index] for index in range(*key.indices(len(self)))]
        values = {name: cells[key] for name, cells in self._columns.items()}
        return Row(values, number=self.numbers[key], column=self.column)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns it holds."""
        return tuple(self._columns)

    def without(self, numbers: Collection[int]) -> Batch:
        """The batch without some rows, by number; itself if there are none to leave out."""
        if not numbers:
            return self
        left_out = set(numbers)
        kept = [index for index, number in enumerate(self.numbers) if number not in left_out]
        columns = {name: [cells[i] for i in kept] for name, cells in self._columns.items()}
        return Batch(columns, numbers=[self.numbers[i] for i in kept], column=self.column)

    def __repr__(self) -> str:
        return brief(f"<Batch of {len(self)} rows: {', '.join(self._columns)}>")


def _undeclared(column: str, name: str, declared: Mapping[str, Any]) -> str:
    return (
        f"column {column!r} reads {name!r}, which it does not declare "
        f"(needs: {', '.join(declared) or 'none'}); add it to needs=[...]"
    )
