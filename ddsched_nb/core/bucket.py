"""One quota per minute: what it holds, and how fast it fills.

It is a bucket that fills at a rate. What it holds is known in one of three ways, the best first:
the server says so with each answer; the user declared the rate; or the spacing of refusals tells it
(`core.spacing`). Pure: `now` comes in, and the earliest instant at which a request fits comes out.

Source: the token bucket (Turner, "New directions in communications", 1986).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ddsched_nb.core.model import Quota, QuotaUnit
from ddsched_nb.core.spacing import RefusalSpacing

_MINUTE = 60.0
_HAIR = 1e-9
# Of a rate that is only declared, this many seconds' worth may go out at once.
_BURST_S = 1.0
# Tokens of an answer are guessed; the guess follows so much of each usage, and so many mean
# deviations are kept back for answers that are longer.
FOLLOW = 0.1
_DEVIATIONS = 8.0
_DEVIATIONS_UNSEEN = 5.0
# But never so much of what a server was seen to hold that nothing would go out.
_MOST_RESERVED = 0.5
# Waits that differ so much are computed by a bucket, and not written in a configuration.
_DIFFERENT = 0.01
_WAITS = 6
_LEARNED_BURST_S = 0.5
_LEAST_TOKENS = 8.0
# What is learned from refusals is never exact: the bucket may fill by so many requests first, and
# by so many standard deviations of what the answers under way may take.
_CUSHION = 2.0
_CUSHION_DEVIATIONS = 3.0
_STANDARD = 1.25  # of them a mean deviation


class PacingStatistics(NamedTuple):
    """How a quota stands.

    Attributes:
        unit: What it counts.
        per_minute: The rate in force, or None while none is known.
        source: Where the rate is from: `declared`, `headers` or `refusals`; None if unknown.
        left: What was left of it after the last request.
    """

    unit: QuotaUnit
    per_minute: float | None
    source: str | None
    left: float | None


class Bucket:
    """One quota: what it holds, and how fast it fills.

    Args:
        unit: What it counts.
        per_minute: The declared rate; None where it is to be learned.
    """

    __slots__ = (
        "_at",
        "_declared",
        "_heard_mark",
        "_level",
        "_most",
        "_seen_most",
        "_source",
        "_spacing",
        "_spent",
        "_taken",
        "_typical",
        "_waits",
        "deviation",
        "open",
        "rate",
        "unit",
    )

    def __init__(self, unit: QuotaUnit, per_minute: float | None = None) -> None:
        self.unit = unit
        self._declared = None if per_minute is None else per_minute / _MINUTE
        # Units a second; None while there is none to keep.
        self.rate = self._declared
        self._source = None if per_minute is None else "declared"
        self._most = self._level = math.inf
        if self.rate is not None:
            self._most = self._level = max(1.0, self.rate * _BURST_S)
        self._at = -math.inf
        # All that was ever taken: the first with estimates set right later, the second without.
        self._spent = self._taken = self._typical = 0.0
        self._heard_mark = -1.0
        self._spacing = RefusalSpacing(settling=unit == "tokens")
        self._seen_most = 0.0
        self._waits: list[float] = []
        # Of answers under way: the mean deviation of one from its estimate, and how many there are.
        self.deviation = 0.0
        self.open = 0

    @property
    def learned(self) -> bool:
        """Whether the rate is from refusals."""
        return self._source == "refusals"

    def ready_at(self, amount: float, now: float) -> float:
        """When `amount` fits; `now` if it does. Asking changes nothing."""
        if self.rate is None:
            return now
        # What is larger than the bucket goes out when that is full, and is paid off after.
        lacking = min(amount, self._most) - self._level_at(now)
        return now if lacking <= _HAIR * max(1.0, amount) else now + lacking / self._speed()

    def spend(self, amount: float, now: float) -> float:
        """Takes `amount`; returns how much was ever taken until then, as a mark."""
        self._typical += FOLLOW * (amount - self._typical)
        self.open += 1
        self._spent += amount
        taken = self._taken = self._taken + amount
        if self.rate is not None:
            self._settle(now)
            self._level -= amount
        return taken

    def correct(self, amount: float, mark: float) -> None:
        """Gives back what an estimate took too much; a negative amount takes more."""
        self._spent -= amount
        self._spacing.corrected(mark, amount)
        if self.rate is not None:
            self._level = min(self._most, self._level + amount)

    def hear(self, quota: Quota, mark: float, sent_at: float, now: float) -> None:
        """Takes what the server says in the answer to a request.

        Args:
            quota: What it says.
            mark: The mark of the request.
            sent_at: When it was sent; that is when the server counted.
            now: The instant of the answer.
        """
        if quota.limit is not None and quota.limit > 0:
            told = quota.limit / _MINUTE
            self.rate = told if self._declared is None else min(told, self._declared)
            self._most = max(1.0, quota.limit)
            self._source = "headers"
        if quota.remaining is None or self.rate is None or mark < self._heard_mark:
            return  # an older answer than one that was heard
        self._heard_mark = mark
        gone_since = self._taken - mark if quota.remaining > 0 else 0.0
        grown = self.rate * (now - sent_at)
        left = quota.remaining - gone_since + grown - self._reserve(quota.remaining, mark)
        self._level = min(self._most, left)
        self._at = now

    def refused(
        self, amount: float, mark: float, sent_at: float, now: float, retry_after: float | None
    ) -> None:
        """The server says that this quota was spent when a request came.

        Args:
            amount: What the request would have taken.
            mark: Its mark.
            sent_at: When it was sent.
            now: The instant of the refusal.
            retry_after: Seconds it asked to wait.
        """
        if self._source in (None, "refusals"):
            self._note(mark, sent_at, 0, certain=True)
        if self.rate is not None:
            wait = amount / self.rate if retry_after is None else retry_after
            self._settle(now)
            cushion = self._cushion() if self.learned else 0.0
            self._level = min(self._level, amount - wait * self.rate - cushion)

    def suspect(
        self,
        mark: float,
        sent_at: float,
        now: float,
        wait: float | None,
        served: int,
        *,
        rival: Bucket,
    ) -> bool:
        """Whether a refusal that does not say why is for want of this quota.

        Args:
            mark: The mark of the refused request, which was given back already.
            sent_at: When it was sent.
            now: The instant of the refusal.
            wait: Seconds it asked to wait.
            served: How many were in flight and served.
            rival: Another quota that may explain it.
        """
        if self._source in ("headers", "declared"):
            return False
        if self.rate is not None and self._level_at(now) > max(
            _CUSHION * self._size, self._most / 2
        ):
            self._spacing.doubt()
            self._heed()
            return False  # much is left of it: too many are in flight
        hint = self._hint(wait) if self.unit == "requests" else None
        believed = self._note(mark, sent_at, served, certain=False, hint=hint, rival=rival)
        if self.rate is None or not believed:
            return False
        self._settle(now)
        asked = 0.0 if wait is None else wait * self.rate
        self._level = min(self._level, -asked - self._cushion())
        return True

    def statistics(self) -> PacingStatistics:
        """How it stands."""
        if self.rate is None:
            return PacingStatistics(self.unit, None, None, None)
        return PacingStatistics(self.unit, self._speed() * _MINUTE, self._source, self._level)

    def _accepted(self, mark: float) -> float:
        """How much was accepted until a request that was refused."""
        return mark - (self._taken - self._spent)

    def _reserve(self, remaining: float, mark: float) -> float:
        if self.unit == "requests":
            return 1.0  # one may be on its way that the server counted before this one
        self._seen_most = max(self._seen_most, remaining)
        unseen = math.sqrt(max(0.0, self._taken - mark) / max(1.0, self._typical))
        kept = self.deviation * (_DEVIATIONS + _DEVIATIONS_UNSEEN * unseen)
        return min(kept, _MOST_RESERVED * self._seen_most)

    def _hint(self, wait: float | None) -> float | None:
        """The rate that the waits which refusals asked for point at, if a bucket computed them."""
        if wait is None:
            return None
        self._waits = [*self._waits[1 - _WAITS :], wait]
        distinct = {round(math.log(max(w, 1e-3)) / _DIFFERENT) for w in self._waits}
        if len(distinct) < _WAITS:
            return None
        # Each is for what lacks of one request, somewhere between nothing and all of it.
        return _WAITS / (_WAITS + 1) / max(self._waits)

    @property
    def _size(self) -> float:
        """What one request takes."""
        return 1.0 if self.unit == "requests" else max(1.0, self._typical)

    def _unsure(self) -> float:
        """The standard deviation of what the answers under way take, from what was estimated."""
        return _STANDARD * self.deviation * math.sqrt(self.open)

    def _cushion(self) -> float:
        return _CUSHION * self._size + _CUSHION_DEVIATIONS * self._unsure()

    def _note(
        self,
        mark: float,
        sent_at: float,
        served: int,
        *,
        certain: bool,
        hint: float | None = None,
        rival: Bucket | None = None,
    ) -> bool:
        self._spacing.unit, self._spacing.noise = self._size, self._size + self._unsure()
        believed = self._spacing.note(
            self._accepted(mark),
            sent_at,
            served,
            certain=certain,
            hint=hint,
            mark=mark,
            rival=None if rival is None else rival._spacing,
        )
        if rival is not None:
            rival._heed()
        self._heed()
        if self._spacing.known and self.rate is None:
            self.rate, self._source = self._speed(), "refusals"
            least = _CUSHION if self.unit == "requests" else _LEAST_TOKENS
            self._most = max(least * self._size, self.rate * _LEARNED_BURST_S)
            self._level, self._at = 0.0, sent_at
        return believed

    def _heed(self) -> None:
        """What was learned from refusals is forgotten with them."""
        if self.learned and not self._spacing.known:
            self.rate = self._source = None

    def _speed(self) -> float:
        if self._spacing.known and self._source in (None, "refusals"):
            return self._spacing.rate(self._accepted(self._taken))
        return self.rate or 0.0

    def _level_at(self, now: float) -> float:
        if self.rate is None or self._at == -math.inf:
            return self._level
        return min(self._most, self._level + self._speed() * (now - self._at))

    def _settle(self, now: float) -> None:
        self._level = self._level_at(now)
        self._at = now
        if self._source == "refusals" and self._level >= self._most:
            self._spacing.skip(self._accepted(self._taken))  # it ran over
