"""Injected faults: who is hit, how it shows to a client, and that the counts stay exact."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ddsched_nb.clients.base import EmbeddingRequest
from ddsched_nb.clients.embedded import EmbeddedEndpoint
from ddsched_nb.clients.faults import FaultCounter
from ddsched_nb.clients.profile import EndpointProfile, Fault
from ddsched_nb.errors import ConfigError, ProviderError


def faulty(**fault: Any) -> EndpointProfile:
    fault = {"share": 1.0, **fault}
    return EndpointProfile(model="m", capacity=4, latency=0.001, faults=[fault])


def test_who_is_hit_depends_on_the_prompt_alone() -> None:
    profile = EndpointProfile(
        model="m",
        faults=[Fault(kind="error", share=0.2), Fault(kind="garbage", share=0.1, attempts=None)],
    )
    prompts = [f"prompt {n}" for n in range(3_000)]
    kinds = {p: fault.kind for p in prompts if (fault := profile.fault(p)) is not None}
    assert 0.17 < sum(k == "error" for k in kinds.values()) / 3_000 < 0.23
    assert 0.08 < sum(k == "garbage" for k in kinds.values()) / 3_000 < 0.12
    forward, backward = FaultCounter(profile), FaultCounter(profile)
    one = {p: forward.next(p) for p in prompts}
    other = {p: backward.next(p) for p in reversed(prompts)}
    assert one == other
    reseeded = profile.model_copy(update={"seed": 1})
    others = {p for p in prompts if reseeded.fault(p) is not None}
    assert others != set(kinds)


def test_the_first_attempts_go_wrong_and_then_no_more() -> None:
    counter = FaultCounter(faulty(kind="error", attempts=2))
    assert [counter.next("x") is not None for _ in range(5)] == [True, True, False, False, False]
    always = FaultCounter(faulty(kind="error", attempts=None))
    assert all(always.next("x") for _ in range(5))


@pytest.mark.parametrize(
    ("fault", "said", "retryable"),
    [
        ({"kind": "error"}, r"HTTP 503 \(server_error/injected_fault\)", True),
        ({"kind": "error", "status": 400}, "HTTP 400", False),
        ({"kind": "disconnect"}, "the connection broke", True),
        ({"kind": "garbage"}, "not a chat completion, content type text/html", True),
    ],
)
async def test_how_a_fault_shows(connect, ask, fault, said, retryable) -> None:
    async with EmbeddedEndpoint([faulty(**fault)]) as endpoint:
        client = connect(endpoint.base_url)
        with pytest.raises(ProviderError, match=said) as caught:
            await client.chat(ask("CANARY"))
        assert caught.value.retryable is retryable
        assert "CANARY" not in str(caught.value)
        assert (await client.chat(ask("CANARY"))).text  # the second attempt
        counts = endpoint.stats()["m"]
        assert (counts.requests, counts.ok, counts.faulted, counts.in_flight) == (2, 1, 1, 0)


async def test_off_schema_is_prose_where_json_was_wanted(connect, ask) -> None:
    schema = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}
    async with EmbeddedEndpoint([faulty(kind="off_schema")]) as endpoint:
        client = connect(endpoint.base_url)
        first = await client.chat(ask("Describe it.", response_format=schema))
        again = await client.chat(ask("Describe it.", response_format=schema))
        assert not first.text.startswith("{")
        assert again.text.startswith("{")
        plain = await client.chat(ask("Another."))
        assert plain.text  # without a schema there is nothing to be off
        assert endpoint.stats()["m"].faulted == 1


async def test_an_embedding_model_has_faults_too(connect) -> None:
    profile = faulty(kind="off_schema").model_copy(update={"domain": "embedding"})
    async with EmbeddedEndpoint([profile]) as endpoint:
        with pytest.raises(ProviderError, match="no embeddings, content type text/html"):
            await connect(endpoint.base_url).embed(EmbeddingRequest("m", ("x",)))


async def test_a_hang_ends_with_its_caller_and_gives_the_slot_back(connect, ask) -> None:
    async with EmbeddedEndpoint([faulty(kind="hang")]) as endpoint:
        client = connect(endpoint.base_url, timeout_s=0.1)
        with pytest.raises(ProviderError, match=r"no answer within 0\.1 s"):
            await client.chat(ask("x"))
        for _ in range(2_000):
            if not endpoint.stats()["m"].in_flight:
                break
            await asyncio.sleep(0.005)
        counts = endpoint.stats()["m"]
        assert (counts.faulted, counts.cancelled, counts.in_flight) == (1, 0, 0)


async def test_every_request_is_counted_once(connect, ask) -> None:
    profile = EndpointProfile(
        model="m",
        capacity=3,
        latency=0.002,
        faults=[Fault(kind="error", share=0.3), Fault(kind="disconnect", share=0.2)],
    )
    async with EmbeddedEndpoint([profile]) as endpoint:
        client = connect(endpoint.base_url)
        calls = (client.chat(ask(f"prompt {n}")) for n in range(60))
        ends = await asyncio.gather(*calls, return_exceptions=True)
        counts = endpoint.stats()["m"]
        assert counts.requests == 60
        assert counts.requests == counts.ok + counts.refused + counts.faulted + counts.cancelled
        assert counts.ok == sum(not isinstance(end, ProviderError) for end in ends)
        assert counts.faulted > 0
        assert counts.refused > 0


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "error", "share": 1.5}, "share=1.5"),
        ({"kind": "error", "share": 0.5, "status": 429}, "429 is a refusal"),
        ({"kind": "late", "share": 0.5}, "kind='late'"),
        ({"kind": "error", "share": 0.5, "attempts": 0}, "attempts=0"),
    ],
)
def test_what_is_no_fault(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Fault(**fields)


def test_shares_add_up_to_at_most_one() -> None:
    half = {"kind": "error", "share": 0.6}
    with pytest.raises(ConfigError, match=r"add up to 1\.2"):
        EndpointProfile(model="m", faults=[half, half])
