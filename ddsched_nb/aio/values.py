"""Reads what a generator returned: one value an output, or why its rows are dropped.

Decides what fits a column and words what does not. Must not run anything or know where values go.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ddsched_nb.core.model import ColumnSpec
from ddsched_nb.errors import OutputError, RowDropped


class Made(NamedTuple):
    """What a task made.

    Attributes:
        values: By output, one value (a cell) or one a row (a whole group).
        drops: Rows that the generator wants dropped, by number, with the reason.
    """

    values: Mapping[str, Any]
    drops: Mapping[int, RowDropped]


def cell_values(spec: ColumnSpec, made: Any) -> Mapping[str, Any]:
    """The outputs of one cell.

    Raises:
        RowDropped: The generator returned one instead of raising it.
        OutputError: A generator of several outputs returned something other than those.
    """
    if isinstance(made, RowDropped):
        raise made
    if len(spec.outputs) == 1:
        return {spec.outputs[0]: made}
    return _by_output(spec.name, spec.outputs, made)


def whole_values(spec: ColumnSpec, rows: Sequence[int], made: Any) -> Made:
    """The outputs of a task that serves a whole row group.

    Raises:
        OutputError: It is not one value a row for each output.
    """
    if len(spec.outputs) == 1:
        made = {spec.outputs[0]: made}
    columns = {
        name: _column(spec.name, name, rows, values)
        for name, values in _by_output(spec.name, spec.outputs, made).items()
    }
    return Made(columns, _drops(rows, columns.values()))


def hook_values(hook: str, known: Collection[str], rows: Sequence[int], made: Any) -> Made:
    """The columns that a hook replaces; none if it returned None.

    Raises:
        OutputError: It returned something other than columns that exist, one value a row.
    """
    if made is None:
        return Made({}, {})
    if not isinstance(made, Mapping):
        raise OutputError(
            f"{hook} returned a {type(made).__name__}; return None, or a mapping of column names "
            "to as many values as the batch has rows"
        )
    for name in made:
        if name not in known:
            raise OutputError(
                f"{hook} returned a column {name!r}, which does not exist there "
                f"(columns: {', '.join(known) or 'none'}); declare it as a Column"
            )
    columns = {name: _column(hook, name, rows, values) for name, values in made.items()}
    return Made(columns, _drops(rows, columns.values()))


def _by_output(column: str, outputs: Sequence[str], made: Any) -> Mapping[str, Any]:
    wanted = ", ".join(outputs)
    if not isinstance(made, Mapping):
        raise OutputError(
            f"column {column!r} has the outputs {wanted} and returned a {type(made).__name__}; "
            "return a mapping of these names"
        )
    missing = [name for name in outputs if name not in made]
    surplus = [str(name) for name in made if name not in outputs]
    if missing or surplus:
        said = [f"without {', '.join(missing)}"] if missing else []
        said += [f"with {', '.join(surplus)}, which it does not declare"] if surplus else []
        raise OutputError(
            f"column {column!r} has the outputs {wanted} and returned a mapping "
            f"{' and '.join(said)}; return exactly its outputs"
        )
    return {name: made[name] for name in outputs}


def _column(column: str, output: str, rows: Sequence[int], made: Any) -> list[Any]:
    what = f"column {column!r}" if column == output else f"column {column!r}, output {output!r},"
    if isinstance(made, str | bytes | Mapping) or not isinstance(made, Iterable):
        raise OutputError(
            f"{what} works on a whole row group: it must return {len(rows)} values, not a "
            f"{type(made).__name__}. For a function of one row, say what it reads with "
            "needs=[...], without batch=True"
        )
    values = list(made)
    if len(values) != len(rows):
        raise OutputError(
            f"{what} returned {len(values)} values for {len(rows)} rows; return one each"
        )
    return values


def _drops(rows: Sequence[int], columns: Iterable[list[Any]]) -> dict[int, RowDropped]:
    return {
        row: value
        for values in columns
        for row, value in zip(rows, values, strict=True)
        if isinstance(value, RowDropped)
    }
