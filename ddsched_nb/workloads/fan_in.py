"""Many columns of one model meet in one of another."""

from __future__ import annotations

from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.workloads.base import Expectation, Workload
from ddsched_nb.workloads.parts import asking, chat_latency, one_endpoint, row_ids

_PARTS = [f"part_{n}" for n in range(6)]

WORKLOAD = Workload(
    name="fan-in",
    about="six calls of one model for every call of another that needs them all",
    pipeline=one_endpoint(
        [row_ids(), *(asking(name, "drafts") for name in _PARTS), asking("whole", "sums", _PARTS)],
        [
            EndpointProfile(model="drafts", capacity=32, latency=chat_latency(0.3)),
            EndpointProfile(model="sums", capacity=8, latency=chat_latency(0.4)),
        ],
        {"drafts": 24, "sums": 8},
    ),
    rows=200,
    expect=Expectation(over_bound=1.15, refusals=False),
)
