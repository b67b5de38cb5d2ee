"""The event bus: hands each fact to those who listen.

Contract for subscribers: a subscriber is a callable that takes one event, at once and without
waiting. One that raises loses that event, and only it does: the error is logged once per subscriber
and kind of event, and counted in `lost`. Without subscribers nobody builds an event at all.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from ddsched_nb.core.events import Event

Subscriber = Callable[[Event], None]

_log = logging.getLogger("ddsched_nb.events")


class EventBus:
    """Delivers events to subscribers in order of subscription."""

    def __init__(self) -> None:
        self._subscribers: tuple[Subscriber, ...] = ()
        self._reported: set[tuple[int, str]] = set()
        self.lost: Counter[str] = Counter()
        # Whether anybody listens; if not, do not build events. Asked at every step of every call.
        self.listening = False

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Adds a subscriber; call what is returned to take it off again."""
        self._subscribers += (subscriber,)
        self.listening = True

        def unsubscribe() -> None:
            self._subscribers = tuple(s for s in self._subscribers if s is not subscriber)
            self.listening = bool(self._subscribers)
            # Another one may live at the same address later.
            self._reported = {key for key in self._reported if key[0] != id(subscriber)}

        return unsubscribe

    def publish(self, event: Event) -> None:
        """Hands an event to every subscriber; never raises for what they do."""
        for subscriber in self._subscribers:
            try:
                subscriber(event)
            except Exception as error:
                self._report(subscriber, event, error)

    def _report(self, subscriber: Subscriber, event: Event, error: Exception) -> None:
        self.lost[event.kind] += 1
        key = (id(subscriber), event.kind)
        if key not in self._reported:
            self._reported.add(key)
            # The error's own text may hold anything; its type is what helps and cannot leak.
            _log.error(
                "a subscriber raised %s on %s and lost the event; further losses are only counted",
                type(error).__name__,
                event.kind,
            )
