"""Admission under a real SDK: the `openai` package against the embedded endpoint, over HTTP."""

from __future__ import annotations

import asyncio
import threading

import httpx
import openai
import pytest

from ddsched_nb.clients.embedded import EmbeddedEndpoint
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.core.model import PoolKey
from ddsched_nb.integrations.httpx_transport import AdmittedTransport, BlockingAdmittedTransport

POOL = PoolKey("any", "m")


def profile(**fields: object) -> EndpointProfile:
    given = {"model": "m", "capacity": 4, "latency": 0.03, "retry_after_s": 0.05, **fields}
    return EndpointProfile(**given)


def client_of(
    endpoint: EmbeddedEndpoint, transport: AdmittedTransport, **options: object
) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=endpoint.base_url,
        api_key="none",
        http_client=httpx.AsyncClient(transport=transport),
        **options,
    )


async def ask(client: openai.AsyncOpenAI, n: int) -> str | None:
    messages = [{"role": "user", "content": f"Write of topic {n}."}]
    answer = await client.chat.completions.create(model="m", messages=messages)
    return answer.choices[0].message.content


async def test_an_sdk_finds_the_capacity_with_one_line_changed() -> None:
    async with EmbeddedEndpoint([profile(capacity=5)]) as endpoint:
        plain = openai.AsyncOpenAI(base_url=endpoint.base_url, api_key="none", max_retries=20)
        async with plain:
            await asyncio.gather(*(ask(plain, n) for n in range(60)))
        refused_without = endpoint.stats()["m"].refused
        endpoint.reset()
        transport = AdmittedTransport()
        async with client_of(endpoint, transport, max_retries=20) as client:
            texts = await asyncio.gather(*(ask(client, n) for n in range(60)))
        counts = endpoint.stats()["m"]
    assert all(texts)
    assert counts.ok == 60
    assert counts.refused < refused_without / 3
    found = transport.statistics()
    assert found.requests == counts.requests == 60 + counts.refused
    assert found.retries == counts.refused, "the SDK's own retries are told apart"
    limiter = transport.limiter
    assert (limiter.permits, limiter.waiting) == (0, 0)
    statistics = limiter.statistics(POOL)
    assert (statistics.succeeded, statistics.refused) == (60, counts.refused)
    assert statistics.tokens > 0, "the usage of each answer was read"


async def test_a_stream_holds_its_permit_until_it_ends() -> None:
    async with EmbeddedEndpoint([profile(latency=0.1)]) as endpoint:
        transport = AdmittedTransport()
        async with client_of(endpoint, transport) as client:
            messages = [{"role": "user", "content": "Write."}]
            stream = await client.chat.completions.create(model="m", messages=messages, stream=True)
            pieces = []
            async for chunk in stream:
                pieces.append(chunk.choices[0].delta.content or "")
                assert len(pieces) > 8 or transport.limiter.permits == 1
            whole = await client.chat.completions.create(model="m", messages=messages)
        assert "".join(pieces) == whole.choices[0].message.content
        assert len([piece for piece in pieces if piece]) > 3, "it came in pieces"
        assert transport.limiter.permits == 0
        assert transport.limiter.statistics(POOL).succeeded == 2


async def test_a_stream_that_is_left_gives_its_permit_back() -> None:
    async with EmbeddedEndpoint([profile(latency=0.3)]) as endpoint:
        transport = AdmittedTransport()
        async with client_of(endpoint, transport) as client:
            stream = await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "Write."}], stream=True
            )
            async for _ in stream:
                break
            await stream.close()
            assert transport.limiter.permits == 0
            assert transport.limiter.statistics(POOL).succeeded == 0


@pytest.mark.parametrize("status", [401, 500])
async def test_an_error_gives_its_permit_back(status: int) -> None:
    faults = [{"kind": "error", "share": 1.0, "status": status, "attempts": None}]
    async with EmbeddedEndpoint([profile(faults=faults)]) as endpoint:
        transport = AdmittedTransport()
        async with client_of(endpoint, transport, max_retries=1) as client:
            with pytest.raises(openai.APIStatusError):
                await ask(client, 1)
        tries = 1 if status == 401 else 2
        assert transport.statistics().retries == tries - 1
        assert transport.limiter.permits == 0
        assert transport.limiter.statistics(POOL).failed == tries


async def test_nobody_there_gives_its_permit_back() -> None:
    transport = AdmittedTransport()
    client = openai.AsyncOpenAI(
        base_url="http://127.0.0.1:9/v1",
        api_key="none",
        max_retries=0,
        http_client=httpx.AsyncClient(transport=transport),
    )
    async with client:
        with pytest.raises(openai.APIConnectionError):
            await ask(client, 1)
    assert transport.limiter.permits == 0
    assert transport.limiter.statistics(POOL).failed == 1


async def test_what_names_no_model_passes() -> None:
    async with EmbeddedEndpoint([profile()]) as endpoint:
        transport = AdmittedTransport()
        async with client_of(endpoint, transport) as client:
            assert [model.id async for model in client.models.list()] == ["m"]
        assert transport.statistics() == (0, 0, 1)


def test_plain_threads_share_the_limit() -> None:
    with EmbeddedEndpoint([profile(capacity=3)]) as endpoint:
        transport = BlockingAdmittedTransport()
        client = openai.OpenAI(
            base_url=endpoint.base_url,
            api_key="none",
            max_retries=20,
            http_client=httpx.Client(transport=transport),
        )
        texts: list[str | None] = []

        def ask_some(start: int) -> None:
            for n in range(start, start + 5):
                messages = [{"role": "user", "content": f"Write of topic {n}."}]
                answer = client.chat.completions.create(model="m", messages=messages)
                texts.append(answer.choices[0].message.content)

        threads = [threading.Thread(target=ask_some, args=(5 * n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        client.close()
        counts = endpoint.stats()["m"]
    assert len(texts) == 40
    assert (counts.ok, counts.max_in_flight) == (40, 3)
    assert transport.statistics().requests == counts.requests
