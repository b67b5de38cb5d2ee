"""What the spacing of refusals tells of a quota per minute that nobody speaks of.

Between two instants at which a bucket was empty exactly its rate was accepted, whatever happened in
between. So the counts between refusals give the rate, and their evenness gives the quota away: what
is refused because too much is in flight comes at the pace of service times, which are uneven.

Source: the evenness is judged by the index of dispersion of counts (Cox and Lewis, "The statistical
analysis of series of events", 1966).
"""

from __future__ import annotations

import math

# A quota is believed in after so many intervals, of at least so many accepted requests each, whose
# dispersion is below what service times have, and whose refusals came at more than one number in
# flight: a limit on that number refuses at the limit.
_INTERVALS = 5
_ACCEPTED_AT_LEAST = 24.0
_EVEN = 0.08
_DIFFERENT = 4
# Where the server says that it is a quota, one interval of so many is enough.
_FEWEST = 8.0
# So much off, or so many requests, and so often in a row: it is not, or no more, that rate.
_OFF = 0.03
_OFF_REQUESTS = 2.5
_WRONG = 3
# The rate is used a little below, and then, answer by answer, a little above: the refusal at the
# end of it says the rate again, to a part in so many as were accepted. Where none comes, there is
# more, and it is looked for fast.
_BELOW = 0.99
_CREEP = 1 / 30_000
_ABOVE = 1.02
_DOUBLE_AFTER = 150.0
# Refusals after fewer than so many are too many: the start is lower next time.
_TOO_OFTEN = 250.0
_SLOWER = 0.97
_FASTER = 1.01
_SLOWEST = 0.8
_BURST = 3.0
# Until a second refusal has confirmed it, so many times as fast.
_UNCONFIRMED = 12.0
_OUT_OF_REACH = 1.5
_HINT_AT_MOST = 2.0


class RefusalSpacing:
    """Learns a rate, in requests a second, from refusals."""

    __slots__ = (
        "_accepted",
        "_at",
        "_below",
        "_confirmed",
        "_counted",
        "_creeps_from",
        "_disproved",
        "_intervals",
        "_rate",
        "_seconds",
        "_served",
        "_wrong",
    )

    def __init__(self) -> None:
        self._rate: float | None = None
        self._at: float | None = None
        self._accepted = 0.0
        self._counted = self._seconds = 0.0
        self._intervals: list[tuple[float, float, int]] = []
        self._creeps_from = 0.0
        self._below = _BELOW
        self._confirmed = False
        self._served = 0
        self._disproved = 0
        self._wrong = 0

    @property
    def known(self) -> bool:
        """Whether a rate is believed in."""
        return self._rate is not None

    def rate(self, accepted: float) -> float:
        """The rate to go at, where `known`; it creeps upwards from refusal to refusal.

        Args:
            accepted: Requests that were accepted so far.
        """
        return (self._rate or 0.0) * self._crept(accepted)

    def _crept(self, accepted: float) -> float:
        since = accepted - self._creeps_from
        creep = _CREEP if self._confirmed else _UNCONFIRMED * _CREEP
        steep = since - (_ABOVE - self._below) / creep
        if steep <= 0:
            return float(self._below + creep * since)
        return _ABOVE * math.pow(2.0, min(20.0, steep / _DOUBLE_AFTER))

    def note(
        self,
        accepted: float,
        at: float,
        served: int,
        *,
        certain: bool,
        hint: float | None = None,
    ) -> bool:
        """Takes in a refusal; says whether it is one for want of the quota.

        Args:
            accepted: Requests that were accepted until then.
            at: When the refused request was sent.
            served: How many were in flight and served then.
            certain: Whether the server said that it was for a quota.
            hint: The rate that the waits it asked for point at, where they look computed.
        """
        if self.known and self._crept(accepted) > _OUT_OF_REACH:
            self._forget()  # it was not what bound

        if self._at is None:
            self._anchor(accepted, at)
            self._served = served
            return certain
        count, seconds = accepted - self._accepted, at - self._at
        if self.known:
            self._back_off(accepted)
        soon = certain or (self.known and not self._confirmed)
        if seconds <= 0 or count < (_FEWEST if soon else _ACCEPTED_AT_LEAST):
            return self.known  # of one burst, or too little to tell anything
        self._anchor(accepted, at)
        if self.known:
            self._check(count, seconds, certain)
        elif certain:
            self._believe([(count, seconds, served)])
        else:
            self._intervals = [*self._intervals[1 - _INTERVALS :], (count, seconds, served)]
            if self._is_even():
                self._believe(self._intervals)
            elif hint is not None and self._varies(1 + 2 * self._disproved):
                self._believe([self._best(hint)])
        return self.known

    def skip(self) -> None:
        """What comes next says nothing about the rate: not all of it was used."""
        self._at = None
        self._intervals = []

    def _back_off(self, accepted: float) -> None:
        """Goes a little slower where refusals come too often, and back where they do not."""
        since = accepted - self._creeps_from
        if since < _BURST:
            return
        self._creeps_from = accepted
        self._below *= _SLOWER if since < _TOO_OFTEN else _FASTER
        self._below = min(_BELOW, max(_SLOWEST, self._below))

    def _anchor(self, accepted: float, at: float) -> None:
        self._at, self._accepted = at, accepted

    def _best(self, hint: float) -> tuple[float, float, int]:
        """The interval that says most; what was accepted in any is a bound from below."""
        count, seconds, served = max(self._intervals, key=lambda found: found[0] / found[1])
        # What is asked to wait is a bound from above, unless it is tokens that lack.
        return max(count, min(hint * seconds, _HINT_AT_MOST * count)), seconds, served

    def _forget(self) -> None:
        self._rate = self._at = None
        self._intervals = []

    def _varies(self, intervals: int) -> bool:
        """Whether refusals came at different numbers in flight, over so many intervals."""
        different = len({n for _, _, n in self._intervals} | {self._served})
        return len(self._intervals) >= intervals and different >= min(_DIFFERENT, intervals + 1)

    def _is_even(self) -> bool:
        if not self._varies(_INTERVALS):
            return False
        counted = math.fsum(count for count, _, _ in self._intervals)
        rate = counted / math.fsum(seconds for _, seconds, _ in self._intervals)
        uneven = sum((count - rate * s) ** 2 / count for count, s, _ in self._intervals)
        return uneven < _EVEN

    def _believe(self, intervals: list[tuple[float, float, int]]) -> None:
        self._counted = math.fsum(count for count, _, _ in intervals)
        self._seconds = math.fsum(seconds for _, seconds, _ in intervals)
        self._rate = self._counted / self._seconds
        self._intervals = []
        self._wrong = 0
        self._creeps_from, self._confirmed = self._accepted, False
        self._below = _BELOW

    def _check(self, count: float, seconds: float, certain: bool) -> None:
        off = abs(count - (self._rate or 0.0) * seconds)
        if off <= max(_OFF_REQUESTS, _OFF * count):
            self._counted += count
            self._seconds += seconds
            self._rate = self._counted / self._seconds
            self._wrong = 0
            self._confirmed = True
            return
        self._wrong += 1
        if self._wrong >= _WRONG and not certain:
            self._forget()
            self._disproved += 1
        else:
            # It is another rate; or it is none at all, and will not be the same next time either.
            wrong = self._wrong
            self._believe([(count, seconds, 0)])
            self._wrong = wrong
