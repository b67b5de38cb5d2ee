"""Why nothing can start now, and what would change it: one typed answer, and its words.

The facts are gathered by the dispatcher (who waits behind which gate) and by the schedule (what
runs, what is put aside, which row groups may be open). Here they are only named and told. Asking
changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from ddsched_nb.core.model import DenyReason, FlowKey, ResourceKey
from ddsched_nb.core.row_groups import BlockReason
from ddsched_nb.reprs import Printer, html_table, tell_whole

# More flows than so many are counted, not named.
_NAMED = 8


class Opening(StrEnum):
    """An event that would let something start."""

    LEASE_RELEASED = "lease_released"
    OWN_LEASE_RELEASED = "own_lease_released"
    DEBT_REPAID = "debt_repaid"
    PEERS_DONE = "peers_done"
    TASK_ENDS = "task_ends"
    GROUP_STORED = "row_group_stored"
    INSTANT = "instant"
    RESUMED = "resumed"
    NEXT_TURN = "next_turn"


OPENINGS: dict[DenyReason, tuple[Opening, ...]] = {
    DenyReason.RESOURCE_FULL: (Opening.LEASE_RELEASED,),
    DenyReason.OVER_SHARE: (Opening.OWN_LEASE_RELEASED, Opening.PEERS_DONE),
    DenyReason.IN_DEBT: (Opening.DEBT_REPAID, Opening.PEERS_DONE),
    DenyReason.AT_CEILING: (Opening.OWN_LEASE_RELEASED,),
}
"""What opens each gate."""


class WaitingFlow(NamedTuple):
    """A flow whose tasks wait, and how it stands with the resource that they wait for.

    Attributes:
        flow: The flow.
        queued: Its tasks that wait.
        held: What it holds of the resource.
        share: Its share of it by weight.
        debt: What it holds of it borrowed, and has not repaid.
    """

    flow: FlowKey
    queued: int
    held: int
    share: int
    debt: int


class Obstacle(NamedTuple):
    """One reason why flows wait.

    Attributes:
        reason: Why they may not run now.
        resource: The resource that decided it.
        leased: What is leased of it.
        capacity: What exists of it.
        waiting: The flows that wait for this, the one next in turn first.
        opens: The events that would open it, any one of them.
    """

    reason: DenyReason
    resource: ResourceKey
    leased: int
    capacity: int
    waiting: tuple[WaitingFlow, ...]
    opens: tuple[Opening, ...]

    def __str__(self) -> str:
        named = ", ".join(_flow_in_words(self.reason, flow) for flow in self.waiting[:_NAMED])
        more = len(self.waiting) - _NAMED
        tail = f" and {more} more flows" if more > 0 else ""
        return f"{_GATES[self.reason].format(o=self)}: {named}{tail}"


class QueueBlock(NamedTuple):
    """Why the queued tasks wait.

    Attributes:
        queued: Tasks queued.
        askable: Whether one of them may start at the next turn, as far as can be seen.
        obstacles: What the flows wait for that may not be asked.
    """

    queued: int
    askable: bool
    obstacles: tuple[Obstacle, ...]


class Cause(StrEnum):
    """The foremost reason why nothing can start now."""

    STARTING = "starting"
    FINISHED = "finished"
    STOPPED = "stopped"
    PAUSED = "paused"
    NOT_BLOCKED = "not_blocked"
    HELD_BACK = "held_back"
    GROUPS_FULL = "row_groups_full"
    ALL_RUNNING = "all_running"
    DEFERRED = "deferred"
    BEING_STORED = "being_stored"
    STUCK = "stuck"


class Blocked(NamedTuple):
    """Why nothing can start now, and what would change it. `print` tells it in words.

    Attributes:
        cause: The foremost reason. `not_blocked` means that something may start at the next turn.
        opens: The events that would let something start, any one of them.
        now: When it was asked, in seconds of the loop's clock.
        queued: Tasks that are ready and wait for slots.
        obstacles: What they wait for.
        running: Tasks that run.
        deferred: Cells that failed and are put aside.
        deferred_until: When the first of them is tried again; None if there are none.
        storing: Row groups that are finished and being stored.
        open_groups: Row groups that are open, those being stored included.
        groups_left: Row groups not opened yet.
        groups_blocked: Why none of them may be opened now.
    """

    cause: Cause
    opens: tuple[Opening, ...] = ()
    now: float = 0.0
    queued: int = 0
    obstacles: tuple[Obstacle, ...] = ()
    running: int = 0
    deferred: int = 0
    deferred_until: float | None = None
    storing: int = 0
    open_groups: int = 0
    groups_left: int = 0
    groups_blocked: BlockReason | None = None

    def __str__(self) -> str:
        return "\n".join(_lines(self))

    def __repr__(self) -> str:
        return f"<Blocked: {self.cause}, {self.queued} queued, {self.running} running>"

    def _repr_pretty_(self, printer: Printer, cycle: bool) -> None:
        tell_whole(self, printer, cycle)

    def _repr_html_(self) -> str:
        said = [(line.strip(),) for line in _lines(self)]
        heads = ("why, and what would change it",)
        return html_table(heads, said, caption="what keeps tasks from starting")


_CAUSES = {
    Cause.STARTING: "Nothing has started yet: the run is being set up.",
    Cause.FINISHED: "Nothing is left to start: every row group is finished and stored.",
    Cause.STOPPED: "Nothing starts any more: the run is ending, or has ended early.",
    Cause.PAUSED: "Nothing starts: the run is paused. resume() goes on.",
    Cause.NOT_BLOCKED: "Nothing is in the way: a task may start at the next turn.",
    Cause.HELD_BACK: "Nothing can start now: {b.queued} queued tasks wait for slots.",
    Cause.GROUPS_FULL: "Nothing is queued: what is ready runs, the rest waits for its inputs, and "
    "no further row group may be opened yet.",
    Cause.ALL_RUNNING: "Nothing is queued: what is ready runs, the rest waits for its inputs.",
    Cause.DEFERRED: "Nothing is queued: failed cells wait until they are tried again.",
    Cause.BEING_STORED: "Nothing is queued: finished row groups are being stored.",
    Cause.STUCK: "Nothing runs and no event is due, and yet work is left.",
}
_GATES = {
    DenyReason.RESOURCE_FULL: "{o.resource} is full ({o.leased} of {o.capacity} leased), until a "
    "lease of it is released",
    DenyReason.OVER_SHARE: "would go above a share of {o.resource}, until a lease of the flow's "
    "own is released or no other flow can run",
    DenyReason.IN_DEBT: "owes some of {o.resource}, until that is repaid or no other flow can run",
    DenyReason.AT_CEILING: "may borrow no more of {o.resource}, until a lease of the flow's own is "
    "released",
}
_GROUPS = {
    BlockReason.ROW_GROUP_CAP: "as many are open as may be",
    BlockReason.ADMITTED_ROWS: "the open ones have as many rows as may be",
    BlockReason.BEING_STORED: "finished ones wait for the disk",
    BlockReason.QUEUED_DEMAND: "more is queued than can be worked on soon",
    BlockReason.MODELS_CLOSED: "only models lack work that are cooling, or filled by others",
    BlockReason.SLOTS_LEASED: "every slot that it would use is leased",
    BlockReason.WORK_AHEAD: "enough work is on its way",
    BlockReason.NO_PENDING_GROUPS: "none is left",
}


def _lines(blocked: Blocked) -> Iterator[str]:
    yield _CAUSES[blocked.cause].format(b=blocked)
    for obstacle in blocked.obstacles:
        yield f"- {obstacle}"
    if blocked.running:
        yield f"Running: {_counted(blocked.running, 'task')}."
    if blocked.deferred_until is not None:
        wait = max(0.0, blocked.deferred_until - blocked.now)
        yield f"Put aside: {_counted(blocked.deferred, 'cell')}, the next one for {wait:.3g} s."
    if blocked.storing:
        yield f"Being stored: {_counted(blocked.storing, 'row group')}."
    if blocked.groups_left and blocked.groups_blocked is not None:
        left, why = _counted(blocked.groups_left, "row group"), _GROUPS[blocked.groups_blocked]
        yield f"Not opened yet: {left} ({blocked.open_groups} open); {why}."


def _flow_in_words(reason: DenyReason, flow: WaitingFlow) -> str:
    stands = f"{flow.queued} queued"
    if reason is not DenyReason.RESOURCE_FULL:
        stands += f", holds {flow.held}, share {flow.share}"
        stands += f", owes {flow.debt}" if flow.debt else ""
    return f"{flow.flow.label} ({stands})"


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def opened_by(blocked: Blocked) -> tuple[Opening, ...]:
    """The events that would let something start, read off the facts of an answer."""
    found: list[Opening] = []
    if blocked.cause is Cause.NOT_BLOCKED:
        found.append(Opening.NEXT_TURN)
    if blocked.cause is Cause.PAUSED:
        found.append(Opening.RESUMED)
    if found or blocked.cause in (Cause.FINISHED, Cause.STOPPED, Cause.STUCK):
        return tuple(found)
    found += [opening for obstacle in blocked.obstacles for opening in obstacle.opens]
    if blocked.running:
        found.append(Opening.TASK_ENDS)
    if blocked.storing or blocked.groups_left:
        found.append(Opening.GROUP_STORED)
    if blocked.deferred_until is not None and math.isfinite(blocked.deferred_until):
        found.append(Opening.INSTANT)
    return tuple(dict.fromkeys(found))
