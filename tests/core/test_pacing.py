"""Pacing: a bucket declared, heard of, or learned from refusals; nothing goes out too soon."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st

from ddsched_nb.core.model import Outcome, OutcomeKind, Quota, Usage
from ddsched_nb.core.pacing import Pacing
from ddsched_nb.core.spacing import RefusalSpacing


def send(pacing: Pacing, now: float, tokens: float = 0.0, **outcome: object) -> float:
    """Sends one request as soon as it may go, and ends it at once; says when it went."""
    at = pacing.ready_at(tokens, now)
    taken = pacing.spend(tokens, at)
    kind = outcome.pop("kind", OutcomeKind.SUCCESS)
    pacing.settle(taken, Outcome(kind, **outcome), at)  # type: ignore[arg-type]
    return at


def test_nothing_is_paced_before_anything_is_known() -> None:
    pacing = Pacing()
    assert [send(pacing, 0.0) for _ in range(100)] == [0.0] * 100
    assert all(found.per_minute is None for found in pacing.statistics())


def test_a_declared_rate_is_kept() -> None:
    pacing, now = Pacing(requests_per_minute=60), 0.0
    went = []
    for _ in range(10):
        now = send(pacing, now)
        went.append(now)
    assert went == pytest.approx([float(n) for n in range(10)])


@given(st.lists(st.floats(0, 3), min_size=2, max_size=60), st.floats(1, 600))
def test_never_more_than_the_rate_and_a_burst(gaps: list[float], per_minute: float) -> None:
    pacing, now, went = Pacing(requests_per_minute=per_minute), 0.0, []
    for gap in gaps:
        now = send(pacing, now + gap)
        went.append(now)
    burst = max(1.0, per_minute / 60)
    for first in range(len(went)):
        for last in range(first, len(went)):
            allowed = burst + per_minute / 60 * (went[last] - went[first])
            assert last - first + 1 <= allowed + 1e-6


def test_asking_changes_nothing() -> None:
    pacing = Pacing(requests_per_minute=60)
    send(pacing, 0.0)
    assert [pacing.ready_at(0.0, 0.5) for _ in range(3)] == [1.0] * 3
    assert pacing.statistics() == pacing.statistics()


def test_tokens_are_estimated_and_then_set_right() -> None:
    pacing = Pacing(tokens_per_minute=6_000)  # 100 a second
    taken = pacing.spend(50.0, 0.0)
    assert pacing.statistics()[1].left == pytest.approx(50.0)
    pacing.settle(taken, Outcome(OutcomeKind.SUCCESS, usage=Usage(60, 20)), 0.0)
    assert pacing.statistics()[1].left == pytest.approx(20.0)


def test_what_never_left_costs_nothing() -> None:
    pacing = Pacing(requests_per_minute=60, tokens_per_minute=60)
    taken = pacing.spend(1.0, 0.0)
    pacing.settle(taken, Outcome(OutcomeKind.LOCAL_CANCELLED), 0.0)
    assert [found.left for found in pacing.statistics()] == [1.0, 1.0]


def test_a_request_larger_than_the_bucket_goes_out_when_it_is_full() -> None:
    pacing = Pacing(tokens_per_minute=60)
    assert pacing.ready_at(500.0, 0.0) == 0.0
    pacing.spend(500.0, 0.0)
    assert pacing.ready_at(1.0, 0.0) == pytest.approx(500.0), "and is paid off after"


def test_headers_say_what_is_left() -> None:
    pacing = Pacing()
    send(pacing, 0.0, quotas=(Quota("requests", 60.0, 3.0),))
    # One of the three is kept back for what the server may have counted before.
    assert [send(pacing, 0.0) for _ in range(2)] == [0.0, 0.0]
    assert pacing.ready_at(0.0, 0.0) == pytest.approx(1.0)
    assert pacing.statistics()[0][1:3] == (60.0, "headers")


def test_an_older_answer_does_not_count_again() -> None:
    pacing = Pacing()
    first, second = pacing.spend(0.0, 0.0), pacing.spend(0.0, 0.0)

    def heard(left: float) -> Outcome:
        return Outcome(OutcomeKind.SUCCESS, quotas=(Quota("requests", 60.0, left),))

    pacing.settle(second, heard(5.0), 1.0)
    pacing.settle(first, heard(50.0), 1.0)
    assert pacing.statistics()[0].left == pytest.approx(5.0)


def test_the_lower_of_what_is_declared_and_what_is_said_holds() -> None:
    pacing = Pacing(requests_per_minute=30)
    send(pacing, 0.0, quotas=(Quota("requests", 60.0, 3.0),))
    assert pacing.statistics()[0].per_minute == 30.0


def test_a_spent_quota_waits_as_long_as_it_asks() -> None:
    pacing = Pacing(requests_per_minute=60)
    refused = {"kind": OutcomeKind.RATE_LIMITED, "spent": "requests", "retry_after": 7.5}
    send(pacing, 0.0, **refused)
    assert pacing.ready_at(0.0, 0.0) == pytest.approx(7.5)


def clockwork(spacing: RefusalSpacing, rate: float, hint: float | None = None) -> None:
    """Refusals that come whenever a bucket of this rate is empty, at uneven intervals."""
    accepted = at = 0.0
    for n, seconds in enumerate((3.0, 7.0, 4.0, 9.0, 5.0, 6.0, 8.0, 4.0)):
        accepted, at = accepted + rate * seconds, at + seconds
        spacing.note(accepted, at, 20 + n % 5, certain=False, hint=hint)


def test_even_counts_between_refusals_are_a_quota() -> None:
    spacing = RefusalSpacing()
    clockwork(spacing, 10.0)
    assert spacing.known
    assert 9.0 < spacing.rate(410.0 + 50.0) < 10.5


def test_refusals_at_one_number_in_flight_are_a_limit_on_that_number() -> None:
    spacing = RefusalSpacing()
    for n in range(1, 20):
        spacing.note(100.0 * n, 10.0 * n, 16, certain=False)
    assert not spacing.known


def test_uneven_counts_are_no_quota() -> None:
    spacing, accepted = RefusalSpacing(), 0.0
    for n, count in enumerate((30, 60, 25, 90, 40, 70, 30, 85)):
        accepted += count
        spacing.note(accepted, 5.0 * (n + 1), 20 + n % 5, certain=False)
    assert not spacing.known


def test_where_the_server_says_so_one_interval_is_enough() -> None:
    spacing = RefusalSpacing()
    spacing.note(0.0, 0.0, 5, certain=True)
    spacing.note(40.0, 4.0, 5, certain=True)
    assert spacing.rate(40.0) == pytest.approx(10.2), "a little above, to be confirmed"


def test_a_rate_that_no_refusal_confirms_grows_without_bound() -> None:
    spacing = RefusalSpacing()
    clockwork(spacing, 10.0)
    assert spacing.rate(20_000.0) > 100.0


@given(st.floats(0.5, 50.0), st.floats(0.5, 50.0))
def test_another_rate_is_learned_anew(before: float, after: float) -> None:
    spacing, accepted, at = RefusalSpacing(), 0.0, 0.0
    for rate in (before, after):
        for _ in range(6):
            accepted, at = accepted + 400.0, at + 400.0 / rate
            spacing.note(accepted, at, 5, certain=True)
    assert spacing.rate(accepted) == pytest.approx(after, rel=0.05)
    assert math.isfinite(spacing.rate(accepted))


def uneven_sizes(spacing: RefusalSpacing, rate: float) -> None:
    """A bucket of tokens empty at uneven intervals; each count is first guessed, then known."""
    accepted = at = 0.0
    for n, seconds in enumerate((3.0, 7.0, 4.0, 9.0, 5.0, 6.0, 8.0, 4.0)):
        accepted, at = accepted + rate * seconds, at + seconds
        off = 900.0 if n % 2 else -700.0
        spacing.note(accepted + off, at, 20 + n % 5, certain=False, mark=accepted + off)
        spacing.corrected(accepted + off - 1, off)


def test_tokens_are_counted_as_they_become_known() -> None:
    spacing = RefusalSpacing(settling=True)
    spacing.unit, spacing.noise = 100.0, 1_000.0
    uneven_sizes(spacing, 1_000.0)
    assert spacing.known
    assert spacing.rate(46_000.0) == pytest.approx(1_000.0, rel=0.05)


def test_what_is_even_in_another_unit_is_that_quota() -> None:
    requests, tokens = RefusalSpacing(), RefusalSpacing(settling=True)
    tokens.unit = tokens.noise = 100.0
    accepted = at = spent = 0.0
    for n, (count, seconds) in enumerate(
        zip((30, 50, 28, 90, 40, 70, 30, 85), (4, 4, 4, 9, 4, 9, 4, 6), strict=True)
    ):
        accepted, at, spent = accepted + count, at + seconds, spent + 1_000.0 * seconds
        requests.note(accepted, at, 20 + n % 5, certain=False, rival=tokens)
        tokens.note(spent, at, 20 + n % 5, certain=False, mark=spent, rival=requests)
    assert (requests.known, tokens.known) == (False, True)


def test_tokens_of_which_no_answer_speaks_are_no_quota() -> None:
    spacing = RefusalSpacing(settling=True)
    for n in range(1, 20):
        spacing.note(100.0, 5.0 * n, 20 + n % 5, certain=False, mark=100.0 * n)
        spacing.corrected(100.0 * n - 1, 100.0)
    assert not spacing.known


def test_refusals_while_much_is_left_take_a_rate_back() -> None:
    spacing = RefusalSpacing()
    spacing.note(0.0, 0.0, 5, certain=True)
    spacing.note(40.0, 4.0, 5, certain=True)
    for _ in range(3):
        spacing.doubt()
    assert not spacing.known


def test_refusals_at_fewer_and_fewer_in_flight_are_a_limit_that_falls() -> None:
    spacing, accepted = RefusalSpacing(), 0.0
    for n in range(1, 20):
        accepted += 60.0
        spacing.note(accepted, 6.0 * n, 64 - n, certain=False)
    assert not spacing.known
