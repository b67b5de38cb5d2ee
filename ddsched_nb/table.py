"""Tables in and out. pandas and pyarrow are imported only when a table of theirs is at hand."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from ddsched_nb.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

Read = Callable[[str, int, int], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class InputTable:
    """An input table, read a slice at a time.

    Attributes:
        names: Its columns.
        rows: Its number of rows.
        read: Gives the cells of a column from a start row to a stop row.
    """

    names: tuple[str, ...]
    rows: int
    read: Read

    @classmethod
    def empty(cls, rows: int) -> InputTable:
        """A table of so many rows and no columns."""
        return cls((), rows, _no_column)

    def head(self, rows: int) -> InputTable:
        """Its first rows, so many of them at the most."""
        return InputTable(self.names, min(rows, self.rows), self.read)


def read_table(table: Any) -> InputTable:
    """Reads a table that a user gave.

    Args:
        table: A pandas DataFrame, a pyarrow Table, or a mapping of names to sequences of one
            length.

    Raises:
        ConfigError: It is none of these, or its columns have different lengths, or a name is no
            string or is there twice.
    """
    if hasattr(table, "iloc") and hasattr(table, "columns"):
        names = _names(list(table.columns))
        return InputTable(names, len(table), lambda n, a, b: table[n].iloc[a:b].tolist())
    if hasattr(table, "column_names") and hasattr(table, "slice"):
        names = _names(list(table.column_names))
        return InputTable(
            names, table.num_rows, lambda n, a, b: table.column(n).slice(a, b - a).to_pylist()
        )
    if isinstance(table, Mapping):
        return _read_mapping(table)
    raise ConfigError(
        f"table is a {type(table).__name__}; give a pandas DataFrame, a pyarrow Table, or a "
        "mapping of column names to lists"
    )


def to_pandas(columns: Mapping[str, Sequence[Any]], index: Sequence[int]) -> pd.DataFrame:
    """A DataFrame of columns, indexed by row number.

    Raises:
        ConfigError: pandas is not installed.
    """
    try:
        pandas = importlib.import_module("pandas")
    except ImportError as error:
        raise ConfigError(
            "to_pandas() needs pandas, which is not installed: pip install 'ddsched-nb[lab]'"
        ) from error
    frame: pd.DataFrame = pandas.DataFrame(dict(columns), index=list(index))
    return frame


def plain(cells: list[Any]) -> list[Any]:
    """Cells as a table holds them: pydantic models become mappings, NumPy values Python's, tuples
    lists.

    While a row is worked on its cells are what generators made; in a table in memory and in a store
    they must be the same, whichever of the two is used.
    """
    if set(map(type, cells)) <= _PLAIN:
        return cells
    return [_plain(cell) for cell in cells]


_PLAIN = {type(None), bool, int, float, str, bytes}


def _plain(cell: Any) -> Any:
    kind = type(cell)
    if kind in _PLAIN:
        return cell
    if isinstance(cell, BaseModel):
        return _plain(cell.model_dump())
    if isinstance(cell, list | tuple):
        return list(cell) if set(map(type, cell)) <= _PLAIN else [_plain(part) for part in cell]
    if kind is dict:
        return {key: _plain(value) for key, value in cell.items()}
    if kind.__module__ == "numpy" and hasattr(cell, "tolist"):
        return cell.tolist()
    return None if kind.__name__ == "NaTType" else cell


def _read_mapping(table: Mapping[Any, Any]) -> InputTable:
    names = _names(list(table))
    lengths = {name: len(table[name]) for name in names}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name}: {n}" for name, n in lengths.items())
        raise ConfigError(f"the columns of table have different lengths ({told}); make them equal")
    rows = next(iter(lengths.values()), 0)
    return InputTable(names, rows, lambda name, start, stop: list(table[name][start:stop]))


def _names(names: list[Any]) -> tuple[str, ...]:
    for name in names:
        if not isinstance(name, str):
            raise ConfigError(f"table has a column called {name!r}; give its columns string names")
        if names.count(name) > 1:
            raise ConfigError(f"table has two columns called {name!r}; rename one")
    return tuple(names)


def _no_column(name: str, start: int, stop: int) -> Sequence[Any]:
    raise KeyError(name)
