"""Limits that are not of this package: what they may leave out, and what is checked of the rest.

A reader's limit needs `on_sample` and `value`. Each answer that would make a pool grant nothing for
ever, or ask without end, is refused with words. Must not know a pool, a waiter or a clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, get_args

from ddsched_nb.core.limits.base import Cooldown, Limit, Signal, put
from ddsched_nb.core.model import Sample
from ddsched_nb.errors import ContractError

_PAUSE_S = 1.0


class OwnLimit(Protocol):
    """The least that a limit of one's own has. What it leaves out of `Limit` has a default:

    `name` is that of its class, `cooldown` is `spent`, `signals` are the refusals, `fair` is false;
    `next_change` is never, `pause` a second; `recap` bounds the value, `forgive` does nothing;
    without `put` nobody can put it at a value.
    """

    def on_sample(self, sample: Sample) -> None:
        """Learns from one finished request with a remote outcome."""
        ...

    def value(self, now: float) -> float:
        """The limit at `now`, finite and at least 1; its whole part counts. Asking changes nothing.

        Above the cap it is the cap.
        """
        ...


def limit_from(make: Callable[[int], OwnLimit], cap: int) -> Limit:
    """Makes a limit for a cap, and puts a check around it where it is not one of `LIMITS`.

    Raises:
        ContractError: What was made is no limit.
    """
    from ddsched_nb.core.limits import LIMITS  # the tuple names this module's neighbours

    made: Any = make(cap)
    return made if type(made) in LIMITS else CheckedLimit(made, cap)


class CheckedLimit:
    """A limit that fills in what another one leaves out, and refuses answers that cannot be used.

    Who asks may be a timer or a view, which nobody hears when they fail. So an unusable answer is
    replaced by the last usable one, and the next sample raises: that reaches the run, and ends it.

    Args:
        limit: The other one.
        cap: What the value never exceeds, at least 1.

    Raises:
        ContractError: It lacks `on_sample` or `value`, or an attribute is none that is known.
    """

    def __init__(self, limit: Any, cap: int) -> None:
        lacking = [n for n in ("on_sample", "value") if not callable(getattr(limit, n, None))]
        if lacking:
            raise ContractError(
                f"{type(limit).__name__!r} is no limit: it lacks {' and '.join(lacking)}; give a "
                "class or a function that takes a cap and makes an object with both methods"
            )
        self.name = str(getattr(limit, "name", type(limit).__name__))
        self.cooldown: Cooldown = getattr(limit, "cooldown", "spent")
        self.signals: tuple[Signal, ...] = tuple(getattr(limit, "signals", ("refusals",)))
        self.fair = bool(getattr(limit, "fair", False))
        self._one_of("cooldown", (self.cooldown,), get_args(Cooldown))
        self._one_of("signals", self.signals, get_args(Signal))
        self._limit = limit
        self._cap = cap
        self._last = 1
        self.broken: ContractError | None = None

    def on_sample(self, sample: Sample) -> None:
        if self.broken is None:
            try:
                self._limit.on_sample(sample)
            except Exception as error:
                what = f"raised {_said(error)}"
                self._breaks("on_sample", sample.now, what, "what takes any sample", error)
        if self.broken is not None:
            raise self.broken

    def value(self, now: float) -> int:
        value = self._asked("value", now, 1.0, self._last, "a finite number of at least 1")
        self._last = int(value)
        return min(self._cap, self._last)

    def next_change(self, now: float) -> float:
        if self.broken is not None or not hasattr(self._limit, "next_change"):
            return math.inf
        at: float = self._limit.next_change(now)
        if at > now:
            return at
        self._breaks("next_change", now, f"is {at!r}", "a later instant, or inf")
        return math.inf

    def pause(self, now: float) -> float:
        if not hasattr(self._limit, "pause"):
            return _PAUSE_S
        return self._asked("pause", now, 0.0, _PAUSE_S, "0 or more seconds")

    def recap(self, cap: int) -> None:
        self._cap = cap
        if hasattr(self._limit, "recap"):
            self._limit.recap(cap)

    def forgive(self, now: float) -> None:
        if hasattr(self._limit, "forgive"):
            self._limit.forgive(now)

    def put(self, value: int, now: float) -> None:
        put(self._limit, value, now)

    def _asked(self, method: str, now: float, least: float, instead: float, wanted: str) -> float:
        if self.broken is not None:
            return instead
        try:
            given: float = getattr(self._limit, method)(now)
            if least <= given < math.inf:
                return given
            self._breaks(method, now, f"is {given!r}", wanted)
        except Exception as error:  # what cannot be compared is no number
            self._breaks(method, now, f"raised {_said(error)}", wanted, error)
        return instead

    def _breaks(
        self, method: str, now: float, what: str, wanted: str, cause: Exception | None = None
    ) -> None:
        said = f"limit {self.name!r}: {method} at {now:g} s {what}; give {wanted}"
        self.broken = ContractError(said)
        self.broken.__cause__ = cause

    def _one_of(self, field: str, given: tuple[Any, ...], known: tuple[str, ...]) -> None:
        for value in given:
            if value not in known:
                raise ContractError(
                    f"limit {self.name!r}: {field} has {value!r}; give one of {', '.join(known)}"
                )


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
