"""A learned rate: within what refusals prove, held just below, asked ever rarer."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from ddsched_nb.core.learned_rate import LearnedRate


def confirmed(rate: float = 10.0) -> LearnedRate:
    """A rate that one refusal, after a hundred requests, has confirmed."""
    learned = LearnedRate(rate, 0.0)
    learned.refused(100.0)
    assert learned.told(100.0, 100.0 / rate)
    assert learned.confirmed
    return learned


def first_above(learned: LearnedRate, since: float) -> float:
    """After how many accepted requests it goes above its rate."""
    return next(n for n in range(10_000) if learned.speed(since + n) > learned.value)


def test_before_anything_confirms_it_goes_a_little_above() -> None:
    assert LearnedRate(10.0, 0.0).speed(0.0) == pytest.approx(10.2)


def test_what_is_confirmed_is_held_just_below() -> None:
    assert confirmed().speed(100.0) == pytest.approx(9.95)


def test_each_confirmation_makes_the_next_one_rarer() -> None:
    learned, at, waits = confirmed(), 100.0, []
    for _ in range(6):
        wait = first_above(learned, at)
        waits.append(wait)
        at += wait + 100
        learned.refused(at)
        learned.told(wait + 100.0, (wait + 100.0) / 10)
    assert waits[:3] == [waits[0], 2 * waits[0], 4 * waits[0]]
    assert waits[-1] == waits[-2], "but not without end"


def test_where_no_refusal_comes_there_is_more() -> None:
    learned = confirmed()
    assert learned.speed(10_000.0) > 50.0
    learned.refused(10_000.0)
    assert learned.value > 15.0
    assert not learned.confirmed


def test_after_a_fast_search_the_next_interval_says_the_rate() -> None:
    learned = confirmed()
    learned.refused(10_000.0)
    assert learned.told(9_900.0, 600.0), "this one holds both rates"
    learned.refused(10_060.0)
    assert learned.told(60.0, 3.0)
    assert learned.value == pytest.approx(20.0)


def test_a_refusal_while_it_is_held_lowers_it() -> None:
    learned = confirmed()
    learned.refused(200.0)
    assert learned.told(100.0, 10.2)
    assert learned.value == pytest.approx(100 / 10.2)


def test_three_intervals_of_other_rates_disprove_it() -> None:
    learned = LearnedRate(10.0, 0.0)
    verdicts = []
    for n, seconds in enumerate((20.0, 5.0, 40.0), start=1):
        learned.refused(100.0 * n)
        verdicts.append(learned.told(100.0, seconds))
    assert verdicts == [True, True, False]


def test_less_than_all_of_it_says_nothing() -> None:
    learned = confirmed()
    learned.unused(240.0)
    assert learned.speed(260.0) < learned.value, "held anew"


@given(st.floats(0.5, 200.0), st.lists(st.integers(60, 250), min_size=1, max_size=12))
def test_it_stays_within_what_exact_intervals_say(rate: float, counts: list[int]) -> None:
    learned, at = LearnedRate(rate * 1.02, 0.0), 0.0
    for count in counts:
        at += count
        learned.refused(at)
        assert learned.told(float(count), count / rate)
    assert abs(learned.value / rate - 1) <= 1.1 / max(counts) + 0.006


@given(st.lists(st.floats(1, 3_000), min_size=1, max_size=30))
def test_it_never_stands_still(gaps: list[float]) -> None:
    learned, at = LearnedRate(10.0, 0.0), 0.0
    for gap in gaps:
        at += gap
        learned.refused(at)
        assert learned.speed(at) >= 0.7 * learned.value > 0
