"""Two branches of one model between a root and a join."""

from __future__ import annotations

from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.workloads.base import Expectation, Workload
from ddsched_nb.workloads.parts import asking, chat_latency, one_endpoint, row_ids

WORKLOAD = Workload(
    name="diamond",
    about="a diamond of four columns, all on one shared model",
    pipeline=one_endpoint(
        [
            row_ids(),
            asking("top", "shared"),
            asking("left", "shared", ["top"]),
            asking("right", "shared", ["top"]),
            asking("bottom", "shared", ["left", "right"]),
        ],
        [EndpointProfile(model="shared", capacity=16, latency=chat_latency(0.3))],
        {"shared": 16},
    ),
    rows=128,
    expect=Expectation(over_bound=1.15, refusals=False),
)
