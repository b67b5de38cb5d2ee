"""What happened last, in words: the events of a run that a person would want to be told.

Decides which events those are and how each reads; the same again within a second is counted, not
repeated. Words hold names of models and settings and numbers, and never anything of a table.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from ddsched_nb.core import events as ev
from ddsched_nb.core.pressure import PressureReason
from ddsched_nb.wording import number, plural, pool_name

__all__ = ["Note", "Notes"]

_KEPT: Final = 60
_SAME_S: Final = 1.0
_LOOKED_AT: Final = 4
# Refusals whose reason may still be asked for, by the limit's next move.
_REMEMBERED: Final = 512


class Note(NamedTuple):
    """Something that happened.

    Attributes:
        at: When it happened last, in seconds of the loop's clock.
        text: What, in words.
        times: How often, in a row.
        kind: What it is about; only the same kind is counted together.
    """

    at: float
    text: str
    times: int
    kind: str


class Notes:
    """Keeps the last notes of a run. Subscribe it to the run's events.

    Args:
        kept: How many notes are kept.
    """

    def __init__(self, kept: int = _KEPT) -> None:
        self.total = 0
        self._notes: deque[Note] = deque(maxlen=kept)
        self._asked: dict[int, float | None] = {}

    def __call__(self, event: ev.Event) -> None:
        """Hears an event. Most are none of its business, which takes one look."""
        words = _WORDS.get(type(event))
        if words is None:
            return
        text, kind = words(self, event)
        if text:
            self._add(Note(event.at, text, 1, kind or text))

    @property
    def notes(self) -> tuple[Note, ...]:
        """The last notes, earliest first."""
        return tuple(self._notes)

    def read(self, events: Iterable[ev.Event]) -> None:
        """Catches up with what happened before it listened."""
        for event in events:
            self(event)

    def _add(self, note: Note) -> None:
        self.total += 1
        # Of what takes turns, each is counted for itself.
        for last in itertools.islice(reversed(self._notes), _LOOKED_AT):
            if last.kind == note.kind and note.at - last.at <= _SAME_S:
                self._notes.remove(last)
                note = note._replace(times=last.times + 1)
                break
        self._notes.append(note)

    def _refused(self, event: ev.RequestRateLimited) -> tuple[str, str]:
        if len(self._asked) >= _REMEMBERED:
            self._asked.pop(next(iter(self._asked)))
        self._asked[event.permit_id] = event.retry_after
        asked = "" if event.retry_after is None else f", retry after {_seconds(event.retry_after)}"
        model, of = pool_name(event.pool), event.in_flight + 1
        return f"{model} refused a call, {of} in flight{asked}", f"refused {model}"

    def _moved(self, event: ev.LimitMoved) -> tuple[str, str]:
        model = pool_name(event.pool)
        text = f"limit of {model} {event.before} \u2192 {event.after}"
        reason = _REASONS.get(event.reason, event.reason.replace("_", " "))
        if event.reason == "rate_limited":
            asked = self._asked.pop(event.permit_id or 0, None)
            reason += "" if asked is None else f", retry after {_seconds(asked)}"
        rises = event.after > event.before and event.reason == "success"
        return (text if rises else f"{text}: {reason}"), f"limit {model} {rises}"


_REASONS: Final = {
    "rate_limited": "refused",
    "success": "after an answer",
    "cap": "its cap",
    "asked": "as you asked",
}
_PRESSURE: Final = {
    PressureReason.COOLDOWN.value: "its model cools",
    PressureReason.AGGREGATE_CAP.value: "its model is full",
    PressureReason.WAITERS.value: "calls wait for its model",
    PressureReason.LIMIT.value: "its model is at its limit",
    PressureReason.SENT_OFF.value: "enough of its tasks are on their way",
}
_Words = Callable[[Notes, Any], tuple[str, str]]


def _seconds(seconds: float) -> str:
    return f"{number(seconds)} s" if seconds >= 0.95 else f"{seconds * 1000:.0f} ms"


def _cools(_: Notes, event: ev.RequestCooldownStarted) -> tuple[str, str]:
    why = {"requests": "its requests a minute are spent", "tokens": "its tokens a minute are spent"}
    reason = why.get(event.reason, event.reason)
    wait = _seconds(max(0.0, event.until - event.at))
    return f"{pool_name(event.pool)} pauses for {wait}: {reason}", f"cools {event.pool.label}"


def _recovered(_: Notes, event: ev.RequestFullyRecovered) -> tuple[str, str]:
    gone = _seconds(event.at - event.since)
    return f"{pool_name(event.pool)} answers again, after {gone} of nothing", ""


def _capped(_: Notes, event: ev.RequestEffectiveCapChanged) -> tuple[str, str]:
    return f"cap of {pool_name(event.pool)} is {event.cap} now", ""


def _target(_: Notes, event: ev.RowGroupAdmissionTargetChanged) -> tuple[str, str]:
    rises = event.after > event.before
    reason = event.reason.replace("_", " ")
    text = f"row groups that may be open {event.before} \u2192 {event.after}: {reason}"
    return text, f"target {rises} {reason}"


def _stored(_: Notes, event: ev.RowGroupCheckpointed) -> tuple[str, str]:
    lost = f", {event.rows_dropped:,} dropped" if event.rows_dropped else ""
    kept = plural(event.rows_kept, "row")
    return f"row group {event.row_group} finished: {kept}{lost}", "row group finished"


def _dropped(_: Notes, event: ev.NonRetryableDropped) -> tuple[str, str]:
    what = "a whole row group" if event.row is None else f"row {event.row}"
    return f"{what} dropped by {event.task_id}: {event.error}", f"dropped {event.error}"


def _deferred(_: Notes, event: ev.RetryDeferred) -> tuple[str, str]:
    return f"{event.task_id} is put aside to be tried again: {event.reason}", "deferred"


def _adjusted(_: Notes, event: ev.RunAdjusted) -> tuple[str, str]:
    return f"{event.setting} {event.before} \u2192 {event.after}, as you asked", ""


def _weighed(_: Notes, event: ev.FlowWeightChanged) -> tuple[str, str]:
    return f"weight of {event.flow.label} {event.before:g} \u2192 {event.after:g}", ""


def _skipped(_: Notes, event: ev.RequestPressureAdvisorySkipped) -> tuple[str, str]:
    reason = _PRESSURE.get(event.reason, event.reason.replace("_", " "))
    model = pool_name(event.pool)
    return f"a task of {model} let another go first: {reason}", f"skipped {model}"


def _lagged(_: Notes, event: ev.SchedulerLoopLagged) -> tuple[str, str]:
    return f"the event loop came back {_seconds(event.seconds)} late", "lagged"


_WORDS: Final[dict[type, _Words]] = {
    ev.RequestRateLimited: Notes._refused,
    ev.RequestLimitDecreased: Notes._moved,
    ev.RequestLimitIncreased: Notes._moved,
    ev.RequestCooldownStarted: _cools,
    ev.RequestFullyRecovered: _recovered,
    ev.RequestEffectiveCapChanged: _capped,
    ev.RowGroupAdmissionTargetChanged: _target,
    ev.RowGroupCheckpointed: _stored,
    ev.NonRetryableDropped: _dropped,
    ev.RetryDeferred: _deferred,
    ev.RunPaused: lambda _, event: ("paused", ""),
    ev.RunResumed: lambda _, event: ("goes on", ""),
    ev.RunAdjusted: _adjusted,
    ev.FlowWeightChanged: _weighed,
    ev.RequestPressureAdvisorySkipped: _skipped,
    ev.SchedulerLoopLagged: _lagged,
}
