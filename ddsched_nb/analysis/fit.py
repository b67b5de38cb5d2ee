"""What a record says about the endpoints: profiles from which the same run can be simulated.

Latencies are taken as they were measured (their quantiles), capacity from what was served at the
very moments when a call was refused, the rest by counting. How little was seen is part of the
answer: a fit can be drawn again from its own samples (bootstrap, Efron 1979), which is where the
intervals of a forecast come from.
"""

from __future__ import annotations

import random
import statistics
from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ddsched_nb.clients.latency import Latency
from ddsched_nb.clients.load import EndpointStatistics
from ddsched_nb.clients.profile import EndpointProfile, Fault
from ddsched_nb.core.events import (
    ModelRequestCompleted,
    ModelRequestStarted,
    RequestLeaseAcquired,
    RequestRateLimited,
    RequestResourceRegistered,
)
from ddsched_nb.core.model import OutcomeKind, PoolKey
from ddsched_nb.errors import RecordError
from ddsched_nb.record import RunRecord
from ddsched_nb.reprs import brief, html_table, tell_whole, text_table

__all__ = ["Fit", "FittedModel", "fit"]

# Of a few refusals the most that was served is the capacity; a late answer may count one too many.
_SERVED_QUANTILE = 0.9
_QUANTILES = 201


@dataclass(frozen=True, slots=True)
class FittedModel:
    """What a record says about one model. Durations in seconds.

    Attributes:
        pool: Provider, model and domain.
        seconds: How long each answered call took, permit to answer, less the overhead; ascending.
        tokens: Tokens of each answered call, prompt and answer, in the same order.
        calls: Attempts sent.
        refused: Attempts refused.
        failed: Attempts that failed at the provider.
        timeouts: Attempts that were not answered in time.
        capacity: What was served when calls were refused. Where none was, what those models of the
            provider have that did refuse, or as much as was in flight at once, if that is more;
            the client's cap where no model refused.
        capacity_seen: Whether any call was refused: else the capacity is a guess.
        retry_after_s: What refusals asked to wait.
        overhead_s: What a call takes on top of its service: on the way, and in this process.
    """

    pool: PoolKey
    seconds: tuple[float, ...]
    tokens: tuple[tuple[int, int], ...]
    calls: int
    refused: int
    failed: int
    timeouts: int
    capacity: int
    capacity_seen: bool
    retry_after_s: float
    overhead_s: float

    @property
    def mean_s(self) -> float:
        """Mean latency."""
        return statistics.fmean(self.seconds)

    def profile(self, dice: random.Random | None = None) -> EndpointProfile:
        """A profile of it; with dice, one that might have been measured just as well."""
        pool, seen = self.pool, list(self.seconds)
        if dice is not None:
            seen = sorted(dice.choices(seen, k=len(seen)))
        tried = max(1, self.calls - self.refused)
        faults = [Fault(kind="error", share=self.failed / tried)] if self.failed else []
        if self.timeouts:
            faults.append(Fault(kind="hang", share=self.timeouts / tried))
        return EndpointProfile(
            model=pool.model,
            domain="chat" if pool.domain == "healthcheck" else pool.domain,
            capacity=self.capacity,
            latency=Latency(mean_s=statistics.fmean(seen), quantiles=_quantiles(seen)),
            retry_after_s=self.retry_after_s,
            faults=tuple(faults),
            overhead_s=self.overhead_s,
        )


_HEADS = ("model", "calls", "mean s", "p95 s", "capacity", "refused", "failed", "overhead")


class Fit(Mapping[str, tuple[EndpointProfile, ...]]):
    """The profiles of each provider, from a record. What `simulate(profiles=...)` takes.

    Args:
        models: What the record says, model by model.
        changes: Fields of profiles that are known better, by model id.
    """

    def __init__(
        self,
        models: Sequence[FittedModel],
        changes: Mapping[str, Mapping[str, object]] | None = None,
    ) -> None:
        self.models = tuple(models)
        self._changes = dict(changes or {})
        self._profiles = self._by_provider(None)

    def __getitem__(self, provider: str) -> tuple[EndpointProfile, ...]:
        return self._profiles[provider]

    def __iter__(self) -> Iterator[str]:
        return iter(self._profiles)

    def __len__(self) -> int:
        return len(self._profiles)

    def __repr__(self) -> str:
        return brief(f"<Fit of {', '.join(model.pool.label for model in self.models)}>")

    def __str__(self) -> str:
        return text_table(_HEADS, self._cells())

    _repr_pretty_ = tell_whole

    def _repr_html_(self) -> str:
        return html_table(_HEADS, self._cells(), caption="what the record says of each model")

    def _cells(self) -> list[tuple[object, ...]]:
        return [
            (
                model.pool.label,
                model.calls,
                f"{model.mean_s:.3f}",
                f"{model.seconds[int(0.95 * (len(model.seconds) - 1))]:.3f}",
                f"{model.capacity}" if model.capacity_seen else f"{model.capacity}?",
                model.refused,
                model.failed + model.timeouts,
                f"{1000 * model.overhead_s:.1f} ms",
            )
            for model in self.models
        ]

    def knowing(self, model: str, **fields: object) -> Fit:
        """The same, but for what is known better than any record can say.

        Args:
            model: Id of the model.
            **fields: Fields of its `EndpointProfile`: `capacity`, `steps`, `shapes`, ...
        """
        known = {**self._changes.get(model, {}), **fields}
        return Fit(self.models, {**self._changes, model: known})

    def resampled(self, seed: int) -> dict[str, tuple[EndpointProfile, ...]]:
        """Profiles that might have been measured just as well, another for each seed."""
        return self._by_provider(random.Random(f"fit|{seed}"))

    def _by_provider(self, dice: random.Random | None) -> dict[str, tuple[EndpointProfile, ...]]:
        found: dict[str, list[EndpointProfile]] = defaultdict(list)
        for model in self.models:
            profile = model.profile(dice)
            changes = self._changes.get(profile.model, {})
            if changes:
                profile = EndpointProfile(**{**profile.model_dump(), **changes})
            found[model.pool.provider].append(profile)
        return {provider: tuple(profiles) for provider, profiles in found.items()}


def fit(record: RunRecord, endpoint: EndpointStatistics | None = None) -> Fit:
    """Reads profiles from the record of a short real run.

    Args:
        record: A whole record.
        endpoint: What the endpoint itself counted, if it says: the overhead of a call is then the
            difference. Else it is what refused calls took, if any were refused.

    Returns:
        The profiles, by provider.

    Raises:
        RecordError: The record is cut, or no call in it was answered.
    """
    if record.truncated:
        raise RecordError("the record is cut; fit needs every event (RunConfig(record=path))")
    caps = {e.pool: e.cap for e in record.select(RequestResourceRegistered)}
    ends: dict[PoolKey, list[ModelRequestCompleted]] = defaultdict(list)
    for event in record.select(ModelRequestCompleted):
        if event.pool.domain != "healthcheck":
            ends[event.pool].append(event)
    sent = {event.permit_id: event.at for event in record.select(ModelRequestStarted)}
    refusals: dict[PoolKey, list[RequestRateLimited]] = defaultdict(list)
    for refused in record.select(RequestRateLimited):
        refusals[refused.pool].append(refused)
    models = [
        _fitted(pool, found, sent, refusals[pool], caps[pool], endpoint)
        for pool, found in ends.items()
        if any(event.outcome is OutcomeKind.SUCCESS for event in found)
    ]
    if not models:
        raise RecordError("no call in this record was answered; there is nothing to fit")
    return Fit([_guessed(model, models, record) for model in models])


def _guessed(model: FittedModel, models: Sequence[FittedModel], record: RunRecord) -> FittedModel:
    """A model that never refused: quotas of one account are more often alike than not."""
    others = [
        other.capacity
        for other in models
        if other.capacity_seen and other.pool.provider == model.pool.provider
    ]
    if model.capacity_seen or not others:
        return model
    grants = record.select(RequestLeaseAcquired)
    peak = max(grant.in_flight for grant in grants if grant.pool == model.pool)
    guess = max(peak, round(statistics.median(others)))
    return replace(model, capacity=guess)


def _fitted(
    pool: PoolKey,
    ends: Sequence[ModelRequestCompleted],
    sent: Mapping[int, float],
    refusals: Sequence[RequestRateLimited],
    cap: int,
    endpoint: EndpointStatistics | None,
) -> FittedModel:
    answered = sorted(
        (event for event in ends if event.outcome is OutcomeKind.SUCCESS),
        key=lambda event: event.seconds,
    )
    overhead = _overhead(pool, ends, answered, endpoint)
    waits = [event.retry_after for event in refusals if event.retry_after is not None]
    served = _served_at(refusals, answered, sent)
    counts = [event.outcome for event in ends]
    return FittedModel(
        pool=pool,
        seconds=tuple(max(0.0, event.seconds - overhead) for event in answered),
        tokens=tuple(
            (event.tokens - event.completion_tokens, event.completion_tokens) for event in answered
        ),
        calls=len(ends),
        refused=counts.count(OutcomeKind.RATE_LIMITED),
        failed=counts.count(OutcomeKind.PROVIDER_FAILURE),
        timeouts=counts.count(OutcomeKind.PROVIDER_TIMEOUT),
        capacity=served or cap,
        capacity_seen=bool(served),
        retry_after_s=statistics.median(waits) if waits else 1.0,
        overhead_s=overhead,
    )


def _overhead(
    pool: PoolKey,
    ends: Sequence[ModelRequestCompleted],
    answered: Sequence[ModelRequestCompleted],
    endpoint: EndpointStatistics | None,
) -> float:
    """What a call takes beside its service, in seconds."""
    if endpoint is not None and pool.model in endpoint.models and endpoint[pool.model].ok:
        counted = endpoint[pool.model]
        took = statistics.fmean(event.seconds for event in answered)
        return max(0.0, took - counted.work_s / counted.ok)
    refused = [event.seconds for event in ends if event.outcome is OutcomeKind.RATE_LIMITED]
    return statistics.median(refused) if refused else 0.0


def _served_at(
    refusals: Sequence[RequestRateLimited],
    answered: Sequence[ModelRequestCompleted],
    sent: Mapping[int, float],
) -> int:
    """How many calls were being served when others were refused; 0 if none was refused."""
    starts: list[float] = []
    ends: list[float] = []
    for event in answered:
        insort(starts, sent.get(event.permit_id, event.at - event.seconds))
        insort(ends, event.at)
    counts = sorted(
        bisect_right(starts, refusal.at) - bisect_right(ends, refusal.at) for refusal in refusals
    )
    counts = [count for count in counts if count]
    return counts[int(_SERVED_QUANTILE * (len(counts) - 1))] if counts else 0


def _quantiles(ascending: Sequence[float]) -> tuple[float, ...]:
    """The quantiles that stand for a sample; its mean stays what it was."""
    last = len(ascending) - 1
    if last < _QUANTILES:
        # Each measured value stands for an equal share: with its neighbours' midpoints between.
        return tuple(ascending)
    return tuple(ascending[round(i * last / (_QUANTILES - 1))] for i in range(_QUANTILES))
