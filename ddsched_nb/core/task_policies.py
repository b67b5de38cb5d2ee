"""Task policies: may a flow take a resource, seen what it holds and who else wants it?

A policy answers for one task. It must not know the queue, the ledger or the clock. To add one,
write a class with `name`, `decide` and `repayment`, and name it in `POLICIES`; to try one, give it
to `RunConfig(task_policy=...)` (see `own_policy`).

What a flow takes above its share is borrowed, and owed until it is repaid. Debt is marginal: a
task adds what lies above the share and no more, so `debt <= held` at all times.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, Protocol, get_args

from ddsched_nb.core.model import (
    Admit,
    Deny,
    DenyReason,
    Lease,
    ReadyTask,
    ResourceKey,
    Resources,
)
from ddsched_nb.errors import ConfigError

Units = Mapping[ResourceKey, int]
Repayment = Literal["per_flow", "per_lease"]

_ADMIT = Admit()
_NO_CEILINGS: Mapping[tuple[str, ResourceKey], int] = MappingProxyType({})


class TaskPolicy(Protocol):
    """Decides whether a task for which there is room may take it, and what a lease pays back."""

    name: str

    def decide(
        self, task: ReadyTask, held: Units, debt: Units, shares: Units, contended: bool
    ) -> Admit | Deny:
        """Answers for one task.

        Args:
            task: The task that would run; all its resources are free.
            held: What its flow holds, per resource.
            debt: What of that it owes, per resource.
            shares: The flow's share by weight, per resource.
            contended: Whether another flow could run a task now. Always False for a task within
                its flow's share, of a flow that owes nothing.
        """
        ...

    def repayment(self, lease: Lease, debt: Units) -> Resources:
        """What the end of `lease` pays back of what its flow owes; never more than it owes."""
        ...


class StrictFair:
    """A flow stays within its share by weight while another flow could run.

    With nobody else able to run it may take what is free, so no slot idles. What it holds above
    its share is known as its debt, and forbids nothing that the share does not.
    """

    name = "strict_fair"

    def decide(
        self, task: ReadyTask, held: Units, debt: Units, shares: Units, contended: bool
    ) -> Admit | Deny:
        borrowed = above_share(task, held, shares)
        if not borrowed:
            return _ADMIT
        return Deny(DenyReason.OVER_SHARE, borrowed[0][0]) if contended else Admit(borrowed)

    def repayment(self, lease: Lease, debt: Units) -> Resources:
        return paid(lease.resources, debt)


class BoundedBorrow:
    """A flow borrows above its share only while no other flow could run, and then repays first.

    While another flow could run, one that owes takes nothing, whatever it holds, and one that
    owes nothing stays within its share. With nobody else able to run it may borrow what is free,
    up to its ceiling. A flow that holds nothing is at no ceiling: whatever is configured, one
    task may run.

    Who repays is an option:

    * `per_flow`, the reference's way: any lease of the flow that ends pays its debt first. So the
      debt is what the flow holds above its share, and without ceilings a task is admitted
      wherever `StrictFair` admits it; a denial says whether it is for the share or for a debt.
    * `per_lease`, stricter: only the lease that borrowed pays, so its debt stays until that very
      lease ends. A flow with one long borrowed task takes nothing from its peers until then, even
      below its share.

    Source: bounded borrow of Data Designer pull request 661. There the share is rounded down,
    which lost slots, and the debt was not marginal (#693).

    Args:
        ceiling: The most that a flow may hold borrowed of any one resource; without bound if
            None. A ceiling leaves slots free that nobody else wants.
        ceilings: Ceilings of single flows, by the flow's label and resource; they go before
            `ceiling`.
        repayment: Who repays.

    Raises:
        ConfigError: A ceiling is below 0, or `repayment` is none of the two.
    """

    name = "bounded_borrow"

    def __init__(
        self,
        ceiling: int | None = None,
        ceilings: Mapping[tuple[str, ResourceKey], int] = _NO_CEILINGS,
        repayment: Repayment = "per_flow",
    ) -> None:
        for most in (*ceilings.values(), *(() if ceiling is None else (ceiling,))):
            if most < 0:
                raise ConfigError(f"a ceiling is {most}; give 0 or more units")
        if repayment not in get_args(Repayment):
            known = ", ".join(get_args(Repayment))
            raise ConfigError(f"repayment is {repayment!r}; give one of {known}")
        self._ceiling = ceiling
        self._ceilings = dict(ceilings)
        self._bounded = ceiling is not None or bool(ceilings)
        self._per_lease = repayment == "per_lease"

    def decide(
        self, task: ReadyTask, held: Units, debt: Units, shares: Units, contended: bool
    ) -> Admit | Deny:
        borrowed = above_share(task, held, shares)
        # First, since it holds whoever else could run.
        if borrowed and self._bounded:
            for resource, amount in borrowed:
                if self._above_ceiling(task, resource, held, debt.get(resource, 0) + amount):
                    return Deny(DenyReason.AT_CEILING, resource)
        if contended:
            for resource, _ in task.flow.resources:
                if debt.get(resource, 0):
                    return Deny(DenyReason.IN_DEBT, resource)
            if borrowed:
                return Deny(DenyReason.OVER_SHARE, borrowed[0][0])
        return Admit(borrowed) if borrowed else _ADMIT

    def repayment(self, lease: Lease, debt: Units) -> Resources:
        return paid(lease.borrowed if self._per_lease else lease.resources, debt)

    def _above_ceiling(
        self, task: ReadyTask, resource: ResourceKey, held: Units, owed: int
    ) -> bool:
        if not held.get(resource, 0):
            return False
        most = self._ceilings.get((task.flow.key.label, resource), self._ceiling)
        return most is not None and owed > most


POLICIES: tuple[type[TaskPolicy], ...] = (StrictFair, BoundedBorrow)


def above_share(task: ReadyTask, held: Units, shares: Units) -> Resources:
    """What of the task lies above its flow's share."""
    above: Resources = ()  # as a rule it stays empty, and then costs nothing
    for resource, amount in task.flow.resources:
        over = held.get(resource, 0) + amount - shares[resource]
        if over > 0:
            above = (*above, (resource, min(over, amount)))
    return above


def paid(given_back: Resources, debt: Units) -> Resources:
    """What of the debt is paid by what is given back."""
    paid = ((r, min(amount, debt.get(r, 0))) for r, amount in given_back)
    return tuple((r, amount) for r, amount in paid if amount)
