"""A million rows of two local columns: what the scheduler alone costs."""

from __future__ import annotations

from ddsched_nb.columns import Column
from ddsched_nb.config import RunConfig
from ddsched_nb.core.row import Row
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.workloads.base import Expectation, Workload
from ddsched_nb.workloads.parts import row_ids


def double(row: Row) -> int:
    """Something that takes no time."""
    return 2 * int(row["row_id"])


WORKLOAD = Workload(
    name="million-rows",
    about="a million rows of a root and a local column, counted and forgotten",
    pipeline=Pipeline(columns=[row_ids(), Column("double", needs=["row_id"], generate=double)]),
    rows=1_000_000,
    config=RunConfig(buffer_size=1_000, record=False),
    expect=Expectation(),
)
