"""The scheduler's decisions: opens row groups, queues what is ready, says which tasks start.

Joins governor, frontier, resolver, dispatcher and deferrals, so that the asyncio shell needs no
opinion. Each call is one transition with one `now`; `advance` says what to start and when to ask
again. It must not know workers, values or models' answers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ddsched_nb.core.blocked import Blocked, Cause, QueueBlock, opened_by
from ddsched_nb.core.dispatch import Denied, Dispatch, Dispatcher
from ddsched_nb.core.frontier import Frontier, FrontierDelta, TaskState
from ddsched_nb.core.horizon import Horizon
from ddsched_nb.core.model import (
    FlowKey,
    Lease,
    ReadyTask,
    ReleaseStatus,
    ResourceKey,
    RowGroup,
    Task,
)
from ddsched_nb.core.pressure import Advisory
from ddsched_nb.core.resolver import Resolver
from ddsched_nb.core.retries import Deferrals, Deferred
from ddsched_nb.core.row_groups import FULL, BlockReason, RowGroupGovernor, TargetChange
from ddsched_nb.core.task_policies import TaskPolicy
from ddsched_nb.core.weight import check_weight


class ScheduleTurn(NamedTuple):
    """What one `advance` decided.

    Attributes:
        opened: Row groups opened.
        enqueued: Tasks queued, in order.
        salvaged: Deferred tasks queued again, each with its round.
        denied: Heads of flows that may not run now.
        dispatched: Tasks to start; each holds its lease already.
        more: The batch was used up; ask again without waiting.
        next_deadline: When to ask again at the latest; `inf` if only an event can change things.
        targets: Changes of how many row groups may be open.
        blocked: Why no further one may, where that is another reason than before.
        returned: Leases whose tasks had stepped aside and may go on.
    """

    opened: list[RowGroup]
    enqueued: list[ReadyTask]
    salvaged: list[tuple[ReadyTask, int]]
    denied: list[Denied]
    dispatched: list[Dispatch]
    more: bool
    next_deadline: float
    targets: list[TargetChange]
    blocked: BlockReason | None = None
    returned: list[Lease] = []  # noqa: RUF012 - never changed


class Schedule:
    """The scheduler without clock, futures and workers.

    Args:
        frontier: Which tasks have all inputs.
        resolver: Which flow and resources a task belongs to.
        dispatcher: Which queued task may start.
        governor: How many row groups may be open.
        deferrals: Which cells are put aside.
        horizon: How much work is lacking; needed where the governor is adaptive.
    """

    def __init__(
        self,
        frontier: Frontier,
        resolver: Resolver,
        dispatcher: Dispatcher,
        governor: RowGroupGovernor,
        deferrals: Deferrals,
        horizon: Horizon | None = None,
    ) -> None:
        self.frontier = frontier
        self.resolver = resolver
        self.dispatcher = dispatcher
        self.governor = governor
        self.deferrals = deferrals
        self._horizon = horizon
        self._targets: list[TargetChange] = []
        self._told: BlockReason | None = None
        self._starts: dict[int, int] = {}
        self._ready: list[Task] = []
        # The turn that is being taken: what it has done so far, should something raise.
        self.begun = ScheduleTurn([], [], [], [], [], False, math.inf, [])
        self._running = 0
        self._closed_until = math.inf
        self._paused = False
        self._stopped = False
        for flow in resolver.flows:
            dispatcher.admission.register(flow)

    @property
    def running(self) -> int:
        """Tasks handed out and not yet ended."""
        return self._running

    @property
    def finished(self) -> bool:
        """Whether every row group was opened, finished and stored."""
        return self.governor.exhausted and not self.governor.open_groups

    @property
    def stopped(self) -> bool:
        """Whether nothing starts any more."""
        return self._stopped

    @property
    def stuck(self) -> bool:
        """Nothing runs, nothing waits for a time, and yet work is left: nobody will wake it."""
        idle = not self._running and not self.deferrals and not self._paused
        return idle and not self._being_stored and not self.finished

    def explain_blocked(self, now: float) -> Blocked:
        """Says why nothing can start now, and what would change that. Asking changes nothing."""
        queue, until = self.dispatcher.explain_blocked(), self.deferrals.next_deadline
        blocked = Blocked(
            self._cause(queue, now),
            now=now,
            queued=queue.queued,
            obstacles=queue.obstacles,
            running=self._running,
            deferred=len(self.deferrals),
            deferred_until=until if until < math.inf else None,
            storing=self._being_stored,
            open_groups=self.governor.open_groups,
            groups_left=self.governor.left,
            groups_blocked=self.governor.why_not(),
        )
        return blocked._replace(opens=opened_by(blocked))

    def stop(self) -> None:
        """From now on nothing starts; what runs may end."""
        self._stopped = True

    def pause(self, paused: bool) -> None:
        """While paused nothing starts; what runs may end."""
        self._paused = paused

    def advance(self, now: float, *, batch: int = 64) -> ScheduleTurn:
        """Decides what starts now, at most `batch` tasks."""
        # What runs may end, also while nothing starts.
        returned = self.dispatcher.returned()
        turn = ScheduleTurn([], [], [], [], [], False, math.inf, [], None, returned)
        self.begun = turn
        if self._stopped or self._paused:
            return turn
        self.dispatcher.look_around()
        self._open_groups(turn)
        self._queue_ready(turn)
        for task, round_ in self.deferrals.due(now):
            if self.frontier.queued(task):
                turn.salvaged.append((self._enqueue(task), round_))
            else:
                self.deferrals.forget(task)  # its row was dropped meanwhile
        more = self._dispatch(turn, batch, now)
        while not more and self._widen(now):
            self._open_groups(turn)
            self._queue_ready(turn)
            more = self._dispatch(turn, batch, now)
        return turn._replace(
            more=more,
            next_deadline=min(self.deferrals.next_deadline, self._closed_until),
            targets=self._taken_targets(),
            blocked=self._news(),
        )

    def accepts(self, task: Task) -> bool:
        """Whether the value of a running task still counts: its row was not dropped."""
        return self.frontier.state(task) is TaskState.RUNNING

    def release(self, lease: Lease) -> ReleaseStatus:
        """Takes the lease of a task that ended, however it ended."""
        status = self.dispatcher.release(lease)
        if status is ReleaseStatus.RELEASED:
            self._running -= 1
        return status

    def set_capacities(self, capacities: Mapping[ResourceKey, int]) -> None:
        """Changes what exists of some of the scheduler's resources."""
        self.dispatcher.admission.set_capacities(capacities)
        self.dispatcher.ask_all_again()
        if self._horizon is not None:
            self._horizon.recapacitate()

    def set_row_groups(self, wanted: int | None) -> None:
        """Keeps a number of row groups open, or follows the work if None."""
        change = self.governor.ask(wanted)
        if change is not None:
            self._targets.append(change)

    def set_policy(self, policy: TaskPolicy) -> None:
        """Lets another task policy decide from now on."""
        self.dispatcher.admission.set_policy(policy)
        self.dispatcher.ask_all_again()

    def set_advisory(self, advisory: Advisory | None) -> None:
        """Heeds the pressure of models from now on, or not."""
        self.dispatcher.advisory = advisory
        self.dispatcher.ask_all_again()

    def set_weight(self, column: str, weight: float) -> tuple[FlowKey, float]:
        """Gives the flow of a column another weight, finite and above 0.

        Returns:
            The flow, and its weight until now.
        """
        before = self.resolver.flow(column)
        check_weight(before.key.label, weight)
        self.dispatcher.set_weight(self.resolver.set_weight(before.key, weight))
        return before.key, before.weight

    def step_aside(self, lease: Lease) -> bool | None:
        """A running task waits for its model: others may have what it holds of the shared slots.

        Returns:
            Whether this may let something start; None if it gave back nothing.
        """
        return self.dispatcher.step_aside(lease)

    def come_back(self, lease: Lease) -> bool | None:
        """A task that stepped aside may go on; False if there is no room: a turn will name it.
        None if it does not stand aside: it ended, and a call of it goes on.
        """
        return self.dispatcher.come_back(lease)

    def complete(self, task: Task) -> RowGroup | None:
        """A task ended; names the row group that this finishes, if any."""
        self.deferrals.forget(task)
        return self._apply(self.frontier.complete(task))

    def stored(self, group: RowGroup) -> None:
        """A finished row group is where it belongs; another one may be opened in its place."""
        change = self.governor.finish(group.index)
        if change is not None:
            self._targets.append(change)

    def drop(self, task: Task) -> tuple[tuple[int, ...], RowGroup | None]:
        """A task failed for good: its row is dropped, or every row of its group if it has none.

        Returns:
            The numbers of the rows dropped now, and the row group that this finishes, if any.
        """
        group = task.row_group
        if task.row is not None:
            lost = self.drop_rows(task, (task.row,))
            return lost, self.complete(task)
        lost = tuple(r for r in self._rows_of(task) if not self.frontier.is_dropped(group, r))
        finished = self._apply(self.frontier.drop_group(group))
        return lost, self.complete(task) or finished

    def drop_rows(self, task: Task, rows: Iterable[int]) -> tuple[int, ...]:
        """A running task asks to drop some rows of its group; names those dropped now.

        The group cannot be finished by this: the task itself still runs.
        """
        group = task.row_group
        lost = tuple(row for row in rows if not self.frontier.is_dropped(group, row))
        for row in lost:
            if self._horizon is not None:
                self._horizon.dropping(group, row)
            self._apply(self.frontier.drop(group, row))
        return lost

    def defer(self, task: Task, now: float) -> Deferred | None:
        """Puts a failed task aside for later; None if it may not be tried again."""
        if not self.accepts(task):
            return None
        deferred = self.deferrals.defer(task, now)
        if deferred is not None:
            self.frontier.returned(task)
        return deferred

    def undo(self, task: Task) -> None:
        """A task could not be started: it is ready as before."""
        if self.frontier.returned(task):
            self._ready.append(task)

    @property
    def _being_stored(self) -> int:
        """Row groups that are worked through and being put away."""
        return self.governor.open_groups - len(self.frontier.open_groups)

    def _cause(self, queue: QueueBlock, now: float) -> Cause:
        """The foremost reason why nothing starts."""
        if self.finished or self._stopped:
            return Cause.FINISHED if self.finished else Cause.STOPPED
        if self._paused:
            return Cause.PAUSED
        due = self.deferrals.next_deadline <= now
        if queue.askable or self._ready or self.governor.may_open or due:
            return Cause.NOT_BLOCKED
        if queue.queued:
            return Cause.HELD_BACK
        if self._running:
            return Cause.GROUPS_FULL if self.governor.why_not() in FULL else Cause.ALL_RUNNING
        if self.deferrals:
            return Cause.DEFERRED
        return Cause.BEING_STORED if self._being_stored else Cause.STUCK

    def _open_groups(self, turn: ScheduleTurn) -> None:
        while (group := self.governor.next()) is not None:
            self._starts[group.index] = group.start
            turn.opened.append(group)
            if self._horizon is not None:
                self._horizon.opened(group)
            self._apply(self.frontier.open(group))

    def _queue_ready(self, turn: ScheduleTurn) -> None:
        ready, self._ready = self._ready, []
        for task in ready:
            if self.frontier.queued(task):
                if self._horizon is not None:
                    self._horizon.ready(task)
                turn.enqueued.append(self._enqueue(task))

    def _widen(self, now: float) -> bool:
        """Lets one more row group be open, if slots are without work."""
        self._closed_until = math.inf
        if self._horizon is None or not self.governor.adaptive:
            return False
        demand = self._horizon.demand(now)._replace(storing=self._being_stored)
        change = self.governor.consider(demand)
        if self.governor.blocked is BlockReason.MODELS_CLOSED and demand.closed_until:
            # Nobody else will tell when it is time to look again.
            self._closed_until = demand.closed_until
        if change is not None:
            self._targets.append(change)
        return change is not None

    def _taken_targets(self) -> list[TargetChange]:
        targets, self._targets = self._targets, []
        return targets

    def _news(self) -> BlockReason | None:
        """Why no further row group may be open, once for each time that the reason changes."""
        before, self._told = self._told, self.governor.blocked
        return None if self._told is before else self._told

    def _enqueue(self, task: Task) -> ReadyTask:
        ready = self.resolver.resolve(task, self._starts[task.row_group])
        self.dispatcher.enqueue(ready)
        return ready

    def _dispatch(self, turn: ScheduleTurn, batch: int, now: float) -> bool:
        while len(turn.dispatched) < batch:
            step = self.dispatcher.next(now)
            if step is None:
                return False
            if isinstance(step, Denied):
                turn.denied.append(step)
                continue
            self.frontier.started(step.ready.task)
            self._running += 1
            turn.dispatched.append(step)
        return True

    def _apply(self, delta: FrontierDelta) -> RowGroup | None:
        self._ready += delta.ready
        self._discard(delta.discarded)
        if delta.finished is not None:
            self._starts.pop(delta.finished.index, None)
            if self._horizon is not None:
                self._horizon.closed(delta.finished.index)
        return delta.finished

    def _discard(self, tasks: Iterable[Task]) -> None:
        for task in tasks:
            self.dispatcher.discard(self.resolver.resolve(task, 0).task_id)
            self.deferrals.forget(task)

    def _rows_of(self, task: Task) -> Iterable[int]:
        if task.row is not None:
            return (task.row,)
        for group in self.frontier.open_groups:
            if group.index == task.row_group:
                return range(group.start, group.stop)
        return ()
