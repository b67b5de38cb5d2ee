"""The limits, one algorithm a file. A new one is a class named in `LIMITS`.

To try one, give it to `try_limit` or `RequestAdmissionConfig(limit=...)` (see `own`).
"""

from __future__ import annotations

from ddsched_nb.core.limits.aimd import AIMDLimit
from ddsched_nb.core.limits.base import Cooldown, Limit, Signal, put
from ddsched_nb.core.limits.ceiling import CeilingLimit
from ddsched_nb.core.limits.fixed import FixedLimit
from ddsched_nb.core.limits.latency import LatencyLimit
from ddsched_nb.core.limits.own import OwnLimit, limit_from
from ddsched_nb.core.limits.wrappers import RampLimit, WindowLimit

LIMITS: tuple[type[Limit], ...] = (FixedLimit, AIMDLimit, CeilingLimit, LatencyLimit)

__all__ = [
    "LIMITS",
    "AIMDLimit",
    "CeilingLimit",
    "Cooldown",
    "FixedLimit",
    "LatencyLimit",
    "Limit",
    "OwnLimit",
    "RampLimit",
    "Signal",
    "WindowLimit",
    "limit_from",
    "put",
]
