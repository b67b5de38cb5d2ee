"""What the spacing of refusals tells of a quota per minute that nobody speaks of.

Between two instants at which a bucket was empty exactly its rate was accepted, whatever happened in
between. So the counts between refusals give the rate, and their evenness gives the quota away: what
is refused because too much is in flight comes at the pace of service times, which are uneven.
Counted in requests they are even where requests are counted, in tokens where tokens are.

Source: the evenness is judged by the index of dispersion of counts (Cox and Lewis, "The statistical
analysis of series of events", 1966).
"""

from __future__ import annotations

import math
from itertools import pairwise

from ddsched_nb.core.learned_rate import LearnedRate

# A quota is believed in after so many intervals, of at least so many accepted requests each, whose
# dispersion is below what service times have, and whose refusals came at more than one number in
# flight: a limit on that number refuses at the limit.
_INTERVALS = 5
_ACCEPTED_AT_LEAST = 24.0
_EVEN = 0.08
_UNEVEN = 0.5
_DIFFERENT = 4
# So many, or so large a share of them, must it go back and forth.
_BACK_AND_FORTH = 2
_BACK_AND_FORTH_SHARE = 0.2
# Where the server says that it is a quota, one interval of so many is enough.
_FEWEST = 8.0
_HINT_AT_MOST = 2.0
# Where counts are not even, since some of it ran over: refusals at so many fewer in flight than
# were served both before and after are for want of something else, after so many intervals.
_DIP = 0.85
_DIPS_AFTER = 8
# Refusals while much should be left, until a rate is forgotten: one that a refusal confirmed, and
# one that none did.
_DOUBTS = 30
_FIRST_DOUBTS = 3


class _Refusal:
    """An instant at which the bucket was empty; its count is set right as answers come in."""

    __slots__ = ("accepted", "at", "mark", "served")

    def __init__(self, accepted: float, at: float, served: int, mark: float) -> None:
        self.accepted = accepted
        self.at = at
        self.served = served
        self.mark = mark


class RefusalSpacing:
    """Learns a rate a second from refusals.

    Args:
        settling: Whether counts are set right later, so that the latest says little yet.
    """

    __slots__ = (
        "_disproved",
        "_doubts",
        "_rate",
        "_refusals",
        "_seen",
        "_settling",
        "noise",
        "unit",
    )

    def __init__(self, *, settling: bool = False) -> None:
        self._rate: LearnedRate | None = None
        self._refusals: list[_Refusal] = []
        self._settling = settling
        self._disproved = self._seen = self._doubts = 0
        # What one request takes, and how much of a count is uncertain.
        self.unit = self.noise = 1.0

    @property
    def known(self) -> bool:
        """Whether a rate is believed in."""
        return self._rate is not None

    def rate(self, accepted: float) -> float:
        """The rate to go at, where `known`.

        Args:
            accepted: How much was accepted so far.
        """
        return 0.0 if self._rate is None else self._rate.speed(accepted)

    def note(
        self,
        accepted: float,
        at: float,
        served: int,
        *,
        certain: bool,
        hint: float | None = None,
        mark: float = 0.0,
        rival: RefusalSpacing | None = None,
    ) -> bool:
        """Takes in a refusal; says whether it is one for want of the quota.

        Args:
            accepted: How much was accepted until then.
            at: When the refused request was sent.
            served: How many were in flight and served then.
            certain: Whether the server said that it was for a quota.
            hint: The rate that the waits it asked for point at, where they look computed.
            mark: Orders it among requests whose count is set right later.
            rival: The spacing in another unit, which may explain it as well or better.
        """
        rate, last = self._rate, self._refusals[-1] if self._refusals else None
        if rate is not None:
            rate.measured(self.unit, self.noise)
            rate.refused(accepted)
        this = _Refusal(accepted, at, served, mark)
        if last is None:
            self._refusals.append(this)
            return certain or self.known
        count, seconds = accepted - last.accepted, at - last.at
        soon = certain or (rate is not None and not rate.confirmed)
        if seconds <= 0 or count < self.unit * (_FEWEST if soon else _ACCEPTED_AT_LEAST):
            return self.known  # of one burst, or too little to tell anything
        self._refusals = [*self._refusals[-_INTERVALS - self._settling :], this]
        if rate is not None:
            self._doubts = 0
            if not rate.told(count, seconds) and not certain:
                self.forget()
                self._disproved += 1
        elif certain:
            self._rate = LearnedRate(count / seconds, accepted, self.unit)
        elif rival is None or not rival.known:
            self._judge(accepted, hint)
        elif self._is_even(self._intervals()) and rival.unevenness() > _UNEVEN:
            rival.forget()
            self._judge(accepted, None)
        return self.known

    def corrected(self, mark: float, amount: float) -> None:
        """An estimate that was taken before was too large by so much."""
        for refusal in self._refusals:
            if mark < refusal.mark:
                refusal.accepted -= amount

    def unevenness(self) -> float:
        """How uneven the last intervals were; 0 where there are not enough."""
        intervals = self._intervals()
        return self._dispersion(intervals) if len(intervals) >= _INTERVALS else 0.0

    def skip(self, accepted: float) -> None:
        """What comes next says nothing about the rate: not all of it was used."""
        self._refusals = []
        if self._rate is not None:
            self._rate.unused(accepted)

    def doubt(self) -> None:
        """A refusal came though much should be left: the rate is too high, or it does not bind."""
        if self._rate is None:
            return
        self._doubts += 1
        if self._doubts >= (_DOUBTS if self._rate.confirmed else _FIRST_DOUBTS):
            self._disproved += not self._rate.confirmed
            self.forget()

    def forget(self) -> None:
        """Believes in nothing any more."""
        self._rate = None
        self._refusals = self._refusals[-1:]
        self._seen = self._doubts = 0

    def _judge(self, accepted: float, hint: float | None) -> None:
        self._seen += 1
        intervals = self._intervals()
        if not intervals or min(count for count, _ in intervals) < _FEWEST * self.unit:
            return  # set right to next to nothing
        if self._is_even(intervals):
            counted = math.fsum(count for count, _ in intervals)
            rate = counted / math.fsum(seconds for _, seconds in intervals)
        elif self._dips() and self._seen >= _DIPS_AFTER * 2 ** (self._disproved + self._settling):
            rate = max(count / seconds for count, seconds in intervals)
        elif hint is not None and self._varies(1 + 2 * self._disproved):
            count, seconds = max(intervals, key=lambda found: found[0] / found[1])
            # What was accepted is a bound from below; what is asked to wait is one from above,
            # unless it is tokens that lack.
            rate = max(count, min(hint * seconds, _HINT_AT_MOST * count)) / seconds
        else:
            return
        self._rate = LearnedRate(rate, accepted, self.unit)

    def _dips(self) -> bool:
        """Whether fewer were served at a refusal than at ones before and after it."""
        served = [refusal.served for refusal in self._refusals]
        return any(
            n < _DIP * min(max(served[:place]), max(served[place + 1 :]))
            for place, n in enumerate(served[1:-1], start=1)
        )

    def _back_and_forth(self) -> bool:
        """Whether it went up and down from refusal to refusal: a limit that moves goes one way."""
        served = [refusal.served for refusal in self._refusals]
        moved = sum(abs(b - a) for a, b in pairwise(served)) - abs(served[-1] - served[0])
        return moved >= max(_BACK_AND_FORTH, _BACK_AND_FORTH_SHARE * sum(served) / len(served))

    def _varies(self, intervals: int) -> bool:
        """Whether refusals came at different numbers in flight, over so many intervals."""
        different = len({refusal.served for refusal in self._refusals})
        return len(self._refusals) > intervals and different >= min(_DIFFERENT, intervals + 1)

    def _is_even(self, intervals: list[tuple[float, float]]) -> bool:
        if len(intervals) < _INTERVALS or not (self._varies(_INTERVALS) or self._dips()):
            return False
        if not self._back_and_forth():
            return False
        return self._dispersion(intervals) < _EVEN

    def _intervals(self) -> list[tuple[float, float]]:
        """How much was accepted between refusals, in how many seconds."""
        settled = self._refusals[: len(self._refusals) - self._settling]
        return [(b.accepted - a.accepted, b.at - a.at) for a, b in pairwise(settled)]

    def _dispersion(self, intervals: list[tuple[float, float]]) -> float:
        counted = math.fsum(count for count, _ in intervals)
        rate = counted / math.fsum(seconds for _, seconds in intervals)
        uneven = math.fsum((count - rate * s) ** 2 / max(count, 1e-9) for count, s in intervals)
        return uneven / self.unit
