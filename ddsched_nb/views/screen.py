"""The widget that draws runs: what is sent to it, and how little of it.

A screen shows what it was last told, in any number of places, also in a page that is opened later.
What to show comes from `frames` and `notes`; how it looks is decided in `browser/`, whose files are
sent along as text, so that nothing is ever fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import anywidget
import traitlets

from ddsched_nb.views.frames import Frame, Shape, change

__all__ = ["LiveScreen", "Screen"]

_FOLDER: Final = Path(__file__).parent / "browser"
_SCRIPTS: Final = ("dom.js", "pictures.js", "panel.js", "player.js", "main.js")
_HISTORY: Final = 240
# What a curve needs of a frame.
_CURVES: Final = ("t", "pools", "idle")


def _script() -> str:
    # One module: what is sent as text cannot import its neighbours.
    return "\n".join((_FOLDER / name).read_text("utf-8") for name in _SCRIPTS)


Deed = Callable[[], None]


class Screen(anywidget.AnyWidget):
    """Draws runs in a browser.

    Args:
        first: What is shown until something else is sent.
        text: What front ends without widgets show.
    """

    _esm = _script()
    _css = (_FOLDER / "screen.css").read_text("utf-8")
    first = traitlets.Dict().tag(sync=True)

    def __init__(self, first: dict[str, Any], text: Callable[[], str]) -> None:
        self._text = text
        super().__init__(first=first)

    def __repr__(self) -> str:
        return self._text()


class LiveScreen:
    """Sends what changed of a run to its screen, and everything to whoever comes late.

    Args:
        shape: What the run consists of.
        frame: How it stands.
        text: What front ends without widgets show.
        post: Does something soon, on the thread that also calls `show`.

    Attributes:
        widget: The screen.
        sent: Messages sent so far, apart from answers to those who came late.
    """

    def __init__(
        self, shape: Shape, frame: Frame, text: Callable[[], str], post: Callable[[Deed], None]
    ) -> None:
        self.sent = 0
        self._post = post
        self._shape = shape
        self._frame = frame
        self._notes: list[Any] = []
        self._errors: list[Any] = []
        self._history: list[Frame] = [_curves(frame)]
        self._stride = self._skipped = 1
        self.widget = Screen(self._everything(), text)
        self.widget.on_msg(self._on_message)

    def show(
        self, shape: Shape, frame: Frame, notes: list[Any] | None, errors: list[Any] | None
    ) -> None:
        """Shows another moment.

        Args:
            shape: What the run consists of.
            frame: How it stands.
            notes: What happened last, where that is news.
            errors: What went wrong last, where that is news.
        """
        changed = change(self._frame, frame)
        if notes is not None:
            self._notes = changed["notes"] = notes
        if errors is not None:
            self._errors = changed["errors"] = errors
        same = shape == self._shape
        self._shape, self._frame = shape, frame
        self._remember(frame)
        if not same:
            self.sent += 1
            self.widget.send(self._everything())
        elif changed:
            self.sent += 1
            self.widget.send({"k": "change", "frame": changed})

    def keep(self) -> None:
        """What is shown now stays, also without a kernel: it becomes the widget's own state."""
        self.widget.first = self._everything()

    def _everything(self) -> dict[str, Any]:
        return {
            "k": "start",
            "shape": self._shape,
            "frame": self._frame,
            "history": self._history,
            "notes": self._notes,
            "errors": self._errors,
        }

    def _remember(self, frame: Frame) -> None:
        self._skipped += 1
        if self._skipped < self._stride:
            return
        self._skipped = 0
        self._history = [*self._history, _curves(frame)]
        if len(self._history) > _HISTORY:
            self._history = self._history[::2]
            self._stride *= 2

    def _on_message(self, _: Any, content: Any, buffers: Any) -> None:
        # May come on any thread.
        if isinstance(content, dict) and content.get("k") == "hello":
            self._post(lambda: self.widget.send(self._everything()))


def _curves(frame: Frame) -> Frame:
    return {name: frame[name] for name in _CURVES}
