"""The 22 quick cases of the reference's idle suite, and our own beside them, as workloads.

The knobs are those of Data Designer's pull request 661 (suite version 1.1). All its cases hold
their slots while they wait for a permit, as the reference does; ours say what they do.
"""

from __future__ import annotations

from collections.abc import Iterator
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

__all__ = ["CASES", "COMBINED", "OWN_CASES", "Case"]

_HOLDER_S = 0.05
_CELL_S = 0.001


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
    """

    number: int
    sweep: str
    name: str
    workload: Workload
    control: bool = False
    depends: tuple[str, ...] = ()
    generations: int = 0

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
    work = Workload(
        name=name,
        about=f"{fan_out} chains of {heavy_s * 1e3:g} ms and 0.3 ms on {slots} task slots",
        pipeline=overlap(fan_out, heavy_s, 0.0003, weight=stage),
        rows=rows,
        config=config,
    )
    return Case(number, sweep, name, work, control, ("heavy", "fast"), 2 * fan_out * rows)


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
        pipeline=pressure(),
        rows=rows,
        config=config,
        holds=(Hold("pressured", until_s=_HOLDER_S),),
    )
    return Case(number, "adaptations", name, work, control, (), 2 * rows)


def _reference() -> Iterator[Case]:
    for number, rows in enumerate((64, 128, 256), start=1):
        yield _overlap(number, "row-scale", f"rows-{rows}", rows=rows)
    for number, groups in ((4, 1), (5, 2), (6, 4)):
        name = f"row-groups-{groups}"
        yield _overlap(number, "row-group-concurrency", name, buffer=1, groups=groups, fan_out=1)
    for number, buffer in ((7, 1), (8, 16), (9, 64)):
        yield _overlap(number, "buffer-size", f"buffer-{buffer}", buffer=buffer)
    for number, slots in ((10, 4), (11, 8)):
        yield _overlap(
            number, "llm-capacity", f"capacity-{slots}", buffer=1, slots=slots, fan_out=1
        )
    yield _overlap(12, "custom-model-weight", "weight-custom-model-1", weight=1)
    yield _overlap(13, "custom-model-weight", "weight-model-capacity")
    yield _overlap(
        14,
        "stress-shape",
        "narrow-frontier-high-cap",
        rows=1024,
        buffer=1,
        groups=1,
        slots=16,
        fan_out=1,
        heavy_s=0.006,
    )
    yield _overlap(
        15,
        "stress-shape",
        "wide-frontier-high-cap",
        rows=1024,
        groups=16,
        slots=16,
        heavy_s=0.006,
    )
    yield from _row_groups()
    yield _pressure(
        19,
        "request-pressure-control",
        rows=32,
        adaptive=False,
        advisory=False,
        slots=1,
        control=True,
    )
    yield _pressure(
        20, "request-pressure-advisory", rows=32, adaptive=False, advisory=True, slots=1
    )
    yield _pressure(
        21,
        "adaptive-request-pressure-control",
        rows=128,
        adaptive=True,
        advisory=False,
        slots=4,
        control=True,
    )
    yield _pressure(
        22, "adaptive-request-pressure-combined", rows=128, adaptive=True, advisory=True, slots=4
    )


def _row_groups() -> Iterator[Case]:
    choices: tuple[tuple[str, int | Literal["adaptive"], int | None, bool], ...] = (
        ("fixed-low", 1, None, True),
        ("adaptive", "adaptive", 8, False),
        ("fixed-high", 8, None, True),
    )
    for number, (name, groups, most, control) in enumerate(choices, start=16):
        yield _overlap(
            number,
            "adaptations",
            f"adaptive-row-groups-{name}",
            buffer=1,
            groups=groups,
            most=most,
            slots=16,
            fan_out=1,
            heavy_s=0.006,
            control=control,
        )


CASES: tuple[Case, ...] = tuple(_reference())
"""The reference's quick cases, in its order."""

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

    def case(self, *, adaptive: bool, advisory: bool) -> Case:
        """The setting with or without each of the two adaptations."""
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
            pipeline=_three_held_one_open(self.slots),
            rows=self.rows,
            config=config,
            holds=tuple(Hold(m, self.held_s, self.slots) for m in _HELD),
        )
        control = not (adaptive and advisory)
        return Case(0, "combined", name, work, control, (), 4 * self.rows)


_HELD = ("held-a", "held-b", "held-c")


def _three_held_one_open(slots: int) -> Pipeline:
    names = (*_HELD, "open")
    latency = Latency(mean_s=_CELL_S)
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
