"""What all explorers share: settings, the answer to them, and how both are shown.

An explorer is a function from settings to an answer, with a description of its controls. Decides
what displaying it gives: widgets in a notebook, a text of facts everywhere. Widgets are made when a
notebook asks, and done without where ipywidgets is missing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from ddsched_nb.views.explorers.settings import ExplorerSettings

if TYPE_CHECKING:
    from ddsched_nb.views.explorers.panel import ExplorerPanel

__all__ = ["Answer", "Button", "Choice", "Control", "Explorer", "Slider", "Switch", "Words"]

S = TypeVar("S", bound=ExplorerSettings)


class Answer(Protocol):
    """What an explorer answers: frozen, and the same for the same settings."""

    @property
    def text(self) -> str:
        """The facts in plain text."""
        ...

    @property
    def html(self) -> str:
        """The picture and the facts, escaped."""
        ...


class Slider(NamedTuple):
    """A number between the bounds that its field declares; with a box to type it into."""

    field: str
    label: str
    about: str
    step: float


class Choice(NamedTuple):
    """One of a closed list, each value with its words."""

    field: str
    label: str
    about: str
    options: Mapping[Any, str]


class Switch(NamedTuple):
    """On or off."""

    field: str
    label: str
    about: str


class Words(NamedTuple):
    """Something that is typed."""

    field: str
    label: str
    about: str


Control = Slider | Choice | Switch | Words


class Button(NamedTuple):
    """Changes settings that have no control; `change` takes those of now and gives what changes."""

    label: str
    about: str
    change: Callable[[Any], Mapping[str, Any]]


class Explorer(Generic[S]):
    """Settings that are played with, and the answer to them.

    Displayed in a notebook it has controls; anywhere it is a text of facts. `change` does what the
    controls do.

    Args:
        title: What it is called.
        settings: Where to begin.
        solve: Gives the answer to settings. It may run on any thread.
        controls: A control for each setting that may be played with.
        buttons: What else may be pressed.
        anew: Settings that a moved control puts back.

    Attributes:
        title: What it is called.
        settings: The settings of `answer`.
        answer: The answer to them.
    """

    def __init__(
        self,
        title: str,
        settings: S,
        solve: Callable[[S], Answer],
        controls: tuple[Control, ...],
        buttons: tuple[Button, ...] = (),
        anew: Mapping[str, Any] | None = None,
    ) -> None:
        self.title = title
        self.solve = solve
        self.controls = controls
        self.buttons = buttons
        self.anew = dict(anew or {})
        self.settings = settings
        self.answer = solve(settings)
        self._panel: ExplorerPanel | None = None

    def __repr__(self) -> str:
        return f"{self.title}\n{self.answer.text}"

    def change(self, **values: Any) -> Answer:
        """Changes settings and answers at once.

        Args:
            values: Settings and their new values.

        Raises:
            SettingsRefused: A value cannot be, or there is no such setting. Nothing changes then.
        """
        settings = self.settings.changed(**{**self.anew, **values})
        self.answered(settings, self.solve(settings))
        if self._panel is not None and not self._panel.closed:
            self._panel.follow()
        return self.answer

    def answered(self, settings: S, answer: Answer) -> None:
        """Takes the answer to settings; it is what `repr` tells from now on."""
        self.settings, self.answer = settings, answer

    def panel(self) -> ExplorerPanel:
        """Its controls and its picture as widgets; made when first asked for, or after `close`.

        Raises:
            ImportError: ipywidgets is not installed.
        """
        from ddsched_nb.views.explorers.panel import ExplorerPanel

        if self._panel is None or self._panel.closed:
            self._panel = ExplorerPanel(self)
        return self._panel

    def close(self) -> None:
        """Removes the widgets, if there are any."""
        if self._panel is not None:
            self._panel.close()
        self._panel = None

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        text = {"text/plain": repr(self)}
        if not _in_kernel():
            return text
        try:
            return {**self.panel().mimebundle(), **text}
        except ImportError:
            return text


def _in_kernel() -> bool:
    """Whether a front end that may have widgets is at the other end."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None
