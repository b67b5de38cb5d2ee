"""Task policies: may a flow take a resource, seen what it holds and who else wants it?

A policy answers for one task. It must not know the queue, the ledger or the clock. To add one,
write a class with `name` and `decide`, and name it in `POLICIES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ddsched_nb.core.model import Admit, Deny, DenyReason, ReadyTask, ResourceKey

_ADMIT = Admit()


class TaskPolicy(Protocol):
    """Decides whether a task for which there is room may take it."""

    name: str

    def decide(
        self,
        task: ReadyTask,
        held: Mapping[ResourceKey, int],
        shares: Mapping[ResourceKey, int],
        contended: bool,
    ) -> Admit | Deny:
        """Answers for one task.

        Args:
            task: The task that would run; all its resources are free.
            held: What its flow holds, per resource.
            shares: The flow's share by weight, per resource.
            contended: Whether another flow could run a task now.
        """
        ...


class StrictFair:
    """A flow stays within its share by weight while another flow could run.

    With nobody else able to run it may take what is free, so no slot idles.
    """

    name = "strict_fair"

    def decide(
        self,
        task: ReadyTask,
        held: Mapping[ResourceKey, int],
        shares: Mapping[ResourceKey, int],
        contended: bool,
    ) -> Admit | Deny:
        borrowed = []
        for resource, amount in task.flow.resources:
            over = held.get(resource, 0) + amount - shares[resource]
            if over <= 0:
                continue
            if contended:
                return Deny(DenyReason.OVER_SHARE, resource)
            borrowed.append((resource, min(over, amount)))
        return Admit(tuple(borrowed)) if borrowed else _ADMIT


POLICIES: tuple[type[TaskPolicy], ...] = (StrictFair,)
