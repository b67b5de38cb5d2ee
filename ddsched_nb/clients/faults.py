"""Error injection: which requests an embedded endpoint spoils, and how.

Decides from the prompt alone, so that the same prompts are hit whatever the order of arrival.
"""

from __future__ import annotations

from collections import Counter

from ddsched_nb.clients.profile import EndpointProfile, Fault

__all__ = ["FaultCounter"]


class FaultCounter:
    """Counts the attempts of prompts that are hit, and of no others.

    Args:
        profile: The model whose faults they are.
    """

    __slots__ = ("_attempts", "_profile")

    def __init__(self, profile: EndpointProfile) -> None:
        self._profile = profile
        self._attempts: Counter[str] = Counter()

    def next(self, key: str) -> Fault | None:
        """The fault that this attempt at a prompt meets, if any; counts the attempt."""
        fault = self._profile.fault(key)
        if fault is None or fault.attempts is None:
            return fault
        # Stays known after the last faulty attempt, or the prompt would be hit anew.
        if self._attempts[key] >= fault.attempts:
            return None
        self._attempts[key] += 1
        return fault
