"""The scheduler's own CPU per task: a chain of columns that call no model."""

from __future__ import annotations

import asyncio

from ddsched_nb.bench.cpu import cpu_s
from ddsched_nb.columns import Column
from ddsched_nb.config import RunConfig
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.run import start


def measure(tasks: int, *, record: bool) -> dict[str, object]:
    """Runs about `tasks` cell tasks, three a row, after one root column.

    Returns:
        CPU in microseconds per cell task, from `start` to the end of the run.
    """
    rows = tasks // 3
    pipeline = Pipeline(
        columns=[
            Column("a", generate=list),
            Column("b", needs=["a"], generate=lambda row: row["a"] + 1),
            Column("c", needs=["b"], generate=lambda row: row["b"] * 2),
            Column("d", needs=["a", "c"], generate=lambda row: row["a"] + row["c"]),
        ]
    )
    config = RunConfig(record=record, progress=False)

    async def run() -> float:
        since = cpu_s()
        done = await start(pipeline, rows=rows, config=config)
        spent = cpu_s() - since
        assert done.summary().finished == rows
        return spent

    spent = asyncio.run(run())
    return {
        "tasks": rows * 3,
        "record": "yes" if record else "no",
        "CPU us a task": round(1e6 * spent / (rows * 3), 1),
    }
