"""Limits around a limit: one that starts slowly, and one that learns window by window.

A wrapper is a limit itself, so they compose: `RampLimit(WindowLimit(CeilingLimit(64)), ramp_s=30)`.

Source: the window is that of the windowed limit of Netflix's concurrency-limits; the ramp is the
start ramp of Data Designer pull request 661, for any limit.
"""

from __future__ import annotations

import math

from ddsched_nb.core.limits.base import Cooldown, Limit, Signal, put
from ddsched_nb.core.model import OutcomeKind, Sample
from ddsched_nb.errors import ConfigError


class _Around:
    """What both do: ask the limit inside."""

    def __init__(self, limit: Limit, what: str) -> None:
        self._limit = limit
        self.name = f"{what}({limit.name})"
        self.cooldown: Cooldown = limit.cooldown
        self.signals: tuple[Signal, ...] = limit.signals
        self.fair = bool(getattr(limit, "fair", False))

    def on_sample(self, sample: Sample) -> None:
        self._limit.on_sample(sample)

    def value(self, now: float) -> int:
        return self._limit.value(now)

    def next_change(self, now: float) -> float:
        return self._limit.next_change(now)

    def pause(self, now: float) -> float:
        return self._limit.pause(now)

    def recap(self, cap: int) -> None:
        self._limit.recap(cap)

    def forgive(self, now: float) -> None:
        self._limit.forgive(now)

    def put(self, value: int, now: float) -> None:
        """Puts the limit inside there."""
        put(self._limit, value, now)


class RampLimit(_Around):
    """Lets no more than a rising number out, from 1 to what the limit says, for some time.

    Args:
        limit: The limit.
        ramp_s: Seconds until it has its way, 0 or more.
        started_at: When the ramp begins, in seconds on the caller's clock.
    """

    def __init__(self, limit: Limit, *, ramp_s: float, started_at: float = 0.0) -> None:
        if not 0 <= ramp_s < math.inf:
            raise ConfigError(f"ramp_s of a ramp is {ramp_s}; give 0 or more seconds")
        super().__init__(limit, "ramp")
        self._ramp_s = ramp_s
        self._from = started_at

    def value(self, now: float) -> int:
        full = self._limit.value(now)
        passed = now - self._from
        if passed >= self._ramp_s or full <= 1:
            return full
        # The hair covers float rounding at the very instant that `next_change` names.
        return min(full, max(1, 1 + int((full - 1) * passed / self._ramp_s + 1e-6)))

    def next_change(self, now: float) -> float:
        full, value = self._limit.value(now), self.value(now)
        if value >= full:
            return self._limit.next_change(now)
        return self._from + self._ramp_s * value / (full - 1)

    def put(self, value: int, now: float) -> None:
        """Puts the limit inside there, and ends the ramp."""
        super().put(value, now)
        self._ramp_s = 0.0


class WindowLimit(_Around):
    """Hands a limit one sample a window instead of one a request.

    The sample of a window is its last, with the mean time of its successes; a refusal passes at
    once, since it is news. For limits that react to single latencies.

    Args:
        limit: The limit.
        window_s: Seconds of a window, above 0.
        at_least: Successes that a window has at least.
    """

    def __init__(self, limit: Limit, *, window_s: float = 1.0, at_least: int = 10) -> None:
        if not 0 < window_s < math.inf or at_least < 1:
            raise ConfigError(
                f"window_s and at_least of a window are {window_s}, {at_least}; give > 0 and >= 1"
            )
        super().__init__(limit, "window")
        self._window_s = window_s
        self._at_least = at_least
        self._opened_at = -math.inf
        self._total = 0.0
        self._count = 0

    def on_sample(self, sample: Sample) -> None:
        if sample.outcome is not OutcomeKind.SUCCESS:
            self._limit.on_sample(sample)
            return
        if self._count == 0:
            self._opened_at = sample.now
        self._total += sample.rtt
        self._count += 1
        whole = sample.now >= self._opened_at + self._window_s
        if whole and self._count >= self._at_least:
            self._limit.on_sample(sample._replace(rtt=self._total / self._count))
            self._total, self._count = 0.0, 0
