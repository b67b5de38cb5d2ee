"""What the embedded endpoint answers to each request, over HTTP but without a socket.

Decides routes, status codes and bodies. Must not know where it listens, on which thread its loop
runs, or who calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec
from aiohttp import web

from ddsched_nb.clients.load import EndpointLoad, EndpointStatistics
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.clients.wire import (
    AnswerMessage,
    ChatAnswer,
    ChatBody,
    Choice,
    ErrorAnswer,
    ErrorBody,
    ModelEntry,
    ModelList,
    TokenCounts,
    WireMessage,
    read_text,
)
from ddsched_nb.clients.writer import write

__all__ = ["EndpointService"]

_JSON = {"Content-Type": "application/json"}
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(ChatBody).decode


class EndpointService:
    """The routes of one endpoint and the load they count.

    Args:
        profiles: The models it serves; ids must differ.
    """

    def __init__(self, profiles: Iterable[EndpointProfile]) -> None:
        self._profiles = {profile.model: profile for profile in profiles}
        self._load = EndpointLoad(self._profiles.values())
        # A table instead of aiohttp's router, which would cost as much as all the rest here.
        self._routes = {
            ("POST", "/v1/chat/completions"): self._chat,
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
            return _refusal(405, "this route takes another method", "invalid_request_error")
        paths = ", ".join(path for _, path in self._routes)
        return _refusal(404, f"no such route; there are {paths}", "invalid_request_error")

    def statistics(self, now: float) -> EndpointStatistics:
        """What the endpoint went through, as of `now` on the clock of its loop."""
        return self._load.statistics(now)

    def reset(self) -> None:
        """Forgets all counts; the scripted steps start again with the next request."""
        self._load = EndpointLoad(self._profiles.values())

    async def _chat(self, request: web.BaseRequest) -> web.Response:
        try:
            body = _decode(await request.read())
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return _refusal(400, f"not a chat request: {error}", "invalid_request_error")
        profile = self._profiles.get(body.model)
        if profile is None:
            served = ", ".join(self._profiles)
            return _refusal(
                404,
                f"there is no model {body.model!r} here; there are {served}",
                "invalid_request_error",
                "model_not_found",
            )
        if body.stream:
            return _refusal(400, "streaming is not served", "invalid_request_error")
        return await self._serve(profile, body)

    async def _serve(self, profile: EndpointProfile, body: ChatBody) -> web.Response:
        time = asyncio.get_running_loop().time
        load = self._load
        slot = load.arrive(profile.model, time())
        if slot is None:
            return _rate_limited(profile)
        answered = False
        try:
            prompt = _prompt(body.messages)
            await asyncio.sleep(profile.latency_s(prompt))
            answer = _answer(profile, body, prompt)
            answered = True
            return answer
        finally:
            # Also when the caller hangs up: aiohttp then cancels this handler.
            load.leave(slot, time(), answered=answered)

    async def _models(self, request: web.BaseRequest) -> web.Response:
        return _json(ModelList([ModelEntry(model) for model in self._profiles]))

    async def _stats(self, request: web.BaseRequest) -> web.Response:
        return _json(self.statistics(asyncio.get_running_loop().time()))

    async def _reset(self, request: web.BaseRequest) -> web.Response:
        self.reset()
        return _json({"ok": True})


def _prompt(messages: list[WireMessage]) -> str:
    return "\n".join(f"{message.role}: {read_text(message.content)}" for message in messages)


def _answer(profile: EndpointProfile, body: ChatBody, prompt: str) -> web.Response:
    asked = next((m for m in reversed(body.messages) if m.role == "user"), None)
    written = write(
        prompt,
        model=profile.model,
        seed=profile.seed,
        asked=None if asked is None else read_text(asked.content),
        max_tokens=body.max_completion_tokens or body.max_tokens,
        response_format=body.response_format,
    )
    prompt_tokens, completion_tokens = written.prompt_tokens, written.completion_tokens
    return _json(
        ChatAnswer(
            choices=[Choice(AnswerMessage(written.text), written.finish_reason)],
            usage=TokenCounts(prompt_tokens, completion_tokens, prompt_tokens + completion_tokens),
            model=profile.model,
            id=f"chatcmpl-{written.number:016x}",
            object="chat.completion",
            created=0,  # a date would make two runs differ
        )
    )


def _rate_limited(profile: EndpointProfile) -> web.Response:
    refusal = _refusal(
        429,
        f"{profile.model} is at capacity; try again in {profile.retry_after_s:g} s",
        "rate_limit_error",
        "rate_limit_exceeded",
    )
    refusal.headers["Retry-After"] = f"{profile.retry_after_s:g}"
    return refusal


def _refusal(status: int, message: str, kind: str, code: str | None = None) -> web.Response:
    return _json(ErrorAnswer(ErrorBody(message, kind, code)), status)


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(body=_encode(body), status=status, headers=_JSON)
