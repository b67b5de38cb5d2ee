"""A limit that remembers what was really served, and stays there.

Additive increase and multiplicative decrease pay for every refusal with a quarter of the limit, and
then wait for hundreds of answers to learn again what the refusal had just said: how much is served.
This limit takes that number. It searches by doubling, returns to what was served when it is
refused, asks for one more now and then, and grows fast when that is granted.

Source: the search is slow start (Jacobson 1988); the memory of the ceiling and the probing beside
it are after CUBIC (Ha, Rhee, Xu 2008), with the exact count of what was served in place of a curve.
"""

from __future__ import annotations

import math

from ddsched_nb.core.limits.base import Cooldown, Signal
from ddsched_nb.core.model import OutcomeKind, Sample
from ddsched_nb.errors import ConfigError

START = 12
"""The limit before anything is known: neither a burst nor a crawl."""

# Probes: at first each so many service times, and never oftener than costs one refusal in so many
# answers, or one in so many service times where few are served at once.
_EARLY_PROBE = 2.0
_ANSWERS_A_PROBE = 1_250.0
_RAREST_PROBE = 60.0
# After a loss, a recovery is looked for as often as each tenth of the time since.
_SHARE_OF_LOSS = 0.1
# Refusals in a row, within a service time each, mean that much is gone: steps double, up to this
# share of the limit.
_FALL = 0.15
_SMOOTHING = 0.05
# More than this share below what is usual is a loss, and what was usual is remembered for so many
# service times.
_LOSS = 0.2
_MEMORY = 20.0
_AFTER_A_FALL = 8.0
_RAREST_AFTER_A_LOSS = 10.0
# What is gone for so many service times is not expected back.
_FORGOTTEN = 1_000.0
_STRIDE = 0.25
# A service time where nothing was served yet, and nobody said how long to pause.
_UNKNOWN_S = 1.0
_AFTER_A_RISE = 3.0
# This share of the slots is left free, one at a time for a service time: where all are taken at all
# times, nobody who comes later is ever served.
_BREATH = 0.003
_FAIR_BREATH = 0.01
# Fair among others: whoever loses or gains a slot has company for so many service times. Meanwhile
# each refusal leaves this share of the limit to others; it grows by one after so many answers, or
# service times where few are served, and fast after so
# many gains in a row.
_LOST_TO_OTHERS = 150.0
_GAINED_FROM_OTHERS = 50.0
_LEFT = 1 / 16
_ANSWERS_A_STEP = 120.0
_RAREST_STEP = 30.0
_GAINS = 3


class CeilingLimit:
    """Stays at what was really served, and probes for more.

    Args:
        cap: The limit never exceeds it; at least 1.
        start: The limit before anything is known; at least 1.
        pause_s: Seconds without grants when nothing is served and no refusal named a time.
        fair: Whether to share with others who use the same endpoint and are fair too, at the cost
            of a few hundredths of a capacity that moves. Otherwise who came first keeps most.

    Raises:
        ConfigError: An argument is out of range.
    """

    name = "ceiling"
    cooldown: Cooldown = "spent"
    signals: tuple[Signal, ...] = ("refusals",)

    def __init__(
        self, cap: int, *, start: int = START, pause_s: float = 1.0, fair: bool = False
    ) -> None:
        if cap < 1 or start < 1:
            raise ConfigError(f"cap and start of a ceiling limit are {cap}, {start}; give >= 1")
        if pause_s < 0:
            raise ConfigError(f"pause_s of a ceiling limit is {pause_s}; give 0 or more seconds")
        self._cap = cap
        self._pause_s = pause_s
        self._limit = min(cap, start)
        self._service_s: float | None = None
        self._step = 0
        self._drop = 1
        self._changed_at = -math.inf
        self._lowered_at = -math.inf
        self._lost_at: float | None = None
        self._lost_from = 0.0
        self._usual = float(self._limit)
        self._gap = _EARLY_PROBE
        self._probe_at = math.inf
        self._breath_until = -math.inf
        self._answers = 0
        self.fair = fair
        self._company_until = -math.inf
        self._owed = 0.0
        self._gains = 0
        self.ceiling: int | None = None

    def on_sample(self, sample: Sample) -> None:
        if sample.outcome is OutcomeKind.RATE_LIMITED:
            self._on_refusal(sample)
        elif sample.outcome is OutcomeKind.SUCCESS:
            self._on_success(sample)

    def value(self, now: float) -> int:
        return self._limit - self._leaves_one(now)

    def next_change(self, now: float) -> float:
        return self._breath_until if self._leaves_one(now) else math.inf

    def pause(self, now: float) -> float:
        return self._pause_s if self._service_s is None else min(self._pause_s, self._service_s)

    def recap(self, cap: int) -> None:
        self._cap = cap
        self._limit = min(self._limit, cap)

    def put(self, value: int, now: float) -> None:
        """Goes there, and takes it for what is served until a probe finds more."""
        self._limit = self.ceiling = min(self._cap, value)
        self._changed_at = now
        self._step = self._gains = 0
        self._lost_at, self._usual, self._gap = None, float(self._limit), _EARLY_PROBE
        self._breath_until = -math.inf
        self._plan_probe(now, self._service_s or self._pause_s or _UNKNOWN_S)

    def forgive(self, now: float) -> None:
        self.ceiling = self._lost_at = None
        self._changed_at = now

    def _on_success(self, sample: Sample) -> None:
        self._usual += (self._limit - self._usual) / (_MEMORY * self._limit)
        known = self._service_s
        self._service_s = sample.rtt if known is None else known + _SMOOTHING * (sample.rtt - known)
        self._breathe(sample.now, self._service_s)
        # Proof of the limit: a call that went out at it, with as many being served.
        if sample.sent_at < self._changed_at or sample.served < self._limit:
            return
        if self._limit >= self._cap:
            return
        if self.ceiling is None:
            self._grow(sample.now, self._limit)
        elif self._limit > self.ceiling:
            # More is served than before: it has risen, and may have risen by much.
            self.ceiling = self._limit
            if self._limit >= (1 - _LOSS) * self._lost_from:
                self._lost_at = None
            self._gap = _AFTER_A_RISE
            self._gains += 1
            self._meet(sample.now, _GAINED_FROM_OTHERS * self._service_s)
            if sample.now < self._company_until and self._gains < _GAINS:
                self._plan_probe(sample.now, self._service_s)
                return
            self._step = max(1, min(2 * self._step, int(_STRIDE * self._limit)))
            self._grow(sample.now, self._step)
        elif sample.now >= self._probe_at:
            self._grow(sample.now, 1)

    def _leaves_one(self, now: float) -> bool:
        return now < self._breath_until and self._limit > 1

    def _breathe(self, now: float, service: float) -> None:
        """Leaves a slot free for a service time, after so many answers."""
        self._answers += 1
        if self._answers < 1 / (_FAIR_BREATH if self.fair else _BREATH):
            return
        self._answers = 0
        if self._limit == self.ceiling and now >= self._company_until:
            self._breath_until = now + service

    def _meet(self, now: float, seconds: float) -> None:
        """Something that others may have done; a loss that is looked for is none of it."""
        if self.fair and self._lost_at is None:
            self._company_until = max(self._company_until, now + seconds)

    def _grow(self, now: float, step: int) -> None:
        self._limit = min(self._cap, self._limit + step)
        self._changed_at = now

    def _on_refusal(self, sample: Sample) -> None:
        if sample.sent_at < self._changed_at or sample.limit > self._limit:
            return  # of a burst, or of what was known before: it says nothing new
        service = self._service_s or self._pause_s or _UNKNOWN_S
        served = max(1, sample.served - 1)
        ceiling = self.ceiling
        if ceiling is not None and self._limit > ceiling and served >= ceiling:
            # A probe that failed: what is known holds, and is asked less often.
            self._gap = min(2 * self._gap, self._rarest(ceiling))
            lowered = max(ceiling, min(served, self._limit - 1))
        elif ceiling is None or self._limit > ceiling:
            # The end of the search.
            self._gap = self._rarest(served)
            lowered = min(served, self._limit)
            if self.fair and sample.served <= 1:
                # Nothing of ours is served, and so nothing of ours was lost.
                self._usual = 1.0
                self._meet(sample.now, _LOST_TO_OTHERS * service)
        else:
            # What was served is served no more.
            again = sample.now - self._lowered_at < service
            self._drop = min(2 * self._drop, int(_FALL * self._limit) + 1) if again else 1
            lowered = min(served, self._limit - self._drop)
            self._lose(sample.now, lowered, service, again=again)
        if sample.now < self._company_until:
            lowered -= self._left_to_others(lowered)
        self._limit = self.ceiling = max(1, lowered)
        self._lowered_at = self._changed_at = sample.now
        self._step = self._gains = 0
        self._plan_probe(sample.now, service)

    def _lose(self, now: float, left: int, service: float, *, again: bool) -> None:
        if self.fair and not again:
            # What goes little by little is somebody else's gain, and no loss to be looked for.
            self._usual -= min(self._usual - left, self._limit - left)
        self._note_loss(now, left)
        if not again:
            self._meet(now, _LOST_TO_OTHERS * service)

    def _left_to_others(self, limit: int) -> int:
        """Slots to leave; fractions add up, so that a small limit leaves one now and then."""
        self._owed += _LEFT * limit
        slots = int(self._owed)
        self._owed -= slots
        return slots

    def _note_loss(self, now: float, left: int) -> None:
        """Remembers since when much is gone; a slot or two are no loss worth looking for."""
        if left >= (1 - _LOSS) * self._usual:
            self._gap = max(self._gap, _AFTER_A_FALL)
        elif self._lost_at is None:
            self._lost_at, self._lost_from = now, self._usual

    def _plan_probe(self, now: float, service: float) -> None:
        gap = self._gap
        if now < self._company_until:
            gap = min(_RAREST_STEP, _ANSWERS_A_STEP / self._limit)
        if self._lost_at is not None:
            gone = (now - self._lost_at) / service
            gap = min(max(_EARLY_PROBE, _SHARE_OF_LOSS * gone), _RAREST_AFTER_A_LOSS)
            if gone > _FORGOTTEN:
                self._lost_at = None
        self._probe_at = now + gap * service

    def _rarest(self, served: int) -> float:
        """Service times between probes at the most."""
        return min(_RAREST_PROBE, max(_EARLY_PROBE, _ANSWERS_A_PROBE / served))
