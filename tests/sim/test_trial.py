"""Limits on trial: the figures that the default limit is there for, on shorter trials."""

from __future__ import annotations

import math

import pytest

import ddsched_nb as dd
from ddsched_nb.bench.limits import CASES
from ddsched_nb.clients.latency import Latency
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.core.limits import CeilingLimit, FixedLimit
from ddsched_nb.errors import ConfigError
from ddsched_nb.sim.trial import LimitTrial, try_limit
from ddsched_nb.views.charts import trial
from ddsched_nb.views.specs import describe


@pytest.mark.parametrize(
    ("case", "utilization", "refusals"),
    [
        ("constant 64", 0.995, 0.001),
        ("steps 64, 24, 96", 0.985, 0.003),
        ("sine 32..96", 0.98, 0.005),
    ],
)
def test_the_default_limit_keeps_what_it_promises(
    case: str, utilization: float, refusals: float
) -> None:
    seen = dd.try_limit("ceiling", CASES[case], seed=1)
    assert seen.utilization >= utilization
    assert seen.refusals_per_success <= refusals


def test_the_reference_and_the_most_naive_policy_stand_beside_it() -> None:
    aimd = dd.try_limit("aimd", CASES["constant 64"])
    assert 0.8 < aimd.utilization < 0.9
    naive = dd.try_limit(lambda cap: FixedLimit(96), CASES["constant 64"], seconds=100)
    assert naive.utilization > 0.999
    assert naive.refusals_per_success > 5


@pytest.mark.parametrize("capacity", [8, 64, 256])
@pytest.mark.parametrize("mean", [0.1, 60.0])
def test_no_capacity_and_no_service_time_is_too_small_or_too_large(
    capacity: int, mean: float
) -> None:
    latency = dd.Latency(mean_s=mean, sigma=math.sqrt(math.log(1.36)), max_s=86_400)
    profile = dd.EndpointProfile(model="m", capacity=capacity, latency=latency)
    seen = dd.try_limit("ceiling", profile, seconds=800 * mean, refusal_s=min(0.1, mean / 5))
    assert seen.utilization >= 0.96
    assert seen.refusals_per_success <= 0.001 or seen.refused <= 770 / 50


def test_a_trial_is_the_same_twice_and_says_so() -> None:
    one, other = (dd.try_limit("ceiling", CASES["constant 64"], seconds=200) for _ in range(2))
    assert one == other
    assert one.history[0] == (0.0, 12)
    drawn = trial(one, CASES["constant 64"]).to_dict()
    assert "utilization" in drawn["title"]["subtitle"]
    assert "hidden capacity" in describe(drawn)
    with pytest.raises(ConfigError, match="'newest'"):
        dd.try_limit("newest", CASES["constant 64"])


def test_a_refused_burst_at_an_endpoint_that_serves_does_not_stop_the_pool() -> None:
    # Twelve at once on four slots: eight are refused at once, and the four go on and are followed.
    profile = dd.EndpointProfile(model="w", capacity=4, latency=0.2, retry_after_s=1.0)
    pipeline = dd.Pipeline(
        columns=[
            dd.Column("row_id", generate=list),
            dd.ModelColumn("a", model="w", prompt="Line {{ row_id }}."),
        ],
        models=[dd.Model("w", provider="p", max_parallel_requests=40)],
        providers=[dd.SimulatedProvider("p", [profile])],
    )
    record = dd.simulate(pipeline, rows=200)
    assert record.result.makespan_s <= 1.15 * 200 * 0.2 / 4
    assert record.result.refused <= 12


def test_who_is_fair_shares_with_whoever_comes_and_who_is_not_starves_nobody() -> None:
    service = Latency(mean_s=1.0, sigma=0.5)
    profile = EndpointProfile(model="m", capacity=16, latency=service)

    def shared(fair: bool) -> LimitTrial:
        return try_limit(
            lambda cap: CeilingLimit(cap, fair=fair),
            profile,
            seed=1,
            starts=(0.0, 50.0),
            seconds=750.0,
            skip_s=550.0,
        )

    among_fair, among_others = shared(True), shared(False)
    assert among_fair.jain > 0.9
    assert among_fair.utilization > 0.95
    assert among_fair.refusals_per_success < 0.01
    assert min(among_others.shares) > 0


@pytest.mark.parametrize("seed", [1, 3])
def test_a_neighbour_is_not_taken_for_a_quota(seed: int) -> None:
    service = Latency(mean_s=2.2, sigma=0.555)
    profile = EndpointProfile(model="m", capacity=16, latency=service)
    tried = try_limit(
        lambda cap: CeilingLimit(cap, fair=True),
        profile,
        seed=seed,
        starts=(0.0, 200.0),
        seconds=200 + 800 * 2.2,
        skip_s=200 + 600 * 2.2,
    )
    assert tried.utilization >= 0.95
    assert tried.refusals_per_success <= 0.01


@pytest.mark.parametrize("burst_s", [1.0, 10.0, 60.0])
def test_a_quota_is_learned_from_refusals_alone(burst_s: float) -> None:
    profile = CASES["constant 64"].model_copy(
        update={
            "capacity": 1_024,
            "requests_per_minute": 600.0,
            "burst_s": burst_s,
            "refusal_headers": {},
        }
    )
    seen = dd.try_limit("ceiling", profile, seed=1)
    assert seen.answered / (10 * (seen.seconds - seen.skipped_s)) >= 0.97
    assert seen.refused / seen.answered <= 0.005


def test_a_quota_of_tokens_is_learned_from_refusals_alone() -> None:
    profile = CASES["constant 64"].model_copy(
        update={
            "capacity": 1_024,
            "tokens_per_minute": 60_000.0,
            "burst_s": 10.0,
            "refusal_headers": {},
        }
    )
    seen = dd.try_limit("ceiling", profile, seed=1)
    assert seen.tokens / (1_000 * (seen.seconds - seen.skipped_s)) >= 0.97
    assert seen.refused / seen.answered <= 0.005
