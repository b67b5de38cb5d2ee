"""A limit that never moves."""

from __future__ import annotations

import math

from ddsched_nb.core.limits.base import Cooldown, Signal
from ddsched_nb.core.model import Sample
from ddsched_nb.errors import ConfigError


class FixedLimit:
    """Always `cap` requests in flight at the most.

    Args:
        cap: The limit, at least 1.
        pause_s: Seconds to stop granting after a refusal that named no time, 0 or more.
    """

    name = "fixed"
    cooldown: Cooldown = "spent"
    signals: tuple[Signal, ...] = ()

    def __init__(self, cap: int, *, pause_s: float = 1.0) -> None:
        if cap < 1:
            raise ConfigError(f"cap of a fixed limit is {cap}; give at least 1")
        self._cap = cap
        self._value = cap
        self._pause_s = pause_s

    def on_sample(self, sample: Sample) -> None:
        """Learns nothing."""

    def value(self, now: float) -> int:
        return self._value

    def next_change(self, now: float) -> float:
        return math.inf

    def pause(self, now: float) -> float:
        return self._pause_s

    def recap(self, cap: int) -> None:
        self._cap = self._value = cap

    def put(self, value: int, now: float) -> None:
        """Stays there from now on, or at its cap if that is less."""
        self._value = min(self._cap, value)

    def forgive(self, now: float) -> None:
        """Has learned nothing."""
