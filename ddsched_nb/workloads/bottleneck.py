"""The model in the middle of a chain is the narrow one."""

from __future__ import annotations

from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.workloads.base import Expectation, Workload
from ddsched_nb.workloads.parts import asking, chat_latency, one_endpoint, row_ids

WORKLOAD = Workload(
    name="bottleneck",
    about="a chain of three models, the middle one with an eighth of the slots",
    pipeline=one_endpoint(
        [
            row_ids(),
            asking("first", "wide_in"),
            asking("middle", "narrow", ["first"]),
            asking("last", "wide_out", ["middle"]),
        ],
        [
            EndpointProfile(model="wide_in", capacity=32, latency=chat_latency(0.3)),
            EndpointProfile(model="narrow", capacity=4, latency=chat_latency(0.3)),
            EndpointProfile(model="wide_out", capacity=32, latency=chat_latency(0.3)),
        ],
        {"wide_in": 32, "narrow": 4, "wide_out": 32},
    ),
    rows=200,
    expect=Expectation(over_bound=1.1, refusals=False),
)
