"""Our own cases beside the reference's: row groups both ways, task policies, limits.

Each is a set of runs that differ in one setting, so that what the setting brings, and what it
costs, can be read off beside the others. What they come to is judged and told elsewhere.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from typing import Literal

from ddsched_nb.bench.suite.cases import Case
from ddsched_nb.clients.latency import Latency
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.columns import Column
from ddsched_nb.config import BorrowConfig, RequestAdmissionConfig, RunConfig
from ddsched_nb.model_columns import ModelColumn
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.workloads.base import Hold, Workload
from ddsched_nb.workloads.parts import asking, one_endpoint, row_ids, sleeping

__all__ = ["BOTH_WAYS", "LIMITS", "POLICIES", "both_ways", "settings"]

_CAP = 8
_HELD_S = 0.06
_GATE_S = 0.005
# A quarter of the slots that the client may ask for, and a bit: nobody tells it.
_SERVED, _ASKED = 12, 32

_Serving = Callable[[tuple[float, ...]], Pipeline]


def _case(
    sweep: str,
    name: str,
    about: str,
    config: RunConfig,
    rows: int,
    service_s: tuple[float, ...],
    serving: _Serving,
    *,
    control: bool,
    holds: tuple[Hold, ...] = (),
    cells: int,
) -> Case:
    work = Workload(f"{sweep}-{name}", about, serving(service_s), rows, config=config, holds=holds)
    return Case(0, sweep, name, work, control, (), cells * rows, 1, service_s, serving)


def _drafted(service_s: tuple[float, ...]) -> Pipeline:
    latency = Latency(mean_s=service_s[0])
    profiles = [
        EndpointProfile(model=name, capacity=_CAP, latency=latency) for name in ("first", "second")
    ]
    draft, check = asking("draft", "first"), asking("check", "second", ("draft",))
    columns: list[Column | ModelColumn] = [row_ids(), draft, check]
    return one_endpoint(columns, profiles, {"first": _CAP, "second": _CAP}, "here")


def _both_ways(name: str, groups: int | Literal["adaptive"], stretch: float) -> Case:
    config = RunConfig(
        buffer_size=4, row_groups=groups, max_in_flight_tasks=2 * _CAP, slots_while_waiting="hold"
    )
    about = "the second of two models is closed for 60 ms, so that what the first made piles up"
    holds = (Hold("second", stretch * _HELD_S, _CAP),)
    return _case(
        "both-ways",
        name,
        about,
        config,
        480,
        (stretch * 0.001,),
        _drafted,
        control=groups != "adaptive",
        holds=holds,
        cells=2,
    )


def both_ways(stretch: float = 1.0) -> tuple[Case, ...]:
    """Row groups that must go up and down again within a run, beside fixed numbers of them.

    Args:
        stretch: Everything takes so many times longer: in real time a call of 1 ms costs the loop
            as much as the endpoint.
    """
    kinds: tuple[tuple[str, int | Literal["adaptive"]], ...] = (
        ("adaptive", "adaptive"),
        ("fixed-one", 1),
        ("fixed-few", 4),
        ("fixed-many", 64),
    )
    return tuple(_both_ways(name, groups, stretch) for name, groups in kinds)


BOTH_WAYS: tuple[Case, ...] = both_ways()


def _gated(service_s: tuple[float, ...]) -> Pipeline:
    async def gate(rows: Sequence[int]) -> list[int]:
        await asyncio.sleep(_GATE_S)
        return list(rows)

    long_s, late_s = service_s
    columns = [
        row_ids(),
        Column("gate", generate=gate),
        sleeping("long", long_s),
        sleeping("late", late_s, ["gate"]),
    ]
    return Pipeline(columns=columns)


def _policy(name: str, config: RunConfig, *, control: bool) -> Case:
    about = "long tasks have every slot by the time that those of a second column are ready"
    settings = config.model_copy(update={"buffer_size": 8, "max_in_flight_tasks": 16})
    service = (0.02, 0.002)
    return _case(
        "task-policy", name, about, settings, 256, service, _gated, control=control, cells=2
    )


POLICIES: tuple[Case, ...] = (
    _policy("strict-fair", RunConfig(), control=False),
    _policy("bounded-borrow", RunConfig(task_policy="bounded_borrow"), control=False),
    _policy(
        "bounded-borrow-ceiling",
        RunConfig(task_policy="bounded_borrow", borrow=BorrowConfig(ceiling=2)),
        control=True,
    ),
)
"""Long tasks beside short ones that come later, under each task policy."""


def _asked(served: int, service_s: tuple[float, ...]) -> Pipeline:
    profile = EndpointProfile(model="writer", capacity=served, latency=Latency(mean_s=service_s[0]))
    return one_endpoint(
        [row_ids(), asking("text", "writer")], [profile], {"writer": _ASKED}, "here"
    )


def _limit(name: Literal["fixed", "aimd", "ceiling"]) -> Case:
    admission = RequestAdmissionConfig(limit=name, cooldown_s=0.1)
    config = RunConfig(buffer_size=20, max_in_flight_tasks=2 * _ASKED, request_admission=admission)
    about = "an endpoint that refuses beyond 12 at once, and a client that may ask for 32"
    serving = functools.partial(_asked, _SERVED)
    return _case(
        "limit",
        name,
        about,
        config,
        600,
        (0.1,),
        serving,
        control=name != "ceiling",
        cells=1,
    )


LIMITS: tuple[Case, ...] = tuple(_limit(name) for name in ("fixed", "aimd", "ceiling"))
"""An endpoint that refuses what is too much, under each way in which a limit may move."""


def settings(stretch: float = 1.0) -> tuple[Case, ...]:
    """All of them, in the order in which they are run; see `both_ways`."""
    return (*both_ways(stretch), *POLICIES, *LIMITS)
