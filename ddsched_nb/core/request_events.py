"""The facts that request admission emits; see `core.events`."""

from __future__ import annotations

import msgspec

from ddsched_nb.core.event import RequestEvent
from ddsched_nb.core.model import OutcomeKind, Quota, QuotaUnit, ReleaseStatus


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
        reason: The outcome that moved it, or `cap`, or `asked`.
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
