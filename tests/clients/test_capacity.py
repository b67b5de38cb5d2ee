"""Capacity over time: what exists now, what existed until then, when so much work fits in."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ddsched_nb.clients.capacity import (
    CapacityCurve,
    OtherTenants,
    Outage,
    Ramp,
    RandomWalk,
    Sine,
)
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.errors import ConfigError

SHAPES = st.sampled_from(
    [
        (),
        (Ramp(seconds=7),),
        (Sine(period_s=20, low=0.2),),
        (RandomWalk(every_s=1.5, seed=3),),
        (OtherTenants(share=0.4, every_s=2),),
        (Outage(start_s=3, end_s=9), Sine(period_s=11)),
        (Outage(start_s=0, end_s=1, left=0.5), RandomWalk(every_s=0.7, low=0.1)),
    ]
)


def test_steps_are_what_they_were() -> None:
    curve = CapacityCurve(4, ((2.0, 1), (5.0, 8)))
    assert [curve.at(t) for t in (0, 1.9, 2.0, 4.9, 5.0, 1e6)] == [4, 4, 1, 1, 8, 8]
    assert curve.integral(6.0) == 4 * 2 + 1 * 3 + 8
    assert curve.fill(9.5) == 3.5
    assert curve.losses(10) == [3]


def test_an_outage_takes_all_and_nothing_else_does() -> None:
    curve = CapacityCurve(10, (), (Outage(start_s=1, end_s=2), Sine(period_s=8, low=0)))
    assert curve.at(1.5) == 0
    assert curve.at(4.0) == 1
    assert CapacityCurve(10, (), (Outage(start_s=1, end_s=2, left=0.3),)).at(1) == 3


def test_a_ramp_rises_to_the_nominal_and_stays() -> None:
    curve = CapacityCurve(64, (), (Ramp(seconds=16, start=0.25),))
    slots = [curve.at(t / 4) for t in range(100)]
    assert slots == sorted(slots)
    assert (slots[0], slots[-1]) == (16, 64)
    assert curve.next_edge(17) == math.inf


@given(SHAPES, st.integers(1, 50), st.floats(0, 60), st.floats(1, 60))
def test_the_integral_is_the_sum_of_what_there_is(shapes, nominal, until, cap) -> None:
    curve = CapacityCurve(nominal, (), shapes)
    edges, t = [0.0], 0.0
    while (t := curve.next_edge(t)) < until:
        edges.append(t)
    pieces = zip(edges, [*edges[1:], max(until, edges[-1])], strict=True)
    summed = math.fsum(min(cap, curve.at(a)) * (b - a) for a, b in pieces)
    assert curve.integral(until, cap=cap) == pytest.approx(summed, abs=1e-6)
    assert min(curve.at(edge) for edge in edges) >= 0
    assert max(curve.at(edge) for edge in edges) <= nominal


@given(SHAPES, st.integers(1, 50), st.floats(0.1, 500), st.floats(0, 10))
def test_filling_is_the_inverse_of_the_integral(shapes, nominal, work, start) -> None:
    curve = CapacityCurve(nominal, (), shapes)
    end = curve.fill(work, start=start)
    assert curve.integral(end) - curve.integral(start) == pytest.approx(work, rel=1e-6)


def test_asking_out_of_order_changes_nothing() -> None:
    one = CapacityCurve(40, (), (RandomWalk(every_s=1, seed=5),))
    other = CapacityCurve(40, (), (RandomWalk(every_s=1, seed=5),))
    late_first = [one.at(t) for t in (50, 3, 20)]
    assert [other.at(t) for t in (3, 20, 50)] == [late_first[1], late_first[2], late_first[0]]


def test_a_trace_comes_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("seconds,capacity\n2.5,8\n9,0\n")
    profile = EndpointProfile(model="m", capacity=4, steps=str(path))
    assert profile.steps == ((2.5, 8), (9.0, 0))
    path.write_text("2.5;8\n")
    with pytest.raises(ConfigError, match=r"row 1 of capacity trace.*2\.5;8.*seconds,capacity"):
        EndpointProfile(model="m", steps=path)
    with pytest.raises(ConfigError, match="cannot be read"):
        EndpointProfile(model="m", steps=tmp_path / "nowhere.csv")


def test_a_copy_has_a_curve_of_its_own() -> None:
    profile = EndpointProfile(model="m", capacity=4)
    assert profile.capacity_at(9) == 4
    assert profile.model_copy(update={"steps": ((5.0, 1),)}).capacity_at(9) == 1
    assert profile.model_copy(update={"capacity": 7}).capacity_integral(2) == 14


@pytest.mark.parametrize(
    ("make", "fields", "said"),
    [
        (Outage, {"start_s": 3, "end_s": 3}, "end_s=3 is not after"),
        (OtherTenants, {"share": 0.9}, r"share=0\.9"),
        (Ramp, {"seconds": 0}, "seconds=0"),
        (Sine, {"period_s": 3, "high": 1}, "no field 'high'"),
    ],
)
def test_what_is_no_shape(make: Any, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make(**fields)
