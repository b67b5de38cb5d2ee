from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from ddsched_nb.aio.bus import EventBus
from ddsched_nb.aio.statistics import RunStatistics
from ddsched_nb.columns import Column
from ddsched_nb.config import RunConfig
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import PoolKey
from ddsched_nb.errors import ConfigError
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.providers import Model, OpenAICompatible
from ddsched_nb.record import RunRecord
from ddsched_nb.views.panel import TICK_S, LiveView

Make = Callable[..., RunStatistics]
PIPELINE = Pipeline(
    columns=[Column("n", generate=list)],
    models=[
        Model("writer", provider="local", id="writer-small"),
        Model("judge", provider="local", id="judge-large"),
    ],
    providers=[OpenAICompatible("local", base_url="http://127.0.0.1:1")],
)


class HandMadeRun:
    """A run whose statistics the test sets, and that notes what it was told, and where."""

    def __init__(self, stats: RunStatistics) -> None:
        self.stats = stats
        self.told: list[Any] = []
        self.events = EventBus()
        self.record = RunRecord()
        self.settings = RunConfig()
        self.pipeline = PIPELINE
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

    def adjust(self, **changes: Any) -> None:
        if changes == {"caps": {"writer": 0}}:
            raise ConfigError("cap of model 'writer' is <0>; give at least 1")
        self.told.append(changes)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the view has nothing to wait on
            await asyncio.sleep(0.01)


def other_tasks() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


def disabled(view: LiveView) -> dict[str, bool]:
    return {name: button.disabled for name, button in view.buttons.by_name.items()}


def shown(view: LiveView) -> dict[str, Any]:
    """The frame that the screen was told last."""
    return view.screen._frame


def sent(view: LiveView) -> list[dict[str, Any]]:
    """Everything that the screen is told from now on."""
    told: list[dict[str, Any]] = []
    view.screen.widget.send = lambda content, buffers=None: told.append(content)
    return told


def test_without_a_loop_it_shows_one_moment(stats: Make) -> None:
    run = HandMadeRun(stats())
    view = LiveView(run)
    assert not view.following
    assert shown(view)["state"] == "running"
    run.stats = stats(state="paused")
    view.refresh()
    assert shown(view)["state"] == "paused"
    view.close()


async def test_it_follows_the_run_and_stops_with_it(stats: Make) -> None:
    run = HandMadeRun(stats())
    view = LiveView(run)
    assert view.following
    run.stats = stats(rows_finished=123)
    await until(lambda: shown(view)["rows"][0] == 123)
    run.stats = stats(state="finished", rows_finished=398)
    await until(lambda: not view.following)
    assert shown(view)["state"] == "finished"
    assert shown(view)["rows"][0] == 398
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
    assert shown(other)["state"] == "finished"
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
    before, asked = shown(view), run.asked

    def press() -> None:
        for button in view.buttons.by_name.values():
            button.click()

    thread = threading.Thread(target=press)
    thread.start()
    thread.join()
    assert run.told == ["pause", "resume", "cancel"]
    assert run.asked == asked
    assert shown(view) == before
    view.close()


async def test_a_late_press_after_the_end_is_harmless(stats: Make) -> None:
    run = HandMadeRun(stats(state="finished"))
    view = LiveView(run)
    view.buttons.by_name["cancel"].click()
    assert run.told == []
    view.close()


async def test_a_drawing_that_fails_is_shown_and_tried_again(
    stats: Make, caplog: pytest.LogCaptureFixture
) -> None:
    run = HandMadeRun(stats())
    view = LiveView(run)
    run.broken = ValueError("<no> figures")
    await until(lambda: "cannot be drawn" in view.trouble.value)
    assert "ValueError: &lt;no&gt; figures" in view.trouble.value
    assert "cannot be drawn" in caplog.text
    assert view.following
    run.broken = None
    run.stats = stats(rows_finished=200)
    await until(lambda: shown(view)["rows"][0] == 200)
    assert view.trouble.value == ""
    view.close()


async def test_a_failing_run_shows_its_error(stats: Make) -> None:
    run = HandMadeRun(stats())
    view = LiveView(run)
    run.stats = stats(state="failed", last_error="column grade, row 3: KeyError")
    await until(lambda: not view.following)
    assert shown(view)["error"] == "column grade, row 3: KeyError"
    assert view.screen.widget.first["frame"] == shown(view), "it stays, also without a kernel"
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
    assert shown(view)["state"] == "finished"
    view.close()


async def test_what_did_not_change_is_not_sent(stats: Make) -> None:
    run = HandMadeRun(stats())
    view = LiveView(run)
    told = sent(view)
    asked = run.asked
    await until(lambda: run.asked >= asked + 3)
    assert told == []
    run.stats = stats(rows_finished=101)
    await until(lambda: bool(told))
    assert told == [{"k": "change", "frame": {"rows": [101, 2, 0], "rate": 13.0}}]
    view.close()


async def test_a_page_that_comes_late_is_told_everything(stats: Make) -> None:
    view = LiveView(HandMadeRun(stats()))
    told = sent(view)

    def hello() -> None:
        view.screen._on_message(view.screen.widget, {"k": "hello"}, [])
        view.screen._on_message(view.screen.widget, {"k": "nonsense"}, [])

    thread = threading.Thread(target=hello)
    thread.start()
    thread.join()
    assert told == [], "a handler only posts"
    await until(lambda: bool(told))
    (start,) = told
    assert start["k"] == "start"
    assert start["frame"] == shown(view)
    assert start["shape"]["pools"] == ["local/judge-large", "local/writer-small"]
    view.close()


async def test_what_happened_is_told_in_words_also_what_came_before(stats: Make) -> None:
    run = HandMadeRun(stats())
    pool = PoolKey("local", "writer-small")
    run.events.subscribe(run.record)
    run.events.publish(ev.RequestLimitDecreased(9.0, 1, pool, 24, 18, "rate_limited"))
    view = LiveView(run)
    told = sent(view)
    run.events.publish(ev.RunPaused(10.0, 2))
    await until(lambda: bool(told))
    assert told[0]["frame"]["notes"] == [
        [7.0, "limit of local/writer-small 24 \u2192 18: refused", 1],
        [8.0, "paused", 1],
    ]
    run.stats = stats(state="finished")
    await until(lambda: not view.following)
    run.events.publish(ev.RunResumed(11.0, 3))
    assert len(view._notes.notes) == 2, "it listens no more"
    view.close()


async def test_a_run_without_listeners_gets_none_from_a_view(stats: Make) -> None:
    run = HandMadeRun(stats())
    view = LiveView(run)
    assert not run.events.listening
    view.close()


def test_a_setting_is_asked_for_once_and_follows_the_run(stats: Make) -> None:
    run = HandMadeRun(stats())
    view = LiveView(run)
    fields = view.settings.fields
    assert fields["cap of writer"].value == "32"
    assert fields["limit of judge"].placeholder == "5 now"
    fields["cap of writer"].value = "16"
    fields["limit of judge"].value = "2"
    fields["row groups"].value = "3"
    fields["task policy"].value = "bounded_borrow"
    fields["pressure advisory"].value = False
    assert run.told == [
        {"caps": {"writer": 16}},
        {"limits": {"judge": 2}},
        {"row_groups": 3},
        {"task_policy": "bounded_borrow"},
        {"request_pressure_advisory": False},
    ]
    run.told.clear()
    judge, writer = sorted(pool.pool for pool in run.stats.pools)
    pools = tuple(
        pool._replace(cap=20 if pool.pool == writer else pool.cap, limit=7)
        for pool in run.stats.pools
    )
    run.stats = stats(pools=pools)
    view.refresh()
    assert fields["limit of judge"].placeholder == "7 now"
    assert run.told == [], "what the run says is not asked of it again"
    assert fields["cap of writer"].value == "16", "a field that was edited is left alone"
    fields["row groups"].value = "adaptive"
    assert run.told == []
    assert judge.model == "judge-large"
    view.close()


def test_a_value_that_is_refused_says_why_beside_it(stats: Make) -> None:
    run = HandMadeRun(stats())
    view = LiveView(run)
    view.settings.fields["cap of writer"].value = "0"
    said = view.settings.said["cap of writer"].value
    assert said == "<b>refused:</b> cap of model &#x27;writer&#x27; is &lt;0&gt;; give at least 1"
    assert view.settings.fields["cap of writer"].value == "0"
    view.settings.fields["cap of writer"].value = "4"
    assert view.settings.said["cap of writer"].value == "asked for 4"
    assert run.told == [{"caps": {"writer": 4}}]
    view.close()


def test_it_draws_at_most_ten_times_a_second() -> None:
    assert 4 <= 1 / TICK_S <= 10


def test_its_mimebundle_names_the_widget(stats: Make) -> None:
    view = LiveView(HandMadeRun(stats()))
    shown = view.mimebundle()["application/vnd.jupyter.widget-view+json"]
    assert shown["model_id"] == view.widget.model_id
    assert view._repr_mimebundle_()["text/plain"].startswith("Run running: 400 rows")
    view.close()
