"""The weight of a flow: what may be one."""

from __future__ import annotations

import math
from collections.abc import Hashable

from ddsched_nb.errors import ConfigError


def check_weight(flow: Hashable, weight: float) -> None:
    """Refuses a weight that no flow can have.

    Raises:
        ConfigError: `weight` is not a finite number above 0.
    """
    if not 0 < weight < math.inf:
        raise ConfigError(f"weight of flow {flow!r} is {weight!r}; give a finite number above 0")
