"""The limits on trial: hidden capacities that stay, step and swing, for an hour each.

Utilization stands beside refusals, since either alone is easily had: a limit that is never refused
may leave half of an endpoint idle, and the most naive one, which never moves, uses all of it and is
refused without end.
"""

from __future__ import annotations

import math
import statistics

from ddsched_nb.clients.capacity import Sine
from ddsched_nb.clients.latency import Latency
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.sim.trial import try_limit

__all__ = ["CASES", "LIMITS", "sweep", "trials"]

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
