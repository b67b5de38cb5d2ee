"""The reference: as request-pressure, with every row a row group of its own."""

from __future__ import annotations

from ddsched_nb.config import RunConfig
from ddsched_nb.workloads.base import Expectation, Hold, Workload
from ddsched_nb.workloads.request_pressure import pipeline

WORKLOAD = Workload(
    name="adaptive-request-pressure",
    about="as request-pressure, with every row a row group of its own and eight of them open",
    pipeline=pipeline(),
    rows=128,
    config=RunConfig(buffer_size=1, max_concurrent_row_groups=8, max_in_flight_tasks=4),
    expect=Expectation(refusals=False),
    holds=(Hold("pressured", until_s=0.05),),
)
