"""Work whose scheduling is worth watching, one workload a module."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from ddsched_nb.errors import ConfigError

if TYPE_CHECKING:
    from ddsched_nb.workloads.base import Workload

__all__ = ["find_workload"]


def find_workload(name: str) -> Workload:
    """The workload of this name.

    Raises:
        ConfigError: There is none.
    """
    from ddsched_nb.workloads.catalog import WORKLOADS  # all of them: when called

    named = {workload.name: workload for workload in WORKLOADS}
    if name not in named:
        close = difflib.get_close_matches(name, named, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ConfigError(f"there is no workload {name!r}; {hint}there are {', '.join(named)}")
    return named[name]
