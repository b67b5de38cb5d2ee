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

from ddsched_nb.clients.base import ChatRequest, Completion
from ddsched_nb.clients.failures import FailureReader
from ddsched_nb.clients.keys import ApiKey
from ddsched_nb.clients.wire import ChatAnswer, read_text
from ddsched_nb.core.model import Usage
from ddsched_nb.errors import ConfigError

__all__ = ["OpenAICompatibleClient"]

_KEEPALIVE_S = 30.0
_LARGE_BODY = 2**20  # aiohttp warns about plain bytes above this size
_RESERVED = frozenset({"model", "messages", "extra_body"})

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(ChatAnswer).decode


class OpenAICompatibleClient:
    """Sends chat calls to one endpoint. Belongs to the event loop of its first call until closed.

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
        self._url = _chat_url(self._base_url)
        self._key = ApiKey.read(api_key)
        self._timeout_s = _checked_timeout("timeout_s", timeout_s)
        self._connect_timeout_s = _checked_timeout("connect_timeout_s", connect_timeout_s)
        self._headers = dict(headers or {})
        self._proxy = proxy
        self._ssl = ssl
        self._failures = FailureReader(name, self._key)
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
        session = self._open_session()
        body = self._body(request)
        try:
            async with session.post(self._url, data=body, allow_redirects=False) as response:
                raw = await response.read()
            return self._read(request.model, response, raw)
        except (aiohttp.ClientError, OSError) as error:
            failure = self._failures.of_transport(
                request.model,
                error,
                timeout_s=self._timeout_s,
                connect_timeout_s=self._connect_timeout_s,
            )
        # Raised out here so that aiohttp's exception is not chained: it carries the request
        # headers, and with them the key.
        raise failure

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
            proxy=self._proxy or _environment_proxy(self._url),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s, connect=self._connect_timeout_s),
        )

    def _body(self, request: ChatRequest) -> bytes | io.BytesIO:
        fields: dict[str, Any] = {"model": request.model, "messages": request.messages}
        if request.params:
            fields.update(_checked_params(request))
        try:
            body = _encode(fields)
        except (TypeError, RecursionError) as error:
            raise ConfigError(
                f"a request to {self.name}/{request.model} holds a value that JSON has no place "
                f"for ({type(error).__name__}); use plain Python values in messages and params"
            ) from error
        except ValueError as error:
            failure = self._failures.of_request(request.model, error)
        else:
            return body if len(body) < _LARGE_BODY else io.BytesIO(body)
        raise failure  # outside, since the encoder's error holds the prompt

    def _read(self, model: str, response: aiohttp.ClientResponse, raw: bytes) -> Completion:
        status, headers = response.status, response.headers
        if status >= 300:
            raise self._failures.of_status(model, status, headers, raw)
        try:
            answer = _decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            answer = None
        if answer is None:
            raise self._failures.of_answer(model, status, "not a chat completion", headers, raw)
        if answer.error:
            raise self._failures.of_error_in_answer(model, status, answer.error, headers, raw)
        if not answer.choices:
            raise self._failures.of_answer(model, status, "no choice in it", headers, raw)
        return _completion(answer, model)


def _completion(answer: ChatAnswer, model: str) -> Completion:
    choice, counts = answer.choices[0], answer.usage
    usage = Usage()
    if counts is not None:
        usage = Usage(counts.prompt_tokens or 0, counts.completion_tokens or 0)
    text = read_text(choice.message.content)
    return Completion(text, usage, choice.finish_reason, answer.model or model)


def _checked_params(request: ChatRequest) -> dict[str, Any]:
    fields = {name: value for name, value in request.params.items() if name != "extra_body"}
    extra = request.params.get("extra_body") or {}
    if not isinstance(extra, Mapping):
        raise ConfigError(f"extra_body must be a mapping, not {type(extra).__name__}")
    fields.update(extra)
    taken = sorted(_RESERVED.intersection(fields))
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


def _chat_url(base: URL) -> URL:
    return (base / "chat" / "completions").with_query(base.query)


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
