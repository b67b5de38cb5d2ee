"""A limit for servers that never refuse, and only get slower: it goes where power is highest.

Power is throughput over latency. With n in flight it is n / L(n)^2, and highest where one more in a
hundred makes half a percent more latency (Kleinrock, "Power and deterministic rules of thumb for
probabilistic problems in computer communications", ICC 1979). Below that a server is idle, above it
requests wait for each other.

No latency is remembered as the right one: baselines drift when prompts grow longer or neighbours
come, and limits that keep one shrink without end or never again. Instead the limit is compared with
another a step away, in turns, a phase each in the order A B B A, until the difference is clear or
does not matter; so whatever drifts hits both alike (Kiefer and Wolfowitz, "Stochastic estimation of
the maximum of a regression function", 1952).
"""

from __future__ import annotations

import math

from ddsched_nb.core.limits.base import Cooldown, Signal
from ddsched_nb.core.model import OutcomeKind, Sample
from ddsched_nb.errors import ConfigError

START = 12
"""The limit before anything is known."""

# Latency that grows by this power of what is in flight is where more is no gain.
_BALANCE = 0.45
# Steps from small to large; after one that was taken the next is larger.
_STEPS = (1.19, 1.41, 2.0)
# A phase, in service times: what was sent in the other one must have ended; then what is sent in so
# many, and is at least so many answers, is looked at; then the limit stays until most of it has
# ended, or its latency would be that of the next phase. Who takes longer still counts too.
_SETTLE = 1.5
_LOOK = 3.0
_ANSWERS = 24.0
_STAY = 1.75
_WAIT = 2.0
# So many standard errors are clear; so many answers of each are enough whatever they say.
_CLEAR = 2.0
_ENOUGH = 300
# Service times between comparisons where nothing was found; they double.
_REST = 360.0
_LONGEST_REST = 1_440.0
# Half a step up was neither tried nor refuted: there it rests.
_RESTING = 1.09
_FOLLOW = 0.05


class _Phase:
    """A time at one of the two limits that are compared."""

    __slots__ = ("count", "end", "other", "squares", "start", "total")

    def __init__(self, start: float, end: float, *, other: bool) -> None:
        self.start = start
        self.end = end
        self.other = other
        self.total = self.squares = 0.0
        self.count = 0

    def add(self, logarithm: float) -> None:
        self.total += logarithm
        self.squares += logarithm * logarithm
        self.count += 1


class LatencyLimit:
    """Climbs to the highest power by comparing, and stays below what is refused.

    Args:
        cap: The limit never exceeds it; at least 1.
        start: The limit before anything is known; at least 1.
        pause_s: Seconds without grants when nothing is served and no refusal named a time.

    Raises:
        ConfigError: An argument is out of range.
    """

    name = "latency"
    cooldown: Cooldown = "spent"
    signals: tuple[Signal, ...] = ("refusals", "latency")

    def __init__(self, cap: int, *, start: int = START, pause_s: float = 1.0) -> None:
        if cap < 1 or start < 1:
            raise ConfigError(f"cap and start of a latency limit are {cap}, {start}; give >= 1")
        if pause_s < 0:
            raise ConfigError(f"pause_s of a latency limit is {pause_s}; give 0 or more seconds")
        self._cap = cap
        self._pause_s = pause_s
        self._base = self._other = min(cap, start)
        # How large the next step is, in each direction.
        self._steps = {True: len(_STEPS) - 1, False: 0}
        self._upwards = True
        self._searching = True
        self._failed = 0
        self._rest_until = -math.inf
        self._resting = self._base
        self._rest = _REST
        self._service_s: float | None = None
        self._phases: list[_Phase] = []
        self._started = 0
        self._difference = self._variance = 0.0
        self._pairs = self._answers = 0

    def on_sample(self, sample: Sample) -> None:
        if sample.outcome is OutcomeKind.RATE_LIMITED:
            self._on_refusal(sample)
        elif sample.outcome is OutcomeKind.SUCCESS:
            self._on_success(sample)

    def value(self, now: float) -> int:
        if now < self._rest_until:
            return self._resting
        return self._other if self._phases and self._phases[-1].other else self._base

    def next_change(self, now: float) -> float:
        rests = now < self._rest_until and self._resting < self._base
        return self._rest_until if rests else math.inf

    def pause(self, now: float) -> float:
        return self._pause_s if self._service_s is None else min(self._pause_s, self._service_s)

    def recap(self, cap: int) -> None:
        self._cap = cap
        self._base = min(self._base, cap)
        self._begin()

    def put(self, value: int, now: float) -> None:
        """Goes there, and compares its neighbours from there."""
        self._base = min(self._cap, value)
        self._rest_until = -math.inf
        self._begin()

    def forgive(self, now: float) -> None:
        """Has learned nothing from refusals but where it is now, and goes on from there."""

    def _begin(self) -> None:
        """Begins to compare the limit with another."""
        step = _STEPS[self._steps[self._upwards]]
        other = round(self._base * step if self._upwards else self._base / step)
        if other == self._base:
            other += 1 if self._upwards else -1
        self._other = max(1, min(self._cap, other))
        self._phases = []
        self._started = 0
        self._difference = self._variance = 0.0
        self._pairs = self._answers = 0

    def _on_success(self, sample: Sample) -> None:
        known = self._service_s
        self._service_s = sample.rtt if known is None else known + _FOLLOW * (sample.rtt - known)
        if sample.in_flight * 2 < sample.limit:
            return  # not in use: it says nothing about more
        if sample.now < self._rest_until:
            return
        if self._other == self._base:
            self._conclude(sample.now, more=not self._upwards)
            return
        self._place(sample)
        stay = _STAY * (self._service_s or 0.0)
        if not self._phases or sample.now >= self._phases[-1].end + stay:
            self._next_phase(sample.now)
        self._fold(sample.now)

    def _place(self, sample: Sample) -> None:
        """Counts a sample for the phase in which it was sent."""
        for phase in self._phases:
            if phase.start <= sample.sent_at < phase.end:
                in_use = sample.in_flight >= 0.9 * (self._other if phase.other else self._base)
                if in_use and sample.limit == (self._other if phase.other else self._base):
                    phase.add(math.log(max(sample.rtt, 1e-6)))
                return

    def _next_phase(self, now: float) -> None:
        # A B, B A, A B, ...: what drifts in one direction hits both alike.
        other = self._started % 4 in (1, 2)
        self._started += 1
        service = self._service_s or 0.0
        look = max(_LOOK, _ANSWERS / (self._other if other else self._base))
        start = now + _SETTLE * service
        self._phases.append(_Phase(start, start + look * service, other=other))

    def _fold(self, now: float) -> None:
        """Takes the oldest pair of phases in, once those who take long have answered."""
        late = (_STAY + _WAIT) * (self._service_s or 0.0)
        if len(self._phases) < 3 or now < self._phases[1].end + late:
            return
        pair = self._phases[:2]
        del self._phases[:2]
        base, other = sorted(pair, key=lambda phase: phase.other)
        if min(base.count, other.count) < 2:
            return
        self._difference += other.total / other.count - base.total / base.count
        for phase in pair:
            mean = phase.total / phase.count
            spread = max(0.0, phase.squares / phase.count - mean * mean)
            self._variance += spread / phase.count
        self._pairs += 1
        self._answers += min(base.count, other.count)
        self._judge(now)

    def _judge(self, now: float) -> None:
        ratio = math.log(self._other / self._base) * self._pairs
        elasticity = self._difference / ratio
        unsure = math.sqrt(self._variance) / abs(ratio)
        if abs(elasticity - _BALANCE) < _CLEAR * unsure and self._answers < _ENOUGH:
            return
        # Towards more if latency hardly grows, towards less if it grows nearly as fast.
        self._conclude(now, more=elasticity < _BALANCE)

    def _conclude(self, now: float, *, more: bool) -> None:
        step = self._steps[self._upwards]
        if more == self._upwards and self._other != self._base:
            self._base = self._other
            self._failed = 0
            self._rest = _REST
            if not self._searching:
                self._steps[self._upwards] = min(len(_STEPS) - 1, step + 1)
        elif step > 0:
            # The first search is over; from here on steps are small, and grow with success.
            self._searching = False
            self._steps[self._upwards] = step - 1
        else:
            self._searching = False
            self._upwards = not self._upwards
            self._failed += 1
            if self._failed >= 2:
                self._failed = 0
                self._rest_until = now + self._rest * (self._service_s or 0.0)
                self._resting = min(self._cap, round(self._base * _RESTING))
                self._rest = min(2 * self._rest, _LONGEST_REST)
        self._begin()

    def _on_refusal(self, sample: Sample) -> None:
        if sample.limit > self.value(sample.now) or sample.now < self._rest_until:
            return  # of a burst
        self._base = max(1, min(self._base, sample.served - 1))
        self._searching = False
        self._steps = {True: 0, False: 0}
        self._resting = self._base
        self._rest_until = sample.now + self._rest * (self._service_s or self._pause_s)
        self._begin()
