"""Joins the fair queue and task admission: which ready task starts next?

The queue proposes in fair order, admission answers, and a flow that was denied waits behind a gate
named after the reason, so that it is asked again only when that reason may have gone. With an
advisory, a task that may run and would only wait for its model is passed over in favour of one that
may run and whose model is open; with no such peer it runs. It must not know where ready tasks come
from or how they run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import NamedTuple

from ddsched_nb.core.blocked import OPENINGS, Obstacle, QueueBlock, WaitingFlow
from ddsched_nb.core.fair_queue import FairQueue, Selection, Ticket
from ddsched_nb.core.model import (
    SHARED,
    Admit,
    Deny,
    DenyReason,
    Flow,
    FlowKey,
    Lease,
    PoolKey,
    ReadyTask,
    ReleaseStatus,
    ResourceKey,
)
from ddsched_nb.core.pressure import Advisory, PressureReason
from ddsched_nb.core.task_admission import TaskAdmission

_FULL = DenyReason.RESOURCE_FULL
# Behind these a flow waits whoever else could run; behind the others only while somebody could.
_HELD_BACK = frozenset({DenyReason.RESOURCE_FULL, DenyReason.AT_CEILING})


class PassedOver(NamedTuple):
    """A task that was next and might have run, had the advisory not preferred another."""

    ready: ReadyTask
    reason: PressureReason


class Dispatch(NamedTuple):
    """A task that may run now, with its lease, and whom the advisory passed over for it."""

    ready: ReadyTask
    lease: Lease
    instead_of: PassedOver | None = None


class Denied(NamedTuple):
    """A task at the head of its flow that may not run now; its flow waits behind a gate."""

    ready: ReadyTask
    verdict: Deny


class _Gate(NamedTuple):
    """Why flows wait. Those that yield to others wait by pool, so that an open one is found."""

    reason: DenyReason
    resource: ResourceKey
    pool: PoolKey | None = None


class _Pressed(NamedTuple):
    """Where flows are passed over, as long as their pool is under pressure."""

    pool: PoolKey


class Dispatcher:
    """Hands out ready tasks one by one, each with its lease.

    Args:
        admission: The ledger and policy that answer for each task.
        advisory: Says whose model is under pressure; nobody's if None.
    """

    def __init__(self, admission: TaskAdmission, advisory: Advisory | None = None) -> None:
        self.admission = admission
        self.advisory = advisory
        self.passed_over = 0
        self._queue: FairQueue[ReadyTask] = FairQueue()
        self._tickets: dict[str, Ticket[ReadyTask]] = {}
        # Tasks with a lease, by the pool that their calls go to.
        self._sent_off: Counter[PoolKey] = Counter()
        self._pools: dict[int, PoolKey] = {}
        self._returning: dict[int, Lease] = {}
        # Pools whose flows are passed over now, in order.
        self._pressed: dict[PoolKey, None] = {}

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

    def look_around(self) -> None:
        """Whoever was passed over in an earlier turn is asked again: its model may be open now."""
        for pool in self._pressed:
            self._queue.open(_Pressed(pool))
        self._pressed.clear()

    def next(self, now: float = 0.0) -> Dispatch | Denied | None:
        """Asks for one queued task: it may run, it may not, or none is left to ask for.

        Args:
            now: The instant; only an advisory asks for it.
        """
        while True:
            selection = self._queue.select()
            # With nobody else left to ask, a flow that had to yield takes nothing from anyone.
            alone, last = selection is None, selection is None
            if selection is None:
                selection, alone = self._last_resort(now)
            if selection is None:
                return None
            ready = selection.item
            pressed = ready.pool is not None and self._pressure(ready.pool, now) is not None
            contended = not alone and self._contended(ready, pressed)
            verdict = self.admission.decide(ready, contended=contended)
            if isinstance(verdict, Deny):
                self._queue.close(selection, self._gate(verdict, ready))
                return Denied(ready, verdict)
            if last or not pressed or ready.pool is None:
                return self._take(selection, ready, verdict, self._overtaken(selection, alone, now))
            self._pressed[ready.pool] = None
            self._queue.close(selection, _Pressed(ready.pool))

    def release(self, lease: Lease) -> ReleaseStatus:
        """Gives a lease back and lets those who waited for it be asked again."""
        status = self.admission.release(lease)
        if status is ReleaseStatus.RELEASED:
            self._returning.pop(lease.lease_id, None)
            pool = self._pools.pop(lease.lease_id, None)
            if pool is not None:
                self._sent_off[pool] -= 1
            self._let_in(lease.flow, [resource for resource, _ in lease.resources])
        return status

    def step_aside(self, lease: Lease) -> bool | None:
        """A task waits for its model: what it holds of the shared resources goes to others.

        Returns:
            Whether it gave back what somebody may be waiting for; None if it gave back nothing.
        """
        self._returning.pop(lease.lease_id, None)
        full = any(not self.admission.free(r) for r, _ in lease.resources if r in SHARED)
        if not self.admission.step_aside(lease):
            return None
        self._let_in(lease.flow, SHARED)
        return full

    def come_back(self, lease: Lease) -> bool | None:
        """A task that stepped aside goes on; False if it has to wait for room (`returned`), None if
        it does not stand aside.
        """
        back = self.admission.come_back(lease)
        if back is False:
            self._returning[lease.lease_id] = lease
        return back

    def returned(self) -> list[Lease]:
        """The leases for which there is room again, in order. They come before all that queue."""
        back = [lease for lease in self._returning.values() if self.admission.come_back(lease)]
        for lease in back:
            del self._returning[lease.lease_id]
        return back

    def ask_all_again(self) -> None:
        """A rule changed: whoever was denied or passed over is asked again."""
        self._pressed.clear()
        for gate in self._queue.closed_gates():
            self._queue.open(gate)

    def set_weight(self, flow: Flow) -> None:
        """Takes a flow with another weight than before: its shares and its turns follow."""
        self._queue.set_weight(flow.key, flow.weight)
        self.admission.register(flow)
        gate = self._queue.gate_of(flow.key)
        if isinstance(gate, _Gate) and gate.reason not in _HELD_BACK:
            self._queue.lift(flow.key)  # its share may have grown

    def sent_off(self, pool: PoolKey) -> int:
        """Tasks with a lease whose calls go to a pool."""
        return self._sent_off[pool]

    def queued(self, flow: FlowKey) -> int:
        """Tasks queued in a flow."""
        return self._queue.queued(flow)

    def blocked(self) -> dict[tuple[DenyReason, ResourceKey], int]:
        """Flows that wait now, counted by the reason and resource they wait for."""
        found: Counter[tuple[DenyReason, ResourceKey]] = Counter()
        for gate, flows in self._queue.closed_gates().items():
            if isinstance(gate, _Gate):
                found[gate.reason, gate.resource] += flows
        return dict(found)

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
        reason, resource, _ = gate
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

    def _gate(self, verdict: Deny, ready: ReadyTask) -> _Gate:
        by_pool = self.advisory is not None and verdict.reason not in _HELD_BACK
        return _Gate(verdict.reason, verdict.resource, ready.pool if by_pool else None)

    def _let_in(self, flow: FlowKey, resources: Iterable[ResourceKey]) -> None:
        """A flow gave something back: whoever waited for that is asked again."""
        for resource in resources:
            self._queue.open(_Gate(_FULL, resource))
        gate = self._queue.gate_of(flow)
        if isinstance(gate, _Gate) and self._may_be_gone(gate, flow):
            self._queue.lift(flow)

    def _take(
        self,
        selection: Selection[ReadyTask],
        ready: ReadyTask,
        verdict: Admit,
        instead_of: PassedOver | None,
    ) -> Dispatch:
        committed = self._queue.commit(selection)
        assert committed, "nothing ran between select and commit"
        del self._tickets[ready.task_id]
        lease = self.admission.acquire(ready, verdict)
        if ready.pool is not None:
            self._sent_off[ready.pool] += 1
            self._pools[lease.lease_id] = ready.pool
        if instead_of is not None:
            self.passed_over += 1
        return Dispatch(ready, lease, instead_of)

    def _pressure(self, pool: PoolKey, now: float) -> PressureReason | None:
        if self.advisory is None:
            return None
        return self.advisory.against(pool, self._sent_off[pool], now)

    def _contended(self, ready: ReadyTask, pressed: bool) -> bool:
        """Whether another flow could run: no full resource and no ceiling holds its head back.

        Counted only where it matters: for a task above its flow's share, or of a flow in debt.
        Flows that would only wait for their models are no reason to leave a slot to them, unless
        the task would do the same.
        """
        if self._queue.flows < 2 or not self.admission.may_have_to_yield(ready):
            return False
        others = self._queue.flows
        for gate, flows in self._queue.closed_gates().items():
            held_back = isinstance(gate, _Gate) and gate.reason in _HELD_BACK
            if held_back or (not pressed and isinstance(gate, _Pressed)):
                others -= flows
        return others > 1

    def _last_resort(self, now: float) -> tuple[Selection[ReadyTask] | None, bool]:
        """Whom to ask when nobody else is left, and whether others are as good as absent.

        First those that only yielded to others and whose model is open, then those that were passed
        over, then the rest of those that yielded.
        """
        yielded = self._that_yielded()
        if self.advisory is None or not (yielded or self._pressed):
            return _fairest(yielded), True
        at_ease = (s for s in yielded if not s.item.pool or not self._pressure(s.item.pool, now))
        first = _fairest(at_ease)
        if first is not None:
            return first, True
        pressed = _fairest(self._that_are_pressed())
        if pressed is not None:
            return pressed, False
        return _fairest(yielded), True

    def _that_yielded(self) -> list[Selection[ReadyTask]]:
        """The next of those behind each gate who wait only because others could run."""
        return [
            selection
            for gate in self._queue.closed_gates()
            if isinstance(gate, _Gate) and gate.reason not in _HELD_BACK
            if self.admission.free(gate.resource) and (selection := self._queue.peek(gate))
        ]

    def _that_are_pressed(self) -> list[Selection[ReadyTask]]:
        """The next of those of each pool under pressure who were passed over."""
        gates = map(_Pressed, self._pressed)
        return [selection for gate in gates if (selection := self._queue.peek(gate))]

    def _overtaken(
        self, selection: Selection[ReadyTask], alone: bool, now: float
    ) -> PassedOver | None:
        """Who would have been next without the advisory, and could have run."""
        if not self._pressed:
            return None
        passed = _fairest(self._that_are_pressed())
        if passed is None or passed.flow == selection.flow:
            return None
        sooner = alone or _turn(passed) < _turn(selection)
        pool = passed.item.pool
        if not sooner or pool is None:
            return None
        reason = self._pressure(pool, now)
        verdict = self.admission.decide(passed.item, contended=False)
        return PassedOver(passed.item, reason) if reason and isinstance(verdict, Admit) else None


def _turn(selection: Selection[ReadyTask]) -> tuple[float, int]:
    return selection.tag, selection.ticket.order


def _fairest(selections: Iterable[Selection[ReadyTask]]) -> Selection[ReadyTask] | None:
    return min(selections, key=_turn, default=None)
