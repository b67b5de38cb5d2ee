"""An explorer as plain ipywidgets: controls, the complaint beside each, one area for the picture.

Callbacks of widgets may come on any thread (ipykernel 7), so a handler does one thing: it hands
over to the loop that ran when the panel was made. There, moves are gathered: one answer is worked
out at a time, in a worker thread, and of the moves that come meanwhile only the last one counts.
Without a running loop the answer is worked out at once.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any, Final

import ipywidgets

from ddsched_nb.views.explorers import style
from ddsched_nb.views.explorers.frame import Button, Choice, Control, Slider, Switch
from ddsched_nb.views.explorers.settings import SettingsRefused, bounds
from ddsched_nb.views.widgets import close_all, running_loop, view_bundle

if TYPE_CHECKING:
    from ddsched_nb.views.explorers.frame import Explorer

__all__ = ["ExplorerPanel"]

# Longer than this a wait is announced, with how long the last one was.
PATIENCE_S: Final = 0.5


_log = logging.getLogger(__name__)


class ExplorerPanel:
    """The widgets of an explorer.

    Args:
        explorer: What is played with; it is told each answer.

    Attributes:
        widget: What to display.
        controls: The widget that holds the value of each field.
        notes: What is wrong with each field, beside its control; under "" whatever else is wrong.
        buttons: By label.
        status: Says that an answer is being worked out, and about how long it takes.
        picture: The last answer.
    """

    def __init__(self, explorer: Explorer[Any]) -> None:
        self._explorer = explorer
        self._loop = running_loop()
        self._latest = explorer.settings
        self._wanted: Any = None
        self._work: asyncio.Task[None] | None = None
        self._took_s = 0.0
        self._changes = 0  # made by others than the controls
        self._following = False
        self._links: list[Any] = []
        self.controls: dict[str, Any] = {}
        self.notes: dict[str, Any] = {"": _html("dx-trouble")}
        self.buttons = {button.label: self._button(button) for button in explorer.buttons}
        self.status = _html("dx-status")
        self.picture = _html("dx-picture", explorer.answer.html)
        self.widget = self._laid_out()

    @property
    def closed(self) -> bool:
        """Whether the widgets are gone, by `close` or by ipywidgets itself."""
        return self.widget.comm is None

    @property
    def busy(self) -> bool:
        """Whether an answer is being worked out."""
        return self._work is not None

    def follow(self) -> None:
        """Shows the explorer as it is, controls included."""
        self._latest, self._wanted = self._explorer.settings, None
        self._changes += 1
        self._following = True
        try:
            for field, control in self.controls.items():
                control.value = getattr(self._latest, field)
        finally:
            self._following = False
        self._complain({})
        self.picture.value = self._explorer.answer.html

    def close(self) -> None:
        """Removes the widgets. An answer that is being worked out is thrown away."""
        self._wanted = None
        if self._work is not None:
            self._work.cancel()
        for link in self._links:
            link.close()
        close_all(self.widget)

    def mimebundle(self) -> dict[str, Any]:
        """The widget's own form for a notebook, without a text."""
        return view_bundle(self.widget)

    def _on_move(self, _: Any) -> None:
        if not self._following:
            self._post(self._moved)

    def _on_press(self, button: Button, _: Any) -> None:
        self._post(functools.partial(self._pressed, button))

    def _post(self, call: Callable[[], None]) -> None:
        loop = self._loop
        if loop is not None and loop.is_running():
            loop.call_soon_threadsafe(call)
        else:
            call()

    def _moved(self) -> None:
        values = {field: control.value for field, control in self.controls.items()}
        if any(getattr(self._latest, field) != value for field, value in values.items()):
            self._change({**self._explorer.anew, **values})
        else:
            self._complain({})

    def _pressed(self, button: Button) -> None:
        self._change(button.change(self._latest))

    def _change(self, values: Mapping[str, Any]) -> None:
        if self.closed:
            return
        try:
            settings = self._latest.changed(**values)
        except SettingsRefused as refused:
            self._complain(refused.complaints)
            return
        self._complain({})
        self._latest = self._wanted = settings
        if self._loop is None or not self._loop.is_running():
            self._answer_here()
        elif self._work is None:
            self._work = self._loop.create_task(self._answer(), name="ddsched-nb explorer")

    def _answer_here(self) -> None:
        settings, self._wanted = self._wanted, None
        try:
            answer = self._explorer.solve(settings)
        except Exception as error:
            self._say_trouble(error)
        else:
            self._show(settings, answer)

    async def _answer(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while (settings := self._wanted) is not None:
                self._wanted, began, changes = None, loop.time(), self._changes
                self._announce()
                try:
                    answer = await asyncio.to_thread(self._explorer.solve, settings)
                except Exception as error:
                    self._say_trouble(error)
                else:
                    self._took_s = loop.time() - began
                    if changes == self._changes:
                        self._show(settings, answer)
        finally:
            self._work = None
            if not self.closed:
                self.status.value = ""

    def _announce(self) -> None:
        if self._took_s > PATIENCE_S:
            about = f"Working it out; about {self._took_s:.1f} s."
            self.status.value = f'<span role="status">{about}</span>'

    def _show(self, settings: Any, answer: Any) -> None:
        self._explorer.answered(settings, answer)
        if not self.closed:
            self.picture.value = answer.html

    def _complain(self, complaints: Mapping[str, str]) -> None:
        for field, note in self.notes.items():
            words = complaints.get(field, "")
            if not field:  # also what has no control of its own
                others = [w for name, w in complaints.items() if name not in self.notes]
                words = "; ".join(filter(None, [words, *others]))
            note.value = f'<span role="alert">{escape(words)}</span>' if words else ""
            note.layout.display = "" if words else "none"

    def _say_trouble(self, error: Exception) -> None:
        _log.error("an explorer has no answer", exc_info=error)
        self._complain({"": f"No answer to this: {type(error).__name__}: {error}"})

    def _button(self, button: Button) -> Any:
        widget = ipywidgets.Button(description=button.label, tooltip=button.about)
        widget.on_click(functools.partial(self._on_press, button))
        return widget

    def _laid_out(self) -> Any:
        head = ipywidgets.HTML(
            f'<style>{style.CSS}</style><div class="dx-title" role="heading" '
            f'aria-level="3">{escape(self._explorer.title)}</div>'
        )
        controls = _box(ipywidgets.HBox, [*map(self._control, self._explorer.controls)], "controls")
        rows = [head, controls]
        if self.buttons:
            rows.append(ipywidgets.HBox([*self.buttons.values()]))
            rows[-1].add_class("ddsched-buttons")
        self._complain({})
        whole = ipywidgets.VBox([*rows, self.notes[""], self.status, self.picture])
        whole.add_class("ddsched-explorer")
        return whole

    def _control(self, control: Control) -> Any:
        value = getattr(self._explorer.settings, control.field)
        holder, shown = _made(control, value, type(self._explorer.settings))
        if len(shown) > 1:
            self._links.append(ipywidgets.jslink((holder, "value"), (shown[0], "value")))
        holder.observe(self._on_move, "value")
        self.controls[control.field] = holder
        note = self.notes[control.field] = _html("dx-note")
        return _box(ipywidgets.VBox, [_box(ipywidgets.HBox, shown, "row"), note], "control")


def _made(control: Control, value: Any, settings: Any) -> tuple[Any, list[Any]]:
    """The widget that holds a value, and all that are shown for it."""
    named = {"value": value, "description": control.label, "tooltip": control.about}
    if isinstance(control, Slider):
        return _number(control, value, *bounds(settings, control.field))
    if isinstance(control, Choice):
        options = [(words, choice) for choice, words in control.options.items()]
        holder = ipywidgets.Dropdown(options=options, **named)
    elif isinstance(control, Switch):
        holder = ipywidgets.Checkbox(indent=False, **named)
        holder.add_class("dx-check")
        return holder, [holder]
    else:
        holder = ipywidgets.Text(continuous_update=False, **named)
    holder.add_class("dx-wide")
    return holder, [holder]


def _number(control: Slider, value: float, low: float, high: float) -> tuple[Any, list[Any]]:
    """A slider, and a box that has its label: a slider's handle cannot have one."""
    whole = isinstance(value, int)
    of = {"value": value, "min": low, "max": high, "step": control.step, "tooltip": control.about}
    slider_kind = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
    box_kind = ipywidgets.BoundedIntText if whole else ipywidgets.BoundedFloatText
    slider, box = slider_kind(readout=False, **of), box_kind(description=control.label, **of)
    slider.add_class("dx-slider")
    box.add_class("dx-number")
    return slider, [box, slider]


def _html(name: str, value: str = "") -> Any:
    widget = ipywidgets.HTML(value)
    widget.add_class(name)
    return widget


def _box(kind: Any, children: list[Any], name: str) -> Any:
    box = kind(children)
    box.add_class(f"dx-{name}")
    return box
