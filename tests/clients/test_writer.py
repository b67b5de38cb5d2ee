from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from ddsched_nb.clients.writer import Dice, count_tokens, write

CAR = "Write one sentence about the ford torino, built in 1970."


def text(prompt: str, **options: Any) -> str:
    return write(prompt, model="m", **options).text


def test_an_answer_is_a_function_of_prompt_model_and_seed() -> None:
    prompts = [f"Write about the car {i}." for i in range(30)]
    assert [write(p, model="m") for p in prompts] == [write(p, model="m") for p in prompts]
    assert [text(p) for p in prompts] != [text(p, seed=1) for p in prompts]
    assert [text(p) for p in prompts] != [write(p, model="n").text for p in prompts]
    assert len({write(p, model="m").number for p in prompts}) == 30


def test_an_answer_takes_up_the_words_of_the_prompt() -> None:
    assert "ford torino" in text(CAR)
    assert "chevrolet chevelle malibu" in text(
        "Describe in one sentence: the chevrolet chevelle malibu"
    )
    assert text("Ask about the ford torino.").endswith("?")


@pytest.mark.parametrize(
    "prompt", ["", "?", "{}", "{{", "\ud800", "one of: ", "1-5", "x" * 200_000, "{\"'" * 50_000]
)
def test_any_prompt_gets_an_answer(prompt: str) -> None:
    answer = write(prompt, model="m")
    assert answer.text
    assert answer.finish_reason == "stop"


def test_options_are_chosen_from() -> None:
    chosen = {
        text(f"Classify car {i} as one of: family, sport, luxury or economy.") for i in range(60)
    }
    assert chosen == {"family", "sport", "luxury", "economy"}


def test_numbers_stay_on_their_scale() -> None:
    rated = {int(text(f"Rate answer {i} from 1 to 10. Only a number.")) for i in range(300)}
    assert rated == set(range(1, 11))
    assert {int(text(f"Grade essay {i}.")) for i in range(100)} == {1, 2, 3, 4, 5}


def test_json_has_the_keys_that_the_prompt_names() -> None:
    answer = json.loads(text('Reply with JSON: {"score": 1-5, "reason": "..."} on the torino.'))
    assert list(answer) == ["score", "reason"]
    assert 1 <= answer["score"] <= 5
    assert isinstance(answer["reason"], str)
    assert set(json.loads(text(CAR, response_format={"type": "json_object"}))) == {
        "answer",
        "score",
    }


class Mood(StrEnum):
    GOOD = "good"
    BAD = "bad"


class Part(BaseModel):
    name: Annotated[str, Field(max_length=12)]
    parts: list[Part] = []


class Review(BaseModel):
    score: Annotated[int, Field(ge=1, le=10)]
    above: Annotated[int, Field(gt=3, lt=5)]
    price: Annotated[float, Field(gt=0, lt=1)]
    mood: Mood
    kind: Literal["car", "boat"]
    words: Annotated[list[str], Field(min_length=3, max_length=5)]
    long: Annotated[str, Field(min_length=400)]
    good: bool
    first: Part
    note: str | None


def test_a_json_schema_is_filled_so_that_pydantic_takes_it() -> None:
    schema = Review.model_json_schema()
    wanted = {"type": "json_schema", "json_schema": {"name": "r", "schema": schema}}
    reviews = [
        Review.model_validate_json(text(f"Review car {i}.", response_format=wanted, max_tokens=1))
        for i in range(40)
    ]
    assert {review.score for review in reviews} == set(range(1, 11))
    assert {review.mood for review in reviews} == set(Mood)


def test_max_tokens_cuts_and_says_so() -> None:
    answer = write(CAR, model="m", max_tokens=3)
    assert answer.finish_reason == "length"
    assert answer.completion_tokens <= 3
    assert text(CAR).startswith(answer.text)


def test_tokens_are_counted_from_the_text() -> None:
    answer = write(CAR, model="m")
    assert answer.prompt_tokens == count_tokens(CAR) == 14
    assert answer.completion_tokens == count_tokens(answer.text)


def test_dice_reach_every_side() -> None:
    assert {Dice(str(i)).below(6) for i in range(200)} == set(range(6))
    assert Dice("x").below(1) == 0
