"""The capacity plan: one named cap each, and every value with its source (F14)."""

from __future__ import annotations

import pytest

import ddsched_nb as dd
from ddsched_nb.errors import ConfigError


def pipeline(*models: dd.Model) -> dd.Pipeline:
    profile = dd.EndpointProfile(model="w", capacity=4, latency=dd.Latency(mean_s=0.001))
    columns = [dd.ModelColumn(m.alias, model=m.alias, prompt="{{ n }}") for m in models]
    return dd.Pipeline(
        columns=[dd.Column("n", generate=list), *columns],
        models=models,
        providers=[dd.SimulatedProvider("p", [profile])],
    )


async def plan(config: dd.RunConfig, *models: dd.Model) -> dd.CapacityPlan:
    run = dd.start(pipeline(*models), rows=20, config=config)
    with pytest.raises(ConfigError, match="being set up"):
        run.capacity_plan()
    await run
    return run.capacity_plan()


async def test_f14_every_value_says_where_it_comes_from() -> None:
    found = await plan(
        dd.RunConfig(),
        dd.Model("x", provider="p", id="w", max_parallel_requests=8),
        dd.Model("y", provider="p", id="w", requests_per_minute=6e6),
    )
    assert all(value.source for value in found.values)
    slots = found["submission"]
    assert (slots.value, slots.fallback_from) == (8 + 4 + 64, "RunConfig.max_in_flight_tasks")
    assert slots.missing_reason == "not set"
    cap = found["p/w/chat: cap"]
    assert cap.value == 8
    assert cap.source == "the least of its aliases (x 8, y 32)"
    assert cap.observed_max is not None
    assert 0 < cap.observed_max <= 8
    rate = found["p/w/chat: requests a minute"]
    assert (rate.value, rate.source, rate.fallback_from) == (6e6, "declared", None)
    assert found["p/w/chat: tokens a minute"].value is None
    assert found["row groups"].source.startswith("adaptive")
    with pytest.raises(KeyError):
        _ = found["nothing"]
    assert "the least of its aliases" in str(found)
    assert "the least of its aliases" in found._repr_html_()


async def test_what_is_set_is_named_as_such() -> None:
    config = dd.RunConfig(max_in_flight_tasks=6, row_groups=2, buffer_size=5)
    found = await plan(config, dd.Model("x", provider="p", id="w"))
    assert found["submission"].source == "RunConfig.max_in_flight_tasks"
    assert found["submission"].fallback_from is None
    assert found["model:p/w"].source.endswith("at most RunConfig.max_in_flight_tasks")
    assert (found["row groups"].value, found["row groups"].source) == (2, "RunConfig.row_groups")
    cap = found["p/w/chat: cap"]
    assert (cap.value, cap.source) == (32, "the default of a model")
    assert (cap.fallback_from, cap.missing_reason) == ("Model.max_parallel_requests", "not set")
