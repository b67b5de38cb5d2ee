"""Parts that workloads share: row numbers, models with a latency, columns that ask or sleep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from ddsched_nb.clients.latency import Latency
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.columns import Column
from ddsched_nb.core.metadata import SchedulingMetadata
from ddsched_nb.core.row import Row
from ddsched_nb.model_columns import ModelColumn
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.providers import Model, SimulatedProvider

__all__ = ["asking", "chat_latency", "one_endpoint", "row_ids", "sleeping"]


def row_ids() -> Column:
    """The root of most workloads: the number of each row, at no cost."""
    return Column("row_id", generate=list)


def chat_latency(mean_s: float, sigma: float = 0.6) -> Latency:
    """A plausible chat model: lognormal, never below 50 ms and never above eight means."""
    return Latency(mean_s=mean_s, sigma=sigma, min_s=0.05, max_s=8 * mean_s)


def asking(name: str, model: str, needs: Sequence[str] = ("row_id",)) -> ModelColumn:
    """A model column whose prompt names its row and what it needs."""
    inputs = " / ".join(f"{{{{ {need} }}}}" for need in needs)
    return ModelColumn(name, model=model, prompt=f"Write one line for {name} about {inputs}.")


def sleeping(
    name: str,
    seconds: float | Callable[[Row], float],
    needs: Sequence[str] = ("row_id",),
    *,
    weight: float = 1.0,
) -> Column:
    """A column of a custom kind that takes its time and calls nobody, with a flow of its own."""

    async def generate(row: Row) -> str:
        await asyncio.sleep(seconds(row) if callable(seconds) else seconds)
        return name

    shape = SchedulingMetadata("custom_model", (name,), weight)
    return Column(name, needs=needs, generate=generate, scheduling=shape)


def one_endpoint(
    columns: Sequence[Column | ModelColumn],
    profiles: Sequence[EndpointProfile],
    caps: dict[str, int],
    name: str = "local",
) -> Pipeline:
    """A pipeline whose models, one a profile, all live at one endpoint.

    Args:
        columns: The columns; they name models by the ids of the profiles.
        profiles: The models.
        caps: `max_parallel_requests` of each.
        name: Name of the provider.
    """
    models = [
        Model(p.model, provider=name, id=p.model, max_parallel_requests=caps[p.model])
        for p in profiles
    ]
    return Pipeline(columns=columns, models=models, providers=[SimulatedProvider(name, profiles)])
