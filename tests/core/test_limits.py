"""Limits: the contract of all, and the rules of each. No clock, no pool, no waiter."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddsched_nb.core.limits import LIMITS, AIMDLimit, FixedLimit, Limit
from ddsched_nb.core.model import OutcomeKind, Sample
from ddsched_nb.errors import ConfigError

MAKE: tuple[Callable[[int], Limit], ...] = (
    lambda cap: FixedLimit(cap),
    lambda cap: AIMDLimit(cap),
    lambda cap: AIMDLimit(cap, started_at=10.0, startup_ramp_s=30.0),
)


def sample(now: float, outcome: OutcomeKind, *, limit: int, in_flight: int | None = None) -> Sample:
    used = limit if in_flight is None else in_flight
    return Sample(now - 1, now, 1.0, used, limit, used, outcome)


def test_every_limit_is_under_contract() -> None:
    assert {type(make(4)) for make in MAKE} == set(LIMITS)
    assert len({kind.name for kind in LIMITS}) == len(LIMITS)


@pytest.mark.parametrize("make", MAKE)
@given(
    cap=st.integers(1, 64),
    steps=st.lists(
        st.tuples(st.floats(0, 20), st.sampled_from(OutcomeKind), st.integers(1, 64)), max_size=60
    ),
)
def test_contract(
    make: Callable[[int], Limit], cap: int, steps: list[tuple[float, OutcomeKind, int]]
) -> None:
    limit, now = make(cap), 10.0
    for passed, outcome, in_flight in steps:
        now += passed
        value = limit.value(now)
        assert 1 <= value <= cap
        assert limit.value(now) == value, "asking changes nothing"
        change = limit.next_change(now)
        assert change > now
        if change < math.inf:
            assert limit.value(change) > value, "what is promised happens"
        assert limit.pause(now) >= 0
        limit.on_sample(sample(now, outcome, limit=value, in_flight=min(in_flight, value)))


def test_aimd_falls_by_a_factor_and_never_below_one() -> None:
    limit, seen = AIMDLimit(24), []
    for now in range(20):
        limit.on_sample(sample(now, OutcomeKind.RATE_LIMITED, limit=limit.value(now)))
        seen.append(limit.value(now))
    assert seen[:6] == [18, 13, 9, 6, 4, 3]
    assert seen[-1] == 1


def test_aimd_grows_by_one_after_25_successes_in_a_row() -> None:
    limit = AIMDLimit(24)
    limit.on_sample(sample(0, OutcomeKind.RATE_LIMITED, limit=24))
    for n in range(1, 25):
        limit.on_sample(sample(n, OutcomeKind.SUCCESS, limit=18))
    assert limit.value(25) == 18
    limit.on_sample(sample(25, OutcomeKind.SUCCESS, limit=18))
    assert limit.value(25) == 19


def test_aimd_does_not_grow_while_it_is_not_in_use() -> None:
    limit = AIMDLimit(24)
    limit.on_sample(sample(0, OutcomeKind.RATE_LIMITED, limit=24))
    for n in range(100):
        limit.on_sample(sample(n, OutcomeKind.SUCCESS, limit=18, in_flight=8))
    assert limit.value(100) == 18
    for n in range(25):
        limit.on_sample(sample(n, OutcomeKind.SUCCESS, limit=18, in_flight=9))
    assert limit.value(100) == 19


def test_f04_the_ceiling_is_recorded_only_when_the_limit_falls() -> None:
    limit = AIMDLimit(2)
    limit.on_sample(sample(0, OutcomeKind.RATE_LIMITED, limit=2))
    assert (limit.value(0), limit.ceiling) == (1, 2)
    limit.on_sample(sample(1, OutcomeKind.RATE_LIMITED, limit=1))
    assert (limit.value(1), limit.ceiling) == (1, 2), "a refusal at 1 lowers nothing"


def test_f07_an_old_permit_refused_after_growth_is_part_of_the_same_burst() -> None:
    limit = AIMDLimit(24, successes_until_increase=1)
    limit.on_sample(sample(0, OutcomeKind.RATE_LIMITED, limit=24))
    for now in (2, 3, 4):
        limit.on_sample(sample(now, OutcomeKind.SUCCESS, limit=limit.value(now)))
    assert limit.value(4) == 21
    burst = [
        Sample(sent_at, 5.0, 5.0 - sent_at, 12, at, 12, OutcomeKind.RATE_LIMITED)
        for sent_at, at in ((4.5, 21), (1.5, 15), (0.5, 12))
    ]
    for refused in burst:
        limit.on_sample(refused)
    assert (limit.value(5), limit.ceiling) == (15, 21)
    limit.on_sample(sample(7, OutcomeKind.RATE_LIMITED, limit=15))
    assert limit.value(7) == 11, "sent after the decrease: new evidence"


def test_the_start_ramp_rises_with_time_alone_and_a_refusal_ends_it() -> None:
    limit = AIMDLimit(11, started_at=100.0, startup_ramp_s=10.0)
    assert [limit.value(100.0 + t) for t in (0, 1, 2.5, 5, 10)] == [1, 2, 3, 6, 11]
    limit.on_sample(sample(105.0, OutcomeKind.RATE_LIMITED, limit=6))
    assert limit.value(105.0) == limit.value(120.0) == 4
    assert limit.next_change(105.0) == math.inf


def test_f33_reading_does_not_advance_the_start_ramp() -> None:
    read, unread = (AIMDLimit(11, started_at=0.0, startup_ramp_s=10.0) for _ in range(2))
    for tenth in range(50):
        read.value(tenth / 10)
        read.next_change(tenth / 10)
    assert read.value(5.0) == unread.value(5.0) == 6


def test_fixed_never_moves() -> None:
    limit = FixedLimit(7)
    limit.on_sample(sample(0, OutcomeKind.RATE_LIMITED, limit=7))
    assert limit.value(1) == 7


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cap", 0),
        ("multiplicative_decrease_factor", 1.0),
        ("multiplicative_decrease_factor", 0.0),
        ("additive_increase_step", 0),
        ("successes_until_increase", 0),
        ("cooldown_s", -1.0),
        ("startup_ramp_s", -1.0),
    ],
)
def test_a_tunable_out_of_range_names_itself(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{field} is {value}"):
        AIMDLimit(**{"cap": 4, field: value})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="cap of a fixed limit is 0"):
        FixedLimit(0)
