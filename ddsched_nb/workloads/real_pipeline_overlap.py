"""The reference: four chains of a slow and a fast column behind one root, on eight task slots."""

from __future__ import annotations

from ddsched_nb.config import RunConfig
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.workloads.base import Expectation, Workload
from ddsched_nb.workloads.parts import row_ids, sleeping


def pipeline(
    fan_out: int = 4, heavy_s: float = 0.003, fast_s: float = 0.0003, *, weight: float = 2.0
) -> Pipeline:
    """As many chains as `fan_out`, each of a heavy column and a fast one."""
    heavy = [sleeping(f"heavy_{n}", heavy_s, weight=weight) for n in range(fan_out)]
    fast = [sleeping(f"fast_{n}", fast_s, [f"heavy_{n}"], weight=weight) for n in range(fan_out)]
    return Pipeline(columns=[row_ids(), *heavy, *fast])


WORKLOAD = Workload(
    name="real-pipeline-overlap",
    about="four chains of a heavy and a fast column behind one root, no model, eight task slots",
    pipeline=pipeline(),
    rows=512,
    config=RunConfig(buffer_size=64, max_concurrent_row_groups=4, max_in_flight_tasks=8),
    expect=Expectation(over_bound=1.1),
)
