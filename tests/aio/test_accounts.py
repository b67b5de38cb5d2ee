"""Runs that share an account share its limits; others do not; a second loop is refused by name."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading

import pytest

import ddsched_nb as dd
from ddsched_nb.clients.embedded import EmbeddedEndpoint
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.core import events as ev
from ddsched_nb.errors import ConfigError, RecordError


def profile(**fields: object) -> EndpointProfile:
    return EndpointProfile(**{"model": "m", "capacity": 6, "latency": 0.02, **fields})


def asking(endpoint: EmbeddedEndpoint, provider: str = "local", **model: object) -> dd.Pipeline:
    return dd.Pipeline(
        providers=[dd.OpenAICompatible(provider, base_url=endpoint.base_url)],
        models=[dd.Model("writer", provider=provider, id="m", **model)],
        columns=[dd.ModelColumn("text", model="writer", prompt="Write of {{ topic }}.")],
    )


def topics(n: int) -> dict[str, list[str]]:
    return {"topic": [f"topic {i}" for i in range(n)]}


async def test_two_runs_of_one_account_share_one_limit() -> None:
    async with EmbeddedEndpoint([profile(capacity=64)]) as endpoint:
        one = dd.start(asking(endpoint, max_parallel_requests=5), table=topics(60))
        other = dd.start(asking(endpoint, "mine", max_parallel_requests=8), table=topics(60))
        await asyncio.gather(one._await(), other._await())
        assert endpoint.stats()["m"].max_in_flight == 5, "the least of their caps"
        assert endpoint.stats()["m"].ok == 120
    kinds = [type(event) for event in one.record.events]
    assert ev.RequestPoolShared in kinds
    for run in (one, other):
        pools = {event.pool.provider for event in run.record.events if hasattr(event, "pool")}
        assert pools == {run.pipeline.models[0].provider}, "each in its own words"
        ends = [e for e in run.record.events if isinstance(e, ev.ModelRequestCompleted)]
        assert len(ends) == 60, "and of its own requests only"
    with pytest.raises(RecordError, match="was shared with 1 other"):
        dd.replay(one.record)


async def test_runs_that_want_it_compete() -> None:
    async with EmbeddedEndpoint([profile(capacity=64)]) as endpoint:
        config = dd.RunConfig(share_limits=False)
        runs = [
            dd.start(asking(endpoint, max_parallel_requests=5), table=topics(40), config=config)
            for _ in range(2)
        ]
        await asyncio.gather(*(run._await() for run in runs))
        assert endpoint.stats()["m"].max_in_flight == 10


async def test_what_one_run_pauses_the_other_uses() -> None:
    async with EmbeddedEndpoint([profile()]) as endpoint:
        paused = dd.start(asking(endpoint), table=topics(200))
        other = dd.start(asking(endpoint), table=topics(40))
        await asyncio.sleep(0.03)
        paused.pause()
        await asyncio.wait_for(other._await(), 20)
        assert paused.state == "paused"
        assert paused.statistics().rows_finished < 200
        paused.resume()
        await asyncio.wait_for(paused._await(), 20)
        assert len(paused.to_pandas()) == 200


async def test_a_run_that_is_cancelled_leaves_the_others_alone() -> None:
    async with EmbeddedEndpoint([profile()]) as endpoint:
        one = dd.start(asking(endpoint, max_parallel_requests=2), table=topics(500))
        other = dd.start(asking(endpoint, max_parallel_requests=6), table=topics(80))
        await asyncio.sleep(0.05)
        one.cancel()
        await asyncio.wait_for(other._await(), 20)
        assert len(other.to_pandas()) == 80
        assert endpoint.stats()["m"].max_in_flight > 2, "its cap went with it"
        assert one.done


async def test_a_second_loop_on_an_account_is_refused_by_name() -> None:
    async with EmbeddedEndpoint([profile()]) as endpoint:
        run = dd.start(asking(endpoint), table=topics(300))
        await asyncio.sleep(0.02)

        def elsewhere(**config: object) -> dd.Run:
            return dd.start(asking(endpoint), table=topics(4), config=dd.RunConfig(**config)).wait()

        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            loop = asyncio.get_running_loop()
            with pytest.raises(ConfigError, match="'local' is used by a run on another"):
                await loop.run_in_executor(pool, elsewhere)
            competing = await loop.run_in_executor(pool, lambda: elsewhere(share_limits=False))
        assert competing.state == "finished"
        await run._await()


async def test_limits_say_how_they_went_and_why() -> None:
    async with EmbeddedEndpoint([profile(capacity=6, retry_after_s=0.02)]) as endpoint:
        config = dd.RunConfig(record=False)
        run = await dd.start(asking(endpoint), table=topics(80), config=config)
    (history,) = run.limits.values()
    assert (history[0].limit, history[0].reason) == (12, "start")
    refused = next(point for point in history if point.reason == "rate_limited")
    assert refused.limit == 6
    assert refused.served == 7, "six were served, and it was the seventh"
    assert refused.permit_id is not None
    assert refused.seconds > 0


async def test_quotas_that_are_declared_are_kept() -> None:
    async with EmbeddedEndpoint([profile(capacity=64, requests_per_minute=1_200)]) as endpoint:
        run = await dd.start(asking(endpoint, requests_per_minute=1_100), table=topics(50))
        assert endpoint.stats()["m"].refused == 0
    assert run.summary().finished == 50
    assert dd.replay(run.record).pools == run.statistics().pools


async def test_quotas_that_headers_speak_of_are_kept() -> None:
    quota = {"requests_per_minute": 1_200, "burst_s": 0.5, "quota_headers": "openai"}
    async with EmbeddedEndpoint([profile(capacity=64, **quota)]) as endpoint:
        run = await dd.start(asking(endpoint), table=topics(60))
        assert endpoint.stats()["m"].refused <= 4, "the first go out before anything is known"
    (pool,) = run.statistics().pools
    assert [(p.unit, p.per_minute, p.source) for p in pool.pacing] == [
        ("requests", 1_200.0, "headers")
    ]
    assert dd.replay(run.record).pools == run.statistics().pools


async def test_an_account_is_shared_by_its_models() -> None:
    profiles = [profile(capacity=64), profile(model="n", capacity=64)]
    async with EmbeddedEndpoint(profiles) as endpoint:
        local = dd.OpenAICompatible("local", base_url=endpoint.base_url, max_parallel_requests=3)
        pipeline = dd.Pipeline(
            providers=[local],
            models=[dd.Model(name, provider="local") for name in ("m", "n")],
            columns=[
                dd.ModelColumn(name, model=name, prompt="Write of {{ topic }}.")
                for name in ("m", "n")
            ],
        )
        run = await dd.start(pipeline, table=topics(40))
        found = endpoint.stats()
    assert found["m"].max_in_flight + found["n"].max_in_flight <= 4
    assert dd.replay(run.record).pools == run.statistics().pools


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"requests_per_minute": 0}, "requests_per_minute of model 'a' is 0"),
        ({"tokens_per_minute": "many"}, "tokens_per_minute of model 'a' is 'many'"),
    ],
)
def test_a_quota_that_is_none(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        dd.Model("a", provider="p", **fields)


def test_a_run_in_a_thread_has_its_own_account_afterwards() -> None:
    with EmbeddedEndpoint([profile()]) as endpoint:
        assert dd.start(asking(endpoint), table=topics(5)).wait().state == "finished"

        async def here() -> None:
            run = await dd.start(asking(endpoint), table=topics(5))
            assert run.state == "finished"

        thread = threading.Thread(target=lambda: asyncio.run(here()))
        thread.start()
        thread.join()
