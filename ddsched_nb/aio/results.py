"""Where finished rows go: the contract, and the table in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

from ddsched_nb.aio.buffer import FinishedGroup


class Sink(Protocol):
    """Takes row groups, in any order."""

    def store(self, group: FinishedGroup) -> Awaitable[None] | None:
        """Takes a finished group; if that takes time, what it returns is done when it is safe."""
        ...

    def keep(self, group: FinishedGroup) -> None:
        """Takes the finished rows of a group that is not finished: the run ends early."""
        ...

    def read(self) -> tuple[list[int], dict[str, list[Any]]]:
        """Row numbers and cells by column of everything finished, in the order of the table."""
        ...

    async def close(self) -> None:
        """The run ended; what was taken can still be read."""
        ...


class ResultTable:
    """Finished rows in memory, as columns, given back in the order of the table.

    Args:
        columns: Names of the columns, in the order wanted.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._names = tuple(columns)
        self._groups: dict[int, FinishedGroup] = {}

    def store(self, group: FinishedGroup) -> None:
        """Takes a finished group."""
        self._groups[group.row_group.index] = group

    def keep(self, group: FinishedGroup) -> None:
        """Takes the finished rows of a group that is not finished."""
        self._groups[group.row_group.index] = group

    def discard(self, group: FinishedGroup) -> None:
        """Forgets a group."""
        self._groups.pop(group.row_group.index, None)

    def read(self) -> tuple[list[int], dict[str, list[Any]]]:
        """Row numbers and cells by column."""
        return self.rows, self.columns()

    async def close(self) -> None:
        """Nothing to give back."""

    @property
    def rows(self) -> list[int]:
        """Numbers of the rows held, ascending."""
        return [row for group in self._ordered() for row in group.rows]

    def columns(self) -> dict[str, list[Any]]:
        """The cells held, by column."""
        groups = self._ordered()
        return {
            name: [value for group in groups for value in group.columns[name]]
            for name in self._names
        }

    def _ordered(self) -> list[FinishedGroup]:
        return [self._groups[index] for index in sorted(self._groups)]


class RowCounter:
    """Counts finished rows and forgets them: for runs whose table nobody reads."""

    def __init__(self) -> None:
        self.rows = 0
        """Rows taken so far."""
        self.first_at: float | None = None
        """When the first group was finished, on the loop's clock; None if none was."""

    def store(self, group: FinishedGroup) -> None:
        """Counts a finished group."""
        if self.first_at is None:
            self.first_at = asyncio.get_running_loop().time()
        self.rows += len(group.rows)

    def keep(self, group: FinishedGroup) -> None:
        """Counts the finished rows of a group that is not finished."""
        self.rows += len(group.rows)

    def read(self) -> tuple[list[int], dict[str, list[Any]]]:
        """Nothing: the rows are gone."""
        return [], {}

    async def close(self) -> None:
        """Nothing to give back."""
