"""What the charts of capacity, fairness, waits and rows say, checked against what is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import altair as alt
import pytest

import ddsched_nb as dd
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import FlowKey, PoolKey
from ddsched_nb.errors import ConfigError
from ddsched_nb.record import RunRecord
from ddsched_nb.sim.simulate import simulate
from ddsched_nb.views import renderer
from ddsched_nb.views.charts import CHARTS, capacity, fairness_lag, row_gantt, waits
from ddsched_nb.views.fairness import fairness_lags

A, B = FlowKey("local", ("column", "a")), FlowKey("local", ("column", "b"))


def rows_of(chart: alt.LayerChart) -> list[dict[str, Any]]:
    return [row for rows in chart.to_dict()["datasets"].values() for row in rows]


def subtitle(chart: alt.LayerChart) -> str:
    return str(chart.to_dict()["title"].get("subtitle", ""))


def started(slots: int, **weights: float) -> ev.SchedulerJobStarted:
    flows = {
        name: ev.FlowShape(FlowKey("local", ("column", name)).label, weight, {"submission": 1})
        for name, weight in weights.items()
    }
    return ev.SchedulerJobStarted(0.0, 0, 10, 1, tuple(weights), {"submission": slots}, flows)


def queued(at: float, flow: FlowKey, *tasks: str) -> list[ev.Event]:
    return [ev.ReadyEnqueued(at, 0, task, flow) for task in tasks]


def leased(at: float, *tasks: str) -> list[ev.Event]:
    return [ev.TaskLeaseAcquired(at, 0, task, 0, False) for task in tasks]


def given_back(at: float, *tasks: str) -> list[ev.Event]:
    return [ev.TaskLeaseReleased(at, 0, task, 0) for task in tasks]


def last_lags(events: Sequence[ev.Event]) -> dict[str, float]:
    return {flow: steps[-1].value for flow, steps in fairness_lags(events).items()}


def test_a_flow_that_holds_all_while_another_waits_gets_ahead() -> None:
    events = [
        started(4, a=1.0, b=1.0),
        *queued(0.0, A, "a0", "a1", "a2", "a3"),
        *leased(0.0, "a0", "a1", "a2", "a3"),
        *queued(1.0, B, "b0", "b1"),
        *given_back(3.0, "a0", "a1", "a2", "a3"),
    ]
    # Alone for a second; then for two seconds two of the four slots are the other's.
    assert last_lags(events) == {A.label: 4.0, B.label: -4.0}


def test_a_share_is_by_weight_and_never_more_than_is_wanted() -> None:
    events = [
        started(4, a=3.0, b=1.0),
        *queued(0.0, A, "a0", "a1", "a2", "a3"),
        *queued(0.0, B, "b0", "b1", "b2"),
        *leased(0.0, "a0", "a1", "b0", "b1"),
        *given_back(1.0, "a0", "a1", "b0", "b1"),
    ]
    assert last_lags(events) == {A.label: -1.0, B.label: 1.0}
    few = [
        started(4, a=3.0, b=1.0),
        *queued(0.0, A, "a0"),
        *queued(0.0, B, "b0", "b1", "b2"),
        *leased(0.0, "a0", "b0", "b1", "b2"),
        *given_back(1.0, "a0", "b0", "b1", "b2"),
    ]
    assert last_lags(few) == {A.label: 0.0, B.label: 0.0}


def test_a_task_that_steps_aside_is_not_served() -> None:
    aside = [
        started(2, a=1.0, b=3.0),
        *queued(0.0, A, "a0"),
        *queued(0.0, B, "b0", "b1", "b2"),
        *leased(0.0, "a0", "b0"),
        ev.TaskSlotsYielded(0.0, 0, "a0", 0),
        ev.TaskSlotsRetaken(1.0, 0, "a0", 0),
        *given_back(2.0, "a0", "b0"),
    ]
    # Nobody but b holds or wants a slot at first. Then a holds one of two, and half of one is fair.
    assert last_lags(aside) == {A.label: 0.5, B.label: -0.5}


def test_a_changed_weight_counts_from_then_on() -> None:
    events = [
        started(2, a=1.0, b=1.0),
        *queued(0.0, A, "a0", "a1", "a2"),
        *queued(0.0, B, "b0", "b1", "b2"),
        *leased(0.0, "a0", "b0"),
        ev.FlowWeightChanged(1.0, 0, A, 1.0, 3.0),
        *given_back(3.0, "a0", "b0"),
    ]
    assert last_lags(events) == {A.label: -1.0, B.label: 1.0}


def test_lags_add_up_to_nothing_at_all_times() -> None:
    lags = fairness_lags(simulate("real-pipeline-overlap", rows=64).events)
    times = sorted({step.at for steps in lags.values() for step in steps})
    assert len(lags) > 2
    ends = {flow: {step.at: step.value for step in steps} for flow, steps in lags.items()}
    for at in times[-5:]:
        assert sum(found.get(at, 0.0) for found in ends.values()) == pytest.approx(0.0, abs=1e-2)


def test_many_flows_are_cut_to_those_furthest_from_their_share() -> None:
    flows = [FlowKey("local", ("column", f"c{i:02}")) for i in range(11)]
    events: list[ev.Event] = [started(11, **{f"c{i:02}": 1.0 for i in range(11)})]
    for i, flow in enumerate(flows):
        events += queued(0.0, flow, *(f"{i}/{k}" for k in range(11)))
    events += leased(0.0, *(f"10/{k}" for k in range(11)))
    events += given_back(1.0, *(f"10/{k}" for k in range(11)))
    chart = fairness_lag(events)
    shown = {row["flow"] for row in rows_of(chart) if "flow" in row}
    assert len(shown) == 8
    assert flows[10].label in shown
    assert "the 8 of 11 flows" in subtitle(chart)


def test_the_hidden_capacity_stands_behind_the_limit() -> None:
    record = simulate("drop")
    chart = capacity(record, "model-b")
    hidden = [
        (row["at"], row["requests"]) for row in rows_of(chart) if "capacity" in row.get("what", "")
    ]
    calls = [e for e in record.events if isinstance(e, ev.ModelRequestStarted)]
    first = calls[0].at - record.events[0].at
    end = record.events[-1].at - record.events[0].at
    assert [slots for _, slots in hidden] == [32, 8, 32, 32]
    assert [at for at, _ in hidden] == pytest.approx([0.0, 4.0 + first, 14.0 + first, end])
    assert "local/model-b" in subtitle(chart)
    assert "not known" not in subtitle(chart)


def test_the_pool_that_was_refused_most_is_drawn_unless_one_is_chosen() -> None:
    record = simulate("tight", rows=60)
    refused = [e.pool.model for e in record.events if isinstance(e, ev.RequestRateLimited)]
    most = max(sorted(set(refused)), key=refused.count)
    assert f"local/{most}" in subtitle(capacity(record))
    assert "local/model-a" in subtitle(capacity(record, "model-a"))
    with pytest.raises(ConfigError, match="pool is 'gpt'"):
        capacity(record, "gpt")


def test_of_a_real_record_the_capacity_is_not_known(events: list[ev.Event]) -> None:
    chart = capacity(events)
    assert "not known" in subtitle(chart)
    assert not [row for row in rows_of(chart) if "capacity" in row.get("what", "")]


def test_waits_are_those_of_the_timelines() -> None:
    record = simulate("tight", rows=60)
    found = {row["lane"]: row for row in rows_of(waits(record))}
    tasks = [t for t in dd.task_timelines(record) if t.column == "b1" and t.executions == 1]
    for lane, field in (("waits for a permit", "permit_wait_s"), ("in its calls", "service_s")):
        seconds = sorted(getattr(task, field) for task in tasks)
        row = found[f"b1: {lane}"]
        assert row["tasks"] == len(seconds) == 60
        assert row["p50"] == pytest.approx(seconds[round(59 * 0.5)], abs=1e-6)
        assert row["p95"] == pytest.approx(seconds[round(59 * 0.95)], abs=1e-6)
    assert not [lane for lane in found if lane.startswith("row_id")], "it takes no time"


def test_a_column_without_a_model_has_its_own_work_alone() -> None:
    spawned = ev.WorkerSpawned(1.0, 0, "a/0/0", "a", 0, 0)
    events = [*queued(0.0, A, "a/0/0"), *leased(1.0, "a/0/0"), spawned]
    events += [ev.TaskCompleted(4.0, 0, "a/0/0", "done"), *given_back(4.0, "a/0/0")]
    assert {row["lane"]: row["p50"] for row in rows_of(waits(events))} == {
        "a: queued": 1.0,
        "a: own work": 3.0,
    }


def test_a_row_is_drawn_from_its_first_task_to_its_last() -> None:
    record = simulate("diamond", rows=6)
    start = record.events[0].at
    bars = [row for row in rows_of(row_gantt(record)) if row["lane"] == "row 4"]
    tasks = [task for task in dd.task_timelines(record) if task.row == 4]
    assert {bar["column"] for bar in bars} == {*(t.column for t in tasks), "row_id"} - {"row_id"}
    assert max(bar["until"] for bar in bars) == pytest.approx(
        max(task.task_completed or 0.0 for task in tasks) - start, abs=1e-5
    )
    calls = {(bar["column"], bar["at"]) for bar in bars if bar["phase"] == "at its model"}
    assert calls == {
        (task.column, round((task.request_started or 0.0) - start, 6)) for task in tasks
    }


def test_many_rows_are_sampled_and_the_subtitle_says_so() -> None:
    record = simulate("diamond")
    drawn = row_gantt(record)
    lanes = list(dict.fromkeys(row["lane"] for row in rows_of(drawn)))
    assert len(lanes) == 19
    assert (lanes[0], lanes[-1]) == ("row 0", "row 127")
    assert "19 of 128 rows" in subtitle(drawn)
    chosen = row_gantt(record, rows=[3, 1])
    assert list(dict.fromkeys(row["lane"] for row in rows_of(chosen))) == ["row 3", "row 1"]
    with pytest.raises(ConfigError, match="rows holds 128"):
        row_gantt(record, rows=[128])


def test_a_task_that_failed_ends_in_a_cross() -> None:
    record = simulate("dropped-rows")
    dropped = [t.row for t in dd.task_timelines(record) if t.outcome == "drop"][:2]
    bars = rows_of(row_gantt(record, rows=[row for row in dropped if row is not None]))
    assert [bar["lane"] for bar in bars if bar["phase"] == "failed"] == [
        f"row {row}" for row in dropped
    ]


@pytest.mark.parametrize("chart", CHARTS)
def test_a_record_that_was_cut_is_drawn_and_says_so(chart: Callable[..., alt.LayerChart]) -> None:
    whole = simulate("tight", rows=60)
    assert "cut" not in subtitle(chart(whole))
    record = RunRecord(whole.events, keep=len(whole) // 2)
    assert record.truncated
    assert "the record is cut" in subtitle(chart(record))


@pytest.mark.parametrize("chart", CHARTS)
def test_one_row_is_enough(chart: Callable[..., alt.LayerChart]) -> None:
    drawn = chart(simulate("tight", rows=1)).to_dict()
    bundle, _ = renderer.render(drawn)
    assert renderer.SVG in bundle


EMPTY = {chart.__name__ for chart in CHARTS} - {"row_progress", "row_groups", "task_slots"}


@pytest.mark.parametrize("chart", CHARTS)
def test_an_empty_record_is_drawn_empty_or_answered(chart: Callable[..., alt.LayerChart]) -> None:
    if chart.__name__ in EMPTY:
        with pytest.raises(ConfigError, match="record=True"):
            chart(RunRecord())
    else:
        assert renderer.SVG in renderer.render(chart(RunRecord()).to_dict())[0]


def test_names_of_users_are_data_of_a_chart_and_nothing_else() -> None:
    hostile = "<img src=x onerror=1>"
    pool = PoolKey("local", hostile)
    events: list[ev.Event] = [
        ev.RequestResourceRegistered(0.0, 0, pool, 4, 4, 4, "aimd"),
        ev.RequestLeaseAcquired(1.0, 1, pool, 1, 1, 1, 4),
        ev.RequestLeaseReleased(2.0, 2, pool, 1, "success", 0),  # type: ignore[arg-type]
    ]
    bundle, _ = renderer.render(capacity(events).to_dict())
    assert "<img" not in bundle[renderer.SVG]
    assert "&lt;img" in bundle[renderer.SVG]
