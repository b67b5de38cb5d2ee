"""What a user declares, and what is said of what cannot work."""

from __future__ import annotations

from typing import Any

import pytest

import ddsched_nb as dd
from ddsched_nb.clients.base import Completion
from ddsched_nb.core.metadata import SchedulingMetadata
from ddsched_nb.core.model import ModelKey, Usage
from ddsched_nb.core.row import Row
from ddsched_nb.errors import ConfigError, CycleError, UndeclaredNeedError

LOCAL = dd.OpenAICompatible("local", base_url="http://127.0.0.1:1/v1")
WRITER = dd.Model("writer", provider="local", id="small")


class Echo:
    """A context that answers with what it was asked, and remembers it."""

    def __init__(self, answer: str = "answer") -> None:
        self.asked: list[tuple[str, Any, dict[str, Any]]] = []
        self.answer = answer

    async def chat(self, model: str, prompt: Any, **params: Any) -> Completion:
        self.asked.append((model, prompt, params))
        return Completion(self.answer, Usage(), "stop", model)


def row(**values: Any) -> Row:
    return Row(values, number=0, column="q")


def test_needs_are_read_from_prompt_and_system() -> None:
    column = dd.ModelColumn("q", model="writer", prompt="{{ a }} {{ b }}", system="{{ c }}")
    assert column.spec.needs == ("a", "b", "c")


async def test_a_model_column_asks_its_model() -> None:
    context = Echo()
    column = dd.ModelColumn(
        "q", model="writer", prompt="Ask {{ a }}", system="Be {{ b }}", params={"max_tokens": 7}
    )
    assert await column.run(row(a="x", b="kind"), context) == "answer"
    assert context.asked == [("writer", "Ask x", {"system": "Be kind", "max_tokens": 7})]


async def test_a_callable_is_a_prompt_too() -> None:
    context = Echo()
    column = dd.ModelColumn("q", model="writer", prompt=lambda row: row["a"] * 2, needs=["a"])
    await column.run(row(a="x"), context)
    assert context.asked[0][1] == "xx"


def test_a_second_parameter_is_the_context() -> None:
    column = dd.Column("n", needs=["a"], generate=lambda row, context: (row["a"], context))
    assert column.run(row(a=1), "context") == (1, "context")
    optional = dd.Column("n", needs=["a"], generate=lambda row, scale=3: row["a"] * scale)
    assert optional.run(row(a=1), "context") == 3


def test_a_need_that_was_not_declared_is_named() -> None:
    with pytest.raises(UndeclaredNeedError, match=r"'q' reads 'b'.*\(needs: a\)"):
        row(a=1)["b"]


def test_what_a_column_gets_that_declares_nothing() -> None:
    keys = {"writer": WRITER.pool}
    assert dd.Column("n", generate=list).metadata(keys) == SchedulingMetadata.local("column", "n")
    custom = dd.Column("n", needs=["a"], models=["writer"], generate=lambda row, c: 1)
    assert custom.metadata(keys) == SchedulingMetadata.custom_model("column", "n")
    model = dd.ModelColumn("n", model="writer", prompt="x")
    assert model.metadata(keys) == SchedulingMetadata.model("local", "small", "chat")


def test_the_author_may_know_better() -> None:
    own = SchedulingMetadata.local("disk", weight=3)
    assert dd.Column("n", generate=list, scheduling=own).metadata({}) is own


def test_aliases_share_the_least_of_their_caps() -> None:
    pipeline = dd.Pipeline(
        columns=[dd.Column("n", generate=list)],
        models=[
            dd.Model("fast", provider="local", id="m", max_parallel_requests=8),
            dd.Model("slow", provider="local", id="m", max_parallel_requests=4),
        ],
        providers=[LOCAL],
    )
    (capacity,) = pipeline.model_capacities.values()
    assert (capacity.key, capacity.cap) == (ModelKey("local", "m"), 4)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: dd.Pipeline(columns=[]), "at least one column"),
        (
            lambda: dd.Pipeline(
                columns=[dd.ModelColumn("q", model="wrter", prompt="x")],
                models=[WRITER],
                providers=[LOCAL],
            ),
            "did you mean 'writer'",
        ),
        (
            lambda: dd.Pipeline(columns=[dd.Column("n", generate=list)], models=[WRITER]),
            r"provider of model 'writer' is 'local', which is not declared \(declared: none\)",
        ),
        (
            lambda: dd.Pipeline(
                columns=[dd.Column("n", generate=list)], models=[WRITER, WRITER], providers=[LOCAL]
            ),
            "model alias 'writer' is given twice",
        ),
        (lambda: dd.Column("", generate=list), "column name is ''"),
        (lambda: dd.Column("n", generate=3), "generate of column 'n' is 3"),  # type: ignore[arg-type]
        (lambda: dd.Column("n", generate=lambda: 1), "takes 0 arguments"),
        (lambda: dd.Column("n", generate=lambda a, b, c: 1), "takes 3 arguments"),
        (lambda: dd.Column("n", needs="a", generate=len), r"give a list: \['a'\]"),
        (lambda: dd.ModelColumn("n", model="m", prompt=3), "prompt of column 'n' is 3"),  # type: ignore[arg-type]
        (lambda: dd.ModelColumn("n", model="m", prompt="x", parse="int"), "parse of column 'n'"),  # type: ignore[arg-type]
        (lambda: dd.Model("m", provider="p", max_parallel_requests=0), "max_parallel_requests"),
        (lambda: dd.Model("m", provider="p", max_parallel_requests=True), "max_parallel_requests"),
    ],
)
def test_what_cannot_work_is_said_at_once(make: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()


def test_a_circle_is_found_before_anything_starts() -> None:
    with pytest.raises(CycleError, match="a -> b -> a"):
        dd.Pipeline(
            columns=[
                dd.Column("a", needs=["b"], generate=len),
                dd.Column("b", needs=["a"], generate=len),
            ]
        )


def test_a_key_is_never_shown() -> None:
    provider = dd.OpenAICompatible(
        "p", base_url="https://user:CANARY@host/v1?key=CANARY", api_key="CANARY"
    )
    assert "CANARY" not in repr(provider)
    assert "https://host/v1" in repr(provider)
