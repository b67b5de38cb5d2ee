"""Cells as Arrow columns and back, exactly: what is read equals what was written.

Arrow guesses a type from values, and some guesses change them (mappings of different keys get keys
of each other, a whole number becomes a float). A column that would not come back as it was is kept
as JSON text; one that JSON cannot hold either is refused with its name.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ddsched_nb.errors import StoreError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["from_arrow", "to_arrow"]

# A column of one of these, and None, is held as it is.
_EXACT = (bool, int, float, str, bytes)


def to_arrow(name: str, cells: Sequence[Any]) -> tuple[pa.Array, bool]:
    """A column as Arrow array, and whether it holds JSON text instead of the cells.

    Raises:
        StoreError: A cell has a type that no file can hold; names the column and the type.
    """
    arrow = importlib.import_module("pyarrow")
    array = _inferred(arrow, cells)
    if array is not None and (_is_exact(cells) or _same(array.to_pylist(), list(cells))):
        return array, False
    return arrow.array([_as_json(name, cell) for cell in cells], type=arrow.string()), True


def from_arrow(column: Any, *, encoded: bool) -> list[Any]:
    """The cells of an Arrow column."""
    values: list[Any] = column.to_pylist()
    if not encoded:
        return values
    return [None if text is None else json.loads(text) for text in values]


def _inferred(arrow: Any, cells: Sequence[Any]) -> Any:
    try:
        return arrow.array(cells)
    except (arrow.ArrowException, OverflowError, ValueError, TypeError):
        return None


def _is_exact(cells: Sequence[Any]) -> bool:
    """Whether a look at the types is enough: the columns that people mostly have."""
    found = set(map(type, cells)) - {type(None)}
    if len(found) != 1:
        return not found
    kind = found.pop()
    if kind is list:  # vectors
        return all(set(map(type, cell)) == {float} for cell in cells if cell is not None)
    return kind in _EXACT


def _same(read: Any, written: Any) -> bool:
    """Equal in value and in kind, all the way down; a NaN equals a NaN."""
    if isinstance(written, list):
        long = isinstance(read, list) and len(read) == len(written)
        return long and all(map(_same, read, written))
    if isinstance(written, dict):
        alike = isinstance(read, dict) and list(read) == list(written)
        return alike and all(_same(read[key], value) for key, value in written.items())
    if isinstance(written, float) and written != written:
        return isinstance(read, float) and read != read
    kind = isinstance(written, type(read)) and isinstance(written, bool) == isinstance(read, bool)
    return kind and bool(read == written)


def _as_json(name: str, cell: Any) -> str | None:
    if cell is None:
        return None
    try:
        text = json.dumps(cell)  # the standard library's: it keeps NaN, and any text
        exact = _same(json.loads(text), cell)
    except (TypeError, ValueError, OverflowError, RecursionError):
        exact = False
    if not exact:
        raise StoreError(
            f"column {name!r} holds a {type(cell).__name__} that no file can hold exactly, at "
            "least not beside the other cells of the column; make plain values of it first (text, "
            "numbers, lists, mappings with text as keys)"
        )
    return text
