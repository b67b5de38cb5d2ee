"""What the live view costs: CPU in the kernel, bytes on the wire, and what a large run feels of it.

The view is the real one, on a loop that also runs the scheduler; without a front end its messages
go nowhere, so each is packed as a kernel would pack it, and weighed. What the browser feels is
measured by the browser tests.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable
from typing import Any

from jupyter_client.session import Session

from ddsched_nb.bench.cpu import cpu_s
from ddsched_nb.clients.profile import EndpointProfile, Latency
from ddsched_nb.columns import Column
from ddsched_nb.config import RunConfig
from ddsched_nb.model_columns import ModelColumn
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.providers import Model, SimulatedProvider
from ddsched_nb.run import Run, start
from ddsched_nb.views.panel import LiveView

__all__ = ["large", "updates", "with_and_without"]

_MODELS = ("writer", "critic", "judge", "editor")


class _Scale:
    """Weighs what a screen is sent."""

    def __init__(self, view: LiveView) -> None:
        self.bytes = 0
        self._session = Session(key=b"weighs as much as any other")
        view.screen.widget.send = self._weigh

    def _weigh(self, content: Any, buffers: Any = None) -> None:
        told = {"comm_id": "0" * 32, "data": {"method": "custom", "content": content}}
        message = self._session.msg("comm_msg", told, parent=self._session.msg("execute_request"))
        self.bytes += sum(map(len, self._session.serialize(message)))


def updates(rows: int = 10_000, seconds: float = 20.0) -> dict[str, object]:
    """Watches a run of four models for a while.

    Returns:
        CPU milliseconds of an update, on the average, and kilobytes a second on the wire.
    """

    async def watch() -> dict[str, object]:
        run = start(_four_models(), rows=rows, config=RunConfig(progress=False))
        await asyncio.sleep(0)
        view = LiveView(run)
        spent, scale, clock = _timed(view), _Scale(view), asyncio.get_running_loop().time
        began = clock()
        await asyncio.sleep(seconds)
        took = clock() - began
        sent = view.screen.sent
        view.close()
        await _end(run)
        return {
            "rows": rows,
            "updates a second": round(sent / took, 1),
            "CPU ms an update": round(1e3 * sum(spent) / len(spent), 2),
            "kB a second": round(scale.bytes / took / 1e3, 1),
        }

    return asyncio.run(watch())


def with_and_without(pairs: int = 5, seconds: float = 6.0) -> dict[str, object]:
    """Runs in turns, watched and not: CPU over wall time, and the difference."""

    async def share(watched: bool) -> float:
        run = start(_four_models(), rows=10_000, config=RunConfig(progress=False))
        await asyncio.sleep(0)
        view = LiveView(run) if watched else None
        if view is not None:
            _Scale(view)
        clock = asyncio.get_running_loop().time
        cpu, wall = cpu_s(), clock()
        await asyncio.sleep(seconds)
        found = (cpu_s() - cpu) / (clock() - wall)
        if view is not None:
            view.close()
        await _end(run)
        return found

    both = [(asyncio.run(share(True)), asyncio.run(share(False))) for _ in range(pairs)]
    return {
        "pairs": pairs,
        "CPU watched %": round(100 * statistics.median(a for a, _ in both), 1),
        "not watched %": round(100 * statistics.median(b for _, b in both), 1),
        "difference %": round(100 * statistics.median(a - b for a, b in both), 1),
    }


def large(tasks: int = 1_000_000, pairs: int = 3) -> dict[str, object]:
    """A run of so many tasks that call nobody, in turns watched and not: seconds."""

    async def wall(watched: bool) -> float:
        columns = [Column("a", generate=list)]
        columns += [Column(f"c{i}", needs=["a"], generate=lambda row: row["a"]) for i in range(4)]
        config = RunConfig(progress=False, record=False)
        clock = asyncio.get_running_loop().time
        began = clock()
        run = start(Pipeline(columns=columns), rows=tasks // 4, config=config)
        await asyncio.sleep(0)
        view = LiveView(run) if watched else None
        if view is not None:
            _Scale(view)
        assert (await run).done
        return clock() - began

    both = [(asyncio.run(wall(True)), asyncio.run(wall(False))) for _ in range(pairs)]
    return {
        "tasks": tasks,
        "watched s": round(statistics.median(a for a, _ in both), 1),
        "not watched s": round(statistics.median(b for _, b in both), 1),
        "ratio": round(statistics.median(a / b for a, b in both), 3),
    }


def _timed(view: LiveView) -> list[float]:
    """Notes the CPU seconds of each update."""
    spent: list[float] = []
    refresh: Callable[[], None] = view.refresh

    def timed() -> None:
        since = cpu_s()
        refresh()
        spent.append(cpu_s() - since)

    view.refresh = timed  # type: ignore[method-assign]  # the view is ours
    return spent


def _four_models() -> Pipeline:
    latency = Latency(mean_s=0.2, sigma=0.4)
    profiles = [EndpointProfile(model=name, capacity=16, latency=latency) for name in _MODELS]
    columns: list[Any] = [Column("topic", generate=list)]
    before = "topic"
    for name in _MODELS:
        columns.append(ModelColumn(name, model=name, prompt=f"{{{{ {before} }}}}"))
        before = name
    return Pipeline(
        columns=columns,
        models=[
            Model(name, provider="here", id=name, max_parallel_requests=32) for name in _MODELS
        ],
        providers=[SimulatedProvider("here", profiles)],
    )


async def _end(run: Run) -> None:
    run.cancel()
    await asyncio.gather(run._await(), return_exceptions=True)
