"""The frontier with columns that work on whole row groups, against a model that forgets nothing."""

from __future__ import annotations

import random

from hypothesis import given, strategies as st

from ddsched_nb.core.frontier import Frontier, TaskState
from ddsched_nb.core.graph import ColumnGraph
from ddsched_nb.core.model import ColumnSpec, RowGroup, Task

GROUP = RowGroup(0, 10, 14)


def spec(name: str, *needs: str, kind: str = "cell", after: tuple[str, ...] = ()) -> ColumnSpec:
    return ColumnSpec(name, needs, (name,), kind, after)  # type: ignore[arg-type]


def frontier(*specs: ColumnSpec) -> Frontier:
    return Frontier(ColumnGraph(specs))


def finish(f: Frontier, task: Task) -> tuple[Task, ...]:
    assert f.queued(task)
    assert f.started(task)
    return f.complete(task).ready


def test_a_batch_is_ready_when_its_last_row_is() -> None:
    f = frontier(spec("a", kind="root"), spec("b", "a"), spec("c", "b", kind="batch"))
    ready = finish(f, f.open(GROUP).ready[0])
    assert [task.row for task in ready] == [10, 11, 12, 13]
    assert [finish(f, task) for task in ready] == [(), (), (), (Task("c", 0, None),)]


def test_a_batch_does_not_wait_for_rows_that_were_dropped() -> None:
    f = frontier(spec("a"), spec("c", "a", kind="batch"), spec("d", "c"))
    ready = f.open(GROUP).ready
    for task in ready[:3]:
        assert not finish(f, task)
    delta = f.drop(0, 13)
    assert delta.ready == (Task("c", 0, None),)
    fed = finish(f, delta.ready[0])
    assert [task.row for task in fed] == [10, 11, 12]


def test_a_row_dropped_while_its_cell_runs_is_not_waited_for() -> None:
    f = frontier(spec("a"), spec("c", "a", kind="batch"))
    first, *others = f.open(GROUP).ready
    f.queued(first)
    f.started(first)
    for task in others:
        finish(f, task)
    assert f.drop(0, first.row or 0).ready == (Task("c", 0, None),)
    assert f.complete(first).ready == ()


def test_without_rows_left_a_batch_has_nothing_to_do() -> None:
    f = frontier(spec("a"), spec("c", "a", kind="batch"))
    f.open(GROUP)
    ends = [f.drop(0, row) for row in range(10, 14)]
    assert not any(end.ready for end in ends)
    assert ends[-1].finished == GROUP


def test_after_orders_columns_that_read_nothing_of_each_other() -> None:
    f = frontier(spec("b"), spec("first", kind="batch"), spec("a", after=("first",)))
    ready = f.open(GROUP).ready
    assert {task.column for task in ready} == {"b", "first"}
    fed = finish(f, Task("first", 0, None))
    assert {task.column for task in fed} == {"a"}


@given(st.data(), st.integers(0, 2**32))
def test_whatever_happens_every_task_ends_once_and_in_order(data: st.DataObject, seed: int) -> None:
    kinds = data.draw(st.lists(st.sampled_from(["cell", "batch", "root"]), min_size=1, max_size=6))
    specs = []
    for index, kind in enumerate(kinds):
        known = [f"c{i}" for i in range(index)]
        needs = data.draw(st.lists(st.sampled_from(known), unique=True)) if known else []
        needs = [] if kind == "root" else needs
        specs.append(
            spec(f"c{index}", *needs, kind="root" if kind == "batch" and not needs else kind)
        )
    rng = random.Random(seed)
    f = frontier(*specs)
    started: set[Task] = set()
    finished = False
    delta = f.open(GROUP)
    ready, running = list(delta.ready), []
    while not finished:
        finished = finished or delta.finished is not None
        if finished:
            break
        move = rng.random()
        if move < 0.15:
            delta = f.drop(0, rng.randrange(10, 14))
        elif move < 0.5 and running:
            delta = f.complete(running.pop(rng.randrange(len(running))))
        else:
            task = ready.pop(rng.randrange(len(ready))) if ready else None
            if task is None and not running:
                raise AssertionError("nothing is ready, nothing runs, and the group is not done")
            if task is not None and f.queued(task):
                assert task not in started, "a task started twice"
                needs = next(s.needs for s in specs if s.name == task.column)
                rows = [r for r in range(10, 14) if not f.is_dropped(0, r)]
                for need in needs:
                    for row in rows if task.row is None else [task.row]:
                        made = next(s for s in specs if s.name == need)
                        state = f.state(Task(need, 0, None if made.is_whole else row))
                        assert state is TaskState.DONE, f"{task} started before {need}"
                assert f.started(task)
                started.add(task)
                running.append(task)
            continue
        ready += delta.ready
    assert not running
    assert not f.open_groups
