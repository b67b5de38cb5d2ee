"""The scheduler's own CPU per task: a chain of columns that call no model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ddsched_nb.bench.cpu import Spent, cpu_s
from ddsched_nb.columns import Column
from ddsched_nb.config import RunConfig
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.run import start


def measure(tasks: int, *, record: bool) -> dict[str, object]:
    """Runs about `tasks` cell tasks, three a row, after one root column.

    Returns:
        CPU in microseconds per cell task, from `start` to the end of the run.
    """
    spent = chain(tasks, record=record)()
    return {
        "tasks": spent.operations,
        "record": "yes" if record else "no",
        "CPU us a task": round(1e6 * spent.cpu_s / spent.operations, 1),
    }


def chain(
    tasks: int, *, record: bool = False, buffer_size: int = 256, row_groups: int | None = None
) -> Callable[[], Spent]:
    """The same as a subject, which may be measured in turns with others.

    Args:
        tasks: Cell tasks, about; three a row.
        record: Whether everything is recorded.
        buffer_size: Rows of a row group.
        row_groups: Row groups open at once; as many as the scheduler likes if None.
    """
    rows = max(1, tasks // 3)
    pipeline = Pipeline(
        columns=[
            Column("a", generate=list),
            Column("b", needs=["a"], generate=lambda row: row["a"] + 1),
            Column("c", needs=["b"], generate=lambda row: row["b"] * 2),
            Column("d", needs=["a", "c"], generate=lambda row: row["a"] + row["c"]),
        ]
    )
    config = RunConfig(
        record=record,
        progress=False,
        buffer_size=buffer_size,
        row_groups="adaptive" if row_groups is None else row_groups,
    )

    async def run() -> Spent:
        since = cpu_s()
        done = await start(pipeline, rows=rows, config=config)
        spent = cpu_s() - since
        assert done.summary().finished == rows
        return Spent(rows * 3, spent)

    return lambda: asyncio.run(run())
