"""Makes a value of an answer's text, and says what to tell the model when that fails.

Decides what a parser is, what format it asks the endpoint for, and how a failed answer is
described: to the model in full, to everyone else without a word of the answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from ddsched_nb.errors import ConfigError

# Models like to wrap JSON in a Markdown fence, whatever they were asked for.
_FENCED = re.compile(r"\s*```[\w-]*\n(.*?)\n?```\s*", re.DOTALL)

# Answers asked for until one parses.
PARSE_ATTEMPTS = 3

Parse = Callable[[str], Any] | type[BaseModel]


class Parser(NamedTuple):
    """Reads answers.

    Attributes:
        read: Makes the value; raises ValueError where the text does not fit.
        params: Parameters of the request that ask for the right format.
    """

    read: Callable[[str], Any]
    params: Mapping[str, Any]


def make_parser(field: str, parse: object) -> Parser:
    """A parser from what a user gave: a pydantic model, or a function of the text.

    For a pydantic model its JSON schema is sent as `response_format`, as OpenAI takes it.

    Raises:
        ConfigError: It is neither.
    """
    if isinstance(parse, type) and issubclass(parse, BaseModel):
        schema = {"name": parse.__name__, "schema": parse.model_json_schema()}
        response_format = {"type": "json_schema", "json_schema": schema}
        return Parser(_reader(parse), {"response_format": response_format})
    if callable(parse):
        return Parser(parse, {})
    raise ConfigError(f"{field} is {parse!r}; give a function of the text, or a pydantic model")


def what_failed(error: ValueError) -> str:
    """What was wrong, in words that cannot hold anything of the answer."""
    if not isinstance(error, ValidationError):
        return type(error).__name__
    kinds = dict.fromkeys(str(found["type"]) for found in error.errors(include_url=False))
    return f"{error.error_count()} x {', '.join(kinds)}"


def correction(error: ValueError) -> str:
    """The message that asks the model for another answer."""
    if isinstance(error, ValidationError):
        found = error.errors(include_url=False, include_context=False, include_input=False)
        lines = [f"- {'.'.join(map(str, one['loc'])) or 'answer'}: {one['msg']}" for one in found]
        wrong = "\n".join(lines)
    else:
        wrong = str(error) or type(error).__name__
    return f"Your answer could not be used:\n{wrong}\nAnswer again, with a corrected answer only."


def _reader(model: type[BaseModel]) -> Callable[[str], Any]:
    def read(text: str) -> BaseModel:
        fenced = _FENCED.fullmatch(text)
        return model.model_validate_json(fenced[1] if fenced else text)

    return read
