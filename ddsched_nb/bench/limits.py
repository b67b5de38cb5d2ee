"""The limits on trial: hidden capacities that stay, step and swing, for an hour each.

Utilization stands beside refusals, since either alone is easily had: a limit that is never refused
may leave half of an endpoint idle, and the most naive one, which never moves, uses all of it and is
refused without end.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any

from ddsched_nb.clients.capacity import Sine
from ddsched_nb.clients.latency import Latency
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.core.limits import CeilingLimit, Limit
from ddsched_nb.core.pacing import Pacing
from ddsched_nb.sim.trial import try_limit

__all__ = [
    "CASES",
    "LIMITS",
    "fairness",
    "latency_trials",
    "quota_trials",
    "sweep",
    "trials",
]

# Lognormal with a mean of 2.2 s and a coefficient of variation of 0.6.
_SERVICE = Latency(mean_s=2.2, sigma=math.sqrt(math.log(1 + 0.6**2)))
CASES = {
    "constant 64": EndpointProfile(model="m", capacity=64, latency=_SERVICE),
    "steps 64, 24, 96": EndpointProfile(
        model="m", capacity=64, steps=((1_200.0, 24), (2_400.0, 96)), latency=_SERVICE
    ),
    "sine 32..96": EndpointProfile(
        model="m",
        capacity=96,
        shapes=(Sine(period_s=1_800.0, low=1 / 3),),
        latency=_SERVICE,
    ),
}
LIMITS = ("ceiling", "aimd", "fixed")
_SHARING: dict[str, str | Callable[[int], Limit]] = {
    "ceiling, fair": lambda cap: CeilingLimit(cap, fair=True),
    "ceiling": "ceiling",
    "aimd": "aimd",
}
QUOTAS: tuple[tuple[str, str, float], ...] = (
    ("requests", "openai", 1.0),
    ("requests", "anthropic", 10.0),
    ("requests", "azure", 60.0),
    ("requests", "declared", 1.0),
    ("requests", "Retry-After", 1.0),
    ("requests", "Retry-After", 10.0),
    ("requests", "Retry-After", 60.0),
    ("requests", "refusals alone", 1.0),
    ("requests", "refusals alone", 10.0),
    ("requests", "refusals alone", 60.0),
    ("tokens", "openai", 10.0),
    ("tokens", "declared", 10.0),
    ("tokens", "Retry-After", 10.0),
    ("tokens", "refusals alone", 1.0),
    ("tokens", "refusals alone", 10.0),
    ("tokens", "refusals alone", 60.0),
)
_PER_MINUTE = {"requests": 600.0, "tokens": 60_000.0}
_SERVERS = 32


def trials(seeds: int = 10) -> list[dict[str, object]]:
    """Each limit on each capacity; medians over seeds. `fixed` is the naive policy, at 96."""
    entries: list[dict[str, object]] = []
    for name, profile in CASES.items():
        for limit in LIMITS:
            cap = 96 if limit == "fixed" else 1_024
            # A million refusals an hour: one seed says it.
            runs = 1 if limit == "fixed" else seeds
            seen = [try_limit(limit, profile, cap=cap, seed=seed) for seed in range(runs)]
            entries.append(
                {
                    "capacity": name,
                    "limit": limit,
                    "utilization": f"{statistics.median(s.utilization for s in seen):.4f}",
                    "refusals a success": (
                        f"{statistics.median(s.refusals_per_success for s in seen):.4f}"
                    ),
                    "seeds": runs,
                }
            )
    return entries


def sweep(seeds: int = 2) -> list[dict[str, object]]:
    """The default limit on capacities from 8 to 512 and services from 0.1 to 60 s."""
    entries: list[dict[str, object]] = []
    for capacity in (8, 16, 32, 64, 128, 256, 512):
        for mean in (0.1, 2.2, 60.0):
            profile = EndpointProfile(
                model="m",
                capacity=capacity,
                latency=Latency(mean_s=mean, sigma=_SERVICE.sigma, max_s=86_400.0),
            )
            seen = [
                try_limit(
                    "ceiling",
                    profile,
                    seconds=1_600 * mean,
                    refusal_s=min(0.1, mean / 5),
                    seed=seed,
                )
                for seed in range(seeds)
            ]
            worst = max(s.refused for s in seen)
            entries.append(
                {
                    "capacity": capacity,
                    "service s": mean,
                    "utilization, worst": f"{min(s.utilization for s in seen):.4f}",
                    "refusals a success": f"{max(s.refusals_per_success for s in seen):.5f}",
                    "service times a refusal": round(1_570 / max(1, worst), 1),
                }
            )
    return entries


def latency_trials(seeds: int = 10) -> list[dict[str, object]]:
    """Servers that never refuse and get slower: 32 of them, with a line, shared, and a soft knee.

    Throughput is stated over that of 32 servers, latency over its unloaded median, and power
    (throughput over latency) over the best that any fixed limit has on a soft knee.
    """
    entries: list[dict[str, object]] = []
    best = max(n / _soft_s(n) ** 2 for n in range(1, 1_000))
    for slowing in ("line", "shared", "soft"):
        profile = EndpointProfile(
            model="m", capacity=4_096, latency=_SERVICE, knee=_SERVERS, slowing=slowing
        )
        for limit in ("latency", "fixed"):
            cap = 96 if limit == "fixed" else 1_024
            seen = [try_limit(limit, profile, cap=cap, seed=seed) for seed in range(seeds)]
            counted = [one.seconds - one.skipped_s for one in seen]
            rates = [one.answered / seconds for one, seconds in zip(seen, counted, strict=True)]
            power = [
                rate / (one.shares[0] / one.answered) / best
                for rate, one in zip(rates, seen, strict=True)
            ]
            throughput = statistics.median(rates) * _SERVICE.mean_s / _SERVERS
            unloaded = _SERVICE.mean_s / math.sqrt(1 + 0.6**2)
            latency = statistics.median(one.latency_s for one in seen) / unloaded
            entries.append(
                {
                    "servers": slowing,
                    "limit": limit,
                    "throughput": f"{throughput:.3f}",
                    "latency": f"{latency:.2f}",
                    "power": f"{statistics.median(power):.3f}" if slowing == "soft" else "",
                    "seeds": seeds,
                }
            )
    return entries


def quota_trials(seeds: int = 10) -> list[dict[str, object]]:
    """Quotas per minute: how much of each is used, and how many requests are refused.

    Known by headers, by declaration, by refusals that say how long to wait, or by refusals alone.
    """
    entries: list[dict[str, object]] = []
    for unit, told, burst_s in QUOTAS:
        rates: dict[str, float] = {f"{unit}_per_minute": _PER_MINUTE[unit]}
        form = told if told in ("openai", "anthropic", "azure") else None
        described: dict[str, Any] = {
            "burst_s": burst_s,
            "quota_headers": form,
            "refusal_headers": {} if told == "refusals alone" else None,
            **rates,
        }
        profile = EndpointProfile(model="m", capacity=1_024, latency=_SERVICE, **described)
        pacing = (lambda rates=rates: Pacing(**rates)) if told == "declared" else None
        for limit in ("ceiling", "fixed"):
            if limit == "fixed" and told in ("declared", "refusals alone"):
                continue  # it heeds only Retry-After
            cap = 96 if limit == "fixed" else 1_024
            runs = 1 if limit == "fixed" else seeds
            seen = [
                try_limit(limit, profile, cap=cap, seed=seed, pacing=pacing) for seed in range(runs)
            ]
            used = [
                (one.answered if unit == "requests" else one.tokens)
                / (_PER_MINUTE[unit] / 60 * (one.seconds - one.skipped_s))
                for one in seen
            ]
            refused = [one.refused / max(1, one.refused + one.answered) for one in seen]
            entries.append(
                {
                    "quota": unit,
                    "known by": told,
                    "burst s": burst_s,
                    "limit": limit,
                    "used": f"{statistics.median(used):.4f}",
                    "refused": f"{statistics.median(refused):.4f}",
                    "seeds": runs,
                }
            )
    return entries


def fairness(seeds: int = 10) -> list[dict[str, object]]:
    """Two clients who know nothing of each other, the second 200 s after the first."""
    entries: list[dict[str, object]] = []
    mean = _SERVICE.mean_s
    for capacity in (64, 16):
        profile = EndpointProfile(model="m", capacity=capacity, latency=_SERVICE)
        for limit, make in _SHARING.items():
            seen = [
                try_limit(
                    make,
                    profile,
                    seed=seed,
                    starts=(0.0, 200.0),
                    seconds=200 + 800 * mean,
                    skip_s=200 + 600 * mean,
                )
                for seed in range(seeds)
            ]
            entries.append(
                {
                    "slots": capacity,
                    "limit": limit,
                    "Jain": f"{statistics.median(one.jain for one in seen):.3f}",
                    "utilization": f"{statistics.median(one.utilization for one in seen):.3f}",
                    "refusals a success": (
                        f"{statistics.median(one.refusals_per_success for one in seen):.4f}"
                    ),
                    "seeds": seeds,
                }
            )
    return entries


def _soft_s(n: int) -> float:
    """Mean latency with n in flight on a soft knee."""
    return _SERVICE.mean_s * (1 + (n - 1) / _SERVERS)
