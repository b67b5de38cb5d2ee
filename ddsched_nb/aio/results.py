"""Finished rows in memory, as columns, in the order of the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ddsched_nb.aio.buffer import FinishedGroup


class ResultTable:
    """Takes finished row groups in any order and gives them back in the table's.

    Args:
        columns: Names of the columns, in the order wanted.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._names = tuple(columns)
        self._groups: dict[int, FinishedGroup] = {}

    def __call__(self, group: FinishedGroup) -> None:
        """Takes a finished group; the table is a sink of the scheduler."""
        self._groups[group.row_group.index] = group

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
