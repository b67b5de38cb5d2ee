"""A limit on trial: one model, demand without end, a hidden capacity, and nothing else.

No pipeline, no scheduler and no event loop stand between the limit and what it is judged by.
Request admission, the very one that runs in production, is asked at each instant at which something
happens. An hour of a hundred thousand requests takes about a second.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.config import RequestAdmissionConfig
from ddsched_nb.core.limits import Limit
from ddsched_nb.core.model import Outcome, OutcomeKind, Permit, PoolKey
from ddsched_nb.core.request_admission import RequestAdmission
from ddsched_nb.engine import make_limit

__all__ = ["LimitTrial", "try_limit"]

_POOL = PoolKey("endpoint", "model")
_SERVED, _REFUSED = Outcome(OutcomeKind.SUCCESS), Outcome(OutcomeKind.RATE_LIMITED)


@dataclass(frozen=True, slots=True)
class LimitTrial:
    """How a limit did.

    Attributes:
        limit: Its name.
        seconds: How long the trial was; what came before `skipped_s` is not counted.
        skipped_s: The start, which is not counted.
        utilization: Integral of the smaller of what is in service and the capacity, over that of
            the capacity.
        answered: Requests answered.
        refused: Requests refused.
        history: When the limit changed, and to what, from the start on.
    """

    limit: str
    seconds: float
    skipped_s: float
    utilization: float
    answered: int
    refused: int
    history: tuple[tuple[float, int], ...] = field(repr=False)

    @property
    def refusals_per_success(self) -> float:
        """Refused over answered."""
        return self.refused / max(1, self.answered)


def try_limit(
    limit: str | Callable[[int], Limit],
    profile: EndpointProfile,
    *,
    seconds: float = 3_600.0,
    cap: int = 1_024,
    refusal_s: float = 0.1,
    skip_s: float | None = None,
    seed: int = 0,
) -> LimitTrial:
    """Tries a limit against an endpoint, with always one more request waiting.

    Args:
        limit: The name of one, with its defaults, or a function that makes one for a cap.
        profile: The endpoint: capacity over time and latency. Rates, knees and faults are not
            heeded.
        seconds: How long, in virtual seconds.
        cap: What the limit never exceeds.
        refusal_s: How long a refusal takes.
        skip_s: The start that is not counted; 30 service times if None.
        seed: Decides the latencies.

    Raises:
        ConfigError: There is no such limit.
    """
    if isinstance(limit, str):
        named: dict[str, Any] = {"limit": limit}  # a name that is none is refused there
        made = make_limit(RequestAdmissionConfig(**named), cap, 0.0)
    else:
        made = limit(cap)
    skipped = 30 * profile.latency.mean_s if skip_s is None else skip_s
    return _Trial(made, profile, cap, refusal_s, random.Random(f"trial|{seed}")).run(
        seconds, skipped
    )


class _Trial:
    def __init__(
        self,
        limit: Limit,
        profile: EndpointProfile,
        cap: int,
        refusal_s: float,
        dice: random.Random,
    ) -> None:
        self._limit = limit
        self._profile = profile
        self._curve = profile.curve
        self._cap = cap
        self._refusal_s = refusal_s
        self._dice = dice
        self._admission = RequestAdmission()
        self._admission.register(_POOL, limit, cap=cap, aggregate_cap=cap)
        self._events: list[tuple[float, int, Permit | None, bool]] = []
        self._order = 0
        self._waiting = 0
        self._serving = 0
        self._history: list[tuple[float, int]] = []

    def run(self, seconds: float, skipped: float) -> LimitTrial:
        """Runs to the end."""
        now = used = existed = 0.0
        answered = refused = 0
        self._turn(now)
        while self._events and self._events[0][0] <= seconds:
            at, _, permit, good = heapq.heappop(self._events)
            if now >= skipped:
                capacity = self._curve.at(now)
                used += min(self._serving, capacity) * (at - now)
                existed += capacity * (at - now)
            now = at
            if permit is not None:
                self._serving -= good
                answered += good and now >= skipped
                refused += not good and now >= skipped
                self._admission.release(permit, _SERVED if good else _REFUSED, now)
            self._turn(now)
        share = used / existed if existed else 0.0
        history = tuple(self._history)
        return LimitTrial(self._limit.name, seconds, skipped, share, answered, refused, history)

    def _turn(self, now: float) -> None:
        while True:
            while self._waiting <= self._cap:
                self._admission.enqueue(_POOL, now)
                self._waiting += 1
            turn = self._admission.advance(now)
            for _, permit in turn.granted:
                self._waiting -= 1
                self._send(permit, now)
            if not turn.granted:
                break
        # A limit that waits, and a capacity that changes, are looked at again in time.
        for when in (turn.next_deadline, self._curve.next_edge(now)):
            if when < math.inf and (not self._events or when < self._events[0][0]):
                self._push(when, None, False)
        value = self._limit.value(now)
        if not self._history or self._history[-1][1] != value:
            self._history.append((now, value))

    def _send(self, permit: Permit, now: float) -> None:
        if self._serving < self._curve.at(now):
            self._serving += 1
            drawn = self._profile.latency.draw_s(1 - self._dice.random(), self._dice.random())
            self._push(now + drawn, permit, True)
        else:
            self._push(now + self._refusal_s, permit, False)

    def _push(self, when: float, permit: Permit | None, good: bool) -> None:
        self._order += 1
        heapq.heappush(self._events, (when, self._order, permit, good))
