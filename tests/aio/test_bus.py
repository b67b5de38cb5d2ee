"""The event bus: what a subscriber may do, and what becomes of an event when it fails."""

from __future__ import annotations

import logging

import pytest

from ddsched_nb.aio.bus import EventBus
from ddsched_nb.core.events import Event, RunPaused, RunResumed


def test_r03_a_subscriber_that_raises_loses_that_event_and_only_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus = EventBus()
    before: list[Event] = []
    after: list[Event] = []

    def broken(event: Event) -> None:
        raise ValueError("CANARY: what a sink says may hold anything")

    for subscriber in (before.append, broken, after.append):
        bus.subscribe(subscriber)
    events = [RunPaused(0.0, 1), RunPaused(1.0, 2), RunResumed(2.0, 3)]
    with caplog.at_level(logging.ERROR):
        for event in events:
            bus.publish(event)
    assert before == after == events
    assert bus.lost == {"run_paused": 2, "run_resumed": 1}
    assert [r.getMessage().split(";")[0] for r in caplog.records] == [
        "a subscriber raised ValueError on run_paused and lost the event",
        "a subscriber raised ValueError on run_resumed and lost the event",
    ]
    assert "CANARY" not in caplog.text


def test_a_subscriber_can_leave() -> None:
    bus = EventBus()
    taken: list[Event] = []
    leave = bus.subscribe(taken.append)
    assert bus.listening
    bus.publish(RunPaused(0.0, 1))
    leave()
    leave()
    bus.publish(RunPaused(1.0, 2))
    assert len(taken) == 1
    assert not bus.listening


def test_r03_whoever_comes_to_the_place_of_one_that_left_is_reported_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus = EventBus()

    def broken(event: Event) -> None:
        raise ValueError

    for n in range(2):
        leave = bus.subscribe(broken)
        bus.publish(RunPaused(float(n), n))
        leave()
    assert len(caplog.records) == 2
    assert bus.lost == {"run_paused": 2}


def test_who_subscribes_during_an_event_gets_the_next() -> None:
    bus = EventBus()
    late: list[Event] = []

    def inviting(event: Event) -> None:
        leave()
        bus.subscribe(late.append)

    leave = bus.subscribe(inviting)
    for n in range(3):
        bus.publish(RunPaused(float(n), n))
    assert [event.sequence for event in late] == [1, 2]
