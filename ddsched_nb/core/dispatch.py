"""Joins the fair queue and task admission: which ready task starts next?

The queue proposes in fair order, admission answers, and a flow that was denied waits behind a gate
named after the reason, so that it is asked again only when that reason may have gone. It must not
know where ready tasks come from or how they run.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from ddsched_nb.core.blocked import OPENINGS, Obstacle, QueueBlock, WaitingFlow
from ddsched_nb.core.fair_queue import FairQueue, Selection, Ticket
from ddsched_nb.core.model import (
    Admit,
    Deny,
    DenyReason,
    FlowKey,
    Lease,
    ReadyTask,
    ReleaseStatus,
    ResourceKey,
)
from ddsched_nb.core.task_admission import TaskAdmission

_FULL = DenyReason.RESOURCE_FULL
# Behind these a flow waits whoever else could run; behind the others only while somebody could.
_HELD_BACK = frozenset({DenyReason.RESOURCE_FULL, DenyReason.AT_CEILING})


class Dispatch(NamedTuple):
    """A task that may run now, with the lease it holds."""

    ready: ReadyTask
    lease: Lease


class Denied(NamedTuple):
    """A task at the head of its flow that may not run now; its flow waits behind a gate."""

    ready: ReadyTask
    verdict: Deny


class _Gate(NamedTuple):
    reason: DenyReason
    resource: ResourceKey


class Dispatcher:
    """Hands out ready tasks one by one, each with its lease.

    Args:
        admission: The ledger and policy that answer for each task.
    """

    def __init__(self, admission: TaskAdmission) -> None:
        self.admission = admission
        self._queue: FairQueue[ReadyTask] = FairQueue()
        self._tickets: dict[str, Ticket[ReadyTask]] = {}

    def __len__(self) -> int:
        return len(self._queue)

    def enqueue(self, ready: ReadyTask) -> bool:
        """Queues a ready task. False if a task of this id is queued already."""
        if ready.task_id in self._tickets:
            return False
        flow = ready.flow
        self._tickets[ready.task_id] = self._queue.enqueue(
            flow.key, ready, weight=flow.weight, priority=ready.priority
        )
        return True

    def discard(self, task_id: str) -> bool:
        """Takes a queued task out. False if it is not queued."""
        ticket = self._tickets.pop(task_id, None)
        return ticket is not None and self._queue.discard(ticket)

    def next(self) -> Dispatch | Denied | None:
        """Asks for one queued task: it may run, it may not, or none is left to ask for."""
        selection = self._queue.select()
        # With nobody else left to ask, a flow that had to yield takes nothing from anyone.
        alone = selection is None
        if selection is None:
            selection = self._fairest_that_yielded()
        if selection is None:
            return None
        ready = selection.item
        contended = not alone and self._contended(ready)
        verdict = self.admission.decide(ready, contended=contended)
        if isinstance(verdict, Deny):
            self._queue.close(selection, _Gate(verdict.reason, verdict.resource))
            return Denied(ready, verdict)
        return self._take(selection, ready, verdict)

    def release(self, lease: Lease) -> ReleaseStatus:
        """Gives a lease back and lets those who waited for it be asked again."""
        status = self.admission.release(lease)
        if status is ReleaseStatus.RELEASED:
            for resource, _ in lease.resources:
                self._queue.open(_Gate(_FULL, resource))
            gate = self._queue.gate_of(lease.flow)
            if isinstance(gate, _Gate) and self._may_be_gone(gate, lease.flow):
                self._queue.lift(lease.flow)
        return status

    def queued(self, flow: FlowKey) -> int:
        """Tasks queued in a flow."""
        return self._queue.queued(flow)

    def blocked(self) -> dict[tuple[DenyReason, ResourceKey], int]:
        """Flows that wait now, counted by the reason and resource they wait for."""
        return {
            (gate.reason, gate.resource): flows
            for gate, flows in self._queue.closed_gates().items()
            if isinstance(gate, _Gate)
        }

    def explain_blocked(self) -> QueueBlock:
        """Says why the queued tasks wait, and what would let them start. Asking changes nothing."""
        behind = self._queue.behind_closed_gates()
        obstacles = tuple(
            self._obstacle(gate, flows)
            for gate, flows in behind.items()
            if isinstance(gate, _Gate) and flows
        )
        shut_in = sum(len(obstacle.waiting) for obstacle in obstacles)
        yielding = any(
            o.reason not in _HELD_BACK and self.admission.free(o.resource) for o in obstacles
        )
        askable = yielding or self._queue.flows > shut_in
        return QueueBlock(len(self._queue), askable, obstacles)

    def _obstacle(self, gate: _Gate, flows: list[Hashable]) -> Obstacle:
        reason, resource = gate
        admission = self.admission
        capacity = admission.capacities[resource]
        waiting = tuple(
            WaitingFlow(
                flow,
                self._queue.queued(flow),
                admission.held(flow, resource),
                admission.share(flow, resource),
                admission.debt(flow, resource),
            )
            for flow in flows
            if isinstance(flow, FlowKey)
        )
        leased = capacity - admission.free(resource)
        return Obstacle(reason, resource, leased, capacity, waiting, OPENINGS[reason])

    def _may_be_gone(self, gate: _Gate, flow: FlowKey) -> bool:
        """Whether a lease that a flow gave back may have opened the gate that it waits behind."""
        if gate.reason is DenyReason.IN_DEBT:
            return not self.admission.debt(flow, gate.resource)
        return gate.reason is not _FULL

    def _take(self, selection: Selection[ReadyTask], ready: ReadyTask, verdict: Admit) -> Dispatch:
        committed = self._queue.commit(selection)
        assert committed, "nothing ran between select and commit"
        del self._tickets[ready.task_id]
        return Dispatch(ready, self.admission.acquire(ready, verdict))

    def _contended(self, ready: ReadyTask) -> bool:
        """Whether another flow could run: no full resource and no ceiling holds its head back.

        Counted only where it matters: for a task above its flow's share, or of a flow in debt.
        """
        if self._queue.flows < 2 or not self.admission.may_have_to_yield(ready):
            return False
        held_back = sum(n for (reason, _), n in self.blocked().items() if reason in _HELD_BACK)
        return self._queue.flows - held_back > 1

    def _fairest_that_yielded(self) -> Selection[ReadyTask] | None:
        """The fairest of the flows that wait only because others could run."""
        waiting = [
            selection
            for reason, resource in self.blocked()
            if reason not in _HELD_BACK and self.admission.free(resource)
            if (selection := self._queue.peek(_Gate(reason, resource)))
        ]
        return min(waiting, key=lambda s: (s.tag, s.ticket.order), default=None)
