"""One weighted fair queue, for ready tasks and for request waiters.

Decides who is next among the queued: self-clocked fair queueing (Golestani, "A self-clocked fair
queueing scheme for broadband applications", INFOCOM 1994). A flow's next item carries a finish tag,
`max(clock, previous tag) + 1 / weight`; the lowest tag is served and becomes the clock. While two
flows stay backlogged, their services differ by at most `1/w_i + 1/w_j`.

It must not know what an item is or why it may not run. A caller that finds the selected item
ineligible closes a gate: the flow then waits behind that gate, with its tag, until the gate opens,
and is not looked at again before. A selection therefore costs O(log flows), however many items are
queued and however many flows are blocked.

The clock runs on while a gate is closed. When the gate opens, all behind it are moved up to the
clock together: they come with no credit for the time they could not use, and keep the distances
that their weights gave them. A flow that is served from behind an open gate stays behind it.

Inside a flow, items leave by priority (lowest first), then in order of arrival. Arrivals in order
of priority, the common case, are appended in O(1); only late ones pass through a heap.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable
from heapq import heapify, heappop, heappush, heapreplace
from typing import Generic, NamedTuple, TypeVar

from ddsched_nb.core.weight import check_weight

T = TypeVar("T")

# Dead entries are swept once they outnumber the living, so a sweep is paid for by what died.
_SWEEP_FLOOR = 16


class Ticket(Generic[T]):
    """The place of one queued item; what `discard` takes."""

    __slots__ = ("item", "live", "order", "priority", "state")

    def __init__(self, state: _FlowState[T], item: T, priority: float, order: int) -> None:
        self.state = state  # and not its key: a key is hashed at every look-up
        self.item = item
        self.priority = priority
        self.order = order
        self.live = True

    @property
    def flow(self) -> Hashable:
        """The flow it is queued in."""
        return self.state.key

    def __lt__(self, other: Ticket[T]) -> bool:
        return (self.priority, self.order) < (other.priority, other.order)


class _FlowState(Generic[T]):
    """The backlog of one flow. Exists only while something is queued."""

    __slots__ = ("entry", "gate", "in_order", "key", "late", "live", "version", "weight")

    def __init__(self, key: Hashable, weight: float) -> None:
        self.key = key
        self.weight = weight
        self.in_order: deque[Ticket[T]] = deque()
        self.late: list[Ticket[T]] = []
        self.live = 0
        self.version = 0
        self.gate: Hashable | None = None
        self.entry: _Entry[T] | None = None

    def push(self, ticket: Ticket[T]) -> None:
        in_order = self.in_order
        if not in_order or in_order[-1].priority <= ticket.priority:
            in_order.append(ticket)
        else:
            heappush(self.late, ticket)
        self.live += 1

    def head(self) -> Ticket[T]:
        """The first living ticket; the flow must not be empty."""
        in_order, late = self.in_order, self.late
        while in_order and not in_order[0].live:
            in_order.popleft()
        while late and not late[0].live:
            heappop(late)
        if late and (not in_order or late[0] < in_order[0]):
            return late[0]
        return in_order[0]

    def pop(self, head: Ticket[T]) -> None:
        if self.late and self.late[0] is head:
            heappop(self.late)
        else:
            self.in_order.popleft()
        head.live = False
        self.live -= 1

    def bury(self, ticket: Ticket[T]) -> None:
        """Takes a ticket out by marking it; sweeps when the dead outnumber the living."""
        ticket.live = False
        self.live -= 1
        held = len(self.in_order) + len(self.late)
        if held > _SWEEP_FLOOR and held > 2 * self.live:
            self.in_order = deque(t for t in self.in_order if t.live)
            self.late = [t for t in self.late if t.live]
            heapify(self.late)


_Entry = tuple[float, int, _FlowState[T]]


class _TagHeap(Generic[T]):
    """Flows by finish tag, less `shift`. An entry is current while its flow points back at it."""

    __slots__ = ("closed", "entries", "live", "shift")

    def __init__(self) -> None:
        self.entries: list[_Entry[T]] = []
        self.live = 0
        self.closed = False
        self.shift = 0.0

    def push(self, tag: float, order: int, flow: _FlowState[T]) -> None:
        flow.entry = (tag - self.shift, order, flow)
        heappush(self.entries, flow.entry)
        self.live += 1

    def renew(self, tag: float, order: int, flow: _FlowState[T]) -> None:
        """Gives a flow that stands here another tag: `remove` and `push`, at the top in one."""
        if self.entries[0] is not flow.entry:
            self.remove(flow)
            self.push(tag, order, flow)
            return
        flow.entry = (tag - self.shift, order, flow)
        heapreplace(self.entries, flow.entry)

    def remove(self, flow: _FlowState[T]) -> float:
        """Takes a flow's entry out, and gives its tag; sweeps when the stale outnumber the rest."""
        entry, flow.entry = flow.entry, None
        assert entry is not None, "a flow with something queued stands in one heap"
        self.live -= 1
        if self.entries[0] is entry:
            heappop(self.entries)
        if len(self.entries) > _SWEEP_FLOOR and len(self.entries) > 2 * self.live:
            self.entries = [e for e in self.entries if e[2].entry is e]
            heapify(self.entries)
        return entry[0] + self.shift

    def top(self) -> _Entry[T] | None:
        entries = self.entries
        while entries:
            first = entries[0]
            if first[2].entry is first:
                return first
            heappop(entries)
        return None

    def catch_up(self, clock: float) -> None:
        """Moves all flows up together, so that none stands before the clock."""
        top = self.top()
        if top is not None:
            self.shift = max(self.shift, clock - top[0])


class Selection(NamedTuple, Generic[T]):
    """Who would be next. Valid until its flow changes; `commit` checks that."""

    flow: Hashable
    item: T
    ticket: Ticket[T]
    version: int
    tag: float


class FairQueue(Generic[T]):
    """A weighted fair queue over flows, with gates for flows that may not run now.

    `select` never changes what the queue answers; `commit` takes the selected item out, if it is
    still the one that would be selected from its flow.
    """

    def __init__(self) -> None:
        self._flows: dict[Hashable, _FlowState[T]] = {}
        self._open: _TagHeap[T] = _TagHeap()
        self.gates: dict[Hashable, _TagHeap[T]] = {}  # empty where nobody stands behind one
        self._clock = 0.0
        self._order = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"<FairQueue: {self._size} queued in {len(self._flows)} flows>"

    @property
    def flows(self) -> int:
        """Number of flows with something queued."""
        return len(self._flows)

    def queued(self, flow: Hashable) -> int:
        """Number of items queued in `flow`."""
        state = self._flows.get(flow)
        return state.live if state else 0

    def entries(self) -> int:
        """Heap entries held, living and stale: bounded by twice the flows and a small constant."""
        return len(self._open.entries) + sum(len(g.entries) for g in self.gates.values())

    def enqueue(
        self, flow: Hashable, item: T, *, weight: float = 1.0, priority: float = 0.0
    ) -> Ticket[T]:
        """Queues an item; returns the ticket that `discard` takes.

        Args:
            flow: Names the flow; flows come into being when first used.
            item: What to queue.
            weight: The flow's share relative to others, finite and above 0. A changed weight holds
                from the flow's next finish tag on.
            priority: Lower leaves first within the flow.

        Raises:
            ConfigError: `weight` is not a finite number above 0.
        """
        if not 0 < weight < math.inf:
            check_weight(flow, weight)
        self._order += 1
        state = self._flows.get(flow)
        if state is None:
            state = self._flows[flow] = _FlowState(flow, weight)
            self._open.push(self._clock + 1.0 / weight, self._order, state)
        ticket = Ticket(state, item, priority, self._order)
        state.weight = weight
        state.push(ticket)
        state.version += 1
        self._size += 1
        return ticket

    def select(self) -> Selection[T] | None:
        """The item with the lowest finish tag among flows behind no closed gate, or None."""
        entry = self._first()
        return None if entry is None else self._selection(entry)

    def front(self) -> Ticket[T] | None:
        """The ticket that `select` would select, for who takes it at once."""
        entry = self._first() if self.gates else self._open.top()
        return None if entry is None else entry[2].head()

    def peek(self, gate: Hashable) -> Selection[T] | None:
        """The item with the lowest finish tag behind `gate`, open or closed, or None."""
        heap = self.gates.get(gate)
        entry = heap.top() if heap else None
        return None if entry is None else self._selection(entry)

    def commit(self, selection: Selection[T]) -> bool:
        """Takes the selected item out. False, and no change, if the selection is stale."""
        ticket = selection.ticket
        if ticket.state.version != selection.version or not ticket.live:
            return False
        self.take(ticket, selection.tag)
        return True

    def take(self, ticket: Ticket[T], tag: float | None = None) -> None:
        """Takes out what `front` named just now."""
        state = ticket.state
        tag = self._tag(state) if tag is None else tag
        if tag > self._clock:
            self._clock = tag
        state.pop(ticket)
        state.version += 1
        self._size -= 1
        heap = self._open if state.gate is None else self.gates[state.gate]
        if state.live and not heap.closed:
            heap.renew(self._clock + 1.0 / state.weight, state.head().order, state)
            return
        heap.remove(state)
        self._pass_gate(state)
        if state.live:
            self._open.push(self._clock + 1.0 / state.weight, state.head().order, state)
        else:
            self._end(state)

    def set_weight(self, flow: Hashable, weight: float) -> None:
        """Changes the weight of a flow that has something queued, from its next finish tag on.

        Raises:
            ConfigError: `weight` is not a finite number above 0.
        """
        check_weight(flow, weight)
        state = self._flows.get(flow)
        if state is not None:
            state.weight = weight

    def discard(self, ticket: Ticket[T]) -> bool:
        """Takes an item out wherever it stands. False if it is not queued any more."""
        if not ticket.live:
            return False
        state = ticket.state
        state.bury(ticket)
        state.version += 1
        self._size -= 1
        if not state.live:
            self._leave(state)
            self._end(state)
        return True

    def close(self, selection: Selection[T] | Ticket[T], gate: Hashable) -> None:
        """Puts the selected flow behind `gate` and closes it, until `open` or `lift`."""
        state = self._flows[selection.flow]
        heap = self.gates.get(gate)
        if heap is None:
            heap = self.gates[gate] = _TagHeap()
        if state.gate != gate:
            if heap.closed:
                heap.catch_up(self._clock)
            heap.push(self._leave(state), state.head().order, state)
            state.gate = gate
        heap.closed = True

    def open(self, gate: Hashable) -> None:
        """Lets the flows behind `gate` be selected again; costs nothing per flow."""
        heap = self.gates.get(gate)
        if heap is not None and heap.closed:
            heap.catch_up(self._clock)
            heap.closed = False

    def lift(self, flow: Hashable) -> None:
        """Takes one flow out from behind its gate, whatever becomes of the others."""
        state = self._flows.get(flow)
        if state is not None and state.gate is not None:
            self._open.push(self._leave(state), state.head().order, state)

    def gate_of(self, flow: Hashable) -> Hashable | None:
        """The gate that `flow` stands behind, or None."""
        state = self._flows.get(flow)
        return state.gate if state else None

    def shut_in(self, ticket: Ticket[T]) -> bool:
        """Whether a queued item stands behind a closed gate: that it came changes nothing now."""
        return (gate := ticket.state.gate) is not None and self.gates[gate].closed

    def behind_closed_gates(self) -> dict[Hashable, list[Hashable]]:
        """Closed gates with the flows behind each, the next one in turn first.

        For who wants to explain, not to select. It reads copies, so any thread may ask.
        """
        return {
            key: [e[2].key for e in sorted(e for e in [*gate.entries] if e[2].entry is e)]
            for key, gate in list(self.gates.items())
            if gate.closed
        }

    def closed_gates(self) -> dict[Hashable, int]:
        """Closed gates with the number of flows behind each."""
        return {key: gate.live for key, gate in self.gates.items() if gate.closed}

    def tags(self) -> dict[Hashable, float]:
        """The finish tag of each flow's next item, behind a gate or not. For who explains."""
        return {key: self._tag(state) for key, state in self._flows.items()}

    def _first(self) -> _Entry[T] | None:
        if not self.gates:
            return self._open.top()
        best, best_at = None, (math.inf, math.inf)
        for heap in (self._open, *self.gates.values()):
            entry = None if heap.closed else heap.top()
            if entry is not None and (at := (entry[0] + heap.shift, entry[1])) < best_at:
                best, best_at = entry, at
        return best

    def _selection(self, entry: _Entry[T]) -> Selection[T]:
        state = entry[2]
        head = state.head()
        return Selection(state.key, head.item, head, state.version, self._tag(state))

    def _tag(self, state: _FlowState[T]) -> float:
        assert state.entry is not None, "a flow with something queued stands in one heap"
        heap = self._open if state.gate is None else self.gates[state.gate]
        return state.entry[0] + heap.shift

    def _leave(self, state: _FlowState[T]) -> float:
        """Takes a flow out of the heap it stands in, and gives its tag."""
        heap = self._open if state.gate is None else self.gates[state.gate]
        tag = heap.remove(state)
        self._pass_gate(state)
        return tag

    def _end(self, state: _FlowState[T]) -> None:
        """Forgets a flow with nothing queued; its dead go too, since each points back at it."""
        del self._flows[state.key]
        state.in_order.clear()
        state.late.clear()

    def _pass_gate(self, state: _FlowState[T]) -> None:
        """Takes a flow, whose entry is out already, from its gate; nobody behind it, no gate."""
        if state.gate is not None and not self.gates[state.gate].live:
            del self.gates[state.gate]
        state.gate = None
