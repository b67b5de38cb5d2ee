"""Whole runs, as users start them, through the embedded endpoint over real HTTP."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import ddsched_nb as dd
from ddsched_nb import errors
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import Task


@pytest.fixture
async def endpoint() -> AsyncIterator[dd.EmbeddedEndpoint]:
    profiles = [
        dd.EndpointProfile(model="writer-small", capacity=8, latency=0.01, retry_after_s=0.05),
        dd.EndpointProfile(model="judge-small", capacity=4, latency=0.01, retry_after_s=0.05),
    ]
    with dd.EmbeddedEndpoint(profiles) as running:
        yield running


def two_models(endpoint: dd.EmbeddedEndpoint, *, cap: int = 8, **columns: Any) -> dd.Pipeline:
    return dd.Pipeline(
        providers=[dd.OpenAICompatible("local", base_url=endpoint.base_url)],
        models=[
            dd.Model("writer", provider="local", id="writer-small", max_parallel_requests=cap),
            dd.Model("judge", provider="local", id="judge-small", max_parallel_requests=cap),
        ],
        columns=[
            dd.ModelColumn("question", model="writer", prompt="Ask about {{ topic }}."),
            dd.ModelColumn("verdict", model="judge", prompt="Judge: {{ question }}"),
            dd.Column("length", needs=["question"], generate=lambda row: len(row["question"])),
        ],
    )


def topics(n: int) -> dict[str, list[str]]:
    return {"topic": [f"topic {i}" for i in range(n)]}


async def test_a_table_comes_back_whole_and_the_summary_is_true(
    endpoint: dd.EmbeddedEndpoint,
) -> None:
    run = dd.start(two_models(endpoint), table=topics(40))
    assert not run.done, "start returns at once"
    await run
    frame = run.to_pandas()
    assert list(frame.columns) == ["topic", "question", "verdict", "length"]
    assert list(frame["topic"]) == topics(40)["topic"]
    assert (frame["question"].str.len() == frame["length"]).all()
    summary, served = run.summary(), endpoint.stats()
    assert (summary.state, summary.finished, summary.dropped) == ("finished", 40, 0)
    for model, theirs in served.models.items():
        (ours,) = [m for m in summary.models if model in m.name]
        assert (ours.requests, ours.succeeded, ours.refused) == (
            theirs.requests,
            theirs.ok,
            theirs.refused,
        )
        assert theirs.max_in_flight <= 8


async def test_the_same_table_gives_the_same_answers(endpoint: dd.EmbeddedEndpoint) -> None:
    first = await dd.start(two_models(endpoint), table=topics(20))
    second = await dd.start(two_models(endpoint, cap=2), table=topics(20))
    assert first.to_pandas().equals(second.to_pandas())


async def test_a_rate_limit_never_drops_a_row(endpoint: dd.EmbeddedEndpoint) -> None:
    config = dd.RunConfig(request_admission=dd.RequestAdmissionConfig(cooldown_s=0.05))
    run = await dd.start(two_models(endpoint, cap=32), table=topics(80), config=config)
    summary = run.summary()
    assert summary.finished == 80
    assert sum(m.refused for m in summary.models) > 0, "the case must refuse, or proves nothing"
    assert run.record.select(ev.RequestLimitDecreased)


async def test_a_refused_call_is_not_generated_again(endpoint: dd.EmbeddedEndpoint) -> None:
    calls: list[int] = []

    async def ask(row: Any, context: Any) -> str:
        calls.append(row.number)
        completion = await context.chat("judge", f"Grade {row['topic']}")
        return str(completion.text)

    pipeline = dd.Pipeline(
        providers=[dd.OpenAICompatible("local", base_url=endpoint.base_url)],
        models=[dd.Model("judge", provider="local", id="judge-small", max_parallel_requests=24)],
        columns=[dd.Column("grade", needs=["topic"], models=["judge"], generate=ask)],
    )
    run = await dd.start(pipeline, table=topics(40))
    assert sum(m.refused for m in run.summary().models) > 0
    assert sorted(calls) == list(range(40))


async def test_retry_after_binds_the_refused_call(endpoint: dd.EmbeddedEndpoint) -> None:
    run = await dd.start(two_models(endpoint, cap=32), table=topics(60))
    refused = {e.permit_id: e for e in run.record.select(ev.RequestRateLimited)}
    started = run.record.select(ev.ModelRequestStarted)
    tries: dict[str | None, list[ev.ModelRequestStarted]] = {}
    for event in started:
        tries.setdefault(event.task_id, []).append(event)
    assert refused
    for attempts in tries.values():
        for before, after in itertools.pairwise(attempts):
            refusal = refused[before.permit_id]
            assert refusal.retry_after is not None
            assert after.at >= refusal.at + refusal.retry_after - 1e-6


async def test_an_endpoint_that_refuses_for_ever_stalls_with_a_reason() -> None:
    profile = dd.EndpointProfile(
        model="writer-small", capacity=1, steps=[(0.05, 0)], latency=0.01, retry_after_s=0.02
    )
    with dd.EmbeddedEndpoint([profile]) as endpoint:
        pipeline = dd.Pipeline(
            providers=[dd.OpenAICompatible("local", base_url=endpoint.base_url)],
            models=[
                dd.Model("writer", provider="local", id="writer-small", max_parallel_requests=1)
            ],
            columns=[dd.ModelColumn("text", model="writer", prompt="Write of {{ topic }}.")],
        )
        run = dd.start(pipeline, table=topics(200), config=dd.RunConfig(stall_timeout_s=0.5))
        with pytest.raises(errors.RunStalled, match="served nothing") as caught:
            await asyncio.wait_for(run._await(), 20)
    assert "quota" in str(caught.value)
    assert run.state == "stalled"
    assert 0 < run.summary().finished < 200, "finished rows are kept"
    assert len(run.to_pandas()) == run.summary().finished


async def test_a_refused_model_id_drops_rows_with_the_reason(
    endpoint: dd.EmbeddedEndpoint,
) -> None:
    pipeline = dd.Pipeline(
        providers=[dd.OpenAICompatible("local", base_url=endpoint.base_url)],
        models=[dd.Model("ghost", provider="local", id="no-such", max_parallel_requests=2)],
        columns=[dd.ModelColumn("text", model="ghost", prompt="Write of {{ topic }}.")],
    )
    run = await dd.start(pipeline, table=topics(3))
    assert run.summary().dropped == 3
    assert {e.row for e in run.errors} == {0, 1, 2}
    assert all("404" in e.reason for e in run.errors)


async def test_r07_a_bug_names_column_and_row(endpoint: dd.EmbeddedEndpoint) -> None:
    pipeline = dd.Pipeline(
        columns=[dd.Column("x", needs=["topic"], generate=lambda row: row["topik"])]
    )
    run = dd.start(pipeline, table=topics(3))
    with pytest.raises(errors.GeneratorBug, match=r"column 'x' failed at row \d"):
        await run
    assert run.state == "failed"
    assert isinstance(run._error, errors.GeneratorBug)
    assert isinstance(run._error.__cause__, KeyError)


async def test_pause_stops_requests_and_resume_goes_on(endpoint: dd.EmbeddedEndpoint) -> None:
    run = dd.start(two_models(endpoint, cap=4), table=topics(400))
    await asyncio.sleep(0.15)
    run.pause()
    await asyncio.sleep(0.1)
    paused_at = endpoint.stats()["writer-small"].requests
    assert run.state == "paused"
    assert endpoint.stats()["writer-small"].in_flight == 0
    await asyncio.sleep(0.15)
    assert endpoint.stats()["writer-small"].requests == paused_at > 0
    run.resume()
    await run
    assert run.summary().finished == 400


async def test_cancel_keeps_what_is_finished(endpoint: dd.EmbeddedEndpoint) -> None:
    run = dd.start(two_models(endpoint, cap=2), table=topics(400))
    await asyncio.sleep(0.3)
    run.cancel()
    with pytest.raises(errors.RunCancelled):
        await run
    assert run.state == "cancelled"
    assert 0 < len(run.to_pandas()) < 400
    for _ in range(200):  # the endpoint learns of a hung-up call when its socket tells it
        if endpoint.stats()["writer-small"].in_flight == 0:
            break
        await asyncio.sleep(0.01)
    assert endpoint.stats()["writer-small"].in_flight == 0


async def test_controls_may_come_from_any_thread(endpoint: dd.EmbeddedEndpoint) -> None:
    run = dd.start(two_models(endpoint, cap=2), table=topics(400))
    await asyncio.sleep(0.05)
    thread = threading.Thread(target=run.cancel)
    thread.start()
    with pytest.raises(errors.RunCancelled):
        await asyncio.wait_for(run._await(), 5)
    thread.join()


async def test_a_root_column_makes_rows_from_scratch() -> None:
    pipeline = dd.Pipeline(
        columns=[
            dd.Column("n", generate=lambda rows: [r * r for r in rows]),
            dd.Column("next", needs=["n"], generate=lambda row: row["n"] + 1),
        ]
    )
    run = await dd.start(pipeline, rows=1000, config=dd.RunConfig(buffer_size=64))
    assert list(run.to_pandas()["next"]) == [r * r + 1 for r in range(1000)]


async def test_start_says_what_is_wrong() -> None:
    pipeline = dd.Pipeline(columns=[dd.Column("x", needs=["y"], generate=len)])
    with pytest.raises(errors.ConfigError, match="either rows=NUMBER or table=DATAFRAME"):
        dd.start(pipeline)
    with pytest.raises(errors.ConfigError, match="rows is -1"):
        dd.start(pipeline, rows=-1)
    with pytest.raises(errors.UnknownColumnError, match="'y'"):
        dd.start(pipeline, rows=1)


def test_wait_in_a_plain_script() -> None:
    pipeline = dd.Pipeline(columns=[dd.Column("n", generate=list)])
    run = dd.start(pipeline, rows=10).wait()
    assert run.state == "finished"
    assert list(run.to_pandas()["n"]) == list(range(10))


def test_wait_inside_a_running_loop() -> None:
    """As in a notebook cell: plain code waits, on the loop that runs the run."""
    script = """
        import asyncio
        import ddsched_nb as dd

        async def slow(row):
            await asyncio.sleep(0.01)
            return row["n"]

        async def cell():
            pipeline = dd.Pipeline(columns=[
                dd.Column("n", generate=list),
                dd.Column("m", needs=["n"], generate=slow),
            ])
            run = dd.start(pipeline, rows=5)
            print(run.wait().state, list(run.to_pandas()["m"]))

        asyncio.run(cell())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "finished [0, 1, 2, 3, 4]", done.stderr


def test_wait_timeout_lets_the_run_go_on() -> None:
    async def slow(row: Any) -> int:
        await asyncio.sleep(0.2)
        return 1

    pipeline = dd.Pipeline(
        columns=[dd.Column("n", generate=list), dd.Column("m", needs=["n"], generate=slow)]
    )
    run = dd.start(pipeline, rows=1)
    with pytest.raises(TimeoutError):
        run.wait(timeout=0.01)
    assert run.wait().state == "finished"


async def test_record_to_a_file(tmp_path: Any) -> None:
    path = tmp_path / "run.jsonl"
    pipeline = dd.Pipeline(columns=[dd.Column("n", generate=list)])
    run = await dd.start(pipeline, rows=10, config=dd.RunConfig(record=path))
    assert dd.RunRecord.load(path).digest() == run.record.digest()


async def test_no_prompt_answer_or_key_in_events_and_reprs(
    endpoint: dd.EmbeddedEndpoint, tmp_path: Any
) -> None:
    pipeline = dd.Pipeline(
        providers=[
            dd.OpenAICompatible("local", base_url=endpoint.base_url, api_key="sk-CANARYKEY")
        ],
        models=[dd.Model("writer", provider="local", id="writer-small")],
        columns=[dd.ModelColumn("text", model="writer", prompt="CANARYPROMPT {{ topic }}")],
    )
    run = await dd.start(pipeline, table={"topic": ["CANARYROW"] * 5})
    saved = run.record.save(tmp_path / "r.jsonl").read_text()
    shown = " ".join(map(repr, (run, pipeline, run.summary(), run.record, run.config)))
    for text in (saved, shown, *map(repr, pipeline.columns), *map(repr, pipeline.providers)):
        assert "CANARYKEY" not in text
        assert "CANARYROW" not in text
    assert "CANARYPROMPT" not in saved


async def test_a_bug_does_not_wait_for_calls_that_wait_for_admission() -> None:
    """In flight may end; what only waits, here for an hour, ends at once."""
    profile = dd.EndpointProfile(model="writer-small", capacity=1, latency=0.05, retry_after_s=3600)
    with dd.EmbeddedEndpoint([profile]) as endpoint:
        pipeline = dd.Pipeline(
            providers=[dd.OpenAICompatible("local", base_url=endpoint.base_url)],
            models=[dd.Model("writer", provider="local", id="writer-small")],
            columns=[
                dd.ModelColumn("text", model="writer", prompt="Write of {{ topic }}."),
                dd.Column("n", needs=["text"], generate=lambda row: 1 // 0),
            ],
        )
        run = dd.start(pipeline, table=topics(8))
        with pytest.raises(errors.GeneratorBug):
            await asyncio.wait_for(run._await(), 10)


def test_wait_in_a_real_notebook_cell() -> None:
    """A kernel's loop is not an ordinary one, and its cell runs on it."""
    cell = """
import asyncio
import ddsched_nb as dd

async def slow(row):
    await asyncio.sleep(0.01)
    return row["n"]

columns = [dd.Column("n", generate=list), dd.Column("m", needs=["n"], generate=slow)]
run = dd.start(dd.Pipeline(columns=columns), rows=5)
print(run.wait().state, run.to_pandas()["m"].tolist())
"""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell), nbformat.v4.new_code_cell("print(await run)")]
    )
    done = NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    said = [output.get("text") for c in done.cells for output in c.outputs]
    assert said == [
        "finished [0, 1, 2, 3, 4]\n",
        "<Run finished: 5 of 5 rows finished, 0 dropped>\n",
    ]


async def test_f09_scheduler_and_admission_hold_the_very_same_pool_key(
    endpoint: dd.EmbeddedEndpoint,
) -> None:
    run = dd.start(two_models(endpoint), table=topics(2))
    await run
    assert run._engine is not None
    resolve = run._engine.schedule.resolver.resolve
    question = resolve(Task("question", 0, 0), 0)
    (registered,) = [p for p in run._engine.limiter.pools if p.model == "writer-small"]
    assert question.pool is registered
    asked = {id(e.pool) for e in run.record.select(ev.ModelRequestStarted)}
    assert asked == {id(pool) for pool in run._engine.limiter.pools}


async def test_a_generator_that_cancels_itself_drops_its_row_and_says_so() -> None:
    async def gives_up(row: Any) -> int:
        if row.number == 1:
            raise asyncio.CancelledError
        return 1

    pipeline = dd.Pipeline(
        columns=[dd.Column("n", generate=list), dd.Column("m", needs=["n"], generate=gives_up)]
    )
    retry = dd.RetryConfig(deferral_delay_s=0.01)
    run = await dd.start(pipeline, rows=3, config=dd.RunConfig(retry=retry))
    assert [(e.row, e.reason) for e in run.errors] == [(1, "TaskCancelled: its task was cancelled")]
    assert list(run.to_pandas().index) == [0, 2]


async def test_no_rows_and_no_models_make_a_summary_of_one_line() -> None:
    run = await dd.start(dd.Pipeline(columns=[dd.Column("n", generate=list)]), rows=0)
    assert str(run.summary()) == "finished: 0 of 0 rows finished, 0 dropped"


async def test_two_runs_go_on_side_by_side_and_aliases_share_the_least_cap() -> None:
    profile = dd.EndpointProfile(model="m", capacity=8, latency=0.01)
    with dd.EmbeddedEndpoint([profile]) as endpoint:
        pipeline = dd.Pipeline(
            providers=[dd.OpenAICompatible("local", base_url=endpoint.base_url)],
            models=[
                dd.Model("wide", provider="local", id="m", max_parallel_requests=8),
                dd.Model("narrow", provider="local", id="m", max_parallel_requests=2),
            ],
            columns=[
                dd.ModelColumn("x", model="wide", prompt="Ask about {{ topic }}."),
                dd.ModelColumn("y", model="narrow", prompt="Answer {{ x }}."),
            ],
        )
        runs = [dd.start(pipeline, table=topics(20)) for _ in range(2)]
        for run in runs:
            await run
        assert [run.summary().finished for run in runs] == [20, 20]
        assert endpoint.stats()["m"].max_in_flight <= 4


async def test_a_declared_weight_reaches_request_admission(
    endpoint: dd.EmbeddedEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, weights = dd.RequestLimiter.acquire, set()

    async def watched(self: dd.RequestLimiter, pool: Any, **wait: Any) -> Any:
        weights.add((wait["flow"].identity[0], wait["weight"]))
        return await real(self, pool, **wait)

    monkeypatch.setattr(dd.RequestLimiter, "acquire", watched)
    pipeline = dd.Pipeline(
        providers=[dd.OpenAICompatible("local", base_url=endpoint.base_url)],
        models=[dd.Model("writer", provider="local", id="writer-small")],
        columns=[
            dd.ModelColumn(
                name,
                model="writer",
                prompt="Ask about {{ topic }}.",
                scheduling=dd.SchedulingMetadata.custom_model(name, weight=weight),
            )
            for name, weight in (("light", 1.0), ("heavy", 3.0))
        ],
    )
    await dd.start(pipeline, table=topics(3))
    assert weights == {("light", 1.0), ("heavy", 3.0)}
