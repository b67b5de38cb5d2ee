"""The story of one task, read from the events of its run: why it ran when it did.

When it was ready, who went before it and why, what it waited for at each moment, which lease and
which permits it had. A pure function of the events; it must not know how they are kept or shown.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from ddsched_nb.core import events as ev
from ddsched_nb.core.model import DenyReason, FlowKey
from ddsched_nb.errors import RecordError
from ddsched_nb.reprs import Printer, html_table, tell_whole, text_table

_DENIED = {
    DenyReason.RESOURCE_FULL: "{} is full",
    DenyReason.OVER_SHARE: "its flow holds its share of {}, and others could run",
    DenyReason.IN_DEBT: "its flow owes some of {}, and others could run",
    DenyReason.AT_CEILING: "its flow may borrow no more of {}",
}
_MOST_TOLD = 200


class StoryStep(NamedTuple):
    """Something that happened to a task, or to its flow while it waited.

    Attributes:
        at: When, in seconds of the run's clock.
        what: What, in words.
    """

    at: float
    what: str


class Overtaken(NamedTuple):
    """Tasks of one flow that were started between the moment a task was ready and its own start.

    Attributes:
        flow: Label of their flow.
        tasks: How many.
        why: Why they went first.
    """

    flow: str
    tasks: int
    why: str


class TaskStory(NamedTuple):
    """The story of one task. `print` tells it.

    Attributes:
        task_id: The task.
        flow: Label of its flow.
        ready_at: When all its inputs were there, in seconds of the run's clock.
        started_at: When it first got a lease; None if it never did.
        before: Who went before it in between.
        leases: Numbers of its leases, one for each time it was started.
        permits: Numbers of its permits, in order.
        outcome: How it ended; None if it has not.
        steps: What happened, in order.
    """

    task_id: str
    flow: str
    ready_at: float
    started_at: float | None
    before: tuple[Overtaken, ...]
    leases: tuple[int, ...]
    permits: tuple[tuple[str, int], ...]
    outcome: str | None
    steps: tuple[StoryStep, ...]

    def __str__(self) -> str:
        return text_table(("s", "what"), self._cells(), caption=self._title())

    def __repr__(self) -> str:
        return f"<TaskStory of {self.task_id}: {len(self.steps)} steps, {self.outcome}>"

    def _repr_pretty_(self, printer: Printer, cycle: bool) -> None:
        tell_whole(self, printer, cycle)

    def _repr_html_(self) -> str:
        return html_table(("s", "what"), self._cells(), caption=self._title())

    def _title(self) -> str:
        return f"{self.task_id}, of flow {self.flow}; seconds since it was ready"

    def _cells(self) -> list[tuple[str, str]]:
        return [(f"{step.at - self.ready_at:.3f}", step.what) for step in self.steps]


def find_task(events: Iterable[ev.Event], column: str, row: int) -> str:
    """The id of the task of a column that serves a row.

    Args:
        events: The events of the run.
        column: Name of the column.
        row: Number of the row.

    Raises:
        RecordError: No task of this column for this row was ever started.
    """
    last = None
    for event in events:
        if isinstance(event, ev.WorkerSpawned) and event.column == column and event.row == row:
            last = event.task_id
    if last is None:
        raise RecordError(
            f"no task of column {column!r} for row {row} is in the record; a column that serves "
            "whole row groups has tasks like 'column/0', and a cut record has only its last events"
        )
    return last


def tell(events: Sequence[ev.Event], task_id: str) -> TaskStory:
    """Tells the story of a task.

    Args:
        events: The events of its run, in order.
        task_id: The task, as events name it: `column/row_group/row`, or `column/row_group`.

    Raises:
        RecordError: The task is not among the events.
    """
    teller = _Teller(task_id)
    for event in events:
        teller.see(event)
    if teller.flow is None:
        raise RecordError(
            f"task {task_id!r} is not in the record; tasks are named 'column/row_group/row', and a "
            "cut record has only its last events"
        )
    return teller.story(teller.flow)


class _Teller:
    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        self.flow: FlowKey | None = None
        self._ready_at = math.nan
        self._started_at: float | None = None
        self._waits = False
        self._why = ""
        self._before: Counter[str] = Counter()
        self._preferred: set[str] = set()
        self._advised: Counter[str] = Counter()
        self._leases: list[int] = []
        self._permits: list[tuple[str, int]] = []
        self._waiters: set[tuple[str, int]] = set()
        self._ours: set[tuple[str, int]] = set()
        self._cooling: dict[str, tuple[float, str]] = {}
        self._outcome: str | None = None
        self._steps: list[StoryStep] = []

    def see(self, event: ev.Event) -> None:
        tell_it = _TOLD.get(type(event))
        if tell_it is not None:
            tell_it(self, event)

    def story(self, flow: FlowKey) -> TaskStory:
        own = flow.label
        before = tuple(
            Overtaken(label, tasks, self._reason(label == own, self._advised[label]))
            for label, tasks in sorted(self._before.items())
        )
        steps = self._steps
        if len(steps) > _MOST_TOLD:
            left = len(steps) - _MOST_TOLD
            steps = [*steps[:_MOST_TOLD], StoryStep(steps[-1].at, f"and {left} steps more")]
        return TaskStory(
            self.task_id,
            own,
            self._ready_at,
            self._started_at,
            before,
            tuple(self._leases),
            tuple(self._permits),
            self._outcome,
            tuple(steps),
        )

    @staticmethod
    def _reason(same: bool, advised: int) -> str:
        if same:
            return "earlier in the order of their common flow"
        tail = f", {advised} of them since theirs was open and its model was not" if advised else ""
        return f"by the turn of their flow{tail}"

    def _say(self, at: float, what: str) -> None:
        self._steps.append(StoryStep(at, what))

    # --- the scheduler's stream

    def enqueued(self, event: ev.ReadyEnqueued) -> None:
        if event.task_id != self.task_id:
            return
        if self.flow is None:
            self.flow, self._ready_at = event.flow, event.at
            self._say(event.at, "has all its inputs, and is queued")
        else:
            self._say(event.at, "is queued again")
        self._waits, self._why = True, ""

    def selected(self, event: ev.Selected) -> None:
        if self._waits and event.task_id != self.task_id:
            self._before[event.flow.label] += 1
            self._advised[event.flow.label] += event.task_id in self._preferred

    def denied(self, event: ev.AdmissionDenied) -> None:
        if not self._waits or event.flow != self.flow:
            return
        why = _DENIED[event.reason].format(event.resource)
        if why != self._why:
            self._why = why
            head = "" if event.task_id == self.task_id else f" ({event.task_id} is before it)"
            self._say(event.at, f"waits for a lease: {why}{head}")

    def skipped(self, event: ev.RequestPressureAdvisorySkipped) -> None:
        if self._waits and event.flow == self.flow:
            # The event comes just before that of the task that was preferred.
            self._preferred.add(event.preferred)
            if event.task_id == self.task_id:
                why = f"{event.pool.label} is under pressure ({event.reason})"
                self._say(event.at, f"is passed over for {event.preferred}: {why}")

    def leased(self, event: ev.TaskLeaseAcquired) -> None:
        if event.task_id != self.task_id:
            return
        self._waits = False
        if self._started_at is None:
            self._started_at = event.at
        self._leases.append(event.lease_id)
        went = sum(self._before.values())
        own = self._before[self.flow.label] if self.flow is not None else 0
        borrowed = ", borrowed above its flow's share" if event.borrowed else ""
        tasks = "task" if went == 1 else "tasks"
        before = f"; {went} {tasks} went before it, {own} of its own flow" if went else ""
        self._say(event.at, f"gets lease {event.lease_id}{borrowed}{before}")

    def yielded(self, event: ev.TaskSlotsYielded) -> None:
        if event.task_id == self.task_id:
            self._say(event.at, "steps aside: others may have its shared slots while it waits")

    def retaken(self, event: ev.TaskSlotsRetaken) -> None:
        if event.task_id == self.task_id:
            self._say(event.at, "has its slots again")

    def deferred(self, event: ev.RetryDeferred) -> None:
        if event.task_id == self.task_id:
            wait = event.not_before - event.at
            self._say(event.at, f"is put aside for {wait:.3g} s, round {event.round}")

    def dropped(self, event: ev.NonRetryableDropped) -> None:
        if event.task_id == self.task_id:
            self._say(event.at, f"drops its row: {event.error}")

    def completed(self, event: ev.TaskCompleted) -> None:
        if event.task_id == self.task_id:
            self._outcome = event.outcome
            self._say(event.at, f"ends: {event.outcome}")

    def released(self, event: ev.TaskLeaseReleased) -> None:
        if event.task_id == self.task_id:
            self._say(event.at, f"gives lease {event.lease_id} back")

    # --- the stream of request admission

    def waits(self, event: ev.RequestWaitStarted) -> None:
        if event.task_id != self.task_id:
            return
        where = event.pool.label
        self._waiters.add((where, event.waiter_id))
        until, why = self._cooling.get(where, (0.0, ""))
        reasons = [f"{event.waiters} wait for {where}"] if event.waiters > 1 else []
        if event.not_before > event.at:
            reasons.append(f"not before {event.not_before - event.at:.3g} s have passed")
        if until > event.at:
            reasons.append(f"which is cooling for {until - event.at:.3g} s ({why})")
        said = f": {', '.join(reasons)}" if reasons else f" of {where}"
        self._say(event.at, f"asks for a permit{said}")

    def permitted(self, event: ev.RequestLeaseAcquired) -> None:
        where = event.pool.label
        if (where, event.waiter_id) not in self._waiters:
            return
        self._waiters.discard((where, event.waiter_id))
        self._ours.add((where, event.permit_id))
        self._permits.append((where, event.permit_id))
        at_limit = f"{event.in_flight} of {event.limit} in flight"
        self._say(event.at, f"gets permit {event.permit_id} of {where}, {at_limit}")

    def gives_up(self, event: ev.RequestWaitTimeout | ev.RequestWaitCancelled) -> None:
        if (event.pool.label, event.waiter_id) in self._waiters:
            self._waiters.discard((event.pool.label, event.waiter_id))
            self._say(event.at, f"waits no more for {event.pool.label}")

    def answered(self, event: ev.ModelRequestCompleted) -> None:
        if event.task_id == self.task_id:
            took = f"{event.outcome} after {event.seconds:.3g} s"
            self._say(event.at, f"its call of {event.pool.label} ends: {took}")

    def refused(self, event: ev.RequestRateLimited) -> None:
        if (event.pool.label, event.permit_id) in self._ours and event.retry_after is not None:
            self._say(event.at, f"is asked to come back after {event.retry_after:.3g} s")

    def cools(self, event: ev.RequestCooldownStarted) -> None:
        self._cooling[event.pool.label] = (event.until, event.reason)


_TOLD: dict[type, Callable[[_Teller, Any], None]] = {
    ev.ReadyEnqueued: _Teller.enqueued,
    ev.Selected: _Teller.selected,
    ev.AdmissionDenied: _Teller.denied,
    ev.RequestPressureAdvisorySkipped: _Teller.skipped,
    ev.TaskLeaseAcquired: _Teller.leased,
    ev.TaskSlotsYielded: _Teller.yielded,
    ev.TaskSlotsRetaken: _Teller.retaken,
    ev.RetryDeferred: _Teller.deferred,
    ev.NonRetryableDropped: _Teller.dropped,
    ev.TaskCompleted: _Teller.completed,
    ev.TaskLeaseReleased: _Teller.released,
    ev.RequestWaitStarted: _Teller.waits,
    ev.RequestLeaseAcquired: _Teller.permitted,
    ev.RequestWaitTimeout: _Teller.gives_up,
    ev.RequestWaitCancelled: _Teller.gives_up,
    ev.ModelRequestCompleted: _Teller.answered,
    ev.RequestRateLimited: _Teller.refused,
    ev.RequestCooldownStarted: _Teller.cools,
}
