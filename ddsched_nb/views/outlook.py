"""How fast a run goes, and how long it will take, with the uncertainty of that.

The work is cut into spans of time; how much their speeds differ says how sure the mean is. Pure: it
is told how far the work is, and knows no clock.
"""

from __future__ import annotations

import itertools
import math
from typing import Final, NamedTuple

__all__ = ["Outlook", "Pace"]

_SPANS: Final = 24
_ENOUGH: Final = 3
# Two standard errors; and no more than so many times slower than the mean, lest a stutter at the
# start says "for ever".
_ERRORS: Final = 2.0
_SLOWEST: Final = 3.0


class Pace(NamedTuple):
    """How a run goes.

    Attributes:
        share_per_s: Share of the work that is done in a second.
        left_s: Seconds until the end, at least and at most.
    """

    share_per_s: float
    left_s: tuple[float, float]


class Outlook:
    """Hears how far the work is, and says how long the rest takes.

    It looks at the later half of the time so far, since limits and row groups settle at the start.
    The interval is that of batch means (Law and Kelton, "Simulation Modeling and Analysis"): two
    standard errors of the mean speed of up to 24 spans.
    """

    def __init__(self) -> None:
        self._ends: list[tuple[float, float]] = []
        self._span_s = 0.25
        self._active_s = 0.0
        self._last_at: float | None = None
        self._share = 0.0

    def see(self, at: float, share: float, *, active: bool) -> None:
        """Takes note of a moment.

        Args:
            at: The instant, in seconds; later ones later.
            share: How much of the work is done, 0 to 1.
            active: Whether work goes on; pauses do not count as time.
        """
        if self._last_at is not None and active:
            self._active_s += at - self._last_at
        self._last_at, self._share = at, share
        if not self._ends:
            self._ends.append((self._active_s, share))
        elif self._active_s - self._ends[-1][0] >= self._span_s:
            self._ends.append((self._active_s, share))
            if len(self._ends) > 2 * _SPANS:
                del self._ends[1::2]
                self._span_s *= 2

    def pace(self) -> Pace | None:
        """How it goes; None as long as that cannot be said."""
        if not self._ends:
            return None
        half = self._active_s / 2
        recent = [end for end in self._ends if end[0] >= half]
        spans = [
            (later[0] - earlier[0], later[1] - earlier[1])
            for earlier, later in itertools.pairwise(recent)
        ]
        seconds, done = sum(s for s, _ in spans), sum(d for _, d in spans)
        if len(spans) < _ENOUGH or done <= 0 or seconds <= 0:
            return None
        mean = done / seconds
        spread = sum(s * (d / s - mean) ** 2 for s, d in spans) / seconds
        error = _ERRORS * math.sqrt(spread / len(spans))
        left = 1.0 - self._share
        slow = max(mean - error, mean / _SLOWEST)
        return Pace(mean, (left / (mean + error), left / slow))
