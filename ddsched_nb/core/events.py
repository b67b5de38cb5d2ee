"""The facts that a run emits, one frozen type a kind. Pure data: no clock, no sink, no formatting.

Kinds keep the reference's snake_case names on the wire (Data Designer pull request 661), so that
its event files and ours read alike. Every event has `at` (seconds on the run's loop clock) and
`sequence` (a counter per stream). None carries prompts, answers, row values or keys.
"""

from __future__ import annotations

import re

import msgspec

from ddsched_nb.core.model import (
    DenyReason,
    FlowKey,
    OutcomeKind,
    PoolKey,
    Quota,
    QuotaUnit,
    ReleaseStatus,
    ResourceKey,
)


def _wire_name(class_name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", class_name).lower()


class Event(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag=_wire_name):
    """Base of all events."""

    at: float
    sequence: int

    @property
    def kind(self) -> str:
        """The kind's name on the wire."""
        return str(type(self).__struct_config__.tag)


class TaskEvent(Event, frozen=True, gc=False):
    """Base of the events that concern one task."""

    task_id: str


class RequestEvent(Event, frozen=True, gc=False):
    """Base of the events of request admission; all concern one pool."""

    pool: PoolKey


# --- the scheduler's stream -----------------------------------------------------------------


class FlowShape(msgspec.Struct, frozen=True, gc=False):
    """What the tasks of a column have in common.

    Attributes:
        flow: Label of the flow they belong to.
        weight: The flow's weight.
        resources: What each of them holds while it runs.
        pool: Label of the pool that its calls go to, if it is one.
    """

    flow: str
    weight: float
    resources: dict[str, int]
    pool: str | None = None


class SchedulerJobStarted(Event, frozen=True, gc=False):
    rows: int
    row_groups: int
    columns: tuple[str, ...]
    capacities: dict[str, int]
    flows: dict[str, FlowShape] = {}


class SchedulerJobCompleted(Event, frozen=True, gc=False):
    state: str
    rows_finished: int
    rows_dropped: int


class SchedulerLoopLagged(Event, frozen=True, gc=False):
    """The event loop came back late: something held it."""

    seconds: float


class RunPaused(Event, frozen=True, gc=False):
    pass


class RunResumed(Event, frozen=True, gc=False):
    pass


class RowGroupAdmitted(Event, frozen=True, gc=False):
    row_group: int
    rows: int
    open_groups: int


class RowGroupAdmissionTargetChanged(Event, frozen=True, gc=False):
    """How many row groups may be open, and why that changed."""

    before: int
    after: int
    reason: str


class RowGroupAdmissionBlocked(Event, frozen=True, gc=False):
    """Why no further row group is opened; told when the reason changes."""

    reason: str


class RowGroupCheckpointed(Event, frozen=True, gc=False):
    row_group: int
    rows_kept: int
    rows_dropped: int


class DependencyReady(TaskEvent, frozen=True, gc=False):
    pass


class ReadyEnqueued(TaskEvent, frozen=True, gc=False):
    flow: FlowKey


class Selected(TaskEvent, frozen=True, gc=False):
    flow: FlowKey


class TaskLeaseAcquired(TaskEvent, frozen=True, gc=False):
    lease_id: int
    borrowed: bool


class TaskLeaseReleased(TaskEvent, frozen=True, gc=False):
    lease_id: int


class AdmissionDenied(TaskEvent, frozen=True, gc=False):
    flow: FlowKey
    reason: DenyReason
    resource: ResourceKey


class QueueDrained(Event, frozen=True, gc=False):
    pass


class WorkerSpawned(TaskEvent, frozen=True, gc=False):
    column: str
    row_group: int
    row: int | None


class WorkerSpawnFailed(TaskEvent, frozen=True, gc=False):
    error: str


class TaskCompleted(TaskEvent, frozen=True, gc=False):
    outcome: str


class RetryDeferred(TaskEvent, frozen=True, gc=False):
    not_before: float
    round: int
    reason: str


class SalvageRedispatched(TaskEvent, frozen=True, gc=False):
    round: int


class NonRetryableDropped(TaskEvent, frozen=True, gc=False):
    row: int | None
    error: str


class Cancelled(TaskEvent, frozen=True, gc=False):
    pass


class ReleaseDiagnostic(Event, frozen=True, gc=False):
    lease_id: int
    status: ReleaseStatus


# --- the stream of request admission --------------------------------------------------------


class BudgetShape(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What the models of an account share; rates per minute."""

    name: str
    cap: int | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None


class RequestResourceRegistered(RequestEvent, frozen=True, gc=False, omit_defaults=True):
    """A pool came into being; `aggregate_cap` is that of its provider/model, over all domains.

    Rates per minute are those that were declared. `signals` is what can move the limit: none of
    them, and it never moves; no latency, and a server that only gets slower is not noticed.
    """

    cap: int
    aggregate_cap: int
    limit: int
    algorithm: str
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    budget: BudgetShape | None = None
    signals: tuple[str, ...] = ()


class RequestPoolShared(RequestEvent, frozen=True, gc=False):
    """So many runs share a pool from now on: what others do is not in this record."""

    runs: int


class RequestWaitStarted(RequestEvent, frozen=True, gc=False):
    waiter_id: int
    task_id: str | None
    waiters: int
    not_before: float = 0.0
    tokens: float = 0.0


class RequestWaitTimeout(RequestEvent, frozen=True, gc=False):
    waiter_id: int


class RequestWaitCancelled(RequestEvent, frozen=True, gc=False):
    waiter_id: int


class RequestLeaseAcquired(RequestEvent, frozen=True, gc=False):
    permit_id: int
    waiter_id: int
    in_flight: int
    limit: int


class RequestLeaseReleased(RequestEvent, frozen=True, gc=False, omit_defaults=True):
    """A permit came back, with what the server said of its quotas and of itself."""

    permit_id: int
    outcome: OutcomeKind
    in_flight: int
    quotas: tuple[Quota, ...] = ()
    spent: QuotaUnit | None = None
    unavailable: bool = False


class ModelRequestStarted(RequestEvent, frozen=True, gc=False):
    permit_id: int
    task_id: str | None
    attempt: int


class ModelRequestCompleted(RequestEvent, frozen=True, gc=False):
    permit_id: int
    task_id: str | None
    outcome: OutcomeKind
    seconds: float
    tokens: int
    completion_tokens: int = 0


class RequestRateLimited(RequestEvent, frozen=True, gc=False):
    permit_id: int
    retry_after: float | None
    in_flight: int
    limit: int


class LimitMoved(RequestEvent, frozen=True, gc=False):
    """Base of the events about a limit that moved.

    Attributes:
        before: The limit until then.
        after: The limit from then on.
        reason: The outcome that moved it, or `cap`.
        permit_id: The permit of the request whose end moved it.
        in_flight: In flight just after that permit was granted.
        served: Those of them that were not refused.
        granted_limit: The limit at which it was granted.
        seconds: How long the request took.
    """

    before: int
    after: int
    reason: str
    permit_id: int | None = None
    in_flight: int = 0
    served: int = 0
    granted_limit: int = 0
    seconds: float = 0.0


class RequestLimitDecreased(LimitMoved, frozen=True, gc=False):
    pass


class RequestLimitIncreased(LimitMoved, frozen=True, gc=False):
    pass


class RequestEffectiveCapChanged(RequestEvent, frozen=True, gc=False):
    cap: int
    aggregate_cap: int


class RequestCooldownStarted(RequestEvent, frozen=True, gc=False):
    """A pool stops granting: `refused`, a quota that is spent, or nobody serves anything."""

    until: float
    reason: str = "refused"


class RequestFullyRecovered(RequestEvent, frozen=True, gc=False):
    """An endpoint that served nothing `since` an instant was heard of again."""

    since: float


class RequestReleaseDiagnostic(RequestEvent, frozen=True, gc=False):
    permit_id: int
    status: ReleaseStatus


EVENTS: tuple[type[Event], ...] = (
    SchedulerJobStarted,
    SchedulerJobCompleted,
    SchedulerLoopLagged,
    RunPaused,
    RunResumed,
    RowGroupAdmitted,
    RowGroupAdmissionTargetChanged,
    RowGroupAdmissionBlocked,
    RowGroupCheckpointed,
    DependencyReady,
    ReadyEnqueued,
    Selected,
    TaskLeaseAcquired,
    TaskLeaseReleased,
    AdmissionDenied,
    QueueDrained,
    WorkerSpawned,
    WorkerSpawnFailed,
    TaskCompleted,
    RetryDeferred,
    SalvageRedispatched,
    NonRetryableDropped,
    Cancelled,
    ReleaseDiagnostic,
    RequestResourceRegistered,
    RequestPoolShared,
    RequestWaitStarted,
    RequestWaitTimeout,
    RequestWaitCancelled,
    RequestLeaseAcquired,
    RequestLeaseReleased,
    ModelRequestStarted,
    ModelRequestCompleted,
    RequestRateLimited,
    RequestLimitDecreased,
    RequestLimitIncreased,
    RequestEffectiveCapChanged,
    RequestCooldownStarted,
    RequestFullyRecovered,
    RequestReleaseDiagnostic,
)
