"""The ledger of task leases: what is free, who holds and owes what, and exact releases.

Answers whether a ready task may become a running worker, and books it. It must not know the
queue: who is asked, and in which order, is the dispatcher's affair.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import NamedTuple

from ddsched_nb.core.model import (
    SHARED,
    Admit,
    Deny,
    DenyReason,
    Flow,
    FlowKey,
    Lease,
    ReadyTask,
    ReleaseStatus,
    ResourceKey,
    Resources,
)
from ddsched_nb.core.task_policies import StrictFair, TaskPolicy
from ddsched_nb.errors import ConfigError
from ddsched_nb.reprs import brief, html_table

# Tells the leases of one ledger from those of another; it never enters an event.
_issuers = itertools.count(1)


class TaskStatistics(NamedTuple):
    """How task admission stands. Asking changes nothing.

    Attributes:
        capacities: What exists of each resource.
        leased: What of it is leased.
        by_flow: What each flow holds.
        leases: Number of live leases.
        debt: What each flow that owes something owes: taken above its share, not yet repaid.
        aside: Leases of them whose tasks stepped aside.
    """

    capacities: dict[ResourceKey, int]
    leased: dict[ResourceKey, int]
    by_flow: dict[FlowKey, dict[ResourceKey, int]]
    leases: int
    debt: dict[FlowKey, dict[ResourceKey, int]]
    aside: int = 0

    def __repr__(self) -> str:
        return brief(f"<TaskStatistics: {self._leased()}>")

    def _repr_html_(self) -> str:
        rows = [
            (flow.label, name, amount, self.debt.get(flow, {}).get(name, 0))
            for flow, held in self.by_flow.items()
            for name, amount in held.items()
        ]
        return html_table(("flow", "resource", "holds", "owes"), rows, caption=self._leased())

    def _leased(self) -> str:
        held = (f"{self.leased.get(r, 0)} of {there} {r}" for r, there in self.capacities.items())
        return f"{self.leases} leases: {', '.join(held)}"


class TaskAdmission:
    """Books task leases against fixed capacities under a policy.

    Args:
        capacities: Slots of each scheduler resource, each at least 1.
        policy: Decides what is above a share, and who repays it; `StrictFair` by default.

    Raises:
        ConfigError: A capacity is below 1.
    """

    def __init__(
        self, capacities: Mapping[ResourceKey, int], policy: TaskPolicy | None = None
    ) -> None:
        for resource, capacity in capacities.items():
            if capacity < 1:
                raise ConfigError(f"capacity of {resource!r} is {capacity}; give at least 1")
        self._issuer = next(_issuers)
        self._capacities = dict(capacities)
        self._free = dict(capacities)
        self._policy: TaskPolicy = policy or StrictFair()
        self._flows: dict[FlowKey, Flow] = {}
        self._held: dict[FlowKey, dict[ResourceKey, int]] = {}
        self._debt: dict[FlowKey, dict[ResourceKey, int]] = {}
        self._shares: dict[FlowKey, dict[ResourceKey, int]] = {}
        self._ledger: dict[int, Lease] = {}
        # Of leases whose tasks have stepped aside: what they gave back, and what they owe since.
        self._aside: dict[int, Resources] = {}
        self._owed: dict[int, Resources] = {}
        self._last_id = 0

    def set_capacities(self, capacities: Mapping[ResourceKey, int]) -> None:
        """Changes what exists of some resources. Less than is leased lets the holders finish.

        Raises:
            ConfigError: A capacity is below 1, or a resource is unknown.
        """
        for resource, capacity in capacities.items():
            if capacity < 1 or resource not in self._capacities:
                raise ConfigError(f"capacity of {resource!r} is {capacity}; give at least 1")
        for resource, capacity in capacities.items():
            self._free[resource] += capacity - self._capacities[resource]
            self._capacities[resource] = capacity
        self._shares = self._draw_shares()

    def set_policy(self, policy: TaskPolicy) -> None:
        """Lets another policy decide from now on; what is owed stays owed."""
        self._policy = policy

    @property
    def policy(self) -> TaskPolicy:
        """The policy in force."""
        return self._policy

    def register(self, flow: Flow) -> None:
        """Makes a flow known, so that shares are drawn over all who may come.

        Raises:
            ConfigError: The flow wants a resource that has no capacity, or more than there is.
        """
        for resource, amount in flow.resources:
            if amount > self._capacities.get(resource, 0):
                raise ConfigError(
                    f"flow {flow.key.label!r} needs {amount} of {resource!r}, "
                    f"of which there are {self._capacities.get(resource, 0)}"
                )
        self._flows[flow.key] = flow
        self._held.setdefault(flow.key, {})
        self._debt.setdefault(flow.key, {})
        self._shares = self._draw_shares()

    def decide(self, task: ReadyTask, *, contended: bool) -> Admit | Deny:
        """Says whether the task may run now, and books nothing."""
        free = self._free
        for resource, amount in task.flow.resources:
            if free[resource] < amount:
                return Deny(DenyReason.RESOURCE_FULL, resource)
        key = task.flow.key
        held, debt, shares = self._held[key], self._debt[key], self._shares[key]
        return self._policy.decide(task, held, debt, shares, contended)

    def acquire(self, task: ReadyTask, verdict: Admit) -> Lease:
        """Books the lease that `decide` just admitted."""
        flow = task.flow
        held = self._held[flow.key]
        for resource, amount in flow.resources:
            self._free[resource] -= amount
            held[resource] = held.get(resource, 0) + amount
        if verdict.borrowed:
            debt = self._debt[flow.key]
            for resource, amount in verdict.borrowed:
                debt[resource] = debt.get(resource, 0) + amount
        self._last_id += 1
        lease = Lease(
            self._last_id, self._issuer, flow.key, flow.resources, task.task_id, verdict.borrowed
        )
        self._ledger[lease.lease_id] = lease
        return lease

    def release(self, lease: Lease) -> ReleaseStatus:
        """Gives a lease back. Anything but the exact live lease credits nothing; never raises."""
        status = self._judge(lease)
        if status is ReleaseStatus.RELEASED:
            del self._ledger[lease.lease_id]
            if lease.lease_id in self._owed:
                lease = self._what_is_left(lease)
            self._give_back(lease)
        return status

    def step_aside(self, lease: Lease) -> bool:
        """Gives back what a lease holds of the resources that all share, for as long as its task
        waits for a model. It keeps its place among those that may wait for that model.

        Returns:
            Whether it did; False if the lease is not live, or stands aside already.
        """
        number = lease.lease_id
        if self._judge(lease) is not ReleaseStatus.RELEASED or number in self._aside:
            return False
        shared = tuple(part for part in lease.resources if part[0] in SHARED)
        owed = self._owed.get(number, lease.borrowed)
        self._give_back(lease._replace(resources=shared, borrowed=owed))
        self._aside[number] = shared
        self._owed[number] = tuple(part for part in owed if part[0] not in SHARED)
        return True

    def come_back(self, lease: Lease) -> bool | None:
        """Takes again what `step_aside` gave back, above the flow's share too: the task was
        admitted, and holds a permit by now. What lies above the share is owed.

        Returns:
            Whether it has them; False while there is no room, None if it does not stand aside.
        """
        number = lease.lease_id
        shared = self._aside.get(number)
        if shared is None:
            return None
        if any(self._free[resource] < amount for resource, amount in shared):
            return False
        held, debt, shares = (of[lease.flow] for of in (self._held, self._debt, self._shares))
        for resource, amount in shared:
            above = min(amount, held.get(resource, 0) + amount - shares[resource])
            if above > 0:
                debt[resource] = debt.get(resource, 0) + above
                self._owed[number] = (*self._owed[number], (resource, above))
            self._free[resource] -= amount
            held[resource] = held.get(resource, 0) + amount
        del self._aside[number]
        return True

    def free(self, resource: ResourceKey) -> int:
        """Slots of `resource` that nobody holds."""
        return self._free[resource]

    def share(self, flow: FlowKey, resource: ResourceKey) -> int:
        """The share of a flow of one resource."""
        return self._shares[flow][resource]

    def held(self, flow: FlowKey, resource: ResourceKey) -> int:
        """What a flow holds of one resource."""
        return self._held[flow].get(resource, 0)

    def debt(self, flow: FlowKey, resource: ResourceKey) -> int:
        """What a flow owes of one resource."""
        return self._debt[flow].get(resource, 0)

    def may_have_to_yield(self, task: ReadyTask) -> bool:
        """Whether it matters who else could run: the task is above its share, or its flow owes."""
        key = task.flow.key
        if self._debt[key]:
            return True
        held, shares = self._held[key], self._shares[key]
        return any(held.get(r, 0) + amount > shares[r] for r, amount in task.flow.resources)

    @property
    def aside(self) -> int:
        """Number of live leases whose tasks stepped aside."""
        return len(self._aside)

    @property
    def capacities(self) -> dict[ResourceKey, int]:
        """What exists of each resource."""
        return self._capacities

    @property
    def leases(self) -> int:
        """Number of live leases."""
        return len(self._ledger)

    def statistics(self) -> TaskStatistics:
        """What is leased, per resource and per flow."""
        leased = {r: self._capacities[r] - free for r, free in self._free.items()}
        by_flow = {key: {r: n for r, n in held.items() if n} for key, held in self._held.items()}
        debt = {key: dict(owed) for key, owed in self._debt.items() if owed}
        capacities, aside = dict(self._capacities), len(self._aside)
        return TaskStatistics(capacities, leased, by_flow, len(self._ledger), debt, aside)

    def shares(self, flow: FlowKey) -> dict[ResourceKey, int]:
        """The share of a flow, per resource."""
        return dict(self._shares[flow])

    def _draw_shares(self) -> dict[FlowKey, dict[ResourceKey, int]]:
        weights: dict[ResourceKey, float] = {}
        for flow in self._flows.values():
            for resource in dict(flow.resources):
                weights[resource] = weights.get(resource, 0.0) + flow.weight
        return {
            key: {r: self._share(r, flow.weight / weights[r]) for r, _ in flow.resources}
            for key, flow in self._flows.items()
        }

    def _share(self, resource: ResourceKey, fraction: float) -> int:
        # Rounded up: the shares of a resource sum to its capacity or more, so none idles.
        return max(1, math.ceil(self._capacities[resource] * fraction - 1e-9))

    def _what_is_left(self, lease: Lease) -> Lease:
        """What a lease holds and owes whose task stepped aside, once or more often."""
        gone = self._aside.pop(lease.lease_id, ())
        left = tuple(part for part in lease.resources if part not in gone)
        return lease._replace(resources=left, borrowed=self._owed.pop(lease.lease_id))

    def _give_back(self, lease: Lease) -> None:
        """Credits what a lease, or the part of it that is given, holds and owes."""
        held, debt = self._held[lease.flow], self._debt[lease.flow]
        for resource, amount in lease.resources:
            self._free[resource] += amount
            held[resource] -= amount
        if debt:
            self._repay(debt, self._policy.repayment(lease, debt))

    @staticmethod
    def _repay(debt: dict[ResourceKey, int], paid: Resources) -> None:
        """Strikes out what was paid; a flow that owes nothing of a resource has no entry of it."""
        for resource, amount in paid:
            debt[resource] -= amount
            if not debt[resource]:
                del debt[resource]

    def _judge(self, lease: Lease) -> ReleaseStatus:
        if lease.issuer != self._issuer:
            return ReleaseStatus.FOREIGN
        live = self._ledger.get(lease.lease_id)
        if live is None:
            known = 1 <= lease.lease_id <= self._last_id
            return ReleaseStatus.DUPLICATE if known else ReleaseStatus.UNKNOWN
        return ReleaseStatus.RELEASED if live == lease else ReleaseStatus.STALE
