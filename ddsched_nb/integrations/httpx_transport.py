"""Request admission under any SDK that is built on httpx: one line changes.

    client = AsyncOpenAI(http_client=httpx.AsyncClient(transport=AdmittedTransport()))

Each HTTP request waits for a permit of its model and gives it back when its answer was read to the
end, or when its stream ends. The SDK's own retries are requests like others: they wait for a permit
too, and are counted apart. Needs the extra `httpx`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import NamedTuple

import httpx
import msgspec

from ddsched_nb.aio.limiter import RequestLimiter
from ddsched_nb.clients.outcomes import classify, of_status
from ddsched_nb.clients.wire import TokenCounts
from ddsched_nb.core.model import Domain, Outcome, OutcomeKind, Permit, Usage

__all__ = ["AdmittedTransport", "BlockingAdmittedTransport", "TransportStatistics"]

_CANCELLED = Outcome(OutcomeKind.LOCAL_CANCELLED)
# Where SDKs made by Stainless (openai, anthropic, ...) say how often they have tried.
_RETRY_COUNT = "x-stainless-retry-count"
_CHARACTERS_A_TOKEN = 4.0
_DOMAINS: tuple[tuple[str, Domain], ...] = (
    ("/embeddings", "embedding"),
    ("/images/generations", "image"),
)


class TransportStatistics(NamedTuple):
    """What went through a transport.

    Attributes:
        requests: Requests that were admitted, retries included.
        retries: Those of them that the SDK made again by itself.
        passed: Requests that name no model, and were let through.
    """

    requests: int
    retries: int
    passed: int


class _Asked(msgspec.Struct):
    model: str | None = None


class _Answered(msgspec.Struct):
    usage: TokenCounts | None = None


class _Counts:
    def __init__(self) -> None:
        self.requests = self.retries = self.passed = 0

    def count(self, request: httpx.Request, *, admitted: bool) -> None:
        if not admitted:
            self.passed += 1
            return
        self.requests += 1
        self.retries += request.headers.get(_RETRY_COUNT, "0") != "0"


class AdmittedTransport(httpx.AsyncBaseTransport):
    """Lets requests out through a limiter.

    Args:
        limiter: Shared with whatever else uses the account; one of its own by default.
        inner: Sends the requests; httpx's own by default.
    """

    def __init__(
        self,
        limiter: RequestLimiter | None = None,
        inner: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.limiter = limiter or RequestLimiter()
        self._inner = inner or httpx.AsyncHTTPTransport(limits=_NO_LIMITS)
        self._counts = _Counts()

    def statistics(self) -> TransportStatistics:
        """What went through it so far."""
        counts = self._counts
        return TransportStatistics(counts.requests, counts.retries, counts.passed)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request when its turn has come."""
        model = _model_of(await request.aread())
        self._counts.count(request, admitted=model is not None)
        if model is None:
            return await self._inner.handle_async_request(request)
        pool = self.limiter.pool(model=model, domain=_domain_of(request))
        permit = await self.limiter.acquire(pool, tokens=_tokens_of(request))
        try:
            response = await self._inner.handle_async_request(request)
            assert isinstance(response.stream, httpx.AsyncByteStream)
            response.stream = _Held(response.stream, response, permit, self.limiter.release)
        except BaseException as error:
            self.limiter.release(permit, classify(error))
            raise
        return response

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._inner.aclose()


class BlockingAdmittedTransport(httpx.BaseTransport):
    """The same for SDKs that block a thread: `OpenAI(http_client=httpx.Client(transport=...))`.

    Args:
        limiter: Shared with coroutines of another thread, perhaps; one of its own by default.
        inner: Sends the requests; httpx's own by default.
    """

    def __init__(
        self, limiter: RequestLimiter | None = None, inner: httpx.BaseTransport | None = None
    ) -> None:
        self.limiter = limiter or RequestLimiter()
        self._inner = inner or httpx.HTTPTransport(limits=_NO_LIMITS)
        self._counts = _Counts()

    def statistics(self) -> TransportStatistics:
        """What went through it so far."""
        counts = self._counts
        return TransportStatistics(counts.requests, counts.retries, counts.passed)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request when its turn has come."""
        model = _model_of(request.read())
        self._counts.count(request, admitted=model is not None)
        if model is None:
            return self._inner.handle_request(request)
        tokens, domain = _tokens_of(request), _domain_of(request)
        permit = self.limiter.acquire_blocking(model=model, domain=domain, tokens=tokens)
        try:
            response = self._inner.handle_request(request)
            assert isinstance(response.stream, httpx.SyncByteStream)
            response.stream = _BlockingHeld(
                response.stream, response, permit, self.limiter.release_blocking
            )
        except BaseException as error:
            self.limiter.release_blocking(permit, classify(error))
            raise
        return response

    def close(self) -> None:
        """Closes the connections."""
        self._inner.close()


_Release = Callable[[Permit, Outcome], object]


class _Ending:
    """Gives a permit back, once, when an answer ends."""

    def __init__(self, response: httpx.Response, permit: Permit, release: _Release) -> None:
        self._response = response
        self._permit = permit
        self._release = release
        self._read: list[bytes] = []
        self._whole = "json" in response.headers.get("content-type", "")
        self._over = False

    def took(self, chunk: bytes) -> bytes:
        if self._whole:
            self._read.append(chunk)
        return chunk

    def finished(self) -> None:
        outcome = of_status(self._response.status_code, self._response.headers)
        if outcome.kind is OutcomeKind.SUCCESS:
            outcome = outcome._replace(usage=_usage_of(b"".join(self._read)))
        self.end(outcome)

    def end(self, outcome: Outcome) -> None:
        if not self._over:
            self._over = True
            self._release(self._permit, outcome)


class _Held(httpx.AsyncByteStream):
    def __init__(
        self,
        stream: httpx.AsyncByteStream,
        response: httpx.Response,
        permit: Permit,
        release: _Release,
    ) -> None:
        self._stream = stream
        self._ending = _Ending(response, permit, release)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                yield self._ending.took(chunk)
        except BaseException as error:
            self._ending.end(classify(error))
            raise
        self._ending.finished()

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._ending.end(_CANCELLED)  # nothing, unless it was closed before its end


class _BlockingHeld(httpx.SyncByteStream):
    def __init__(
        self,
        stream: httpx.SyncByteStream,
        response: httpx.Response,
        permit: Permit,
        release: _Release,
    ) -> None:
        self._stream = stream
        self._ending = _Ending(response, permit, release)

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._stream:
                yield self._ending.took(chunk)
        except BaseException as error:
            self._ending.end(classify(error))
            raise
        self._ending.finished()

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            self._ending.end(_CANCELLED)


# Admission decides how many are out; a second, hidden queue would look like a slow provider.
_NO_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=None)
_asked = msgspec.json.Decoder(_Asked)
_answered = msgspec.json.Decoder(_Answered)


def _model_of(body: bytes) -> str | None:
    try:
        return _asked.decode(body).model
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _usage_of(body: bytes) -> Usage | None:
    try:
        counts = _answered.decode(body).usage
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if counts is None:
        return None
    return Usage(counts.prompt_tokens or 0, counts.completion_tokens or 0)


def _domain_of(request: httpx.Request) -> Domain:
    path = request.url.path
    return next((domain for ending, domain in _DOMAINS if path.endswith(ending)), "chat")


def _tokens_of(request: httpx.Request) -> float:
    return len(request.content) / _CHARACTERS_A_TOKEN
