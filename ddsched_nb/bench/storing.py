"""What a store costs: the same run with and without one, in turns; and a million rows."""

from __future__ import annotations

import asyncio
import resource
import statistics
import tempfile
from pathlib import Path

from ddsched_nb.bench.cpu import cpu_s
from ddsched_nb.columns import Column
from ddsched_nb.config import RunConfig
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.run import start

_TENTHS = 10


def compare(rows: int, group: int, repeats: int) -> list[dict[str, object]]:
    """Runs `rows` rows of two local columns with a store and without, in turns.

    Args:
        rows: Rows.
        group: Rows in a row group.
        repeats: Runs of each.

    Returns:
        Medians of wall and CPU seconds, and what the store adds for each row group.
    """
    _run(group, group, stored=True)  # so that no run of the comparison imports what writes files
    walls: dict[bool, list[float]] = {False: [], True: []}
    cpus: dict[bool, list[float]] = {False: [], True: []}
    for repeat in range(repeats):
        for stored in (False, True) if repeat % 2 == 0 else (True, False):
            wall, cpu, _ = _run(rows, group, stored=stored)
            walls[stored].append(wall)
            cpus[stored].append(cpu)
    median = statistics.median
    groups = -(-rows // group)
    added = [a - b for a, b in zip(cpus[True], cpus[False], strict=True)]
    ratios = [a / b for a, b in zip(walls[True], walls[False], strict=True)]
    return [
        {
            "rows": rows,
            "row group": group,
            "wall s, memory": round(median(walls[False]), 3),
            "wall s, store": round(median(walls[True]), 3),
            "store / memory": round(median(ratios), 3),
            "CPU ms a group": round(1000 * median(added) / groups, 2),
        }
    ]


def large(rows: int, group: int) -> list[dict[str, object]]:
    """Runs many rows with a store and no record: memory, and whether it slows down.

    Returns:
        Peak memory, and rows a second in the first and in the last tenth.
    """
    _run(group, group, stored=True)
    wall, cpu, marks = _run(rows, group, stored=True)
    first, last = marks[1] - marks[0], marks[-1] - marks[-2]
    return [
        {
            "rows": rows,
            "row group": group,
            "wall s": round(wall, 1),
            "CPU us a row": round(1e6 * cpu / rows, 1),
            "rows/s, first tenth": round(rows / _TENTHS / first),
            "rows/s, last tenth": round(rows / _TENTHS / last),
            "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }
    ]


def _run(rows: int, group: int, *, stored: bool) -> tuple[float, float, list[float]]:
    """Wall and CPU seconds of a run, and when each tenth of its rows was finished."""
    pipeline = Pipeline(
        columns=[
            Column("n", generate=list),
            Column("text", needs=["n"], generate=lambda row: f"row {row['n']}"),
        ]
    )
    config = RunConfig(buffer_size=group, record=False, progress=False)

    async def go(folder: str) -> tuple[float, float, list[float]]:
        loop = asyncio.get_running_loop()
        began, since = loop.time(), cpu_s()
        run = start(pipeline, rows=rows, config=config, store=Path(folder) if stored else None)
        marks = [began]
        while not run.done:
            await asyncio.sleep(0.02)
            tenth = rows * len(marks) // _TENTHS
            if run.statistics().rows_finished >= tenth and len(marks) < _TENTHS:
                marks.append(loop.time())
        run = await run
        marks.append(loop.time())
        assert run.summary().finished == rows
        return loop.time() - began, cpu_s() - since, marks

    with tempfile.TemporaryDirectory(prefix="ddsched-bench-", dir=".") as folder:
        return asyncio.run(go(folder))
