from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from ddsched_nb.aio.statistics import RunStatistics
from ddsched_nb.views.panel import TICK_S, LiveView

Make = Callable[..., RunStatistics]


class HandMadeRun:
    """A run whose statistics the test sets, and that notes what it was told, and where."""

    def __init__(self, stats: RunStatistics) -> None:
        self.stats = stats
        self.told: list[str] = []
        self.asked = 0
        self.broken: Exception | None = None

    @property
    def done(self) -> bool:
        return self.stats.state in ("finished", "failed", "cancelled", "stalled")

    def statistics(self) -> RunStatistics:
        self.asked += 1
        if self.broken is not None:
            raise self.broken
        return self.stats

    def pause(self) -> None:
        self.told.append("pause")

    def resume(self) -> None:
        self.told.append("resume")

    def cancel(self) -> None:
        self.told.append("cancel")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the view has nothing to wait on
            await asyncio.sleep(0.01)


def other_tasks() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


def disabled(view: LiveView) -> dict[str, bool]:
    return {name: button.disabled for name, button in view.buttons.items()}


def test_without_a_loop_it_shows_one_moment(stats: Make) -> None:
    run = HandMadeRun(stats())
    view = LiveView(run)
    assert not view.following
    assert "Running" in view.areas["state"].value
    run.stats = stats(state="paused")
    view.refresh()
    assert "Paused" in view.areas["state"].value
    view.close()


async def test_it_follows_the_run_and_stops_with_it(stats: Make) -> None:
    run = HandMadeRun(stats())
    view = LiveView(run)
    assert view.following
    run.stats = stats(rows_finished=123)
    await until(lambda: "<b>123</b>" in view.areas["now"].value)
    run.stats = stats(state="finished", rows_finished=398)
    await until(lambda: not view.following)
    assert "Finished" in view.areas["state"].value
    assert "<b>398</b>" in view.areas["now"].value
    assert other_tasks() == set()
    view.close()


async def test_the_last_drawing_shows_the_end_even_if_it_comes_while_drawing(stats: Make) -> None:
    run = HandMadeRun(stats())
    view = LiveView(run)

    class Ending(HandMadeRun):
        @property
        def done(self) -> bool:
            was, self.stats = super().done, stats(state="finished")
            return was

    ending = Ending(stats())
    other = LiveView(ending)
    await until(lambda: not other.following)
    assert "Finished" in other.areas["state"].value
    view.close()
    other.close()


@pytest.mark.parametrize(
    ("state", "pressable"),
    [
        ("running", {"pause", "cancel"}),
        ("paused", {"resume", "cancel"}),
        ("cancelling", set()),
        ("finished", set()),
        ("failed", set()),
    ],
)
def test_buttons_follow_the_state(stats: Make, state: str, pressable: set[str]) -> None:
    view = LiveView(HandMadeRun(stats(state=state)))
    assert {name for name, off in disabled(view).items() if not off} == pressable
    view.close()


async def test_a_button_does_one_thing_on_whatever_thread(stats: Make) -> None:
    run = HandMadeRun(stats())
    view = LiveView(run)
    shown = {name: area.value for name, area in view.areas.items()}
    asked = run.asked

    def press() -> None:
        for button in view.buttons.values():
            button.click()

    thread = threading.Thread(target=press)
    thread.start()
    thread.join()
    assert run.told == ["pause", "resume", "cancel"]
    assert run.asked == asked
    assert {name: area.value for name, area in view.areas.items()} == shown
    view.close()


async def test_a_late_press_after_the_end_is_harmless(stats: Make) -> None:
    run = HandMadeRun(stats(state="finished"))
    view = LiveView(run)
    view.buttons["cancel"].click()
    assert run.told == []
    view.close()


async def test_a_drawing_that_fails_is_shown_and_tried_again(
    stats: Make, caplog: pytest.LogCaptureFixture
) -> None:
    run = HandMadeRun(stats())
    view = LiveView(run)
    run.broken = ValueError("<no> figures")
    await until(lambda: "cannot be drawn" in view.areas["error"].value)
    assert "ValueError: &lt;no&gt; figures" in view.areas["error"].value
    assert "cannot be drawn" in caplog.text
    assert view.following
    run.broken = None
    run.stats = stats(rows_finished=200)
    await until(lambda: "<b>200</b>" in view.areas["now"].value)
    assert view.areas["error"].value == ""
    view.close()


async def test_a_failing_run_shows_its_error(stats: Make) -> None:
    run = HandMadeRun(stats())
    view = LiveView(run)
    run.stats = stats(state="failed", last_error="column grade, row 3: KeyError")
    await until(lambda: not view.following)
    assert "Run failed:" in view.areas["error"].value
    view.close()


async def test_closing_leaves_no_task_and_no_widget(stats: Make) -> None:
    import ipywidgets

    before = set(ipywidgets.widgets.widget._instances)
    run = HandMadeRun(stats())
    view = LiveView(run)
    view.close()
    await asyncio.sleep(0)
    assert view.closed
    assert not view.following
    assert other_tasks() == set()
    assert set(ipywidgets.widgets.widget._instances) == before
    assert run.told == []


async def test_a_widget_closed_by_others_stops_the_view(stats: Make) -> None:
    view = LiveView(HandMadeRun(stats()))
    view.widget.close()
    await until(lambda: not view.following)
    assert other_tasks() == set()


async def test_an_ended_run_is_let_go(stats: Make) -> None:
    run = HandMadeRun(stats())
    view = LiveView(run)
    run.stats = stats(state="finished")
    await until(lambda: not view.following)
    ghost = weakref.ref(run)
    del run
    gc.collect()
    assert ghost() is None
    assert "Finished" in view.areas["state"].value
    view.close()


async def test_unchanged_areas_are_not_sent_again(stats: Make) -> None:
    run = HandMadeRun(stats())
    view = LiveView(run)
    sent: list[str] = []
    for name, area in view.areas.items():
        area.observe(lambda _, name=name: sent.append(name), "value")
    asked = run.asked
    await until(lambda: run.asked >= asked + 3)
    assert sent == []
    view.close()


def test_it_draws_five_to_ten_times_a_second() -> None:
    assert 5 <= 1 / TICK_S <= 10


def test_its_mimebundle_names_the_widget(stats: Make) -> None:
    view = LiveView(HandMadeRun(stats()))
    shown = view.mimebundle()["application/vnd.jupyter.widget-view+json"]
    assert shown["model_id"] == view.widget.model_id
    assert view._repr_mimebundle_()["text/plain"].startswith("Run running: 400 rows")
    view.close()
