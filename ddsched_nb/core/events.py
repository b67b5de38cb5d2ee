"""The facts that a run emits, one frozen type a kind. Pure data: no clock, no sink, no formatting.

Kinds keep the reference's snake_case names on the wire (Data Designer pull request 661), so that
its event files and ours read alike. Every event has `at` (seconds on the run's loop clock) and
`sequence` (a counter per stream). None carries prompts, answers, row values or keys.
"""

from __future__ import annotations

import msgspec

from ddsched_nb.core.event import Event as Event
from ddsched_nb.core.event import RequestEvent as RequestEvent
from ddsched_nb.core.event import TaskEvent as TaskEvent
from ddsched_nb.core.model import DenyReason, FlowKey, PoolKey, ReleaseStatus, ResourceKey
from ddsched_nb.core.request_events import (
    BudgetShape as BudgetShape,
)
from ddsched_nb.core.request_events import (
    LimitMoved as LimitMoved,
)
from ddsched_nb.core.request_events import (
    ModelRequestCompleted as ModelRequestCompleted,
)
from ddsched_nb.core.request_events import (
    ModelRequestStarted as ModelRequestStarted,
)
from ddsched_nb.core.request_events import (
    RequestCooldownStarted as RequestCooldownStarted,
)
from ddsched_nb.core.request_events import (
    RequestEffectiveCapChanged as RequestEffectiveCapChanged,
)
from ddsched_nb.core.request_events import (
    RequestFullyRecovered as RequestFullyRecovered,
)
from ddsched_nb.core.request_events import (
    RequestLeaseAcquired as RequestLeaseAcquired,
)
from ddsched_nb.core.request_events import (
    RequestLeaseReleased as RequestLeaseReleased,
)
from ddsched_nb.core.request_events import (
    RequestLimitDecreased as RequestLimitDecreased,
)
from ddsched_nb.core.request_events import (
    RequestLimitIncreased as RequestLimitIncreased,
)
from ddsched_nb.core.request_events import (
    RequestPoolShared as RequestPoolShared,
)
from ddsched_nb.core.request_events import (
    RequestRateLimited as RequestRateLimited,
)
from ddsched_nb.core.request_events import (
    RequestReleaseDiagnostic as RequestReleaseDiagnostic,
)
from ddsched_nb.core.request_events import (
    RequestResourceRegistered as RequestResourceRegistered,
)
from ddsched_nb.core.request_events import (
    RequestWaitCancelled as RequestWaitCancelled,
)
from ddsched_nb.core.request_events import (
    RequestWaitStarted as RequestWaitStarted,
)
from ddsched_nb.core.request_events import (
    RequestWaitTimeout as RequestWaitTimeout,
)


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
    flows: dict[str, FlowShape] = {}  # noqa: RUF012 - msgspec copies it


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


class TaskSlotsYielded(TaskEvent, frozen=True, gc=False):
    """A task waits for its model; what it holds of `submission` and `llm_wait` goes to others."""

    lease_id: int


class TaskSlotsRetaken(TaskEvent, frozen=True, gc=False):
    """Its call goes out: it holds them again."""

    lease_id: int


class RequestPressureAdvisorySkipped(TaskEvent, frozen=True, gc=False):
    """A task was next and might have run; one whose model is open was preferred.

    Attributes:
        flow: Whose task it is.
        pool: Where its calls go.
        reason: Why they would have waited.
        preferred: The task that went before it.
    """

    flow: FlowKey
    pool: PoolKey
    reason: str
    preferred: str


class FlowWeightChanged(Event, frozen=True, gc=False):
    """A flow's share is drawn by another weight from now on."""

    flow: FlowKey
    before: float
    after: float


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
    TaskSlotsYielded,
    TaskSlotsRetaken,
    RequestPressureAdvisorySkipped,
    FlowWeightChanged,
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
