"""Rows that are dropped while other cells of theirs are still running."""

from __future__ import annotations

import asyncio

from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.columns import Column
from ddsched_nb.config import RunConfig
from ddsched_nb.core.row import Row
from ddsched_nb.errors import RowDropped
from ddsched_nb.workloads.base import Expectation, Workload
from ddsched_nb.workloads.parts import asking, chat_latency, one_endpoint, row_ids

_ROWS = 210


async def check(row: Row) -> bool:
    """Every seventh row is of no use; that takes a while to see."""
    await asyncio.sleep(0.05)
    if row["row_id"] % 7 == 3:
        raise RowDropped("it is a seventh row")
    return True


WORKLOAD = Workload(
    name="dropped-rows",
    about="a check drops every seventh row while a slow sibling of it still runs",
    pipeline=one_endpoint(
        [
            row_ids(),
            Column("check", needs=["row_id"], generate=check),
            asking("text", "writer"),
            asking("title", "writer", ["text", "check"]),
        ],
        [EndpointProfile(model="writer", capacity=12, latency=chat_latency(0.2))],
        {"writer": 12},
    ),
    rows=_ROWS,
    config=RunConfig(buffer_size=30, disable_early_shutdown=True),
    expect=Expectation(dropped=len(range(3, _ROWS, 7)), refusals=False),
)
