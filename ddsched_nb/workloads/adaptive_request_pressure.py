"""The reference: as request-pressure, with every row a row group of its own."""

from __future__ import annotations

from ddsched_nb.config import RequestAdmissionConfig, RunConfig
from ddsched_nb.workloads.base import Expectation, Workload
from ddsched_nb.workloads.request_pressure import pipeline

WORKLOAD = Workload(
    name="adaptive-request-pressure",
    about="as request-pressure, with every row a row group of its own and eight of them open",
    pipeline=pipeline(),
    rows=128,
    config=RunConfig(
        buffer_size=1,
        max_concurrent_row_groups=8,
        max_in_flight_tasks=4,
        request_admission=RequestAdmissionConfig(limit="fixed"),
    ),
    expect=Expectation(refusals=True),
)
