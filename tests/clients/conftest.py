"""Real parts for client tests: raw loopback servers that misbehave on purpose, and clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from ddsched_nb.clients.base import ChatRequest
from ddsched_nb.clients.openai import OpenAICompatibleClient

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Reads one HTTP request; returns its head and its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    return head, await reader.readexactly(length)


def response(
    status: int, body: bytes, content_type: str = "application/json", **headers: str
) -> bytes:
    """The bytes of an HTTP response."""
    lines = [f"HTTP/1.1 {status} Any", f"Content-Type: {content_type}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Script], Awaitable[str]]]:
    """Starts a raw server that runs a script for each connection; gives its address."""
    async with AsyncExitStack() as stack:

        async def start(script: Script) -> str:
            async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                try:
                    await script(reader, writer)
                except (ConnectionError, asyncio.IncompleteReadError):
                    pass  # the client hung up first
                finally:
                    writer.close()

            server = await asyncio.start_server(run, "127.0.0.1", 0)
            stack.callback(server.close)
            return f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

        yield start


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., OpenAICompatibleClient]]:
    """Makes clients that are closed after the test."""
    async with AsyncExitStack() as stack:

        def make(base_url: str, api_key: str | None = None, **options: Any) -> Any:
            client = OpenAICompatibleClient("acme", base_url, api_key, **options)
            stack.push_async_callback(client.close)
            return client

        yield make


@pytest.fixture
def answering(
    serve: Callable[[Script], Awaitable[str]], connect: Callable[..., OpenAICompatibleClient]
) -> Callable[..., Awaitable[OpenAICompatibleClient]]:
    """Makes a client of a server that answers each request with these bytes."""

    async def make(raw: bytes, **options: Any) -> OpenAICompatibleClient:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(raw)
            await writer.drain()

        return connect(f"http://{await serve(script)}/v1", **options)

    return make


@pytest.fixture
def ask() -> Callable[..., ChatRequest]:
    """Makes a request of one user message."""

    def make(prompt: str = "Hello.", model: str = "m", **params: Any) -> ChatRequest:
        return ChatRequest(model, ({"role": "user", "content": prompt},), params)

    return make


@pytest.fixture
def http() -> Any:
    """The helpers of raw servers, since test modules cannot import this one."""

    class Http:
        pass

    Http.response = staticmethod(response)  # type: ignore[attr-defined]
    Http.read_request = staticmethod(read_request)  # type: ignore[attr-defined]
    return Http
