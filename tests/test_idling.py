"""Why slots of models are idle at this moment: every idle slot has a cause, and a true one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import ddsched_nb as dd
from ddsched_nb.aio.statistics import RunStatistics


def start(capacity: int, cap: int, rows: int, **config: Any) -> dd.Run:
    profile = dd.EndpointProfile(
        model="m", capacity=capacity, latency=dd.Latency(mean_s=0.03), retry_after_s=0.02
    )
    pipeline = dd.Pipeline(
        columns=[
            dd.Column("n", generate=list),
            dd.ModelColumn("a", model="writer", prompt="{{ n }}"),
            dd.ModelColumn("b", model="writer", prompt="{{ a }}"),
        ],
        models=[dd.Model("writer", provider="p", id="m", max_parallel_requests=cap)],
        providers=[dd.SimulatedProvider("p", [profile])],
    )
    return dd.start(pipeline, rows=rows, config=dd.RunConfig(buffer_size=10, **config))


async def watched(run: dd.Run, seen: Callable[[RunStatistics], None]) -> None:
    while not run.done:
        await asyncio.sleep(0.005)
        stats = run.statistics()
        if stats.state in ("running", "paused") and not run.done:
            seen(stats)
    await run


async def test_every_idle_slot_has_one_cause_at_each_moment() -> None:
    run, causes = start(4, 12, rows=60), Counter[str]()

    def seen(stats: RunStatistics) -> None:
        idle = sum(pool.cap - pool.in_flight for pool in stats.pools)
        assert sum(slots for _, slots in stats.idle) == idle
        causes.update(dict(stats.idle))

    await watched(run, seen)
    exact = dd.explain_idle(run.record)["p/m/chat"]
    # A sample of moments finds what the record says exactly.
    assert causes.most_common(1)[0][0] == next(iter(exact.causes)) == "request_limit"


async def test_a_pause_and_a_cap_on_row_groups_are_told() -> None:
    run = start(64, 32, rows=40, row_groups=1)
    found: list[dict[str, int]] = []
    run.pause()
    await asyncio.sleep(0.05)
    assert dict(run.statistics().idle) == {"paused": 32}
    run.resume()
    await watched(run, lambda stats: found.append(dict(stats.idle)))
    assert any(idle.get("horizon_row_group_cap", 0) >= 20 for idle in found)
    assert run.statistics().idle == ()


async def test_the_tail_of_a_run_is_called_so() -> None:
    run, found = start(64, 32, rows=3), list[dict[str, int]]()
    await watched(run, lambda stats: found.append(dict(stats.idle)))
    assert any(idle.get("draining_tail", 0) >= 20 for idle in found)
