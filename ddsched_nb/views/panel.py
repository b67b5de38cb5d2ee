"""The live view of a run: a screen, buttons, settings, and one ticker.

Decides when to look and when it is over. What is shown is decided in `frames`, `notes` and
`outlook`, how it is sent in `screen`, and what a person may do in `controls`.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from html import escape
from typing import Any, Final, Protocol

import ipywidgets

from ddsched_nb.aio.bus import EventBus
from ddsched_nb.aio.statistics import RunStatistics
from ddsched_nb.record import RunRecord
from ddsched_nb.views.controls import Adjustable, Buttons, Settings
from ddsched_nb.views.frames import errors_of, frame_of, shape_of
from ddsched_nb.views.notes import Notes
from ddsched_nb.views.outlook import Outlook
from ddsched_nb.views.screen import LiveScreen
from ddsched_nb.views.widgets import close_all, running_loop, view_bundle
from ddsched_nb.wording import ENDED, facts, rows_per_second, work_share

# Also how long a kernel whose cell awaits a run may take to notice an interrupt: an idle loop
# notices it seconds late.
TICK_S: Final = 0.2

# So many of the events that were there before the view are told in words.
_TOLD: Final = 2_000
_NOTES: Final = 12

_log = logging.getLogger(__name__)


class LiveRun(Adjustable, Protocol):
    """What the view needs of a run."""

    @property
    def done(self) -> bool: ...

    @property
    def events(self) -> EventBus: ...

    @property
    def record(self) -> RunRecord: ...

    def statistics(self) -> RunStatistics: ...


class LiveView:
    """Shows a run while it lives, and how it ended.

    Made on a running loop it follows the run by itself until the run has ended, or until `close`;
    made elsewhere it shows one moment, and `refresh` another. Once the run has ended the view lets
    go of it, so that a displayed run can be freed.

    Args:
        run: The run. It is asked for statistics and told to pause, resume, cancel or change.

    Attributes:
        widget: What to display.
        screen: What draws.
        buttons: Pause, Resume and Cancel.
        settings: What may be changed.
        trouble: Says so when the run cannot be shown.
    """

    def __init__(self, run: LiveRun) -> None:
        self._run: LiveRun | None = run
        self._loop = running_loop()
        self._ticker: asyncio.Task[None] | None = None
        self._outlook = Outlook()
        self._notes = Notes()
        self._told = 0
        self._errors: list[list[str]] = []
        self._unsubscribe = self._listen(run)
        stats = run.statistics()
        self._facts = facts(stats)
        self.screen = LiveScreen(shape_of(stats), frame_of(stats), self._text, self._post)
        self.buttons = Buttons(lambda: self._run)
        self.settings = Settings(lambda: self._run)
        self.trouble = ipywidgets.HTML()
        parts = [self.buttons.widget, self.screen.widget, self.settings.widget, self.trouble]
        self.widget = ipywidgets.VBox(parts)
        self.widget.add_class("ddsched-view")
        if self._step() and self._loop is not None:
            self._ticker = self._loop.create_task(self._tick(), name="ddsched-nb live view")

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
            self._draw(self._run, self._run.statistics())
            self.trouble.value = ""
        except Exception as error:
            _log.exception("the live view of a run cannot be drawn")
            self.trouble.value = _trouble(error)

    def close(self) -> None:
        """Stops following and removes the widgets. The run goes on."""
        if self._ticker is not None:
            self._ticker.cancel()
        self._ticker = None
        self._let_go()
        close_all(self.widget)

    def mimebundle(self) -> dict[str, Any]:
        """The widget's own form for a notebook, without a text."""
        return view_bundle(self.widget)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {**self.mimebundle(), "text/plain": self._facts}

    def _text(self) -> str:
        return self._facts

    def _post(self, task: Callable[[], None]) -> None:
        """Does something soon on the loop; at once where none runs."""
        if self._loop is None or self._loop.is_closed():
            task()
        else:
            self._loop.call_soon_threadsafe(task)

    def _listen(self, run: LiveRun) -> Callable[[], None] | None:
        # Nobody else listens, and then no event is made: a view must not change that.
        if not run.events.listening:
            return None
        events = run.record.events
        self._notes.read(itertools.islice(events, max(0, len(events) - _TOLD), None))
        return run.events.subscribe(self._notes)

    def _let_go(self) -> None:
        if self._unsubscribe is not None:
            self._unsubscribe()
        self._run = self._unsubscribe = None

    async def _tick(self) -> None:
        try:
            while True:
                await asyncio.sleep(TICK_S)
                if not self._step():
                    break
        finally:
            self._ticker = None
            self._let_go()

    def _step(self) -> bool:
        """Draws once; says whether there is more to come."""
        run = self._run
        if run is None or self.closed:
            return False
        # Asked before drawing: whatever ends in between is drawn once more.
        done = run.done
        self.refresh()
        if done:
            self.screen.keep()
            self._let_go()
        return not done

    def _draw(self, run: LiveRun, stats: RunStatistics) -> None:
        self._facts = facts(stats)
        self._outlook.see(stats.now, work_share(stats), active=stats.state == "running")
        pace = None if stats.state in ENDED else self._outlook.pace()
        rate = pace.share_per_s * stats.rows if pace else rows_per_second(stats) or None
        frame = frame_of(stats, rate, pace.left_s if pace else None)
        self.screen.show(shape_of(stats), frame, self._new_notes(stats), self._new_errors(stats))
        self.buttons.show(stats.state)
        self.settings.show(stats)

    def _new_notes(self, stats: RunStatistics) -> list[Any] | None:
        if self._notes.total == self._told:
            return None
        self._told = self._notes.total
        started = stats.now - stats.elapsed_s
        last = self._notes.notes[-_NOTES:]
        return [[round(max(0.0, note.at - started), 1), note.text, note.times] for note in last]

    def _new_errors(self, stats: RunStatistics) -> list[list[str]] | None:
        errors = errors_of(stats)
        if errors == self._errors:
            return None
        self._errors = errors
        return errors


def _trouble(error: BaseException) -> str:
    """The view itself failed: says so, and that the run is not concerned."""
    text = escape(f"{type(error).__name__}: {error}")
    return (
        '<div class="dds-error dds-bad" role="alert"><b>This view cannot be drawn:</b> '
        f"{text}. The run itself goes on.</div>"
    )
