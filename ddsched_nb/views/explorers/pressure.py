"""The explorer of pressure: two models, one of them held by others. Who goes first, who is skipped?

The reference's case `request-pressure` with its knobs in reach. Decides what may be set, what of a
record is shown, and in which words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import Field

from ddsched_nb.config import RunConfig
from ddsched_nb.core import events as ev
from ddsched_nb.core.pressure import PressureReason
from ddsched_nb.reprs import html_table, text_table
from ddsched_nb.sim.simulate import simulate
from ddsched_nb.views.explorers.drawing import Plot, Span, legend
from ddsched_nb.views.explorers.frame import Choice, Explorer, Slider, Switch
from ddsched_nb.views.explorers.settings import ExplorerSettings
from ddsched_nb.workloads.base import Hold, Workload
from ddsched_nb.workloads.request_pressure import pipeline

__all__ = [
    "PressureAnswer",
    "PressureSettings",
    "Sent",
    "explore_pressure",
    "pressure_explorer",
]

_SHOWN: Final = 8
_LANES: Final = {"a_pressured": 0, "z_open": 1}
_NAMES: Final = ("held model", "open model")
_WAITING: Final = {"hold": "hold their slots", "yield": "yield their slots to others"}
_REASONS: Final[dict[str, str]] = {
    PressureReason.COOLDOWN: "its model cools down",
    PressureReason.AGGREGATE_CAP: "its model has in flight all that it may",
    PressureReason.WAITERS: "others wait for its model",
    PressureReason.LIMIT: "its model is at its limit",
    PressureReason.SENT_OFF: "as many tasks are sent off as its model has use for",
}
_HEAD: Final = ("at ms", "sent off", "waited ms", "skipped for it", "why skipped")


class PressureSettings(ExplorerSettings):
    """What the explorer of pressure may be set to.

    Attributes:
        advisory: Whether a task that would only wait lets one go first whose model is open.
        waiting: What tasks do with their slots while they wait for a model.
        held_ms: How long others hold the first model, in virtual milliseconds.
        task_slots: Tasks that may run at once.
        rows: Rows; each asks each of the two models once, for a millisecond.
    """

    advisory: bool = False
    waiting: Literal["hold", "yield"] = "hold"
    held_ms: Annotated[int, Field(ge=0, le=100)] = 50
    task_slots: Annotated[int, Field(ge=1, le=8)] = 1
    rows: Annotated[int, Field(ge=4, le=64)] = 32


class Sent(NamedTuple):
    """A task that was sent off.

    Attributes:
        at_s: When it got its lease.
        task: Its id.
        waited_s: How long its call waited for a permit.
        skipped: The task that was skipped for it, or "".
        reason: Why that one was skipped.
    """

    at_s: float
    task: str
    waited_s: float
    skipped: str
    reason: str


@dataclass(frozen=True, slots=True)
class PressureAnswer:
    """How the run went. Seconds are virtual.

    Attributes:
        settings: What was asked.
        wall_s: From start to end.
        bound_s: No schedule can be faster.
        sent: The tasks with a call, in the order in which they were sent off.
        spans: Calls and waits, by model.
        lent_s: Slot-seconds of tasks that held their slots, and did nothing but wait.
    """

    settings: PressureSettings
    wall_s: float
    bound_s: float
    sent: tuple[Sent, ...]
    spans: tuple[Span, ...]
    lent_s: float

    @property
    def skipped(self) -> int:
        """How often a task was skipped."""
        return sum(1 for sent in self.sent if sent.skipped)

    @property
    def text(self) -> str:
        """The facts."""
        return "\n".join([self._caption, *self._facts(), text_table(_HEAD, self._rows())])

    @property
    def html(self) -> str:
        """The timeline and the facts."""
        plot = Plot(
            f"{self._caption}. {' '.join(self._facts())}",
            x_max=1_000 * max(self.wall_s, self.bound_s),
            x_title="milliseconds",
            height=140,
            lanes=_NAMES,
        )
        if self.settings.held_ms:
            plot.spans([Span(0.0, self.settings.held_ms, 0, "others")])
        scaled = [s._replace(start=1_000 * s.start, end=1_000 * s.end) for s in self.spans]
        plot.spans(scaled)
        plot.upright(1_000 * self.bound_s, "lower bound")
        names = [
            ("span", "first", "a call"),
            ("span", "wait", "tasks that were sent off wait"),
            ("span", "others", "held by others"),
        ]
        facts = "".join(f"<div>{escape(line)}</div>" for line in [self._caption, *self._facts()])
        table = html_table(_HEAD, self._rows(), caption=f"The first {_SHOWN} that were sent off")
        said = f'<div class="dx-said" role="status">{facts}</div>'
        return said + legend(names) + plot.html() + table

    @property
    def _caption(self) -> str:
        asked = self.settings
        held = f"the first held by others for {asked.held_ms} ms" if asked.held_ms else "none held"
        return (
            f"{asked.rows} rows, two models of one slot, {held}; {_counted(asked.task_slots)}, "
            f"advisory {'on' if asked.advisory else 'off'}, tasks that wait "
            f"{_WAITING[asked.waiting]}"
        )

    def _facts(self) -> list[str]:
        wall, bound = 1_000 * self.wall_s, 1_000 * self.bound_s
        return [
            f"Wall {wall:.0f} ms, {self.wall_s / self.bound_s:.2f} x the lower bound of "
            f"{bound:.0f} ms.",
            f"Skipped {self.skipped} times; slot time of tasks that only waited: "
            f"{1_000 * self.lent_s:.0f} ms.",
        ]

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                f"{1_000 * sent.at_s:.0f}",
                sent.task,
                f"{1_000 * sent.waited_s:.0f}",
                sent.skipped or "-",
                _REASONS.get(sent.reason, sent.reason) or "-",
            )
            for sent in self.sent[:_SHOWN]
        ]


def explore_pressure(settings: PressureSettings) -> PressureAnswer:
    """Runs the case with these settings."""
    holds = (Hold("pressured", settings.held_ms / 1_000),) if settings.held_ms else ()
    config = RunConfig(
        buffer_size=settings.rows,
        row_groups=1,
        max_in_flight_tasks=settings.task_slots,
        request_pressure_advisory=settings.advisory,
        slots_while_waiting=settings.waiting,
    )
    work = Workload(
        "pressure-explorer", "see there", pipeline(), settings.rows, config=config, holds=holds
    )
    record = simulate(work)
    result, bounds = record.result, record.result.bounds
    assert bounds is not None, "so small a run is recorded whole"
    book = _Book(record.events)
    return PressureAnswer(
        settings,
        result.makespan_s,
        bounds.lower_s,
        tuple(book.sent.values()),
        tuple(book.spans),
        book.lent_s,
    )


def pressure_explorer(**settings: Any) -> Explorer[PressureSettings]:
    """Two models, one of them held by others, to be played with.

    Args:
        settings: Where to begin: fields of `PressureSettings`.

    Raises:
        SettingsRefused: A setting cannot be; it says which, and what it may be.
    """
    controls = (
        Switch("advisory", "Pressure advisory", "who would only wait lets others go first"),
        Choice("waiting", "Tasks that wait", "what they do with their slots", _WAITING),
        Slider("held_ms", "Held by others, ms", "how long the first model is", 5),
        Slider("task_slots", "Task slots", "tasks that may run at once", 1),
        Slider("rows", "Rows", "each asks both models once", 4),
    )
    return Explorer("Pressure explorer", PressureSettings(**settings), explore_pressure, controls)


class _Book:
    """Reads from events who was sent off, how long each waited, and whom that cost a slot."""

    def __init__(self, events: Sequence[ev.Event]) -> None:
        self.sent: dict[str, Sent] = {}
        self.spans: list[Span] = []
        self.lent_s = 0.0
        self._first = events[0].at if events else 0.0
        self._waits: dict[str, float] = {}
        self._calls: dict[str, float] = {}
        self._aside: dict[str, float] = {}
        for event in events:
            self._see(event, event.at - self._first)

    def _see(self, event: ev.Event, at: float) -> None:
        match event:
            case ev.RequestPressureAdvisorySkipped():
                task = event.preferred
                sent = self.sent.get(task, Sent(at, task, 0.0, "", ""))
                self.sent[task] = sent._replace(skipped=event.task_id, reason=event.reason)
            case ev.TaskLeaseAcquired(task_id=task) if _lane(task) is not None:
                self.sent.setdefault(task, Sent(at, task, 0.0, "", ""))
            case ev.RequestWaitStarted(task_id=str(task)):
                self._waits[task] = at
            case ev.TaskSlotsYielded():
                self._aside[event.task_id] = at
            case ev.ModelRequestStarted(task_id=str(task)):
                self._went_out(task, at)
            case ev.ModelRequestCompleted(task_id=str(task)):
                self.spans.append(Span(self._calls.pop(task), at, _lane(task) or 0, "first"))

    def _went_out(self, task: str, at: float) -> None:
        self._calls[task] = at
        since = self._waits.pop(task, at)
        if at <= since:
            return
        self.spans.append(Span(since, at, _lane(task) or 0, "wait"))
        self.lent_s += max(0.0, self._aside.pop(task, at) - since)
        self.sent[task] = self.sent[task]._replace(waited_s=at - since)


def _lane(task: str) -> int | None:
    return _LANES.get(task.partition("/")[0])


def _counted(slots: int) -> str:
    return f"{slots} task slot{'' if slots == 1 else 's'}"
