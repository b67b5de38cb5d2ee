"""One column feeds many of another model."""

from __future__ import annotations

from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.workloads.base import Expectation, Workload
from ddsched_nb.workloads.parts import asking, chat_latency, one_endpoint, row_ids

_VIEWS = [f"view_{n}" for n in range(6)]

WORKLOAD = Workload(
    name="fan-out",
    about="one call of a slow model feeds six of a fast one",
    pipeline=one_endpoint(
        [row_ids(), asking("source", "slow"), *(asking(v, "fast", ["source"]) for v in _VIEWS)],
        [
            EndpointProfile(model="slow", capacity=8, latency=chat_latency(0.6)),
            EndpointProfile(model="fast", capacity=24, latency=chat_latency(0.2)),
        ],
        {"slow": 8, "fast": 24},
    ),
    rows=200,
    expect=Expectation(over_bound=1.2, refusals=False),
)
