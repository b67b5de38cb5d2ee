"""Is the simulation true? The same workloads in virtual time and over real HTTP.

`reality` compares makespan and useful utilization of real runs with those of simulated seeds, whose
profiles have the request overhead that was measured. `rehearsal` forecasts a run from the record of
a tenth of it, many times over, and looks whether the real makespan is where it was said to be.
"""

from __future__ import annotations

import asyncio
import random
import statistics
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from ddsched_nb.analysis.fit import Fit, fit
from ddsched_nb.bench.server import counts, served
from ddsched_nb.clients.load import EndpointStatistics
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.config import RunConfig
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.providers import OpenAICompatible
from ddsched_nb.run import Run, start
from ddsched_nb.sim.apart import apart
from ddsched_nb.sim.forecast import forecast
from ddsched_nb.sim.simulate import simulate
from ddsched_nb.workloads import find_workload
from ddsched_nb.workloads.base import Workload, reseeded

__all__ = ["WORKLOADS", "reality", "rehearsal"]

T = TypeVar("T")

WORKLOADS = ("heavy-tail", "diamond", "tight", "drop")
_PROVIDER = "local"
_SHARE = 10
_REHEARSED_ROWS = 512


class _Real(NamedTuple):
    makespan_s: float
    useful: float
    overhead: dict[str, float]
    refused: int


def reality(name: str, real_runs: int = 5, seeds: int = 20) -> dict[str, object]:
    """Compares real runs of a workload with simulated ones; ratios are simulated over real."""
    workload = find_workload(name)
    real = [_real(workload, seed) for seed in range(real_runs)]
    overhead = {
        model: statistics.median(one.overhead[model] for one in real) for model in real[0].overhead
    }
    profiles = [
        p.model_copy(update={"overhead_s": overhead[p.model]}) for p in workload.profiles[_PROVIDER]
    ]
    simulated = [
        simulate(workload, profiles={_PROVIDER: profiles}, seed=seed).result
        for seed in range(seeds)
    ]
    wall = statistics.median(one.makespan_s for one in real)
    useful = statistics.median(one.useful for one in real)
    virtual = statistics.median(one.makespan_s for one in simulated)
    virtual_useful = statistics.median(one.useful_utilization for one in simulated)
    return {
        "workload": name,
        "real s": round(wall, 2),
        "simulated s": round(virtual, 2),
        "ratio": round(virtual / wall, 3),
        "real useful": round(useful, 3),
        "simulated useful": round(virtual_useful, 3),
        "ratio ": round(virtual_useful / useful, 3),
        "refused, real": round(statistics.median(one.refused for one in real)),
        "refused, simulated": round(statistics.median(one.refused for one in simulated)),
        "overhead ms": round(1e3 * max(overhead.values()), 1),
    }


def _real(workload: Workload, seed: int) -> _Real:
    profiles = reseeded(workload.profiles, seed)[_PROVIDER]
    run, seen = _run(workload.pipeline, profiles, rows=workload.rows, config=workload.config)
    took = run.statistics().elapsed_s
    existed = sum(p.capacity_integral(took) for p in profiles)
    worked = sum(model.work_s for model in seen.models.values())
    fitted = fit(run.record, seen)
    overhead = {model.pool.model: model.overhead_s for model in fitted.models}
    refused = sum(model.refused for model in seen.models.values())
    return _Real(took, worked / existed, overhead, refused)


def _run(
    pipeline: Pipeline,
    profiles: Sequence[EndpointProfile],
    *,
    rows: int | None = None,
    table: Any = None,
    config: RunConfig | None = None,
) -> tuple[Run, EndpointStatistics]:
    config = (config or RunConfig()).model_copy(update={"progress": False})

    async def main(base_url: str) -> tuple[Run, EndpointStatistics]:
        provider = OpenAICompatible(_PROVIDER, base_url=base_url)
        called = pipeline.with_providers([provider])
        run = await start(called, rows=rows, table=table, config=config)
        return run, await asyncio.to_thread(counts, base_url)

    with served(profiles) as base_url:
        return apart(lambda: _on_a_loop(main(base_url)))


def _on_a_loop(work: Coroutine[Any, Any, T]) -> T:
    # Not asyncio.run: nest-asyncio, once applied, replaces it by one that wants the thread's loop.
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def rehearsal(name: str, draws: int = 20, runs: int = 20, real_runs: int = 3) -> dict[str, object]:
    """Forecasts a workload from a tenth of its rows, and looks what is really needed.

    Args:
        name: The workload.
        draws: Tenths of the rows to draw, run and forecast from.
        runs: Simulations of each forecast.
        real_runs: Real runs over all rows; their median is what is forecast.
    """
    workload = find_workload(name)
    pipeline, profiles = _of_table(workload.pipeline), workload.profiles[_PROVIDER]
    everything = list(range(_REHEARSED_ROWS))
    makespans = [_makespan(pipeline, profiles, everything) for _ in range(real_runs)]
    real = statistics.median(makespans)
    errors, held, widths = [], 0, []
    for draw in range(draws):
        sample = sorted(random.Random(f"draw|{draw}").sample(everything, len(everything) // _SHARE))
        run, _ = _run(pipeline, profiles, table={"row_id": sample})
        said = forecast(
            pipeline,
            profiles=_given(fit(run.record), profiles),
            table={"row_id": everything},
            runs=runs,
        ).makespan_s
        held += said.low <= real <= said.high
        errors.append(abs(said.median / real - 1))
        widths.append((said.high - said.low) / said.median)
    return {
        "workload": name,
        "rows": len(everything),
        "real s": round(real, 2),
        "real runs": " ".join(f"{one:.1f}" for one in makespans),
        "draws": draws,
        "held": held,
        "median error": f"{100 * statistics.median(errors):.1f} %",
        "largest": f"{100 * max(errors):.1f} %",
        "interval width": f"{100 * statistics.median(widths):.0f} %",
    }


def _makespan(
    pipeline: Pipeline, profiles: Sequence[EndpointProfile], rows: Iterable[int]
) -> float:
    run, _ = _run(pipeline, profiles, table={"row_id": list(rows)})
    return run.statistics().elapsed_s


def _given(fitted: Fit, profiles: Sequence[EndpointProfile]) -> Fit:
    """Of a capacity that changes later a short run can know nothing: the curve is given."""
    for profile in profiles:
        if profile.steps:
            fitted = fitted.knowing(profile.model, capacity=profile.capacity, steps=profile.steps)
    return fitted


def _of_table(pipeline: Pipeline) -> Pipeline:
    """The same work over a table of row numbers, so that any rows can be drawn."""
    return Pipeline(
        columns=[column for column in pipeline.columns if column.name != "row_id"],
        models=pipeline.models,
        providers=pipeline.providers,
    )
