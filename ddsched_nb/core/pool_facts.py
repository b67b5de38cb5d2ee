"""What request admission says: grants, turns, changes of a pool, and how a pool stands."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from ddsched_nb.core.bucket import PacingStatistics
from ddsched_nb.core.limits import Signal
from ddsched_nb.core.model import Permit, PoolKey, Sample
from ddsched_nb.core.pacing import Pacing
from ddsched_nb.reprs import brief, facts_html, html_table

WaiterId = int


class LimitChange(NamedTuple):
    """A limit moved because of a request's outcome, or was moved (`sample` is None)."""

    pool: PoolKey
    before: int
    after: int
    reason: str
    permit_id: int | None = None
    sample: Sample | None = None


class CooldownStart(NamedTuple):
    """A pool stopped granting until an instant.

    `reason` is `refused`, or the quota that is spent, or `unavailable` where nobody serves
    anything: then one request at a time goes out afterwards, until one is answered.
    """

    pool: PoolKey
    until: float
    reason: str = "refused"


class Recovered(NamedTuple):
    """A pool that served nothing since an instant was answered again."""

    pool: PoolKey
    since: float


Change = LimitChange | CooldownStart | Recovered


class Grant(NamedTuple):
    """A waiter's permit."""

    waiter: WaiterId
    permit: Permit


class Turn(NamedTuple):
    """What one `advance` decided."""

    granted: list[Grant]
    expired: list[WaiterId]
    changes: list[Change]
    next_deadline: float


class Budget(NamedTuple):
    """What several models of one account share.

    Attributes:
        name: Names it; pools that give the same name share it.
        cap: Requests in flight at once, over all of them.
        pacing: Their quotas per minute.
    """

    name: str
    cap: float = math.inf
    pacing: Pacing | None = None


class PoolStatistics(NamedTuple):
    """How a pool stands. Asking changes nothing; instants are on the caller's clock."""

    pool: PoolKey
    algorithm: str
    limit: int
    cap: int
    in_flight: int
    waiters: int
    cooldown_until: float
    granted: int
    succeeded: int
    refused: int
    failed: int
    last_success_at: float
    tokens: int
    probing: bool = False
    signals: tuple[Signal, ...] = ()
    pacing: tuple[PacingStatistics, ...] = ()

    def __repr__(self) -> str:
        return brief(
            f"<PoolStatistics of {self.pool.label}: {self.in_flight} in flight, limit "
            f"{self.limit} of {self.cap}, {self.waiters} waiting, {self.succeeded} answered, "
            f"{self.refused} refused>"
        )

    def _repr_html_(self) -> str:
        shown = ((name, getattr(self, name)) for name in self._fields if name != "pool")
        named = [(name.replace("_", " "), _shown(value)) for name, value in shown if value != ()]
        return facts_html(self.pool.label, named)


def pools_html(found: Iterable[PoolStatistics], caption: str) -> str:
    """A table of pools, one a line."""
    heads = ("pool", "in flight", "limit", "cap", "waiting", "answered", "refused")
    rows = [
        (p.pool.label, p.in_flight, p.limit, p.cap, p.waiters, p.succeeded, p.refused)
        for p in found
    ]
    return html_table(heads, rows, caption=caption)


def _shown(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.3f}"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else value
