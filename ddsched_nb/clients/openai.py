"""A client of OpenAI-compatible endpoints, on aiohttp.

Decides how one attempt goes over the wire. Exactly one: it never tries again, never queues (the
connector has no limit; what may be in flight is admission's business) and logs nothing.
"""

from __future__ import annotations

import asyncio
import io
import ipaddress
import math
import ssl as ssl_module
import urllib.request
from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from ddsched_nb.clients.answers import AnswerReader, Response
from ddsched_nb.clients.base import (
    ChatRequest,
    Completion,
    EmbeddingRequest,
    Embeddings,
    ImageRequest,
    Images,
)
from ddsched_nb.clients.failures import FailureReader
from ddsched_nb.clients.keys import ApiKey
from ddsched_nb.errors import ConfigError

__all__ = ["OpenAICompatibleClient"]

_KEEPALIVE_S = 30.0
_LARGE_BODY = 2**20  # aiohttp warns about plain bytes above this size

_encode = msgspec.json.Encoder().encode


class OpenAICompatibleClient:
    """Sends calls to one endpoint. Belongs to the event loop of its first call until closed.

    Proxies come from the usual environment variables (`HTTPS_PROXY`, `NO_PROXY`, ...), read once
    for each session; loopback endpoints are never sent through one.

    Args:
        name: The provider's name in messages and events.
        base_url: Where the API lives, such as `https://host/v1`; a query is kept.
        api_key: The key, `"env:NAME"` for an environment variable, or None for no key.
        timeout_s: Seconds for one whole attempt, > 0.
        connect_timeout_s: Seconds for DNS, connection and TLS together, > 0.
        headers: Further headers of each request, such as another way to authenticate.
        proxy: A proxy's address, instead of what the environment says.
        ssl: As aiohttp takes it: True to verify, an `ssl.SSLContext`, or False not to verify.

    Raises:
        ConfigError: An argument is not usable.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        api_key: str | None = None,
        *,
        timeout_s: float = 300.0,
        connect_timeout_s: float = 10.0,
        headers: Mapping[str, str] | None = None,
        proxy: str | None = None,
        ssl: ssl_module.SSLContext | bool = True,
    ) -> None:
        self.name = name
        self._base_url = _checked_url(name, base_url)
        self._urls: dict[str, URL] = {}
        self._key = ApiKey.read(api_key)
        self._timeout_s = _checked_timeout("timeout_s", timeout_s)
        self._connect_timeout_s = _checked_timeout("connect_timeout_s", connect_timeout_s)
        self._headers = dict(headers or {})
        self._proxy = proxy
        self._ssl = ssl
        self._failures = FailureReader(name, self._key)
        self._answers = AnswerReader(self._failures)
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        shown = self._base_url.with_query(None)
        return f"<OpenAICompatibleClient {self.name!r} at {shown}, {self._key!r}>"

    async def chat(self, request: ChatRequest) -> Completion:
        """Makes one attempt.

        Args:
            request: What to send. `params` become fields of the body; `extra_body`, a mapping,
                is merged into it as OpenAI's own client does.

        Raises:
            ProviderError: The attempt failed.
            ConfigError: `params` cannot be sent, or the client belongs to another event loop.
        """
        body = self._body(request.model, {"messages": request.messages}, request.params)
        return self._answers.chat(await self._post("chat/completions", request.model, body))

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """Makes one attempt to embed texts; see `chat`."""
        own = {"input": request.inputs, "encoding_format": "float"}
        body = self._body(request.model, own, request.params)
        response = await self._post("embeddings", request.model, body)
        return self._answers.embeddings(response, len(request.inputs))

    async def image(self, request: ImageRequest) -> Images:
        """Makes one attempt to have images made; see `chat`."""
        # No `response_format` of ours: newer models refuse it, older ones answer with an address.
        body = self._body(request.model, {"prompt": request.prompt}, request.params)
        return self._answers.images(await self._post("images/generations", request.model, body))

    async def models(self) -> tuple[str, ...]:
        """Ids of the models that the endpoint lists; see `chat`."""
        return self._answers.models(await self._send("GET", "models", "models", None))

    async def close(self) -> None:
        """Closes the connections. A later call opens new ones, also on another loop."""
        session, self._session, self._loop = self._session, None, None
        if session is not None:
            await session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._session is None:
            self._loop = loop
            self._session = self._new_session()
        elif self._loop is not loop:
            raise ConfigError(
                f"client {self.name!r} belongs to another event loop; await its close() there "
                "first, or make one client for each loop"
            )
        return self._session

    def _new_session(self) -> aiohttp.ClientSession:
        # limit=0: none. Admission decides how many requests are out; a second, hidden queue here
        # would make waits look like a slow provider.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S, ssl=self._ssl)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "Content-Type": "application/json",
                "Accept": "application/json",
                "User-Agent": "ddsched-nb",
                **self._key.header(),
                **self._headers,
            },
            # Not `trust_env=True`: it looks the proxy up in another thread for each request, fails
            # where ~/.netrc knows the host of an endpoint with a key, and sends what it knows to
            # one without.
            proxy=self._proxy or _environment_proxy(self._base_url),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s, connect=self._connect_timeout_s),
        )

    async def _post(self, route: str, model: str, body: bytes | io.BytesIO) -> Response:
        return await self._send("POST", route, model, body)

    async def _send(
        self, method: str, route: str, model: str, body: bytes | io.BytesIO | None
    ) -> Response:
        session, url = self._open_session(), self._url(route)
        try:
            async with session.request(method, url, data=body, allow_redirects=False) as response:
                raw = await response.read()
                return Response(model, response.status, response.headers, raw)
        except (aiohttp.ClientError, OSError) as error:
            failure = self._failures.of_transport(
                model,
                error,
                timeout_s=self._timeout_s,
                connect_timeout_s=self._connect_timeout_s,
            )
        # Raised out here so that aiohttp's exception is not chained: it carries the request
        # headers, and with them the key.
        raise failure

    def _url(self, route: str) -> URL:
        if route not in self._urls:
            self._urls[route] = (self._base_url / route).with_query(self._base_url.query)
        return self._urls[route]

    def _body(
        self, model: str, own: Mapping[str, Any], params: Mapping[str, Any]
    ) -> bytes | io.BytesIO:
        fields: dict[str, Any] = {"model": model, **own}
        if params:
            fields |= _checked_params(params, fields)
        try:
            body = _encode(fields)
        except (TypeError, RecursionError) as error:
            raise ConfigError(
                f"a request to {self.name}/{model} holds a value that JSON has no place "
                f"for ({type(error).__name__}); use plain Python values in messages and params"
            ) from error
        except ValueError as error:
            failure = self._failures.of_request(model, error)
        else:
            return body if len(body) < _LARGE_BODY else io.BytesIO(body)
        raise failure  # outside, since the encoder's error holds the prompt


def _checked_params(params: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: value for name, value in params.items() if name != "extra_body"}
    extra = params.get("extra_body") or {}
    if not isinstance(extra, Mapping):
        raise ConfigError(f"extra_body must be a mapping, not {type(extra).__name__}")
    fields.update(extra)
    taken = sorted({*own, "extra_body"}.intersection(fields))
    if taken:
        raise ConfigError(f"params may not set {taken[0]!r}; the request has a place of its own")
    if fields.get("stream"):
        raise ConfigError("params may not set 'stream': answers are read whole; remove it")
    return fields


def _checked_url(name: str, base_url: str) -> URL:
    try:
        url = URL(base_url)
        usable = url.scheme in ("http", "https") and bool(url.host)
    except (TypeError, ValueError):
        usable = False
    if not usable:
        # Not shown: whatever was pasted here may be a key.
        raise ConfigError(
            f"base_url of provider {name!r} is not an http(s) address; "
            "give one such as 'https://api.example.com/v1'"
        )
    if url.user or url.password:
        raise ConfigError(
            f"base_url of provider {name!r} holds a user or password; "
            "pass api_key='env:NAME' or headers={...} instead"
        )
    return url


def _checked_timeout(field: str, seconds: object) -> float:
    if not (isinstance(seconds, (int, float)) and 0 < seconds < math.inf):
        raise ConfigError(f"{field}={seconds!r} must be a number of seconds > 0")
    return float(seconds)


def _environment_proxy(url: URL) -> str | None:
    host = url.host or ""
    if _is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies().get(url.scheme)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
