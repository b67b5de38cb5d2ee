"""An endpoint that is gone for a while and comes back by and by."""

from __future__ import annotations

from ddsched_nb.clients.capacity import Outage, RandomWalk
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.workloads.base import Expectation, Workload
from ddsched_nb.workloads.parts import asking, chat_latency, one_endpoint, row_ids

WORKLOAD = Workload(
    name="outage-and-recovery",
    about="an endpoint whose capacity wanders, and which is gone for five seconds",
    pipeline=one_endpoint(
        [row_ids(), asking("text", "writer"), asking("title", "writer", ["text"])],
        [
            EndpointProfile(
                model="writer",
                capacity=32,
                latency=chat_latency(0.3),
                shapes=(Outage(start_s=3, end_s=8), RandomWalk(every_s=1.0, low=0.5)),
            )
        ],
        {"writer": 32},
    ),
    rows=300,
    expect=Expectation(refusals=True),
)
