"""A limit on trial: one model, demand without end, a hidden capacity, and nothing else.

No pipeline, no scheduler and no event loop stand between the limit and what it is judged by.
Request admission, the very one that runs in production, is asked at each instant at which something
happens. An hour of a hundred thousand requests takes about two seconds.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.config import RequestAdmissionConfig
from ddsched_nb.core.limits import Limit, OwnLimit, limit_from
from ddsched_nb.core.model import OutcomeKind, Permit, PoolKey
from ddsched_nb.core.pacing import Pacing
from ddsched_nb.core.request_admission import RequestAdmission
from ddsched_nb.engine import make_limit
from ddsched_nb.reprs import brief, facts_html
from ddsched_nb.sim.backends import Backend

__all__ = ["LimitTrial", "try_limit"]

_POOL = PoolKey("endpoint", "model")
_PROMPT_TOKENS = 50.0


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
        history: When the limit of the first client changed, and to what, from the start on.
        latency_s: Median time of an answer, in seconds.
        shares: Slot-seconds in service of each client.
        tokens: Tokens of prompts and answers.
    """

    limit: str
    seconds: float
    skipped_s: float
    utilization: float
    answered: int
    refused: int
    history: tuple[tuple[float, int], ...] = field(repr=False)
    latency_s: float = field(default=0.0, repr=False)
    shares: tuple[float, ...] = field(default=(), repr=False)
    tokens: int = field(default=0, repr=False)

    def __repr__(self) -> str:
        return brief(
            f"<LimitTrial of {self.limit}, {self.seconds:g} s: utilization {self.utilization:.4f}, "
            f"{self.answered} answered, {self.refused} refused>"
        )

    def _repr_html_(self) -> str:
        facts = [
            ("utilization", f"{self.utilization:.4f}"),
            ("answered", self.answered),
            ("refused", self.refused),
            ("refusals a success", f"{self.refusals_per_success:.4f}"),
            ("median time of an answer, s", f"{self.latency_s:.3f}"),
            ("fairness between clients (Jain)", f"{self.jain:.3f}"),
            ("changes of the limit", len(self.history)),
        ]
        return facts_html(f"{self.limit} on trial, {self.seconds:g} s", facts)

    @property
    def refusals_per_success(self) -> float:
        """Refused over answered."""
        return self.refused / max(1, self.answered)

    @property
    def jain(self) -> float:
        """Fairness between the clients (Jain 1984): 1 where all had the same, 1/n at the worst."""
        squares = sum(share * share for share in self.shares)
        return sum(self.shares) ** 2 / (len(self.shares) * squares) if squares else 1.0


def try_limit(
    limit: str | Callable[[int], OwnLimit],
    profile: EndpointProfile,
    *,
    seconds: float = 3_600.0,
    cap: int = 1_024,
    refusal_s: float = 0.1,
    skip_s: float | None = None,
    seed: int = 0,
    starts: tuple[float, ...] = (0.0,),
    pacing: Callable[[], Pacing] | None = None,
) -> LimitTrial:
    """Tries a limit against an endpoint, with always one more request waiting.

    Args:
        limit: The name of one, with its defaults, or a function that makes one for a cap.
        profile: The endpoint: capacity over time, latency, knee, quotas. Faults are not heeded.
        seconds: How long, in virtual seconds.
        cap: What the limit never exceeds.
        refusal_s: How long a refusal takes.
        skip_s: The start that is not counted; 30 service times if None.
        seed: Decides the latencies.
        starts: When clients come, the first at 0. Each has a limit of its own, and knows nothing
            of the others.
        pacing: Makes declared quotas of a client; to be learned if None.

    Raises:
        ConfigError: There is no such limit.
        ContractError: A limit of your own answered what none may.
    """
    skipped = 30 * profile.latency.mean_s if skip_s is None else skip_s
    dice = random.Random(f"trial|{seed}")
    clients = [
        (at, _Client(_made(limit, cap), cap, None if pacing is None else pacing()))
        for at in sorted(starts)
    ]
    return _Trial(clients, Backend(profile, refusal_s, dice), profile).run(seconds, skipped)


def _made(limit: str | Callable[[int], OwnLimit], cap: int) -> Limit:
    if not isinstance(limit, str):
        return limit_from(limit, cap)
    named: dict[str, Any] = {"limit": limit}  # a name that is none is refused there
    return make_limit(RequestAdmissionConfig(**named), cap, 0.0)


class _Client:
    """One caller with a limit of its own, who always has one more request waiting."""

    def __init__(self, limit: Limit, cap: int, pacing: Pacing | None) -> None:
        self.limit = limit
        self.cap = cap
        self.admission = RequestAdmission()
        self.admission.register(_POOL, limit, cap=cap, aggregate_cap=cap, pacing=pacing)
        self.waiting = 0
        self.deadline = math.inf
        self.serving = 0
        self.history: list[tuple[float, int]] = []

    def turn(self, now: float) -> list[Permit]:
        """What it may send now."""
        sent = []
        while True:
            while self.waiting <= self.cap:
                self.admission.enqueue(_POOL, now, tokens=_PROMPT_TOKENS)
                self.waiting += 1
            turn = self.admission.advance(now)
            self.waiting -= len(turn.granted)
            sent += [permit for _, permit in turn.granted]
            if not turn.granted:
                break
        self.deadline = turn.next_deadline
        value = self.limit.value(now)
        if not self.history or self.history[-1][1] != value:
            self.history.append((now, value))
        return sent


class _Trial:
    def __init__(
        self, clients: list[tuple[float, _Client]], backend: Backend, profile: EndpointProfile
    ) -> None:
        self._coming = clients
        self._clients: list[_Client] = []
        self._backend = backend
        self._curve = profile.curve
        self._knee = profile.knee if profile.slowing != "soft" else None
        self._owner: dict[tuple[int, int], _Client] = {}

    def run(self, seconds: float, skipped: float) -> LimitTrial:
        """Runs to the end."""
        backend = self._backend
        now = used = existed = 0.0
        answered = refused = tokens = 0
        latencies: list[float] = []
        shares = [0.0] * len(self._coming)
        while (at := self._next(now)) <= seconds:
            if now >= skipped:
                capacity = self._curve.at(now)
                if self._knee is not None:
                    capacity = min(capacity, self._knee)
                used += min(backend.serving, capacity) * (at - now)
                existed += capacity * (at - now)
                for number, client in enumerate(self._clients):
                    shares[number] += client.serving * (at - now)
            now = at
            while backend.next_end() <= now:
                permit, outcome = backend.end(now)
                client = self._owner.pop((permit.issuer, permit.permit_id))
                good = outcome.kind is OutcomeKind.SUCCESS
                client.serving -= good
                if now >= skipped:
                    answered += good
                    refused += not good
                    if good and outcome.usage is not None:
                        tokens += outcome.usage.total_tokens
                        latencies.append(now - permit.granted_at)
                client.admission.release(permit, outcome, now)
                self._turn(client, now)
            self._let_in(now)
            for client in self._clients:
                if client.deadline <= now:
                    self._turn(client, now)
        first = self._clients[0]
        return LimitTrial(
            first.limit.name,
            seconds,
            skipped,
            used / existed if existed else 0.0,
            answered,
            refused,
            tuple(first.history),
            statistics.median(latencies) if latencies else 0.0,
            tuple(shares),
            tokens,
        )

    def _next(self, now: float) -> float:
        at = min(self._backend.next_end(), self._curve.next_edge(now))
        if self._coming:
            at = min(at, self._coming[0][0])
        return min([at, *(client.deadline for client in self._clients)])

    def _let_in(self, now: float) -> None:
        while self._coming and self._coming[0][0] <= now:
            client = self._coming.pop(0)[1]
            self._clients.append(client)
            self._turn(client, now)

    def _turn(self, client: _Client, now: float) -> None:
        for permit in client.turn(now):
            self._owner[(permit.issuer, permit.permit_id)] = client
            before = self._backend.serving
            self._backend.send(permit, now)
            client.serving += self._backend.serving - before
