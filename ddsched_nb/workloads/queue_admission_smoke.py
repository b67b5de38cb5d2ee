"""The reference: tasks of a weighted model flow and of a local flow in turn."""

from __future__ import annotations

from ddsched_nb.config import RunConfig
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.workloads.base import Expectation, Workload
from ddsched_nb.workloads.parts import row_ids, sleeping

WORKLOAD = Workload(
    name="queue-admission-smoke",
    about="two flows of weights 2 and 1 on four task slots, nothing else",
    pipeline=Pipeline(
        columns=[row_ids(), sleeping("model", 0.001, weight=2.0), sleeping("custom", 0.001)]
    ),
    rows=200,
    config=RunConfig(buffer_size=200, max_in_flight_tasks=4),
    expect=Expectation(over_bound=1.2),
)
