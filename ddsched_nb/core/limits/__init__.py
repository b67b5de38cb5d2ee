"""The limits, one algorithm a file. A new one is a class named in `LIMITS`."""

from __future__ import annotations

from ddsched_nb.core.limits.aimd import AIMDLimit
from ddsched_nb.core.limits.base import Cooldown, Limit
from ddsched_nb.core.limits.ceiling import CeilingLimit
from ddsched_nb.core.limits.fixed import FixedLimit

LIMITS: tuple[type[Limit], ...] = (FixedLimit, AIMDLimit, CeilingLimit)

__all__ = ["LIMITS", "AIMDLimit", "CeilingLimit", "Cooldown", "FixedLimit", "Limit"]
