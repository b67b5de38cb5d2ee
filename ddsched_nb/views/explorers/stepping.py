"""The core of task admission stepped by hand: the real fair queue and the real ledger of leases.

Some flows want some slots. A step does one thing: it looks who is next (`select`), starts that one
(`commit`, a lease) or puts its flow behind a gate (`deny`), or, when nobody may start, ends the
oldest lease. What the dispatcher does in one go is taken apart here; a test holds the two together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from ddsched_nb.core.fair_queue import FairQueue, Selection
from ddsched_nb.core.model import (
    SUBMISSION,
    Deny,
    DenyReason,
    Flow,
    FlowKey,
    Lease,
    ReadyTask,
    Task,
)
from ddsched_nb.core.task_admission import TaskAdmission
from ddsched_nb.core.task_policies import TaskPolicy

__all__ = ["FlowLine", "StepKind", "Stepper"]

StepKind = Literal["ready", "arrive", "select", "commit", "deny", "release", "done"]

_HELD_BACK: Final = frozenset({DenyReason.RESOURCE_FULL, DenyReason.AT_CEILING})
_WHY: Final = {
    DenyReason.RESOURCE_FULL: "every slot is leased",
    DenyReason.OVER_SHARE: "it would hold more than its share, and another flow could run",
    DenyReason.IN_DEBT: "its flow owes slots, and another flow could run",
    DenyReason.AT_CEILING: "its flow may borrow no more",
}


class FlowLine(NamedTuple):
    """How a flow stands.

    Attributes:
        name: Its name.
        weight: Its weight.
        tag: The finish tag of its next task; None if none is queued.
        queued: Tasks that wait.
        held: Slots that it holds.
        share: Its share of the slots by weight.
        debt: What it owes.
        denied: Why it waits behind a closed gate; "" if it does not.
        is_next: Whether its task is selected now.
    """

    name: str
    weight: float
    tag: float | None
    queued: int
    held: int
    share: int
    debt: int
    denied: str
    is_next: bool


class Stepper:
    """Flows before a desk of slots.

    Args:
        weights: A weight for each flow; flows are called a, b, c and so on.
        tasks: How many tasks each has.
        slots: How many may run at once.
        policy: Decides what a flow may hold above its share.
        late_after: The last flow comes when so many tasks have started; 0: at first.

    Attributes:
        kind: What the last step did.
        said: The same in words.
        started: The flows of the leases so far, in order.
        ended: How many leases have ended.
        borrowed: Numbers of the leases, from 0, that took slots above a share.
    """

    def __init__(
        self,
        weights: Sequence[float],
        tasks: int,
        slots: int,
        policy: TaskPolicy,
        late_after: int = 0,
    ) -> None:
        self.kind: StepKind = "ready"
        self.said = "Tasks are queued, and nobody has been asked yet."
        self.started: list[str] = []
        self.ended: list[int] = []
        self.borrowed: set[int] = set()
        self._queue: FairQueue[ReadyTask] = FairQueue()
        self._admission = TaskAdmission({SUBMISSION: slots}, policy)
        self._flows = [
            Flow(FlowKey("custom_model", (chr(ord("a") + place),)), weight, ((SUBMISSION, 1),))
            for place, weight in enumerate(weights)
        ]
        for flow in self._flows:
            self._admission.register(flow)
        self._tasks = tasks
        self._late_after = late_after if len(self._flows) > 1 else 0
        self._leases: deque[Lease] = deque()
        self._selected: tuple[Selection[ReadyTask], bool] | None = None
        for flow in self._flows[:-1] if self._late_after else self._flows:
            self._enqueue(flow)

    def step(self) -> None:
        """Does the next thing."""
        if self._selected is not None:
            self._decide(*self._selected)
        elif self._late_after and len(self.started) >= self._late_after:
            self._arrive()
        else:
            self._select()

    @property
    def free(self) -> int:
        """Slots that nobody holds."""
        return self._admission.free(SUBMISSION)

    @property
    def lines(self) -> tuple[FlowLine, ...]:
        """How each flow stands."""
        return tuple(map(self._line, self._flows))

    def _line(self, flow: Flow) -> FlowLine:
        key, admission = flow.key, self._admission
        gate = self._queue.gate_of(key)
        shut = gate in self._queue.closed_gates()
        chosen = self._selected[0].flow if self._selected is not None else None
        return FlowLine(
            _name(key),
            flow.weight,
            self._queue.tags().get(key),
            self._queue.queued(key),
            admission.held(key, SUBMISSION),
            admission.share(key, SUBMISSION),
            admission.debt(key, SUBMISSION),
            str(gate) if shut else "",
            key == chosen,
        )

    def _enqueue(self, flow: Flow) -> None:
        for number in range(self._tasks):
            task = Task(_name(flow.key), 0, number)
            ready = ReadyTask(task, f"{_name(flow.key)}{number}", flow, None, number)
            self._queue.enqueue(flow.key, ready, weight=flow.weight, priority=number)

    def _arrive(self) -> None:
        late, self._late_after = self._flows[-1], 0
        self._enqueue(late)
        self._tell("arrive", f"Flow {_name(late.key)} comes, with {self._tasks} tasks.")

    def _select(self) -> None:
        found, alone = self._queue.select(), False
        why = "its finish tag is the lowest"
        if found is None:
            found, alone = self._that_yielded(), True
            why = "nobody else is left to ask, so it takes nothing from anyone"
        if found is not None:
            self._selected = (found, alone)
            said = f"{found.item.task_id} is next: {why} ({self._tags(alone)})."
            self._tell("select", said)
        elif self._leases:
            self._release()
        elif self._late_after:
            self._arrive()
        else:
            self._tell("done", "Nothing is queued and nothing runs: all is done.")

    def _tags(self, alone: bool) -> str:
        """The finish tags that were compared: of flows that may be asked, or that yielded."""
        gates = self._queue.closed_gates()
        compared = [
            f"{flow.name} {flow.tag:.2f}"
            for flow in self.lines
            if flow.tag is not None
            if not flow.denied or (alone and flow.denied not in _HELD_BACK)
        ]
        return ", ".join(compared) if gates or len(compared) > 1 else f"{compared[0]}, alone"

    def _decide(self, selection: Selection[ReadyTask], alone: bool) -> None:
        self._selected = None
        ready = selection.item
        contended = not alone and self._contended(ready)
        verdict = self._admission.decide(ready, contended=contended)
        if isinstance(verdict, Deny):
            self._queue.close(selection, verdict.reason)
            why = f"{verdict.reason}: {_WHY[verdict.reason]}"
            self._tell("deny", f"{ready.task_id} is denied, {why}. Its flow waits.")
            return
        committed = self._queue.commit(selection)
        assert committed, "nothing ran between select and commit"
        if verdict.borrowed:
            self.borrowed.add(len(self.started))
        self._leases.append(self._admission.acquire(ready, verdict))
        self.started.append(_name(ready.flow.key))
        lent = "; it lies above its flow's share, and is owed" if verdict.borrowed else ""
        self._tell("commit", f"{ready.task_id} gets lease {len(self.started)}{lent}.")

    def _release(self) -> None:
        lease = self._leases.popleft()
        before = self._admission.debt(lease.flow, SUBMISSION)
        self._admission.release(lease)
        self.ended.append(lease.lease_id - 1)
        self._queue.open(DenyReason.RESOURCE_FULL)
        gate, after = self._queue.gate_of(lease.flow), self._admission.debt(lease.flow, SUBMISSION)
        owes = gate is DenyReason.IN_DEBT and after
        if gate not in (None, DenyReason.RESOURCE_FULL) and not owes:
            self._queue.lift(lease.flow)
        paid = f" {_name(lease.flow)} repays one slot." if after < before else ""
        self._tell(
            "release", f"Nobody may start. The oldest lease, of {lease.task_id}, ends.{paid}"
        )

    def _contended(self, ready: ReadyTask) -> bool:
        """Whether another flow could run: neither a full desk nor a ceiling holds its head back."""
        if self._queue.flows < 2 or not self._admission.may_have_to_yield(ready):
            return False
        gates = self._queue.closed_gates()
        return self._queue.flows - sum(n for g, n in gates.items() if g in _HELD_BACK) > 1

    def _that_yielded(self) -> Selection[ReadyTask] | None:
        """The fairest of those that wait only because others could run, if there is room."""
        gates = [g for g in self._queue.closed_gates() if g not in _HELD_BACK]
        heads = [s for gate in gates if self.free and (s := self._queue.peek(gate))]
        return min(heads, key=lambda s: (s.tag, s.ticket.order), default=None)

    def _tell(self, kind: StepKind, said: str) -> None:
        self.kind, self.said = kind, said


def _name(key: FlowKey) -> str:
    return str(key.identity[0])
