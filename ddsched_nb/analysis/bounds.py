"""What no schedule can beat, and what one that knows everything reaches.

The lower bound is the largest of three: the longest chain of tasks; the work of each model over the
capacity that exists for this client, between the earliest call it could get and what must still
follow the last; and the same for the scheduler's own slots, over any tasks that cannot start
before some instant (Graham 1969 and his followers, with head and tail). The oracle is list
scheduling in row order by somebody who knows the capacity at each instant, is never refused, has
every row group open and no overhead.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ddsched_nb.analysis.work import Call, TaskWork
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.core.model import ModelKey

__all__ = ["Bounds", "Endpoint", "compute_bounds", "lower_bound", "oracle_makespan"]


class Endpoint(NamedTuple):
    """A model as the bound sees it: what it is like, and what this client may use of it.

    Attributes:
        profile: What it is like.
        cap: The most that this client has in flight.
        held: Permits that others hold of that at first.
        held_until: When they give them back, in seconds.
    """

    profile: EndpointProfile
    cap: int
    held: int = 0
    held_until: float = 0.0

    @property
    def slots(self) -> int:
        """Calls at once that make sense at the most."""
        knee = None if self.profile.slowing == "soft" else self.profile.knee
        return min(self.cap, knee or self.cap)

    @property
    def closed_until(self) -> float:
        """Until when others hold all that this client may use."""
        return self.held_until if self.held >= self.cap else 0.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """What no schedule can beat, and what an oracle reaches. Virtual seconds.

    Attributes:
        lower_s: No schedule of this work is faster.
        binding: What it is that cannot be beaten.
        oracle_s: What an oracle takes.
    """

    lower_s: float
    binding: str
    oracle_s: float

    def describe(self, makespan_s: float) -> str:
        """How a makespan compares, in words."""
        if not self.lower_s:
            return "there was nothing to wait for"
        return (
            f"{makespan_s / self.lower_s:.3f} x the bound {self.lower_s:.2f} s ({self.binding}), "
            f"{makespan_s / self.oracle_s:.3f} x the oracle {self.oracle_s:.2f} s"
        )


def compute_bounds(
    works: Sequence[TaskWork],
    endpoints: Mapping[ModelKey, Endpoint],
    capacities: Mapping[str, int],
) -> Bounds:
    """Bound and oracle of some work.

    Args:
        works: The tasks, each after those it needs.
        endpoints: The models.
        capacities: The scheduler's resources.
    """
    lower, binding = lower_bound(works, endpoints, capacities)
    return Bounds(lower, binding, oracle_makespan(works, endpoints, capacities))


def lower_bound(
    works: Sequence[TaskWork],
    endpoints: Mapping[ModelKey, Endpoint],
    capacities: Mapping[str, int],
) -> tuple[float, str]:
    """A makespan that no schedule beats, in seconds, and what forbids it."""
    heads, tails = _heads(works, endpoints), _tails(works)
    longest = max((h + w.seconds for h, w in zip(heads, works, strict=True)), default=0.0)
    best = (longest, "longest chain")
    usage: dict[ModelKey, list[tuple[float, float, Call]]] = defaultdict(list)
    held: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for work, head, tail in zip(works, heads, tails, strict=True):
        for call in work.calls:
            usage[call.model].append((head, tail, call))
        for resource, units in work.holds.items():
            held[resource].append((head, tail, work.seconds * units))
    # The clock of an endpoint starts with its first request.
    first = {
        model.provider: min(
            h for m in usage if m.provider == model.provider for h, _, _ in usage[m]
        )
        for model in usage
    }
    for model, calls in usage.items():
        when = _model_bound(endpoints[model], calls, first[model.provider])
        best = max(best, (when, model.label))
    for resource, spans in held.items():
        when = _slots_bound(spans, capacities.get(resource, 1), best[0])
        best = max(best, (when, resource))
    return best


def _slots_bound(spans: Sequence[tuple[float, float, float]], capacity: int, known: float) -> float:
    """The work of those that cannot start before an instant must fit in after it; the worst one."""
    seconds = math.fsum(span[2] for span in spans) / capacity
    whole = min(head for head, _, _ in spans) + seconds + min(tail for _, tail, _ in spans)
    worst = took = 0.0
    tail = math.inf
    for head, after, units_s in sorted(spans, reverse=True):
        took += units_s
        tail = min(tail, after)
        worst = max(worst, head + took / capacity + tail)
    # Sums of many small numbers differ by a hair; a bound that is known already keeps its name.
    return worst if worst > max(whole, known) * (1 + 1e-9) else whole


def _model_bound(
    endpoint: Endpoint, calls: Sequence[tuple[float, float, Call]], first: float
) -> float:
    head = min(head for head, _, _ in calls)
    head = max(head, endpoint.closed_until)
    tail = min(tail for _, tail, _ in calls)
    lengths = sorted((call.work_s for _, _, call in calls), reverse=True)
    work, shortest = math.fsum(lengths), lengths[-1]
    profile = endpoint.profile
    filled = profile.curve.fill(work, start=head - first, cap=endpoint.slots)
    # What is served when capacity falls goes on: each slot lost may end one call more.
    spared = math.fsum(
        math.fsum(lengths[:slots]) for slots in profile.curve.losses(filled, cap=endpoint.slots)
    )
    if spared:
        left = max(0.0, work - spared)
        filled = profile.curve.fill(left, start=head - first, cap=endpoint.slots)
    filled += first
    paced = 0.0
    for per_minute, amount in (
        (profile.requests_per_minute, len(calls)),
        (profile.tokens_per_minute, sum(call.tokens for _, _, call in calls)),
    ):
        if per_minute is not None:
            burst = max(1.0, per_minute / 60 * profile.burst_s)
            paced = max(paced, (amount - burst) / per_minute * 60 + shortest)
    return max(filled, head + paced) + tail


def _heads(works: Sequence[TaskWork], endpoints: Mapping[ModelKey, Endpoint]) -> list[float]:
    """When each task can start at the earliest; none whose model others hold before they let go."""
    heads: list[float] = []
    for work in works:
        head = max((heads[n] + works[n].seconds for n in work.needs), default=0.0)
        if work.calls:
            head = max(head, endpoints[work.calls[0].model].closed_until)
        heads.append(head)
    return heads


def _tails(works: Sequence[TaskWork]) -> list[float]:
    """What must follow each task at the least."""
    tails = [0.0] * len(works)
    for place in range(len(works) - 1, -1, -1):
        after = tails[place] + works[place].seconds
        for need in works[place].needs:
            tails[need] = max(tails[need], after)
    return tails


def oracle_makespan(
    works: Sequence[TaskWork],
    endpoints: Mapping[ModelKey, Endpoint],
    capacities: Mapping[str, int],
) -> float:
    """The makespan of list scheduling that is told the capacity, in seconds."""
    return _Oracle(works, endpoints, capacities).run()


class _Oracle:
    """An event simulation of its own: no loop, no scheduler, nothing shared with what it judges."""

    def __init__(
        self,
        works: Sequence[TaskWork],
        endpoints: Mapping[ModelKey, Endpoint],
        capacities: Mapping[str, int],
    ) -> None:
        self._works = works
        self._endpoints = endpoints
        self._free = dict(capacities)
        self._missing = [len(work.needs) for work in works]
        self._feeds: list[list[int]] = [[] for _ in works]
        for place, work in enumerate(works):
            for need in work.needs:
                self._feeds[need].append(place)
        self._next_call = [0] * len(works)
        self._calling: dict[ModelKey, list[tuple[int, int]]] = {m: [] for m in endpoints}
        self._in_flight = dict.fromkeys(endpoints, 0)
        # When a request, or a token, of the burst is there again (generic cell rate algorithm).
        self._paced = {m: [0.0, 0.0] for m in endpoints}
        self._local: list[tuple[int, int]] = []
        self._events: list[tuple[float, int]] = []
        self._clock_starts: dict[str, float] = {}
        self._looks: set[float] = set()
        self._now = 0.0

    def run(self) -> float:
        """Runs to the end; returns when the last task ended."""
        for place in [place for place, missing in enumerate(self._missing) if not missing]:
            self._enter(place)
        last = 0.0
        while True:
            self._start()
            if not self._events:
                return last
            self._now, place = heapq.heappop(self._events)
            if place >= 0:
                last = self._now
                self._end(place)

    def _enter(self, place: int) -> None:
        work = self._works[place]
        if self._next_call[place] < len(work.calls):
            model = work.calls[self._next_call[place]].model
            heapq.heappush(self._calling[model], (work.priority, place))
        elif work.own_s and not work.calls:
            heapq.heappush(self._local, (work.priority, place))
        else:
            self._finish(place)

    def _end(self, place: int) -> None:
        work = self._works[place]
        for resource, units in work.holds.items():
            self._free[resource] += units
        if not work.calls:
            self._finish(place)
            return
        self._in_flight[work.calls[self._next_call[place]].model] -= 1
        self._next_call[place] += 1
        self._enter(place)

    def _finish(self, place: int) -> None:
        ended = [place]
        while ended:
            for fed in self._feeds[ended.pop()]:
                self._missing[fed] -= 1
                if not self._missing[fed]:
                    work = self._works[fed]
                    if work.own_s or work.calls:
                        self._enter(fed)
                    else:
                        ended.append(fed)

    def _start(self) -> None:
        waiting = []
        while self._local:
            entry = heapq.heappop(self._local)
            work = self._works[entry[1]]
            if self._has_room(work):
                self._hold(work)
                heapq.heappush(self._events, (self._now + work.own_s, entry[1]))
            else:
                waiting.append(entry)
                if len(waiting) > len(self._free):
                    break  # the same few resources are full for all the others too
        for entry in waiting:
            heapq.heappush(self._local, entry)
        for model, queue in self._calling.items():
            while queue and self._fits(model, queue[0][1]):
                place = heapq.heappop(queue)[1]
                self._in_flight[model] += 1
                self._hold(self._works[place])
                call = self._works[place].calls[self._next_call[place]]
                heapq.heappush(self._events, (self._now + call.work_s, place))

    def _has_room(self, work: TaskWork) -> bool:
        return all(self._free.get(r, units) >= units for r, units in work.holds.items())

    def _hold(self, work: TaskWork) -> None:
        for resource, units in work.holds.items():
            self._free[resource] -= units

    def _fits(self, model: ModelKey, place: int) -> bool:
        """Whether a call may start now; if only time can change that, says when to look again."""
        if not self._has_room(self._works[place]):
            return False
        endpoint = self._endpoints[model]
        if self._now < endpoint.held_until:
            self._look_again(endpoint.held_until)
            if self._in_flight[model] + endpoint.held >= endpoint.cap:
                return False
        since = self._now - self._clock_starts.setdefault(model.provider, self._now)
        curve = endpoint.profile.curve
        if self._in_flight[model] >= min(endpoint.slots, curve.at(since)):
            if self._in_flight[model] < endpoint.slots:
                self._look_again(self._now - since + curve.next_edge(since))
            return False
        return self._paces(model, endpoint.profile, place)

    def _paces(self, model: ModelKey, profile: EndpointProfile, place: int) -> bool:
        rates = (profile.requests_per_minute, profile.tokens_per_minute)
        if rates == (None, None):
            return True
        call = self._works[place].calls[self._next_call[place]]
        paced = self._paced[model]
        after = []
        for since, per_minute, amount in zip(paced, rates, (1, call.tokens), strict=True):
            if per_minute is None:
                after.append(since)
                continue
            due = max(since, self._now) + amount * 60 / per_minute
            burst = max(profile.burst_s, amount * 60 / per_minute)
            if due - burst > self._now + 1e-9:
                self._look_again(due - burst)
                return False
            after.append(due)
        self._paced[model] = after
        return True

    def _look_again(self, when: float) -> None:
        if when < math.inf and when not in self._looks:
            self._looks.add(when)
            heapq.heappush(self._events, (when, -1))
