"""Row groups: lazy plans, and a fixed number open at a time."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, strategies as st

from ddsched_nb.core.model import RowGroup
from ddsched_nb.core.row_groups import RowGroupGovernor, RowGroupPlan
from ddsched_nb.errors import ConfigError


@given(st.integers(0, 300), st.integers(1, 50))
def test_a_plan_cuts_every_row_once_and_in_order(rows: int, size: int) -> None:
    plan = RowGroupPlan(rows, size)
    groups = list(plan)
    assert [g.index for g in groups] == list(range(len(plan)))
    assert [row for g in groups for row in range(g.start, g.stop)] == list(range(rows))
    assert all(g.size == size for g in groups[:-1])
    assert all(1 <= g.size <= size for g in groups)


def test_a_plan_is_a_sequence() -> None:
    plan = RowGroupPlan(10, 4)
    assert plan[-1] == RowGroup(2, 8, 10)
    assert plan[0:2] == (RowGroup(0, 0, 4), RowGroup(1, 4, 8))
    with pytest.raises(IndexError, match="row group 3 of 3"):
        plan[3]


def test_f19_a_million_row_groups_cost_nothing() -> None:
    tracemalloc.start()
    try:
        governor = RowGroupGovernor(RowGroupPlan(1_000_000, 1), max_open=4)
        opened = [governor.next() for _ in range(5)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert governor.total == 1_000_000
    assert opened[3] == RowGroup(3, 3, 4)
    assert opened[4] is None
    assert peak < 2**20 / 10


@given(st.integers(0, 40), st.integers(1, 5), st.randoms(use_true_random=False))
def test_the_governor_opens_each_group_once_and_few_at_a_time(
    rows: int, max_open: int, random: object
) -> None:
    governor = RowGroupGovernor(RowGroupPlan(rows, 3), max_open)
    is_open: list[int] = []
    seen: list[int] = []
    while not governor.exhausted or is_open:
        group = governor.next()
        if group is not None:
            seen.append(group.index)
            is_open.append(group.index)
            assert governor.open_groups == len(is_open) <= max_open
        else:
            index = is_open.pop(random.randrange(len(is_open)))  # type: ignore[attr-defined]
            governor.finish(index)
            assert governor.open_groups == len(is_open)
            assert not governor.finish(index), "finishing twice changes nothing"
    assert seen == list(range(governor.total))


def test_bad_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match="rows is -1"):
        RowGroupPlan(-1, 1)
    with pytest.raises(ConfigError, match="size of a row group is 0"):
        RowGroupPlan(1, 0)
    with pytest.raises(ConfigError, match="max_open is 0"):
        RowGroupGovernor(RowGroupPlan(1, 1), 0)
