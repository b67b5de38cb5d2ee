"""Puts finished row groups into a store, off the event loop, and reads everything back.

A group counts as finished for the scheduler once it is on disk, so that a slow disk holds back new
groups instead of filling memory. What a failed write leaves stays in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ddsched_nb.aio.buffer import FinishedGroup
from ddsched_nb.aio.results import ResultTable
from ddsched_nb.store.journal import StoredGroup

if TYPE_CHECKING:
    from ddsched_nb.store.parquet import ParquetStore


class StoreSink:
    """Takes finished row groups to a store.

    Args:
        store: Where they go.
        columns: Names of the columns, in the order wanted.
    """

    def __init__(self, store: ParquetStore, columns: Sequence[str]) -> None:
        self._store = store
        self._names = tuple(columns)
        self._unsaved = ResultTable(columns)
        # One thread: groups are written one after the other, and never on the loop.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ddsched-nb-store")

    async def store(self, group: FinishedGroup) -> None:
        """Writes a finished group.

        Raises:
            StoreError: It cannot be written; its rows stay in memory.
        """
        self._unsaved.keep(group)
        which = group.row_group
        stored = StoredGroup(which.index, which.start, which.stop, group.dropped)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._store.write, stored, group.columns)
        self._unsaved.discard(group)

    def keep(self, group: FinishedGroup) -> None:
        """Keeps the finished rows of an unfinished group; a later run makes the group anew."""
        self._unsaved.keep(group)

    def read(self) -> tuple[list[int], dict[str, list[Any]]]:
        """Row numbers and cells of everything finished, in the order of the table."""
        rows, columns = self._store.read()
        found = set(rows)
        extra = self._unsaved.rows
        new = [index for index, row in enumerate(extra) if row not in found]
        if not new:
            return rows, columns
        kept = self._unsaved.columns()
        rows = rows + [extra[index] for index in new]
        order = sorted(range(len(rows)), key=rows.__getitem__)
        merged = {
            name: [*columns.get(name, ()), *(kept[name][index] for index in new)]
            for name in self._names
        }
        return [rows[i] for i in order], {
            n: [cells[i] for i in order] for n, cells in merged.items()
        }

    async def close(self) -> None:
        """Waits for what is being written and gives the store back."""
        # In another thread: waiting must not hold the loop.
        await asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)
        self._store.close()
