from __future__ import annotations

import random
from itertools import pairwise

import pytest

from ddsched_nb.core import events as ev
from ddsched_nb.core.model import PoolKey
from ddsched_nb.views.series import (
    Refusals,
    Step,
    average,
    gather,
    keep_extremes,
    pool_series,
    row_series,
)

POOL = PoolKey("local", "writer-small")


def area(steps: list[Step]) -> float:
    return sum(a.value * (b.at - a.at) for a, b in pairwise(steps))


def walk(length: int, seed: int = 0) -> list[Step]:
    dice, at, value = random.Random(seed), 0.0, 50.0
    steps = []
    for _ in range(length):
        steps.append(Step(at, value))
        at, value = at + dice.expovariate(10), max(0.0, value + dice.choice((-1, 1, 3, -3)))
    return steps


def test_a_pool_tells_every_change_of_its_limit(events: list[ev.Event]) -> None:
    writer, judge = pool_series(events)
    assert writer.limit == [Step(0, 32), Step(2, 24), Step(8, 24)]
    assert judge.limit == [Step(0, 4), Step(3, 5), Step(8, 5)]
    assert writer.in_flight == [Step(0, 0), Step(0.5, 2), Step(2, 1), Step(2.1, 0), Step(8, 0)]
    assert writer.refusals == [Refusals(2, 32, 1), Refusals(2.1, 24, 1)]


def test_a_ramp_is_seen_at_grants_though_no_event_tells_it() -> None:
    granted = [ev.RequestLeaseAcquired(float(i), i, POOL, i, i, 1, 4 + 2 * i) for i in range(4)]
    (series,) = pool_series(granted)
    assert [step.value for step in series.limit] == [4, 6, 8, 10]


def test_a_record_whose_beginning_was_not_kept_still_has_a_limit() -> None:
    released = ev.RequestLeaseReleased(5.0, 1, POOL, 1, "success", 3)  # type: ignore[arg-type]
    changed = ev.RequestLimitDecreased(6.0, 2, POOL, 8, 6, "rate_limited")
    (series,) = pool_series([released, changed])
    assert series.limit == [Step(1, 6)]
    assert series.in_flight == [Step(0, 3), Step(1, 3)]


def test_rows_add_up_row_group_by_row_group(events: list[ev.Event]) -> None:
    finished, dropped = row_series(events)
    assert finished == [Step(0, 0), Step(4, 48), Step(6, 98), Step(8, 98)]
    assert dropped == [Step(0, 0), Step(4, 2), Step(8, 2)]


def test_no_events_are_no_series() -> None:
    assert pool_series([]) == []
    assert row_series([]) == ([], [])


def test_short_series_are_left_alone() -> None:
    steps = walk(100)
    assert keep_extremes(steps, 100) is steps
    assert average(steps, 100) is steps
    assert gather([Refusals(1, 2, 1)], 1) == [Refusals(1, 2, 1)]


@pytest.mark.parametrize("seed", range(5))
def test_thinning_a_line_keeps_its_ends_and_its_extremes(seed: int) -> None:
    steps = walk(20_000, seed)
    kept = keep_extremes(steps, 400)
    assert len(kept) <= 404
    assert set(kept) <= set(steps)
    assert (kept[0], kept[-1]) == (steps[0], steps[-1])
    assert max(s.value for s in kept) == max(s.value for s in steps)
    assert min(s.value for s in kept) == min(s.value for s in steps)
    assert kept == sorted(kept)


@pytest.mark.parametrize("seed", range(5))
def test_thinning_what_is_in_flight_keeps_the_area(seed: int) -> None:
    steps = walk(20_000, seed)
    means = average(steps, 300)
    assert len(means) <= 301
    assert area(means) == pytest.approx(area(steps), rel=1e-3)
    assert means[-1] == steps[-1]


def test_gathered_refusals_lose_none() -> None:
    refusals = [Refusals(i / 100, 8, 1) for i in range(5_000)]
    gathered = gather(refusals, 50)
    assert len(gathered) <= 51
    assert sum(refusal.refused for refusal in gathered) == 5_000


def test_refusals_of_one_instant_are_one_mark() -> None:
    assert gather([Refusals(1.0, 8, 1)] * 40, 10) == [Refusals(1.0, 8, 40)]
