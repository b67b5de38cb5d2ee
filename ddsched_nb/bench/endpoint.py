"""End to end over real HTTP: this scheduler and the simplest loop, in turns, beside the oracle.

The simplest loop is a semaphore a model and a sleep of Retry-After: what one writes without a
scheduler. The endpoint runs in a process of its own.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from ddsched_nb.bench.cpu import cpu_s
from ddsched_nb.bench.scenarios import COLUMNS, NEEDS, Reference, Scenario, prompt, reference
from ddsched_nb.bench.server import counts, reset, served
from ddsched_nb.clients.base import ChatRequest
from ddsched_nb.clients.openai import OpenAICompatibleClient
from ddsched_nb.config import RunConfig
from ddsched_nb.core.row import Row
from ddsched_nb.errors import ProviderError
from ddsched_nb.model_columns import ModelColumn
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.providers import Model, OpenAICompatible
from ddsched_nb.reprs import text_table
from ddsched_nb.run import start


class Measured(NamedTuple):
    """One run of one client. Seconds; CPU is the client's."""

    wall_s: float
    cpu_s: float
    finished: int
    refused: int


Client = Callable[[str, Scenario, int], Awaitable[int]]


async def scheduler(base_url: str, scenario: Scenario, rows: int) -> int:
    """This project, with its defaults. Returns the rows finished."""

    def asks(column: str) -> Callable[[Row], str]:
        return lambda row: prompt(row.number, column)

    pipeline = Pipeline(
        providers=[OpenAICompatible("bench", base_url=base_url)],
        models=[
            Model(model, provider="bench", max_parallel_requests=scenario.cap)
            for model in dict.fromkeys(COLUMNS.values())
        ],
        columns=[
            ModelColumn(column, model=model, prompt=asks(column), needs=NEEDS[column])
            for column, model in COLUMNS.items()
        ],
    )
    run = await start(pipeline, table={"row_id": range(rows)}, config=RunConfig(progress=False))
    return run.summary().finished


async def simplest_loop(base_url: str, scenario: Scenario, rows: int) -> int:
    """A semaphore a model and a sleep of Retry-After. Returns the rows finished."""
    client = OpenAICompatibleClient("bench", base_url=base_url)
    slots = {model: asyncio.Semaphore(scenario.cap) for model in COLUMNS.values()}

    async def call(row: int, column: str) -> None:
        model = COLUMNS[column]
        message = {"role": "user", "content": prompt(row, column)}
        async with slots[model]:
            while True:
                try:
                    await client.chat(ChatRequest(model, (message,), {}))
                    return
                except ProviderError as error:
                    await asyncio.sleep(error.retry_after or 1.0)

    async def chain(row: int) -> None:
        await asyncio.gather(call(row, "a1"), call(row, "a2"))
        await call(row, "b1")
        await call(row, "judge")

    await asyncio.gather(*(chain(row) for row in range(rows)))
    await client.close()
    return rows


CLIENTS: dict[str, Client] = {"ddsched_nb": scheduler, "simplest loop": simplest_loop}


def measure(scenario: Scenario, rows: int, repeats: int) -> list[dict[str, object]]:
    """Runs every client `repeats` times, in turns, and takes medians.

    Returns:
        One entry a client; ratios have the oracle's makespan as denominator.
    """
    taken: dict[str, list[Measured]] = {name: [] for name in CLIENTS}
    with served(scenario.profiles()) as base_url:
        for _ in range(repeats):
            for name, client in CLIENTS.items():
                taken[name].append(asyncio.run(_once(client, base_url, scenario, rows)))
    known = reference(scenario, rows)
    return [_entry(name, scenario, rows, known, runs) for name, runs in taken.items()]


def table(entries: list[dict[str, object]]) -> str:
    """The entries as text."""
    head = list(entries[0])
    return text_table(head, [[str(entry[name]) for name in head] for entry in entries])


async def _once(client: Client, base_url: str, scenario: Scenario, rows: int) -> Measured:
    await asyncio.to_thread(reset, base_url)
    loop = asyncio.get_running_loop()
    wall, cpu = loop.time(), cpu_s()
    finished = await client(base_url, scenario, rows)
    wall, cpu = loop.time() - wall, cpu_s() - cpu
    seen = await asyncio.to_thread(counts, base_url)
    return Measured(wall, cpu, finished, sum(model.refused for model in seen.models.values()))


def _entry(
    name: str, scenario: Scenario, rows: int, known: Reference, runs: list[Measured]
) -> dict[str, object]:
    wall = statistics.median(run.wall_s for run in runs)
    calls = rows * len(COLUMNS)
    return {
        "scenario": scenario.name,
        "client": name,
        "runs": len(runs),
        "wall s": round(wall, 2),
        "over oracle": round(wall / known.oracle_s, 3),
        "over bound": round(wall / known.bound_s, 3),
        "refused": round(statistics.median(run.refused for run in runs)),
        "rows lost": max(rows - run.finished for run in runs),
        "CPU ms a call": round(1e3 * statistics.median(run.cpu_s for run in runs) / calls, 2),
        "oracle s": round(known.oracle_s, 2),
        "bound s": round(known.bound_s, 2),
    }
