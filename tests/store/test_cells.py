"""Cells as Arrow columns: what is read equals what was written, or the write is refused."""

from __future__ import annotations

import datetime
import decimal
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from ddsched_nb.errors import StoreError
from ddsched_nb.store.cells import from_arrow, to_arrow
from ddsched_nb.table import plain

NAN = float("nan")


def there_and_back(cells: list[Any]) -> list[Any]:
    array, encoded = to_arrow("c", cells)
    return from_arrow(array, encoded=encoded)


def alike(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a):
        return math.isnan(b)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(alike(a[k], b[k]) for k in a)
    return type(a) is type(b) and a == b


@pytest.mark.parametrize(
    "cells",
    [
        [],
        [None, None],
        [1, None, -(2**63)],
        [1, 2.5, None],
        [True, 2],
        [2**70, 1],
        ["a", None, ""],
        ["a", NAN],
        ["a", 1],
        ["\ud800 lone", "a"],
        [b"x", b""],
        [0.1, NAN, math.inf],
        [[0.5, 1.5], [2.5, 3.5], None],
        [[1, 2.0], [3]],
        [[1.0, None]],
        [[], [1]],
        [{"a": 1}, {"b": 2}],
        [{"a": 1, "b": [1, 2]}, {"a": 2, "b": []}],
        [{"b": 1, "a": 2}, {"a": 1, "b": 2}],
        [{}],
        [datetime.datetime(2020, 1, 2, 3, 4, 5, 6), None],
        [datetime.date(2020, 1, 2)],
        [datetime.timedelta(seconds=1)],
        [decimal.Decimal("1.20"), decimal.Decimal("3.45")],
    ],
)
def test_exactly_as_they_were(cells: list[Any]) -> None:
    assert alike(there_and_back(cells), cells)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([{1, 2}], "set"),
        ([object()], "object"),
        ([{1: "a"}], "dict"),
        ([b"x", "x"], "bytes"),
        ([decimal.Decimal("1.2"), 1], "Decimal"),
    ],
)
def test_what_no_file_can_hold_is_refused_by_column_and_type(cells: list[Any], kind: str) -> None:
    with pytest.raises(StoreError, match=f"column 'c' holds a {kind} that") as caught:
        to_arrow("c", cells)
    assert "1.2" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.lists(JSON, max_size=6))
def test_any_json_comes_back(cells: list[Any]) -> None:
    assert alike(there_and_back(cells), cells)


@given(st.lists(st.lists(st.floats(), min_size=1) | st.none(), max_size=6))
def test_vectors_come_back(cells: list[Any]) -> None:
    assert alike(there_and_back(cells), cells)


def test_numpy_and_pandas_values_become_plain_first() -> None:
    cells = [np.int64(3), np.float32(0.5), np.array([1, 2]), (1, (2, 3)), pd.NaT, np.bool_(True)]
    assert plain(cells) == [3, 0.5, [1, 2], [1, [2, 3]], None, True]
    stamps = plain([pd.Timestamp("2020-01-02"), pd.NaT])
    assert there_and_back(stamps) == [datetime.datetime(2020, 1, 2), None]
