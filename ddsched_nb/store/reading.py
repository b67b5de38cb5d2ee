"""Reads a store without a run: what is finished so far, also while a run writes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ddsched_nb.errors import StoreError
from ddsched_nb.reprs import facts_html
from ddsched_nb.store.files import Found, find_groups, read_cells, read_manifest
from ddsched_nb.store.fingerprint import digest_of
from ddsched_nb.store.journal import DroppedRow
from ddsched_nb.table import to_pandas

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Store"]


class Store:
    """A store, to read. Every answer is of the moment it is asked for.

    Args:
        path: Its directory.

    Raises:
        StoreError: There is no store, or it cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        manifest = read_manifest(self.path)
        if manifest is None:
            raise StoreError(f"{str(self.path)!r} is no store; give the directory of a run")
        self._digest = digest_of(manifest.facts)
        self.columns = tuple(manifest.columns)
        total = manifest.facts.get("rows")
        self.total = total if isinstance(total, int) else None

    def __repr__(self) -> str:
        groups = [line.group for line in self._found().lines]
        kept, dropped = sum(g.kept for g in groups), sum(len(g.dropped) for g in groups)
        of = "" if self.total is None else f" of {self.total}"
        return f"<Store {self.path.name!r}: {kept}{of} rows finished, {dropped} dropped>"

    def _repr_html_(self) -> str:
        groups = [line.group for line in self._found().lines]
        facts = [
            ("rows finished", sum(group.kept for group in groups)),
            ("rows dropped", sum(len(group.dropped) for group in groups)),
            ("rows of the table", "-" if self.total is None else self.total),
            ("row groups stored", len(groups)),
            ("columns", ", ".join(self.columns)),
        ]
        return facts_html(f"store {self.path.name}", facts)

    @property
    def rows(self) -> int:
        """Number of finished rows."""
        return sum(line.group.kept for line in self._found().lines)

    @property
    def dropped(self) -> list[DroppedRow]:
        """The rows that were dropped, in the order of the table."""
        return [drop for line in self._found().lines for drop in line.group.dropped]

    @property
    def finished(self) -> bool:
        """Whether every row of the table is finished or dropped."""
        groups = [line.group for line in self._found().lines]
        return sum(group.stop - group.start for group in groups) == self.total

    def to_pandas(self) -> pd.DataFrame:
        """The finished rows as a DataFrame, indexed by row number.

        Raises:
            StoreError: A file cannot be read.
        """
        groups = {line.group.index: line.group for line in self._found().lines}
        rows, columns = read_cells(self.path / "data", groups, self.columns)
        return to_pandas(columns, rows)

    def _found(self) -> Found:
        return find_groups(self.path, self._digest)
