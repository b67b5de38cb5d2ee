"""What a person may do to a run that goes on: Pause, Resume, Cancel, and its settings.

Callbacks of widgets may come on any thread (ipykernel 7), so a handler does one thing: it calls the
run, which checks what is asked at once and posts it to its own loop. What a button may do now, and
what a setting is, follows from the next drawing. A value that is refused stays, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any, Final, Protocol

import ipywidgets

from ddsched_nb.aio.statistics import RunStatistics
from ddsched_nb.config import RunConfig
from ddsched_nb.errors import DdschedError
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.wording import ENDED

__all__ = ["Adjustable", "Buttons", "Settings"]

_PRESSED_IN: Final = {
    "pause": ("running",),
    "resume": ("paused",),
    "cancel": ("running", "paused"),
}
_POLICIES: Final = ("strict_fair", "bounded_borrow")
_LABEL: Final = {"description_width": "120px"}


class Adjustable(Protocol):
    """What controls need of a run."""

    @property
    def settings(self) -> RunConfig: ...

    @property
    def pipeline(self) -> Pipeline: ...

    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def cancel(self) -> None: ...
    def adjust(self, **changes: Any) -> None: ...


class Buttons:
    """Pause, Resume and Cancel.

    Args:
        run: What they are pressed for; asked each time, since a run is let go when it has ended.

    Attributes:
        widget: The three in a row.
        by_name: Each by its name.
    """

    def __init__(self, run: Callable[[], Adjustable | None]) -> None:
        self._run = run
        self.by_name = {
            "pause": _button("Pause", "pause", "Start nothing new; what runs may end"),
            "resume": _button("Resume", "play", "Go on"),
            "cancel": _button("Cancel", "stop", "End the run; finished rows are kept"),
        }
        self.by_name["pause"].on_click(lambda _: self._tell(lambda run: run.pause()))
        self.by_name["resume"].on_click(lambda _: self._tell(lambda run: run.resume()))
        self.by_name["cancel"].on_click(lambda _: self._tell(lambda run: run.cancel()))
        self.widget = ipywidgets.HBox(list(self.by_name.values()))
        self.widget.add_class("ddsched-controls")

    def show(self, state: str) -> None:
        """Enables what may be pressed now; nothing is left to press once a run has ended."""
        for name, states in _PRESSED_IN.items():
            self.by_name[name].disabled = state not in states
        self.widget.layout.display = "none" if state in ENDED else "flex"

    def _tell(self, command: Callable[[Adjustable], None]) -> None:
        run = self._run()
        if run is not None:
            command(run)


class Settings:
    """Fields for what may be changed of a run while it goes on.

    Args:
        run: Whose settings; None once it has ended.

    Attributes:
        widget: The fields, folded away at first.
        fields: Each field by its name; those of models end in `of` and the model's alias.
        said: What was said to the last value of each field.
    """

    def __init__(self, run: Callable[[], Adjustable | None]) -> None:
        self._run = run
        self._shown: dict[str, Any] = {}
        self.fields: dict[str, Any] = {}
        self.said: dict[str, Any] = {}
        self._lines = ipywidgets.HBox()
        self._lines.add_class("ddsched-settings")
        self.widget = ipywidgets.Accordion([self._lines], titles=("Settings",))
        self.widget.selected_index = None

    def show(self, stats: RunStatistics) -> None:
        """Shows the settings as they are now; a field that somebody edits is left alone."""
        run = self._run()
        if run is None or stats.state in ENDED:
            self.widget.layout.display = "none"
            return
        found = _current(run, stats)
        if set(found) - set(self.fields):
            self._lay_out(run, found)
        for name, value in found.items():
            if self._shown.get(name) == value:
                continue
            before, self._shown[name] = self._shown.get(name), value
            if _moves(name):
                self.fields[name].placeholder = f"{value} now"
            elif self.fields[name].value == before:
                self.fields[name].value = value

    def _lay_out(self, run: Adjustable, found: dict[str, Any]) -> None:
        for name, value in found.items():
            if name not in self.fields:
                self._shown[name] = value
                self.fields[name] = _field(name, value)
                self.said[name] = ipywidgets.HTML()
                self.said[name].add_class("ddsched-said")
                self.fields[name].observe(self._handler(name), "value")
        self._lines.children = [self._line(name) for name in found]

    def _line(self, name: str) -> Any:
        line = ipywidgets.HBox([self.fields[name], self.said[name]])
        line.add_class("ddsched-setting")
        return line

    def _handler(self, name: str) -> Callable[[Any], None]:
        def handle(change: Any) -> None:
            if change["new"] != ("" if _moves(name) else self._shown.get(name)):
                self._ask(name, change["new"])

        return handle

    def _ask(self, name: str, value: Any) -> None:
        run = self._run()
        if run is None:
            return
        try:
            run.adjust(**_change(name, value))
        except DdschedError as error:
            self.said[name].value = f"<b>refused:</b> {escape(str(error))}"
        else:
            self.said[name].value = f"asked for {escape(str(value))}"


def _current(run: Adjustable, stats: RunStatistics) -> dict[str, Any]:
    """Each field with its value."""
    config = run.settings
    found: dict[str, Any] = {}
    pools = {pool.pool.model_key: pool for pool in stats.pools}
    for model in run.pipeline.models:
        if model.key in pools:
            found[f"limit of {model.alias}"] = str(pools[model.key].limit)
            found[f"cap of {model.alias}"] = str(pools[model.key].cap)
    found["row groups"] = str(config.row_groups)
    found["task slots"] = str(stats.slots)
    if isinstance(config.task_policy, str):  # one of the user's own has no name to choose
        found["task policy"] = config.task_policy
    found["pressure advisory"] = config.request_pressure_advisory
    return found


def _field(name: str, value: Any) -> Any:
    if isinstance(value, bool):
        return ipywidgets.Checkbox(value=value, description=name, indent=False)
    common = {"description": name, "style": _LABEL, "layout": {"width": "280px"}}
    if name == "task policy":
        return ipywidgets.Dropdown(options=_POLICIES, value=value, **common)
    # Sent when it is left or confirmed, not while it is typed.
    if _moves(name):
        hint = f"{value} now"
        return ipywidgets.Text(placeholder=hint, continuous_update=False, **common)
    return ipywidgets.Text(value=value, continuous_update=False, **common)


def _moves(name: str) -> bool:
    """A limit moves all the time: its field says where to put it, not where it is."""
    return name.startswith("limit of ")


def _change(name: str, value: Any) -> dict[str, Any]:
    """What to ask of the run; a text that is no number goes there as it is, to be refused."""
    what, _, alias = name.partition(" of ")
    if alias:
        return {f"{what}s": {alias: _number(value)}}
    return {_ASKED[name]: value if isinstance(value, bool) else _number(value)}


_ASKED: Final = {
    "row groups": "row_groups",
    "task slots": "max_in_flight_tasks",
    "task policy": "task_policy",
    "pressure advisory": "request_pressure_advisory",
}


def _number(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text.strip()


def _button(name: str, icon: str, tooltip: str) -> Any:
    return ipywidgets.Button(description=name, icon=icon, tooltip=tooltip, disabled=True)
