"""Limits: the contract of all, and the rules of each. No clock, no pool, no waiter."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from ddsched_nb.core.limits import (
    LIMITS,
    AIMDLimit,
    CeilingLimit,
    FixedLimit,
    LatencyLimit,
    Limit,
    RampLimit,
    WindowLimit,
)
from ddsched_nb.core.model import OutcomeKind, Sample
from ddsched_nb.errors import ConfigError

MAKE: tuple[Callable[[int], Limit], ...] = (
    lambda cap: FixedLimit(cap),
    lambda cap: AIMDLimit(cap),
    lambda cap: CeilingLimit(cap),
    lambda cap: CeilingLimit(cap, start=1, pause_s=0.0),
    lambda cap: CeilingLimit(cap, fair=True),
    lambda cap: AIMDLimit(cap, started_at=10.0, startup_ramp_s=30.0),
    lambda cap: LatencyLimit(cap),
    lambda cap: RampLimit(CeilingLimit(cap), ramp_s=30.0, started_at=10.0),
    lambda cap: WindowLimit(LatencyLimit(cap), window_s=2.0, at_least=2),
    lambda cap: RampLimit(WindowLimit(AIMDLimit(cap)), ramp_s=5.0, started_at=12.0),
)


def sample(now: float, outcome: OutcomeKind, *, limit: int, in_flight: int | None = None) -> Sample:
    used = limit if in_flight is None else in_flight
    return Sample(now - 1, now, 1.0, used, limit, used, outcome)


def test_every_limit_is_under_contract() -> None:
    assert {type(make(4)) for make in MAKE} == {*LIMITS, RampLimit, WindowLimit}
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


def burst(limit: Limit, now: float, served: int, asked: int) -> None:
    """As many asked at once as `asked`, of which `served` were served: the others are refused."""
    at = limit.value(now)
    for place in range(served + 1, asked + 1):
        # Those refused before it in the same burst are not counted as served any more.
        known = Sample(now, now + 0.1, 0.1, place, at, served + 1, OutcomeKind.RATE_LIMITED)
        limit.on_sample(known)


def full(limit: Limit, now: float, rtt: float = 1.0) -> None:
    """A call that went out at the limit, with as many being served, is answered."""
    at = limit.value(now)
    limit.on_sample(Sample(now - rtt, now, rtt, at, at, at, OutcomeKind.SUCCESS))


def test_ceiling_doubles_until_it_is_refused_and_returns_to_what_was_served() -> None:
    limit, now, seen = CeilingLimit(1_024, start=4), 0.0, []
    while limit.value(now) < 40:
        now += 2.0
        full(limit, now)
        seen.append(limit.value(now))
    assert seen == [8, 16, 32, 64]
    burst(limit, now + 1, served=41, asked=64)
    assert limit.value(now + 2) == limit.ceiling == 41


@pytest.mark.parametrize("capacity", [1, 2, 3, 5, 16, 17])
def test_small_capacities_are_found_exactly(capacity: int) -> None:
    limit = CeilingLimit(64, start=32)
    burst(limit, 0.0, served=capacity, asked=32)
    assert limit.value(1.0) == capacity


def test_f04_a_refusal_at_limit_one_leaves_the_ceiling_where_it_was() -> None:
    limit = CeilingLimit(8, start=1)
    limit.on_sample(Sample(0.0, 0.1, 0.1, 1, 1, 1, OutcomeKind.RATE_LIMITED))
    assert (limit.value(1.0), limit.ceiling) == (1, 1)


def test_f07_a_burst_is_one_decrease_for_the_ceiling_too() -> None:
    limit = CeilingLimit(64, start=24)
    burst(limit, 5.0, served=9, asked=24)
    assert limit.value(6.0) == 9
    # Late refusals of the same burst, and of calls sent before it.
    for sent in (4.0, 5.0):
        limit.on_sample(Sample(sent, 6.0, 1.0, 24, 24, 3, OutcomeKind.RATE_LIMITED))
    assert limit.value(6.0) == 9


def test_ceiling_probes_thin_out_while_they_fail_and_growth_is_fast_once_they_do_not() -> None:
    limit, now = CeilingLimit(1_024, start=64), 10.0
    burst(limit, now, served=32, asked=64)
    probes: list[float] = []
    while len(probes) < 4:
        now += 0.25
        full(limit, now)
        if limit.value(now) == 33:
            probes.append(now)
            burst(limit, now, served=32, asked=33)
            assert limit.value(now) == 32
    gaps = [later - earlier for earlier, later in pairwise(probes)]
    assert min(gaps) >= 10.0  # service times of a second: never oftener than pays
    while limit.value(now) < 200 and now < 1_000:
        now += 1.25
        full(limit, now)
    grown = now - probes[-1]
    assert grown < 75


def test_a_ceiling_that_is_not_in_use_does_not_grow() -> None:
    limit = CeilingLimit(64, start=8)
    for now in range(1, 200):
        limit.on_sample(Sample(now - 1.0, now, 1.0, 5, 8, 5, OutcomeKind.SUCCESS))
    assert limit.value(200) == 8


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"cap": 0}, "cap and start"),
        ({"cap": 4, "start": 0}, "cap and start"),
        ({"cap": 4, "pause_s": -1}, "pause_s"),
    ],
)
def test_what_is_no_ceiling(fields: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        CeilingLimit(**fields)  # type: ignore[arg-type]


def test_a_ramp_lets_out_more_and_more_and_then_all() -> None:
    limit = RampLimit(FixedLimit(11), ramp_s=10.0, started_at=5.0)
    assert [limit.value(5.0 + passed) for passed in (0, 1, 5, 9.9, 10, 50)] == [1, 2, 6, 10, 11, 11]
    assert limit.next_change(5.0) == 6.0
    assert limit.next_change(15.0) == math.inf
    assert limit.name == "ramp(fixed)"


def test_a_window_hands_on_its_mean_and_a_refusal_at_once() -> None:
    seen: list[Sample] = []

    class Watching(FixedLimit):
        def on_sample(self, sample: Sample) -> None:
            seen.append(sample)

    limit = WindowLimit(Watching(4), window_s=2.0, at_least=3)
    for now, rtt in ((0.0, 1.0), (1.0, 2.0), (1.5, 3.0), (2.5, 6.0)):
        limit.on_sample(Sample(now - rtt, now, rtt, 4, 4, 4, OutcomeKind.SUCCESS))
    assert [(s.now, s.rtt) for s in seen] == [(2.5, 3.0)]
    limit.on_sample(sample(3.0, OutcomeKind.RATE_LIMITED, limit=4))
    assert seen[-1].outcome is OutcomeKind.RATE_LIMITED


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: RampLimit(FixedLimit(1), ramp_s=-1.0), "ramp_s of a ramp is -1"),
        (lambda: WindowLimit(FixedLimit(1), window_s=0.0), "are 0.0, 10"),
        (lambda: LatencyLimit(0), "cap and start of a latency limit are 0, 12"),
        (lambda: LatencyLimit(4, pause_s=-1.0), "pause_s of a latency limit is -1"),
    ],
)
def test_what_is_no_wrapper_and_no_latency_limit(make: Callable[[], Limit], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()


def test_another_cap_reaches_every_limit() -> None:
    for make in MAKE:
        limit = make(8)
        limit.recap(3)
        assert limit.value(1e6) <= 3


def test_f05_a_limit_says_which_signal_it_hears() -> None:
    heard = {kind.name: kind.signals for kind in LIMITS}
    assert heard == {
        "fixed": (),
        "aimd": ("refusals",),
        "ceiling": ("refusals",),
        "latency": ("refusals", "latency"),
    }
    assert RampLimit(LatencyLimit(4), ramp_s=1.0).signals == ("refusals", "latency")
    assert WindowLimit(FixedLimit(4)).signals == ()


@pytest.mark.parametrize("kind", LIMITS, ids=lambda kind: kind.name)
def test_f05_what_a_limit_says_it_hears_moves_it(kind: type[Limit]) -> None:
    refused = kind(32)
    for step in range(40):
        now, value = float(step), refused.value(float(step))
        refused.on_sample(
            Sample(now - 0.5, now, 0.5, value, value, value, OutcomeKind.RATE_LIMITED)
        )
    slow = kind(512)
    high = slow.value(0.0)
    for step in range(40_000):
        now = step / 50
        value = slow.value(now)
        high = max(high, value)
        # A server of 4 places with a line before it: twice as many take twice as long.
        rtt = max(1.0, value / 4)
        slow.on_sample(Sample(now - rtt, now, rtt, value, value, value, OutcomeKind.SUCCESS))
    assert (refused.value(41.0) < kind(32).value(0.0)) == ("refusals" in kind.signals)
    assert (slow.value(801.0) <= 16) == ("latency" in kind.signals)
