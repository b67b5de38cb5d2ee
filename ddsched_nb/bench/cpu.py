"""CPU time of this process, by the operating system's account: the only thing timed by no loop."""

from __future__ import annotations

import resource
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

__all__ = ["Cost", "Spent", "cpu_s", "interleaved"]


class Spent(NamedTuple):
    """What one measurement did, and the seconds of CPU that it took."""

    operations: int
    cpu_s: float


class Cost(NamedTuple):
    """What an operation costs.

    Attributes:
        us: Microseconds of CPU, the median of the repeats.
        operations: Operations in all.
        repeats: How often it was measured.
    """

    us: float
    operations: int
    repeats: int


Subject = Callable[[], Spent]


def cpu_s() -> float:
    """Seconds of CPU that this process has used, in user and system mode."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def interleaved(subjects: Sequence[Subject], repeats: int) -> list[Cost]:
    """Measures several subjects in turns, so that a busy moment meets them all.

    Returns:
        The cost of each, in order.
    """
    taken: list[list[Spent]] = [[] for _ in subjects]
    for _ in range(repeats):
        for subject, spent in zip(subjects, taken, strict=True):
            spent.append(subject())
    return [_cost(spent) for spent in taken]


def _cost(taken: Sequence[Spent]) -> Cost:
    us = statistics.median(1e6 * spent.cpu_s / spent.operations for spent in taken)
    return Cost(us, sum(spent.operations for spent in taken), len(taken))
