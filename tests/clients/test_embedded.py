from __future__ import annotations

import asyncio
import json
import socket
import threading
import urllib.error
import urllib.request
from typing import Any

import aiohttp
import pytest

from ddsched_nb.clients.embedded import EmbeddedEndpoint
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.core.model import Usage
from ddsched_nb.errors import ConfigError, ProviderError

QUICK = EndpointProfile(model="quick", capacity=64, latency=0.0)
NARROW = EndpointProfile(model="narrow", capacity=2, latency=0.2, retry_after_s=0.25)
SLOW = EndpointProfile(model="slow", capacity=4, latency=60.0)


async def until(condition: Any) -> None:
    """Waits for what another thread or the other end of a socket brings about."""
    for _ in range(2_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    pytest.fail("it did not come about in 10 s")


def fetch(url: str, data: bytes | None = None) -> tuple[int, Any]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, data=data, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


async def test_a_chat_through_the_client(connect, ask) -> None:
    async with EmbeddedEndpoint([QUICK]) as endpoint:
        client = connect(endpoint.base_url, "sk-any")
        prompt = "Write one sentence about the ford torino."
        first = await client.chat(ask(prompt, "quick"))
        again = await client.chat(ask(prompt, "quick"))
        assert "ford torino" in first.text
        assert first == again
        assert first.usage == Usage(12, -(-len(first.text) // 4))
        assert first.finish_reason == "stop"
        assert (await client.chat(ask(prompt, "quick", max_tokens=2))).finish_reason == "length"


async def test_one_above_capacity_is_refused(connect, ask) -> None:
    async with EmbeddedEndpoint([NARROW, QUICK]) as endpoint:
        client = connect(endpoint.base_url)
        asked = (client.chat(ask(f"Hello {i}.", "narrow")) for i in range(3))
        answers = await asyncio.gather(*asked, return_exceptions=True)
        (refusal,) = [answer for answer in answers if isinstance(answer, BaseException)]
        assert isinstance(refusal, ProviderError)
        assert (refusal.kind, refusal.status, refusal.retry_after) == ("rate_limited", 429, 0.25)
        assert "rate_limit_exceeded" in str(refusal)
        await client.chat(ask(model="quick"))  # each model has a capacity of its own
        counts = endpoint.stats()["narrow"]
        assert (counts.requests, counts.ok, counts.refused) == (3, 2, 1)
        assert (counts.in_flight, counts.max_in_flight) == (0, 2)


async def test_slot_seconds_add_up(connect, ask) -> None:
    async with EmbeddedEndpoint([NARROW]) as endpoint:
        client = connect(endpoint.base_url)
        await asyncio.gather(*(client.chat(ask(f"Hello {i}.", "narrow")) for i in range(2)))
        counts = endpoint.stats()["narrow"]
        # Two answers of 0.2 s each; never less, and not a multiple of it.
        assert 0.39 < counts.in_flight_integral < 2
        assert 0.19 < counts.span_s < 1
        assert 0 < counts.utilization <= 1
        assert endpoint.stats() == endpoint.stats()


async def test_capacity_follows_its_script(connect, ask) -> None:
    stepped = EndpointProfile(model="m", capacity=1, latency=0.3, steps=((0.5, 3),))
    async with EmbeddedEndpoint([stepped]) as endpoint:
        client = connect(endpoint.base_url)

        async def refused(n: int) -> int:
            asked = (client.chat(ask(f"Hello {i}.")) for i in range(n))
            answers = await asyncio.gather(*asked, return_exceptions=True)
            return sum(isinstance(answer, ProviderError) for answer in answers)

        assert await refused(3) == 2
        await asyncio.sleep(0.25)
        assert endpoint.stats()["m"].capacity == 3
        assert await refused(3) == 0
        endpoint.reset()
        assert endpoint.stats()["m"].requests == 0
        assert await refused(3) == 2


async def test_a_caller_that_gives_up_frees_its_slot(connect, ask) -> None:
    async with EmbeddedEndpoint([SLOW]) as endpoint:
        client = connect(endpoint.base_url)
        chats = [asyncio.create_task(client.chat(ask(f"{i}", "slow"))) for i in range(4)]
        await until(lambda: endpoint.stats()["slow"].in_flight == 4)
        chats[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await chats[0]
        await until(lambda: endpoint.stats()["slow"].in_flight == 3)
        assert endpoint.stats()["slow"].cancelled == 1
        for chat in chats[1:]:
            chat.cancel()
        await asyncio.gather(*chats, return_exceptions=True)
        await until(lambda: endpoint.stats()["slow"].in_flight == 0)


async def test_stopping_cuts_off_what_is_in_flight(connect, ask) -> None:
    endpoint = EmbeddedEndpoint([SLOW]).start()
    client = connect(endpoint.base_url)
    chat = asyncio.create_task(client.chat(ask(model="slow")))
    await until(lambda: endpoint.stats()["slow"].in_flight == 1)
    endpoint.stop()
    with pytest.raises(ProviderError) as caught:
        await chat
    assert (caught.value.kind, caught.value.retryable) == ("provider_failure", True)
    assert endpoint.stats()["slow"].requests == 1


async def test_requests_in_flight_at_a_reset_disturb_nobody(connect, ask) -> None:
    async with EmbeddedEndpoint([NARROW]) as endpoint:
        client = connect(endpoint.base_url)
        chat = asyncio.create_task(client.chat(ask(model="narrow")))
        await until(lambda: endpoint.stats()["narrow"].in_flight == 1)
        endpoint.reset()
        await chat
        counts = endpoint.stats()["narrow"]
        assert (counts.requests, counts.ok, counts.in_flight) == (0, 0, 0)


def test_in_a_thread_of_its_own() -> None:
    with EmbeddedEndpoint([QUICK, NARROW]) as endpoint:
        assert endpoint.start() is endpoint
        assert endpoint.running
        body = json.dumps({"model": "quick", "messages": [{"role": "user", "content": "Hi"}]})
        status, answer = fetch(f"{endpoint.base_url}/chat/completions", body.encode())
        assert status == 200
        assert answer["object"] == "chat.completion"
        assert answer["choices"][0]["message"]["role"] == "assistant"
        usage = answer["usage"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
        assert endpoint.stats()["quick"].ok == 1
        running = endpoint.base_url
    assert not endpoint.running
    assert endpoint.stats()["quick"].ok == 1
    assert "ddsched-nb-endpoint" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(urllib.error.URLError):
        fetch(f"{running}/models")
    endpoint.stop()
    with endpoint:
        assert fetch(f"{endpoint.base_url}/models")[0] == 200


def test_models_stats_and_reset() -> None:
    with EmbeddedEndpoint([QUICK, NARROW]) as endpoint:
        root = endpoint.base_url.removesuffix("/v1")
        status, listed = fetch(f"{root}/v1/models")
        assert (status, [model["id"] for model in listed["data"]]) == (200, ["quick", "narrow"])
        body = b'{"model": "quick", "messages": [{"role": "user", "content": "Hi"}]}'
        fetch(f"{root}/v1/chat/completions", body)
        counts = fetch(f"{root}/stats")[1]["models"]["quick"]
        assert counts["requests"] == counts["ok"] == counts["max_in_flight"] == 1
        assert counts["capacity"] == 64
        assert fetch(f"{root}/reset", b"") == (200, {"ok": True})
        assert fetch(f"{root}/stats")[1]["models"]["quick"]["requests"] == 0


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/v1/chat/completions", b'{"model": "x", "messages": []}', 404, "quick"),
        ("/v1/chat/completions", b'{"model": "quick"}', 400, "messages"),
        ("/v1/chat/completions", b"{", 400, "not a request for chat"),
        ("/v1/chat/completions", b"\xff", 400, "not a request for chat"),
        ("/v1/chat/completions", None, 405, "method"),
        ("/v1/embeddings", b"{}", 400, "not a request for embedding"),
        ("/v1/completions", b"{}", 404, "/v1/chat/completions"),
    ],
)
def test_what_is_not_served(path: str, body: bytes | None, status: int, said: str) -> None:
    with EmbeddedEndpoint([QUICK]) as endpoint:
        answered, error = fetch(endpoint.base_url.removesuffix("/v1") + path, body)
        assert answered == status
        assert said in error["error"]["message"]
        assert error["error"]["type"] == "invalid_request_error"
        assert endpoint.stats()["quick"].requests == 0


async def test_messages_of_parts_and_the_last_user_message(connect, ask) -> None:
    async with EmbeddedEndpoint([QUICK]) as endpoint, aiohttp.ClientSession() as session:
        parts = [{"type": "text", "text": "Write about "}, {"type": "text", "text": "the torino."}]
        messages = [
            {"role": "system", "content": "Write about something else."},
            {"role": "user", "content": parts},
            {"role": "assistant", "content": None},
        ]
        async with session.post(
            f"{endpoint.base_url}/chat/completions", json={"model": "quick", "messages": messages}
        ) as response:
            answer = await response.json()
        assert "the torino" in answer["choices"][0]["message"]["content"].lower()


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.168.1.4", "example.com", "localhost."])
def test_only_loopback(host: str) -> None:
    with pytest.raises(ConfigError, match="not a loopback address"):
        EmbeddedEndpoint(host=host)


def test_other_loopback_addresses() -> None:
    with EmbeddedEndpoint(host="localhost") as endpoint:
        assert endpoint.base_url.startswith("http://127.0.0.1:")


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_loopback_of_ipv6() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    with EmbeddedEndpoint(host="::1") as endpoint:
        assert fetch(f"{endpoint.base_url}/models")[0] == 200


def test_a_taken_port_is_named() -> None:
    with EmbeddedEndpoint([QUICK]) as endpoint:
        port = int(endpoint.base_url.split(":")[2].removesuffix("/v1"))
        with pytest.raises(ConfigError, match=f"port {port} "):
            EmbeddedEndpoint([QUICK], port=port).start()
    assert "ddsched-nb-endpoint" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("port", [-1, 65_536, "8000"])
def test_a_port_that_is_none(port: Any) -> None:
    with pytest.raises(ConfigError, match="port="):
        EmbeddedEndpoint(port=port)


def test_profiles_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="empty"):
        EmbeddedEndpoint([])
    with pytest.raises(ConfigError, match="'quick' twice"):
        EmbeddedEndpoint([QUICK, QUICK])


def test_an_address_only_while_running() -> None:
    with pytest.raises(ConfigError, match="not running"):
        _ = EmbeddedEndpoint().base_url


async def test_running_twice_is_refused() -> None:
    with EmbeddedEndpoint([QUICK]) as endpoint:
        with pytest.raises(ConfigError, match="already running"):
            async with endpoint:
                pass
        assert endpoint.running


def test_the_repr_is_the_same_in_each_run() -> None:
    endpoint = EmbeddedEndpoint([QUICK, NARROW])
    assert repr(endpoint) == (
        "<EmbeddedEndpoint stopped: quick (capacity 64), narrow (capacity 2)>"
    )
    with endpoint:
        assert "running" in repr(endpoint)
