"""What a user declares: columns, and the pipeline they make with models and providers.

Everything is checked on construction where it can be, with the name of what is wrong. Nothing here
runs anything; a run is started by `start`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ddsched_nb import checks
from ddsched_nb.core.graph import ColumnGraph
from ddsched_nb.core.metadata import (
    ModelCapacity,
    SchedulingMetadata,
    default_metadata,
    merge_aliases,
)
from ddsched_nb.core.model import ColumnSpec, ModelKey
from ddsched_nb.core.row import Row
from ddsched_nb.errors import ConfigError, RowDropped
from ddsched_nb.prompts import PromptTemplate
from ddsched_nb.providers import Model, Provider

Prompt = str | Callable[[Row], Any]


class Column:
    """A column computed by a function of one's own, sync or async.

    With `needs` the function gets one row at a time, a mapping of the columns needed; without, it
    makes a whole row group from scratch: it gets the row numbers as a `range` and returns as many
    values. A second parameter, if it takes one, is the context through which it calls models.

    Args:
        name: The column.
        generate: The function.
        needs: Names of the columns it reads.
        models: Aliases of the models it may call.
        scheduling: How it is scheduled, where its author knows better: by default `local` without
            models and `custom_model` with, in a flow of its own.

    Raises:
        ConfigError: A field cannot be used.
    """

    def __init__(
        self,
        name: str,
        *,
        generate: Callable[..., Any],
        needs: Sequence[str] = (),
        models: Sequence[str] = (),
        scheduling: SchedulingMetadata | None = None,
    ) -> None:
        self.name = checks.name("column name", name)
        if not callable(generate):
            raise ConfigError(f"generate of column {name!r} is {generate!r}; give a function")
        self.models = checks.names(f"models of column {name!r}", models)
        self._generate = generate
        self._takes_context = _takes_context(name, generate)
        self._scheduling = scheduling
        needed = checks.names(f"needs of column {name!r}", needs)
        self.spec = ColumnSpec(name, needed, (name,), "cell" if needed else "root")

    def __repr__(self) -> str:
        return f"Column({self.name!r}, needs={list(self.spec.needs)!r})"

    def metadata(self, models: Mapping[str, ModelKey]) -> SchedulingMetadata:
        """How it is scheduled."""
        if self._scheduling is not None:
            return self._scheduling
        if self.models:
            return SchedulingMetadata.custom_model("column", self.name)
        return default_metadata(self.name)

    def run(self, inputs: Any, context: Any) -> Any:
        """Calls the function for a row, or for the rows of a group."""
        made = self._generate(inputs, context) if self._takes_context else self._generate(inputs)
        if self.spec.granularity == "cell":
            return made
        if inspect.isawaitable(made):
            return self._whole_column(made, inputs)
        return _checked_column(self.name, made, inputs)

    async def _whole_column(self, made: Any, rows: range) -> list[Any]:
        return _checked_column(self.name, await made, rows)


class ModelColumn:
    """A column that asks a model once a row.

    Args:
        name: The column.
        model: Alias of the model.
        prompt: A Jinja2 template over the row, or a function of the row.
        system: System message, a template too; the model's own if None.
        params: Parameters of its requests, over the model's.
        parse: Makes the value from the answer's text; the text itself if None. An answer on which
            it raises ValueError drops the row with that reason.
        needs: Columns it reads; read from the templates if None, and only needed with functions.
        scheduling: How it is scheduled; by default a flow for each model.

    Raises:
        ConfigError: A field cannot be used.
    """

    def __init__(
        self,
        name: str,
        *,
        model: str,
        prompt: Prompt,
        system: str | None = None,
        params: Mapping[str, Any] | None = None,
        parse: Callable[[str], Any] | None = None,
        needs: Sequence[str] | None = None,
        scheduling: SchedulingMetadata | None = None,
    ) -> None:
        self.name = checks.name("column name", name)
        self.models = (checks.name(f"model of column {name!r}", model),)
        self._render = _renderer(name, prompt)
        self._system = None if system is None else PromptTemplate(system, column=name)
        if parse is not None and not callable(parse):
            raise ConfigError(f"parse of column {name!r} is {parse!r}; give a function of the text")
        self._parse = parse
        self._params = dict(params or {})
        self._scheduling = scheduling
        read = _needs_of(self._render, self._system) if needs is None else needs
        self.spec = ColumnSpec(
            name, checks.names(f"needs of column {name!r}", read), (name,), "cell"
        )

    def __repr__(self) -> str:
        needs = list(self.spec.needs)
        return f"ModelColumn({self.name!r}, model={self.models[0]!r}, needs={needs!r})"

    def metadata(self, models: Mapping[str, ModelKey]) -> SchedulingMetadata:
        """How it is scheduled."""
        return self._scheduling or SchedulingMetadata.model(*models[self.models[0]])

    async def run(self, row: Row, context: Any) -> Any:
        """Asks the model for one row."""
        rendered = self._render(row)
        system = None if self._system is None else self._system.render(row)
        answer = await context.chat(self.models[0], rendered, system=system, **self._params)
        if self._parse is None:
            return answer.text
        try:
            return self._parse(answer.text)
        except ValueError as error:
            raise RowDropped(f"the answer did not parse ({type(error).__name__})") from error


AnyColumn = Column | ModelColumn


class Pipeline:
    """Columns, the models they call, and where those are.

    Args:
        columns: What to compute, in the order wanted.
        models: The models, by alias.
        providers: Where they are called.

    Raises:
        ConfigError: A name is used twice or refers to nothing.
        GraphError: The columns do not form a usable graph.
    """

    def __init__(
        self,
        *,
        columns: Iterable[AnyColumn],
        models: Iterable[Model] = (),
        providers: Iterable[Provider] = (),
    ) -> None:
        self.columns = tuple(columns)
        self.models = tuple(models)
        self.providers = tuple(providers)
        if not self.columns:
            raise ConfigError("a pipeline needs at least one column")
        aliases = checks.unique("model alias", [model.alias for model in self.models])
        names = checks.unique("provider", [provider.name for provider in self.providers])
        for model in self.models:
            checks.known(f"provider of model {model.alias!r}", model.provider, names)
        for column in self.columns:
            for alias in column.models:
                checks.known(f"model of column {column.name!r}", alias, aliases)
        self._keys = {model.alias: model.key for model in self.models}
        self._check_columns()

    def __repr__(self) -> str:
        names = ", ".join(column.name for column in self.columns)
        return f"<Pipeline: {names}>"

    def graph(self, inputs: Iterable[str] = ()) -> ColumnGraph:
        """The column graph over an input table's columns.

        Raises:
            GraphError: Columns and table do not fit together.
        """
        return ColumnGraph([column.spec for column in self.columns], inputs)

    @property
    def model_capacities(self) -> dict[ModelKey, ModelCapacity]:
        """The cap of each provider/model, merged from its aliases."""
        return merge_aliases((m.alias, m.key, m.max_parallel_requests) for m in self.models)

    def metadata(self, column: AnyColumn) -> SchedulingMetadata:
        """How a column is scheduled."""
        return column.metadata(self._keys)

    def _check_columns(self) -> None:
        # Needs nobody here provides may come from an input table: that is checked at the start.
        made = {output for column in self.columns for output in column.spec.outputs}
        open_needs = {
            need for column in self.columns for need in column.spec.needs if need not in made
        }
        self.graph(sorted(open_needs))


def _renderer(column: str, prompt: Prompt) -> Any:
    if isinstance(prompt, str):
        template = PromptTemplate(prompt, column=column)
        return _Rendered(template)
    if callable(prompt):
        return prompt
    raise ConfigError(f"prompt of column {column!r} is {prompt!r}; give a template or a function")


class _Rendered:
    """A template as a function of a row."""

    __slots__ = ("template",)

    def __init__(self, template: PromptTemplate) -> None:
        self.template = template

    def __call__(self, row: Row) -> str:
        return self.template.render(row)


def _needs_of(render: Any, system: PromptTemplate | None) -> tuple[str, ...]:
    needs = render.template.needs if isinstance(render, _Rendered) else ()
    return tuple(dict.fromkeys([*needs, *(system.needs if system else ())]))


def _takes_context(column: str, generate: Callable[..., Any]) -> bool:
    """Whether a generator takes a second positional argument."""
    try:
        parameters = inspect.signature(generate).parameters.values()
    except (TypeError, ValueError):
        return False  # a builtin such as `list` or `len`, which takes the one thing it works on
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in positional if p.default is p.empty]
    if len(required) > 2 or not (positional or any(p.kind is p.VAR_POSITIONAL for p in parameters)):
        raise ConfigError(
            f"generate of column {column!r} takes {len(required)} arguments; it is called with "
            "the row (or the row numbers), and with the context if it takes a second"
        )
    return len(required) == 2


def _checked_column(column: str, made: Any, rows: range) -> list[Any]:
    if isinstance(made, str | bytes | Mapping) or not isinstance(made, Iterable):
        raise TypeError(
            f"column {column!r} makes a whole row group from scratch: it must return "
            f"{len(rows)} values, not a {type(made).__name__}. For a function of one row, say "
            "what it reads with needs=[...]"
        )
    values = list(made)
    if len(values) != len(rows):
        raise ValueError(
            f"column {column!r} returned {len(values)} values for {len(rows)} rows; return one each"
        )
    return values
