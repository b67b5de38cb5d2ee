"""The law that no slot stays free while a task that may use it is waiting, read from the events.

It books slots and queues by itself: nothing of it comes from the ledger that it judges. So it also
says that a model that is sick, or slow, keeps no other from its work (F23).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from ddsched_nb.analysis.task_ids import lost_with
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import SHARED, DenyReason

__all__ = ["SlotsLaw"]


class SlotsLaw:
    """Follows a run; `broken` says what must not be, each in a sentence.

    Args:
        patience_s: How long a turn, or a worker that could not be spawned, may have to wait.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self.broken: list[str] = []
        self._free: Counter[str] = Counter()
        self._capacities: dict[str, int] = {}
        self._columns: tuple[str, ...] = ()
        self._needs: dict[str, dict[str, int]] = {}
        self._queued: dict[str, str] = {}
        self._waiting: Counter[str] = Counter()
        self._held: dict[str, dict[str, int]] = {}
        self._at = 0.0
        self._idle_since: dict[str, float] = {}
        self._watching = False

    def see(self, event: Any) -> None:
        """Takes the next event of the scheduler's stream."""
        if isinstance(event, ev.RequestEvent):
            return
        if event.at > self._at and self._watching:
            self._judge(event.at)
        self._at = event.at
        book = _BOOKS.get(type(event))
        if book is not None:
            book(self, event)

    def _judge(self, now: float) -> None:
        """Time passed, so every turn of the last instant was taken."""
        for flow, tasks in self._waiting.items():
            needs = self._needs.get(flow, {})
            could = tasks > 0 and all(self._free[r] >= n for r, n in needs.items())
            if not could:
                self._idle_since.pop(flow, None)
                continue
            since = self._idle_since.setdefault(flow, self._at)
            if now - since > self._patience_s:
                self.broken.append(
                    f"{tasks} tasks of {flow} waited from {since:.3f} to {now:.3f} s though "
                    f"{', '.join(needs)} were free"
                )
                self._idle_since[flow] = now

    def _started(self, event: ev.SchedulerJobStarted) -> None:
        self._free.update(event.capacities)
        self._capacities = dict(event.capacities)
        self._needs = {shape.flow: dict(shape.resources) for shape in event.flows.values()}
        self._columns = tuple(event.flows)
        self._watching = True

    def _resized(self, event: ev.TaskCapacityChanged) -> None:
        for name, capacity in event.capacities.items():
            self._free[name] += capacity - self._capacities[name]
            self._capacities[name] = capacity

    def _enqueued(self, event: ev.ReadyEnqueued) -> None:
        self._queued[event.task_id] = event.flow.label
        self._waiting[event.flow.label] += 1

    def _leased(self, event: ev.TaskLeaseAcquired) -> None:
        flow = self._queued.pop(event.task_id, None)
        if flow is None:
            self.broken.append(f"{event.task_id} got a lease and was not queued")
            return
        self._waiting[flow] -= 1
        self._held[event.task_id] = dict(self._needs.get(flow, {}))
        self._free.subtract(self._held[event.task_id])

    def _released(self, event: ev.TaskLeaseReleased) -> None:
        self._free.update(self._held.pop(event.task_id, {}))

    def _yielded(self, event: ev.TaskSlotsYielded) -> None:
        held = self._held.get(event.task_id)
        if held is None:
            self.broken.append(f"{event.task_id} steps aside and holds no lease")
            return
        self._free.update({name: held.pop(name) for name in SHARED & held.keys()})

    def _retaken(self, event: ev.TaskSlotsRetaken) -> None:
        held = self._held.get(event.task_id)
        if held is None:
            self.broken.append(f"{event.task_id} takes slots again and holds no lease")
            return
        for name in SHARED:
            held[name] = 1
            self._free[name] -= 1

    def _dropped(self, event: ev.NonRetryableDropped) -> None:
        for task_id in lost_with(event, self._queued, self._columns):
            self._waiting[self._queued.pop(task_id)] -= 1

    def _denied(self, event: ev.AdmissionDenied) -> None:
        if event.reason is DenyReason.AT_CEILING:
            self._watching = False  # a ceiling leaves slots free, and is asked for

    def _pauses(self, event: ev.RunPaused) -> None:
        self._watching = False

    def _completed(self, event: ev.SchedulerJobCompleted) -> None:
        self._watching = False
        if event.state != "finished":
            self.broken.clear()  # from some instant on nothing was to start

    def _goes_on(self, event: ev.RunResumed) -> None:
        self._watching, self._idle_since = True, {}


_BOOKS: dict[type, Callable[[SlotsLaw, Any], None]] = {
    ev.SchedulerJobStarted: SlotsLaw._started,
    ev.TaskCapacityChanged: SlotsLaw._resized,
    ev.ReadyEnqueued: SlotsLaw._enqueued,
    ev.TaskLeaseAcquired: SlotsLaw._leased,
    ev.TaskLeaseReleased: SlotsLaw._released,
    ev.TaskSlotsYielded: SlotsLaw._yielded,
    ev.TaskSlotsRetaken: SlotsLaw._retaken,
    ev.NonRetryableDropped: SlotsLaw._dropped,
    ev.AdmissionDenied: SlotsLaw._denied,
    ev.RunPaused: SlotsLaw._pauses,
    ev.SchedulerJobCompleted: SlotsLaw._completed,
    ev.RunResumed: SlotsLaw._goes_on,
}
