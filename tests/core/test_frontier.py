"""The frontier: what becomes ready, once each, and when a group is finished."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st

from ddsched_nb.core.frontier import Frontier, FrontierDelta, TaskState
from ddsched_nb.core.graph import ColumnGraph
from ddsched_nb.core.model import ColumnSpec, RowGroup, Task

NOTHING = FrontierDelta()


def diamond() -> ColumnGraph:
    """One root, two columns over it, one over both."""
    return ColumnGraph(
        [
            ColumnSpec("seed", (), ("seed",), "root"),
            ColumnSpec("left", ("seed",), ("left",)),
            ColumnSpec("right", ("seed",), ("right",)),
            ColumnSpec("join", ("left", "right"), ("join",)),
        ]
    )


def run_task(frontier: Frontier, task: Task) -> FrontierDelta:
    assert frontier.queued(task)
    assert frontier.started(task)
    return frontier.complete(task)


def test_a_group_opens_with_its_roots_and_ends_with_its_last_cell() -> None:
    frontier = Frontier(diamond())
    group = RowGroup(0, 0, 2)
    assert frontier.open(group).ready == (Task("seed", 0, None),)
    delta = run_task(frontier, Task("seed", 0, None))
    assert set(delta.ready) == {Task(c, 0, r) for c in ("left", "right") for r in (0, 1)}
    assert run_task(frontier, Task("left", 0, 0)).ready == ()
    assert run_task(frontier, Task("right", 0, 0)).ready == (Task("join", 0, 0),)
    for task in (Task("left", 0, 1), Task("right", 0, 1), Task("join", 0, 0)):
        assert run_task(frontier, task).finished is None
    assert run_task(frontier, Task("join", 0, 1)).finished == group
    assert frontier.open_groups == ()


def test_every_hand_off_is_idempotent() -> None:
    frontier = Frontier(diamond())
    group = RowGroup(0, 0, 2)
    seed = Task("seed", 0, None)
    frontier.open(group)
    assert frontier.open(group) == NOTHING
    assert not frontier.started(seed), "not queued yet"
    assert frontier.complete(seed) == NOTHING, "not running yet"
    assert frontier.queued(seed)
    assert not frontier.queued(seed)
    assert frontier.started(seed)
    assert not frontier.started(seed)
    assert len(frontier.complete(seed).ready) == 4
    assert frontier.complete(seed) == NOTHING
    assert frontier.drop(0, 0).ready == ()
    assert frontier.drop(0, 0) == NOTHING
    assert frontier.drop(7, 0) == NOTHING, "a group that is not open"


def test_a_dropped_row_leaves_the_queue_and_what_runs_is_waited_for() -> None:
    frontier = Frontier(diamond())
    group = RowGroup(0, 0, 1)
    frontier.open(group)
    run_task(frontier, Task("seed", 0, None))
    left, right = Task("left", 0, 0), Task("right", 0, 0)
    frontier.queued(left)
    frontier.queued(right)
    frontier.started(right)
    delta = frontier.drop(0, 0)
    assert delta.discarded == (left,)
    assert delta.finished is None, "right still runs"
    assert frontier.state(right) is TaskState.DOOMED
    assert not frontier.returned(right)
    ended = frontier.complete(right)
    assert ended.ready == ()
    assert ended.finished == group


def test_a_returned_task_is_ready_again() -> None:
    frontier = Frontier(diamond())
    frontier.open(RowGroup(0, 0, 1))
    seed = Task("seed", 0, None)
    frontier.queued(seed)
    frontier.started(seed)
    assert frontier.returned(seed)
    assert frontier.state(seed) is TaskState.READY
    assert frontier.queued(seed)


def test_a_dropped_group_ends_when_nothing_of_it_runs() -> None:
    frontier = Frontier(diamond())
    group = RowGroup(0, 0, 3)
    frontier.open(group)
    seed = Task("seed", 0, None)
    frontier.queued(seed)
    frontier.started(seed)
    assert frontier.drop_group(0).finished is None
    assert frontier.complete(seed).finished == group


def test_finished_rows_of_an_open_group() -> None:
    frontier = Frontier(diamond())
    frontier.open(RowGroup(0, 10, 13))
    run_task(frontier, Task("seed", 0, None))
    for column in ("left", "right", "join"):
        run_task(frontier, Task(column, 0, 11))
    assert frontier.finished_rows(0) == [11]
    assert frontier.pending(0) == 6
    assert frontier.progress() == [(RowGroup(0, 10, 13), 10, 6)]


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 4), st.floats(0, 0.3))
def test_every_task_is_ready_once_and_every_group_finishes_once(
    random: object, rows: int, drop_share: float
) -> None:
    """Tasks end in any order, rows are dropped at any time."""
    rng = random
    frontier = Frontier(diamond())
    groups = [RowGroup(0, 0, rows), RowGroup(1, rows, 2 * rows)]
    ready: list[Task] = []
    running: list[Task] = []
    seen: list[Task] = []
    finished: list[int] = []
    dropped: set[int] = set()

    def take(delta: FrontierDelta) -> None:
        ready.extend(delta.ready)
        seen.extend(delta.ready)
        if delta.finished is not None:
            finished.append(delta.finished.index)

    for group in groups:
        take(frontier.open(group))
    while ready or running:
        if rng.random() < drop_share:  # type: ignore[attr-defined]
            row = rng.randrange(2 * rows)  # type: ignore[attr-defined]
            dropped.add(row)
            take(frontier.drop(row // rows, row))
        if ready and (not running or rng.random() < 0.5):  # type: ignore[attr-defined]
            task = ready.pop(rng.randrange(len(ready)))  # type: ignore[attr-defined]
            if frontier.queued(task) and frontier.started(task):
                running.append(task)
        elif running:
            task = running.pop(rng.randrange(len(running)))  # type: ignore[attr-defined]
            take(frontier.complete(task))
    assert sorted(finished) == [0, 1]
    assert len(seen) == len(set(seen))
    kept = [row for row in range(2 * rows) if row not in dropped]
    assert {Task("join", row // rows, row) for row in kept} <= set(seen)
