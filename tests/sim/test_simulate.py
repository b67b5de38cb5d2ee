"""Simulation: the same engine, twice the same, next to a bound and an oracle."""

from __future__ import annotations

import asyncio
import contextvars
import math
import subprocess
import sys
import threading
from typing import Any

import pytest

import ddsched_nb as dd
from ddsched_nb.analysis.bounds import Endpoint, compute_bounds, lower_bound, oracle_makespan
from ddsched_nb.analysis.work import Call, TaskWork
from ddsched_nb.core.events import RequestRateLimited, TaskCompleted
from ddsched_nb.core.model import ModelKey, Task
from ddsched_nb.errors import ConfigError, RunCancelled, RunStalled, VirtualTimeError
from ddsched_nb.workloads import find_workload
from ddsched_nb.workloads.catalog import WORKLOADS

SMALL = [workload for workload in WORKLOADS if workload.name != "million-rows"]
DIGEST_OF_TIGHT = "c786bf7f"


@pytest.mark.parametrize("workload", SMALL, ids=lambda w: w.name)
def test_a_workload_does_what_it_promises(workload: dd.Workload) -> None:
    record = dd.simulate(workload)
    did, expect = record.result.summary, workload.expect
    assert (did.state, did.dropped) == (expect.state, expect.dropped)
    assert did.finished == did.rows - expect.dropped
    bounds = record.result.bounds
    assert bounds is not None
    assert bounds.lower_s <= bounds.oracle_s * (1 + 1e-9)
    assert bounds.lower_s <= record.result.makespan_s * (1 + 1e-9)
    if expect.over_bound is not None:
        assert record.result.makespan_s <= expect.over_bound * bounds.lower_s
    if expect.refusals is not None:
        assert bool(record.result.refused) == expect.refusals
    assert repr(record).startswith(f"<{workload.name}, seed 0: finished")
    assert not workload.about.endswith(".")


def test_names_are_unique_and_modules_are_named_after_them() -> None:
    names = [workload.name for workload in WORKLOADS]
    assert len(set(names)) == len(names) == 23
    with pytest.raises(ConfigError, match="did you mean 'tight'"):
        find_workload("tight-")


def test_a_million_rows_are_counted_and_forgotten() -> None:
    record = dd.simulate("million-rows", rows=20_000)
    assert record.result.summary.finished == 20_000
    assert len(record) == 0
    assert record.result.bounds is None


@pytest.mark.parametrize("hash_seed", ["0", "77"])
def test_the_digest_is_the_same_in_every_process(hash_seed: str) -> None:
    code = (
        "import ddsched_nb as dd; "
        "print(*(dd.simulate(w, rows=64, seed=3).digest()[:8] for w in ('tight', 'diamond')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONHASHSEED": hash_seed, "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    here = [dd.simulate(w, rows=64, seed=3).digest()[:8] for w in ("tight", "diamond")]
    assert done.stdout.split() == here
    # The same on every machine and every Python: a change of this line is a change of behaviour.
    assert here[0] == DIGEST_OF_TIGHT


def test_another_seed_is_another_run() -> None:
    digests = {dd.simulate("diamond", rows=16, seed=seed).digest() for seed in (0, 0, 1, 2)}
    assert len(digests) == 3


async def test_a_simulation_is_awaitable_and_the_loop_stays_responsive() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.005)
            ticks += 1

    ticking = asyncio.create_task(tick())
    record = await dd.start_simulation("tight")
    ticking.cancel()
    assert record.result.summary.state == "finished"
    assert ticks >= 3


async def test_simulate_works_where_a_loop_runs() -> None:
    assert dd.simulate("diamond", rows=8).result.summary.finished == 8


def test_context_variables_come_along_and_progress_is_told() -> None:
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who")
    who.set("me")
    seen: list[tuple[str, float, int]] = []

    def told(progress: Any) -> None:
        seen.append((who.get(), progress.now_s, progress.rows_done))
        assert threading.current_thread().name == "ddsched-nb-simulation"

    dd.simulate("tight", progress=told)
    assert len(seen) >= 2
    assert {name for name, _, _ in seen} == {"me"}
    assert [now for _, now, _ in seen] == sorted(now for _, now, _ in seen)
    assert seen[-1][2] > 0


def test_a_simulation_can_be_cancelled() -> None:
    started = dd.start_simulation("million-rows", progress=lambda told: started.cancel())
    with pytest.raises(RunCancelled):
        started.wait(60)
    assert started.done


def pipeline(**column: Any) -> dd.Pipeline:
    return dd.Pipeline(columns=[dd.Column("a", generate=lambda rows: [0] * len(rows), **column)])


def test_what_a_generator_may_not_do_in_virtual_time() -> None:
    async def offload(rows: Any) -> list[int]:
        await asyncio.get_running_loop().run_in_executor(None, print)
        return [0] * len(rows)

    pipe = dd.Pipeline(columns=[dd.Column("a", generate=offload)])
    record = dd.simulate(pipe, rows=3)
    assert record.result.summary.state == "failed"
    assert "VirtualTimeError" in str(record.result.error)
    assert isinstance(record.result.error.__cause__, VirtualTimeError)


def test_generators_of_threads_run_inline() -> None:
    assert dd.simulate(pipeline(run_in="thread"), rows=3).result.summary.finished == 3


def test_what_is_missing_is_said() -> None:
    column = dd.ModelColumn("a", model="w", prompt="Hello {{ row_id }}")
    root = dd.Column("row_id", generate=list)
    far = dd.OpenAICompatible("far", base_url="http://127.0.0.1:9/v1")
    pipe = dd.Pipeline(
        columns=[root, column], models=[dd.Model("w", provider="far")], providers=[far]
    )
    with pytest.raises(ConfigError, match=r"model 'w' \(far/w\) has no profile.*profiles="):
        dd.simulate(pipe, rows=1)
    with pytest.raises(ConfigError, match="either rows=NUMBER or table="):
        dd.simulate(pipe)
    profile = dd.EndpointProfile(model="w", latency=0.1)
    assert dd.simulate(pipe, rows=1, profiles=[profile]).result.summary.finished == 1
    assert dd.simulate(pipe, rows=1, profiles={"far": [profile]}).result.makespan_s == 0.1


def test_a_run_that_stalls_says_so() -> None:
    gone = dd.EndpointProfile(model="w", shapes=[dd.Outage(start_s=1, end_s=10_000)])
    record = dd.simulate(
        "tight",
        rows=100,
        profiles={
            "local": [gone.model_copy(update={"model": name}) for name in ("model-a", "model-b")]
        },
    )
    assert record.result.summary.state == "stalled"
    assert isinstance(record.result.error, RunStalled)
    assert 300 < record.result.makespan_s < 400


def test_the_record_is_like_that_of_a_real_run(tmp_path: Any) -> None:
    record = dd.simulate("tight", rows=32)
    assert len(record.select(RequestRateLimited)) == record.result.refused
    assert len(record.select(TaskCompleted)) == 32 * 4 + 1
    loaded = dd.RunRecord.load(record.save(tmp_path / "run.jsonl"))
    assert loaded.digest() == record.digest()


M, N = ModelKey("p", "m"), ModelKey("p", "n")


def task(n: int, *calls: tuple[ModelKey, float], needs: tuple[int, ...] = ()) -> TaskWork:
    which = Task("c", 0, n)
    made = tuple(Call(which, model, seconds) for model, seconds in calls)
    return TaskWork(which, 0.0, made, needs, {}, n)


def ends(capacity: int, cap: int = 99, **fields: Any) -> dict[ModelKey, Endpoint]:
    return {
        key: Endpoint(dd.EndpointProfile(model=key.model, capacity=capacity, **fields), cap)
        for key in (M, N)
    }


def test_bounds_by_hand() -> None:
    works = [task(n, (M, 1.0)) for n in range(10)]
    assert lower_bound(works, ends(4), {}) == (2.5, "p/m")
    assert oracle_makespan(works, ends(4), {}) == 3.0
    assert lower_bound(works, ends(4, cap=2), {})[0] == 5.0
    assert oracle_makespan(works, ends(4, cap=2), {}) == 5.0
    chain = [task(0, (M, 1.0)), task(1, (N, 2.0), (M, 0.5), needs=(0,))]
    assert lower_bound(chain, ends(4), {}) == (3.5, "longest chain")
    assert oracle_makespan(chain, ends(4), {}) == 3.5


def test_head_and_tail_count() -> None:
    # Nothing of N can start before the first M has ended, and M must leave time for N after it.
    works: list[TaskWork] = []
    for n in range(4):
        works += [task(2 * n, (M, 1.0)), task(2 * n + 1, (N, 3.0), needs=(2 * n,))]
    assert lower_bound(works, ends(1), {}) == (13.0, "p/n")
    assert oracle_makespan(works, ends(1), {}) == 13.0


def test_bounds_know_who_holds_a_model_and_that_its_tasks_share_the_slots() -> None:
    works = [task(n, (M, 1.0))._replace(holds={"slots": 1}) for n in range(6)]
    held = {M: ends(4, cap=4)[M]._replace(held=4, held_until=10.0)}
    # Nothing before 10, then six seconds of work on two slots.
    assert lower_bound(works, held, {"slots": 2}) == (13.0, "slots")
    half = {M: held[M]._replace(held=2)}
    assert lower_bound(works, half, {"slots": 2}) == (3.0, "slots")


def test_bounds_know_rates_knees_and_time() -> None:
    works = [task(n, (M, 1.0)) for n in range(10)]
    assert oracle_makespan(works, ends(9, requests_per_minute=60), {}) == 10.0
    assert lower_bound(works, ends(9, requests_per_minute=60), {})[0] == 10.0
    assert lower_bound(works, ends(9, knee=2), {})[0] == oracle_makespan(works, ends(9, knee=2), {})
    gone = ends(5, shapes=(dd.Outage(start_s=1, end_s=6),))
    assert oracle_makespan(works, gone, {}) == 7.0
    both = compute_bounds(works, gone, {})
    assert both.lower_s <= both.oracle_s
    assert "x the bound" in both.describe(10.0)


def test_useful_utilization_is_work_over_capacity() -> None:
    result = dd.simulate("diamond").result
    worked = sum(model.work_s for model in result.models.values())
    assert result.useful_utilization == pytest.approx(worked / (16 * result.makespan_s))
    assert 0.9 < result.useful_utilization <= 1
    assert math.isclose(sum(m.in_flight_integral for m in result.models.values()), worked)
