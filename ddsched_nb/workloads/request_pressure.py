"""The reference: two models with one slot each, one of which somebody else holds at first."""

from __future__ import annotations

from ddsched_nb.clients.latency import Latency
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.config import RunConfig
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.providers import Model, SimulatedProvider
from ddsched_nb.workloads.base import Expectation, Hold, Workload
from ddsched_nb.workloads.parts import asking, row_ids


def pipeline(cell_s: float = 0.001) -> Pipeline:
    """A pressured and an open model of two providers; the pressured one comes first by name."""
    latency = Latency(mean_s=cell_s)
    pressured = EndpointProfile(model="pressured", capacity=1, latency=latency)
    at_ease = EndpointProfile(model="open", capacity=1, latency=latency)
    return Pipeline(
        columns=[row_ids(), asking("a_pressured", "pressured"), asking("z_open", "open")],
        models=[
            Model("pressured", provider="aa", max_parallel_requests=1),
            Model("open", provider="zz", max_parallel_requests=1),
        ],
        providers=[SimulatedProvider("aa", [pressured]), SimulatedProvider("zz", [at_ease])],
    )


WORKLOAD = Workload(
    name="request-pressure",
    about="two models with one slot each; the first of them is held by another for 50 ms",
    pipeline=pipeline(),
    rows=32,
    config=RunConfig(buffer_size=32, row_groups=1, max_in_flight_tasks=1),
    expect=Expectation(refusals=False),
    holds=(Hold("pressured", until_s=0.05),),
)
