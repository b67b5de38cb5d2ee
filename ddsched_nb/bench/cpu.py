"""CPU time of this process, by the operating system's account: the only thing timed by no loop."""

from __future__ import annotations

import resource


def cpu_s() -> float:
    """Seconds of CPU that this process has used, in user and system mode."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
