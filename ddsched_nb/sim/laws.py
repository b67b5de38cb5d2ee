"""The laws of a run, as functions of its events: what must hold whatever the order of things."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from ddsched_nb.core import events as ev
from ddsched_nb.core.model import OutcomeKind, PoolKey
from ddsched_nb.sim.conserving import SlotsLaw

__all__ = ["broken_laws"]

_SLACK_S = 1e-9


def broken_laws(events: Iterable[Any], patience_s: float = 1e-6) -> list[str]:
    """What the events say that must not be, each in a sentence.

    Args:
        events: All of a run.
        patience_s: How long a turn, or a worker that could not be spawned, may have to wait.
    """
    book, slots = _Book(), SlotsLaw(patience_s)
    for event in events:
        take = _LAWS.get(type(event))
        if take is not None:
            take(book, event)
        slots.see(event)
    return book.broken + slots.broken + book.close()


class _Book:
    def __init__(self) -> None:
        self.broken: list[str] = []
        self.leases: Counter[int] = Counter()
        self.permits: Counter[int] = Counter()
        self.refused_at_limit: dict[PoolKey, int] = {}
        self.cooling: dict[PoolKey, float] = {}
        self.caps: dict[PoolKey, int] = {}
        self.ends: Counter[str] = Counter()

    def close(self) -> list[str]:
        open_leases = sum(self.leases.values())
        open_permits = sum(self.permits.values())
        found = [f"{open_leases} leases were never released"] if open_leases else []
        found += [f"{open_permits} permits were never released"] if open_permits else []
        twice = [task for task, ends in self.ends.items() if ends > 1]
        return found + [f"{task} was done {self.ends[task]} times" for task in twice[:1]]

    def lease_acquired(self, event: ev.TaskLeaseAcquired) -> None:
        self.leases[event.lease_id] += 1

    def lease_released(self, event: ev.TaskLeaseReleased) -> None:
        self.leases[event.lease_id] -= 1
        if self.leases[event.lease_id] < 0:
            self.broken.append(f"lease {event.lease_id} was released and nobody had it")

    def bad_release(self, event: ev.ReleaseDiagnostic) -> None:
        self.broken.append(f"lease {event.lease_id} was released wrongly: {event.status}")

    def bad_permit_release(self, event: ev.RequestReleaseDiagnostic) -> None:
        self.broken.append(f"permit {event.permit_id} was released wrongly: {event.status}")

    def registered(self, event: ev.RequestResourceRegistered) -> None:
        self.caps[event.pool] = event.cap

    def permit_acquired(self, event: ev.RequestLeaseAcquired) -> None:
        self.permits[event.permit_id] += 1
        cap = self.caps.get(event.pool, event.in_flight)
        if event.in_flight > min(cap, event.limit):
            self.broken.append(
                f"{event.in_flight} permits of {event.pool.label} at limit {event.limit}, cap {cap}"
            )
        if event.at < self.cooling.get(event.pool, 0.0) - _SLACK_S:
            self.broken.append(f"{event.pool.label} granted a permit during its cooldown")

    def permit_released(self, event: ev.RequestLeaseReleased) -> None:
        self.permits[event.permit_id] -= 1
        if self.permits[event.permit_id] < 0:
            self.broken.append(f"permit {event.permit_id} was released and nobody had it")

    def refused(self, event: ev.RequestRateLimited) -> None:
        self.refused_at_limit[event.pool] = event.limit

    def cooldown(self, event: ev.RequestCooldownStarted) -> None:
        self.cooling[event.pool] = event.until

    def decreased(self, event: ev.RequestLimitDecreased) -> None:
        if event.reason != OutcomeKind.RATE_LIMITED:
            return
        # Of a burst, the first decreases; the others were granted at the limit before it.
        if self.refused_at_limit.get(event.pool, 0) > event.before:
            self.broken.append(f"{event.pool.label} was decreased twice for one burst of refusals")

    def completed(self, event: ev.TaskCompleted) -> None:
        if event.outcome in ("done", "skipped"):
            self.ends[event.task_id] += 1


_LAWS: dict[type, Any] = {
    ev.TaskLeaseAcquired: _Book.lease_acquired,
    ev.TaskLeaseReleased: _Book.lease_released,
    ev.ReleaseDiagnostic: _Book.bad_release,
    ev.RequestReleaseDiagnostic: _Book.bad_permit_release,
    ev.RequestResourceRegistered: _Book.registered,
    ev.RequestLeaseAcquired: _Book.permit_acquired,
    ev.RequestLeaseReleased: _Book.permit_released,
    ev.RequestRateLimited: _Book.refused,
    ev.RequestCooldownStarted: _Book.cooldown,
    ev.RequestLimitDecreased: _Book.decreased,
    ev.TaskCompleted: _Book.completed,
}
