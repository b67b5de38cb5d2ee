"""The live view of a run, of plain ipywidgets: a few HTML areas, three buttons, one ticker.

Decides when to draw; what is drawn comes from `html`. Callbacks of widgets may come on any thread
(ipykernel 7), so a handler does one thing: it calls `run.pause`, `run.resume` or `run.cancel`,
which post to the run's loop. What a button may do now follows from the next drawing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, Protocol

import ipywidgets

from ddsched_nb.aio.statistics import RunStatistics
from ddsched_nb.views import html
from ddsched_nb.views.style import CSS
from ddsched_nb.wording import ENDED, facts

# Also how long a kernel whose cell awaits a run may take to notice an interrupt: an idle loop
# notices it seconds late. An area is sent to the browser only when its text has changed.
TICK_S: Final = 0.125

_VIEW: Final = "application/vnd.jupyter.widget-view+json"

_log = logging.getLogger(__name__)

Area = tuple[str, Callable[[RunStatistics], str]]
AREAS: Final[tuple[Area, ...]] = (
    ("state", html.state_html),
    ("now", html.figures_html),
    ("progress", html.progress_html),
    ("columns", html.columns_html),
    ("models", html.models_html),
    ("groups", html.groups_html),
    ("error", html.error_html),
)
_PRESSED_IN: Final = {
    "pause": ("running",),
    "resume": ("paused",),
    "cancel": ("running", "paused"),
}


class LiveRun(Protocol):
    """What the view needs of a run."""

    @property
    def done(self) -> bool: ...

    def statistics(self) -> RunStatistics: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def cancel(self) -> None: ...


class LiveView:
    """Shows a run while it lives, and how it ended.

    Made on a running loop it follows the run by itself until the run has ended, or until `close`;
    made elsewhere it shows one moment, and `refresh` another. Once the run has ended the view lets
    go of it, so that a displayed run can be freed.

    Args:
        run: The run. It is asked for statistics and told to pause, resume or cancel.

    Attributes:
        widget: What to display.
        areas: The HTML widgets by name, see `AREAS`.
        buttons: `pause`, `resume` and `cancel`.
    """

    def __init__(self, run: LiveRun) -> None:
        self._run: LiveRun | None = run
        self._ticker: asyncio.Task[None] | None = None
        self._facts = ""
        self.areas = {name: _area(name) for name, _ in AREAS}
        self.buttons = {
            "pause": _button("Pause", "pause", "Start nothing new; what runs may end"),
            "resume": _button("Resume", "play", "Go on"),
            "cancel": _button("Cancel", "stop", "End the run; finished rows are kept"),
        }
        self.buttons["pause"].on_click(self._on_pause)
        self.buttons["resume"].on_click(self._on_resume)
        self.buttons["cancel"].on_click(self._on_cancel)
        self._controls = _box(list(self.buttons.values()), "buttons")
        self.widget = self._laid_out()
        self._step()
        self._follow()

    @property
    def closed(self) -> bool:
        """Whether the widgets are gone, by `close` or by ipywidgets itself."""
        return self.widget.comm is None

    @property
    def following(self) -> bool:
        """Whether the view draws itself again and again."""
        return self._ticker is not None

    def refresh(self) -> None:
        """Draws the run as it stands. If that fails the view says so, and does not raise."""
        if self._run is None or self.closed:
            return
        try:
            self._draw(self._run.statistics())
        except Exception as error:
            _log.exception("the live view of a run cannot be drawn")
            self.areas["error"].value = html.trouble_html(error)

    def close(self) -> None:
        """Stops following and removes the widgets. The run goes on."""
        if self._ticker is not None:
            self._ticker.cancel()
        self._run = self._ticker = None
        for widget in _all_of(self.widget):
            widget.close()

    def mimebundle(self) -> dict[str, Any]:
        """The widget's own form for a notebook, without a text."""
        version = {"version_major": 2, "version_minor": 0}
        return {_VIEW: {**version, "model_id": self.widget.model_id}}

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {**self.mimebundle(), "text/plain": self._facts}

    def _on_pause(self, _: Any) -> None:
        if (run := self._run) is not None:
            run.pause()

    def _on_resume(self, _: Any) -> None:
        if (run := self._run) is not None:
            run.resume()

    def _on_cancel(self, _: Any) -> None:
        if (run := self._run) is not None:
            run.cancel()

    def _follow(self) -> None:
        if self._run is None:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._ticker = loop.create_task(self._tick(), name="ddsched-nb live view")

    async def _tick(self) -> None:
        try:
            while True:
                if not self._step():
                    break
                await asyncio.sleep(TICK_S)
        finally:
            self._ticker = None

    def _step(self) -> bool:
        """Draws once; says whether there is more to come."""
        run = self._run
        if run is None or self.closed:
            return False
        # Asked before drawing: whatever ends in between is drawn once more.
        done = run.done
        self.refresh()
        if done:
            self._run = None
        return not done

    def _draw(self, stats: RunStatistics) -> None:
        self._facts = facts(stats)
        for name, area in AREAS:
            self.areas[name].value = area(stats)
        for name, states in _PRESSED_IN.items():
            self.buttons[name].disabled = stats.state not in states
        self._controls.layout.display = "none" if stats.state in ENDED else "flex"

    def _laid_out(self) -> Any:
        areas = self.areas
        style = ipywidgets.HTML(f"<style>{CSS}</style>", layout={"display": "none"})
        top = _box([areas["state"], areas["now"], self._controls], "top")
        for name in ("columns", "models"):
            areas[name].add_class("ddsched-scroll")
        body = _box([areas["columns"], areas["models"]], "body")
        below = [areas["groups"], areas["error"]]
        whole = ipywidgets.VBox([style, top, areas["progress"], body, *below])
        whole.add_class("ddsched")
        return whole


def _area(name: str) -> Any:
    widget = ipywidgets.HTML()
    widget.add_class(f"ddsched-area-{name}")
    return widget


def _button(name: str, icon: str, tooltip: str) -> Any:
    return ipywidgets.Button(description=name, icon=icon, tooltip=tooltip, disabled=True)


def _box(children: list[Any], name: str) -> Any:
    box = ipywidgets.HBox(children)
    box.add_class(f"ddsched-{name}")
    return box


def _all_of(widget: Any) -> list[Any]:
    """A widget with everything inside it, layouts and styles included."""
    parts = [getattr(widget, name, None) for name in ("layout", "style")]
    inside = [found for child in getattr(widget, "children", ()) for found in _all_of(child)]
    return [*inside, *(part for part in parts if part is not None), widget]
