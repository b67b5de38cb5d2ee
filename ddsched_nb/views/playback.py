"""What a view draws of a run that is over: from its events to a shape and frames.

The same frames as of a live run, read from a record instead of an engine; idle slots have their
exact causes here. Pure: it must not know a widget, or at what speed somebody watches.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from ddsched_nb.analysis.hindsight import in_time
from ddsched_nb.analysis.idle import IdleReport, explain_events
from ddsched_nb.core import events as ev
from ddsched_nb.errors import ConfigError
from ddsched_nb.views.frames import Frame, Shape, change
from ddsched_nb.views.notes import Notes
from ddsched_nb.views.outlook import Outlook
from ddsched_nb.views.reader import Reader

__all__ = ["Track", "track_of"]

_FRAMES: Final = 300
_NOTES: Final = 3_000
_MARKS: Final = 2_000
_ERRORS: Final = 300


class Track(NamedTuple):
    """One run, ready to be played.

    Attributes:
        shape: What it consists of.
        frames: The first moment, then what changes from moment to moment, evenly spaced.
        notes: Second, words, how often.
        errors: Second, where, why.
        refusals: Seconds of refusals.
        duration_s: How long it took.
        last: The last moment.
    """

    shape: Shape
    frames: list[Frame]
    notes: list[list[Any]]
    errors: list[list[Any]]
    refusals: list[float]
    duration_s: float
    last: Frame


def track_of(events: Sequence[ev.Event], frames: int = _FRAMES) -> Track:
    """Cuts a record into frames.

    Args:
        events: The events of a run, in order.
        frames: How many moments, at least 2.

    Raises:
        ConfigError: There are no events, or too few frames.
    """
    if not events:
        raise ConfigError("the record holds no events; watch a run that keeps its record")
    if frames < 2:
        raise ConfigError(f"frames is {frames}; give at least 2")
    ordered = in_time(events)
    start, end = ordered[0][0], ordered[-1][0]
    reader, notes, outlook = Reader([event for _, event in ordered]), Notes(_NOTES), Outlook()
    idle = _Idle(explain_events(events), [key.label for key in reader.pools], start, end, frames)
    made: list[Frame] = []
    place = 0
    for index in range(frames):
        until = start + (end - start) * index / (frames - 1)
        while place < len(ordered) and (ordered[place][0] <= until or index == frames - 1):
            notes(ordered[place][1])
            reader.see(ordered[place][1])
            place += 1
        made.append(reader.frame(until, outlook, idle.at(until)))
    return Track(
        reader.shape(),
        [made[0], *(change(a, b) for a, b in pairwise(made))],
        [[round(n.at - start, 2), n.text, n.times] for n in notes.notes],
        reader.errors[:_ERRORS],
        _thinned(reader.refusals),
        end - start,
        made[-1],
    )


class _Idle:
    """Mean idle slots of all models by exact cause, for each span between frames."""

    def __init__(
        self, report: IdleReport, pools: list[str], start: float, end: float, frames: int
    ) -> None:
        self._starts: list[float] = []
        self._slots: list[Counter[str]] = []
        spans = frames - 1
        self._width = (end - start) / spans
        self._start = start
        self._slots = [Counter() for _ in range(spans)]
        for found in report.resources:
            if found.name in pools and found.steps:
                self._add(found.steps[0][0], found.series(spans), found.window_s / spans)

    def at(self, until: float) -> list[list[Any]]:
        """By cause, for the span that ends at an instant."""
        if self._width <= 0:
            return []
        place = round((until - self._start) / self._width) - 1
        slots = self._slots[max(0, place)]
        return [[cause, round(n, 2)] for cause, n in sorted(slots.items()) if n >= 0.05]

    def _add(self, begins: float, means: list[tuple[float, Any]], width: float) -> None:
        if not means or self._width <= 0:
            return
        ats = [begins + at for at, _ in means]
        for place, slots in enumerate(self._slots):
            middle = self._start + (place + 0.5) * self._width
            index = bisect.bisect_right(ats, middle) - 1
            if index >= 0 and middle <= ats[-1] + width:
                slots.update({str(cause): n for cause, n in means[index][1].items()})


def _thinned(marks: list[float]) -> list[float]:
    return marks[:: -(-len(marks) // _MARKS)] if marks else marks
