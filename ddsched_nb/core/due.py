"""What falls due, and when: one heap for waiters and for pools and budgets that open by themselves.

Entries are never taken out where they stand: one that is current no more is passed over, and all
such are swept once they outnumber the rest.
"""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from ddsched_nb.core.pools import BudgetState, PoolState, Waiter

_SWEEP_FLOOR = 64


class Due(NamedTuple):
    """Something that falls due: a waiter expires or may line up, or a pool or budget opens."""

    at: float
    order: int
    what: Waiter | PoolState | BudgetState
    expiry: bool

    @property
    def is_current(self) -> bool:
        """Whether it still means anything."""
        what = self.what
        return not what.done if isinstance(what, Waiter) else what.wake_at == self.at


class DueHeap:
    """Entries by instant, in order of arrival where these are equal."""

    __slots__ = ("_order", "entries")

    def __init__(self) -> None:
        self.entries: list[Due] = []
        self._order = 0

    def add(
        self, at: float, what: Waiter | PoolState | BudgetState, *, expiry: bool, living: int
    ) -> None:
        """Adds an entry.

        Args:
            at: When it falls due.
            what: What does.
            expiry: Whether a waiter expires then.
            living: Entries that may be current, at the most.
        """
        if len(self.entries) > _SWEEP_FLOOR + 2 * living:
            self.entries = [entry for entry in self.entries if entry.is_current]
            heapify(self.entries)
        self._order += 1
        heappush(self.entries, Due(at, self._order, what, expiry))

    def pop(self, now: float) -> Due | None:
        """Takes out the next entry that is due; None if none is."""
        entries = self.entries
        while entries and entries[0][0] <= now:
            entry = heappop(entries)
            if entry.is_current:
                return entry
        return None

    def next_deadline(self) -> float:
        """When the next entry falls due; `inf` if none will."""
        entries = self.entries
        while entries and not entries[0].is_current:
            heappop(entries)
        return entries[0][0] if entries else math.inf
