"""Row groups: how a table is cut, and how many pieces may be open.

Lazy throughout: a plan of a million groups costs as much as one of two.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import overload

from ddsched_nb.core.model import RowGroup
from ddsched_nb.errors import ConfigError


class RowGroupPlan(Sequence[RowGroup]):
    """Rows 0 to `rows`, cut in order into groups of `size`; the last may be short.

    Raises:
        ConfigError: `rows` is below 0 or `size` below 1.
    """

    def __init__(self, rows: int, size: int) -> None:
        if rows < 0:
            raise ConfigError(f"rows is {rows}; give 0 or more")
        if size < 1:
            raise ConfigError(f"size of a row group is {size}; give at least 1")
        self.rows = rows
        self.size = size

    def __len__(self) -> int:
        return -(-self.rows // self.size)

    @overload
    def __getitem__(self, index: int) -> RowGroup: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[RowGroup, ...]: ...
    def __getitem__(self, index: int | slice) -> RowGroup | tuple[RowGroup, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"row group {index} of {len(self)}")
        start = number * self.size
        return RowGroup(number, start, min(self.rows, start + self.size))

    def __repr__(self) -> str:
        return f"<RowGroupPlan: {self.rows} rows in {len(self)} groups of {self.size}>"


class RowGroupGovernor:
    """Opens row groups in order, a fixed number at a time.

    Args:
        plan: The groups.
        max_open: How many may be open, at least 1.
        finished: Indices of groups that an earlier run finished; they are passed over.

    Raises:
        ConfigError: `max_open` is below 1.
    """

    def __init__(self, plan: RowGroupPlan, max_open: int, finished: Container[int] = ()) -> None:
        if max_open < 1:
            raise ConfigError(f"max_open is {max_open}; give at least 1")
        self._plan = plan
        self._max_open = max_open
        self._next = 0
        self._open: set[int] = set()
        self._finished = finished
        self._pass_over()

    def __repr__(self) -> str:
        return f"<RowGroupGovernor: {self.open_groups} open of at most {self._max_open}>"

    @property
    def total(self) -> int:
        """Groups in all."""
        return len(self._plan)

    @property
    def open_groups(self) -> int:
        """Groups opened and not finished."""
        return len(self._open)

    @property
    def exhausted(self) -> bool:
        """Whether every group was opened."""
        return self._next >= len(self._plan)

    def next(self) -> RowGroup | None:
        """Opens the next group if one may be open now."""
        if self.exhausted or len(self._open) >= self._max_open:
            return None
        group = self._plan[self._next]
        self._next += 1
        self._pass_over()
        self._open.add(group.index)
        return group

    def finish(self, index: int) -> bool:
        """A group is finished. False, and no change, if it was not open."""
        if index not in self._open:
            return False
        self._open.remove(index)
        return True

    def _pass_over(self) -> None:
        while not self.exhausted and self._next in self._finished:
            self._next += 1
