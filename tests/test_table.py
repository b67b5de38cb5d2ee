"""Tables in and out, in each form that users have them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from ddsched_nb.errors import ConfigError
from ddsched_nb.table import InputTable, read_table, to_pandas

COLUMNS = {"n": [1, 2, 3, 4], "s": ["a", "b", "c", "d"]}


@pytest.mark.parametrize(
    "table",
    [
        COLUMNS,
        pd.DataFrame(COLUMNS, index=[9, 8, 7, 6]),
        pa.table(COLUMNS),
        {"n": range(1, 5), "s": "abcd"},
    ],
    ids=["mapping", "pandas", "pyarrow", "sequences"],
)
def test_a_table_is_read_a_slice_at_a_time(table: Any) -> None:
    read = read_table(table)
    assert (read.names, read.rows) == (("n", "s"), 4)
    assert list(read.read("n", 1, 3)) == [2, 3]
    assert list(read.read("s", 0, 4)) == ["a", "b", "c", "d"]


def test_pandas_gives_plain_values() -> None:
    (value,) = read_table(pd.DataFrame({"n": [7]})).read("n", 0, 1)
    assert type(value) is int


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ([1, 2], "table is a list"),
        ({"a": [1], "b": [1, 2]}, r"different lengths \(a: 1, b: 2\)"),
        (pd.DataFrame({0: [1]}), "column called 0"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns called 'a'"),
    ],
)
def test_a_table_that_cannot_be_used_says_why(table: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_table(table)


def test_no_table_is_rows_without_columns() -> None:
    empty = InputTable.empty(5)
    assert (empty.names, empty.rows) == ((), 5)


def test_columns_become_a_frame_by_row_number() -> None:
    frame = to_pandas({"a": [1, 2]}, [3, 5])
    assert list(frame.index) == [3, 5]
    assert list(frame["a"]) == [1, 2]


def test_pandas_is_imported_only_when_called_for() -> None:
    code = (
        "import sys; from ddsched_nb.table import read_table; read_table({'a': [1]}); "
        "assert 'pandas' not in sys.modules and 'pyarrow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
