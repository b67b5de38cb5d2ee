"""Serving as described: rates, requests that slow each other, simulated calls like real ones."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ddsched_nb.clients.base import ChatRequest, EmbeddingRequest, ImageRequest
from ddsched_nb.clients.embedded import EmbeddedEndpoint
from ddsched_nb.clients.latency import Latency
from ddsched_nb.clients.load import EndpointLoad, ModelLoad, Refusal
from ddsched_nb.clients.openai import OpenAICompatibleClient
from ddsched_nb.clients.profile import EndpointProfile, Fault
from ddsched_nb.clients.sharing import SharedServer
from ddsched_nb.clients.simulated import SimulatedClient
from ddsched_nb.errors import ConfigError, ProviderError
from ddsched_nb.sim.loop import new_loop


def virtually(work: Any) -> tuple[Any, float]:
    """What a coroutine returned, and how long it took in virtual seconds."""
    loop = new_loop()
    try:
        return loop.run_until_complete(work), loop.time()
    finally:
        loop.close()


def chat(prompt: str, model: str = "m", **params: Any) -> ChatRequest:
    return ChatRequest(model, ({"role": "user", "content": prompt},), params)


def test_requests_a_minute_are_a_bucket() -> None:
    profile = EndpointProfile(model="m", capacity=100, requests_per_minute=60, burst_s=3)
    load = EndpointLoad([profile])
    came = [load.arrive("m", 10.0) for _ in range(5)]
    assert [isinstance(one, ModelLoad) for one in came] == [True, True, True, False, False]
    assert came[3] == Refusal("requests", pytest.approx(1.0), came[3].quotas)
    assert isinstance(load.arrive("m", 10.9), Refusal)
    assert isinstance(load.arrive("m", 11.0), ModelLoad)


def test_tokens_a_minute_and_a_request_larger_than_the_bucket() -> None:
    profile = EndpointProfile(model="m", tokens_per_minute=600, burst_s=1)
    load = EndpointLoad([profile])
    assert isinstance(load.arrive("m", 0.0, tokens=30), ModelLoad)  # more than 10: all at once
    refused = load.arrive("m", 1.0, tokens=5)
    assert refused == Refusal("tokens", pytest.approx(1.5), refused.quotas)
    assert isinstance(load.arrive("m", 2.5, tokens=5), ModelLoad)


def test_four_share_what_two_would_have() -> None:
    async def main() -> list[float]:
        server = SharedServer(knee=2)
        loop = asyncio.get_running_loop()
        ends: list[float] = []

        async def ask(seconds: float) -> None:
            await server.serve(seconds)
            ends.append(loop.time())

        await asyncio.gather(ask(1), ask(1), ask(1), ask(2))
        return ends

    # Four at half speed until 2 s; then the last runs its second half at full speed.
    assert virtually(main())[0] == pytest.approx([2.0, 2.0, 2.0, 3.0])


def test_a_caller_who_leaves_speeds_the_others_up() -> None:
    async def main() -> float:
        server = SharedServer(knee=1)
        leaving = asyncio.create_task(server.serve(10))
        staying = asyncio.create_task(server.serve(2))
        await asyncio.sleep(2)
        leaving.cancel()
        await staying
        return asyncio.get_running_loop().time()

    assert virtually(main())[0] == pytest.approx(3.0)


def test_latency_by_length_and_heavy_tail() -> None:
    by_length = EndpointProfile(model="m", latency=Latency(mean_s=0.1, per_token_s=0.01))
    assert by_length.latency_s("x", 50) == pytest.approx(0.6)
    heavy = EndpointProfile(model="m", latency=Latency(mean_s=1.0, tail=2.5))
    drawn = sorted(heavy.latency_s(f"p{n}") for n in range(20_000))
    assert sum(drawn) / len(drawn) == pytest.approx(1.0, rel=0.05)
    assert drawn[0] == pytest.approx(0.6, rel=0.01)
    measured = EndpointProfile(model="m", latency=Latency(mean_s=0, quantiles=(1.0, 2.0, 10.0)))
    drawn = sorted(measured.latency_s(f"p{n}") for n in range(4_000))
    assert drawn[2_000] == pytest.approx(2.0, rel=0.05)
    assert (drawn[0], drawn[-1]) == (pytest.approx(1, abs=0.01), pytest.approx(10, abs=0.1))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"mean_s": 1, "sigma": 1, "tail": 2}, "one of sigma, tail and quantiles"),
        ({"mean_s": 1, "quantiles": (2, 1)}, "ascending"),
        ({"mean_s": 1, "tail": 1}, "tail=1"),
    ],
)
def test_what_is_no_latency(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Latency(**fields)


PROFILES = [
    EndpointProfile(
        model="m",
        capacity=2,
        latency=0.002,
        retry_after_s=0.25,
        faults=[
            Fault(kind="error", share=0.15),
            Fault(kind="disconnect", share=0.15),
            Fault(kind="garbage", share=0.15),
            Fault(kind="error", share=0.15, status=400, attempts=None),
        ],
    ),
    EndpointProfile(model="e", domain="embedding", latency=0.001),
    EndpointProfile(model="i", domain="image", latency=0.001),
]


async def everything(client: Any) -> list[Any]:
    """What a client says to many requests, one after the other."""
    requests = [chat(f"Ask about topic {n}.") for n in range(40)]
    requests.append(chat("Reply in JSON.", response_format={"type": "json_object"}))
    requests.append(chat("x", model="nobody"))
    requests.append(chat("x", model="e"))
    said: list[Any] = []
    for request in requests:
        try:
            said.append(await client.chat(request))
        except ProviderError as error:
            said.append((error.kind, error.status, error.retryable, error.retry_after))
    said.append(await client.embed(EmbeddingRequest("e", ("one", "two"), {"dimensions": 5})))
    said.append(await client.image(ImageRequest("i", "a picture", {"size": "8x8"})))
    said.append(await client.models())
    return said


async def test_a_simulated_call_ends_as_the_real_one_does() -> None:
    async with EmbeddedEndpoint(PROFILES) as endpoint:
        client = OpenAICompatibleClient("acme", endpoint.base_url)
        try:
            real = await everything(client)
        finally:
            await client.close()
    loop_time = asyncio.get_running_loop().time
    simulated_client = SimulatedClient("acme", PROFILES)
    simulated = await everything(simulated_client)
    assert simulated == real
    counts = simulated_client.statistics(loop_time())["m"]
    assert counts.requests == counts.ok + counts.faulted
    assert counts.faulted > 5


def test_a_simulated_refusal_says_how_long_to_wait() -> None:
    async def main() -> list[Any]:
        client = SimulatedClient("acme", PROFILES)
        asked = (client.chat(chat(f"topic {n}")) for n in range(3))
        return await asyncio.gather(*asked, return_exceptions=True)

    last = virtually(main())[0][2]
    assert isinstance(last, ProviderError)
    assert (last.kind, last.retry_after) == ("rate_limited", 0.25)


def test_a_hang_ends_at_the_timeout() -> None:
    async def main() -> ProviderError:
        hanging = EndpointProfile(model="m", faults=[Fault(kind="hang", share=1)])
        client = SimulatedClient("acme", [hanging], timeout_s=20)
        with pytest.raises(ProviderError, match="no answer within 20 s") as caught:
            await client.chat(chat("x"))
        assert client.statistics(asyncio.get_running_loop().time())["m"].in_flight == 0
        return caught.value

    error, took = virtually(main())
    assert (error.kind, took) == ("provider_timeout", 20.0)


def test_overhead_comes_on_top() -> None:
    async def main() -> None:
        profile = EndpointProfile(model="m", latency=0.5, overhead_s=0.1)
        await SimulatedClient("acme", [profile]).chat(chat("x"))

    assert virtually(main())[1] == pytest.approx(0.6)
