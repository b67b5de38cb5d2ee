"""Additive increase, multiplicative decrease, as the reference has it.

Source: Chiu and Jain, "Analysis of the increase and decrease algorithms for congestion avoidance in
computer networks" (1989); parameters and burst rule after Data Designer pull request 661 and #682.
"""

from __future__ import annotations

import math

from ddsched_nb.core.limits.base import Cooldown, Signal
from ddsched_nb.core.model import OutcomeKind, Sample
from ddsched_nb.errors import ConfigError


class AIMDLimit:
    """Falls by a factor when refused, grows by a step after enough successes.

    A burst of refusals is one decrease: a permit granted above the limit of now, or before the last
    decrease, says only what an earlier refusal has said. Successes count towards growth only while
    the limit is in use (at least half of it in flight).

    Args:
        cap: The limit never exceeds it; at least 1.
        started_at: When the start ramp begins, in seconds on the caller's clock.
        multiplicative_decrease_factor: What a refusal multiplies the limit by, in (0, 1).
        additive_increase_step: What growth adds, at least 1.
        successes_until_increase: Successes in a row that make it grow, at least 1.
        cooldown_s: Seconds without grants after a refusal that named no time, 0 or more.
        startup_ramp_s: Seconds in which the limit rises from 1 to `cap`; 0 starts at `cap`.

    Raises:
        ConfigError: An argument is out of range.
    """

    name = "aimd"
    cooldown: Cooldown = "always"
    signals: tuple[Signal, ...] = ("refusals",)

    def __init__(
        self,
        cap: int,
        *,
        started_at: float = 0.0,
        multiplicative_decrease_factor: float = 0.75,
        additive_increase_step: int = 1,
        successes_until_increase: int = 25,
        cooldown_s: float = 2.0,
        startup_ramp_s: float = 0.0,
    ) -> None:
        _require(cap >= 1, "cap", cap, "at least 1")
        factor, step = multiplicative_decrease_factor, additive_increase_step
        wanted = successes_until_increase
        _require(0 < factor < 1, "multiplicative_decrease_factor", factor, "a number in (0, 1)")
        _require(step >= 1, "additive_increase_step", step, "at least 1")
        _require(wanted >= 1, "successes_until_increase", wanted, "at least 1")
        _require(cooldown_s >= 0, "cooldown_s", cooldown_s, "0 or more seconds")
        _require(startup_ramp_s >= 0, "startup_ramp_s", startup_ramp_s, "0 or more seconds")
        self._cap = cap
        self._factor = factor
        self._step = step
        self._until_increase = wanted
        self._pause_s = cooldown_s
        self._limit = cap
        self._successes = 0
        self._lowered_at = -math.inf
        self._ramp_from = started_at
        self._ramp_s = startup_ramp_s
        self.ceiling: int | None = None

    def on_sample(self, sample: Sample) -> None:
        if sample.outcome is OutcomeKind.RATE_LIMITED:
            self._on_refusal(sample)
        elif sample.outcome is OutcomeKind.SUCCESS:
            self._on_success(sample)

    def value(self, now: float) -> int:
        if not self._ramping(now):
            return self._limit
        # The hair covers float rounding at the very instant that `next_change` names.
        grown = 1 + int((self._cap - 1) * (now - self._ramp_from) / self._ramp_s + 1e-6)
        return min(self._limit, max(1, grown))

    def next_change(self, now: float) -> float:
        value = self.value(now)
        if not self._ramping(now) or value >= self._limit:
            return math.inf
        return self._ramp_from + self._ramp_s * value / (self._cap - 1)

    def pause(self, now: float) -> float:
        return self._pause_s

    def recap(self, cap: int) -> None:
        # It starts at its cap, so one that was never refused goes to the new one.
        self._limit = cap if self.ceiling is None else min(self._limit, cap)
        self._cap = cap

    def put(self, value: int, now: float) -> None:
        """Goes there, and grows and falls from there as ever."""
        self._limit = min(self._cap, value)
        self._lowered_at = now
        self._successes = 0
        self._ramp_s = 0.0

    def forgive(self, now: float) -> None:
        """Grows again by itself."""

    def _ramping(self, now: float) -> bool:
        return self._ramp_s > 0 and self._cap > 1 and now < self._ramp_from + self._ramp_s

    def _on_refusal(self, sample: Sample) -> None:
        self._successes = 0
        value = self.value(sample.now)
        # On a ramp, or after growth, an old permit may show a limit below that of now.
        if sample.limit > value or sample.sent_at < self._lowered_at:
            return
        lowered = max(1, int(value * self._factor))
        if lowered < value:
            # Only a refusal that lowers the limit says where the ceiling was.
            self.ceiling = value
            self._limit = lowered
            self._lowered_at = sample.now
            self._ramp_s = 0.0

    def _on_success(self, sample: Sample) -> None:
        if sample.in_flight * 2 < sample.limit or self._ramping(sample.now):
            return
        self._successes += 1
        if self._successes >= self._until_increase and self._limit < self._cap:
            self._limit = min(self._cap, self._limit + self._step)
            self._successes = 0


def _require(holds: bool, field: str, value: object, expected: str) -> None:
    if not holds:
        raise ConfigError(f"{field} is {value!r}; give {expected}")
