"""How answers look that are not simply sent: streamed ones, and those that a fault spoils.

Decides bytes and connections. Must not know who is hit, or what is counted.
"""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp import web

from ddsched_nb.clients.profile import Fault
from ddsched_nb.clients.replies import Reply
from ddsched_nb.clients.wire import ChatAnswer, ErrorAnswer, ErrorBody, read_text

__all__ = ["ChatStream", "spoil"]

_DRIP_S = 60.0
_encode = msgspec.json.Encoder().encode


async def spoil(request: web.BaseRequest, fault: Fault, raw: bytes) -> web.StreamResponse:
    """What a fault makes of an answer.

    Args:
        request: What was asked.
        fault: What goes wrong.
        raw: The answer that it spoils.
    """
    if fault.kind == "error":
        said = ErrorBody("an injected fault", "server_error", "injected_fault")
        return _json(_encode(ErrorAnswer(said)), fault.status)
    if fault.kind == "redirect":
        return web.Response(status=307, headers={"Location": "/elsewhere"})
    if fault.kind == "empty":
        return _json(b'{"choices":[],"data":[]}')
    if fault.kind == "truncated":
        return _json(raw[: len(raw) // 2])
    if fault.kind in ("cut", "drip"):
        return await _in_pieces(request, raw, cut=fault.kind == "cut")
    if fault.kind == "disconnect" and request.transport is not None:
        request.transport.close()
    return web.Response(text="<html>an injected fault</html>", content_type="text/html")


async def _in_pieces(request: web.BaseRequest, raw: bytes, *, cut: bool) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = len(raw)
    await response.prepare(request)
    if cut:
        await response.write(raw[: len(raw) // 2])
        if request.transport is not None:
            request.transport.close()
        return response
    for place in range(len(raw)):
        await response.write(raw[place : place + 1])
        await asyncio.sleep(_DRIP_S / len(raw))
    return response


class ChatStream:
    """A chat completion sent while it is written, as server-sent events.

    Args:
        request: What was asked.
        headers: Go with the answer.
    """

    def __init__(self, request: web.BaseRequest, headers: dict[str, str]) -> None:
        self._request = request
        self._headers = headers
        self.response: web.StreamResponse | None = None
        self._sent = 0

    async def told(self, answer: Reply, share: float) -> None:
        """Sends what is ready of an answer by now."""
        if isinstance(answer, ChatAnswer):
            await self._send_up_to(answer, share)

    async def finish(self, answer: ChatAnswer) -> web.StreamResponse:
        """Sends what is left, and the end."""
        response = await self._send_up_to(answer, 1.0)
        last = {"index": 0, "delta": {}, "finish_reason": answer.choices[0].finish_reason}
        await self._event(response, answer, last, usage=True)
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    def break_off(self) -> web.StreamResponse:
        """Ends it in the middle."""
        assert self.response is not None, "it has begun"
        if self._request.transport is not None:
            self._request.transport.close()
        return self.response

    async def _send_up_to(self, answer: ChatAnswer, share: float) -> web.StreamResponse:
        if self.response is None:
            self.response = web.StreamResponse(
                headers={"Content-Type": "text/event-stream", **self._headers}
            )
            await self.response.prepare(self._request)
        text = read_text(answer.choices[0].message.content)
        ready = int(len(text) * share)
        piece, self._sent = text[self._sent : ready], max(self._sent, ready)
        delta = {"index": 0, "delta": {"role": "assistant", "content": piece}}
        await self._event(self.response, answer, delta)
        return self.response

    async def _event(
        self,
        response: web.StreamResponse,
        answer: ChatAnswer,
        choice: dict[str, object],
        *,
        usage: bool = False,
    ) -> None:
        said = {
            "id": answer.id,
            "object": "chat.completion.chunk",
            "created": 0,
            "model": answer.model,
            "choices": [choice],
            **({"usage": answer.usage} if usage else {}),
        }
        await response.write(b"data: " + _encode(said) + b"\n\n")


def _json(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, headers={"Content-Type": "application/json"})
