"""Capacity that varies: shapes as values, and the step curve that they amount to.

A shape is a factor on the nominal capacity, a function of the seconds since the first request.
Shapes multiply. What they amount to is a curve of whole slots, constant between edges, which
answers what exists now, what existed until then, and when so much work fits in.
"""

from __future__ import annotations

import csv
import functools
import math
from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ddsched_nb.clients.described import Described, Seconds, draw
from ddsched_nb.errors import ConfigError

__all__ = [
    "CapacityCurve",
    "OtherTenants",
    "Outage",
    "Ramp",
    "RandomWalk",
    "Shape",
    "Sine",
    "load_steps",
]

Share = Annotated[float, Field(ge=0, le=1)]
Period = Annotated[float, Field(gt=0, allow_inf_nan=False)]

# A smooth shape changes so often in one period.
_RESOLUTION = 256


class _Shape(Described):
    @abstractmethod
    def factor(self, t: float) -> float:
        """The factor on the nominal capacity, from `t` seconds until the next edge."""

    @abstractmethod
    def next_edge(self, t: float) -> float:
        """When the factor may change next; infinite if never again."""


class Ramp(_Shape):
    """A slow start: capacity rises from a share of the nominal to all of it.

    Attributes:
        seconds: How long it takes.
        start: The share at the first request, in [0, 1]; at least one slot is there.
    """

    kind: Literal["ramp"] = "ramp"
    seconds: Period
    start: Share = 0.0

    def factor(self, t: float) -> float:
        return min(1.0, self.start + (1 - self.start) * t / self.seconds)

    def next_edge(self, t: float) -> float:
        return _tick(t, self.seconds / _RESOLUTION) if t < self.seconds else math.inf


class Sine(_Shape):
    """The tide of a day: capacity swings between a low share and all of it, from high to high.

    Attributes:
        period_s: From one high to the next, in seconds.
        low: The lowest share.
    """

    kind: Literal["sine"] = "sine"
    period_s: Period
    low: Share = 0.5

    def factor(self, t: float) -> float:
        swing = (1 + math.cos(2 * math.pi * t / self.period_s)) / 2
        return self.low + (1 - self.low) * swing

    def next_edge(self, t: float) -> float:
        return _tick(t, self.period_s / _RESOLUTION)


class RandomWalk(_Shape):
    """Capacity that wanders: each interval it goes a step up or down, and turns at the bounds.

    Attributes:
        every_s: Length of an interval, in seconds.
        step: How far a step goes, as a share of the nominal capacity.
        low: It turns here, and at 1.
        seed: Another seed, another walk.
    """

    kind: Literal["random_walk"] = "random_walk"
    every_s: Period
    step: Share = 0.1
    low: Share = 0.25
    seed: int = 0

    def factor(self, t: float) -> float:
        return _walked(self, round(t / self.every_s))

    def next_edge(self, t: float) -> float:
        return _tick(t, self.every_s)


class OtherTenants(_Shape):
    """Others who use the same endpoint: each interval they take another share of it.

    Attributes:
        share: What they take on average, in [0, 0.5]; between nothing and twice that.
        every_s: Length of an interval, in seconds.
        seed: Another seed, other tenants.
    """

    kind: Literal["other_tenants"] = "other_tenants"
    share: Annotated[float, Field(ge=0, le=0.5)]
    every_s: Period = 5.0
    seed: int = 0

    def factor(self, t: float) -> float:
        interval = round(t / self.every_s)
        return 1 - 2 * self.share * draw(f"tenants|{self.seed}|{interval}")[1]

    def next_edge(self, t: float) -> float:
        return _tick(t, self.every_s)


class Outage(_Shape):
    """A time in which only a share of the capacity is there, or none.

    Attributes:
        start_s: When it begins, in seconds since the first request.
        end_s: When it is over.
        left: What is left of the capacity, in [0, 1].
    """

    kind: Literal["outage"] = "outage"
    start_s: Seconds
    end_s: Seconds
    left: Share = 0.0

    @model_validator(mode="after")
    def _in_order(self) -> Outage:
        if self.end_s <= self.start_s:
            raise ValueError(f"end_s={self.end_s:g} is not after start_s={self.start_s:g}")
        return self

    def factor(self, t: float) -> float:
        return self.left if self.start_s <= t < self.end_s else 1.0

    def next_edge(self, t: float) -> float:
        return next((edge for edge in (self.start_s, self.end_s) if edge > t), math.inf)


Shape = Annotated[Ramp | Sine | RandomWalk | OtherTenants | Outage, Field(discriminator="kind")]


class CapacityCurve:
    """Whole slots over time, constant between edges; made as far as it is asked for.

    Args:
        nominal: The capacity before the first step.
        steps: `(seconds, capacity from then on)`, in order of time.
        shapes: Factors on it.
    """

    def __init__(
        self, nominal: int, steps: Sequence[tuple[float, int]] = (), shapes: Sequence[_Shape] = ()
    ) -> None:
        self._nominal = nominal
        self._steps = steps
        self._shapes = shapes
        # Edge i holds from _edges[i] on; _filled[i] slot-seconds existed before it.
        self._edges = [0.0]
        self._slots = [self._compute(0.0)]
        self._filled = [0.0]
        self._next = self._next_edge(0.0)

    @property
    def is_constant(self) -> bool:
        """Whether it never changes."""
        return not self._steps and not self._shapes

    def at(self, t: float) -> int:
        """The capacity `t` seconds after the first request."""
        if self._next <= t:
            self._extend(t)
        return self._slots[bisect_right(self._edges, t) - 1] if t > 0 else self._slots[0]

    def integral(self, until: float, *, cap: float = math.inf) -> float:
        """Slot-seconds that existed until `until`, of `cap` slots at the most."""
        if self._next <= until:
            self._extend(until)
        if cap < max(self._slots):
            return math.fsum(
                min(cap, slots) * (end - start) for start, end, slots in self._pieces(0.0, until)
            )
        last = bisect_right(self._edges, until) - 1
        since = max(0.0, until - self._edges[last])
        return self._filled[last] + self._slots[last] * since

    def fill(self, work: float, *, start: float = 0.0, cap: float = math.inf) -> float:
        """When so much work fits between `start` and then.

        Args:
            work: Slot-seconds.
            start: Seconds since the first request.
            cap: Slots that may be used at the most.

        Returns:
            Seconds since the first request; infinite if it never does.
        """
        now = start
        while work > 0:
            edge = self.next_edge(now)
            slots = min(cap, self.at(now))
            if slots * (edge - now) >= work:
                return now + work / slots
            if edge == math.inf:
                return math.inf
            work -= slots * (edge - now)
            now = edge
        return now

    def losses(self, until: float, *, cap: float = math.inf) -> list[int]:
        """How many slots were lost at each edge before `until`, counting `cap` of them."""
        lost = []
        edge = self.next_edge(0.0)
        while edge < until:
            place = bisect_right(self._edges, edge) - 1
            before, after = min(cap, self._slots[place - 1]), min(cap, self._slots[place])
            if after < before:
                lost.append(int(before - after))
            edge = self.next_edge(edge)
        return lost

    def next_edge(self, t: float) -> float:
        """When the capacity may change next after `t`; infinite if never again."""
        place = bisect_right(self._edges, t)
        if place < len(self._edges):
            return self._edges[place]
        if self._next < math.inf:
            self._extend(self._next)
            return self.next_edge(t)
        return math.inf

    def _pieces(self, start: float, end: float) -> list[tuple[float, float, int]]:
        edges = [*self._edges, math.inf]
        return [
            (max(start, since), min(end, edges[place + 1]), self._slots[place])
            for place, since in enumerate(self._edges)
            if since < end and edges[place + 1] > start
        ]

    def _extend(self, until: float) -> None:
        while self._next <= until:
            edge = self._next
            self._next = self._next_edge(edge)
            span = edge - self._edges[-1]
            self._filled.append(self._filled[-1] + self._slots[-1] * span)
            self._edges.append(edge)
            self._slots.append(self._compute(edge))

    def _next_edge(self, t: float) -> float:
        step = next((at for at, _ in self._steps if at > t), math.inf)
        return min([step, *(shape.next_edge(t) for shape in self._shapes)])

    def _compute(self, t: float) -> int:
        nominal = self._nominal
        for at, slots in self._steps:
            if at > t:
                break
            nominal = slots
        factors = [shape.factor(t) for shape in self._shapes]
        if nominal == 0 or any(
            factor == 0 and isinstance(shape, Outage)
            for shape, factor in zip(self._shapes, factors, strict=True)
        ):
            return 0
        # Only an outage takes the last slot.
        return max(1, round(nominal * math.prod(factors))) if factors else nominal


def load_steps(path: str | Path) -> tuple[tuple[float, int], ...]:
    """Reads a trace of capacity from a CSV file: lines of `seconds,capacity`; a header may come.

    Raises:
        ConfigError: The file cannot be read, or a line of it is not two numbers.
    """
    try:
        lines = list(csv.reader(Path(path).read_text(encoding="utf-8").splitlines()))
    except (OSError, ValueError) as error:
        raise ConfigError(f"capacity trace {str(path)!r} cannot be read: {error}") from error
    if lines and lines[0] and not lines[0][0].strip()[:1].isdigit():
        del lines[0]
    steps = []
    for number, line in enumerate(lines, 1):
        try:
            at, capacity = line
            steps.append((float(at), int(capacity)))
        except ValueError as error:
            raise ConfigError(
                f"row {number} of capacity trace {str(path)!r} is {','.join(line)!r}; "
                "write seconds,capacity"
            ) from error
    return tuple(steps)


def _tick(t: float, every: float) -> float:
    """The first multiple of `every` after `t`. `t` is one itself, up to rounding, or 0."""
    tick = (math.floor(t / every + 1e-9) + 1) * every
    return tick if tick > t else tick + every


def _walked(walk: RandomWalk, interval: int) -> float:
    """Where the walk is; the way there is remembered."""
    way = _way(walk)
    while len(way) <= interval:
        up = draw(f"walk|{walk.seed}|{len(way)}")[1] < 0.5
        place = way[-1] + (walk.step if up else -walk.step)
        if place > 1:
            place = 2 - place
        if place < walk.low:
            place = 2 * walk.low - place
        way.append(min(1.0, max(walk.low, place)))
    return way[interval]


@functools.lru_cache(maxsize=256)
def _way(walk: RandomWalk) -> list[float]:
    return [1.0]
