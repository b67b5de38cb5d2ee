"""Prompt templates and conditions: Jinja2, sandboxed and strict, compiled once.

Decides what they need and evaluates them. Knows nothing of models or rows beyond their names.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, meta, nodes
from jinja2.sandbox import SandboxedEnvironment

from ddsched_nb.errors import ConfigError, DdschedError

_BRACED = re.compile(r"\s*\{\{(.*)\}\}\s*", re.DOTALL)


class PromptError(DdschedError):
    """A prompt could not be rendered for a row."""


@functools.cache
def _environment() -> SandboxedEnvironment:
    return SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)


class PromptTemplate:
    """A Jinja2 template of one column.

    Templates run in a sandbox: they read what they are given and reach nothing else.

    Args:
        source: The template.
        column: The column it belongs to, for messages.

    Raises:
        ConfigError: The template does not parse; says where.
    """

    def __init__(self, source: str, *, column: str) -> None:
        self._column = column
        self.source = source
        environment = _environment()
        try:
            parsed = environment.parse(source)
            self._template = environment.from_string(source)
        except TemplateSyntaxError as error:
            raise ConfigError(
                f"the prompt of column {column!r} is no Jinja2 template: {error.message} "
                f"(line {error.lineno})"
            ) from error
        self.needs = _names_in(source, parsed)

    def __repr__(self) -> str:
        return f"<PromptTemplate of {self._column}: needs {', '.join(self.needs) or 'nothing'}>"

    def render(self, values: Mapping[str, Any]) -> str:
        """Fills the template in.

        Raises:
            PromptError: Something in it is undefined or fails; names the column, not the values.
        """
        try:
            return self._template.render(values)
        except (TemplateError, TypeError, ArithmeticError, LookupError, ValueError) as error:
            raise PromptError(
                f"the prompt of column {self._column!r} cannot be rendered: {type(error).__name__}"
            ) from error


class Condition:
    """A Jinja2 expression of one column, such as `score < 3`; braces around it are allowed.

    Args:
        source: The expression.
        column: The column it belongs to, for messages.

    Raises:
        ConfigError: The expression does not parse.
    """

    def __init__(self, source: str, *, column: str) -> None:
        self._column = column
        self.source = source
        braced = _BRACED.fullmatch(source)
        bare = braced[1] if braced else source
        environment = _environment()
        try:
            self._evaluate = environment.compile_expression(bare, undefined_to_none=False)
            parsed = environment.parse("{{ " + bare + " }}")
        except TemplateSyntaxError as error:
            raise ConfigError(
                f"the condition of column {column!r} is no Jinja2 expression: {error.message}; "
                "give one such as 'score < 3'"
            ) from error
        self.needs = _names_in(bare, parsed)

    def __repr__(self) -> str:
        return f"<Condition of {self._column}: needs {', '.join(self.needs) or 'nothing'}>"

    def __call__(self, values: Mapping[str, Any]) -> bool:
        """Whether it holds.

        Raises:
            PromptError: Something in it is undefined or fails; names the column, not the values.
        """
        try:
            return bool(self._evaluate(values))
        except (TemplateError, TypeError, ArithmeticError, LookupError, ValueError) as error:
            raise PromptError(
                f"the condition of column {self._column!r} cannot be evaluated: "
                f"{type(error).__name__}"
            ) from error


def _names_in(source: str, parsed: nodes.Template) -> tuple[str, ...]:
    named = meta.find_undeclared_variables(parsed)
    # Sorted by place in the text: a set has no order of its own, and needs are shown.
    return tuple(sorted(named, key=lambda name: (source.find(name), name)))
