"""The facts that a run emits, one frozen type a kind. Pure data: no clock, no sink, no formatting.

Kinds keep the reference's snake_case names on the wire (Data Designer pull request 661), so that
its event files and ours read alike. Every event has `at` (seconds on the run's loop clock) and
`sequence` (a counter per stream). None carries prompts, answers, row values or keys.
"""

from __future__ import annotations

import msgspec

from ddsched_nb.core.event import (
    Event as Event,
    RequestEvent as RequestEvent,
    TaskEvent as TaskEvent,
)
from ddsched_nb.core.model import DenyReason, FlowKey, PoolKey, ReleaseStatus, ResourceKey
from ddsched_nb.core.request_events import (
    BudgetShape as BudgetShape,
    LimitMoved as LimitMoved,
    ModelRequestCompleted as ModelRequestCompleted,
    ModelRequestStarted as ModelRequestStarted,
    RequestCooldownStarted as RequestCooldownStarted,
    RequestEffectiveCapChanged as RequestEffectiveCapChanged,
    RequestFullyRecovered as RequestFullyRecovered,
    RequestLeaseAcquired as RequestLeaseAcquired,
    RequestLeaseReleased as RequestLeaseReleased,
    RequestLimitDecreased as RequestLimitDecreased,
    RequestLimitIncreased as RequestLimitIncreased,
    RequestPoolShared as RequestPoolShared,
    RequestRateLimited as RequestRateLimited,
    RequestReleaseDiagnostic as RequestReleaseDiagnostic,
    RequestResourceRegistered as RequestResourceRegistered,
    RequestWaitCancelled as RequestWaitCancelled,
    RequestWaitStarted as RequestWaitStarted,
    RequestWaitTimeout as RequestWaitTimeout,
)


class FlowShape(msgspec.Struct, frozen=True, gc=False):
    """What the tasks of a column have in common.

    Attributes:
        flow: Label of the flow they belong to.
        weight: The flow's weight.
        resources: What each of them holds while it runs.
        pool: Label of the pool that its calls go to, if it is one.
        tasks: What one of them serves: a `cell`, or a row group from scratch (`root`) or with its
            inputs (`batch`).
    """

    flow: str
    weight: float
    resources: dict[str, int]
    pool: str | None = None
    tasks: str = "cell"


class SchedulerJobStarted(Event, frozen=True, gc=False):
    """The shape of a run.

    Attributes:
        rows: Rows of the table.
        row_groups: Row groups in all.
        columns: The columns, as declared.
        capacities: What exists of each of the scheduler's resources.
        flows: By column and hook, what its tasks have in common.
        run_id: Tells runs apart; of a simulation, its name and seed.
        group_size: Rows of a row group; the last may have fewer.
        roots: The columns that need none.
        depth: Columns of the longest chain.
        modes: Settings that decide how it is scheduled, by their names.
    """

    rows: int
    row_groups: int
    columns: tuple[str, ...]
    capacities: dict[str, int]
    flows: dict[str, FlowShape] = {}  # noqa: RUF012 - msgspec copies it
    run_id: str = ""
    group_size: int = 0
    roots: tuple[str, ...] = ()
    depth: int = 0
    modes: dict[str, str] = {}  # noqa: RUF012 - msgspec copies it


class PoolHealth(msgspec.Struct, frozen=True, gc=False):
    """How a pool stands.

    Attributes:
        limit: Its limit.
        in_flight: Its permits that are out.
        waiters: Who waits for one.
        cooling_until: No permit before this instant; 0 if it is not cooling, None if nobody knows
            how long it will.
        pressure: Why a further call would wait; None if it would go out at once.
    """

    limit: int
    in_flight: int
    waiters: int
    cooling_until: float | None
    pressure: str | None


class SchedulerHealthSnapshot(Event, frozen=True, gc=False):
    """How the scheduler stands: at start and end, at each decision about row groups, and else at
    most once a second.

    Attributes:
        running: Tasks that hold a lease.
        aside: Those of them that stepped aside.
        queued: Tasks that wait for a lease.
        deferred: Cells that are put aside to be tried again.
        open_groups: Row groups that are open.
        target_groups: How many may be open.
        group_cap: What that never exceeds.
        admitted_rows: Rows of the open ones.
        leased: What is leased of each resource.
        available: What is free of each.
        demand: What queued tasks want of each.
        blocked: Flows that wait, counted by why.
        skips: Candidates that the advisory passed over so far.
        pools: How each pool stands, by its label.
    """

    running: int
    aside: int
    queued: int
    deferred: int
    open_groups: int
    target_groups: int
    group_cap: int
    admitted_rows: int
    leased: dict[str, int]
    available: dict[str, int]
    demand: dict[str, int]
    blocked: dict[str, int]
    skips: int
    pools: dict[str, PoolHealth]


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


class RunAdjusted(Event, frozen=True, gc=False):
    """A setting was changed while the run went on; caps of models have an event of their own."""

    setting: str
    before: str
    after: str


class TaskCapacityChanged(Event, frozen=True, gc=False):
    """There is more or less of the scheduler's resources from now on; less lets holders finish."""

    capacities: dict[str, int]


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
    SchedulerHealthSnapshot,
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
    RunAdjusted,
    TaskCapacityChanged,
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
