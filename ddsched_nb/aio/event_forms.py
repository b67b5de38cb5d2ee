"""What core values look like in events."""

from __future__ import annotations

import math

from ddsched_nb.core import events as ev
from ddsched_nb.core.pool_facts import Budget, Change, CooldownStart, Recovered


def shape_of(budget: Budget) -> ev.BudgetShape:
    declared = (None, None) if budget.pacing is None else budget.pacing.declared
    cap = None if budget.cap == math.inf else int(budget.cap)
    return ev.BudgetShape(budget.name, cap, *declared)


def event_of(change: Change, now: float, sequence: int) -> ev.RequestEvent:
    """The event that tells of a change of a pool."""
    if isinstance(change, CooldownStart):
        return ev.RequestCooldownStarted(now, sequence, change.pool, change.until, change.reason)
    if isinstance(change, Recovered):
        return ev.RequestFullyRecovered(now, sequence, change.pool, change.since)
    lower = change.after < change.before
    kind = ev.RequestLimitDecreased if lower else ev.RequestLimitIncreased
    moved = (now, sequence, change.pool, change.before, change.after, str(change.reason))
    cause = change.sample
    if cause is None:
        return kind(*moved)
    return kind(*moved, change.permit_id, cause.in_flight, cause.served, cause.limit, cause.rtt)
