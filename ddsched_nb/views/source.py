"""What charts are drawn from: a record, or events in order, and what of it is missing.

Decides how a record that was cut says so. This module must not know a chart library.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ddsched_nb.core import events as ev
from ddsched_nb.errors import ConfigError

__all__ = ["HasEvents", "Source", "as_record", "events_of", "said", "span"]


class HasEvents(Protocol):
    """A run record, or anything else with events."""

    @property
    def events(self) -> Sequence[ev.Event]: ...


Source = HasEvents | Sequence[ev.Event]


class _Given:
    """Events that came without a record."""

    def __init__(self, events: Sequence[ev.Event]) -> None:
        self.events = events


def events_of(source: Source) -> Sequence[ev.Event]:
    """The events, in order.

    Raises:
        ConfigError: It is neither a record nor a sequence of events.
    """
    events = source if isinstance(source, Sequence) else getattr(source, "events", None)
    if isinstance(events, Sequence) and all(isinstance(e, ev.Event) for e in list(events)[:1]):
        return events
    raise ConfigError(
        f"a {type(source).__name__} cannot be drawn; give a record (of a run: run.record), or its "
        "events in order"
    )


def as_record(source: Source) -> HasEvents:
    """The source as a thing with events."""
    return _Given(source) if isinstance(source, Sequence) else source


def span(events: Sequence[ev.Event]) -> tuple[float, float]:
    """When the record begins and ends, in seconds of the run's clock; 0, 0 if it is empty."""
    return (events[0].at, events[-1].at) if events else (0.0, 0.0)


def said(source: Source, *parts: str | None) -> str | None:
    """A subtitle of the parts there are; of a record that was cut, with words that say so."""
    words = [part for part in parts if part]
    if getattr(source, "truncated", False):
        words.append("the record is cut: its beginning is missing")
    return " \N{MIDDLE DOT} ".join(words) or None
