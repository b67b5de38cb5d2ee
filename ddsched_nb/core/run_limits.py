"""The limits of a run: how many retries it may spend, and when failures are too many to go on.

Counts only. Refusals (429) never reach either: they use up no budget and are no failures.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple


class RetryBudget:
    """Retries that a whole run may spend, over all calls and deferred cells.

    Args:
        limit: How many; without bound if None.
    """

    __slots__ = ("limit", "spent")

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.spent = 0

    def spend(self) -> bool:
        """Takes one retry. False, and nothing taken, if none is left."""
        if self.limit is not None and self.spent >= self.limit:
            return False
        self.spent += 1
        return True


class FailureShare(NamedTuple):
    """Of the last `cells` cells of a column, `failed` failed for good."""

    column: str
    failed: int
    cells: int


class FailureWindow:
    """Watches the share of failing cells, column by column.

    By column, since one dead model among ten healthy ones must be noticed too.

    Args:
        rate: The share, in (0, 1], at which going on makes no sense; never if None.
        window: Over how many cells of a column it is taken, at least 1.
    """

    def __init__(self, rate: float | None, window: int) -> None:
        self._rate = rate
        self._window = window
        self._ends: dict[str, deque[bool]] = {}
        self._failed: dict[str, int] = {}

    def note(self, column: str, *, done: int = 0, failed: int = 0) -> FailureShare | None:
        """Counts cells that ended; answers once the share is reached over a full window."""
        if self._rate is None:
            return None
        ends = self._ends.setdefault(column, deque())
        for end, count in ((False, done), (True, failed)):
            self._push(column, ends, end, min(count, self._window))
        share = FailureShare(column, self._failed[column], len(ends))
        full = share.cells >= self._window
        return share if full and share.failed >= self._rate * share.cells else None

    def _push(self, column: str, ends: deque[bool], failed: bool, count: int) -> None:
        total = self._failed.get(column, 0)
        for _ in range(count):
            ends.append(failed)
            total += failed
            if len(ends) > self._window:
                total -= ends.popleft()
        self._failed[column] = total
