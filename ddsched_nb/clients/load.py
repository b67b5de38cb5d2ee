"""What an endpoint carries: admission against capacity, and exact counts of it.

Decides whether a request fits and what is counted. Pure: time is a parameter, and asking for
statistics changes nothing. Must not know of HTTP, loops or what is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ddsched_nb.clients.profile import EndpointProfile

__all__ = ["EndpointLoad", "EndpointStatistics", "ModelLoad", "ModelStatistics"]


@dataclass(frozen=True, slots=True)
class ModelStatistics:
    """What one model of an endpoint went through since start or reset.

    Attributes:
        requests: Requests that came, the refused ones included.
        ok: Answered.
        refused: Answered with 429.
        cancelled: Given up by their caller before the answer.
        faulted: Spoiled by an injected fault.
        in_flight: Being served.
        max_in_flight: The most that were served at once.
        in_flight_integral: Slot-seconds in use.
        span_s: Seconds from the model's first request to now while something is in flight, else to
            the last end of a request.
        capacity: The capacity now.
        utilization: Slot-seconds in use over those that existed in the endpoint's span.
    """

    requests: int
    ok: int
    refused: int
    cancelled: int
    faulted: int
    in_flight: int
    max_in_flight: int
    in_flight_integral: float
    span_s: float
    capacity: int
    utilization: float


@dataclass(frozen=True, slots=True)
class EndpointStatistics:
    """What an endpoint went through since start or reset.

    Attributes:
        span_s: Seconds from the first request to now while something is in flight, else to the
            last end of a request.
        models: The statistics of each model, by id.
    """

    span_s: float
    models: Mapping[str, ModelStatistics]

    def __getitem__(self, model: str) -> ModelStatistics:
        return self.models[model]


class ModelLoad:
    """The counts of one model. Instants are seconds since the endpoint's first request."""

    __slots__ = (
        "_cancelled",
        "_changed_at",
        "_faulted",
        "_first_at",
        "_in_flight",
        "_integral",
        "_last_end",
        "_max_in_flight",
        "_ok",
        "_profile",
        "_refused",
        "_requests",
    )

    def __init__(self, profile: EndpointProfile) -> None:
        self._profile = profile
        self._requests = self._ok = self._refused = self._cancelled = self._faulted = 0
        self._in_flight = self._max_in_flight = 0
        self._integral = self._changed_at = self._last_end = 0.0
        self._first_at: float | None = None

    def arrive(self, t: float) -> bool:
        """Counts a request; says whether it is served, which is to be ended with `leave`."""
        if self._first_at is None:
            self._first_at = t
        self._requests += 1
        if self._in_flight >= self._profile.capacity_at(t):
            self._refused += 1
            return False
        self._settle(t)
        self._in_flight += 1
        self._max_in_flight = max(self._max_in_flight, self._in_flight)
        return True

    def leave(self, t: float, *, answered: bool, faulted: bool = False) -> None:
        """Ends a request that was being served."""
        self._settle(t)
        self._in_flight -= 1
        self._last_end = t
        if faulted:
            self._faulted += 1
        elif answered:
            self._ok += 1
        else:
            self._cancelled += 1

    def busy_until(self, t: float) -> float:
        """The end of the busy span, as of `t`."""
        return t if self._in_flight else self._last_end

    def statistics(self, t: float, span_s: float) -> ModelStatistics:
        """The counts, as of `t`; `span_s` is the endpoint's busy span."""
        used = self._integral + self._in_flight * max(0.0, t - self._changed_at)
        existed = self._profile.capacity_integral(span_s)
        return ModelStatistics(
            requests=self._requests,
            ok=self._ok,
            refused=self._refused,
            cancelled=self._cancelled,
            faulted=self._faulted,
            in_flight=self._in_flight,
            max_in_flight=self._max_in_flight,
            in_flight_integral=used,
            span_s=max(0.0, self.busy_until(t) - (self._first_at or 0.0)),
            capacity=self._profile.capacity_at(t),
            utilization=used / existed if existed else 0.0,
        )

    def _settle(self, t: float) -> None:
        self._integral += self._in_flight * (t - self._changed_at)
        self._changed_at = t


class EndpointLoad:
    """The counts of all models of an endpoint, on one clock that the first request starts.

    To reset, make another one: requests still in flight then end in the old one, where they
    disturb nobody.

    Args:
        profiles: The models.
    """

    __slots__ = ("_loads", "_started_at")

    def __init__(self, profiles: Iterable[EndpointProfile]) -> None:
        self._loads = {profile.model: ModelLoad(profile) for profile in profiles}
        self._started_at: float | None = None

    def arrive(self, model: str, now: float) -> ModelLoad | None:
        """Counts a request for a known model; returns where to end it, or None if refused."""
        if self._started_at is None:
            self._started_at = now
        load = self._loads[model]
        return load if load.arrive(now - self._started_at) else None

    def leave(self, load: ModelLoad, now: float, *, answered: bool, faulted: bool = False) -> None:
        """Ends a request that was being served."""
        load.leave(self._since_start(now), answered=answered, faulted=faulted)

    def statistics(self, now: float) -> EndpointStatistics:
        """The counts, as of `now`."""
        t = self._since_start(now)
        span_s = max(load.busy_until(t) for load in self._loads.values())
        models = {name: load.statistics(t, span_s) for name, load in self._loads.items()}
        return EndpointStatistics(span_s, models)

    def _since_start(self, now: float) -> float:
        return 0.0 if self._started_at is None else now - self._started_at
