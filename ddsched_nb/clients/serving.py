"""Serves model calls on the running loop, as the profiles say: capacity, latency, faults.

One implementation behind two fronts: the embedded endpoint, over HTTP and in real time, and the
simulated client, without a socket and usually in virtual time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from ddsched_nb.clients.faults import FaultCounter
from ddsched_nb.clients.load import EndpointLoad, EndpointStatistics, Refusal
from ddsched_nb.clients.profile import EndpointProfile, Fault
from ddsched_nb.clients.quotas import quota_headers
from ddsched_nb.clients.replies import Body, Reply, key_of, reply, tokens_of
from ddsched_nb.clients.sharing import SharedServer, WaitingLine
from ddsched_nb.clients.wire import ChatBody

__all__ = ["ModelServer", "Served", "Spoiled"]


_PARTS = 8

Told = Callable[[Reply, float], Awaitable[None]]
"""Told of an answer while it is written: all of it, and the share that is ready by now."""


class Spoiled(NamedTuple):
    """An answer that an injected fault took the place of, and the answer."""

    fault: Fault
    answer: Reply


class Served(NamedTuple):
    """A request that was answered: its model, what it takes where nothing slows it, its tokens."""

    model: str
    work_s: float
    tokens: int


class ModelServer:
    """The models of one endpoint, and what they carry.

    Args:
        profiles: The models; ids must differ.
        on_served: Told of each answered request, in the task that asked.
    """

    def __init__(
        self,
        profiles: Iterable[EndpointProfile],
        on_served: Callable[[Served], None] | None = None,
    ) -> None:
        self.profiles = {profile.model: profile for profile in profiles}
        self._load = EndpointLoad(self.profiles.values())
        self._faults = {
            name: FaultCounter(profile) for name, profile in self.profiles.items() if profile.faults
        }
        self._shared = {
            name: WaitingLine(profile.knee)
            if profile.slowing == "line"
            else SharedServer(profile.knee, soft=profile.slowing == "soft")
            for name, profile in self.profiles.items()
            if profile.knee is not None
        }
        self._on_served = on_served

    def statistics(self, now: float) -> EndpointStatistics:
        """What the endpoint went through, as of `now` on the clock of its loop."""
        return self._load.statistics(now)

    async def ask(
        self,
        profile: EndpointProfile,
        body: Body,
        headers: dict[str, str] | None = None,
        told: Told | None = None,
    ) -> Reply | Refusal | Spoiled:
        """Serves one request: after as long as it takes, its answer, or what came instead.

        Args:
            profile: One of the profiles.
            body: What is asked.
            headers: Takes what the endpoint says of its quotas.
            told: Told, while it is served, how much of the answer is ready.
        """
        loop = asyncio.get_running_loop()
        load, tokens, answer = self._load, 0, None
        if profile.tokens_per_minute is not None:
            answer = reply(profile, body)
            tokens = sum(tokens_of(answer))
        slot = load.arrive(profile.model, loop.time(), tokens)
        if headers is not None and profile.quota_headers is not None:
            quotas = slot.quotas if isinstance(slot, Refusal) else slot.quotas()
            headers |= quota_headers(profile.quota_headers, quotas, loop.time())
        if isinstance(slot, Refusal):
            return slot
        answered, fault, work_s = False, None, 0.0
        try:
            key = key_of(body)
            fault = self._fault(profile, body, key)
            if fault is not None and fault.kind == "hang":
                await loop.create_future()
            off_schema = fault is not None and fault.kind == "off_schema"
            if answer is None or off_schema:
                answer = reply(profile, body, off_schema=off_schema)
            work_s = profile.latency_s(key, tokens_of(answer)[1])
            await self._work(profile, work_s, answer, told)
            answered = True
        finally:
            # Also when the caller hangs up: its task is then cancelled.
            load.leave(
                slot, loop.time(), answered=answered, faulted=fault is not None, work_s=work_s
            )
        if fault is not None and not (off_schema and isinstance(body, ChatBody)):
            return Spoiled(fault, answer)
        if self._on_served is not None:
            self._on_served(Served(profile.model, work_s, sum(tokens_of(answer))))
        return answer

    async def _work(
        self, profile: EndpointProfile, work_s: float, answer: Reply, told: Told | None
    ) -> None:
        shared = self._shared.get(profile.model)
        parts = 1 if told is None else _PARTS
        for part in range(parts):
            if told is not None:
                await told(answer, part / parts)
            left = work_s / parts
            await (asyncio.sleep(left) if shared is None else shared.serve(left))

    def _fault(self, profile: EndpointProfile, body: Body, key: str) -> Fault | None:
        planned = profile.fault(key)
        if planned is None:
            return None
        if planned.kind == "off_schema" and isinstance(body, ChatBody) and not body.response_format:
            return None  # no format was asked for, so prose is right
        return self._faults[profile.model].next(key)
