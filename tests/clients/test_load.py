from __future__ import annotations

import pytest

from ddsched_nb.clients.load import EndpointLoad, ModelLoad, Refusal
from ddsched_nb.clients.profile import EndpointProfile

NARROW = EndpointProfile(model="narrow", capacity=2)
STEPPED = EndpointProfile(model="stepped", capacity=1, steps=((5.0, 3), (7.0, 0)))


def held(load: EndpointLoad, model: str, now: float) -> ModelLoad:
    slot = load.arrive(model, now)
    assert isinstance(slot, ModelLoad)
    return slot


def test_one_above_capacity_is_refused() -> None:
    load = EndpointLoad([NARROW])
    slot = held(load, "narrow", 10.0)
    held(load, "narrow", 10.0)
    assert isinstance(load.arrive("narrow", 10.0), Refusal)
    load.leave(slot, 11.0, answered=True)
    assert isinstance(load.arrive("narrow", 11.0), ModelLoad)
    counts = load.statistics(11.0)["narrow"]
    assert (counts.requests, counts.ok, counts.refused) == (4, 1, 1)
    assert (counts.in_flight, counts.max_in_flight) == (2, 2)


def test_steps_count_from_the_first_request() -> None:
    load = EndpointLoad([STEPPED])
    held(load, "stepped", 100.0)
    assert isinstance(load.arrive("stepped", 104.999), Refusal)
    assert isinstance(load.arrive("stepped", 105.0), ModelLoad)
    assert isinstance(load.arrive("stepped", 105.0), ModelLoad)
    assert isinstance(load.arrive("stepped", 105.0), Refusal)
    assert load.statistics(107.0)["stepped"].capacity == 0


def test_slot_seconds_and_span_are_exact() -> None:
    load = EndpointLoad([NARROW])
    first, second = held(load, "narrow", 10.0), held(load, "narrow", 11.0)
    load.leave(first, 12.0, answered=True)
    load.leave(second, 14.0, answered=True)
    later = load.statistics(50.0)
    assert later.span_s == later["narrow"].span_s == 4.0
    assert later["narrow"].in_flight_integral == 5.0
    assert later["narrow"].utilization == 5.0 / 8.0


def test_what_is_in_flight_counts_up_to_now() -> None:
    load = EndpointLoad([NARROW])
    held(load, "narrow", 10.0)
    counts = load.statistics(13.0)["narrow"]
    assert (counts.in_flight_integral, counts.span_s, counts.utilization) == (3.0, 3.0, 0.5)


def test_f33_asking_changes_nothing() -> None:
    load = EndpointLoad([NARROW, STEPPED])
    assert load.statistics(5.0) == load.statistics(5.0)
    held(load, "narrow", 10.0)
    assert load.statistics(12.0) == load.statistics(12.0)
    assert load.statistics(12.0)["stepped"].requests == 0


def test_a_caller_that_gives_up_is_not_an_answer() -> None:
    load = EndpointLoad([NARROW])
    load.leave(held(load, "narrow", 1.0), 2.0, answered=False)
    counts = load.statistics(2.0)["narrow"]
    assert (counts.ok, counts.cancelled, counts.in_flight) == (0, 1, 0)


def test_an_unknown_model_is_a_bug_of_the_caller() -> None:
    with pytest.raises(KeyError):
        EndpointLoad([NARROW]).arrive("other", 0.0)
