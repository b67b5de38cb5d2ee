"""Tasks that wait for a model, beside others that need not: who keeps what, and who is not held up.

All in virtual time, over the scheduler that runs for real.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, Literal

import pytest

import ddsched_nb as dd
from ddsched_nb.core import events as ev
from ddsched_nb.core.resolver import model_resource
from ddsched_nb.errors import ConfigError, RecordError
from ddsched_nb.sim.conserving import SlotsLaw
from ddsched_nb.sim.record import SimulatedRecord
from ddsched_nb.workloads import find_workload
from ddsched_nb.workloads.parts import asking, chat_latency, row_ids

Waiting = Literal["yield", "hold"]


def endpoint(name: str, *shapes: dd.Outage) -> dd.EndpointProfile:
    latency = chat_latency(0.3)
    return dd.EndpointProfile(
        model=name, capacity=16, latency=latency, retry_after_s=2.0, shapes=shapes
    )


def pipeline(*names: str, outage: tuple[float, float] = (1.0, 60.0)) -> dd.Pipeline:
    """Independent columns of one model each; that called `sick` is away for a while."""
    gone = {"sick": (dd.Outage(start_s=outage[0], end_s=outage[1]),)}
    return dd.Pipeline(
        columns=[row_ids(), *(asking(name, name) for name in names)],
        models=[dd.Model(n, provider=n, max_parallel_requests=16) for n in names],
        providers=[dd.SimulatedProvider(n, [endpoint(n, *gone.get(n, ()))]) for n in names],
    )


def run(
    *names: str, rows: int = 600, slots: int | None = None, waiting: Waiting = "yield", **more: Any
) -> SimulatedRecord:
    config = dd.RunConfig(
        buffer_size=16, max_in_flight_tasks=slots, slots_while_waiting=waiting, **more
    )
    return dd.simulate(pipeline(*names), config, rows=rows)


def last_done(record: dd.RunRecord, column: str) -> float:
    ends = [e.at for e in record.select(ev.TaskCompleted) if e.task_id.startswith(f"{column}/")]
    return max(ends)


@pytest.mark.parametrize("slots", [None, 24])
def test_f23_a_healthy_model_keeps_its_throughput_beside_a_sick_one(slots: int | None) -> None:
    alone = last_done(run("healthy", rows=2_000, slots=slots), "healthy")
    beside = last_done(run("sick", "healthy", rows=2_000, slots=slots), "healthy")
    assert alone / beside >= 0.99


def test_f23_it_would_not_if_waiting_tasks_held_their_slots() -> None:
    alone = last_done(run("healthy", rows=2_000, slots=24), "healthy")
    held = run("sick", "healthy", rows=2_000, slots=24, waiting="hold")
    assert alone / last_done(held, "healthy") < 0.95, "else the test above proves nothing"


@pytest.mark.parametrize("waiting", ["yield", "hold"])
def test_f20_f37_leases_for_one_model_are_bounded_by_its_capacity(waiting: Waiting) -> None:
    record = run("sick", "healthy", waiting=waiting)
    bound = record.select(ev.SchedulerJobStarted)[0].capacities
    held: Counter[str] = Counter()
    most: Counter[str] = Counter()
    for event in record.select(ev.TaskLeaseAcquired, ev.TaskLeaseReleased):
        column = event.task_id.split("/")[0]
        held[column] += 1 if isinstance(event, ev.TaskLeaseAcquired) else -1
        most[column] = max(most[column], held[column])
    for model in pipeline("sick", "healthy").models:
        assert most[model.alias] <= 16 + 4 == bound[model_resource(model.key)]


def test_f37_while_its_model_is_away_a_task_holds_no_slot_that_others_could_use() -> None:
    record = run("sick", "healthy", slots=24)
    aside: set[str] = set()
    for event in record.events:
        if isinstance(event, ev.TaskSlotsYielded):
            aside.add(event.task_id)
        elif isinstance(event, ev.TaskSlotsRetaken):
            aside.discard(event.task_id)
        elif isinstance(event, ev.ModelRequestStarted):
            assert event.task_id not in aside, "a call goes out only from its slots"
    assert not aside
    assert dd.metrics(record).leased_request_wait_s == pytest.approx(0.0, abs=1e-9)


def test_f08_each_setting_changes_an_event() -> None:
    settings: dict[str, dict[str, Any]] = {
        "advised": {},
        "unadvised": {"request_pressure_advisory": False},
        "holding": {"slots_while_waiting": "hold"},
    }
    workload = find_workload("adaptive-request-pressure")
    kinds = {}
    for name, changed in settings.items():
        record = dd.simulate(workload, workload.config.model_copy(update=changed))
        kinds[name] = Counter(type(event) for event in record.events)
    skips = ev.RequestPressureAdvisorySkipped
    assert kinds["advised"][skips] > 0
    assert kinds["unadvised"][skips] == 0
    assert kinds["advised"][ev.TaskSlotsYielded] == kinds["advised"][ev.TaskSlotsRetaken] > 0
    assert kinds["holding"][ev.TaskSlotsYielded] == 0


def test_no_row_group_is_opened_while_the_only_model_is_away() -> None:
    record = run("sick", rows=2_000)
    assert [e for e in record.select(ev.RowGroupAdmitted) if e.at > 60.0]
    assert not [e for e in record.select(ev.RowGroupAdmitted) if 3.0 < e.at < 60.0]
    assert record.result.summary.finished == 2_000


def several_calls(how: str) -> dd.Pipeline:
    """A column whose tasks make two calls at once, or give one of them up."""

    async def generate(row: dd.Row, context: dd.CallContext) -> int:
        calls = [asyncio.ensure_future(context.chat("m", f"{row.number} {n}")) for n in range(2)]
        if how == "both":
            return len(await asyncio.gather(*calls))
        _, slower = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        for call in slower:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        return len(slower)

    latency = dd.Latency(mean_s=0.2)
    profile = dd.EndpointProfile(model="m", capacity=3, latency=latency)
    return dd.Pipeline(
        columns=[row_ids(), dd.Column("n", needs=["row_id"], models=["m"], generate=generate)],
        models=[dd.Model("m", provider="p", id="m", max_parallel_requests=3)],
        providers=[dd.SimulatedProvider("p", [profile])],
    )


@pytest.mark.parametrize("how", ["both", "the faster"])
@pytest.mark.parametrize("slots", [1, 2, 5])
def test_a_task_of_several_calls_is_aside_only_while_all_of_them_wait(how: str, slots: int) -> None:
    config = dd.RunConfig(max_in_flight_tasks=slots)
    record = dd.simulate(several_calls(how), config, rows=40)
    assert record.result.summary.finished == 40
    flying: Counter[str] = Counter()
    aside: set[str] = set()
    for event in record.events:
        if isinstance(event, ev.TaskSlotsYielded):
            assert event.task_id not in aside
            assert not flying[event.task_id]
            aside.add(event.task_id)
        elif isinstance(event, ev.TaskSlotsRetaken):
            aside.remove(event.task_id)
        elif isinstance(event, ev.ModelRequestStarted):
            assert event.task_id not in aside
            flying[event.task_id or ""] += 1
        elif isinstance(event, ev.ModelRequestCompleted):
            flying[event.task_id or ""] -= 1
    held = dd.metrics(record).scheduler["submission"]
    assert held.max_in_flight <= slots
    assert dd.replay(record).leases == 0


def test_the_law_of_free_slots_notices_one_that_is_left_free() -> None:
    record = run("healthy", rows=40, slots=4)
    law = SlotsLaw(1e-6)
    for event in record.events:
        law.see(event)
    assert law.broken == []
    late = SlotsLaw(1e-6)
    for event in record.events:
        # As if each lease came a tenth of a second after it could have come.
        late.see(
            type(event)(event.at + 0.1, event.sequence, event.task_id, event.lease_id, False)
            if isinstance(event, ev.TaskLeaseAcquired)
            else event
        )
    assert late.broken


def test_the_story_of_a_task() -> None:
    record = dd.simulate("adaptive-request-pressure")
    held = record.explain("a_pressured", 0)
    assert held.task_id == "a_pressured/0/0"
    assert held.outcome == "done"
    told = [step.what for step in held.steps]
    assert told[0] == "has all its inputs, and is queued"
    assert any("is passed over for z_open/0/0" in what for what in told)
    assert any("steps aside" in what for what in told)
    assert told[-1].startswith("gives lease")
    assert len(held.leases) == len(held.permits) == 1
    assert [step.at for step in held.steps] == sorted(step.at for step in held.steps)
    (other,) = held.before
    assert (other.flow, other.tasks) == ("model/zz/open/chat", 1)
    assert "since theirs was open" in other.why
    assert "a_pressured/0/0" in held._repr_html_()
    assert str(held).splitlines()[0].startswith("a_pressured/0/0, of flow")


def test_a_story_tells_refusals_and_their_retries() -> None:
    record = dd.simulate("tight")
    refused = record.select(ev.RequestRateLimited)[0]
    task_id = next(
        e.task_id
        for e in record.select(ev.ModelRequestStarted)
        if (e.pool, e.permit_id) == (refused.pool, refused.permit_id)
    )
    assert task_id is not None
    story = record.explain(task_id)
    assert len(story.permits) >= 2, "one for each attempt"
    assert len(story.leases) == 1, "the executor owns a refused call: its task goes on"
    assert any("is asked to come back after" in step.what for step in story.steps)
    assert any("not before" in step.what for step in story.steps)


def test_a_task_that_is_not_there_is_named() -> None:
    record = dd.simulate("tight", rows=8)
    with pytest.raises(RecordError, match=r"task 'nothing/0/1' is not in the record"):
        record.explain("nothing/0/1")
    with pytest.raises(RecordError, match=r"column 'q1' for row 99"):
        record.explain("q1", 99)


async def test_a_weight_changes_shares_while_the_run_goes_on() -> None:
    async def generate(row: dd.Row) -> int:
        await asyncio.sleep(0.005)
        return row.number

    columns = [
        dd.Column(
            name,
            needs=["row_id"],
            generate=generate,
            scheduling=dd.SchedulingMetadata.custom_model(name),
        )
        for name in ("a", "b")
    ]
    config = dd.RunConfig(max_in_flight_tasks=4, buffer_size=400)
    running = dd.start(dd.Pipeline(columns=[row_ids(), *columns]), rows=400, config=config)
    with pytest.raises(ConfigError, match="did you mean 'a'"):
        running.adjust(weights={"aa": 2.0})
    with pytest.raises(ConfigError, match="finite number above 0"):
        running.adjust(weights={"a": 0.0})
    await asyncio.sleep(0.1)
    running.adjust(weights={"a": 7.0})
    await running
    (changed,) = running.record.select(ev.FlowWeightChanged)
    assert (changed.before, changed.after) == (1.0, 7.0)
    after = [
        event.task_id[0]
        for event in running.record.select(ev.TaskLeaseAcquired)
        if event.at > changed.at
    ][:80]
    counts = Counter(after)
    assert counts["a"] >= 3 * counts["b"], "seven to one, within the granularity of four slots"
    assert running.explain("a", 0).outcome == "done"
    assert dd.replay(running.record).leases == 0


def test_a_deferred_cell_comes_back_at_its_own_time_not_when_its_group_runs_empty() -> None:
    flaky = dd.EndpointProfile(
        model="m",
        capacity=4,
        latency=dd.Latency(mean_s=0.2),
        faults=(dd.Fault(kind="error", share=0.3),),
    )
    work = dd.Pipeline(
        columns=[row_ids(), asking("a", "m")],
        models=[dd.Model("m", provider="p", id="m", max_parallel_requests=4)],
        providers=[dd.SimulatedProvider("p", [flaky])],
    )
    retry = dd.RetryConfig(max_attempts=1, max_deferrals=20, deferral_delay_s=0.5)
    record = dd.simulate(work, dd.RunConfig(retry=retry, disable_early_shutdown=True), rows=200)
    due = {(e.task_id, e.round): e.not_before for e in record.select(ev.RetryDeferred)}
    back = {(e.task_id, e.round): e.at for e in record.select(ev.SalvageRedispatched)}
    assert len(due) >= 30
    assert back == pytest.approx(due)
    first = record.select(ev.ReadyEnqueued)
    assert {e.task_id for e in first} >= {task_id for task_id, _ in due}
    last_cell = max(e.at for e in record.select(ev.TaskCompleted))
    assert sum(at < last_cell / 2 for at in back.values()) > len(back) / 4, "not all at the end"


def test_a_hold_that_cannot_be_is_refused() -> None:
    work = find_workload("tight")
    many = dd.Hold("model-a", until_s=1.0, permits=900)
    held = dd.Workload("held", "more than there is", work.pipeline, rows=4, holds=(many,))
    with pytest.raises(ConfigError, match=r"a hold takes 900 permits .* whose limit is 12"):
        dd.simulate(held)
    with pytest.raises(ConfigError, match=r"hold of model 'nobody'; its models: model-a, model-b"):
        dd.Workload("held", "", work.pipeline, rows=4, holds=(dd.Hold("nobody", 1.0),))
