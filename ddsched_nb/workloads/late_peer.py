"""A column that becomes ready late, beside one that has all the slots by then."""

from __future__ import annotations

from ddsched_nb.config import RunConfig
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.workloads.base import Expectation, Workload
from ddsched_nb.workloads.parts import row_ids, sleeping

WORKLOAD = Workload(
    name="late-peer",
    about="a long column holds every slot when the first cells of a peer become ready",
    pipeline=Pipeline(
        columns=[
            row_ids(),
            sleeping("long", 1.0),
            sleeping("gate", 0.5),
            sleeping("late", 0.1, ["gate"]),
        ]
    ),
    rows=64,
    config=RunConfig(buffer_size=64, max_in_flight_tasks=16),
    expect=Expectation(over_bound=1.4),
)
