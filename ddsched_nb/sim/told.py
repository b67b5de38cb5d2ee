"""The oracle of a trial: who is told the capacity at each instant, and uses all of it.

The same endpoint and the same latencies as `try_limit`, and nobody who has to find anything out.
"""

from __future__ import annotations

import random

from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.core.model import OutcomeKind, Permit, PoolKey
from ddsched_nb.sim.backends import Backend
from ddsched_nb.sim.trial import LimitTrial

__all__ = ["try_oracle"]

_POOL = PoolKey("endpoint", "model")


def try_oracle(
    profile: EndpointProfile, *, seconds: float, refusal_s: float = 0.1, seed: int = 0
) -> LimitTrial:
    """Tries an endpoint with as many requests in flight as it has room for, from the start on.

    Args:
        profile: The endpoint: capacity over time and latency. Faults are not heeded.
        seconds: How long, in virtual seconds.
        refusal_s: How long a refusal takes; there is one only for want of a quota.
        seed: Decides the latencies.
    """
    backend = Backend(profile, refusal_s, random.Random(f"trial|{seed}"))
    curve = profile.curve
    now = used = 0.0
    answered = refused = 0
    history: list[tuple[float, int]] = []
    _fill(backend, curve.at(now), now)
    while (at := min(backend.next_end(), curve.next_edge(now))) <= seconds:
        capacity = curve.at(now)
        used += min(backend.serving, capacity) * (at - now)
        if not history or history[-1][1] != capacity:
            history.append((now, capacity))
        now = at
        while backend.next_end() <= now:
            good = backend.end(now)[1].kind is OutcomeKind.SUCCESS
            answered += good
            refused += not good
        _fill(backend, curve.at(now), now)
    existed = curve.integral(now)
    share = used / existed if existed else 0.0
    return LimitTrial("oracle", seconds, 0.0, share, answered, refused, tuple(history))


def _fill(backend: Backend, capacity: int, now: float) -> None:
    for _ in range(capacity - backend.serving):
        backend.send(Permit(0, 0, _POOL, 0, now, capacity, capacity), now)
