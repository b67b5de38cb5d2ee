"""An endpoint that refuses by requests a minute, and many callers."""

from __future__ import annotations

from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.workloads.base import Expectation, Workload
from ddsched_nb.workloads.parts import asking, chat_latency, one_endpoint, row_ids

WORKLOAD = Workload(
    name="rate-limit-storm",
    about="600 requests a minute are allowed where the slots would take five times as many",
    pipeline=one_endpoint(
        [row_ids(), asking("text", "writer")],
        [
            EndpointProfile(
                model="writer",
                capacity=64,
                requests_per_minute=600,
                burst_s=2.0,
                latency=chat_latency(0.5),
            )
        ],
        {"writer": 32},
    ),
    rows=300,
    expect=Expectation(refusals=True),
)
