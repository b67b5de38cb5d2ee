"""What a generator returned, read: one value an output, or why its rows are dropped."""

from __future__ import annotations

from typing import Any

import pytest

from ddsched_nb.aio.values import cell_values, hook_values, whole_values
from ddsched_nb.core.model import ColumnSpec
from ddsched_nb.errors import OutputError, RowDropped

ONE = ColumnSpec("n", (), ("n",), "root")
TWO = ColumnSpec("pair", ("a",), ("low", "high"))
ROWS = range(3, 6)


def test_a_cell_of_one_output_is_whatever_was_returned() -> None:
    assert cell_values(ONE, {"a": 1}) == {"n": {"a": 1}}
    assert cell_values(ONE, None) == {"n": None}


def test_a_cell_of_several_outputs_is_a_mapping_of_them() -> None:
    assert cell_values(TWO, {"high": 2, "low": 1}) == {"low": 1, "high": 2}


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ((1, 2), "returned a tuple"),
        ({"low": 1}, "without high"),
        ({"low": 1, "high": 2, "top": 3}, "with top, which it does not declare"),
    ],
)
def test_what_is_no_mapping_of_the_outputs_is_named(made: Any, said: str) -> None:
    with pytest.raises(OutputError, match=said):
        cell_values(TWO, made)


def test_a_cell_may_return_the_drop_of_its_row() -> None:
    with pytest.raises(RowDropped, match="too short"):
        cell_values(ONE, RowDropped("too short"))


def test_a_whole_column_is_one_value_a_row() -> None:
    assert whole_values(ONE, ROWS, [1, 2, 3]).values == {"n": [1, 2, 3]}
    assert whole_values(ONE, ROWS, (r for r in ROWS)).values == {"n": [3, 4, 5]}
    several = whole_values(TWO, ROWS, {"low": [1, 2, 3], "high": (4, 5, 6)})
    assert several.values == {"low": [1, 2, 3], "high": [4, 5, 6]}


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ([1], "returned 1 values for 3 rows"),
        ("abc", "not a str"),
        (5, r"needs=\[\.\.\.\]"),
        (None, "not a NoneType"),
        ({"n": [1, 2, 3]}, "not a dict"),
    ],
)
def test_what_is_not_one_value_a_row_is_named(made: Any, said: str) -> None:
    with pytest.raises(OutputError, match=said):
        whole_values(ONE, ROWS, made)


def test_the_output_at_fault_is_named() -> None:
    with pytest.raises(OutputError, match="column 'pair', output 'high', returned 2 values"):
        whole_values(TWO, ROWS, {"low": [1, 2, 3], "high": [4, 5]})


def test_rows_to_drop_are_found_by_number() -> None:
    drop = RowDropped("too short")
    made = whole_values(TWO, ROWS, {"low": [1, drop, 3], "high": [4, 5, 6]})
    assert made.drops == {4: drop}


def test_a_hook_may_return_nothing_or_columns_that_exist() -> None:
    assert hook_values("hook", ["a"], ROWS, None) == ({}, {})
    assert hook_values("hook", ["a", "b"], ROWS, {"b": [1, 2, 3]}).values == {"b": [1, 2, 3]}
    with pytest.raises(OutputError, match=r"a column 'c', which does not exist there .*: a"):
        hook_values("hook", ["a"], ROWS, {"c": [1, 2, 3]})
    with pytest.raises(OutputError, match="hook returned a list"):
        hook_values("hook", ["a"], ROWS, [1, 2, 3])
    with pytest.raises(OutputError, match="returned 1 values for 3 rows"):
        hook_values("hook", ["a"], ROWS, {"a": [1]})
