"""What real endpoints do, over real HTTP: what the limit does, what the row gets, what is retried.

Each case is a line of the table in README.
"""

from __future__ import annotations

import asyncio
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

import ddsched_nb as dd
from ddsched_nb import errors
from ddsched_nb.clients.embedded import EmbeddedEndpoint
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.core import events as ev

FAST = dd.RetryConfig(initial_backoff_s=0.01, deferral_delay_s=0.01)
ROWS = 24


def asking(base_url: str, *, timeout_s: float = 0.4, **model: object) -> dd.Pipeline:
    return dd.Pipeline(
        providers=[dd.OpenAICompatible("local", base_url=base_url, timeout_s=timeout_s)],
        models=[dd.Model("writer", provider="local", id="m", **model)],
        columns=[dd.ModelColumn("text", model="writer", prompt="Write of {{ topic }}.")],
    )


def topics(n: int = ROWS) -> dict[str, list[str]]:
    return {"topic": [f"topic {i}" for i in range(n)]}


def profile(**fields: object) -> EndpointProfile:
    return EndpointProfile(**{"model": "m", "capacity": 32, "latency": 0.01, **fields})


async def finished(endpoint: EmbeddedEndpoint, **config: object) -> dd.Run:
    settings = {"retry": FAST, "disable_early_shutdown": True, **config}
    run = dd.start(asking(endpoint.base_url), table=topics(), config=dd.RunConfig(**settings))
    return await asyncio.wait_for(run._await(), 30)


def dated(seconds: int) -> dict[str, str]:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    later = format_datetime(now + timedelta(seconds=seconds), usegmt=True)
    return {"Retry-After": later, "Date": format_datetime(now, usegmt=True)}


REFUSALS = {
    "nothing": ({}, None),
    "seconds": ({"Retry-After": "0.05"}, 0.05),
    "milliseconds": ({"retry-after-ms": "40"}, 0.04),
    "a date": (dated(1), 1.0),
    "a date that is past": (dated(-5), None),
    "negative": ({"Retry-After": "-3"}, None),
    "text": ({"Retry-After": "soon"}, None),
    "more than a day": ({"Retry-After": "90000"}, None),
}


@pytest.mark.parametrize("headers", REFUSALS)
async def test_a_refusal_drops_no_row_whatever_it_says(headers: str) -> None:
    said, expected = REFUSALS[headers]
    async with EmbeddedEndpoint([profile(capacity=4, refusal_headers=said)]) as endpoint:
        run = await finished(endpoint)
        assert endpoint.stats()["m"].refused > 0
    assert (run.summary().finished, run.summary().dropped) == (ROWS, 0)
    refused = [e for e in run.record.events if isinstance(e, ev.RequestRateLimited)]
    assert {event.retry_after for event in refused} == {expected}
    assert run.summary().limits.retries == 0, "refusals use up no budget"
    waits = {}
    for event in run.record.events:
        if isinstance(event, ev.RequestWaitStarted) and event.not_before:
            waits.setdefault(event.task_id, []).append(event.not_before)
    assert waits, "the refused call waits, and goes out again"


RECOVERS = [
    {"kind": "error", "status": 500},
    {"kind": "error", "status": 502},
    {"kind": "error", "status": 503},
    {"kind": "error", "status": 529},
    {"kind": "disconnect"},
    {"kind": "cut"},
    {"kind": "truncated"},
    {"kind": "garbage"},
    {"kind": "empty"},
    {"kind": "hang"},
    {"kind": "drip"},
]


@pytest.mark.parametrize("fault", RECOVERS, ids=lambda f: f"{f['kind']} {f.get('status', '')}")
async def test_what_may_pass_is_tried_again(fault: dict[str, object]) -> None:
    faults = [{"share": 0.4, "attempts": 1, **fault}]
    async with EmbeddedEndpoint([profile(faults=faults)]) as endpoint:
        run = await finished(endpoint)
        assert endpoint.stats()["m"].faulted + endpoint.stats()["m"].cancelled > 0
    assert (run.summary().finished, run.summary().dropped) == (ROWS, 0)
    (history,) = run.limits.values()
    assert all(point.limit >= 12 for point in history), "what fails is no refusal"


DROPS = {
    400: "HTTP 400",
    404: "HTTP 404.*check base_url",
    413: "HTTP 413",
    422: "HTTP 422",
}


@pytest.mark.parametrize("status", DROPS)
async def test_what_cannot_pass_drops_its_row_at_once(status: int) -> None:
    faults = [{"kind": "error", "status": status, "share": 0.4, "attempts": None}]
    async with EmbeddedEndpoint([profile(faults=faults)]) as endpoint:
        run = await finished(endpoint)
        counts = endpoint.stats()["m"]
    dropped = run.summary().dropped
    assert 0 < dropped < ROWS
    assert counts.requests == ROWS, "none is tried again"
    assert len(run.errors) == dropped
    for error in run.errors:
        with pytest.raises(AssertionError, match=DROPS[status]):
            raise AssertionError(error.reason)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_key_that_is_refused_ends_the_run_at_once(status: int) -> None:
    faults = [{"kind": "error", "status": status, "share": 1.0, "attempts": None}]
    async with EmbeddedEndpoint([profile(faults=faults)]) as endpoint:
        run = dd.start(asking(endpoint.base_url), table=topics(400))
        said = f"HTTP {status}.*check the API key.*no call of this model was served before"
        with pytest.raises(errors.AccessDenied, match=said):
            await asyncio.wait_for(run._await(), 30)
        assert endpoint.stats()["m"].requests < 60, "what was on its way, and no more"
    assert run.state == "failed"


async def test_who_was_served_before_loses_only_what_is_refused() -> None:
    # As some endpoints refuse what their moderation does not like.
    fault = {"kind": "error", "status": 403, "share": 0.3, "attempts": None}
    async with EmbeddedEndpoint([profile(faults=[fault])]) as endpoint:
        pipeline = asking(endpoint.base_url, max_parallel_requests=1)
        # The first row is served, as this endpoint picks whom it refuses by the prompt.
        table = {"topic": [f"thing {i}" for i in range(ROWS)]}
        run = dd.start(pipeline, table=table, config=dd.RunConfig(disable_early_shutdown=True))
        await asyncio.wait_for(run._await(), 30)
        assert endpoint.stats()["m"].requests == ROWS, "none is tried again"
    assert 0 < run.summary().dropped < ROWS
    assert all("HTTP 403" in error.reason for error in run.errors)


async def test_a_redirect_is_not_followed() -> None:
    faults = [{"kind": "redirect", "share": 0.4, "attempts": None}]
    async with EmbeddedEndpoint([profile(faults=faults)]) as endpoint:
        run = await finished(endpoint)
    assert run.summary().dropped > 0
    assert "redirects are not followed" in run.errors[0].reason


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://127.0.0.1:{port}/v1", "the connection was refused"),
        ("http://no-such-host.invalid/v1", "the host name was not found"),
    ],
)
async def test_f16_nobody_there_ends_the_run_and_says_why(address: str, said: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run = dd.start(
        asking(address.format(port=port), timeout_s=10.0),
        table=topics(60),
        config=dd.RunConfig(retry=FAST, shutdown_error_window=10),
    )
    with pytest.raises(errors.TooManyFailures, match=said):
        await asyncio.wait_for(run._await(), 30)


async def test_tls_where_there_is_none_ends_the_run_at_once() -> None:
    async with EmbeddedEndpoint([profile()]) as endpoint:
        address = endpoint.base_url.replace("http:", "https:")
        run = dd.start(
            asking(address), table=topics(60), config=dd.RunConfig(shutdown_error_window=10)
        )
        with pytest.raises(errors.TooManyFailures, match="TLS failed"):
            await asyncio.wait_for(run._await(), 30)
    assert run.summary().limits.retries == 0


async def test_a_server_that_restarts_costs_no_row() -> None:
    first = EmbeddedEndpoint([profile(capacity=8, latency=0.05)]).start()
    port = int(first.base_url.rsplit(":", 1)[1].removesuffix("/v1"))
    run = dd.start(
        asking(first.base_url, timeout_s=5.0, max_parallel_requests=8),
        table=topics(80),
        config=dd.RunConfig(retry=FAST),
    )
    while first.stats()["m"].ok < 16:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await asyncio.to_thread(first.stop)
    await asyncio.sleep(0.6)
    with EmbeddedEndpoint([profile(capacity=8, latency=0.05)], port=port):
        await asyncio.wait_for(run._await(), 60)
    assert (run.summary().finished, run.summary().dropped) == (80, 0)
    kinds = [type(event) for event in run.record.events]
    assert ev.RequestFullyRecovered in kinds, "it was noticed that nobody was there, and again"


async def test_f15_an_endpoint_that_refuses_all_for_a_while_costs_no_row_and_no_storm() -> None:
    steps = ((0.3, 0), (1.5, 8))
    async with EmbeddedEndpoint([profile(capacity=8, steps=steps, retry_after_s=0.05)]) as endpoint:
        run = dd.start(
            asking(endpoint.base_url), table=topics(400), config=dd.RunConfig(retry=FAST)
        )
        await asyncio.wait_for(run._await(), 30)
        counts = endpoint.stats()["m"]
    assert (run.summary().finished, run.summary().dropped) == (400, 0)
    assert counts.refused < 60, "probes, and not a storm"


async def test_a_wait_that_is_too_long_ends_as_stalled_with_what_to_do() -> None:
    headers = {"Retry-After": "3600"}
    steps = ((0.05, 0),)
    async with EmbeddedEndpoint([profile(steps=steps, refusal_headers=headers)]) as endpoint:
        run = dd.start(
            asking(endpoint.base_url),
            table=topics(400),
            config=dd.RunConfig(retry=FAST, stall_timeout_s=0.5),
        )
        with pytest.raises(errors.RunStalled, match=r"served nothing for 0\.5 s"):
            await asyncio.wait_for(run._await(), 30)
    assert run.state == "stalled"
