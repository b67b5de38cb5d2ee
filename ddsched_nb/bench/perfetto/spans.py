"""Reads slices from events: what lasted, from when to when, and which call belongs to which task.

Each kind of slice is opened by one kind of event and closed by others. What a cut record lacks is
closed at its first or last event and says so (`cut`). Times are microseconds from the first event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ddsched_nb.core import events as ev

__all__ = [
    "ROW_GROUPS",
    "SCHEDULER",
    "SLOTS",
    "Place",
    "Slices",
    "Span",
    "column_place",
    "pool_place",
    "read_slices",
]


class Place(NamedTuple):
    """A process of the trace: what is drawn together. Those of lower rank stand above."""

    rank: int
    name: str


SCHEDULER = Place(0, "scheduler")
ROW_GROUPS = Place(1, "row groups")
SLOTS = Place(2, "task slots")
_ASIDE = Place(3, "stepped aside")


def column_place(column: str) -> Place:
    """The process of the tasks of a column."""
    return Place(4, f"column {column}")


def pool_place(event: ev.RequestEvent) -> Place:
    """The process of the pool that an event concerns."""
    return Place(5, f"pool {event.pool.label}")


@dataclass(slots=True, eq=False)
class Span:
    """Something that lasted.

    Attributes:
        place: Its process.
        lane: The kind of track within it.
        name: What the viewer shows.
        kind: The kind of slice.
        start: When it began, in microseconds.
        end: When it ended.
        args: What else is known.
        linked: Whether an arrow starts or ends at it.
    """

    place: Place
    lane: str
    name: str
    kind: str
    start: int
    end: int
    args: dict[str, Any] = field(default_factory=dict)
    linked: bool = False

    @property
    def order(self) -> tuple[int, bool, int]:
        """By start; at one instant those that arrows meet, then the shortest: see `tracks`."""
        return self.start, not self.linked, self.end


class Slices(NamedTuple):
    """All slices, and the chains of those that arrows join: task, wait, request."""

    spans: list[Span]
    chains: list[list[Span]]


def read_slices(events: Iterable[tuple[int, ev.Event]], *, end: int, cut: bool) -> Slices:
    """Reads the slices of a record.

    Args:
        events: Events with their instants, in the order of time.
        end: The last instant.
        cut: Whether the record lacks its beginning.
    """
    reader = _Reader(cut)
    for at, event in events:
        act = _ACTS.get(type(event))
        if act is not None:
            act(reader, at, event)
    return reader.finish(end)


def split_task_id(task_id: str) -> tuple[str, int, int | None]:
    """Column, row group and row of a task, from the name that events give it."""
    head, _, last = task_id.rpartition("/")
    column, _, group = head.rpartition("/")
    if column and group.isdecimal():
        return column, int(group), int(last)
    return head, int(last), None


_Key = tuple[object, ...]


class _Reader:
    """What is open while the events go by."""

    def __init__(self, cut: bool) -> None:
        self._cut = cut
        self._open: dict[_Key, Span] = {}
        self._spans: list[Span] = []
        self._chains: list[list[Span]] = []
        self._chain_of: dict[_Key, list[Span]] = {}

    def begin(self, key: _Key, span: Span, **args: Any) -> Span:
        self._close(key, span.start, {"cut": "end"})
        span.args.update(args)
        self._open[key] = span
        return span

    def end(self, key: _Key, at: int, span: Callable[[int], Span], **args: Any) -> Span | None:
        """Closes a slice; `span` makes one whose beginning the record lacks."""
        if key not in self._open and self._cut:
            self.begin(key, span(0), cut="start")
        return self._close(key, at, args)

    def _close(self, key: _Key, at: int, args: dict[str, Any]) -> Span | None:
        span = self._open.pop(key, None)
        if span is not None:
            span.end = at
            span.args.update(args)
            self._spans.append(span)
        return span

    def is_open(self, key: _Key) -> bool:
        return key in self._open

    def wait_begins(self, key: _Key, span: Span, task_id: str | None) -> None:
        task = self._open.get(("task", task_id))
        self._chain_of[key] = [span] if task is None else [task, span]

    def granted(self, wait: _Key, permit: _Key) -> None:
        self._chain_of[permit] = self._chain_of.pop(wait, [])

    def refused(self, wait: _Key) -> None:
        self._chains.append(self._chain_of.pop(wait, []))

    def arrives(self, permit: _Key, span: Span) -> None:
        """The call that a permit was for: its request, or the permit alone where none was sent."""
        chain = self._chain_of.pop(permit, None)
        if chain:
            self._chains.append([*chain, span])

    def finish(self, end: int) -> Slices:
        for key in list(self._open):
            span = self._open[key]
            self._close(key, end, {"cut": "end"})
            if key[0] == "permit":
                self.arrives(key, span)
        self._chains += self._chain_of.values()
        chains = [chain for chain in self._chains if len(chain) > 1]
        for chain in chains:
            for span in chain:
                span.linked = True
        self._spans.sort(key=lambda span: span.order)
        return Slices(self._spans, chains)


def _group(event: ev.RowGroupAdmitted | ev.RowGroupCheckpointed, at: int) -> Span:
    number = event.row_group
    return Span(
        ROW_GROUPS, "open", f"row group {number}", "row_group", at, at, {"row_group": number}
    )


def _group_opens(read: _Reader, at: int, event: ev.RowGroupAdmitted) -> None:
    read.begin(("group", event.row_group), _group(event, at), rows=event.rows)


def _group_ends(read: _Reader, at: int, event: ev.RowGroupCheckpointed) -> None:
    ended = {"kept": event.rows_kept, "dropped": event.rows_dropped}
    read.end(("group", event.row_group), at, lambda start: _group(event, start), **ended)


_LeaseEvent = (
    ev.TaskLeaseAcquired | ev.TaskLeaseReleased | ev.TaskSlotsYielded | ev.TaskSlotsRetaken
)


def _lease(event: _LeaseEvent, at: int) -> Span:
    args = {"lease": event.lease_id, "task": event.task_id}
    return Span(SLOTS, "slot", event.task_id, "lease", at, at, args)


def _aside(event: _LeaseEvent, at: int) -> Span:
    args = {"lease": event.lease_id, "task": event.task_id}
    return Span(_ASIDE, "aside", event.task_id, "aside", at, at, args)


def _leased(read: _Reader, at: int, event: ev.TaskLeaseAcquired) -> None:
    borrowed = {"borrowed": True} if event.borrowed else {}
    read.begin(("lease", event.lease_id), _lease(event, at), **borrowed)


def _yielded(read: _Reader, at: int, event: ev.TaskSlotsYielded) -> None:
    read.end(("lease", event.lease_id), at, lambda start: _lease(event, start), then="yielded")
    read.begin(("aside", event.lease_id), _aside(event, at))


def _retaken(read: _Reader, at: int, event: ev.TaskSlotsRetaken) -> None:
    read.end(("aside", event.lease_id), at, lambda start: _aside(event, start), then="retaken")
    read.begin(("lease", event.lease_id), _lease(event, at), retaken=True)


def _released(read: _Reader, at: int, event: ev.TaskLeaseReleased) -> None:
    if read.is_open(("aside", event.lease_id)):
        read.end(("aside", event.lease_id), at, lambda start: _aside(event, start), then="released")
    else:
        read.end(("lease", event.lease_id), at, lambda start: _lease(event, start), then="released")


def _task(task_id: str, column: str, group: int, row: int | None, at: int) -> Span:
    name = f"{column} group {group}" if row is None else f"{column} {row}"
    args: dict[str, Any] = {"task": task_id, "row_group": group}
    return Span(column_place(column), "task", name, "task", at, at, args)


def _spawned(read: _Reader, at: int, event: ev.WorkerSpawned) -> None:
    span = _task(event.task_id, event.column, event.row_group, event.row, at)
    read.begin(("task", event.task_id), span)


def _completed(read: _Reader, at: int, event: ev.TaskCompleted) -> None:
    task_id = event.task_id

    def lacking(start: int) -> Span:
        return _task(task_id, *split_task_id(task_id), start)

    read.end(("task", task_id), at, lacking, outcome=event.outcome)


def _call(
    kind: str, event: ev.RequestEvent, ids: dict[str, Any], task: str | None, at: int
) -> Span:
    args = ids if task is None else {**ids, "task": task}
    return Span(pool_place(event), kind, task or event.pool.model, kind, at, at, args)


def _waits(read: _Reader, at: int, event: ev.RequestWaitStarted) -> None:
    key = ("wait", event.pool, event.waiter_id)
    span = _call("wait", event, {"waiter": event.waiter_id}, event.task_id, at)
    read.begin(key, span, waiters=event.waiters)
    if event.tokens:
        span.args["tokens"] = event.tokens
    read.wait_begins(key, span, event.task_id)


def _wait_ends(
    read: _Reader,
    at: int,
    event: ev.RequestLeaseAcquired | ev.RequestWaitTimeout | ev.RequestWaitCancelled,
    outcome: str,
) -> Span | None:
    def lacking(start: int) -> Span:
        return _call("wait", event, {"waiter": event.waiter_id}, None, start)

    return read.end(("wait", event.pool, event.waiter_id), at, lacking, outcome=outcome)


def _timed_out(read: _Reader, at: int, event: ev.RequestWaitTimeout) -> None:
    _wait_ends(read, at, event, "timeout")
    read.refused(("wait", event.pool, event.waiter_id))


def _cancelled(read: _Reader, at: int, event: ev.RequestWaitCancelled) -> None:
    _wait_ends(read, at, event, "cancelled")
    read.refused(("wait", event.pool, event.waiter_id))


def _acquired(read: _Reader, at: int, event: ev.RequestLeaseAcquired) -> None:
    waited = _wait_ends(read, at, event, "acquired")
    task = None if waited is None else waited.args.get("task")
    key = ("permit", event.pool, event.permit_id)
    span = _call("permit", event, {"permit": event.permit_id}, task, at)
    read.begin(key, span, in_flight=event.in_flight, limit=event.limit)
    read.granted(("wait", event.pool, event.waiter_id), key)


def _sent(read: _Reader, at: int, event: ev.ModelRequestStarted) -> None:
    span = _call("request", event, {"permit": event.permit_id}, event.task_id, at)
    read.begin(("request", event.pool, event.permit_id), span, attempt=event.attempt)
    read.arrives(("permit", event.pool, event.permit_id), span)


def _answered(read: _Reader, at: int, event: ev.ModelRequestCompleted) -> None:
    def lacking(start: int) -> Span:
        return _call("request", event, {"permit": event.permit_id}, event.task_id, start)

    key = ("request", event.pool, event.permit_id)
    read.end(key, at, lacking, outcome=event.outcome, tokens=event.tokens)


def _given_back(read: _Reader, at: int, event: ev.RequestLeaseReleased) -> None:
    def lacking(start: int) -> Span:
        return _call("permit", event, {"permit": event.permit_id}, None, start)

    key = ("permit", event.pool, event.permit_id)
    span = read.end(key, at, lacking, outcome=event.outcome)
    if span is not None:
        read.arrives(key, span)


_ACTS: dict[type[ev.Event], Callable[[_Reader, int, Any], None]] = {
    ev.RowGroupAdmitted: _group_opens,
    ev.RowGroupCheckpointed: _group_ends,
    ev.TaskLeaseAcquired: _leased,
    ev.TaskSlotsYielded: _yielded,
    ev.TaskSlotsRetaken: _retaken,
    ev.TaskLeaseReleased: _released,
    ev.WorkerSpawned: _spawned,
    ev.TaskCompleted: _completed,
    ev.RequestWaitStarted: _waits,
    ev.RequestWaitTimeout: _timed_out,
    ev.RequestWaitCancelled: _cancelled,
    ev.RequestLeaseAcquired: _acquired,
    ev.ModelRequestStarted: _sent,
    ev.ModelRequestCompleted: _answered,
    ev.RequestLeaseReleased: _given_back,
}
