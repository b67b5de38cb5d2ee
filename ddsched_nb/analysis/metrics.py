"""How busy everything was: utilization and idleness of each resource, by the reference's formulas.

The formulas are those of the idle suite of Data Designer's pull request 661: the state after an
event holds until the next; every idle slot of an interval in which anything of the resource was
queued is *starved*, the other idle slots are the *frontier's* (nothing was ready for them).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ddsched_nb.analysis.pace import RunPace, run_pace
from ddsched_nb.analysis.task_ids import lost_with
from ddsched_nb.analysis.waits import Waits
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import SHARED, OutcomeKind
from ddsched_nb.errors import RecordError
from ddsched_nb.record import RunRecord
from ddsched_nb.reprs import brief, html_table, tell_whole, text_table

__all__ = ["Metrics", "ResourceMetrics", "Waits", "metrics", "useful_utilization"]


@dataclass(frozen=True, slots=True)
class ResourceMetrics:
    """One resource over its window. Slot-seconds unless said otherwise.

    Attributes:
        name: The scheduler's resource, or the label of a pool.
        window_s: Seconds from its stream's first event to the last.
        capacity_s: What there was: capacity (of a pool its highest cap so far, not its limit) over
            the window.
        busy_s: What was held.
        idle_s: What was not.
        starved_s: Idle while something of it was queued.
        max_in_flight: The most that was held at once, in slots.
        max_idle: The most that was idle at once, in slots.
        burstiness: Standard deviation of what is held over its mean.
        waits: From queued to held (the reference's ready-to-dispatch gap, or queue age).
        ready_idle_gap_s: The longest time, in seconds, in which some of it was free, something that
            wants it was queued, and nothing that does was started.
    """

    name: str
    window_s: float
    capacity_s: float
    busy_s: float
    idle_s: float
    starved_s: float
    max_in_flight: int
    max_idle: int
    burstiness: float
    waits: Waits
    ready_idle_gap_s: float = 0.0

    @property
    def active_capacity_s(self) -> float:
        """The reference's active-capacity integral: seconds of all of it that was held."""
        return self.utilization * self.window_s

    @property
    def frontier_s(self) -> float:
        """Idle while nothing of it was queued: no task had its inputs, or no row group was open."""
        return max(0.0, self.idle_s - self.starved_s)

    @property
    def utilization(self) -> float:
        """What was held, over what there was."""
        return self._share(self.busy_s)

    @property
    def idle_ratio(self) -> float:
        """What was idle, over what there was."""
        return self._share(self.idle_s)

    @property
    def starved_ratio(self) -> float:
        """What was starved, over what there was."""
        return self._share(self.starved_s)

    @property
    def frontier_ratio(self) -> float:
        """What was the frontier's, over what there was."""
        return self._share(self.frontier_s)

    def _share(self, seconds: float) -> float:
        return seconds / self.capacity_s if self.capacity_s else 0.0


@dataclass(frozen=True, slots=True)
class Metrics:
    """How busy everything was.

    Attributes:
        scheduler: The scheduler's resources, by name.
        requests: The pools, by label.
        leased_request_wait_s: Seconds that requests waited for a permit while their tasks held all
            slots of their leases, summed over requests. A task that stepped aside meanwhile
            (`slots_while_waiting="yield"`) holds only the slot of its model, and does not count.
        run: How the run went as a whole: rows, throughput, refusals, lags, what must be zero.
    """

    scheduler: Mapping[str, ResourceMetrics]
    requests: Mapping[str, ResourceMetrics]
    leased_request_wait_s: float
    run: RunPace

    def __repr__(self) -> str:
        return brief(f"<Metrics: utilization of {', '.join(self._used())}>")

    def __str__(self) -> str:
        return text_table(_HEADS, self._cells())

    _repr_pretty_ = tell_whole

    def _repr_html_(self) -> str:
        return html_table(_HEADS, self._cells(), caption="how busy everything was")

    def _used(self) -> list[str]:
        found = (*self.scheduler.values(), *self.requests.values())
        return [f"{each.name} {each.utilization:.3f}" for each in found]

    def _cells(self) -> list[tuple[str, ...]]:
        return [
            (
                found.name,
                f"{found.utilization:.3f}",
                f"{found.starved_ratio:.3f}",
                f"{found.frontier_ratio:.3f}",
                f"{found.max_in_flight}",
                f"{found.waits.p95:.3f}",
                f"{found.waits.max:.3f}",
            )
            for found in (*self.scheduler.values(), *self.requests.values())
        ]


_HEADS = ("resource", "utilization", "starved", "frontier", "most held", "wait p95 s", "max s")


@dataclass(slots=True)
class _Gauge:
    """One resource, while its events go by."""

    capacity: int
    held: int = 0
    queued: int = 0
    existed: float = 0.0
    busy: float = 0.0
    squares: float = 0.0
    idle: float = 0.0
    starved: float = 0.0
    most: int = 0
    most_idle: int = 0
    gap: float = 0.0
    longest_gap: float = 0.0
    waits: list[float] = field(default_factory=list)

    def pass_time(self, seconds: float) -> None:
        idle = max(0, self.capacity - self.held)
        self.existed += self.capacity * seconds
        self.busy += self.held * seconds
        self.squares += self.held**2 * seconds
        self.idle += idle * seconds
        self.most = max(self.most, self.held)
        self.most_idle = max(self.most_idle, idle)
        if self.queued > 0 and idle:
            self.starved += idle * seconds
            self.gap += seconds
            self.longest_gap = max(self.longest_gap, self.gap)
        else:
            self.gap = 0.0

    def start(self, waited: float) -> None:
        """Somebody who waited has it, or gave up."""
        self.waits.append(waited)
        self.gap = 0.0

    def summed(self, name: str, window: float) -> ResourceMetrics:
        mean = self.busy / window if window else 0.0
        variance = max(0.0, self.squares / window - mean**2) if window else 0.0
        return ResourceMetrics(
            name,
            window,
            self.existed,
            self.busy,
            self.idle,
            self.starved,
            self.most,
            self.most_idle,
            math.sqrt(variance) / mean if mean else 0.0,
            Waits.of(self.waits),
            self.longest_gap,
        )

    @property
    def matters(self) -> bool:
        return bool(self.busy or self.starved or self.waits)


def metrics(record: RunRecord) -> Metrics:
    """How busy the scheduler's resources and the pools were.

    Args:
        record: A whole record.

    Raises:
        RecordError: The record is cut.
    """
    if record.truncated:
        raise RecordError("the record is cut; metrics need every event (RunConfig(record=path))")
    leased: _Spans = defaultdict(list)
    scheduler = _scheduler_gauges(record, leased)
    requests, waited = _request_gauges(record, leased)
    return Metrics(scheduler, requests, waited, run_pace(record.events))


def useful_utilization(record: RunRecord, profiles: Sequence[EndpointProfile]) -> float:
    """Seconds of service that led to an answer, over those that capacity existed for.

    Args:
        record: A whole record.
        profiles: The models that are counted, by id; a model that nobody asked counts as well.

    Returns:
        A share; what a call spent on its way counts as service, since a record cannot tell.
    """
    events = record.events
    ended = record.select(ev.SchedulerJobCompleted)
    if not ended:
        return 0.0
    span = ended[-1].at - events[0].at
    named = {profile.model for profile in profiles}
    served = math.fsum(
        event.seconds
        for event in record.select(ev.ModelRequestCompleted)
        if event.outcome is OutcomeKind.SUCCESS and event.pool.model in named
    )
    existed = math.fsum(profile.capacity_integral(span) for profile in profiles)
    return served / existed if existed else 0.0


_Spans = defaultdict[str, list[tuple[float, float]]]
"""From when to when each task held its lease with all that is in it, perhaps several times."""


def _scheduler_gauges(record: RunRecord, leased: _Spans) -> dict[str, ResourceMetrics]:
    """The scheduler's resources; notes in `leased` when tasks held their leases."""
    started = record.select(ev.SchedulerJobStarted)
    if not started:
        return {}
    gauges = {name: _Gauge(max(1, n)) for name, n in started[0].capacities.items()}
    resources = {shape.flow: shape.resources for shape in started[0].flows.values()}
    holds: dict[str, Mapping[str, int]] = {}
    queued_at: dict[str, float] = {}
    first = last = started[0].at
    for event in record.events:
        if isinstance(event, ev.RequestEvent):
            continue
        for gauge in gauges.values() if event.at > last else ():
            gauge.pass_time(event.at - last)
        last = max(last, event.at)
        if isinstance(event, ev.TaskCapacityChanged):
            for name, capacity in event.capacities.items():
                # As the reference has it: the most that there ever was, from then on.
                gauges[name].capacity = max(gauges[name].capacity, capacity)
        elif isinstance(event, ev.ReadyEnqueued):
            holds[event.task_id] = resources.get(event.flow.label, {})
            queued_at[event.task_id] = event.at
            for name, units in holds[event.task_id].items():
                gauges[name].queued += units
        elif isinstance(event, ev.TaskLeaseAcquired):
            waited = event.at - queued_at.pop(event.task_id, event.at)
            for name, units in holds.get(event.task_id, {}).items():
                gauges[name].queued -= units
                gauges[name].start(waited)
        elif isinstance(event, ev.NonRetryableDropped):
            for task_id in lost_with(event, queued_at, started[0].flows):
                del queued_at[task_id]
                for name, units in holds[task_id].items():
                    gauges[name].queued -= units
        _hold(event, gauges, holds, leased)
    return {n: gauge.summed(n, last - first) for n, gauge in gauges.items() if gauge.matters}


def _hold(
    event: ev.Event,
    gauges: Mapping[str, _Gauge],
    holds: Mapping[str, Mapping[str, int]],
    leased: _Spans,
) -> None:
    """Books what a task takes or gives back. One that stepped aside keeps its model's slot."""
    if isinstance(event, ev.TaskLeaseAcquired | ev.TaskSlotsRetaken):
        leased[event.task_id].append((event.at, math.inf))
        sign = 1
    elif isinstance(event, ev.TaskLeaseReleased | ev.TaskSlotsYielded):
        spans = leased[event.task_id]
        if spans and spans[-1][1] == math.inf:
            spans[-1] = (spans[-1][0], event.at)
        elif isinstance(event, ev.TaskLeaseReleased):
            # It ended while it stood aside: what it had left were the slots of its models.
            holds = {event.task_id: _without_shared(holds.get(event.task_id, {}))}
        sign = -1
    else:
        return
    units = holds.get(event.task_id, {})
    if isinstance(event, ev.TaskSlotsRetaken | ev.TaskSlotsYielded):
        units = {name: n for name, n in units.items() if name in SHARED}
    for name, n in units.items():
        gauges[name].held += sign * n


def _without_shared(units: Mapping[str, int]) -> dict[str, int]:
    return {name: n for name, n in units.items() if name not in SHARED}


def _request_gauges(
    record: RunRecord, leased: Mapping[str, Sequence[tuple[float, float]]]
) -> tuple[dict[str, ResourceMetrics], float]:
    """The pools, and how long requests waited under a lease."""
    gauges: dict[str, _Gauge] = {}
    waiting: dict[int, tuple[float, str | None]] = {}
    waited = 0.0
    first = last = None
    for event in record.events:
        if not isinstance(event, ev.RequestEvent):
            continue
        if first is None or last is None:
            first = last = event.at
        for gauge in gauges.values() if event.at > last else ():
            gauge.pass_time(event.at - last)
        last = max(last, event.at)
        label = event.pool.label
        if isinstance(event, ev.RequestResourceRegistered):
            gauges[label] = _Gauge(max(1, event.cap))
        elif isinstance(event, ev.RequestEffectiveCapChanged):
            gauges[label].capacity = max(gauges[label].capacity, event.cap)
        elif isinstance(event, ev.RequestWaitStarted):
            waiting[event.waiter_id] = (event.at, event.task_id)
            gauges[label].queued += 1
        elif isinstance(event, ev.RequestLeaseReleased):
            gauges[label].held -= 1
        elif isinstance(event, _WAIT_ENDS) and event.waiter_id in waiting:
            since, task_id = waiting.pop(event.waiter_id)
            gauges[label].queued -= 1
            gauges[label].start(event.at - since)
            for start, end in leased.get(task_id or "", ()):
                waited += max(0.0, min(end, event.at) - max(start, since))
        if isinstance(event, ev.RequestLeaseAcquired):
            gauges[label].held += 1
    window = 0.0 if first is None or last is None else last - first
    found = {n: gauge.summed(n, window) for n, gauge in gauges.items() if gauge.matters}
    return found, waited


_WAIT_ENDS = (ev.RequestLeaseAcquired, ev.RequestWaitTimeout, ev.RequestWaitCancelled)
