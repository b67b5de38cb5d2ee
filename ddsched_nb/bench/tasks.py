"""The scheduler's own CPU per task: a chain of columns that call no model."""

from __future__ import annotations

import asyncio
import time

import ddsched_nb as dd


def measure(tasks: int, *, record: bool) -> dict[str, object]:
    """Runs about `tasks` cell tasks, three a row, after one root column.

    Returns:
        CPU in microseconds per cell task, from `start` to the end of the run.
    """
    rows = tasks // 3
    pipeline = dd.Pipeline(
        columns=[
            dd.Column("a", generate=list),
            dd.Column("b", needs=["a"], generate=lambda row: row["a"] + 1),
            dd.Column("c", needs=["b"], generate=lambda row: row["b"] * 2),
            dd.Column("d", needs=["a", "c"], generate=lambda row: row["a"] + row["c"]),
        ]
    )
    config = dd.RunConfig(record=record, progress=False)

    async def run() -> float:
        since = time.process_time()
        done = await dd.start(pipeline, rows=rows, config=config)
        spent = time.process_time() - since
        assert done.summary().finished == rows
        return spent

    spent = asyncio.run(run())
    return {
        "tasks": rows * 3,
        "record": "yes" if record else "no",
        "CPU us a task": round(1e6 * spent / (rows * 3), 1),
    }
