"""Why was it idle? Every idle slot of every resource, at every instant, has exactly one cause.

Pure functions of a whole record. Who claims an idle slot first, and so gives it its cause:

1. a pause of the run, all of them;
2. work that stands before the slot: of a pool, calls that wait for it, those first that would go
   out first (`pacing`, caps, then the limit; in a cooldown nobody would), and refused calls that
   may not go out yet; of the scheduler, queued tasks: those first that task admission lets pass
   (`scheduler_overhead`), then those it denies (`ceiling`, `debt`, `fairness`), then those that
   lack another resource;
3. work that has begun, or was begun: tasks that stepped aside, queued or running tasks that will
   call the pool, tasks that are put aside;
4. work that is not there, as much as will still come: nobody may bring it before the start, the
   row-group horizon keeps it out, or it waits for its inputs; and for the rest no work is left.

Where more slots are idle than there is work of one kind, the others go to the next. Records are
read with hindsight: that more work will come is known from its coming.
"""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import overload

from ddsched_nb.analysis.causes import CAUSES, IdleCause
from ddsched_nb.analysis.hindsight import Hindsight, in_time, look_back, overruns
from ddsched_nb.analysis.idle_pools import Pool, PoolBook
from ddsched_nb.analysis.idle_tasks import Claim, TaskBook
from ddsched_nb.core import events as ev
from ddsched_nb.errors import RecordError
from ddsched_nb.record import RunRecord
from ddsched_nb.reprs import brief, html_table, tell_whole, text_table

__all__ = ["IdleReport", "ResourceIdle", "explain_events", "explain_idle"]

Split = tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class ResourceIdle:
    """Why one resource was idle. Slot-seconds unless said otherwise.

    Attributes:
        name: The scheduler's resource, or the label of a pool.
        window_s: Seconds from its stream's first event to the last.
        capacity_s: What there was over the window.
        idle_s: What was not used.
        causes: What of it each cause explains, the greatest first.
        steps: When the causes changed, in seconds of the run's clock, and how many slots each then
            explains.
        lacking: What of `other_resource_full` is due to each resource that was full.
    """

    name: str
    window_s: float
    capacity_s: float
    idle_s: float
    causes: Mapping[IdleCause, float]
    steps: Sequence[tuple[float, Split]]
    lacking: Mapping[str, float]

    def share(self, cause: IdleCause) -> float:
        """What a cause explains, over what there was."""
        return self.causes.get(cause, 0.0) / self.capacity_s if self.capacity_s else 0.0

    def series(self, points: int = 400) -> list[tuple[float, dict[IdleCause, float]]]:
        """Idle slots by cause over time: means over as many equal spans as `points`.

        Args:
            points: How many spans.

        Returns:
            The start of each span, in seconds from the first step, with the mean number of slots
            that each cause explains in it.
        """
        if not self.steps or self.window_s <= 0:
            return []
        start, width = self.steps[0][0], self.window_s / points
        spans: list[dict[IdleCause, float]] = [defaultdict(float) for _ in range(points)]
        for at, until, split in self._segments():
            for index in range(int((at - start) / width), points):
                left, right = start + index * width, start + (index + 1) * width
                if left >= until:
                    break
                share = (min(until, right) - max(at, left)) / width
                for claim in split if share > 0 else ():
                    spans[index][claim.cause] += claim.slots * share
        return [(index * width, dict(found)) for index, found in enumerate(spans)]

    def _segments(self) -> Iterator[tuple[float, float, Split]]:
        end = self.steps[0][0] + self.window_s
        for place, (at, split) in enumerate(self.steps):
            yield at, self.steps[place + 1][0] if place + 1 < len(self.steps) else end, split


@dataclass(frozen=True, slots=True)
class IdleReport:
    """Why slots were idle, resource by resource. `print` tells it as a table.

    Attributes:
        scheduler: The scheduler's resources, by name.
        requests: The pools, by label.
    """

    scheduler: Mapping[str, ResourceIdle]
    requests: Mapping[str, ResourceIdle]

    def __getitem__(self, name: str) -> ResourceIdle:
        return (self.scheduler if name in self.scheduler else self.requests)[name]

    def __repr__(self) -> str:
        return brief(f"<IdleReport: {', '.join(self._foremost()) or 'nothing was idle'}>")

    def __str__(self) -> str:
        return text_table(_HEADS, self._cells())

    _repr_pretty_ = tell_whole

    def _repr_html_(self) -> str:
        return html_table(_HEADS, self._cells(), caption="why slots were idle")

    def _foremost(self) -> list[str]:
        return [
            f"{found.name} {found.share(cause):.0%} {cause}"
            for found in self.resources
            for cause in list(found.causes)[:1]
        ]

    @property
    def resources(self) -> tuple[ResourceIdle, ...]:
        """All of them."""
        return (*self.scheduler.values(), *self.requests.values())

    def _cells(self) -> list[tuple[str, ...]]:
        return [
            (
                found.name,
                str(cause),
                f"{seconds:.3f}",
                f"{found.share(cause):.1%}",
                _meaning(found, cause),
            )
            for found in self.resources
            for cause, seconds in found.causes.items()
        ]


_HEADS = ("resource", "cause", "slot-seconds", "of capacity", "what it means")


def _meaning(found: ResourceIdle, cause: IdleCause) -> str:
    """What a cause means, with the resource that was lacking most."""
    if cause is not IdleCause.OTHER_RESOURCE_FULL or not found.lacking:
        return CAUSES[cause]
    full, seconds = next(iter(found.lacking.items()))
    part = seconds / found.causes[cause]
    return f"{CAUSES[cause]}; {part:.0%} of it: {full}"


def explain_idle(
    record: RunRecord,
    *,
    service: Mapping[str, float] | None = None,
    bare_loop: Callable[[float], float] | None = None,
) -> IdleReport:
    """Says why slots were idle: for every resource, the time that each cause explains.

    A slot counts as used while it is leased. In real time that hides a loop that is late: where it
    is known what the tasks of a column take, a lease that lasts longer than that idles, and the
    scheduler is the cause.

    Args:
        record: A whole record.
        service: Seconds that a task of each column named takes.
        bare_loop: How long a bare event loop needs for a sleep of so many seconds, on the same
            machine at the same concurrency; as long as the sleep itself if None.

    Raises:
        RecordError: The record is cut.
    """
    if record.truncated:
        raise RecordError("the record is cut; causes need every event (RunConfig(record=path))")
    needed = bare_loop or float
    allowed = {column: needed(seconds) for column, seconds in (service or {}).items()}
    return explain_events(record.events, allowed)


def explain_events(
    events: Sequence[ev.Event], allowed: Mapping[str, float] | None = None
) -> IdleReport:
    """As `explain_idle`, for events of which the first may be missing.

    Args:
        events: The events, in order.
        allowed: Seconds that a task of each column may hold its slots.
    """
    ordered = in_time(events)
    reader = _Reader(look_back(ordered))
    if allowed:
        reader.expect(overruns(ordered, allowed))
    for at, event in ordered:
        if at > reader.now:
            reader.pass_time(at)
        reader.see(event)
    return reader.report()


class _Ledger:
    """The causes of one resource's idle slots over time."""

    __slots__ = ("ats", "begins", "capacity", "capacity_s", "ends", "name", "places", "seconds")

    def __init__(self, name: str, begins: float, ends: float) -> None:
        self.name, self.begins, self.ends = name, begins, ends
        self.capacity = 0
        self.capacity_s = 0.0
        self.ats = array("d")
        self.places = array("L")
        self.seconds: defaultdict[int, float] = defaultdict(float)

    def note(self, at: float, place: int, capacity: int) -> None:
        """From `at` on the slots are split as numbered."""
        if self.places and place == self.places[-1] and capacity == self.capacity:
            return
        if at >= self.ends:
            return
        self._close(at)
        self.ats.append(max(at, self.begins))
        self.places.append(place)
        self.capacity = capacity

    def summed(self, splits: Sequence[Split]) -> ResourceIdle:
        """All of it."""
        self._close(self.ends)
        causes: defaultdict[IdleCause, list[float]] = defaultdict(list)
        lacking: defaultdict[str, float] = defaultdict(float)
        for place, seconds in self.seconds.items():
            for cause, slots, lacks in splits[place]:
                causes[cause].append(slots * seconds)
                if lacks:
                    lacking[lacks] += slots * seconds
        found = {cause: math.fsum(parts) for cause, parts in causes.items()}
        ranked = dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))
        window = self.ends - self.begins
        steps = _Steps(self.ats, self.places, splits)
        idle = math.fsum(part for parts in causes.values() for part in parts)
        fullest = dict(sorted(lacking.items(), key=lambda pair: (-pair[1], pair[0])))
        return ResourceIdle(self.name, window, self.capacity_s, idle, ranked, steps, fullest)

    def _close(self, at: float) -> None:
        if self.places:
            seconds = at - self.ats[-1]
            self.seconds[self.places[-1]] += seconds
            self.capacity_s += self.capacity * seconds


class _Steps(Sequence[tuple[float, Split]]):
    """Changes, kept small: an instant and the number of a split each."""

    def __init__(self, ats: array[float], places: array[int], splits: Sequence[Split]) -> None:
        self._ats, self._places, self._splits = ats, places, splits

    def __len__(self) -> int:
        return len(self._ats)

    @overload
    def __getitem__(self, index: int) -> tuple[float, Split]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[float, Split]]: ...
    def __getitem__(self, index: int | slice) -> tuple[float, Split] | list[tuple[float, Split]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self._ats[index], self._splits[self._places[index]]


class _Reader:
    """Follows a record, and asks for the causes whenever time passes.

    Args:
        seen: What its end tells.
    """

    def __init__(self, seen: Hindsight) -> None:
        self.now = -math.inf
        self._seen = seen
        self._tasks = TaskBook(seen)
        self._pools = PoolBook(seen, self._tasks)
        self._ledgers: dict[str, _Ledger] = {}
        self._of_pools: dict[str, _Ledger] = {}
        self._numbers: dict[Split, int] = {}
        self._splits: list[Split] = []
        self._due: list[tuple[float, int, Pool | tuple[str, int]]] = []
        self._told = 0
        self._tasks_changed = False
        self._changed: dict[Pool, None] = {}

    def expect(self, overran: Iterator[tuple[float, str, int]]) -> None:
        """Leases that will last too long."""
        for at, task_id, lease_id in overran:
            self._told += 1
            self._due.append((at, self._told, (task_id, lease_id)))
        heapify(self._due)

    def see(self, event: ev.Event) -> None:
        """Takes the next event."""
        if not isinstance(event, ev.RequestEvent):
            if isinstance(event, ev.TaskLeaseReleased):
                self._pools.leased(event.task_id, -1)  # while it is known whose it is
            self._tasks_changed |= self._tasks.see(event)
            if isinstance(event, ev.TaskLeaseAcquired):
                self._pools.leased(event.task_id, 1)
            elif isinstance(event, ev.SchedulerJobStarted):
                self._tasks_changed = True
        elif self._pools.see(event):
            self._changed[self._pools.pools[event.pool]] = None
            for at, pool in self._pools.deadlines:
                self._told += 1
                heappush(self._due, (at, self._told, pool))
            self._pools.deadlines.clear()

    def pass_time(self, until: float) -> None:
        """Time goes on, from change to change."""
        self._settle()
        while self._due and self._due[0][0] < until:
            at, _, what = heappop(self._due)
            if at > self.now:
                self._settle()
                self.now = at
            if isinstance(what, Pool):
                self._pools.fall_due(what, at)
                self._changed[what] = None
            else:
                self._tasks.overran(*what)
                self._tasks_changed = True
        self._settle()
        self.now = until

    def report(self) -> IdleReport:
        """What was found."""
        self._settle()
        splits = self._splits
        wanted = self._wanted()
        scheduler = {
            name: ledger.summed(splits) for name, ledger in self._ledgers.items() if name in wanted
        }
        used = self._seen.used
        requests = {
            name: ledger.summed(splits) for name, ledger in self._of_pools.items() if name in used
        }
        return IdleReport(scheduler, requests)

    def _wanted(self) -> set[str]:
        """The resources that tasks asked for."""
        started, queued = self._seen.started, self._seen.queued
        shapes = started.flows.values() if started is not None else ()
        return {r for shape in shapes if queued[shape.flow] for r in shape.resources}

    def _settle(self) -> None:
        """Writes down why slots are idle from now on."""
        seen, tasks, now = self._seen, self._tasks, self.now
        if self._tasks_changed:
            self._tasks_changed = False
            self._changed = dict.fromkeys(self._pools.pools.values())
            if seen.started is not None and now >= seen.begins[False]:
                for name, claims in tasks.claims(now).items():
                    ledger = self._ledgers.get(name)
                    if ledger is None:
                        begins, ends = seen.begins[False], seen.ends[False]
                        ledger = self._ledgers[name] = _Ledger(name, begins, ends)
                    ledger.note(now, self._number(claims), tasks.capacities[name])
        for pool in self._changed:
            ledger = self._of_pools.get(pool.label)
            if ledger is None:
                ledger = self._of_pools[pool.label] = _Ledger(pool.label, now, seen.ends[True])
            claims = self._pools.claims(pool, now)
            ledger.note(now, self._number(claims), pool.capacity)
        self._changed.clear()

    def _number(self, claims: list[Claim]) -> int:
        split = _joined(claims)
        number = self._numbers.get(split)
        if number is None:
            number = self._numbers[split] = len(self._splits)
            self._splits.append(split)
        return number


def _joined(claims: list[Claim]) -> Split:
    """Each cause once."""
    if len(claims) < 2:
        return tuple(claims)
    slots: dict[tuple[IdleCause, str], int] = {}
    for cause, count, lacks in claims:
        slots[cause, lacks] = slots.get((cause, lacks), 0) + count
    return tuple(Claim(cause, count, lacks) for (cause, lacks), count in slots.items())
