"""Explorers as widgets: moves are gathered and answered off the loop; what is wrong is told."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import ipywidgets
import pytest
from pydantic import Field

import ddsched_nb as dd
from ddsched_nb.views.explorers import frame, panel
from ddsched_nb.views.explorers.frame import Button, Explorer, Slider, Words
from ddsched_nb.views.explorers.settings import ExplorerSettings


class Knobs(ExplorerSettings):
    number: Annotated[int, Field(ge=0, le=9)] = 1
    word: Annotated[str, Field(max_length=3)] = "a"
    presses: int = 0


@dataclass(frozen=True)
class Said:
    settings: Knobs

    @property
    def text(self) -> str:
        return f"number {self.settings.number}, pressed {self.settings.presses}"

    @property
    def html(self) -> str:
        return f"<p>{self.text}</p>"


class Desk:
    """Answers, once its gate is open; notes what it was asked, and on which thread."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.threads: set[int] = set()
        self.pressed_on: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, settings: Knobs) -> Said:
        self.gate.wait(30)
        self.asked.append(settings.number)
        self.threads.add(threading.get_ident())
        if settings.number == 9:
            raise ValueError("<nine>")
        return Said(settings)

    def press(self, now: Knobs) -> dict[str, int]:
        self.pressed_on.append(threading.get_ident())
        return {"presses": now.presses + 1}

    def explorer(self) -> Explorer[Knobs]:
        controls = (Slider("number", "Number", "how many", 1), Words("word", "Word", "which"))
        press = Button("Press", "once more", self.press)
        made = Explorer("Desk", Knobs(), self, controls, (press,), anew={"presses": 0})
        self.asked.clear()
        self.threads.clear()
        return made


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come about")


async def test_moves_that_come_meanwhile_are_one_answer_off_the_loop() -> None:
    desk = Desk()
    explorer = desk.explorer()
    view = explorer.panel()
    desk.gate.clear()
    view.controls["number"].value = 2
    await until(lambda: view.busy)
    for number in (3, 4, 5, 6):
        view.controls["number"].value = number
        await asyncio.sleep(0)
    desk.gate.set()
    await until(lambda: not view.busy)
    assert desk.asked == [2, 6]
    assert threading.get_ident() not in desk.threads
    assert view.picture.value == "<p>number 6, pressed 0</p>"
    assert repr(explorer) == "Desk\nnumber 6, pressed 0"
    explorer.close()


async def test_a_callback_may_come_on_any_thread() -> None:
    desk = Desk()
    explorer = desk.explorer()
    view = explorer.panel()
    thread = threading.Thread(target=lambda: view.buttons["Press"].click())
    thread.start()
    thread.join()
    await until(lambda: "pressed 1" in view.picture.value)
    assert desk.pressed_on == [threading.get_ident()]  # the other thread only handed over
    explorer.close()


async def test_no_press_is_lost_and_a_move_begins_anew() -> None:
    desk = Desk()
    explorer = desk.explorer()
    view = explorer.panel()
    desk.gate.clear()
    for _ in range(3):
        view.buttons["Press"].click()
    desk.gate.set()
    await until(lambda: "pressed 3" in view.picture.value and not view.busy)
    view.controls["number"].value = 4
    await until(lambda: "number 4, pressed 0" in view.picture.value)
    explorer.close()


async def test_a_long_wait_is_announced_with_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    explorer = desk.explorer()
    view = explorer.panel()
    seen: list[str] = []
    view.status.observe(lambda change: seen.append(change["new"]), "value")
    view.controls["number"].value = 2
    await until(lambda: "number 2" in view.picture.value and not view.busy)
    assert seen == []
    monkeypatch.setattr(panel, "PATIENCE_S", 0.0)
    view.controls["number"].value = 3
    await until(lambda: "number 3" in view.picture.value and not view.busy)
    assert "about 0." in seen[0]
    assert seen[-1] == view.status.value == ""
    explorer.close()


def test_a_refused_value_is_told_beside_its_control_and_taken_back() -> None:
    desk = Desk()
    explorer = desk.explorer()
    view = explorer.panel()
    view.controls["word"].value = "<long>"
    assert 'role="alert"' in view.notes["word"].value
    assert "&lt;long&gt;" in view.notes["word"].value
    assert view.notes["number"].value == ""
    assert desk.asked == []
    view.controls["word"].value = "a"
    assert view.notes["word"].value == ""
    view.controls["number"].value = 5  # without a loop it is answered at once
    assert "number 5" in view.picture.value
    explorer.close()


async def test_an_answer_that_fails_is_told_and_the_next_one_comes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    desk = Desk()
    explorer = desk.explorer()
    view = explorer.panel()
    view.controls["number"].value = 9
    await until(lambda: "ValueError: &lt;nine&gt;" in view.notes[""].value)
    assert "no answer" in caplog.text
    assert "number 1" in view.picture.value
    view.controls["number"].value = 3
    await until(lambda: "number 3" in view.picture.value)
    assert view.notes[""].value == ""
    explorer.close()


async def test_a_change_from_code_moves_the_controls_and_outlives_older_answers() -> None:
    desk = Desk()
    explorer = desk.explorer()
    view = explorer.panel()
    desk.gate.clear()
    view.controls["number"].value = 2
    await until(lambda: view.busy)
    threading.Timer(0.05, desk.gate.set).start()
    explorer.change(number=7)
    await until(lambda: not view.busy)
    assert view.controls["number"].value == 7
    assert "number 7" in view.picture.value
    assert repr(explorer) == "Desk\nnumber 7, pressed 0"
    explorer.close()


async def test_closing_leaves_no_widget_and_no_task_behind() -> None:
    before = set(ipywidgets.widgets.widget._instances)
    makers = dd.explorers.__all__
    for name in makers:
        explorer = getattr(dd.explorers, name)()
        view = explorer.panel()
        assert explorer.panel() is view
        assert len(set(ipywidgets.widgets.widget._instances) - before) > 10
        explorer.close()
        assert view.closed
        assert set(ipywidgets.widgets.widget._instances) == before
    desk = Desk()
    explorer = desk.explorer()
    view = explorer.panel()
    desk.gate.clear()
    view.controls["number"].value = 2
    await until(lambda: view.busy)
    explorer.close()
    desk.gate.set()
    await until(lambda: not view.busy)
    assert repr(explorer).endswith("number 1, pressed 0")


def test_every_value_has_a_control_with_a_label_and_a_hint() -> None:
    for name in dd.explorers.__all__:
        explorer = getattr(dd.explorers, name)()
        view = explorer.panel()
        labels = {w.description for w in _all(view.widget) if getattr(w, "description", "")}
        assert {control.label for control in explorer.controls} <= labels
        assert all(view.controls[c.field].tooltip == c.about for c in explorer.controls)
        assert "<style>" in view.widget.children[0].value
        explorer.close()


def _all(widget: object) -> list[object]:
    inside = [found for child in getattr(widget, "children", ()) for found in _all(child)]
    return [widget, *inside]


def test_in_a_notebook_it_is_a_widget_with_its_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    explorer = Desk().explorer()
    monkeypatch.setattr(frame, "_in_kernel", lambda: True)
    shown = explorer._repr_mimebundle_()
    assert shown["text/plain"] == repr(explorer)
    model = shown["application/vnd.jupyter.widget-view+json"]["model_id"]
    assert model == explorer.panel().widget.model_id
    explorer.close()


def test_without_ipywidgets_it_is_its_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    explorer = Desk().explorer()
    monkeypatch.setattr(frame, "_in_kernel", lambda: True)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    monkeypatch.delitem(sys.modules, "ddsched_nb.views.explorers.panel")
    assert explorer._repr_mimebundle_() == {"text/plain": repr(explorer)}
