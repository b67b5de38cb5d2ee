"""A run's events as OpenTelemetry metrics, through the API alone: who sets up an SDK gets figures.

    run = dd.start(pipeline, table=table, listeners=[OpenTelemetryMetrics()])

Without an SDK the API does nothing, and costs next to nothing. Attributes are few and bounded
(outcome, domain, reason, unit); ids of rows, tasks, runs and models are refused, since each would
make a time series of its own. Needs the extra `opentelemetry`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry import metrics
from opentelemetry.metrics import Meter

from ddsched_nb.core import events as ev
from ddsched_nb.errors import ConfigError

__all__ = ["OpenTelemetryMetrics"]

_REFUSED = frozenset(
    {"task", "task_id", "run", "run_id", "row", "row_group", "model", "model_id", "pool", "column"}
    | {"permit_id", "waiter_id", "lease_id", "execution_id", "flow", "provider"}
)
# Waits that began longer ago than so many others are forgotten: a record may be cut.
_MOST_WAITS = 100_000

Attributes = Mapping[str, str | int | float | bool]


class OpenTelemetryMetrics:
    """Counts and times what a run does. A subscriber of its events.

    Args:
        meter: Where the instruments are made; that of the global provider if None.
        attributes: Added to every measurement: the name of a job or an environment, say.

    Raises:
        ConfigError: An attribute has a name that only ids have.
    """

    def __init__(self, meter: Meter | None = None, attributes: Attributes | None = None) -> None:
        self._fixed = dict(attributes or {})
        for name in self._fixed:
            if name.rpartition(".")[2] in _REFUSED:
                raise ConfigError(
                    f"attribute {name!r} would make a time series for each of its values; give "
                    "attributes that have few, and look ids up in the record of the run"
                )
        made = meter or metrics.get_meter("ddsched_nb")
        self._tasks = made.create_counter("ddsched_nb.tasks", "{task}", "Tasks that ended")
        self._rows = made.create_counter("ddsched_nb.rows", "{row}", "Rows finished or dropped")
        self._requests = made.create_counter("ddsched_nb.requests", "{request}", "Requests sent")
        self._tokens = made.create_counter("ddsched_nb.tokens", "{token}", "Tokens used")
        self._denied = made.create_counter(
            "ddsched_nb.admission.denied", "{task}", "Tasks that had to wait for a lease"
        )
        self._limits = made.create_counter(
            "ddsched_nb.limit.changes", "{change}", "Limits that moved"
        )
        self._cooldowns = made.create_counter(
            "ddsched_nb.cooldowns", "{cooldown}", "Pools that stopped granting"
        )
        self._service = made.create_histogram(
            "ddsched_nb.request.duration", "s", "From permit to answer"
        )
        self._permit_wait = made.create_histogram(
            "ddsched_nb.request.wait", "s", "From asking for a permit to having it"
        )
        self._queue_wait = made.create_histogram(
            "ddsched_nb.task.wait", "s", "From queued to its lease"
        )
        self._in_flight = made.create_up_down_counter(
            "ddsched_nb.requests.in_flight", "{request}", "Permits that are out"
        )
        self._waits: dict[Any, float] = {}

    def __call__(self, event: ev.Event) -> None:
        """Takes an event."""
        measure = _MEASURES.get(type(event))
        if measure is not None:
            measure(self, event)

    def _with(self, **more: str) -> dict[str, str | int | float | bool]:
        return {**self._fixed, **more}

    def _since(self, key: Any, now: float) -> float | None:
        began = self._waits.pop(key, None)
        return None if began is None else max(0.0, now - began)

    def _begin(self, key: Any, now: float) -> None:
        if len(self._waits) >= _MOST_WAITS:
            self._waits.pop(next(iter(self._waits)))
        self._waits[key] = now

    def queued(self, event: ev.ReadyEnqueued) -> None:
        self._begin(event.task_id, event.at)

    def leased(self, event: ev.TaskLeaseAcquired) -> None:
        waited = self._since(event.task_id, event.at)
        if waited is not None:
            self._queue_wait.record(waited, self._with())

    def denied(self, event: ev.AdmissionDenied) -> None:
        self._denied.add(1, self._with(reason=str(event.reason)))

    def ended(self, event: ev.TaskCompleted) -> None:
        self._tasks.add(1, self._with(outcome=event.outcome))

    def stored(self, event: ev.RowGroupCheckpointed) -> None:
        self._rows.add(event.rows_kept, self._with(outcome="finished"))
        self._rows.add(event.rows_dropped, self._with(outcome="dropped"))

    def asks(self, event: ev.RequestWaitStarted) -> None:
        self._begin((event.pool, event.waiter_id), event.at)

    def gives_up(self, event: ev.RequestWaitTimeout | ev.RequestWaitCancelled) -> None:
        self._waits.pop((event.pool, event.waiter_id), None)

    def permitted(self, event: ev.RequestLeaseAcquired) -> None:
        self._in_flight.add(1, self._with(domain=event.pool.domain))
        waited = self._since((event.pool, event.waiter_id), event.at)
        if waited is not None:
            self._permit_wait.record(waited, self._with(domain=event.pool.domain))

    def returned(self, event: ev.RequestLeaseReleased) -> None:
        self._in_flight.add(-1, self._with(domain=event.pool.domain))

    def answered(self, event: ev.ModelRequestCompleted) -> None:
        how = self._with(domain=event.pool.domain, outcome=str(event.outcome))
        self._requests.add(1, how)
        self._service.record(event.seconds, how)
        if event.tokens:
            prompt = event.tokens - event.completion_tokens
            self._tokens.add(prompt, self._with(domain=event.pool.domain, type="prompt"))
            written = event.completion_tokens
            self._tokens.add(written, self._with(domain=event.pool.domain, type="completion"))

    def moved(self, event: ev.LimitMoved) -> None:
        way = "up" if event.after > event.before else "down"
        self._limits.add(1, self._with(domain=event.pool.domain, direction=way))

    def cools(self, event: ev.RequestCooldownStarted) -> None:
        self._cooldowns.add(1, self._with(domain=event.pool.domain, reason=event.reason))


_MEASURES: dict[type, Callable[[OpenTelemetryMetrics, Any], None]] = {
    ev.ReadyEnqueued: OpenTelemetryMetrics.queued,
    ev.TaskLeaseAcquired: OpenTelemetryMetrics.leased,
    ev.AdmissionDenied: OpenTelemetryMetrics.denied,
    ev.TaskCompleted: OpenTelemetryMetrics.ended,
    ev.RowGroupCheckpointed: OpenTelemetryMetrics.stored,
    ev.RequestWaitStarted: OpenTelemetryMetrics.asks,
    ev.RequestWaitTimeout: OpenTelemetryMetrics.gives_up,
    ev.RequestWaitCancelled: OpenTelemetryMetrics.gives_up,
    ev.RequestLeaseAcquired: OpenTelemetryMetrics.permitted,
    ev.RequestLeaseReleased: OpenTelemetryMetrics.returned,
    ev.ModelRequestCompleted: OpenTelemetryMetrics.answered,
    ev.RequestLimitDecreased: OpenTelemetryMetrics.moved,
    ev.RequestLimitIncreased: OpenTelemetryMetrics.moved,
    ev.RequestCooldownStarted: OpenTelemetryMetrics.cools,
}
