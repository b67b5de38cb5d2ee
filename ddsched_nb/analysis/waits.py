"""Durations summed up: count, mean and percentiles by nearest rank."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Waits"]


@dataclass(frozen=True, slots=True)
class Waits:
    """Durations, in seconds; percentiles by nearest rank."""

    count: int = 0
    mean: float = 0.0
    p50: float = 0.0
    p95: float = 0.0
    max: float = 0.0
    p99: float = 0.0

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Waits:
        """Sums samples up."""
        if not seconds:
            return cls()
        ordered = sorted(seconds)
        last = len(ordered) - 1
        p50, p95, p99 = (ordered[round(last * share)] for share in (0.5, 0.95, 0.99))
        return cls(len(ordered), math.fsum(ordered) / len(ordered), p50, p95, ordered[-1], p99)
