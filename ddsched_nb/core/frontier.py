"""The frontier: which tasks have all their inputs?

Keeps the state of every task of the open row groups and says what a completion, a drop or a new
row group makes ready. Each hand-off is idempotent: saying the same thing twice changes nothing.
It must not know queues, leases or values. Memory is a few bytes a cell of the open groups only.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from ddsched_nb.core.graph import ColumnGraph
from ddsched_nb.core.model import RowGroup, Task


class TaskState(IntEnum):
    """Where a task stands. `DOOMED` is running, but its row was dropped meanwhile."""

    WAITING = 0
    READY = 1
    QUEUED = 2
    RUNNING = 3
    DOOMED = 4
    DONE = 5
    DROPPED = 6


_ENDED = frozenset({TaskState.DONE, TaskState.DROPPED})


class FrontierDelta(NamedTuple):
    """What a change brought.

    Attributes:
        ready: Tasks that have all their inputs now.
        discarded: Tasks that were queued and must leave the queue.
        finished: The row group, if nothing of it is left to do or in flight.
    """

    ready: tuple[Task, ...] = ()
    discarded: tuple[Task, ...] = ()
    finished: RowGroup | None = None


_NOTHING = FrontierDelta()


class _Column:
    """Static facts of a column.

    Attributes:
        is_whole: Whether one task serves a whole row group.
        needs_cells: How many of the columns it needs work row by row.
        needs_whole: How many of them work by row group.
        feeds: Names of the columns that need it.
    """

    __slots__ = ("feeds", "is_whole", "name", "needs_cells", "needs_whole")

    def __init__(self, graph: ColumnGraph, name: str) -> None:
        self.name = name
        self.is_whole = graph.specs[name].is_whole
        whole = sum(graph.specs[up].is_whole for up in graph.upstream(name))
        self.needs_whole = whole
        self.needs_cells = len(graph.upstream(name)) - whole
        self.feeds = graph.downstream(name)


class _Group:
    """The open tasks of one row group. A whole column has one slot, a cell column one a row.

    `missing` counts the inputs that each cell still waits for, `awaited` those of each whole
    column: one for a whole column, one a row for a cell column.
    """

    __slots__ = ("awaited", "dropped", "left", "missing", "pending", "row_group", "states")

    def __init__(self, row_group: RowGroup, columns: dict[str, _Column]) -> None:
        self.row_group = row_group
        size = self.left = row_group.size
        self.states: dict[str, bytearray] = {}
        self.missing: dict[str, bytearray] = {}
        self.awaited: dict[str, int] = {}
        for c in columns.values():
            self.states[c.name] = bytearray(1 if c.is_whole else size)
            if c.is_whole:
                self.awaited[c.name] = c.needs_whole + c.needs_cells * size
            else:
                self.missing[c.name] = bytearray([c.needs_whole + c.needs_cells]) * size
        self.pending = sum(len(states) for states in self.states.values())
        self.dropped = bytearray(size)

    def slot(self, task: Task) -> int:
        return 0 if task.row is None else task.row - self.row_group.start


class Frontier:
    """The tasks of the open row groups.

    Args:
        graph: The columns and who needs whom. Needs that an input table provides do not count.
    """

    def __init__(self, graph: ColumnGraph) -> None:
        self.graph = graph
        self._columns = {name: _Column(graph, name) for name in graph.order}
        self._groups: dict[int, _Group] = {}

    def open(self, row_group: RowGroup) -> FrontierDelta:
        """Opens a row group; its tasks without inputs are ready. Idempotent while it is open."""
        if row_group.index in self._groups:
            return _NOTHING
        group = self._groups[row_group.index] = _Group(row_group, self._columns)
        ready: list[Task] = []
        for column in self._columns.values():
            if column.needs_cells or column.needs_whole:
                continue
            slots = range(1) if column.is_whole else range(row_group.size)
            ready += [self._make_ready(group, column, slot) for slot in slots]
        return FrontierDelta(tuple(ready), (), self._close_if_finished(group))

    def state(self, task: Task) -> TaskState:
        """Where a task stands; `DONE` for tasks of groups that are finished."""
        group = self._groups.get(task.row_group)
        if group is None:
            return TaskState.DONE
        return TaskState(group.states[task.column][group.slot(task)])

    def queued(self, task: Task) -> bool:
        """Acknowledges that a ready task was queued. False if it was not ready."""
        return self._move(task, TaskState.READY, TaskState.QUEUED)

    def started(self, task: Task) -> bool:
        """Acknowledges that a queued task runs. False if it was not queued."""
        return self._move(task, TaskState.QUEUED, TaskState.RUNNING)

    def returned(self, task: Task) -> bool:
        """Makes a running task ready again: its spawn failed, or it is to be tried again.

        False if its row was dropped meanwhile or it does not run; then `complete` ends it.
        """
        return self._move(task, TaskState.RUNNING, TaskState.READY)

    def complete(self, task: Task) -> FrontierDelta:
        """A running task ended; if its row still counts, its dependants may be ready."""
        group = self._groups.get(task.row_group)
        if group is None:
            return _NOTHING
        states, slot = group.states[task.column], group.slot(task)
        state = states[slot]
        if state == TaskState.DOOMED:
            states[slot] = TaskState.DROPPED
            group.pending -= 1
            return FrontierDelta((), (), self._close_if_finished(group))
        if state != TaskState.RUNNING:
            return _NOTHING
        states[slot] = TaskState.DONE
        group.pending -= 1
        ready = self._feed(group, self._columns[task.column], slot)
        return FrontierDelta(tuple(ready), (), self._close_if_finished(group))

    def drop(self, row_group: int, row: int) -> FrontierDelta:
        """Drops a row: what of it is not running ends now, what runs ends when it completes."""
        group = self._groups.get(row_group)
        if group is None:
            return _NOTHING
        slot = row - group.row_group.start
        if group.dropped[slot]:
            return _NOTHING
        ready, discarded = self._drop_row(group, slot)
        if not group.left:
            discarded += self._drop_whole(group)
            ready = []
        return FrontierDelta(tuple(ready), tuple(discarded), self._close_if_finished(group))

    def drop_group(self, row_group: int) -> FrontierDelta:
        """Drops every row of a group, and its whole tasks that are not running."""
        group = self._groups.get(row_group)
        if group is None:
            return _NOTHING
        discarded: list[Task] = []
        for slot in range(group.row_group.size):
            if not group.dropped[slot]:
                discarded += self._drop_row(group, slot)[1]
        discarded += self._drop_whole(group)
        return FrontierDelta((), tuple(discarded), self._close_if_finished(group))

    def is_dropped(self, row_group: int, row: int) -> bool:
        """Whether a row of an open group was dropped."""
        group = self._groups.get(row_group)
        return group is not None and bool(group.dropped[row - group.row_group.start])

    def finished_rows(self, row_group: int) -> list[int]:
        """Rows of an open group whose every cell is done."""
        group = self._groups[row_group]
        start = group.row_group.start
        wholes = [column.is_whole for column in self._columns.values()]
        states = list(zip(group.states.values(), wholes, strict=True))
        return [
            start + slot
            for slot in range(group.row_group.size)
            if all(s[0 if whole else slot] == TaskState.DONE for s, whole in states)
        ]

    def progress(self) -> list[tuple[RowGroup, int, int]]:
        """Each open row group with its tasks in all and those that have not ended.

        Safe to ask from another thread: it works on a copy taken at once.
        """
        return [
            (group.row_group, sum(map(len, group.states.values())), group.pending)
            for group in list(self._groups.values())
        ]

    @property
    def open_groups(self) -> tuple[RowGroup, ...]:
        """The open row groups, in order of opening."""
        return tuple(group.row_group for group in list(self._groups.values()))

    def pending(self, row_group: int) -> int:
        """Tasks of a group that have not ended; 0 once it is finished."""
        group = self._groups.get(row_group)
        return group.pending if group else 0

    def _make_ready(self, group: _Group, column: _Column, slot: int) -> Task:
        group.states[column.name][slot] = TaskState.READY
        row = None if column.is_whole else group.row_group.start + slot
        return Task(column.name, group.row_group.index, row)

    def _feed(self, group: _Group, column: _Column, slot: int) -> list[Task]:
        """One input less is missing in the dependants of a task."""
        slots = range(group.row_group.size) if column.is_whole else (slot,)
        ready = []
        for name in column.feeds:
            fed = self._columns[name]
            if fed.is_whole:
                ready += self._feed_whole(group, fed)
                continue
            missing = group.missing[name]
            for cell in slots:
                missing[cell] -= 1
                if not missing[cell] and not group.dropped[cell]:
                    ready.append(self._make_ready(group, fed, cell))
        return ready

    def _feed_whole(self, group: _Group, column: _Column) -> list[Task]:
        """A whole column waits for one input less; a dropped row's cells are not waited for."""
        group.awaited[column.name] -= 1
        waits = group.states[column.name][0] == TaskState.WAITING
        if group.awaited[column.name] or not waits:
            return []
        return [self._make_ready(group, column, 0)]

    def _move(self, task: Task, source: TaskState, target: TaskState) -> bool:
        group = self._groups.get(task.row_group)
        if group is None:
            return False
        states, slot = group.states[task.column], group.slot(task)
        if states[slot] != source:
            return False
        states[slot] = target
        return True

    def _drop_row(self, group: _Group, slot: int) -> tuple[list[Task], list[Task]]:
        """Ends the cells of a row; the tasks that this makes ready, and those to discard."""
        group.dropped[slot] = 1
        group.left -= 1
        row = group.row_group.start + slot
        ready: list[Task] = []
        discarded: list[Task] = []
        for column in self._columns.values():
            if column.is_whole:
                continue
            if group.states[column.name][slot] != TaskState.DONE:
                for name in column.feeds:
                    if self._columns[name].is_whole:
                        ready += self._feed_whole(group, self._columns[name])
            discarded += self._drop_task(group, column.name, slot, row)
        return ready, discarded

    def _drop_whole(self, group: _Group) -> list[Task]:
        """No row is left: what works by row group has nothing to work on."""
        discarded: list[Task] = []
        for column in self._columns.values():
            if column.is_whole:
                discarded += self._drop_task(group, column.name, 0, None)
        return discarded

    def _drop_task(self, group: _Group, column: str, slot: int, row: int | None) -> list[Task]:
        states = group.states[column]
        state = states[slot]
        if state == TaskState.RUNNING:
            states[slot] = TaskState.DOOMED
        if state in _ENDED or state in (TaskState.RUNNING, TaskState.DOOMED):
            return []
        states[slot] = TaskState.DROPPED
        group.pending -= 1
        if state == TaskState.QUEUED:
            return [Task(column, group.row_group.index, row)]
        return []

    def _close_if_finished(self, group: _Group) -> RowGroup | None:
        if group.pending:
            return None
        del self._groups[group.row_group.index]
        return group.row_group
