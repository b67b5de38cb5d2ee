from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import altair as alt
import pytest

import ddsched_nb as dd
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import FlowKey, OutcomeKind, PoolKey
from ddsched_nb.errors import ConfigError
from ddsched_nb.sim.simulate import simulate
from ddsched_nb.views import renderer
from ddsched_nb.views.charts import (
    CHARTS,
    Source,
    idle_causes,
    limit_over_time,
    makespans,
    row_progress,
    task_slots,
    tokens_by_column,
)
from ddsched_nb.views.specs import describe
from ddsched_nb.workloads import find_workload


@dataclass
class Record:
    events: list[ev.Event]


@pytest.fixture(autouse=True)
def _default_renderer() -> Iterator[None]:
    before = alt.renderers.active
    alt.renderers.enable("default")
    yield
    alt.renderers.enable(before)


def test_task_slots_tell_working_from_waiting_and_from_free() -> None:
    workload = find_workload("request-pressure")
    for waiting, held_s in (("hold", 0.018), ("yield", 0.0)):
        config = workload.config.model_copy(update={"slots_while_waiting": waiting})
        chart = task_slots(simulate(workload, config))
        (rows,) = chart.to_dict()["datasets"].values()
        slot_s = dict.fromkeys(("working", "held while waiting", "free"), 0.0)
        for state in slot_s:
            steps = [(row["at"], row["slots"]) for row in rows if row["state"] == state]
            slot_s[state] = sum(n * (b - a) for (a, n), (b, _) in pairwise(steps))
        assert slot_s["working"] == pytest.approx(0.064, abs=1e-4)
        assert slot_s["held while waiting"] == pytest.approx(held_s, abs=1e-4)
        assert sum(slot_s.values()) == pytest.approx(0.082, abs=1e-4)


def points(chart: alt.LayerChart) -> int:
    return sum(len(rows) for rows in chart.to_dict()["datasets"].values())


def values(chart: alt.LayerChart, field: str) -> list[tuple[float, float, str]]:
    datasets = chart.to_dict()["datasets"].values()
    return [
        (row["at"], row[field], row["pool"]) for rows in datasets for row in rows if field in row
    ]


def completed(at: float, pool: PoolKey, task: str | None, tokens: int) -> ev.Event:
    return ev.ModelRequestCompleted(at, 1, pool, 1, task, OutcomeKind.SUCCESS, 0.1, tokens)


def long_record(requests: int) -> list[ev.Event]:
    dice, found = random.Random(1), []
    for i in range(requests):
        pool, at = PoolKey("local", f"m{i % 3}"), i / 100
        limit = dice.randrange(4, 64)
        found.append(ev.RequestLeaseAcquired(at, i, pool, i, i, dice.randrange(1, limit), limit))
        found.append(ev.RequestLeaseReleased(at, i, pool, i, OutcomeKind.RATE_LIMITED, 0))
        found.append(ev.RequestRateLimited(at, i, pool, i, None, 0, limit))
        found.append(ev.RowGroupCheckpointed(at, i, i, 1, 0))
        task, flow = f"c{i % 9}/0/{i}", FlowKey("local", ("column", f"c{i % 9}"))
        found.append(ev.ReadyEnqueued(at, i, task, flow))
        found.append(ev.TaskLeaseAcquired(at, i, task, i, False))
        found.append(ev.WorkerSpawned(at, i, task, f"c{i % 9}", 0, i))
        found.append(completed(at, pool, task, 7))
        if i >= 5:
            task = f"c{(i - 5) % 9}/0/{i - 5}"
            found.append(ev.TaskCompleted(at, i, task, "done"))
            found.append(ev.TaskLeaseReleased(at, i, task, i - 5))
    return found


@pytest.mark.parametrize("chart", CHARTS)
def test_every_chart_takes_a_record_or_events_and_is_the_same_twice(
    chart: object, events: list[ev.Event]
) -> None:
    assert callable(chart)
    first, second = chart(Record(events)), chart(events)
    assert first.to_dict() == second.to_dict()
    assert renderer.render(first.to_dict()) == renderer.render(second.to_dict())


@pytest.mark.parametrize("chart", CHARTS)
def test_every_chart_has_words_and_a_clear_background(
    chart: object, events: list[ev.Event]
) -> None:
    assert callable(chart)
    assert chart.__doc__
    drawn = chart(events).to_dict()
    assert drawn["background"] == "transparent"
    assert drawn["title"]["text"]
    assert "\nx: " in describe(drawn)


@pytest.mark.parametrize("chart", CHARTS)
def test_every_chart_of_a_big_record_stays_small(chart: object) -> None:
    assert callable(chart)
    drawn = chart(long_record(30_000))
    assert points(drawn) < 2000
    assert len(json.dumps(drawn.to_dict())) < 200_000


@pytest.mark.parametrize("chart", CHARTS)
def test_every_chart_is_drawn_alike_by_vega_lite_5(chart: object, events: list[ev.Event]) -> None:
    assert callable(chart)
    bundle, _ = renderer.render(chart(events).to_dict())
    assert list(bundle) == [renderer.VEGALITE_V5, renderer.SVG, "text/plain"]


def test_limits_are_exact_where_they_change(events: list[ev.Event]) -> None:
    chart = limit_over_time(events)
    limits = values(chart, "limit")
    assert (2.0, 24, "local/writer-small") in limits
    assert (3.0, 5, "local/judge-large") in limits
    assert describe(chart.to_dict()).splitlines() == [
        "Chart: Limit over time",
        "x: seconds from the start, 0 to 8",
        "y: requests, 0 to 32",
        "series: local/judge-large, local/writer-small",
        "marks: area (9 points), line (6 points), point (2 points)",
    ]


@pytest.mark.parametrize(
    "pool",
    [PoolKey("local", "judge-large"), "local/judge-large/chat", "local/judge-large", "judge-large"],
)
def test_one_pool_can_be_chosen(events: list[ev.Event], pool: PoolKey | str) -> None:
    chart = limit_over_time(events, pool)
    assert {name for _, _, name in values(chart, "limit")} == {"local/judge-large"}


def test_an_unknown_pool_is_answered_with_the_known_ones(events: list[ev.Event]) -> None:
    with pytest.raises(ConfigError, match=r"'gpt'.*local/judge-large/chat, local/writer-small"):
        limit_over_time(events, "gpt")


@pytest.mark.parametrize("source", [[], Record([]), [ev.RunPaused(1.0, 1)]])
def test_a_record_without_requests_is_answered(source: Source) -> None:
    with pytest.raises(ConfigError, match="no requests"):
        limit_over_time(source)


def test_rows_without_drops_have_one_series() -> None:
    chart = row_progress([ev.RowGroupCheckpointed(float(i), i, i, 10, 0) for i in range(3)])
    assert "series: finished\n" in describe(chart.to_dict())


def test_the_first_chart_makes_charts_work_offline(events: list[ev.Event]) -> None:
    assert alt.renderers.active == "default"
    chart = limit_over_time(events)
    assert alt.renderers.active == renderer.NAME
    shown = chart._repr_mimebundle_()
    assert shown is not None
    assert renderer.SVG in shown[0]


def test_a_renderer_somebody_chose_is_left_alone(events: list[ev.Event]) -> None:
    alt.renderers.enable("mimetype")
    limit_over_time(events)
    assert alt.renderers.active == "mimetype"


def test_importing_changes_nothing_and_imports_no_altair() -> None:
    program = (
        "import sys, ddsched_nb, ddsched_nb.wording, ddsched_nb.views.live\n"
        "assert not {'altair', 'ipywidgets'} & set(sys.modules)\n"
        "import altair, ddsched_nb.views.charts\n"
        "assert altair.renderers.active == 'default'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_tokens_are_summed_by_column_and_model(events: list[ev.Event]) -> None:
    chart = tokens_by_column([*events, completed(107.0, PoolKey("local", "w"), None, 5)])
    (rows,) = chart.to_dict()["datasets"].values()
    assert rows == [
        {"column": "question", "pool": "local/writer-small", "calls": 2, "tokens": 70},
        {"column": "grade", "pool": "local/judge-large", "calls": 1, "tokens": 9},
    ]


def test_a_failed_call_has_used_nothing() -> None:
    pool = PoolKey("local", "m")
    failed = ev.ModelRequestCompleted(1.0, 1, pool, 1, "a/0/0", OutcomeKind.RATE_LIMITED, 0.1, 0)
    with pytest.raises(ConfigError, match="no answered call"):
        tokens_by_column([ev.WorkerSpawned(0.0, 1, "a/0/0", "a", 0, 0), failed])


def test_makespans_stand_beside_what_was_possible() -> None:
    records = {name: simulate(name, rows=12) for name in ("diamond", "tight")}
    drawn = makespans(records).to_dict()
    rows = [row for found in drawn["datasets"].values() for row in found]
    for name, record in records.items():
        bounds = record.result.bounds
        assert bounds is not None
        said = {row["what"]: row["seconds"] for row in rows if row["run"] == name}
        assert said["this run"] == pytest.approx(record.result.makespan_s, abs=1e-3)
        assert said["lower bound"] == pytest.approx(bounds.lower_s, abs=1e-3)
        assert said["oracle"] == pytest.approx(bounds.oracle_s, abs=1e-3)
    bundle, _ = renderer.render(drawn)
    assert list(bundle) == [renderer.VEGALITE_V5, renderer.SVG, "text/plain"]
    with pytest.raises(ConfigError, match="records is empty"):
        makespans({})
    with pytest.raises(ConfigError, match="'m' has no bound"):
        makespans({"m": simulate("million-rows", rows=5)})


def test_idle_causes_are_stacked_to_what_was_idle() -> None:
    record = simulate("tight", rows=60)
    drawn = idle_causes(record).to_dict()
    rows = [row for found in drawn["datasets"].values() for row in found]
    assert drawn["title"]["text"] == "Why slots of submission were idle"
    found = dd.explain_idle(record)["submission"]
    assert {row["cause"] for row in rows} == {
        *map(str, list(found.causes)[:7]),
        *(["other causes"] if len(found.causes) > 7 else []),
    }
    spans = sorted({row["at"] for row in rows})
    areas = [row["slots"] * (spans[1] - spans[0]) for row in rows if row["at"] < spans[-1]]
    assert sum(areas) == pytest.approx(found.idle_s, rel=1e-3)
    chosen = idle_causes(record, "local/model-a/chat").to_dict()
    assert "local/model-a/chat" in chosen["title"]["text"]
    with pytest.raises(ConfigError, match=r"'gpu'.* has: submission, llm_wait"):
        idle_causes(record, "gpu")


def test_idle_causes_of_few_steps_are_exact(events: list[ev.Event]) -> None:
    drawn = idle_causes(events, "local/judge-large/chat").to_dict()
    rows = [row for found in drawn["datasets"].values() for row in found if row["slots"]]
    assert [(row["at"], row["slots"]) for row in rows] == [
        (0.0, 8.0),
        (1.0, 7.0),
        (3.0, 8.0),
        (3.2, 8.0),
    ]


@pytest.mark.parametrize("cut", [3, 40, 400, 2_000])
def test_idle_causes_of_a_record_that_is_cut(cut: int) -> None:
    record = simulate("tight", rows=60)
    assert idle_causes(record.events[cut:]).to_dict()["title"]["text"]


def test_nothing_idle_is_answered() -> None:
    with pytest.raises(ConfigError, match="nothing was idle"):
        idle_causes([])
