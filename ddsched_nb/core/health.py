"""How a scheduler stands at an instant, in figures: what a health snapshot holds.

Pure, and a reading: asking changes nothing. It must not know when or why it is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from ddsched_nb.core.model import PoolKey, ResourceKey
from ddsched_nb.core.pressure import Loads, PoolLoad, pressure
from ddsched_nb.core.schedule import Schedule


class Health(NamedTuple):
    """How a scheduler stands.

    Attributes:
        running: Tasks that hold a lease.
        aside: Those of them that stepped aside.
        queued: Tasks that wait for a lease.
        deferred: Cells that were put aside to be tried again.
        open_groups: Row groups opened and not finished.
        target_groups: How many may be open.
        group_cap: What that never exceeds.
        admitted_rows: Rows of the open groups.
        leased: What is leased of each resource.
        available: What is free of each.
        demand: What the queued tasks want of each.
        blocked: Flows that wait, counted by why.
        skips: Candidates that the advisory passed over so far.
        pools: How each pool stands, and why a further call of it would wait.
    """

    running: int
    aside: int
    queued: int
    deferred: int
    open_groups: int
    target_groups: int
    group_cap: int
    admitted_rows: int
    leased: dict[ResourceKey, int]
    available: dict[ResourceKey, int]
    demand: dict[ResourceKey, int]
    blocked: dict[str, int]
    skips: int
    pools: dict[PoolKey, tuple[PoolLoad, str | None]]


def health(schedule: Schedule, pools: Iterable[PoolKey], load: Loads, now: float) -> Health:
    """How a schedule stands at `now`.

    Args:
        schedule: The schedule.
        pools: The pools that its tasks' calls go to.
        load: How a pool stands.
        now: The instant, in seconds of the loop's clock.
    """
    dispatcher, governor = schedule.dispatcher, schedule.governor
    admission = dispatcher.admission
    free = {resource: admission.free(resource) for resource in admission.capacities}
    demand: Counter[ResourceKey] = Counter()
    for flow in schedule.resolver.flows:
        queued = dispatcher.queued(flow.key)
        for resource, units in flow.resources if queued else ():
            demand[resource] += queued * units
    blocked: Counter[str] = Counter()
    for (reason, _), flows in dispatcher.blocked().items():
        blocked[reason.value] += flows
    loads = {pool: load(pool, now) for pool in pools}
    return Health(
        running=admission.leases,
        aside=admission.aside,
        queued=len(dispatcher),
        deferred=len(schedule.deferrals),
        open_groups=governor.open_groups,
        target_groups=governor.target,
        group_cap=governor.cap,
        admitted_rows=governor.open_rows,
        leased={r: n - free[r] for r, n in admission.capacities.items()},
        available=free,
        demand=dict(demand),
        blocked=dict(blocked),
        skips=dispatcher.passed_over,
        pools={pool: (it, _why(it, dispatcher.sent_off(pool))) for pool, it in loads.items()},
    )


def _why(load: PoolLoad, sent_off: int) -> str | None:
    reason = pressure(load, sent_off)
    return None if reason is None else reason.value
