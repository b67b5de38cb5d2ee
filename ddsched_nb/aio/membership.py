"""What a limiter has in one account: its pools there, its permits, the history of its limits."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from ddsched_nb.aio.account import Account
from ddsched_nb.aio.reporters import RequestReporter
from ddsched_nb.core.model import Outcome, Permit, PoolKey, ReleaseStatus
from ddsched_nb.core.pool_facts import Change, LimitChange

_HISTORY = 10_000


class LimitPoint(NamedTuple):
    """A limit from an instant on, and what moved it.

    Attributes:
        at: The instant, in seconds on the loop's clock.
        limit: The limit from then on.
        reason: `start`, `cap`, `asked`, or the outcome of the request that moved it.
        permit_id: The permit of that request.
        in_flight: In flight when it was granted.
        served: Those of them that were not refused.
        seconds: How long it took.
    """

    at: float
    limit: int
    reason: str
    permit_id: int | None = None
    in_flight: int = 0
    served: int = 0
    seconds: float = 0.0


class Place(NamedTuple):
    """Where a pool of ours is, and its name there."""

    member: Membership
    pool: PoolKey


class Membership:
    """One client of an account. Translates the account's names of pools into the limiter's.

    Args:
        account: Which one.
        reporter: Tells what happens.
    """

    def __init__(self, account: Account, reporter: RequestReporter) -> None:
        self.account = account
        self._reporter = reporter
        self._ours: dict[PoolKey, PoolKey] = {}
        self._history: dict[PoolKey, deque[LimitPoint]] = {}
        self.permits = 0
        self.number = account.join(self)

    def add(self, ours: PoolKey, theirs: PoolKey, limit: int, at: float) -> None:
        """Notes a pool, and where its limit starts."""
        self._ours[theirs] = ours
        self._history[ours] = deque([LimitPoint(at, limit, "start")], maxlen=_HISTORY)

    def history(self, ours: PoolKey) -> tuple[LimitPoint, ...]:
        """How the limit of a pool went."""
        return tuple(self._history[ours])

    def translated(self, permit: Permit) -> Permit:
        """A permit of the account, in our names."""
        ours = self._ours[permit.pool]
        return permit if ours is permit.pool or ours == permit.pool else permit._replace(pool=ours)

    def granted(self, permit: Permit) -> None:
        """A permit went to one of our waiters."""
        self.permits += 1
        if self._reporter.bus.listening:
            self._reporter.acquired(self.translated(permit))

    def released(self, permit: Permit, outcome: Outcome, status: ReleaseStatus, now: float) -> None:
        """A permit of ours came back."""
        self.permits -= 1
        if self._reporter.bus.listening:
            in_flight = self.account.admission.in_flight(permit.pool)
            self._reporter.released(self.translated(permit), outcome, status, in_flight, now)

    def changed(self, change: Change, now: float) -> None:
        """A limit moved, or a pool stopped or went on."""
        ours = self._ours.get(change.pool)
        if ours is None:
            return
        if isinstance(change, LimitChange):
            self._history[ours].append(_point(change, now))
        self._reporter.changed(change._replace(pool=ours), now)

    def joined(self, clients: int, now: float) -> None:
        """Others share the account from now on."""
        for ours in self._ours.values():
            self._reporter.shared(ours, clients, now)


def _point(change: LimitChange, now: float) -> LimitPoint:
    cause = change.sample
    if cause is None:
        return LimitPoint(now, change.after, str(change.reason))
    return LimitPoint(
        now,
        change.after,
        str(change.reason),
        change.permit_id,
        cause.in_flight,
        cause.served,
        cause.rtt,
    )
