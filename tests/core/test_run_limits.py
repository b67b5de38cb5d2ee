"""Retry budgets, and the share of failing cells."""

from __future__ import annotations

from hypothesis import given, strategies as st

from ddsched_nb.core.run_limits import FailureShare, FailureWindow, RetryBudget


def test_a_budget_gives_what_it_has_and_no_more() -> None:
    budget = RetryBudget(2)
    assert [budget.spend() for _ in range(4)] == [True, True, False, False]
    assert budget.spent == 2


def test_without_a_limit_every_retry_is_counted() -> None:
    budget = RetryBudget()
    assert all(budget.spend() for _ in range(100))
    assert budget.spent == 100


def test_a_share_is_told_over_a_full_window_only() -> None:
    window = FailureWindow(0.5, 4)
    assert window.note("a", failed=2) is None
    assert window.note("a", done=1) is None
    assert window.note("a", done=1) == FailureShare("a", 2, 4)
    assert window.note("a", done=1) is None  # the oldest failure left the window


def test_columns_are_watched_one_by_one() -> None:
    window = FailureWindow(0.5, 4)
    assert window.note("healthy", done=1000) is None
    assert window.note("sick", failed=3) is None
    assert window.note("sick", failed=1) == FailureShare("sick", 4, 4)


def test_no_rate_watches_nothing() -> None:
    window = FailureWindow(None, 1)
    assert window.note("a", failed=1000) is None


@given(st.lists(st.booleans(), max_size=200), st.integers(1, 20), st.sampled_from([0.1, 0.5, 1.0]))
def test_the_window_counts_like_the_last_cells_counted_anew(
    ends: list[bool], size: int, rate: float
) -> None:
    window = FailureWindow(rate, size)
    for index, failed in enumerate(ends):
        told = window.note("a", done=not failed, failed=failed)
        last = ends[max(0, index + 1 - size) : index + 1]
        due = len(last) == size and sum(last) >= rate * size
        assert told == (FailureShare("a", sum(last), size) if due else None)
