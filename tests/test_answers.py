"""Answers that parse, answers that do not, and what was paid for them; on a real endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

import ddsched_nb as dd
from ddsched_nb import errors
from ddsched_nb.aio.parsing import correction, make_parser, what_failed


class Grade(BaseModel):
    """What a judge says."""

    score: int = Field(ge=1, le=5)
    verdict: Literal["keep", "drop"]


@pytest.fixture
def endpoint() -> Iterator[dd.EmbeddedEndpoint]:
    with dd.EmbeddedEndpoint([dd.EndpointProfile(model="m", capacity=8, latency=0.002)]) as running:
        yield running


def pipeline(endpoint: dd.EmbeddedEndpoint, *columns: Any, **model: Any) -> dd.Pipeline:
    return dd.Pipeline(
        providers=[dd.OpenAICompatible("local", base_url=endpoint.base_url)],
        models=[dd.Model("judge", provider="local", id="m", **model)],
        columns=columns,
    )


TABLE = {"topic": [f"topic {n}" for n in range(12)]}


async def test_a_pydantic_model_sends_its_schema_and_gives_instances(
    endpoint: dd.EmbeddedEndpoint,
) -> None:
    seen: list[Any] = []
    run = await dd.start(
        pipeline(
            endpoint,
            dd.ModelColumn("grade", model="judge", prompt="Grade {{ topic }}.", parse=Grade),
            dd.Column("kept", needs=["grade"], generate=lambda row: seen.append(row["grade"])),
            dd.ModelColumn("why", model="judge", prompt="Why {{ grade.score }} for {{ topic }}?"),
        ),
        table=TABLE,
    )
    assert all(isinstance(grade, Grade) for grade in seen)
    assert len(seen) == 12
    assert len({grade.score for grade in seen}) > 1
    # In the table they are plain, as they would be in a store.
    assert run.to_pandas()["grade"][0] in [grade.model_dump() for grade in seen]
    assert run.summary().columns[0].asked_again == 0


async def test_a_parser_that_refuses_is_asked_again_with_a_permit_each(
    endpoint: dd.EmbeddedEndpoint,
) -> None:
    read: list[str] = []

    def not_at_first(text: str) -> int:
        read.append(text)
        if len(read) <= 12:
            raise ValueError("that is not what I want")
        return len(text)

    column = dd.ModelColumn(
        "n", model="judge", prompt="Ask {{ topic }}.", parse=not_at_first, parse_attempts=13
    )
    run = await dd.start(pipeline(endpoint, column, max_parallel_requests=1), table=TABLE)
    (used,) = run.summary().columns
    assert run.summary().finished == 12
    assert (used.calls, used.asked_again) == (24, 12)
    stats = endpoint.stats()["m"]
    assert (stats.ok, stats.max_in_flight) == (24, 1)
    (model,) = run.summary().models
    assert model.requests == 24


async def test_an_answer_that_never_parses_drops_the_row_with_the_reason(
    endpoint: dd.EmbeddedEndpoint,
) -> None:
    def never(text: str) -> int:
        raise ValueError(text)

    config = dd.RunConfig(disable_early_shutdown=True)
    column = dd.ModelColumn(
        "n", model="judge", prompt="Ask {{ topic }}.", parse=never, parse_attempts=2
    )
    run = await dd.start(pipeline(endpoint, column), table=TABLE, config=config)
    assert run.summary().dropped == 12
    assert endpoint.stats()["m"].ok == 24
    reasons = {error.reason for error in run.errors}
    assert reasons == {"AnswerDidNotParse: no answer of 2 parsed (last: ValueError)"}


async def test_a_custom_generator_asks_for_what_parses(endpoint: dd.EmbeddedEndpoint) -> None:
    async def grade(row: dd.Row, ctx: Any) -> int:
        found = await ctx.ask("judge", f"Grade {row['topic']}.", parse=Grade, max_tokens=50)
        again = await ctx.chat("judge", f"Why {found.score}?")
        return found.score if again.text else 0

    run = await dd.start(
        pipeline(endpoint, dd.Column("g", needs=["topic"], models=["judge"], generate=grade)),
        table=TABLE,
    )
    assert set(run.to_pandas()["g"]) <= {1, 2, 3, 4, 5}
    assert run.summary().columns[0].calls == 24


async def test_tokens_and_money_are_summed_by_column(endpoint: dd.EmbeddedEndpoint) -> None:
    prices = dd.Prices(prompt=2.0, completion=8.0, currency="EUR")
    run = await dd.start(
        pipeline(
            endpoint,
            dd.ModelColumn("a", model="judge", prompt="Ask about {{ topic }}."),
            dd.ModelColumn("b", model="judge", prompt="Answer {{ a }}"),
            prices=prices,
        ),
        table=TABLE,
    )
    summary = run.summary()
    a, b = summary.columns
    assert (a.column, a.model, a.calls, b.calls) == ("a", "judge", 12, 12)
    tokens = sum(c.prompt_tokens + c.completion_tokens for c in (a, b))
    assert tokens == summary.models[0].tokens
    assert a.cost == pytest.approx((a.prompt_tokens * 2 + a.completion_tokens * 8) / 1e6)
    assert summary.cost == (("EUR", pytest.approx((a.cost or 0) + (b.cost or 0))),)
    assert "cost: " in str(summary)
    assert "EUR" in str(summary)


async def test_without_prices_no_money_is_shown(endpoint: dd.EmbeddedEndpoint) -> None:
    column = dd.ModelColumn("a", model="judge", prompt="Ask {{ topic }}.")
    run = await dd.start(pipeline(endpoint, column), table=TABLE)
    assert run.summary().cost == ()
    assert "cost:" not in str(run.summary())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"prompt": -1}, "prompt of Prices is -1"), ({"image": float("nan")}, "image of Prices")],
)
def test_prices_are_checked(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(errors.ConfigError, match=said):
        dd.Prices(**wrong)


def test_fenced_json_is_read_too() -> None:
    parser = make_parser("parse", Grade)
    fenced = 'Sure: \n```json\n{"score": 4, "verdict": "keep"}\n```'
    assert parser.read(fenced.removeprefix("Sure: \n")).score == 4
    with pytest.raises(ValueError, match="JSON"):
        parser.read(fenced)


def test_the_model_is_told_what_was_wrong_and_others_are_not() -> None:
    parser = make_parser("parse", Grade)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - what it says is tested below
        parser.read('{"score": 9, "verdict": "CANARY"}')
    assert "- score: Input should be less than or equal to 5" in correction(caught.value)
    assert what_failed(caught.value) == "2 x less_than_equal, literal_error"


def test_what_cannot_parse_is_refused_at_once() -> None:
    with pytest.raises(errors.ConfigError, match="parse of column 'a' is 3"):
        dd.ModelColumn("a", model="m", prompt="x", parse=3)  # type: ignore[arg-type]
    with pytest.raises(errors.ConfigError, match="parse_attempts of column 'a' is 0"):
        dd.ModelColumn("a", model="m", prompt="x", parse=int, parse_attempts=0)
