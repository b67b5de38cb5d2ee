"""A rate that refusals taught: how fast to go at it, and what the next refusal says of it.

Between two instants at which a bucket was empty, no more was accepted than its rate gave, and no
less but for what ran over while less was asked. So each refusal bounds the rate from both sides,
and the rate is moved into the bounds. Just below it nothing is refused and little is lost; a little
above it the bucket empties sooner or later, and the refusal confirms the rate. The longer it holds,
the rarer it is asked.
"""

from __future__ import annotations

import math

# Held at this share of the rate for so many requests, twice as many after each refusal that
# confirmed it; then so much above it, until a refusal.
_BELOW = 0.995
_HOLD = 150.0
_LONGEST_HOLD = 1_500.0
# A slow quota is asked so often all the same, but not after fewer requests than these.
_RAREST_S = 900.0
_SHORTEST_RAREST = 600.0
_ABOVE = 1.02
# Where no refusal comes though the bucket must be empty, there is more, and it is looked for fast.
_DOUBLE_AFTER = 100.0
_PATIENCE = 6.0
_PATIENCE_S = 0.3
_PATIENCE_UNSURE = 4.0
# Where counts are uncertain, so is the rate: by this share of what it is above.
_DOUBT = 0.3
_MOST_PATIENCE = 4_000.0
_MOST_PATIENCE_S = 120.0
_FASTEST = 20.0
# From here on the rate was another one.
_FAST = 1.5
# It was, if at least so many requests more were accepted; the interval after says which.
_EXCESS = 1.0
_LOOKED = 2
# Refusals while it is held are too many: slower, and back where none comes.
_TOO_OFTEN = 250.0
_SLOWER = 0.97
_FASTER = 1.01
_SLOWEST = 0.8
# Of one burst are these, or what comes before a refusal is heard.
_BURST = 3.0
_BURST_S = 0.3
# An interval of so many confirms; so much off, or so many requests, and so often in a row: it is
# not, or no more, that rate.
_CONFIRMS = 48.0
_OFF = 0.03
_OFF_REQUESTS = 2.5
_WRONG = 3


class LearnedRate:
    """A rate a second, and the schedule of going just below it and a little above.

    Args:
        value: The rate, to begin with.
        accepted: How much was accepted until now.
        unit: What one request takes.
    """

    __slots__ = (
        "_before",
        "_below",
        "_confirmed",
        "_early",
        "_from",
        "_hold",
        "_noise",
        "_rough",
        "_unit",
        "_wrong",
        "value",
    )

    def __init__(self, value: float, accepted: float, unit: float = 1.0) -> None:
        self.value = self._before = value
        self._unit = self._noise = unit
        self._from = accepted
        self._below = _BELOW
        self._hold = _HOLD
        self._early = 0
        self._wrong = 0
        self._confirmed = False
        # Intervals that say nothing yet of where it is now.
        self._rough = 0

    @property
    def confirmed(self) -> bool:
        """Whether a refusal has confirmed it."""
        return self._confirmed

    def speed(self, accepted: float) -> float:
        """How fast to go, when so much was accepted."""
        return self.value * self._factor(accepted)

    def refused(self, accepted: float) -> None:
        """Takes in that a request was refused, of which no interval is told."""
        since = (accepted - self._from) / self._unit
        a_second = self.value / self._unit
        if since < max(_BURST, _BURST_S * a_second):
            return
        if self._confirmed and since < self._held():
            self._early += 1
            if self._early > 1 and since < _TOO_OFTEN:
                self._below = max(_SLOWEST, self._below * _SLOWER)
        else:
            self._early = 0
            self._below = min(_BELOW, self._below * _FASTER)
            self._hold = min(2 * self._hold, _LONGEST_HOLD)
            self._look_higher(accepted, _LOOKED)
        self._from = accepted

    def told(self, count: float, seconds: float) -> bool:
        """Takes in what was accepted between two refusals; says whether it may be this rate.

        Args:
            count: How much was accepted.
            seconds: In which time.
        """
        unit, noise = self._unit, self._noise
        requests = count / unit
        ran_over = (1 - self._below) * min(requests, self._held()) * unit if self._confirmed else 0
        lowest, highest = (count - noise) / seconds, (count + noise + ran_over) / seconds
        if self._rough == _LOOKED and count - self._before * seconds <= noise + _EXCESS * unit:
            # No more was accepted than before: the refusal confirms that rate.
            self.value, self._rough = self._before, 0
        if self._rough:
            # It was looked for fast: the next interval after that says where it is.
            self._rough -= 1
            if not self._rough:
                self._restart(count / seconds)
            return True
        if self._early:
            highest = max(lowest, count / seconds)  # less than the rate was asked for
        off = max(lowest - self.value, self.value - highest) * seconds
        if off <= max(_OFF_REQUESTS * unit, _OFF * count):
            self.value = min(max(self.value, lowest), highest)
            self._wrong = 0
            self._confirmed = self._confirmed or requests >= _CONFIRMS
            return True
        self._wrong += 1
        self._restart(count / seconds)
        return self._wrong < _WRONG

    def unused(self, accepted: float) -> None:
        """Less was asked for than it gives: until now nothing speaks for more.

        But where it was looked for fast, all that could be asked for was served.
        """
        self._look_higher(accepted, 1)
        self._from = accepted

    def measured(self, unit: float, noise: float) -> None:
        """Sets what one request takes now, and how much of what was accepted is uncertain."""
        self._unit = unit
        self._noise = noise

    def _look_higher(self, accepted: float, rough: int) -> None:
        factor = self._factor(accepted)
        if factor > _FAST:
            self._before = self.value
            self._restart(self.value * math.sqrt(factor))
            self._rough = rough

    def _restart(self, value: float) -> None:
        self.value = value
        self._confirmed = False
        self._hold = _HOLD
        self._below = _BELOW
        self._early = 0

    def _held(self) -> float:
        """For how many requests it is held."""
        rarest = max(_SHORTEST_RAREST, self.value / self._unit * _RAREST_S)
        return min(self._hold, rarest)

    def _factor(self, accepted: float) -> float:
        since = (accepted - self._from) / self._unit
        held = self._held() if self._confirmed else 0.0
        if since < held:
            return self._below
        # So many until what was left, what ran in meanwhile and some more are gone.
        a_second = self.value / self._unit
        left = _PATIENCE + _PATIENCE_S * a_second
        unsure = max(0.0, self._noise / self._unit - 1)
        doubt = min(1.0, unsure)
        left += _PATIENCE_UNSURE * unsure + (1 + doubt) * (1 - self._below) * held
        empty = left / (_ABOVE - 1) / (1 - _DOUBT * doubt)
        steep = since - held - min(empty, max(_MOST_PATIENCE, _MOST_PATIENCE_S * a_second))
        if steep <= 0:
            return _ABOVE
        return min(_FASTEST, _ABOVE * math.pow(2.0, min(20.0, steep / _DOUBLE_AFTER)))
