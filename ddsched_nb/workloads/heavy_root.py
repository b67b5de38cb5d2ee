"""A root that takes long for a whole row group."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.columns import Column
from ddsched_nb.config import RunConfig
from ddsched_nb.workloads.base import Expectation, Workload
from ddsched_nb.workloads.parts import asking, chat_latency, one_endpoint


async def fetch(rows: Sequence[int]) -> list[int]:
    """Two seconds for each row group, however large it is."""
    await asyncio.sleep(2.0)
    return list(rows)


WORKLOAD = Workload(
    name="heavy-root",
    about="each row group waits two seconds for its root before any model is asked",
    pipeline=one_endpoint(
        [Column("row_id", generate=fetch), asking("text", "writer")],
        [EndpointProfile(model="writer", capacity=16, latency=chat_latency(0.3))],
        {"writer": 16},
    ),
    rows=512,
    config=RunConfig(buffer_size=64),
    expect=Expectation(over_bound=1.3, refusals=False),
)
