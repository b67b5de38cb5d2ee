"""The nouns of scheduling. Values only: nothing here decides, waits or reads a clock.

Instants (`now`, `deadline`, `*_at`) and durations (`*_s`, `rtt`, `retry_after`) are seconds.
What the hot path makes by the million is a NamedTuple, which is cheaper than a frozen dataclass.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple, NewType

from ddsched_nb.reprs import facts_html

Domain = Literal["chat", "embedding", "image", "healthcheck"]
DOMAINS: tuple[Domain, ...] = ("chat", "embedding", "image", "healthcheck")

FlowKind = Literal["local", "model", "custom_model"]
Granularity = Literal["cell", "root", "batch"]

ResourceKey = NewType("ResourceKey", str)
Resources = tuple[tuple[ResourceKey, int], ...]

SUBMISSION = ResourceKey("submission")
LLM_WAIT = ResourceKey("llm_wait")
LOCAL = ResourceKey("local")

SHARED = frozenset({SUBMISSION, LLM_WAIT})
"""What tasks of all models share: a task that only waits for its model may do without."""


class ModelKey(NamedTuple):
    """One model of one provider, whatever the aliases it is known by."""

    provider: str
    model: str

    @property
    def label(self) -> str:
        return f"{self.provider}/{self.model}"


class PoolKey(NamedTuple):
    """What one limit governs: a model of a provider in one domain.

    The canonical request resource, on the side of the scheduler and on that of admission.
    """

    provider: str
    model: str
    domain: Domain = "chat"

    @property
    def model_key(self) -> ModelKey:
        return ModelKey(self.provider, self.model)

    @property
    def label(self) -> str:
        return f"{self.provider}/{self.model}/{self.domain}"


class FlowKey(NamedTuple):
    """Names a stream of tasks that shares fairness."""

    kind: FlowKind
    identity: tuple[str | int | bool, ...]

    @property
    def label(self) -> str:
        return "/".join((self.kind, *map(str, self.identity)))


class Flow(NamedTuple):
    """A flow with its weight and with what each of its tasks holds while it runs."""

    key: FlowKey
    weight: float
    resources: Resources


class ColumnSpec(NamedTuple):
    """The shape of a column: what the graph and the frontier need to know of it.

    Attributes:
        name: The column's name; also its first output unless `outputs` says otherwise.
        needs: Names of the columns it reads.
        outputs: Names of the columns it writes.
        granularity: `cell` is one task a row; `root` is one task a row group, from scratch; `batch`
            is one task a row group, over all its rows that are left.
        after: Names of columns that must be done first, though it reads nothing of theirs.
    """

    name: str
    needs: tuple[str, ...]
    outputs: tuple[str, ...]
    granularity: Granularity = "cell"
    after: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether one task serves a whole row group."""
        return self.granularity != "cell"


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Rows `start` (included) to `stop` (excluded), finished and stored together."""

    index: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


class Task(NamedTuple):
    """One piece of work: a cell, or a whole row group of a column where `row` is None."""

    column: str
    row_group: int
    row: int | None


class ReadyTask(NamedTuple):
    """A task whose inputs exist, resolved to what scheduling needs to know."""

    task: Task
    task_id: str
    flow: Flow
    pool: PoolKey | None
    priority: int


class Lease(NamedTuple):
    """What a task holds from admission to its end. Released exactly once."""

    lease_id: int
    issuer: int
    flow: FlowKey
    resources: Resources
    task_id: str
    borrowed: Resources = ()

    def _repr_html_(self) -> str:
        facts = [
            ("task", self.task_id),
            ("flow", self.flow.label),
            ("holds", _units(self.resources)),
            ("of that borrowed", _units(self.borrowed)),
        ]
        return facts_html(f"lease {self.lease_id}", facts)


class Permit(NamedTuple):
    """What one request holds in flight. Released exactly once.

    `limit` and `in_flight` are those of the pool just after the grant: they tell a burst of
    refusals from new evidence.
    """

    permit_id: int
    issuer: int
    pool: PoolKey
    waiter_id: int
    granted_at: float
    limit: int
    in_flight: int

    def _repr_html_(self) -> str:
        facts = [
            ("pool", self.pool.label),
            ("waiter", self.waiter_id),
            ("granted at s", f"{self.granted_at:.3f}"),
            ("limit then", self.limit),
            ("in flight then", self.in_flight),
        ]
        return facts_html(f"permit {self.permit_id}", facts)


class OutcomeKind(StrEnum):
    """How a request ended. Only the remote kinds say anything about an endpoint."""

    SUCCESS = "success"
    RATE_LIMITED = "rate_limited"
    PROVIDER_FAILURE = "provider_failure"
    PROVIDER_TIMEOUT = "provider_timeout"
    LOCAL_CANCELLED = "local_cancelled"
    LOCAL_TIMEOUT = "local_timeout"
    UNEXPECTED_EXCEPTION = "unexpected_exception"


REMOTE_OUTCOMES = frozenset(
    {
        OutcomeKind.SUCCESS,
        OutcomeKind.RATE_LIMITED,
        OutcomeKind.PROVIDER_FAILURE,
        OutcomeKind.PROVIDER_TIMEOUT,
    }
)


class Usage(NamedTuple):
    """Tokens that a call used, as the provider counted them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


QuotaUnit = Literal["requests", "tokens"]


class Quota(NamedTuple):
    """What a server says of a quota per minute, in the headers of an answer.

    Attributes:
        unit: What it counts.
        limit: What it allows in a minute, if the server said so.
        remaining: What is left of it, as of the answer.
        reset_s: Seconds until it is whole again.
    """

    unit: QuotaUnit
    limit: float | None = None
    remaining: float | None = None
    reset_s: float | None = None


class Outcome(NamedTuple):
    """How a request ended, with what the server said about it.

    Attributes:
        kind: The class of the outcome.
        retry_after: Seconds the server asked to wait; binds the refused call.
        usage: Tokens used, where the call succeeded.
        retryable: Whether the same call may succeed later.
        quotas: What the server said of its quotas.
        spent: The quota that a refusal says is spent; None where too many were in flight, or where
            the server did not say.
        unavailable: Whether nobody was there to serve anything: no connection, 502, 503, 504, 529.
        denied: Whether the key, or what it may use, was refused: 401, 403.
    """

    kind: OutcomeKind
    retry_after: float | None = None
    usage: Usage | None = None
    retryable: bool = True
    quotas: tuple[Quota, ...] = ()
    spent: QuotaUnit | None = None
    unavailable: bool = False
    denied: bool = False


SUCCESS = Outcome(OutcomeKind.SUCCESS)


class Sample(NamedTuple):
    """What a limit learns from one finished request.

    Attributes:
        sent_at: When the permit was granted.
        now: When it was released.
        rtt: Seconds between the two.
        in_flight: Requests of the pool in flight just after the grant, this one included.
        limit: The pool's limit at the grant.
        served: `in_flight` less those of them that were refused later: proof of capacity.
        outcome: How the request ended.
    """

    sent_at: float
    now: float
    rtt: float
    in_flight: int
    limit: int
    served: int
    outcome: OutcomeKind


class DenyReason(StrEnum):
    """Why a ready task may not run now.

    A full resource and a ceiling hold for all; a share and a debt hold only while another flow
    could run.
    """

    RESOURCE_FULL = "resource_full"
    OVER_SHARE = "over_share"
    IN_DEBT = "in_debt"
    AT_CEILING = "at_ceiling"


class Admit(NamedTuple):
    """The verdict that a task may run; `borrowed` is what it takes above its share."""

    borrowed: Resources = ()


class Deny(NamedTuple):
    """The verdict that a task may not run now, and the resource that decided it."""

    reason: DenyReason
    resource: ResourceKey


class ReleaseStatus(StrEnum):
    """What became of a release. Only `RELEASED` gives anything back."""

    RELEASED = "released"
    DUPLICATE = "duplicate"
    STALE = "stale"
    FOREIGN = "foreign"
    UNKNOWN = "unknown"


def _units(resources: Resources) -> str:
    return ", ".join(f"{amount} {name}" for name, amount in resources) or "-"
