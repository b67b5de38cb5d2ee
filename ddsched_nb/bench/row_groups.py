"""Row groups: fixed numbers of open ones beside the adaptive, in virtual time.

Three cases: a chain of three models with 20 rows a group, a diamond on one shared model with 100,
and the reference's `adaptive-row-groups` (512 rows of a 6 ms and a 0.3 ms step, one row a group).
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from ddsched_nb.clients.latency import Latency
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.columns import Column
from ddsched_nb.config import RequestAdmissionConfig, RunConfig
from ddsched_nb.core.events import RowGroupAdmissionTargetChanged
from ddsched_nb.model_columns import ModelColumn
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.sim.simulate import simulate
from ddsched_nb.workloads.parts import asking, one_endpoint, row_ids
from ddsched_nb.workloads.real_pipeline_overlap import pipeline as overlap

__all__ = ["compare"]

_SERVICE_S = 1.0


class _Case(NamedTuple):
    name: str
    pipeline: Pipeline
    rows: int
    buffer_size: int
    fixed: tuple[int, ...]
    task_slots: int | None = None


def compare() -> list[dict[str, object]]:
    """A line for each case and number of open row groups.

    `over oracle` is the makespan over that of a run that takes rows in order with all row groups
    open and no overhead, `over bound` over the lower bound of the work.
    """
    entries: list[dict[str, object]] = []
    for case in _cases():
        numbers: tuple[Literal["adaptive"] | int, ...] = ("adaptive", *case.fixed)
        for row_groups in numbers:
            config = RunConfig(
                buffer_size=case.buffer_size,
                row_groups=row_groups,
                max_in_flight_tasks=case.task_slots,
                request_admission=RequestAdmissionConfig(limit="fixed"),
            )
            record = simulate(case.pipeline, config, rows=case.rows)
            result, bounds = record.result, record.result.bounds
            assert bounds is not None, "these records are whole"
            targets = record.select(RowGroupAdmissionTargetChanged)
            entries.append(
                {
                    "case": case.name,
                    "open": row_groups,
                    "over oracle": f"{result.makespan_s / bounds.oracle_s:.3f}",
                    "over bound": f"{result.makespan_s / bounds.lower_s:.3f}",
                    "first group s": f"{result.first_group_s:.3f}",
                    "highest target": max((t.after for t in targets), default=""),
                }
            )
    return entries


def _cases() -> tuple[_Case, ...]:
    return (
        _Case("chain, cv 0.3", _chain(0.3), 2_000, 20, (1, 3, 100)),
        _Case("chain, cv 1", _chain(1.0), 2_000, 20, (1, 3, 100)),
        _Case("diamond", _diamond(), 2_000, 100, (1, 2, 20)),
        _Case("reference", overlap(1, 0.006, 0.0003), 512, 1, (1, 8), 16),
    )


def _chain(cv: float) -> Pipeline:
    names = ("a", "b", "c")
    needs = (["row_id"], ["row_id", "from_a"], ["row_id", "from_b"])
    columns = [asking(f"from_{n}", n, need) for n, need in zip(names, needs, strict=True)]
    profiles = [_endpoint(name, 16, cv) for name in names]
    chain: list[Column | ModelColumn] = [row_ids(), *columns]
    return one_endpoint(chain, profiles, dict.fromkeys(names, 16))


def _diamond() -> Pipeline:
    columns: list[Column | ModelColumn] = [
        row_ids(),
        asking("top", "shared"),
        asking("left", "shared", ["row_id", "top"]),
        asking("right", "shared", ["row_id", "top"]),
        asking("bottom", "shared", ["row_id", "left", "right"]),
    ]
    return one_endpoint(columns, [_endpoint("shared", 32, 0.3)], {"shared": 32})


def _endpoint(model: str, slots: int, cv: float) -> EndpointProfile:
    service = Latency(mean_s=_SERVICE_S, sigma=math.sqrt(math.log(1 + cv * cv)))
    return EndpointProfile(model=model, capacity=slots, latency=service)
