"""The work that other tools are compared on: four model columns over two models.

A root feeds a1 and a2 (model A), both feed b1 (model B), which feeds judge (model B).
"""

from __future__ import annotations

from ddsched_nb.clients.latency import Latency
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.model_columns import ModelColumn
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.workloads.parts import one_endpoint, row_ids

COLUMNS = {
    "a1": ("model-a", ("row_id",)),
    "a2": ("model-a", ("row_id",)),
    "b1": ("model-b", ("row_id", "a1", "a2")),
    "judge": ("model-b", ("row_id", "b1")),
}
_LATENCY = {
    "model-a": Latency(mean_s=0.3, sigma=0.6, min_s=0.05, max_s=2.5),
    "model-b": Latency(mean_s=0.4, sigma=0.6, min_s=0.05, max_s=3.0),
}


def pipeline(capacity: int, cap: int, steps: tuple[tuple[float, int], ...] = ()) -> Pipeline:
    """The work against models of a capacity, for a client with a cap.

    The prompts name row and column only, so that the latency of a cell is the same for everybody.
    """
    columns = [
        ModelColumn(
            name,
            model=model,
            prompt="Write one line about row {{ row_id }}, column " + name + ".",
            needs=needs,
        )
        for name, (model, needs) in COLUMNS.items()
    ]
    profiles = [
        EndpointProfile(model=model, capacity=capacity, steps=steps, latency=latency)
        for model, latency in _LATENCY.items()
    ]
    return one_endpoint([row_ids(), *columns], profiles, dict.fromkeys(_LATENCY, cap))
