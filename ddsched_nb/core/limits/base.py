"""What a limit is: a number that learns from samples. It knows no pool, waiter, timer or clock."""

from __future__ import annotations

from typing import Literal, Protocol

from ddsched_nb.core.model import Sample
from ddsched_nb.errors import ConfigError

Cooldown = Literal["always", "spent"]
Signal = Literal["refusals", "latency"]


class Limit(Protocol):
    """One algorithm that says how many requests may be in flight.

    `cooldown` says when its pool stops granting after a refusal: `always`, or only when the refusal
    means that the endpoint serves nothing now (`spent`). `signals` names what moves it: a limit
    that only hears refusals is blind where an endpoint just gets slower. One with a true `fair`
    shares its endpoint: no quota is read from the spacing of refusals, which is others' too.
    """

    name: str
    cooldown: Cooldown
    signals: tuple[Signal, ...]

    def on_sample(self, sample: Sample) -> None:
        """Learns from one finished request with a remote outcome."""
        ...

    def value(self, now: float) -> int:
        """The limit at `now`, at least 1. Asking changes nothing."""
        ...

    def next_change(self, now: float) -> float:
        """The next instant at which `value` rises by itself; `inf` if it never does."""
        ...

    def pause(self, now: float) -> float:
        """Seconds to stop granting after a refusal that named no time itself."""
        ...

    def recap(self, cap: int) -> None:
        """The limit may not exceed another cap from now on, at least 1."""
        ...

    def forgive(self, now: float) -> None:
        """The refusals so far were for want of a quota per minute, and not of this limit's."""
        ...


def put(limit: Limit, value: int, now: float) -> None:
    """Puts a limit at a value, from which it moves on.

    Args:
        limit: The limit; one of your own needs a method `put(value, now)` for this.
        value: Where to, at least 1; a limit never exceeds its cap.
        now: The instant, in seconds on the caller's clock.

    Raises:
        ConfigError: The value is below 1, or the limit has no such method.
    """
    if value < 1:
        raise ConfigError(f"a limit cannot be put at {value}; give at least 1")
    method = getattr(limit, "put", None)
    if method is None:
        name = getattr(limit, "name", type(limit).__name__)
        raise ConfigError(
            f"a limit of the kind {name!r} cannot be put at {value}: it has no method "
            "put(value, now); set the cap instead"
        )
    method(value, now)
