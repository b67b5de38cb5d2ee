"""A few seeds of the fuzzer over each kind of work, as a part of the suite.

It finds what breaks at once. What breaks once in a thousand orders is for `ddsched-nb fuzz`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ddsched_nb.bench.suite.summary import FuzzRow
from ddsched_nb.sim.fuzz import TARGETS, fuzz
from ddsched_nb.workloads.base import Workload

__all__ = ["SEEDS", "fuzz_smoke"]

SEEDS: Final = range(4)
"""The seeds, one run each."""

_ROWS: Final = 16


def fuzz_smoke(
    targets: Iterable[Workload | str] = TARGETS, seeds: Sequence[int] = SEEDS
) -> tuple[FuzzRow, ...]:
    """Fuzzes each target, in virtual time; failures are not made small.

    Args:
        targets: Workloads, their names, or `limiter`.
        seeds: One run of each target for each.
    """
    return tuple(_row(target, seeds) for target in targets)


def _row(target: Workload | str, seeds: Sequence[int]) -> FuzzRow:
    found = fuzz(target, seeds=seeds, rows=_ROWS, shrink=False)
    row = (found.target, found.runs, found.steps, found.faults)
    if found.failure is None:
        return FuzzRow(*row)
    return FuzzRow(*row, "; ".join(found.failure.broken), found.failure.command)
