"""Prompt templates: what they need, what they refuse, what they may not reach."""

from __future__ import annotations

import pytest

from ddsched_nb.core.row import Row
from ddsched_nb.errors import ConfigError
from ddsched_nb.prompts import PromptError, PromptTemplate


def template(source: str) -> PromptTemplate:
    return PromptTemplate(source, column="q")


@pytest.mark.parametrize(
    ("source", "needs"),
    [
        ("Ask about {{ topic }}.", ("topic",)),
        ("{{ b }} {{ a }} {{ b }}", ("b", "a")),
        ("nothing", ()),
        ("{% for x in items %}{{ x }}{% endfor %}", ("items",)),
        ("{% if a %}{{ b }}{% else %}{{ c }}{% endif %}", ("a", "b", "c")),
        ("{{ name | title }} {{ person.age }}", ("name", "person")),
        ("{% set x = a %}{{ x }}", ("a",)),
        ("{{ range(3) | list }}", ()),
    ],
)
def test_needs_are_read_from_the_template(source: str, needs: tuple[str, ...]) -> None:
    assert template(source).needs == needs


def test_it_renders_a_row() -> None:
    row = Row({"topic": "tea"}, number=3, column="q")
    assert template("Ask about {{ topic | upper }}.\n").render(row) == "Ask about TEA.\n"


def test_a_template_that_does_not_parse_names_column_and_line() -> None:
    with pytest.raises(ConfigError, match=r"column 'q' is no Jinja2 template: .* \(line 2\)"):
        template("fine\n{{ broken ")


def test_a_value_that_is_missing_is_an_error_without_values() -> None:
    with pytest.raises(PromptError, match="column 'q' cannot be rendered") as caught:
        template("{{ secret.nothing.there }}").render({"secret": {"canary": 1}})
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "source",
    [
        "{{ x.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ x.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    ],
)
def test_templates_reach_nothing_outside(source: str) -> None:
    with pytest.raises(PromptError):
        template(source).render({"x": 1})
