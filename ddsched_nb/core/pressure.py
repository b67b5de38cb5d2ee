"""The pressure advisory: would a call of this task go out at once, or only wait for its model?

A pure function over two statistics: how the pool stands with request admission, and how many tasks
the scheduler has sent its way. Advice, never a veto: it says whom to prefer among those who may
run. It must not acquire anything, and knows nothing of rows, flows or fairness.

Source: the request-pressure advisory of Data Designer pull request 661. There tasks that were sent
off and have not asked for a permit yet are overlooked, so that one turn can send more of them to an
open model than it has room for.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from ddsched_nb.core.model import PoolKey


class PressureReason(StrEnum):
    """Why a further call of a pool would wait."""

    COOLDOWN = "cooldown"
    AGGREGATE_CAP = "aggregate_cap"
    WAITERS = "waiters"
    LIMIT = "limit"
    SENT_OFF = "tasks_sent_off"


class PoolLoad(NamedTuple):
    """How a pool stands, as far as a scheduler needs to know.

    Attributes:
        limit: Its limit.
        in_flight: Its permits that are out.
        waiters: Who waits for one.
        model_cap: What its model may have in flight, over all domains and within its budget.
        model_in_flight: What its model has in flight.
        cooling_until: No permit before this instant, in seconds of the loop's clock; 0 if it is not
            cooling, `inf` if nobody knows: nothing is served, and it is probed.
    """

    limit: int
    in_flight: int
    waiters: int
    model_cap: float
    model_in_flight: int
    cooling_until: float

    @property
    def cooling(self) -> bool:
        """Whether it grants nothing but probes, for whatever reason."""
        return self.cooling_until > 0.0


Loads = Callable[[PoolKey, float], PoolLoad]
"""How a pool stands at an instant. Asking changes nothing."""


class Advisory(NamedTuple):
    """Where the advice comes from.

    Attributes:
        load: How a pool stands.
    """

    load: Loads

    def against(self, pool: PoolKey, sent_off: int, now: float) -> PressureReason | None:
        """Why a peer of another pool is to be preferred; None if a call would go out at once."""
        return pressure(self.load(pool, now), sent_off)


def pressure(load: PoolLoad, sent_off: int) -> PressureReason | None:
    """Why a further call of a pool would wait; None if it would go out at once.

    Args:
        load: How the pool stands with request admission.
        sent_off: Tasks that the scheduler sent its way and that have not ended. Those that have not
            asked for their permit yet would get one before a task that is sent off now.
    """
    if load.cooling:
        return PressureReason.COOLDOWN
    if load.model_in_flight >= load.model_cap:
        return PressureReason.AGGREGATE_CAP
    if load.waiters:
        return PressureReason.WAITERS
    if load.in_flight >= load.limit:
        return PressureReason.LIMIT
    return PressureReason.SENT_OFF if sent_off >= load.limit else None


def is_closed(load: PoolLoad, sent_off: int) -> bool:
    """Whether a pool serves us nothing, though not for want of tasks: it is cooling, or others on
    the same account hold all of it.

    Args:
        load: How the pool stands with request admission.
        sent_off: Tasks that the scheduler sent its way and that have not ended.
    """
    full = load.in_flight >= load.limit or load.model_in_flight >= load.model_cap
    return load.cooling or (full and sent_off <= load.waiters)
