"""Endpoints for trials: what takes a request and ends it, without a loop.

The same descriptions and the same counts as behind the embedded endpoint (`clients.load`), with a
heap in place of timers.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque

from ddsched_nb.clients.load import ModelLoad, Refusal
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.clients.quotas import quota_headers, read_quotas, retry_after_s, spent_quota
from ddsched_nb.clients.sharing import speed
from ddsched_nb.core.model import Outcome, OutcomeKind, Permit, Usage

__all__ = ["Backend"]

_PROMPT_TOKENS = 50


class Backend:
    """One model of an endpoint.

    Args:
        profile: What it is like; faults are not heeded.
        refusal_s: How long a refusal takes.
        dice: Decides latencies and lengths.
        answer_tokens: Tokens of an answer on the average.
    """

    def __init__(
        self,
        profile: EndpointProfile,
        refusal_s: float,
        dice: random.Random,
        answer_tokens: float = 100.0,
    ) -> None:
        self._profile = profile
        self._refusal_s = refusal_s
        self._dice = dice
        self._answer_tokens = answer_tokens
        self._load = ModelLoad(profile)
        self._order = itertools.count()
        # Ends at an instant: of refusals, and of service that nothing slows.
        self._timed: list[tuple[float, int, Permit, Outcome]] = []
        # Ends at an amount of attained service: what is served at a shared speed.
        self._shared: list[tuple[float, int, Permit, Outcome]] = []
        self._line: deque[tuple[float, Permit, Outcome]] = deque()
        self._attained = self._since = 0.0
        self._again: deque[int] = deque()
        self.serving = 0
        self.rejections: dict[str, int] = {}

    def send(self, permit: Permit, now: float) -> None:
        """Takes a request."""
        # Who is refused comes again, and is as long as before.
        drawn = int(self._dice.expovariate(1 / self._answer_tokens))
        tokens = self._again.popleft() if self._again else _PROMPT_TOKENS + drawn
        refusal = self._load.arrive(now, tokens)
        if isinstance(refusal, Refusal):
            self._again.append(tokens)
            self._push(now + self._refusal_s, permit, self._refused(refusal, now))
            return
        said = self._quotas(self._load.quotas(), now)
        usage = Usage(_PROMPT_TOKENS, tokens - _PROMPT_TOKENS)
        served = Outcome(OutcomeKind.SUCCESS, usage=usage, quotas=read_quotas(said))
        seconds = self._profile.latency.draw_s(1 - self._dice.random(), self._dice.random())
        self._serve(seconds, permit, served, now)

    def next_end(self) -> float:
        """When the next request ends; `inf` if none is there."""
        at = self._timed[0][0] if self._timed else math.inf
        if self._shared:
            left = max(0.0, self._shared[0][0] - self._attained)
            at = min(at, self._since + left / self._speed())
        return at

    def end(self, now: float) -> tuple[Permit, Outcome]:
        """Takes out the request that ends now."""
        if self._timed and self._timed[0][0] <= now:
            _, _, permit, outcome = heapq.heappop(self._timed)
            if outcome.kind is OutcomeKind.SUCCESS:
                self._leave(now)
                self._next_in_line(now)
            return permit, outcome
        self._settle(now)
        target, _, permit, outcome = heapq.heappop(self._shared)
        self._attained = max(self._attained, target)  # rounding must not leave it a hair short
        self._leave(now)
        return permit, outcome

    def _serve(self, seconds: float, permit: Permit, outcome: Outcome, now: float) -> None:
        knee, slowing = self._profile.knee, self._profile.slowing
        if knee is not None and slowing != "line":
            self._settle(now)
            heapq.heappush(
                self._shared, (self._attained + seconds, next(self._order), permit, outcome)
            )
        elif knee is not None and self.serving >= knee:
            self._line.append((seconds, permit, outcome))
        else:
            self._push(now + seconds, permit, outcome)
        self.serving += 1

    def _next_in_line(self, now: float) -> None:
        if self._line:
            seconds, permit, outcome = self._line.popleft()
            self._push(now + seconds, permit, outcome)

    def _leave(self, now: float) -> None:
        self.serving -= 1
        self._load.leave(now, answered=True)

    def _push(self, at: float, permit: Permit, outcome: Outcome) -> None:
        heapq.heappush(self._timed, (at, next(self._order), permit, outcome))

    def _speed(self) -> float:
        soft = self._profile.slowing == "soft"
        return speed(self._profile.knee or 1, len(self._shared), soft=soft)

    def _settle(self, now: float) -> None:
        self._attained += (now - self._since) * self._speed()
        self._since = now

    def _quotas(self, quotas: tuple[object, ...], now: float) -> dict[str, str]:
        form = self._profile.quota_headers
        return {} if form is None else quota_headers(form, quotas, now)  # type: ignore[arg-type]

    def _refused(self, refusal: Refusal, now: float) -> Outcome:
        self.rejections[refusal.reason] = self.rejections.get(refusal.reason, 0) + 1
        own = self._profile.refusal_headers
        if refusal.reason == "capacity" and own is None:
            # As most endpoints: no word about when. What they say of quotas, they say.
            return Outcome(OutcomeKind.RATE_LIMITED)
        said = self._quotas(refusal.quotas, now)
        said |= {"Retry-After": f"{refusal.retry_after_s:.6g}"} if own is None else dict(own)
        quotas = read_quotas(said)
        told = refusal.reason if self._profile.quota_headers in ("openai", "azure") else ""
        return Outcome(
            OutcomeKind.RATE_LIMITED,
            retry_after_s(said),
            quotas=quotas,
            spent=spent_quota(quotas, told),
        )
