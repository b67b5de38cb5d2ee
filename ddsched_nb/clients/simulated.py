"""A client whose endpoint is a description: no socket, no server, the same answers.

It asks what the embedded endpoint would be asked and fails as the HTTP client would, in the same
words. Latency is `asyncio.sleep`, so it runs in virtual time as well as in real time.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import aiohttp
import msgspec
from multidict import CIMultiDict

from ddsched_nb.clients.base import (
    ChatRequest,
    Completion,
    EmbeddingRequest,
    Embeddings,
    Image,
    ImageRequest,
    Images,
)
from ddsched_nb.clients.failures import FailureReader
from ddsched_nb.clients.keys import NO_KEY
from ddsched_nb.clients.load import EndpointStatistics, Refusal
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.clients.quotas import read_quotas
from ddsched_nb.clients.replies import Body, Reply, complaint, tokens_of
from ddsched_nb.clients.serving import ModelServer, Served, Spoiled
from ddsched_nb.clients.wire import (
    ChatAnswer,
    ChatBody,
    EmbeddingAnswer,
    EmbeddingBody,
    ImageAnswer,
    ImageBody,
    WireMessage,
    read_text,
)
from ddsched_nb.core.model import Quota, Usage

__all__ = ["SimulatedClient"]

A = TypeVar("A", ChatAnswer, EmbeddingAnswer, ImageAnswer)

_REFUSED = b'{"error":{"type":"rate_limit_error","code":"rate_limit_exceeded"}}'
_FAULT = b'{"error":{"type":"server_error","code":"injected_fault"}}'
_CONNECT_S = 10.0


class SimulatedClient:
    """Asks models that are described.

    Args:
        name: The provider's name, as in error messages.
        profiles: The models; ids must differ.
        timeout_s: A call that takes longer fails, in seconds.
        on_served: Told of each answered request.
    """

    def __init__(
        self,
        name: str,
        profiles: Iterable[EndpointProfile],
        *,
        timeout_s: float = 300.0,
        on_served: Callable[[Served], None] | None = None,
    ) -> None:
        self.name = name
        self._server = ModelServer(profiles, on_served)
        self._timeout_s = timeout_s
        self._failures = FailureReader(name, NO_KEY)

    def __repr__(self) -> str:
        return f"<SimulatedClient {self.name!r}: {', '.join(self._server.profiles)}>"

    @property
    def profiles(self) -> tuple[EndpointProfile, ...]:
        """The models."""
        return tuple(self._server.profiles.values())

    def statistics(self, now: float) -> EndpointStatistics:
        """What the endpoint went through, as of `now` on the loop's clock."""
        return self._server.statistics(now)

    async def chat(self, request: ChatRequest) -> Completion:
        """Makes one attempt.

        Raises:
            ProviderError: The attempt failed.
        """
        messages = [
            WireMessage(m["role"], m["content"])
            if isinstance(m.get("content"), str)
            else msgspec.convert(m, WireMessage)
            for m in request.messages
        ]
        read = request.params.get
        body = ChatBody(
            request.model,
            messages,
            read("max_tokens"),
            read("max_completion_tokens"),
            read("response_format"),
        )
        answer, quotas = await self._ask(request.model, "chat", body, ChatAnswer)
        choice = answer.choices[0]
        text = read_text(choice.message.content)
        usage = Usage(*tokens_of(answer))
        return Completion(text, usage, choice.finish_reason, request.model, quotas)

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """Makes one attempt to embed texts; see `chat`."""
        body = EmbeddingBody(request.model, list(request.inputs), request.params.get("dimensions"))
        answer, quotas = await self._ask(request.model, "embedding", body, EmbeddingAnswer)
        vectors = tuple(tuple(entry.embedding) for entry in answer.data)
        return Embeddings(vectors, Usage(*tokens_of(answer)), request.model, quotas)

    async def image(self, request: ImageRequest) -> Images:
        """Makes one attempt to have images made; see `chat`."""
        read = request.params.get
        body = ImageBody(request.model, request.prompt, read("n"), read("size"))
        answer, quotas = await self._ask(request.model, "image", body, ImageAnswer)
        images = tuple(Image(base64.b64decode(entry.b64_json or "")) for entry in answer.data)
        return Images(images, Usage(*tokens_of(answer)), request.model, quotas)

    async def models(self) -> tuple[str, ...]:
        """Ids of the models."""
        return tuple(self._server.profiles)

    async def close(self) -> None:
        """Nothing to give back."""

    async def _ask(
        self, model: str, domain: str, body: Body, expected: type[A]
    ) -> tuple[A, tuple[Quota, ...]]:
        profile = self._server.profiles.get(model)
        if profile is None:
            raise self._status(model, 404, b'{"error":{"code":"model_not_found"}}')
        if profile.domain != domain or complaint(body):
            raise self._status(model, 400, b'{"error":{"code":"wrong_request"}}')
        half = profile.overhead_s / 2
        if half:
            await asyncio.sleep(half)
        headers: dict[str, str] = {}
        answer = await self._within_timeout(profile, body, headers)
        if half:
            await asyncio.sleep(half)
        if isinstance(answer, Refusal):
            raise self._refused(profile, answer, headers)
        if isinstance(answer, Spoiled):
            raise self._spoiled(model, answer)
        assert isinstance(answer, expected), "the domain was checked"
        return answer, read_quotas(headers) if headers else ()

    def _refused(
        self, profile: EndpointProfile, refusal: Refusal, headers: dict[str, str]
    ) -> Exception:
        wait, own = f"{refusal.retry_after_s:.6g}", profile.refusal_headers
        said = CIMultiDict({"Retry-After": wait} if own is None else own)
        said.update(headers)
        return self._status(profile.model, 429, _REFUSED, said)

    async def _within_timeout(
        self, profile: EndpointProfile, body: Body, headers: dict[str, str]
    ) -> Reply | Refusal | Spoiled:
        if not profile.faults and profile.latency.max_s < self._timeout_s and profile.knee is None:
            return await self._server.ask(profile, body, headers)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._server.ask(profile, body, headers)
        except TimeoutError as late:
            raise self._failures.of_transport(
                profile.model, late, timeout_s=self._timeout_s, connect_timeout_s=_CONNECT_S
            ) from None

    def _spoiled(self, model: str, spoiled: Spoiled) -> Exception:
        fault = spoiled.fault
        if fault.kind == "error":
            return self._status(model, fault.status, _FAULT)
        if fault.kind == "redirect":
            return self._status(model, 307, b"")
        if fault.kind in ("disconnect", "cut"):
            return self._failures.of_transport(
                model,
                aiohttp.ServerDisconnectedError(),
                timeout_s=self._timeout_s,
                connect_timeout_s=_CONNECT_S,
            )
        what, media = "not what was asked for", {"Content-Type": "text/html"}
        return self._failures.of_answer(model, 200, what, media, b"")

    def _status(
        self, model: str, status: int, body: bytes, headers: Mapping[str, Any] | None = None
    ) -> Exception:
        return self._failures.of_status(model, status, headers or {}, body)
