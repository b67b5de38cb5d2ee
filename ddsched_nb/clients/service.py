"""What the embedded endpoint answers to each request, over HTTP but without a socket.

Decides routes, status codes and bodies. Must not know where it listens, on which thread its loop
runs, or who calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec
from aiohttp import web

from ddsched_nb.clients.faults import FaultCounter
from ddsched_nb.clients.load import EndpointLoad, EndpointStatistics
from ddsched_nb.clients.profile import EndpointProfile, Fault
from ddsched_nb.clients.replies import (
    Body,
    complaint,
    error,
    json_response,
    key_of,
    rate_limited,
    reply,
)
from ddsched_nb.clients.wire import ChatBody, EmbeddingBody, ImageBody, ModelEntry, ModelList

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


class EndpointService:
    """The routes of one endpoint and the load they count.

    Args:
        profiles: The models it serves; ids must differ.
    """

    def __init__(self, profiles: Iterable[EndpointProfile]) -> None:
        self._profiles = {profile.model: profile for profile in profiles}
        self.reset()
        # A table instead of aiohttp's router, which would cost as much as all the rest here.
        self._routes = {
            **{("POST", route): self._ask for route in _ROUTES.values()},
            ("GET", "/v1/models"): self._models,
            ("GET", "/stats"): self._stats,
            ("POST", "/reset"): self._reset,
        }

    async def handle(self, request: web.BaseRequest) -> web.Response:
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
        return self._load.statistics(now)

    def reset(self) -> None:
        """Forgets all counts; steps and faults start again with the next request."""
        self._load = EndpointLoad(self._profiles.values())
        self._faults = {name: FaultCounter(profile) for name, profile in self._profiles.items()}

    async def _ask(self, request: web.BaseRequest) -> web.Response:
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
    ) -> web.Response:
        time = asyncio.get_running_loop().time
        load = self._load
        slot = load.arrive(profile.model, time())
        if slot is None:
            return rate_limited(profile)
        answered, fault = False, None
        try:
            key = key_of(body)
            fault = self._fault(profile, body, key)
            if fault is not None and fault.kind == "hang":
                await asyncio.get_running_loop().create_future()
            await asyncio.sleep(profile.latency_s(key))
            answer = reply(profile, body) if fault is None else _spoiled(profile, body, fault)
            answered = True
        finally:
            # Also when the caller hangs up: aiohttp then cancels this handler.
            load.leave(slot, time(), answered=answered, faulted=fault is not None)
        if fault is not None and fault.kind == "disconnect" and request.transport is not None:
            request.transport.close()
        return answer

    def _fault(self, profile: EndpointProfile, body: Body, key: str) -> Fault | None:
        planned = profile.fault(key)
        if planned is None:
            return None
        if planned.kind == "off_schema" and isinstance(body, ChatBody) and not body.response_format:
            return None  # no format was asked for, so prose is right
        return self._faults[profile.model].next(key)

    async def _models(self, request: web.BaseRequest) -> web.Response:
        return json_response(ModelList([ModelEntry(model) for model in self._profiles]))

    async def _stats(self, request: web.BaseRequest) -> web.Response:
        return json_response(self.statistics(asyncio.get_running_loop().time()))

    async def _reset(self, request: web.BaseRequest) -> web.Response:
        self.reset()
        return json_response({"ok": True})


def _spoiled(profile: EndpointProfile, body: Body, fault: Fault) -> web.Response:
    if fault.kind == "error":
        return error(fault.status, "an injected fault", "server_error", "injected_fault")
    if fault.kind == "off_schema" and isinstance(body, ChatBody):
        return reply(profile, body, off_schema=True)
    return web.Response(text="<html>an injected fault</html>", content_type="text/html")
