"""A record with every kind of event that the reference has, for tools that read its event files.

Most of its kinds are ours. Some others it tells beside them, although they follow from what was
told: that a wait is over, that somebody waits, that a limit is back. A record does without, since
what is told twice can differ; here they are derived, typed like all events, in their places.
`stale_selection` has no counterpart: selecting and committing are one step.

    record = dd.RunRecord(with_reference_kinds(run.record))
    write_reference_kinds(run.record, "events.jsonl")
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from ddsched_nb.core import events as ev
from ddsched_nb.core.event import Event, RequestEvent, TaskEvent
from ddsched_nb.core.model import DenyReason, FlowKey, PoolKey, ResourceKey
from ddsched_nb.errors import RecordError

__all__ = [
    "DERIVED",
    "AdmissionBlocked",
    "GroupCapped",
    "QueueEmpty",
    "RequestAcquireDenied",
    "RequestQueueDrained",
    "RequestQueueFormed",
    "RequestSoftCeilingRecovered",
    "RequestWaitCompleted",
    "with_reference_kinds",
    "write_reference_kinds",
]


class GroupCapped(TaskEvent, frozen=True, gc=False):
    """A flow may not take more now: it would go above its share, owes, or may borrow no more."""

    flow: FlowKey
    reason: DenyReason
    resource: ResourceKey


class AdmissionBlocked(Event, frozen=True, gc=False):
    """Tasks are queued, and none of them may start; told once, until one does.

    Attributes:
        queued: Tasks that wait.
        blocked: The flows that they belong to, counted by why they wait.
    """

    queued: int
    blocked: dict[str, int]


class QueueEmpty(Event, frozen=True, gc=False):
    """No task is queued any more."""


class RequestQueueFormed(RequestEvent, frozen=True, gc=False):
    """Somebody waits for a pool for whom nobody waited; who is granted at once did not wait."""


class RequestQueueDrained(RequestEvent, frozen=True, gc=False):
    """Nobody waits for a pool any more."""


class RequestWaitCompleted(RequestEvent, frozen=True, gc=False):
    """A wait ended with a permit, after so many seconds."""

    waiter_id: int
    permit_id: int
    seconds: float


class RequestAcquireDenied(RequestEvent, frozen=True, gc=False):
    """An acquire ended without a permit, since it would not wait any longer."""

    waiter_id: int


class RequestSoftCeilingRecovered(RequestEvent, frozen=True, gc=False):
    """A limit that fell is back where it fell from.

    Attributes:
        ceiling: Where that was.
        limit: The limit now.
    """

    ceiling: int
    limit: int


DERIVED: Final[tuple[type[Event], ...]] = (
    GroupCapped,
    AdmissionBlocked,
    QueueEmpty,
    RequestQueueFormed,
    RequestQueueDrained,
    RequestWaitCompleted,
    RequestAcquireDenied,
    RequestSoftCeilingRecovered,
)
"""The kinds that follow from others. A derived event has the instant and number of its cause."""

_CAPPED: Final = (DenyReason.OVER_SHARE, DenyReason.IN_DEBT, DenyReason.AT_CEILING)


class HasEvents(Protocol):
    """A run record, or anything else with events."""

    @property
    def events(self) -> Iterable[Event]: ...


def with_reference_kinds(record: HasEvents | Iterable[Event]) -> Iterator[Event]:
    """The events of a record, each followed by those that follow from it.

    Args:
        record: A run record, or events in order.
    """
    events = list(record.events if hasattr(record, "events") else record)
    deriving = _Deriving(events)
    for event in events:
        yield event
        yield from deriving.after(event)


def write_reference_kinds(record: HasEvents | Iterable[Event], path: str | Path) -> Path:
    """Writes the events of a record with the derived ones, one a line, without a header.

    Raises:
        RecordError: The file cannot be written.
    """
    target, encode = Path(path), msgspec.json.Encoder().encode
    try:
        with target.open("wb") as file:
            file.writelines(encode(event) + b"\n" for event in with_reference_kinds(record))
    except OSError as error:
        raise RecordError(f"cannot write events to {str(target)!r}: {error}") from error
    return target


class _Deriving:
    """Follows a record and says what follows from each event."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._began: dict[int, float] = {}
        self._waits = _real_waits(events)
        self._waiting: Counter[PoolKey] = Counter()
        self._ceilings: dict[PoolKey, int] = {}
        self._stuck = False

    def after(self, event: Event) -> Iterator[Event]:
        """What follows from an event."""
        derive = _DERIVE.get(type(event))
        return iter(()) if derive is None else derive(self, event)

    def _denied(self, event: ev.AdmissionDenied) -> Iterator[Event]:
        if event.reason in _CAPPED:
            told = (event.at, event.sequence, event.task_id)
            yield GroupCapped(*told, event.flow, event.reason, event.resource)

    def _snapshot(self, event: ev.SchedulerHealthSnapshot) -> Iterator[Event]:
        if event.queued and event.blocked and not self._stuck:
            self._stuck = True
            yield AdmissionBlocked(event.at, event.sequence, event.queued, event.blocked)

    def _leased(self, event: ev.TaskLeaseAcquired) -> Iterator[Event]:
        self._stuck = False
        return iter(())

    def _drained(self, event: ev.QueueDrained) -> Iterator[Event]:
        yield QueueEmpty(event.at, event.sequence)

    def _waits_now(self, event: ev.RequestWaitStarted) -> Iterator[Event]:
        self._began[event.waiter_id] = event.at
        if event.waiter_id not in self._waits:
            return
        self._waiting[event.pool] += 1
        if self._waiting[event.pool] == 1:
            yield RequestQueueFormed(event.at, event.sequence, event.pool)

    def _granted(self, event: ev.RequestLeaseAcquired) -> Iterator[Event]:
        began = self._began.pop(event.waiter_id, None)
        if began is None:
            return
        yield RequestWaitCompleted(
            event.at, event.sequence, event.pool, event.waiter_id, event.permit_id, event.at - began
        )
        yield from self._waits_no_more(event, event.waiter_id)

    def _gave_up(self, event: ev.RequestWaitCancelled | ev.RequestWaitTimeout) -> Iterator[Event]:
        self._began.pop(event.waiter_id, None)
        if isinstance(event, ev.RequestWaitTimeout):
            yield RequestAcquireDenied(event.at, event.sequence, event.pool, event.waiter_id)
        yield from self._waits_no_more(event, event.waiter_id)

    def _waits_no_more(self, event: RequestEvent, waiter_id: int) -> Iterator[Event]:
        if waiter_id not in self._waits or not self._waiting[event.pool]:
            return
        self._waiting[event.pool] -= 1
        if not self._waiting[event.pool]:
            yield RequestQueueDrained(event.at, event.sequence, event.pool)

    def _fell(self, event: ev.RequestLimitDecreased) -> Iterator[Event]:
        if event.reason == "rate_limited":
            self._ceilings[event.pool] = max(event.before, self._ceilings.get(event.pool, 0))
        return iter(())

    def _rose(self, event: ev.RequestLimitIncreased) -> Iterator[Event]:
        ceiling = self._ceilings.get(event.pool)
        if ceiling is not None and event.after >= ceiling:
            del self._ceilings[event.pool]
            told = (event.at, event.sequence, event.pool)
            yield RequestSoftCeilingRecovered(*told, ceiling, event.after)


def _real_waits(events: Iterable[Event]) -> set[int]:
    """The waiters that waited: who is answered within the same instant did not."""
    began: dict[int, float] = {}
    waited: set[int] = set()
    for event in events:
        if isinstance(event, ev.RequestWaitStarted):
            began[event.waiter_id] = event.at
        elif isinstance(event, _ENDS):
            since = began.pop(event.waiter_id, None)
            if since is not None and event.at > since:
                waited.add(event.waiter_id)
    return waited | set(began)  # those who waited to the end of the record


_ENDS: Final = (ev.RequestLeaseAcquired, ev.RequestWaitCancelled, ev.RequestWaitTimeout)
_DERIVE: Final[Mapping[type, Callable[[_Deriving, Any], Iterator[Event]]]] = {
    ev.AdmissionDenied: _Deriving._denied,
    ev.SchedulerHealthSnapshot: _Deriving._snapshot,
    ev.TaskLeaseAcquired: _Deriving._leased,
    ev.QueueDrained: _Deriving._drained,
    ev.RequestWaitStarted: _Deriving._waits_now,
    ev.RequestLeaseAcquired: _Deriving._granted,
    ev.RequestWaitCancelled: _Deriving._gave_up,
    ev.RequestWaitTimeout: _Deriving._gave_up,
    ev.RequestLimitDecreased: _Deriving._fell,
    ev.RequestLimitIncreased: _Deriving._rose,
}
