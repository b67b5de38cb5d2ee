"""Columns that ask a model: chat, embeddings, images."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ddsched_nb import checks, facts
from ddsched_nb.aio.parsing import PARSE_ATTEMPTS, Parse, Parser, make_parser
from ddsched_nb.columns import BaseColumn, Skip
from ddsched_nb.core.metadata import SchedulingMetadata
from ddsched_nb.core.model import Granularity, PoolKey
from ddsched_nb.core.row import Batch, Row
from ddsched_nb.errors import CallFailed, ConfigError, ProviderError
from ddsched_nb.prompts import PromptTemplate
from ddsched_nb.reprs import brief

Prompt = str | Callable[[Row], Any]
# An embedding request of so many texts is quick, and few enough to be worth repeating.
EMBEDDING_BATCH_SIZE = 64


class AskingColumn(BaseColumn):
    """What columns that ask one model have in common: a text made of the row, and parameters."""

    # How the text is called in messages.
    role = "prompt"

    def __init__(
        self,
        name: str,
        *,
        model: str,
        text: Prompt,
        system: str | None = None,
        params: Mapping[str, Any] | None,
        needs: Sequence[str] | None,
        granularity: Granularity = "cell",
        skip: Skip | None,
        propagate_skip: bool,
        scheduling: SchedulingMetadata | None,
    ) -> None:
        self._text = self._template(name, text)
        self._system = None if system is None else PromptTemplate(system, column=name)
        self._params = dict(params or {})
        super().__init__(
            name,
            needs=self._read_needs() if needs is None else needs,
            granularity=granularity,
            models=(checks.name(f"model of column {name!r}", model),),
            skip=skip,
            propagate_skip=propagate_skip,
            scheduling=scheduling,
        )

    def __repr__(self) -> str:
        needs = list(self.spec.needs)
        return brief(
            f"{type(self).__name__}({self.name!r}, model={self.models[0]!r}, needs={needs!r})"
        )

    def metadata(self, pools: Mapping[str, PoolKey]) -> SchedulingMetadata:
        """How it is scheduled."""
        return self.scheduling or SchedulingMetadata.model(*pools[self.models[0]])

    def functions(self) -> dict[str, Any]:
        """The user's functions in it, by role."""
        own = {} if isinstance(self._text, PromptTemplate) else {self.role: self._text}
        return super().functions() | own

    def facts(self) -> dict[str, Any]:
        """What a store must find unchanged."""
        text = self._text
        return super().facts() | {
            self.role: facts.digest(text.source) if isinstance(text, PromptTemplate) else True,
            "system": None if self._system is None else facts.digest(self._system.source),
            "params": facts.digest(self._params),
        }

    def render(self, row: Row) -> Any:
        """The text for a row."""
        return self._text.render(row) if isinstance(self._text, PromptTemplate) else self._text(row)

    def _template(self, column: str, text: Prompt) -> PromptTemplate | Callable[[Row], Any]:
        if isinstance(text, str):
            return PromptTemplate(text, column=column)
        if callable(text):
            return text
        raise ConfigError(
            f"{self.role} of column {column!r} is {text!r}; give a template or a function"
        )

    def _read_needs(self) -> tuple[str, ...]:
        templates = (self._text, self._system)
        found = [need for t in templates if isinstance(t, PromptTemplate) for need in t.needs]
        return tuple(dict.fromkeys(found))


class ModelColumn(AskingColumn):
    """A column that asks a chat model once a row.

    Args:
        name: The column.
        model: Alias of the model.
        prompt: A Jinja2 template over the row, or a function of the row.
        system: System message, a template too; the model's own if None.
        params: Parameters of its requests, over the model's.
        parse: Makes the value from the answer's text: a pydantic model, whose JSON schema is then
            sent as `response_format`, or a function that raises ValueError on what does not fit;
            the text itself if None.
        parse_attempts: Answers to ask for until one parses, at least 1. The model is told what was
            wrong. If none parses, the row is dropped with the reason.
        needs: Columns it reads; read from the templates if None, and only needed with functions.
        skip: Which cells are skipped.
        propagate_skip: Whether a cell is skipped too when one that it needs was.
        scheduling: How it is scheduled; by default a flow for each model.

    Raises:
        ConfigError: A field cannot be used.
    """

    domain = "chat"

    def __init__(
        self,
        name: str,
        *,
        model: str,
        prompt: Prompt,
        system: str | None = None,
        params: Mapping[str, Any] | None = None,
        parse: Parse | None = None,
        parse_attempts: int = PARSE_ATTEMPTS,
        needs: Sequence[str] | None = None,
        skip: Skip | None = None,
        propagate_skip: bool = True,
        scheduling: SchedulingMetadata | None = None,
    ) -> None:
        super().__init__(
            name,
            model=model,
            text=prompt,
            system=system,
            params=params,
            needs=needs,
            skip=skip,
            propagate_skip=propagate_skip,
            scheduling=scheduling,
        )
        self._parse = parse
        self._parser: Parser | None = None
        if parse is not None:
            self._parser = make_parser(f"parse of column {name!r}", parse)
        self._attempts = checks.count(f"parse_attempts of column {name!r}", parse_attempts)

    async def run(self, row: Row, context: Any) -> Any:
        """Asks the model for one row."""
        prompt, alias = self.render(row), self.models[0]
        system = None if self._system is None else self._system.render(row)
        if self._parser is None:
            return (await context.chat(alias, prompt, system=system, **self._params)).text
        return await context.ask_parsed(
            alias, prompt, self._parser, self._attempts, system=system, params=self._params
        )

    def functions(self) -> dict[str, Any]:
        """The user's functions in it, by role."""
        by_function = self._parser is not None and not self._parser.params
        return super().functions() | ({"parse": self._parse} if by_function else {})

    def facts(self) -> dict[str, Any]:
        """What a store must find unchanged."""
        parsed = None if self._parser is None else facts.digest(dict(self._parser.params))
        return super().facts() | {"parse": parsed}


class EmbeddingColumn(AskingColumn):
    """A column that embeds a text of each row, many texts a request.

    Its value is the vector, a list of floats. It works on whole row groups: the rows that are left
    are cut into requests of `batch_size` texts, which go out side by side as admission lets them.

    Args:
        name: The column.
        model: Alias of the model, declared with `domain="embedding"`.
        text: What to embed: a Jinja2 template over the row, or a function of the row.
        params: Parameters of its requests (`dimensions`, ...), over the model's.
        batch_size: Texts in a request, at least 1.
        needs: Columns it reads; read from the template if None, and only needed with a function.
        skip: Which cells are skipped.
        propagate_skip: Whether a cell is skipped too when one that it needs was.
        scheduling: How it is scheduled; by default a flow for each model.

    Raises:
        ConfigError: A field cannot be used.
    """

    domain = "embedding"
    role = "text"

    def __init__(
        self,
        name: str,
        *,
        model: str,
        text: Prompt,
        params: Mapping[str, Any] | None = None,
        batch_size: int = EMBEDDING_BATCH_SIZE,
        needs: Sequence[str] | None = None,
        skip: Skip | None = None,
        propagate_skip: bool = True,
        scheduling: SchedulingMetadata | None = None,
    ) -> None:
        super().__init__(
            name,
            model=model,
            text=text,
            params=params,
            needs=needs,
            granularity="batch",
            skip=skip,
            propagate_skip=propagate_skip,
            scheduling=scheduling,
        )
        self._batch_size = checks.count(f"batch_size of column {name!r}", batch_size)

    async def run(self, batch: Batch, context: Any) -> list[Any]:
        """Embeds the rows of a group."""
        texts, size = [str(self.render(row)) for row in batch], self._batch_size
        parts = [texts[start : start + size] for start in range(0, len(texts), size)]
        made = await asyncio.gather(*(self._embed(part, context) for part in parts))
        failures = [vectors for vectors in made if isinstance(vectors, ProviderError)]
        if len(failures) == len(parts):
            raise failures[0]  # nothing is lost by it: the whole task may be tried again
        return [
            value
            for part, vectors in zip(parts, made, strict=True)
            for value in _values(vectors, len(part))
        ]

    async def _embed(self, texts: list[str], context: Any) -> list[list[float]] | ProviderError:
        try:
            answer = await context.embed(self.models[0], texts, **self._params)
        except ProviderError as error:
            return error
        return [list(vector) for vector in answer.vectors]


class ImageColumn(AskingColumn):
    """A column that has one image made a row.

    Its value is the image's bytes, or its address where the endpoint answers with one.

    Args:
        name: The column.
        model: Alias of the model, declared with `domain="image"`.
        prompt: What the image should show: a Jinja2 template over the row, or a function of it.
        params: Parameters of its requests (`size`, ...), over the model's.
        needs: Columns it reads; read from the template if None, and only needed with a function.
        skip: Which cells are skipped.
        propagate_skip: Whether a cell is skipped too when one that it needs was.
        scheduling: How it is scheduled; by default a flow for each model.

    Raises:
        ConfigError: A field cannot be used.
    """

    domain = "image"

    def __init__(
        self,
        name: str,
        *,
        model: str,
        prompt: Prompt,
        params: Mapping[str, Any] | None = None,
        needs: Sequence[str] | None = None,
        skip: Skip | None = None,
        propagate_skip: bool = True,
        scheduling: SchedulingMetadata | None = None,
    ) -> None:
        super().__init__(
            name,
            model=model,
            text=prompt,
            params=params,
            needs=needs,
            skip=skip,
            propagate_skip=propagate_skip,
            scheduling=scheduling,
        )

    async def run(self, row: Row, context: Any) -> Any:
        """Has the image of one row made."""
        answer = await context.image(self.models[0], str(self.render(row)), **self._params)
        first = answer.images[0]
        return first.url if first.data is None else first.data


def _values(vectors: list[list[float]] | ProviderError, rows: int) -> Sequence[Any]:
    """A request's vectors; where it failed, its rows are dropped and the others are kept."""
    return [CallFailed(str(vectors))] * rows if isinstance(vectors, ProviderError) else vectors
