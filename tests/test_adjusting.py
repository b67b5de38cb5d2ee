"""Settings that change while a run goes on: each acts, each is an event; bad ones are refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import ddsched_nb as dd
from ddsched_nb.core import events as ev
from ddsched_nb.errors import ConfigError


def pipeline(cap: int = 4) -> dd.Pipeline:
    profile = dd.EndpointProfile(model="m", capacity=64, latency=dd.Latency(mean_s=0.02))
    return dd.Pipeline(
        columns=[
            dd.Column("n", generate=list),
            dd.ModelColumn("a", model="writer", prompt="{{ n }}"),
            dd.ModelColumn("b", model="writer", prompt="{{ a }}"),
        ],
        models=[dd.Model("writer", provider="p", id="m", max_parallel_requests=cap)],
        providers=[dd.SimulatedProvider("p", [profile])],
    )


FIXED = dd.RequestAdmissionConfig(limit="fixed")


def start(rows: int = 300, **config: Any) -> dd.Run:
    settings = {"buffer_size": 10, "request_admission": FIXED, **config}
    return dd.start(pipeline(), rows=rows, config=dd.RunConfig(**settings))


def most_in_flight(record: dd.RunRecord, since: float, until: float = 1e18) -> int:
    taken = [e for e in record.select(ev.RequestLeaseAcquired) if since < e.at < until]
    return max((event.in_flight for event in taken), default=0)


async def test_a_cap_acts_up_and_down() -> None:
    run = start()
    await asyncio.sleep(0.15)
    run.adjust(caps={"writer": 16})
    await asyncio.sleep(0.3)
    run.adjust(caps={"writer": 2})
    await asyncio.sleep(0.2)
    run.adjust(caps={"writer": 32})
    await run
    up, down, up_again = run.record.select(ev.RequestEffectiveCapChanged)
    assert (up.cap, down.cap, up_again.cap) == (16, 2, 32)
    assert most_in_flight(run.record, 0, up.at) == 4
    assert most_in_flight(run.record, up.at, down.at) == 16
    assert most_in_flight(run.record, down.at + 0.1, up_again.at) <= 2
    assert most_in_flight(run.record, up_again.at) == 32
    assert run.summary().finished == 300
    assert dd.replay(run.record, FIXED).leases == 0


@pytest.mark.parametrize("limit", ["fixed", "ceiling", "aimd", "latency"])
async def test_a_limit_is_put_somewhere_and_moves_on_from_there(limit: Any) -> None:
    admission = dd.RequestAdmissionConfig(limit=limit)
    run = start(request_admission=admission)
    await asyncio.sleep(0.15)
    run.adjust(limits={"writer": 1})
    await asyncio.sleep(0.1)
    run.adjust(caps={"writer": 3}, limits={"writer": 9})
    await run
    moves = [e for e in run.record.select(ev.RequestLimitDecreased) if e.reason == "asked"]
    assert [e.after for e in moves] == [1]
    (lowered,) = moves
    (capped,) = run.record.select(ev.RequestEffectiveCapChanged)
    assert most_in_flight(run.record, 0, lowered.at) == 4
    granted = [e for e in run.record.select(ev.RequestLeaseAcquired) if e.at > lowered.at]
    assert granted[0].limit == 1
    assert most_in_flight(run.record, lowered.at + 0.03, lowered.at + 0.05) <= 2
    assert most_in_flight(run.record, capped.at) <= 3
    assert run.summary().finished == 300
    assert dd.replay(run.record, admission).leases == 0


class Mine:
    """A limit of one's own that nobody can put anywhere."""

    def __init__(self, cap: int) -> None:
        self._cap = cap

    def on_sample(self, sample: Any) -> None: ...

    def value(self, now: float) -> int:
        return self._cap


async def test_a_limit_of_ones_own_without_put_says_so() -> None:
    run = start(rows=10, request_admission=dd.RequestAdmissionConfig(limit=Mine))
    with pytest.raises(ConfigError, match="'Mine' has no method put"):
        run.adjust(limits={"writer": 2})
    await run


async def test_row_groups_follow_a_number_and_the_work_again() -> None:
    run = start()
    await asyncio.sleep(0.1)
    run.adjust(row_groups=5)
    await asyncio.sleep(0.1)
    assert len(run.statistics().open_groups) == 5
    run.adjust(row_groups="adaptive")
    await run
    asked = [e for e in run.record.select(ev.RunAdjusted) if e.setting == "row_groups"]
    assert [(e.before, e.after) for e in asked] == [("adaptive", "5"), ("5", "adaptive")]
    assert "asked" in {e.reason for e in run.record.select(ev.RowGroupAdmissionTargetChanged)}
    assert run.summary().finished == 300


async def test_task_slots_policy_and_advisory() -> None:
    run = start(max_in_flight_tasks=3)
    await asyncio.sleep(0.1)
    run.adjust(max_in_flight_tasks=40, request_pressure_advisory=False)
    await asyncio.sleep(0.1)
    run.adjust(max_in_flight_tasks=2, task_policy="bounded_borrow", request_pressure_advisory=True)
    await asyncio.sleep(0.2)
    statistics = run.statistics()
    assert sum(column.running for column in statistics.columns) <= 2 + 8, "waiting ones aside"
    run.adjust(max_in_flight_tasks=40)
    await run
    told = [(e.setting, e.before, e.after) for e in run.record.select(ev.RunAdjusted)]
    assert told == [
        ("max_in_flight_tasks", "3", "40"),
        ("request_pressure_advisory", "True", "False"),
        ("max_in_flight_tasks", "40", "2"),
        ("task_policy", "strict_fair", "bounded_borrow"),
        ("request_pressure_advisory", "False", "True"),
        ("max_in_flight_tasks", "2", "40"),
    ]
    assert run.summary().finished == 300
    snapshots = run.record.select(ev.SchedulerHealthSnapshot)
    assert snapshots[-1].running == 0
    assert snapshots[-1].available["submission"] == 40
    idle, found = dd.explain_idle(run.record), dd.metrics(run.record).scheduler
    for name in ("submission", "llm_wait"):
        assert sum(idle[name].causes.values()) == pytest.approx(found[name].idle_s, abs=1e-9)
    assert dd.replay(run.record, FIXED).leases == 0


async def test_a_record_of_a_run_that_was_paused_can_be_replayed() -> None:
    run = start(rows=120)
    for _ in range(3):
        await asyncio.sleep(0.08)
        run.pause()
        await asyncio.sleep(0.06)
        run.resume()
    await run
    assert len(run.record.select(ev.RunResumed)) == 3
    replayed = dd.replay(run.record, FIXED)
    assert replayed.leases == 0
    assert replayed.pools[0].granted == run.statistics().pools[0].granted


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"caps": {"writr": 3}}, "did you mean 'writer'"),
        ({"caps": {"writer": 0}}, "cap of model 'writer' is 0"),
        ({"limits": {"writer": 0}}, "limit of model 'writer' is 0"),
        ({"limits": {"writr": 1}}, "did you mean 'writer'"),
        ({"weights": {"a": float("nan")}}, "finite number above 0"),
        ({"row_groups": 0}, "whole number of at least 1"),
        ({"row_groups": "many"}, "whole number of at least 1"),
        ({"max_in_flight_tasks": 0}, "max_in_flight_tasks is 0"),
        ({"task_policy": "free"}, "task_policy is 'free'"),
        ({"capz": {}}, "unknown field 'capz'; did you mean 'caps'"),
    ],
)
async def test_a_bad_value_is_refused_at_once_and_changes_nothing(
    changes: dict[str, Any], said: str
) -> None:
    run = start(rows=10)
    with pytest.raises(ConfigError, match=said):
        run.adjust(**changes)
    await run
    assert not run.record.select(ev.RunAdjusted, ev.FlowWeightChanged)


async def test_a_change_after_the_end_does_nothing() -> None:
    run = start(rows=4)
    await run
    run.adjust(row_groups=3)
    await asyncio.sleep(0)
    assert not run.record.select(ev.RunAdjusted)
