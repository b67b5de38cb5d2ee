"""Fit and forecast: what a record says of an endpoint, and what follows from it."""

from __future__ import annotations

import pytest

import ddsched_nb as dd
from ddsched_nb.analysis.fit import fit
from ddsched_nb.core.events import ModelRequestCompleted
from ddsched_nb.errors import ConfigError, RecordError
from ddsched_nb.sim.forecast import MOST_ROWS, forecast
from ddsched_nb.workloads import find_workload

DIAMOND, TIGHT = find_workload("diamond"), find_workload("tight")


def test_a_fit_finds_what_was_hidden() -> None:
    fitted = fit(dd.simulate(TIGHT, rows=51))
    found = {model.pool.model: model for model in fitted.models}
    hidden = {profile.model: profile for profile in TIGHT.profiles["local"]}
    assert found["model-a"].capacity == 16
    assert found["model-a"].capacity_seen
    assert found["model-b"].capacity == 16
    for name, model in found.items():
        assert model.mean_s == pytest.approx(hidden[name].latency.mean_s, rel=0.2)
        assert model.retry_after_s == 1.0
        assert model.overhead_s == 0
        assert model.calls - model.refused == 102 - (model.failed + model.timeouts)


def test_a_model_that_never_refused_is_guessed_after_its_neighbour() -> None:
    roomy = [p.model_copy(update={"capacity": 99}) for p in TIGHT.profiles["local"][1:]]
    record = dd.simulate(TIGHT, rows=51, profiles=[TIGHT.profiles["local"][0], *roomy])
    fitted = fit(record)
    guessed = fitted.models[1]
    assert not guessed.capacity_seen
    assert 16 <= guessed.capacity <= 24
    assert f"{guessed.capacity}?" in str(fitted)


def test_a_fit_counts_failures_and_timeouts() -> None:
    shaky = TIGHT.profiles["local"][0].model_copy(
        update={"capacity": 64, "faults": (dd.Fault(kind="error", share=0.25),)}
    )
    other = TIGHT.profiles["local"][1].model_copy(update={"capacity": 64})
    record = dd.simulate(TIGHT, rows=100, profiles={"local": [shaky, other]})
    first = fit(record).models[0]
    assert first.failed == pytest.approx(50, abs=15)
    assert fit(record)["local"][0].faults[0].share == pytest.approx(0.2, abs=0.06)
    assert [model.capacity for model in fit(record).models] == [64, 64]  # the caps: none refused


def test_overhead_is_the_difference_to_what_the_endpoint_counted() -> None:
    slow = [p.model_copy(update={"overhead_s": 0.05}) for p in DIAMOND.profiles["local"]]
    record = dd.simulate(DIAMOND, rows=40, profiles={"local": slow})
    key = next(iter(record.result.models))
    from ddsched_nb.clients.load import EndpointStatistics

    counted = EndpointStatistics(0.0, {"shared": record.result.models[key]})
    assert fit(record, counted).models[0].overhead_s == pytest.approx(0.05, abs=1e-6)
    assert fit(record).models[0].overhead_s == 0  # nobody says, nothing was refused


def test_what_is_known_better_can_be_said() -> None:
    fitted = fit(dd.simulate(TIGHT, rows=40)).knowing("model-b", capacity=40, steps=((3.0, 8),))
    profile = next(p for p in fitted["local"] if p.model == "model-b")
    assert (profile.capacity, profile.steps) == (40, ((3.0, 8),))
    assert fitted.knowing("model-b", retry_after_s=9.0)["local"][1].capacity == 40
    drawn = [fitted.resampled(seed)["local"][1] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert {p.capacity for p in drawn} == {40}


def test_what_cannot_be_fitted() -> None:
    record = dd.simulate(TIGHT, rows=10)
    no_calls = dd.RunRecord(e for e in record.events if not isinstance(e, ModelRequestCompleted))
    with pytest.raises(RecordError, match="no call in this record was answered"):
        fit(no_calls)
    record.truncated = True
    with pytest.raises(RecordError, match="record is cut"):
        fit(record)


def test_a_forecast_holds_what_comes() -> None:
    fitted = fit(dd.simulate(TIGHT, rows=60, seed=5))
    said = forecast(TIGHT.pipeline, rows=300, profiles=fitted, runs=8)
    truth = dd.simulate(TIGHT, rows=300, seed=9).result
    assert said.makespan_s.low < said.makespan_s.median < said.makespan_s.high
    assert said.makespan_s.median == pytest.approx(truth.makespan_s, rel=0.15)
    assert said.refusals.median == pytest.approx(truth.refused, rel=0.35)
    assert said.tokens.median == pytest.approx(truth.tokens, rel=0.1)
    assert said.cost.high == 0
    assert "300 rows, 8 simulations" in str(said)
    assert "makespan, s" in said._repr_html_()


def test_a_very_large_run_is_carried_on() -> None:
    fitted = fit(dd.simulate(DIAMOND, rows=60))
    part = forecast(DIAMOND.pipeline, rows=MOST_ROWS, profiles=fitted, runs=3)
    whole = forecast(DIAMOND.pipeline, rows=10 * MOST_ROWS, profiles=fitted, runs=3)
    assert whole.makespan_s.median == pytest.approx(10 * part.makespan_s.median, rel=0.05)
    assert whole.tokens.median == pytest.approx(10 * part.tokens.median, rel=0.01)
    assert whole.simulated_rows == MOST_ROWS
    assert f"3 simulations of {MOST_ROWS} rows" in str(whole)


def test_the_knob_that_helps_is_found_and_money_is_counted() -> None:
    work = find_workload("bottleneck")
    models = [
        dd.Model(m.alias, provider="local", max_parallel_requests=cap, prices=dd.Prices(1.0, 2.0))
        for m, cap in zip(work.pipeline.models, (32, 2, 32), strict=True)
    ]
    narrow = work.pipeline.with_models(models)
    said = forecast(narrow, rows=40, profiles=work.profiles, runs=3, knobs=True)
    assert said.best_knob is not None
    assert said.best_knob.name == "max_parallel_requests of narrow"
    assert (said.best_knob.before, said.best_knob.after) == (2, 4)
    assert said.best_knob.ratio < 0.6
    assert "what would help most: max_parallel_requests of narrow 2 -> 4" in str(said)
    assert said.cost.low > 0


def test_what_is_no_forecast() -> None:
    with pytest.raises(ConfigError, match="runs is 2; give at least 3"):
        forecast(DIAMOND.pipeline, rows=10, profiles=DIAMOND.profiles, runs=2)
    with pytest.raises(ConfigError, match="either rows=NUMBER or table="):
        forecast(DIAMOND.pipeline, profiles=DIAMOND.profiles)


async def test_a_forecast_works_where_a_loop_runs() -> None:
    said = forecast(DIAMOND.pipeline, rows=5, profiles=DIAMOND.profiles, runs=3)
    assert said.makespan_s.median > 0
