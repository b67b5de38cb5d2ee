"""The row that a generator gets: the cells of the columns its column needs, and no others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ddsched_nb.errors import UndeclaredNeedError


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
        declared = ", ".join(self) or "none"
        raise UndeclaredNeedError(
            f"column {self.column!r} reads {name!r}, which it does not declare "
            f"(needs: {declared}); add it to needs=[...]"
        )

    def __repr__(self) -> str:
        return f"<Row {self.number}: {', '.join(self)}>"
