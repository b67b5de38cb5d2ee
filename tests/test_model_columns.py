"""Columns that ask models: embeddings, images and faulty endpoints, in real runs over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

import ddsched_nb as dd
from ddsched_nb import errors

FAST = dd.RetryConfig(initial_backoff_s=0.001, deferral_delay_s=0.001)


def profile(**fields: Any) -> dd.EndpointProfile:
    fields = {"model": "m", "capacity": 4, "latency": 0.002, "retry_after_s": 0.01, **fields}
    return dd.EndpointProfile(**fields)


def pipeline(endpoint: dd.EmbeddedEndpoint, *columns: Any, **model: Any) -> dd.Pipeline:
    return dd.Pipeline(
        providers=[dd.OpenAICompatible("local", base_url=endpoint.base_url)],
        models=[dd.Model("m", provider="local", **model)],
        columns=columns,
    )


def topics(n: int) -> dict[str, list[str]]:
    return {"topic": [f"topic {i}" for i in range(n)]}


async def test_embeddings_go_out_in_batches_and_come_back_by_row() -> None:
    with dd.EmbeddedEndpoint([profile(domain="embedding", dimensions=8)]) as endpoint:
        column = dd.EmbeddingColumn("v", model="m", text="About {{ topic }}", batch_size=10)
        config = dd.RunConfig(buffer_size=25)
        run = await dd.start(
            pipeline(endpoint, column, domain="embedding"), table=topics(60), config=config
        )
        vectors = run.to_pandas()["v"]
        assert len(vectors) == 60
        assert all(len(vector) == 8 for vector in vectors)
        # Groups of 25, 25 and 10 rows, ten texts a request.
        assert endpoint.stats()["m"].ok == 3 + 3 + 1
        assert endpoint.stats()["m"].max_in_flight <= 4
        (used,) = run.summary().columns
        assert (used.calls, used.completion_tokens) == (7, 0)
        assert used.prompt_tokens == run.summary().models[0].tokens > 0
        assert run.summary().models[0].name == "local/m/embedding"


async def test_embedding_one_row_is_embedding_that_row() -> None:
    with dd.EmbeddedEndpoint([profile(domain="embedding")]) as endpoint:
        made = []
        for size in (1, 7):
            column = dd.EmbeddingColumn("v", model="m", text="{{ topic }}", batch_size=size)
            pipe = pipeline(endpoint, column, domain="embedding")
            made.append((await dd.start(pipe, table=topics(20))).to_pandas()["v"].tolist())
        assert made[0] == made[1]


async def test_one_failed_request_of_a_batch_loses_its_own_rows_only() -> None:
    faults = [dd.Fault(kind="error", share=0.3, status=400, attempts=None)]
    with dd.EmbeddedEndpoint([profile(domain="embedding", faults=faults)]) as endpoint:
        column = dd.EmbeddingColumn("v", model="m", text="{{ topic }}", batch_size=5)
        config = dd.RunConfig(disable_early_shutdown=True)
        run = await dd.start(
            pipeline(endpoint, column, domain="embedding"), table=topics(60), config=config
        )
        summary = run.summary()
        assert 0 < summary.dropped < 60
        assert summary.dropped % 5 == 0
        assert summary.dropped == 5 * endpoint.stats()["m"].faulted
        assert {e.reason[:36] for e in run.errors} == {"CallFailed: local/m: HTTP 400 (serve"}


async def test_a_generator_may_embed_and_skip_what_it_likes() -> None:
    async def nearest(row: dd.Row, ctx: Any) -> int:
        answer = await ctx.embed("m", [row["topic"], "topic 3", "quantum"], dimensions=64)
        own, three, quantum = answer.vectors
        return int(sum(map(float.__mul__, own, three)) > sum(map(float.__mul__, own, quantum)))

    with dd.EmbeddedEndpoint([profile(domain="embedding")]) as endpoint:
        column = dd.Column("near", needs=["topic"], models=["m"], generate=nearest)
        run = await dd.start(pipeline(endpoint, column, domain="embedding"), table=topics(5))
        assert run.to_pandas()["near"].tolist() == [1] * 5


async def test_images_are_bytes_in_memory_and_in_a_store(tmp_path: Any) -> None:
    with dd.EmbeddedEndpoint([profile(domain="image")]) as endpoint:
        column = dd.ImageColumn(
            "picture", model="m", prompt="Draw {{ topic }}", params={"size": "8x8"}
        )
        prices = dd.Prices(image=0.04)
        pipe = pipeline(endpoint, column, domain="image", prices=prices)
        run = await dd.start(pipe, table=topics(6), store=tmp_path / "s")
        pictures = run.to_pandas()["picture"].tolist()
        assert all(picture.startswith(b"\x89PNG") for picture in pictures)
        assert len(set(pictures)) == 6
        assert run.summary().columns[0].images == 6
        assert run.summary().cost == (("USD", pytest.approx(0.24)),)


async def test_faults_are_tried_again_and_no_row_is_lost() -> None:
    faults = [
        dd.Fault(kind="error", share=0.2, attempts=2, status=500),
        dd.Fault(kind="disconnect", share=0.1),
        dd.Fault(kind="garbage", share=0.1),
    ]
    with dd.EmbeddedEndpoint([profile(faults=faults)]) as endpoint:
        column = dd.ModelColumn("text", model="m", prompt="Write of {{ topic }}.")
        config = dd.RunConfig(retry=FAST)
        run = await dd.start(pipeline(endpoint, column), table=topics(80), config=config)
        summary, counts = run.summary(), endpoint.stats()["m"]
        assert (summary.finished, summary.dropped) == (80, 0)
        assert counts.faulted > 20
        assert summary.limits.retries == counts.faulted
        assert summary.models[0].failed == counts.faulted


async def test_an_answer_off_schema_is_asked_again_with_what_was_wrong() -> None:
    class Pair(BaseModel):
        low: int
        high: int

    faults = [dd.Fault(kind="off_schema", share=0.4)]
    with dd.EmbeddedEndpoint([profile(faults=faults)]) as endpoint:
        column = dd.ModelColumn(
            "p", model="m", prompt="A pair for {{ topic }}.", parse=Pair, parse_attempts=20
        )
        run = await dd.start(pipeline(endpoint, column), table=topics(40))
        (used,) = run.summary().columns
        assert run.summary().finished == 40
        assert used.asked_again == endpoint.stats()["m"].faulted > 5
        assert used.calls == 40 + used.asked_again


async def test_models_of_one_id_share_a_cap_over_all_domains() -> None:
    async def both(row: dd.Row, ctx: Any) -> int:
        await ctx.chat("talk", "Hello {{ topic }}")
        return 1

    with dd.EmbeddedEndpoint([profile(capacity=8)]) as endpoint:
        pipe = dd.Pipeline(
            providers=[dd.OpenAICompatible("local", base_url=endpoint.base_url)],
            models=[
                dd.Model("talk", provider="local", id="m", max_parallel_requests=3),
                dd.Model("chat", provider="local", id="m", healthcheck=True),
            ],
            columns=[
                dd.Column("a", needs=["topic"], models=["talk"], generate=both),
                dd.ModelColumn("b", model="chat", prompt="Say {{ topic }}"),
            ],
        )
        await dd.start(pipe, table=topics(20))
        assert endpoint.stats()["m"].max_in_flight == 3


def test_a_column_and_its_model_must_be_of_one_domain() -> None:
    with pytest.raises(errors.ConfigError, match=r"\(EmbeddingColumn\) needs a model of domain"):
        dd.Pipeline(
            providers=[dd.OpenAICompatible("p", base_url="http://127.0.0.1:1/v1")],
            models=[dd.Model("m", provider="p")],
            columns=[dd.EmbeddingColumn("v", model="m", text="x")],
        )
    with pytest.raises(errors.ConfigError, match="domain of model 'm' is 'audio'"):
        dd.Model("m", provider="p", domain="audio")  # type: ignore[arg-type]


async def test_a_generator_that_uses_a_model_in_the_wrong_domain_is_told() -> None:
    async def wrong(row: dd.Row, ctx: Any) -> int:
        await ctx.embed("m", ["x"])
        return 1

    with dd.EmbeddedEndpoint([profile()]) as endpoint:
        column = dd.Column("w", needs=["topic"], models=["m"], generate=wrong)
        with pytest.raises(errors.GeneratorBug, match=r"'m' as embedding model, which is decl"):
            await dd.start(pipeline(endpoint, column), table=topics(1))
