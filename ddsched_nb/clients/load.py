"""What an endpoint carries: admission against capacity, and exact counts of it.

Decides whether a request fits and what is counted. Pure: time is a parameter, and asking for
statistics changes nothing. Must not know of HTTP, loops or what is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.core.model import Quota, QuotaUnit

__all__ = ["EndpointLoad", "EndpointStatistics", "ModelLoad", "ModelStatistics", "Refusal"]


class Refusal(NamedTuple):
    """Why a request is not served, and how long its caller is asked to wait, in seconds."""

    reason: Literal["capacity", "requests", "tokens"]
    retry_after_s: float
    quotas: tuple[Quota, ...] = ()


class _Bucket:
    """A token bucket: what may come in a minute, of which a burst may come at once."""

    __slots__ = ("_filled_at", "_left", "_most", "_rate")

    def __init__(self, per_minute: float, burst_s: float) -> None:
        self._rate = per_minute / 60
        self._most = max(1.0, self._rate * burst_s)
        self._left = self._most
        self._filled_at = 0.0

    def wait_s(self, amount: float, t: float) -> float:
        """How long until `amount` fits; 0 if it does."""
        self._left = min(self._most, self._left + self._rate * (t - self._filled_at))
        self._filled_at = t
        # What is larger than the bucket goes out when that is full, and is paid off after.
        lacking = min(amount, self._most) - self._left
        return lacking / self._rate if lacking > 1e-9 else 0.0

    def take(self, amount: float) -> None:
        self._left -= amount

    def quota(self, unit: QuotaUnit) -> Quota:
        """What is left of it, as a server says it."""
        missing = self._most - self._left
        return Quota(unit, self._rate * 60, max(0.0, self._left), missing / self._rate)


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
        work_s: Seconds that the answered requests take on an endpoint that nothing slows.
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
    work_s: float
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
        "_curve",
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
        "_requests_bucket",
        "_tokens_bucket",
        "_work",
    )

    def __init__(self, profile: EndpointProfile) -> None:
        self._profile = profile
        self._curve = profile.curve
        rpm, tpm = profile.requests_per_minute, profile.tokens_per_minute
        self._requests_bucket = None if rpm is None else _Bucket(rpm, profile.burst_s)
        self._tokens_bucket = None if tpm is None else _Bucket(tpm, profile.burst_s)
        self._work = 0.0
        self._requests = self._ok = self._refused = self._cancelled = self._faulted = 0
        self._in_flight = self._max_in_flight = 0
        self._integral = self._changed_at = self._last_end = 0.0
        self._first_at: float | None = None

    def arrive(self, t: float, tokens: int = 0) -> Refusal | None:
        """Counts a request; unless it is refused it is served, which is to be ended by `leave`."""
        if self._first_at is None:
            self._first_at = t
        self._requests += 1
        refusal = self._refusal(t, tokens)
        if refusal is not None:
            self._refused += 1
            return (
                refusal._replace(quotas=self.quotas()) if refusal.reason != "capacity" else refusal
            )
        self._settle(t)
        self._in_flight += 1
        self._max_in_flight = max(self._max_in_flight, self._in_flight)
        return None

    def quotas(self) -> tuple[Quota, ...]:
        """What is left of the quotas per minute, as of the last request."""
        buckets: tuple[tuple[QuotaUnit, _Bucket | None], ...] = (
            ("requests", self._requests_bucket),
            ("tokens", self._tokens_bucket),
        )
        return tuple(bucket.quota(unit) for unit, bucket in buckets if bucket is not None)

    def _refusal(self, t: float, tokens: int) -> Refusal | None:
        if self._in_flight >= self._curve.at(t):
            return Refusal("capacity", self._profile.retry_after_s)
        requests, spent = self._requests_bucket, self._tokens_bucket
        wait = requests.wait_s(1, t) if requests is not None else 0.0
        if wait:
            return Refusal("requests", wait)
        wait = spent.wait_s(tokens, t) if spent is not None else 0.0
        if wait:
            return Refusal("tokens", wait)
        if requests is not None:
            requests.take(1)
        if spent is not None:
            spent.take(tokens)
        return None

    def leave(
        self, t: float, *, answered: bool, faulted: bool = False, work_s: float = 0.0
    ) -> None:
        """Ends a request that was being served; `work_s` is what it took, undisturbed."""
        self._settle(t)
        self._in_flight -= 1
        self._last_end = t
        if faulted:
            self._faulted += 1
        elif answered:
            self._ok += 1
            self._work += work_s
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
            work_s=self._work,
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

    def arrive(self, model: str, now: float, tokens: int = 0) -> ModelLoad | Refusal:
        """Counts a request for a known model; returns where to end it, or why it is refused."""
        if self._started_at is None:
            self._started_at = now
        load = self._loads[model]
        return load.arrive(now - self._started_at, tokens) or load

    def leave(
        self,
        load: ModelLoad,
        now: float,
        *,
        answered: bool,
        faulted: bool = False,
        work_s: float = 0.0,
    ) -> None:
        """Ends a request that was being served."""
        load.leave(self._since_start(now), answered=answered, faulted=faulted, work_s=work_s)

    def statistics(self, now: float) -> EndpointStatistics:
        """The counts, as of `now`."""
        t = self._since_start(now)
        span_s = max(load.busy_until(t) for load in self._loads.values())
        models = {name: load.statistics(t, span_s) for name, load in self._loads.items()}
        return EndpointStatistics(span_s, models)

    def _since_start(self, now: float) -> float:
        return 0.0 if self._started_at is None else now - self._started_at
