"""Task policies that are not of this package: what they may leave out, and what is checked.

A reader's policy needs `decide`. A verdict that would leave a flow waiting for what never comes, or
books more than was taken, is refused with words. Must not know the queue or the ledger.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ddsched_nb.core.model import Admit, Deny, DenyReason, Lease, ReadyTask, Resources
from ddsched_nb.core.task_policies import POLICIES, TaskPolicy, Units, paid
from ddsched_nb.errors import ContractError


class OwnTaskPolicy(Protocol):
    """The least that a task policy of one's own has.

    Without a `name` it is called as its class; without `repayment` each lease that ends pays back
    what its flow owes, as under `strict_fair`.
    """

    def decide(
        self, task: ReadyTask, held: Units, debt: Units, shares: Units, contended: bool
    ) -> Admit | Deny:
        """Answers for one task; see `TaskPolicy.decide`. What must hold:

        * `Admit.borrowed` is no more than the task takes (`above_share` says what lies above).
        * With nobody else able to run (`contended` is false), it denies for `AT_CEILING` alone.
        * `AT_CEILING` only for a resource of which the flow holds something, `IN_DEBT` only for
          one of which it owes something: else nothing ever opens the way again.
        * `RESOURCE_FULL` is for the ledger to say.
        """
        ...


def policy_from(make: Callable[[], OwnTaskPolicy]) -> TaskPolicy:
    """Makes a policy, and puts a check around it where it is not one of `POLICIES`.

    Raises:
        ContractError: What was made is no task policy.
    """
    made: Any = make()
    return made if type(made) in POLICIES else CheckedPolicy(made)


class CheckedPolicy:
    """A policy that refuses the verdicts of another one that cannot be used.

    What it answers at the end of a lease is judged there and refused at the next `decide`: a lease
    that ends must be booked, whoever is wrong.

    Args:
        policy: The other one.

    Raises:
        ContractError: It lacks `decide`.
    """

    def __init__(self, policy: Any) -> None:
        if not callable(getattr(policy, "decide", None)):
            raise ContractError(
                f"{type(policy).__name__!r} is no task policy: it lacks decide; give a class or a "
                "function without arguments that makes an object with this method"
            )
        self.name = str(getattr(policy, "name", type(policy).__name__))
        self._policy = policy
        self.broken: ContractError | None = None

    def decide(
        self, task: ReadyTask, held: Units, debt: Units, shares: Units, contended: bool
    ) -> Admit | Deny:
        if self.broken is not None:
            raise self.broken
        verdict: Admit | Deny = self._policy.decide(task, held, debt, shares, contended)
        if isinstance(verdict, Admit):
            self._check_amounts("borrowed", verdict.borrowed, dict(task.flow.resources), task)
        elif isinstance(verdict, Deny):
            self._check_denial(task, verdict, held, debt, contended)
        else:
            raise self._broken(task, f"decide gave {verdict!r}; give an Admit or a Deny")
        return verdict

    def repayment(self, lease: Lease, debt: Units) -> Resources:
        if not hasattr(self._policy, "repayment"):
            return paid(lease.resources, debt)
        try:
            given: Resources = self._policy.repayment(lease, debt)
            self._check_amounts("repayment", given, debt, lease)
            return given
        except ContractError as error:
            self.broken = error
        except Exception as error:
            self.broken = self._broken(lease, f"repayment raised {type(error).__name__}: {error}")
            self.broken.__cause__ = error
        return paid(lease.resources, debt)

    def _check_denial(
        self, task: ReadyTask, verdict: Deny, held: Units, debt: Units, contended: bool
    ) -> None:
        reason, resource = verdict
        if resource not in dict(task.flow.resources):
            raise self._broken(task, f"denied for {resource!r}, which the task does not take")
        if reason is DenyReason.RESOURCE_FULL:
            raise self._broken(task, "denied as resource_full; a policy is asked only if it is not")
        if reason is DenyReason.AT_CEILING and not held.get(resource, 0):
            raise self._broken(
                task,
                f"denied at a ceiling of {resource!r}, of which its flow holds nothing, so that it "
                "would wait for ever; let a flow that holds nothing run one task",
            )
        if reason is DenyReason.IN_DEBT and not debt.get(resource, 0):
            raise self._broken(task, f"denied for a debt of {resource!r}, of which its flow owes 0")
        if not contended and reason is not DenyReason.AT_CEILING:
            raise self._broken(
                task,
                f"denied as {reason} though nobody else could run, so that it would be asked "
                "without end; admit it, or deny it as at_ceiling while its flow holds something",
            )

    def _check_amounts(self, what: str, given: Any, most: Units, of: ReadyTask | Lease) -> None:
        for resource, amount in given:
            if not 0 < amount <= most.get(resource, 0):
                raise self._broken(
                    of, f"{what} of {resource!r} is {amount!r}; give 1..{most.get(resource, 0)}"
                )

    def _broken(self, of: ReadyTask | Lease, said: str) -> ContractError:
        return ContractError(f"task policy {self.name!r}, task {of.task_id}: {said}")
