"""Columns and hooks that see whole row groups, and cells that are skipped."""

from __future__ import annotations

import asyncio
from typing import Any

from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.columns import Column, Skip
from ddsched_nb.config import RunConfig
from ddsched_nb.core.row import Batch
from ddsched_nb.errors import RowDropped
from ddsched_nb.model_columns import EmbeddingColumn, ModelColumn
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.providers import Model, SimulatedProvider
from ddsched_nb.workloads.base import Expectation, Workload
from ddsched_nb.workloads.parts import chat_latency, row_ids

_ROWS = 120


async def rank(batch: Batch) -> list[Any]:
    """Orders the rows of a group; every tenth has no place in it."""
    await asyncio.sleep(0.1)
    return [
        RowDropped("it has no place") if number % 10 == 9 else place
        for place, number in enumerate(batch.numbers)
    ]


def stamp(batch: Batch) -> dict[str, list[Any]]:
    """Looks at the finished rows of a group."""
    return {"rank": [1 + place for place in batch["rank"]]}


WORKLOAD = Workload(
    name="whole-groups",
    about="a batch column that drops rows, embeddings by the group, skipped cells, and a hook",
    pipeline=Pipeline(
        columns=[
            row_ids(),
            ModelColumn(
                "text", model="writer", prompt="Line {{ row_id }}.", skip=Skip("row_id % 5 == 0")
            ),
            Column("rank", needs=["row_id"], batch=True, generate=rank),
            EmbeddingColumn("vector", model="embedder", text="{{ row_id }}", batch_size=8),
        ],
        models=[
            Model("writer", provider="local", max_parallel_requests=8),
            Model("embedder", provider="local", domain="embedding", max_parallel_requests=2),
        ],
        providers=[
            SimulatedProvider(
                "local",
                [
                    EndpointProfile(model="writer", capacity=8, latency=chat_latency(0.2)),
                    EndpointProfile(
                        model="embedder",
                        domain="embedding",
                        capacity=2,
                        dimensions=4,
                        latency=chat_latency(0.1),
                    ),
                ],
            )
        ],
        after_row_group=stamp,
    ),
    rows=_ROWS,
    config=RunConfig(buffer_size=20, disable_early_shutdown=True),
    expect=Expectation(dropped=len(range(9, _ROWS, 10)), refusals=False),
)
