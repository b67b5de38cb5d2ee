"""A chain whose calls are as variable as they are long."""

from __future__ import annotations

from ddsched_nb.clients.latency import Latency
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.workloads.base import Expectation, Workload
from ddsched_nb.workloads.parts import asking, one_endpoint, row_ids

# A lognormal of this sigma has a coefficient of variation of 1.
_SIGMA = 0.8326

WORKLOAD = Workload(
    name="heavy-tail",
    about="a chain of three columns whose latency has a standard deviation as large as its mean",
    pipeline=one_endpoint(
        [
            row_ids(),
            asking("first", "m"),
            asking("second", "m", ["first"]),
            asking("third", "m", ["second"]),
        ],
        [EndpointProfile(model="m", capacity=16, latency=Latency(mean_s=0.3, sigma=_SIGMA))],
        {"m": 16},
    ),
    rows=200,
    expect=Expectation(over_bound=1.2, refusals=False),
)
