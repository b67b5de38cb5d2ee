"""Limits of a run: time, retries, failing cells; and the check of models before it."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

import ddsched_nb as dd
from ddsched_nb import errors

FAST = dd.RetryConfig(initial_backoff_s=0.001, deferral_delay_s=0.001)


def asking(base_url: str, **model: Any) -> dd.Pipeline:
    return dd.Pipeline(
        providers=[dd.OpenAICompatible("local", base_url=base_url)],
        models=[dd.Model("writer", provider="local", id="m", **model)],
        columns=[dd.ModelColumn("text", model="writer", prompt="Write of {{ topic }}.")],
    )


def topics(n: int) -> dict[str, list[str]]:
    return {"topic": [f"topic {i}" for i in range(n)]}


@pytest.fixture
def closed_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


async def test_a_run_ends_after_its_time_and_keeps_what_is_finished() -> None:
    async def slow(row: dd.Row) -> int:
        await asyncio.sleep(0 if row["n"] < 4 else 3600)
        return 1

    pipeline = dd.Pipeline(
        columns=[dd.Column("n", generate=list), dd.Column("m", needs=["n"], generate=slow)]
    )
    config = dd.RunConfig(buffer_size=4, run_timeout_s=0.3)
    run = dd.start(pipeline, rows=8, config=config)
    with pytest.raises(errors.RunTimeout, match=r"run_timeout_s=0\.3"):
        await asyncio.wait_for(run._await(), 10)
    assert run.state == "timed_out"
    assert list(run.to_pandas().index) == [0, 1, 2, 3]
    summary = run.summary()
    assert (summary.finished, summary.open, summary.limits.run_timeout_s) == (4, 4, 0.3)
    assert "of at most 0.3 s" in str(summary)


async def test_a_dead_endpoint_ends_the_run_early(closed_port: str) -> None:
    config = dd.RunConfig(retry=FAST, shutdown_error_window=10)
    run = dd.start(asking(closed_port), table=topics(500), config=config)
    with pytest.raises(
        errors.TooManyFailures, match=r"column 'text': 10 of its last 10 cells .* refused"
    ):
        await asyncio.wait_for(run._await(), 30)
    assert run.state == "failed"
    assert 10 <= run.summary().dropped < 100
    assert run.summary().limits.shutdown_error_rate == 0.5


async def test_it_goes_on_where_early_shutdown_is_disabled(closed_port: str) -> None:
    config = dd.RunConfig(retry=FAST, disable_early_shutdown=True)
    run = await dd.start(asking(closed_port), table=topics(60), config=config)
    assert run.summary().dropped == 60
    assert run.summary().limits.shutdown_error_rate is None


async def test_rows_dropped_on_purpose_never_end_a_run() -> None:
    def unwanted(row: dd.Row) -> int:
        raise dd.RowDropped("not wanted")

    columns = [dd.Column("n", generate=list), dd.Column("m", needs=["n"], generate=unwanted)]
    run = await dd.start(dd.Pipeline(columns=columns), rows=200)
    assert run.summary().dropped == 200


async def test_f20_refusals_never_drop_a_row_and_never_end_a_run() -> None:
    """A small endpoint that refuses most of what it gets, with a window of one cell."""
    profile = dd.EndpointProfile(model="m", capacity=1, latency=0.002, retry_after_s=0.005)
    with dd.EmbeddedEndpoint([profile]) as endpoint:
        config = dd.RunConfig(
            request_admission=dd.RequestAdmissionConfig(limit="fixed", cooldown_s=0.0),
            shutdown_error_window=1,
            shutdown_error_rate=0.01,
            retry=dd.RetryConfig(budget=0),
        )
        pipeline = asking(endpoint.base_url, max_parallel_requests=16)
        run = await dd.start(pipeline, table=topics(100), config=config)
        assert (run.summary().finished, run.summary().dropped) == (100, 0)
        assert endpoint.stats()["m"].refused > 10
        assert run.summary().limits.retries == 0


async def test_a_spent_retry_budget_drops_at_once(closed_port: str) -> None:
    retry = dd.RetryConfig(
        max_attempts=4, initial_backoff_s=0.001, deferral_delay_s=0.001, budget=7
    )
    config = dd.RunConfig(retry=retry, disable_early_shutdown=True)
    run = await dd.start(asking(closed_port), table=topics(30), config=config)
    summary = run.summary()
    assert summary.dropped == 30
    assert (summary.limits.retries, summary.limits.retry_budget) == (7, 7)
    assert summary.models[0].requests == 30 + 7
    assert "7 of at most 7 retries" in str(summary)


# --- healthchecks ---------------------------------------------------------------------------


async def test_a_healthcheck_fails_before_anything_runs(closed_port: str) -> None:
    ran: list[int] = []
    pipeline = dd.Pipeline(
        providers=[dd.OpenAICompatible("local", base_url=closed_port)],
        models=[dd.Model("writer", provider="local", id="m", healthcheck=True)],
        columns=[
            dd.Column("n", generate=lambda rows: (ran.append(1), list(rows))[1]),
            dd.ModelColumn("text", model="writer", prompt="Write of {{ n }}."),
        ],
    )
    run = dd.start(pipeline, rows=50, config=dd.RunConfig(retry=FAST))
    with pytest.raises(
        errors.HealthcheckFailed, match=r"'writer': local/m: the connection was refused"
    ):
        await asyncio.wait_for(run._await(), 10)
    assert run.state == "failed"
    assert not ran
    assert "nothing was run" in str(run.summary())


async def test_a_wrong_model_id_is_said_before_the_first_row() -> None:
    with dd.EmbeddedEndpoint([dd.EndpointProfile(model="other", latency=0.001)]) as endpoint:
        run = dd.start(asking(endpoint.base_url, healthcheck=True), table=topics(5))
        with pytest.raises(errors.HealthcheckFailed, match=r"404.*check base_url"):
            await run


async def test_a_healthcheck_goes_through_a_pool_of_its_own() -> None:
    with dd.EmbeddedEndpoint([dd.EndpointProfile(model="m", latency=0.001)]) as endpoint:
        run = await dd.start(asking(endpoint.base_url, healthcheck=True), table=topics(5))
        assert {m.name: m.requests for m in run.summary().models} == {
            "local/m/chat": 5,
            "local/m/healthcheck": 1,
        }
        assert endpoint.stats()["m"].ok == 6
