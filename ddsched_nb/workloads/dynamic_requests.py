"""Cells that make no call, one call, or many."""

from __future__ import annotations

from ddsched_nb.aio.context import CallContext
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.columns import Column
from ddsched_nb.core.row import Row
from ddsched_nb.workloads.base import Expectation, Workload
from ddsched_nb.workloads.parts import asking, chat_latency, one_endpoint, row_ids


async def as_many_as_needed(row: Row, context: CallContext) -> int:
    """No call for every third row, one for the next, and five for the one after."""
    calls = (0, 1, 5)[int(row["row_id"]) % 3]
    for part in range(calls):
        await context.chat("m", f"Part {part} of {row['row_id']}.")
    return calls


WORKLOAD = Workload(
    name="dynamic-requests",
    about="a column whose cells make no call, one, or five",
    pipeline=one_endpoint(
        [
            row_ids(),
            Column("parts", needs=["row_id"], models=["m"], generate=as_many_as_needed),
            asking("whole", "m", ["parts", "row_id"]),
        ],
        [EndpointProfile(model="m", capacity=16, latency=chat_latency(0.2))],
        {"m": 16},
    ),
    rows=240,
    expect=Expectation(over_bound=1.2, refusals=False),
)
