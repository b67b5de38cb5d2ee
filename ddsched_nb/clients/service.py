"""What the embedded endpoint answers to each request, over HTTP but without a socket.

Decides routes, status codes and bodies. Must not know where it listens, on which thread its loop
runs, or who calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
from aiohttp import web

from ddsched_nb.clients.load import EndpointStatistics, Refusal
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.clients.replies import Body, complaint
from ddsched_nb.clients.serving import ModelServer, Spoiled
from ddsched_nb.clients.spoiling import ChatStream, spoil
from ddsched_nb.clients.wire import (
    ChatAnswer,
    ChatBody,
    EmbeddingBody,
    ErrorAnswer,
    ErrorBody,
    ImageBody,
    ModelEntry,
    ModelList,
)

__all__ = ["EndpointService"]

_ROUTES = {
    "chat": "/v1/chat/completions",
    "embedding": "/v1/embeddings",
    "image": "/v1/images/generations",
}
_DECODERS: dict[str, msgspec.json.Decoder[Body]] = {
    "chat": msgspec.json.Decoder(ChatBody),
    "embedding": msgspec.json.Decoder(EmbeddingBody),
    "image": msgspec.json.Decoder(ImageBody),
}
_DOMAINS = {route: domain for domain, route in _ROUTES.items()}
_JSON = {"Content-Type": "application/json"}
_encode = msgspec.json.Encoder().encode


class EndpointService:
    """The routes of one endpoint and the load they count.

    Args:
        profiles: The models it serves; ids must differ.
    """

    def __init__(self, profiles: Iterable[EndpointProfile]) -> None:
        self._profiles = {profile.model: profile for profile in profiles}
        self._server = ModelServer(self._profiles.values())
        # A table instead of aiohttp's router, which would cost as much as all the rest here.
        self._routes = {
            **{("POST", route): self._ask for route in _ROUTES.values()},
            ("GET", "/v1/models"): self._models,
            ("GET", "/stats"): self._stats,
            ("POST", "/reset"): self._reset,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request."""
        route = self._routes.get((request.method, request.path))
        if route is not None:
            return await route(request)
        if any(path == request.path for _, path in self._routes):
            return error(405, "this route takes another method")
        paths = ", ".join(path for _, path in self._routes)
        return error(404, f"no such route; there are {paths}")

    def statistics(self, now: float) -> EndpointStatistics:
        """What the endpoint went through, as of `now` on the clock of its loop."""
        return self._server.statistics(now)

    def reset(self) -> None:
        """Forgets all counts; steps and faults start again with the next request."""
        self._server = ModelServer(self._profiles.values())

    async def _ask(self, request: web.BaseRequest) -> web.StreamResponse:
        domain = _DOMAINS[request.path]
        try:
            body = _DECODERS[domain].decode(await request.read())
        except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
            return error(400, f"not a request for {domain}: {wrong}")
        profile = self._profiles.get(body.model)
        if profile is None:
            served = ", ".join(self._profiles)
            said = f"there is no model {body.model!r} here; there are {served}"
            return error(404, said, code="model_not_found")
        if profile.domain != domain:
            said = f"{profile.model} is a model for {profile.domain}; ask {_ROUTES[profile.domain]}"
            return error(400, said, code="wrong_domain")
        wrong_with = complaint(body)
        if wrong_with:
            return error(400, wrong_with)
        return await self._serve(request, profile, body)

    async def _serve(
        self, request: web.BaseRequest, profile: EndpointProfile, body: Body
    ) -> web.StreamResponse:
        headers: dict[str, str] = {}
        stream = None
        if isinstance(body, ChatBody) and body.stream:
            stream = ChatStream(request, headers)
        told = None if stream is None else stream.told
        answer = await self._server.ask(profile, body, headers, told)
        if isinstance(answer, Refusal):
            response: web.StreamResponse = _refused(profile, answer)
        elif isinstance(answer, Spoiled) and stream is not None and stream.response is not None:
            return stream.break_off()  # it has begun, so this is how it shows
        elif isinstance(answer, Spoiled):
            response = await spoil(request, answer.fault, _encode(answer.answer))
        elif stream is not None and isinstance(answer, ChatAnswer):
            return await stream.finish(answer)
        else:
            response = _json_response(answer)
        if not response.prepared:
            response.headers.update(headers)
        return response

    async def _models(self, request: web.BaseRequest) -> web.Response:
        return _json_response(ModelList([ModelEntry(model) for model in self._profiles]))

    async def _stats(self, request: web.BaseRequest) -> web.Response:
        return _json_response(self.statistics(asyncio.get_running_loop().time()))

    async def _reset(self, request: web.BaseRequest) -> web.Response:
        self.reset()
        return _json_response({"ok": True})


def error(
    status: int, message: str, kind: str = "invalid_request_error", code: str | None = None
) -> web.Response:
    """An OpenAI-shaped error."""
    return _json_response(ErrorAnswer(ErrorBody(message, kind, code)), status)


def _refused(profile: EndpointProfile, refusal: Refusal) -> web.Response:
    wait = f"{refusal.retry_after_s:.6g}"
    said = f"{profile.model} is out of {refusal.reason}; try again in {wait} s"
    kind = "rate_limit_error"
    if refusal.quotas and profile.quota_headers in ("openai", "azure"):
        kind = refusal.reason  # as OpenAI says which quota is spent
    refused = error(429, said, kind, "rate_limit_exceeded")
    own = profile.refusal_headers
    refused.headers.update({"Retry-After": wait} if own is None else own)
    return refused


def _json_response(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=_encode(body), status=status, headers=_JSON)
