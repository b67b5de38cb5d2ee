"""Two providers, one of which refuses: the other must not notice."""

from __future__ import annotations

from ddsched_nb.clients.capacity import Outage
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.providers import Model, SimulatedProvider
from ddsched_nb.workloads.base import Expectation, Workload
from ddsched_nb.workloads.parts import asking, chat_latency, row_ids


def _model(name: str, *shapes: Outage) -> EndpointProfile:
    return EndpointProfile(
        model=name, capacity=16, latency=chat_latency(0.3), retry_after_s=2.0, shapes=shapes
    )


WORKLOAD = Workload(
    name="cross-provider-cooldown",
    about="two independent columns at two providers, one of which is out for five seconds",
    pipeline=Pipeline(
        columns=[row_ids(), asking("sick", "sick"), asking("healthy", "healthy")],
        models=[
            Model("sick", provider="east", max_parallel_requests=16),
            Model("healthy", provider="west", max_parallel_requests=16),
        ],
        providers=[
            SimulatedProvider("east", [_model("sick", Outage(start_s=1, end_s=6))]),
            SimulatedProvider("west", [_model("healthy")]),
        ],
    ),
    rows=300,
    expect=Expectation(refusals=True),
)
