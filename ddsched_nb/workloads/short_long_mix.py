"""Short calls and long ones share a model."""

from __future__ import annotations

from ddsched_nb.aio.context import CallContext
from ddsched_nb.clients.latency import Latency
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.columns import Column
from ddsched_nb.core.row import Row
from ddsched_nb.workloads.base import Expectation, Workload
from ddsched_nb.workloads.parts import asking, one_endpoint, row_ids


async def write_long(row: Row, context: CallContext) -> int:
    """A long text: twenty short ones, asked for one after the other."""
    for part in range(20):
        await context.chat("shared", f"Part {part} of {row['row_id']}.")
    return part


WORKLOAD = Workload(
    name="short-long-mix",
    about="one column makes a call a row, another twenty in a row, on one model",
    pipeline=one_endpoint(
        [
            row_ids(),
            asking("short", "shared"),
            Column("long", needs=["row_id"], models=["shared"], generate=write_long),
        ],
        [EndpointProfile(model="shared", capacity=16, latency=Latency(mean_s=0.1))],
        {"shared": 16},
    ),
    rows=80,
    expect=Expectation(over_bound=1.25, refusals=False),
)
