"""A writer, and a judge that is slower than it."""

from __future__ import annotations

from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.workloads.base import Expectation, Workload
from ddsched_nb.workloads.parts import asking, chat_latency, one_endpoint, row_ids

WORKLOAD = Workload(
    name="generate-then-judge",
    about="a writer with many slots, then a judge with few of another model",
    pipeline=one_endpoint(
        [row_ids(), asking("text", "writer"), asking("grade", "judge", ["text"])],
        [
            EndpointProfile(model="writer", capacity=32, latency=chat_latency(0.5)),
            EndpointProfile(model="judge", capacity=8, latency=chat_latency(0.2)),
        ],
        {"writer": 32, "judge": 8},
    ),
    rows=400,
    expect=Expectation(over_bound=1.2, refusals=False),
)
