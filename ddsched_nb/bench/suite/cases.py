"""The cases of the reference's idle suite, 22 quick and 28 full, and our own, as workloads.

The knobs are those of Data Designer's pull request 661 (suite version 1.1). All its cases hold
their slots while they wait for a permit, as the reference does; ours say what they do.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal, NamedTuple

from ddsched_nb.clients.latency import Latency
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.config import RequestAdmissionConfig, RunConfig
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.providers import Model, SimulatedProvider
from ddsched_nb.workloads.base import Hold, Workload
from ddsched_nb.workloads.parts import asking, row_ids
from ddsched_nb.workloads.real_pipeline_overlap import pipeline as overlap
from ddsched_nb.workloads.request_pressure import pipeline as pressure

__all__ = ["CASES", "COMBINED", "FULL_CASES", "OWN_CASES", "Case", "Combined"]

_HOLDER_S = 0.05
_CELL_S = 0.001
_FAST_S = 0.0003


class Case(NamedTuple):
    """One case of the suite.

    Attributes:
        number: Its number in the reference's list; 0 for our own.
        sweep: The group it belongs to.
        name: What the reference calls it.
        workload: What is run.
        control: Whether it keeps a behaviour on purpose, for comparison.
        depends: First and second column of the chain that is measured.
        generations: Cells of it.
        iterations: How often it is run.
        service_s: What a cell of each kind takes, in seconds; as many cells of one as of another.
        serving: The pipeline with cells that take other times.
    """

    number: int
    sweep: str
    name: str
    workload: Workload
    control: bool = False
    depends: tuple[str, ...] = ()
    generations: int = 0
    iterations: int = 1
    service_s: tuple[float, ...] = ()
    serving: Callable[[tuple[float, ...]], Pipeline] | None = None

    @property
    def key(self) -> str:
        """Sweep and name: no two cases have both in common."""
        return f"{self.sweep}/{self.name}"

    @property
    def work_s(self) -> float:
        """Seconds of service in all cells together."""
        return self.generations / len(self.service_s) * sum(self.service_s)

    def with_service(self, service_s: tuple[float, ...]) -> Case:
        """The same case with cells that take other times, in the order of `service_s`."""
        assert self.serving is not None, "every case of the suite says how"
        work = replace(self.workload, pipeline=self.serving(service_s))
        return self._replace(workload=work, service_s=service_s)

    @property
    def fixed_groups(self) -> int | None:
        """The number of row groups that may be open, where that is fixed."""
        groups = self.workload.config.row_groups
        return None if groups == "adaptive" else groups


def _overlap(
    number: int,
    sweep: str,
    name: str,
    *,
    rows: int = 512,
    buffer: int = 64,
    groups: int | Literal["adaptive"] = 4,
    most: int | None = None,
    slots: int = 8,
    fan_out: int = 4,
    heavy_s: float = 0.003,
    weight: int = 0,
    control: bool = False,
    iterations: int = 1,
) -> Case:
    config = RunConfig(
        buffer_size=buffer,
        row_groups=groups,
        max_concurrent_row_groups=most,
        max_in_flight_tasks=slots,
        request_pressure_advisory=False,
        slots_while_waiting="hold",
    )
    stage = float(weight or slots // 4)
    serving = functools.partial(_chains, fan_out, stage)
    service = (heavy_s, _FAST_S)
    work = Workload(
        name=name,
        about=f"{fan_out} chains of {heavy_s * 1e3:g} ms and 0.3 ms on {slots} task slots",
        pipeline=serving(service),
        rows=rows,
        config=config,
    )
    return Case(
        number,
        sweep,
        name,
        work,
        control,
        ("heavy", "fast"),
        2 * fan_out * rows,
        iterations,
        service,
        serving,
    )


def _chains(fan_out: int, weight: float, service_s: tuple[float, ...]) -> Pipeline:
    return overlap(fan_out, *service_s, weight=weight)


def _pressure(
    number: int,
    name: str,
    *,
    rows: int,
    adaptive: bool,
    advisory: bool,
    slots: int,
    waiting: Literal["yield", "hold"] = "hold",
    control: bool = False,
) -> Case:
    config = RunConfig(
        buffer_size=1 if adaptive else rows,
        row_groups="adaptive" if adaptive else 1,
        max_concurrent_row_groups=8 if adaptive else None,
        max_in_flight_tasks=slots,
        request_pressure_advisory=advisory,
        slots_while_waiting=waiting,
        request_admission=RequestAdmissionConfig(limit="aimd"),
    )
    work = Workload(
        name=name,
        about="two models of one permit each, of which the first is held by another for 50 ms",
        pipeline=_pair((_CELL_S,)),
        rows=rows,
        config=config,
        holds=(Hold("pressured", until_s=_HOLDER_S),),
    )
    return Case(
        number,
        "adaptations",
        name,
        work,
        control,
        (),
        2 * rows,
        3 if adaptive else 1,
        (_CELL_S,),
        _pair,
    )


def _pair(service_s: tuple[float, ...]) -> Pipeline:
    return pressure(*service_s)


def _reference(*, full: bool) -> Iterator[Case]:
    numbers = iter(range(1, 29))
    by_row = functools.partial(_overlap, buffer=1, fan_out=1)
    for rows in (64, 128, 256, 512, 1024) if full else (64, 128, 256):
        yield _overlap(next(numbers), "row-scale", f"rows-{rows}", rows=rows)
    for groups in (1, 2, 4, 8) if full else (1, 2, 4):
        name = f"row-groups-{groups}"
        yield by_row(next(numbers), "row-group-concurrency", name, groups=groups)
    for buffer in (1, 4, 16, 64, 256) if full else (1, 16, 64):
        yield _overlap(next(numbers), "buffer-size", f"buffer-{buffer}", buffer=buffer)
    for slots in (4, 8, 16) if full else (4, 8):
        yield by_row(next(numbers), "llm-capacity", f"capacity-{slots}", slots=slots)
    for name, weight in (("weight-custom-model-1", 1), ("weight-model-capacity", 0)):
        yield _overlap(next(numbers), "custom-model-weight", name, weight=weight)
    yield from _stress(numbers)
    yield from _row_groups(numbers, rows=1024 if full else 512)
    yield from _held(numbers, rows=512 if full else 128)


def _stress(numbers: Iterator[int]) -> Iterator[Case]:
    shape = functools.partial(_overlap, rows=1024, slots=16, heavy_s=0.006, iterations=3)
    narrow, wide = "narrow-frontier-high-cap", "wide-frontier-high-cap"
    yield shape(next(numbers), "stress-shape", narrow, buffer=1, groups=1, fan_out=1)
    yield shape(next(numbers), "stress-shape", wide, groups=16)


def _held(numbers: Iterator[int], *, rows: int) -> Iterator[Case]:
    for name, advisory in (("control", False), ("advisory", True)):
        yield _pressure(
            next(numbers),
            f"request-pressure-{name}",
            rows=32,
            adaptive=False,
            advisory=advisory,
            slots=1,
            control=not advisory,
        )
    for name, advisory in (("control", False), ("combined", True)):
        yield _pressure(
            next(numbers),
            f"adaptive-request-pressure-{name}",
            rows=rows,
            adaptive=True,
            advisory=advisory,
            slots=4,
            control=not advisory,
        )


def _row_groups(numbers: Iterator[int], *, rows: int) -> Iterator[Case]:
    choices: tuple[tuple[str, int | Literal["adaptive"], int | None, bool], ...] = (
        ("fixed-low", 1, None, True),
        ("adaptive", "adaptive", 8, False),
        ("fixed-high", 8, None, True),
    )
    for name, groups, most, control in choices:
        yield _overlap(
            next(numbers),
            "adaptations",
            f"adaptive-row-groups-{name}",
            rows=rows,
            buffer=1,
            groups=groups,
            most=most,
            slots=16,
            fan_out=1,
            heavy_s=0.006,
            control=control,
        )


CASES: tuple[Case, ...] = tuple(_reference(full=False))
"""The reference's quick cases, in its order."""

FULL_CASES: tuple[Case, ...] = tuple(_reference(full=True))
"""The reference's full cases, in its order."""

OWN_CASES: tuple[Case, ...] = (
    _pressure(
        0,
        "request-pressure-yield",
        rows=32,
        adaptive=False,
        advisory=True,
        slots=1,
        waiting="yield",
    ),
    _pressure(
        0,
        "adaptive-request-pressure-yield",
        rows=128,
        adaptive=True,
        advisory=True,
        slots=4,
        waiting="yield",
    ),
)
"""Twins of cases 20 and 22 whose tasks do not hold slots while they wait."""


class Combined(NamedTuple):
    """A setting of the combined case.

    Attributes:
        held_s: How long another holds the three sick models.
        rows: Rows, each a row group of its own.
        slots: Task slots.
    """

    held_s: float
    rows: int
    slots: int

    def case(self, *, adaptive: bool, advisory: bool, stretch: float = 1.0) -> Case:
        """The setting with or without each of the two adaptations.

        Args:
            adaptive: Whether the number of open row groups adapts; one is open otherwise.
            advisory: Whether tasks of open models are preferred.
            stretch: Everything takes so many times longer. In real time a call of 1 ms costs the
                loop about half of that, so what is measured would be the processor.
        """
        serving = functools.partial(_three_held_one_open, self.slots)
        service = (stretch * _CELL_S,)
        config = RunConfig(
            buffer_size=1,
            row_groups="adaptive" if adaptive else 1,
            max_in_flight_tasks=self.slots,
            request_pressure_advisory=advisory,
            slots_while_waiting="hold",
        )
        names = {(False, False): "control", (True, False): "adaptive-row-groups"}
        names |= {(False, True): "advisory", (True, True): "both"}
        name = names[adaptive, advisory]
        work = Workload(
            name=f"combined-{name}",
            about="three models that another holds at first, and one that is open",
            pipeline=serving(service),
            rows=self.rows,
            config=config,
            holds=tuple(Hold(m, stretch * self.held_s, self.slots) for m in _HELD),
        )
        control = not (adaptive and advisory)
        return Case(0, self.sweep, name, work, control, (), 4 * self.rows, 1, service, serving)

    @property
    def sweep(self) -> str:
        """What its cases have in common: how long is held, rows and slots."""
        return f"combined-{1e3 * self.held_s:g}ms-{self.rows}-{self.slots}"


_HELD = ("held-a", "held-b", "held-c")


def _three_held_one_open(slots: int, service_s: tuple[float, ...]) -> Pipeline:
    names = (*_HELD, "open")
    latency = Latency(mean_s=service_s[0])
    profiles = [EndpointProfile(model=name, capacity=slots, latency=latency) for name in names]
    return Pipeline(
        columns=[row_ids(), *(asking(f"from_{name.replace('-', '_')}", name) for name in names)],
        models=[Model(n, provider="here", id=n, max_parallel_requests=slots) for n in names],
        providers=[SimulatedProvider("here", profiles)],
    )


COMBINED: tuple[Combined, ...] = (
    Combined(held_s=0.05, rows=160, slots=4),
    Combined(held_s=0.04, rows=160, slots=4),
    Combined(held_s=0.05, rows=200, slots=4),
    Combined(held_s=0.06, rows=240, slots=6),
)
"""A setting in which each adaptation needs the other, and three neighbours of it."""
