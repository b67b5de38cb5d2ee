"""How a scheduler stands at an instant, read for a health snapshot.

Pure, and a reading: asking changes nothing. It must not know when or why it is asked.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from ddsched_nb.core.events import PoolHealth, SchedulerHealthSnapshot
from ddsched_nb.core.model import PoolKey
from ddsched_nb.core.pressure import Loads, pressure
from ddsched_nb.core.schedule import Schedule


def health(
    schedule: Schedule, pools: Iterable[PoolKey], load: Loads, now: float, sequence: int
) -> SchedulerHealthSnapshot:
    """How a schedule stands at `now`.

    Args:
        schedule: The schedule.
        pools: The pools that its tasks' calls go to.
        load: How a pool stands.
        now: The instant, in seconds of the loop's clock.
        sequence: The event's number in its stream.
    """
    dispatcher, governor = schedule.dispatcher, schedule.governor
    admission = dispatcher.admission
    free = {str(resource): admission.free(resource) for resource in admission.capacities}
    demand: Counter[str] = Counter()
    for flow in schedule.resolver.flows:
        queued = dispatcher.queued(flow.key)
        for resource, units in flow.resources if queued else ():
            demand[resource] += queued * units
    blocked: Counter[str] = Counter()
    for (reason, _), flows in dispatcher.blocked().items():
        blocked[reason.value] += flows
    return SchedulerHealthSnapshot(
        now,
        sequence,
        running=admission.leases,
        aside=admission.aside,
        queued=len(dispatcher),
        deferred=len(schedule.deferrals),
        open_groups=governor.open_groups,
        target_groups=governor.target,
        group_cap=governor.cap,
        admitted_rows=governor.open_rows,
        leased={str(r): n - free[r] for r, n in admission.capacities.items()},
        available=free,
        demand=dict(demand),
        blocked=dict(blocked),
        skips=dispatcher.passed_over,
        pools={pool.label: _pool(schedule, pool, load, now) for pool in pools},
    )


def _pool(schedule: Schedule, pool: PoolKey, load: Loads, now: float) -> PoolHealth:
    found = load(pool, now)
    why = pressure(found, schedule.dispatcher.sent_off(pool))
    # JSON knows no infinity.
    until = None if found.cooling_until == math.inf else found.cooling_until
    return PoolHealth(
        found.limit, found.in_flight, found.waiters, until, None if why is None else why.value
    )
