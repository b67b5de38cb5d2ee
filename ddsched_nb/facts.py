"""Digests of what a user declared, to tell whether two declarations are the same.

A store keeps them instead of the things themselves: nothing of a prompt can be read from a digest.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ddsched_nb.table import InputTable

_ROWS_AT_ONCE = 10_000


def digest(value: Any) -> str | None:
    """A digest of a value that JSON can hold; other values count by their type. None for None."""
    if value is None:
        return None
    encoded = msgspec.json.encode(value, enc_hook=_type_of, order="sorted")
    return hashlib.sha256(encoded).hexdigest()[:32]


def code_digest(function: Callable[..., Any]) -> str:
    """A digest of a function's source; of its name where the source is not to be had."""
    try:
        said = inspect.getsource(inspect.unwrap(function))
    except (OSError, TypeError):
        said = getattr(function, "__qualname__", type(function).__qualname__)
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def table_digest(table: InputTable) -> str | None:
    """A digest of every cell of an input table; None for a table without columns."""
    if not table.names:
        return None
    found = hashlib.sha256()
    encode = msgspec.json.Encoder(enc_hook=_type_of, order="sorted").encode
    for name in table.names:
        found.update(encode(name))
        for start in range(0, table.rows, _ROWS_AT_ONCE):
            stop = min(table.rows, start + _ROWS_AT_ONCE)
            found.update(encode([_plain(cell) for cell in table.read(name, start, stop)]))
    return found.hexdigest()[:32]


def function_name(function: Callable[..., Any]) -> str:
    """What a function is called."""
    return str(getattr(function, "__name__", type(function).__name__))


def _plain(cell: Any) -> Any:
    # What JSON would refuse, or would write alike though it differs.
    if isinstance(cell, str):
        return cell.encode("utf-8", "surrogatepass").hex() if not cell.isascii() else cell
    return repr(cell) if isinstance(cell, float | bytes) else cell


def _type_of(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    shown = str(value)
    # An address differs from process to process.
    return [type(value).__qualname__, shown if " at 0x" not in shown else ""]
