from __future__ import annotations

import asyncio
import json
import logging
import traceback
from typing import Any

import pytest

from ddsched_nb.clients.base import ModelClient
from ddsched_nb.clients.openai import OpenAICompatibleClient
from ddsched_nb.core.model import Usage
from ddsched_nb.errors import ConfigError, ProviderError

CANARY = "sk-canary-0123456789"
GOOD = {
    "id": "x",
    "model": "m-2026",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi."}}
    ],
    "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
    "system_fingerprint": None,
}


def body(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def choice(**message: Any) -> dict[str, Any]:
    return {"finish_reason": "length", "message": message}


async def failure(client: OpenAICompatibleClient, request: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await client.chat(request)
    return caught.value


async def test_a_completion(answering, ask, http) -> None:
    client = await answering(http.response(200, body()))
    completion = await client.chat(ask())
    assert completion.text == "Hi."
    assert completion.usage == Usage(7, 2)
    assert (completion.finish_reason, completion.model) == ("stop", "m-2026")
    assert isinstance(client, ModelClient)


@pytest.mark.parametrize(
    ("changes", "text", "usage"),
    [
        ({"usage": None}, "Hi.", Usage(0, 0)),
        ({"usage": {"prompt_tokens": 3, "completion_tokens": None}}, "Hi.", Usage(3, 0)),
        ({"choices": [choice(content=None)]}, "", Usage(7, 2)),
        ({"choices": [choice(tool_calls=[])]}, "", Usage(7, 2)),
        ({"choices": [choice(content=[{"type": "text", "text": "A"}, {"text": "B"}])]}, "AB", None),
        ({"model": None}, "Hi.", None),
    ],
)
async def test_what_servers_leave_out(answering, ask, http, changes, text, usage) -> None:
    completion = await (await answering(http.response(200, body(**changes)))).chat(ask())
    assert completion.text == text
    assert usage is None or completion.usage == usage
    assert completion.model in ("m-2026", "m")


async def test_what_is_sent(serve, connect, ask, http) -> None:
    seen = []

    async def script(reader, writer) -> None:
        seen.append(await http.read_request(reader))
        writer.write(http.response(200, body()))
        await writer.drain()

    address = await serve(script)
    client = connect(f"http://{address}/api/v1?version=3", CANARY, headers={"X-Team": "blue"})
    await client.chat(ask("Hi", temperature=0.5, extra_body={"top_k": 4}))
    head, sent = seen[0]
    assert head.startswith(b"POST /api/v1/chat/completions?version=3 HTTP/1.1\r\n")
    assert f"Authorization: Bearer {CANARY}".encode() in head
    assert b"X-Team: blue" in head
    assert json.loads(sent) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "temperature": 0.5,
        "top_k": 4,
    }


async def test_a_body_above_a_megabyte(serve, connect, ask, http) -> None:
    sizes = []

    async def script(reader, writer) -> None:
        sizes.append(len((await http.read_request(reader))[1]))
        writer.write(http.response(200, body()))
        await writer.drain()

    client = connect(f"http://{await serve(script)}/v1")
    await client.chat(ask("x" * 2**21))
    assert sizes[0] > 2**21


async def test_connections_are_kept(serve, connect, ask, http) -> None:
    connections = 0

    async def script(reader, writer) -> None:
        nonlocal connections
        connections += 1
        for _ in range(3):
            await http.read_request(reader)
            writer.write(http.response(200, body()))
            await writer.drain()

    client = connect(f"http://{await serve(script)}/v1")
    for _ in range(3):
        await client.chat(ask())
    assert connections == 1


async def test_nothing_queues_inside_the_client(serve, connect, ask, http) -> None:
    # aiohttp's own default would hold back the 101st.
    waiting, everybody_is_here = 0, asyncio.Event()

    async def script(reader, writer) -> None:
        nonlocal waiting
        await http.read_request(reader)
        waiting += 1
        if waiting == 150:
            everybody_is_here.set()
        await everybody_is_here.wait()
        writer.write(http.response(200, body()))
        await writer.drain()

    client = connect(f"http://{await serve(script)}/v1")
    await asyncio.wait_for(asyncio.gather(*(client.chat(ask()) for _ in range(150))), 30)


async def test_a_refusal_with_retry_after(answering, ask, http) -> None:
    said = b'{"error": {"message": "my prompt", "type": "rate_limit_error", "code": "slow_down"}}'
    client = await answering(http.response(429, said, Retry_After="2"))
    error = await failure(client, ask())
    assert (error.kind, error.status, error.retryable) == ("rate_limited", 429, True)
    assert error.retry_after == 2.0
    assert str(error) == "acme/m: HTTP 429 (rate_limit_error/slow_down)"
    assert "my prompt" in error.detail


async def test_a_server_error_is_not_tried_again_inside(serve, connect, ask, http) -> None:
    attempts = 0

    async def script(reader, writer) -> None:
        nonlocal attempts
        await http.read_request(reader)
        attempts += 1
        writer.write(http.response(503, b"", Retry_After="4"))
        await writer.drain()

    error = await failure(connect(f"http://{await serve(script)}/v1"), ask())
    assert (error.kind, error.retryable, error.retry_after) == ("provider_failure", True, 4.0)
    assert attempts == 1


@pytest.mark.parametrize(
    ("raw", "content_type"),
    [
        (b"", "application/json"),
        (b"{", "application/json"),
        (b"\xff\xfe", "application/json"),
        (b"[]", "application/json"),
        (b'{"choices": []}', "application/json"),
        (b'{"choices": [{}]}', "application/json"),
        (b'{"choices": [{"message": {"content": 3}}]}', "application/json"),
        (b"<html>my prompt</html>", "text/html"),
        (b"data: {}\n\n", "text/event-stream"),
    ],
)
async def test_an_answer_that_is_none(answering, ask, http, raw, content_type) -> None:
    error = await failure(await answering(http.response(200, raw, content_type)), ask())
    assert (error.kind, error.status, error.retryable) == ("provider_failure", 200, True)
    assert f"content type {content_type}" in str(error)
    assert "my prompt" not in str(error)


async def test_an_error_inside_a_good_status(answering, ask, http) -> None:
    raw = b'{"error": {"code": 429, "message": "slow"}}'
    assert (await failure(await answering(http.response(200, raw)), ask())).kind == "rate_limited"


async def test_redirects_are_not_followed(answering, ask, http) -> None:
    client = await answering(http.response(307, b"", Location="http://127.0.0.1:1/"))
    error = await failure(client, ask())
    assert (error.status, error.retryable) == (307, False)
    assert "base_url" in str(error)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
    ],
    ids=["closed", "malformed", "truncated", "truncated-chunk", "bad-gzip"],
)
async def test_a_broken_response(answering, ask, raw: bytes) -> None:
    error = await failure(await answering(raw), ask())
    assert (error.kind, error.retryable) == ("provider_failure", True)
    assert error.status is None


async def test_a_reset_connection(serve, connect, ask) -> None:
    async def script(reader, writer) -> None:
        await reader.read(10)
        writer.transport.abort()

    error = await failure(connect(f"http://{await serve(script)}/v1"), ask())
    assert (error.kind, error.retryable) == ("provider_failure", True)


async def test_a_refused_connection(unused_port, connect, ask) -> None:
    error = await failure(connect(f"http://127.0.0.1:{unused_port}/v1"), ask())
    assert (error.kind, error.retryable) == ("provider_failure", True)
    assert "is the endpoint running?" in str(error)


@pytest.fixture
async def unused_port() -> int:
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_r12_no_answer_in_time(serve, connect, ask) -> None:
    client = connect(f"http://{await serve(silence)}/v1", timeout_s=0.05)
    error = await failure(client, ask())
    assert (error.kind, error.status, error.retryable) == ("provider_timeout", None, True)
    assert "no answer within 0.05 s (timeout_s)" in str(error)


async def test_no_connection_in_time(serve, connect, ask) -> None:
    # A server that never answers the TLS handshake.
    client = connect(f"https://{await serve(silence)}/v1", connect_timeout_s=0.05)
    error = await failure(client, ask())
    assert (error.kind, error.retryable) == ("provider_timeout", True)
    assert "no connection within 0.05 s (connect_timeout_s)" in str(error)


async def test_tls_with_a_server_that_has_none(answering, serve, connect, ask, http) -> None:
    async def script(reader, writer) -> None:
        await reader.read(100)
        writer.write(http.response(400, b""))
        await writer.drain()

    error = await failure(connect(f"https://{await serve(script)}/v1"), ask())
    assert (error.kind, error.retryable) == ("provider_failure", False)
    assert "TLS" in str(error)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 401 No\r\nContent-Length: 82\r\n\r\n"
        b'{"error": {"code": "sk-canary-0123456789", "message": "key sk-canary-0123456789"}}',
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nsk-canary-0123456789",
        b"sk-canary-0123456789\r\n\r\n",
        b"",
    ],
    ids=["401", "echo", "malformed", "closed"],
)
async def test_the_key_is_never_shown(answering, ask, raw, caplog, monkeypatch) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    monkeypatch.setenv("ACME_KEY", CANARY)
    client = await answering(raw, api_key="env:ACME_KEY")
    error = await failure(client, ask("a secret prompt"))
    shown = [repr(client), str(client), str(error), repr(error), error.detail, caplog.text]
    shown += traceback.format_exception(error)
    seen: BaseException | None = error
    while seen is not None:  # pytest and debuggers show the repr of what is chained
        shown += [repr(seen), str(vars(seen))]
        seen = seen.__cause__ or seen.__context__
    assert CANARY not in "".join(shown)
    assert "secret prompt" not in "".join(shown)


async def test_a_prompt_that_is_no_text_drops_its_row_only(connect, ask) -> None:
    error = await failure(connect("http://127.0.0.1:1/v1"), ask("my secret \ud800"))
    assert not error.retryable
    assert "secret" not in str(error)
    assert error.__context__ is None


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"temperature": object()}, "JSON"),
        ({"stream": True}, "'stream'"),
        ({"messages": []}, "'messages'"),
        ({"extra_body": {"model": "other"}}, "'model'"),
        ({"extra_body": 3}, "extra_body"),
    ],
)
async def test_params_that_cannot_be_sent(connect, ask, params, named) -> None:
    request = ask()
    with pytest.raises(ConfigError, match=named):
        await connect("http://127.0.0.1:1/v1").chat(
            type(request)(request.model, request.messages, params)
        )


@pytest.mark.parametrize(
    "base_url", ["", "api.example.com/v1", "ftp://x/v1", "http://", "http://u:secret@x/v1", None, 3]
)
def test_an_address_that_is_none(base_url: Any) -> None:
    with pytest.raises(ConfigError, match="base_url of provider 'acme'") as caught:
        OpenAICompatibleClient("acme", base_url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan"), "3", None])
@pytest.mark.parametrize("field", ["timeout_s", "connect_timeout_s"])
def test_a_timeout_that_is_none(field: str, seconds: Any) -> None:
    with pytest.raises(ConfigError, match=field):
        OpenAICompatibleClient("acme", "http://x/v1", **{field: seconds})


def test_the_repr_has_no_query() -> None:
    client = OpenAICompatibleClient("acme", "https://x/v1?key=secret", "sk-1")
    assert repr(client) == (
        "<OpenAICompatibleClient 'acme' at https://x/v1, <ApiKey from the api_key argument>>"
    )


async def proxy_script(http, seen, reader, writer) -> None:
    seen.append((await http.read_request(reader))[0])
    writer.write(http.response(200, body()))
    await writer.drain()


async def test_a_proxy_from_the_environment(serve, connect, ask, http, monkeypatch) -> None:
    seen: list[bytes] = []
    address = await serve(lambda r, w: proxy_script(http, seen, r, w))
    monkeypatch.setenv("HTTP_PROXY", f"http://user:word@{address}")
    monkeypatch.setenv("http_proxy", f"http://user:word@{address}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    await connect("http://api.example.test/v1").chat(ask())
    assert seen[0].startswith(b"POST http://api.example.test/v1/chat/completions HTTP/1.1")
    assert b"proxy-authorization: basic dxnlcjp3b3jk" in seen[0].lower()


@pytest.mark.parametrize(("status", "retryable"), [(407, False), (502, True)])
async def test_a_proxy_that_refuses(serve, connect, ask, status, retryable) -> None:
    async def script(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()

    proxy = f"http://{await serve(script)}"
    error = await failure(connect("https://api.example.test/v1", proxy=proxy), ask())
    assert (error.kind, error.retryable) == ("provider_failure", retryable)
    assert f"the proxy refused the connection with status {status}" in str(error)


async def test_loopback_is_never_sent_through_a_proxy(answering, ask, http, monkeypatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    client = await answering(http.response(200, body()))
    assert (await client.chat(ask())).text == "Hi."


async def test_a_client_may_be_closed_twice_and_used_again(answering, ask, http) -> None:
    client = await answering(http.response(200, body()))
    await client.close()
    await client.chat(ask())
    await client.close()
    await client.close()
    assert (await client.chat(ask())).text == "Hi."


async def test_a_client_belongs_to_one_loop(answering, ask, http) -> None:
    client = await answering(http.response(200, body()))
    await client.chat(ask())
    with pytest.raises(ConfigError, match="another event loop"):
        await asyncio.to_thread(asyncio.run, client.chat(ask()))
