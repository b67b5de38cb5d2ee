"""What a user declares in all: columns, and the pipeline they make with models and providers.

Everything is checked on construction where it can be, with the name of what is wrong. Nothing here
runs anything; a run is started by `start`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ddsched_nb import checks, facts
from ddsched_nb.columns import BaseColumn
from ddsched_nb.core.graph import ColumnGraph
from ddsched_nb.core.metadata import ModelCapacity, SchedulingMetadata, merge_aliases
from ddsched_nb.core.model import ColumnSpec, ModelKey
from ddsched_nb.core.row import Batch
from ddsched_nb.dag import Node, svg_graph, text_graph
from ddsched_nb.errors import ConfigError
from ddsched_nb.providers import Model, Provider
from ddsched_nb.reprs import brief, html_table, tell_whole

Hook = Callable[[Batch], Any]
BEFORE = "before_row_group"
AFTER = "after_row_group"
_SERVES = {
    "cell": "a row",
    "root": "a row group, from scratch",
    "batch": "a row group, with its inputs",
}


@dataclass(frozen=True, slots=True)
class RowGroupHook:
    """A function that runs once a row group, before its first column or after its last.

    Attributes:
        spec: Its place in the graph.
        function: What it does with the rows that are left.
        writes: Names of the columns that it may replace.
    """

    spec: ColumnSpec
    function: Hook
    writes: tuple[str, ...]


class Pipeline:
    """Columns, the models they call, and where those are.

    Args:
        columns: What to compute, in the order wanted.
        models: The models, by alias.
        providers: Where they are called.
        before_row_group: Called with the rows of each row group, a `Batch` of the input table's
            columns, before any column is computed. It may return a mapping of input columns to
            replace, one value a row; `RowDropped(reason)` in a row's place drops the row.
        after_row_group: Called with the finished rows of each row group, all columns, before they
            are handed over; may return a mapping of columns to replace in the same way.

    Raises:
        ConfigError: A name is used twice or refers to nothing.
        GraphError: The columns do not form a usable graph.
    """

    def __init__(
        self,
        *,
        columns: Iterable[BaseColumn],
        models: Iterable[Model] = (),
        providers: Iterable[Provider] = (),
        before_row_group: Hook | None = None,
        after_row_group: Hook | None = None,
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
        self._pools = {model.alias: model.pool for model in self.models}
        for column in self.columns:
            for alias in column.models:
                checks.known(f"model of column {column.name!r}", alias, aliases)
                self._check_domain(column, alias)
        self._before = _checked_hook(BEFORE, before_row_group)
        self._after = _checked_hook(AFTER, after_row_group)
        self._check_columns()

    def __repr__(self) -> str:
        names = ", ".join(column.name for column in self.columns)
        return brief(f"<Pipeline: {names}>")

    def __str__(self) -> str:
        return text_graph(self._nodes())

    _repr_pretty_ = tell_whole

    def _repr_html_(self) -> str:
        picture = svg_graph(self._nodes(), title="columns of the pipeline")
        rows = [
            (
                column.name,
                ", ".join(column.spec.needs) or "-",
                ", ".join(column.models) or "-",
                _SERVES[column.spec.granularity],
                self.metadata(column).flow_key.label,
            )
            for column in self.columns
        ]
        heads = ("column", "needs", "models", "a task serves", "flow")
        table = html_table(heads, rows, caption="columns of the pipeline")
        return f'<div style="overflow-x: auto">{picture}</div>{table}'

    def _nodes(self) -> list[Node]:
        notes = {column.name: ", ".join(column.models) for column in self.columns}
        return self.graph(self._open_needs()).nodes(notes)

    def with_providers(self, providers: Iterable[Provider]) -> Pipeline:
        """The same work, asked of others: providers of the same names take the place of these."""
        named = {provider.name: provider for provider in providers}
        called = [named.get(provider.name, provider) for provider in self.providers]
        return self._like_this(self.models, called)

    def with_models(self, models: Iterable[Model]) -> Pipeline:
        """The same work with other models under the same aliases."""
        return self._like_this(models, self.providers)

    def _like_this(self, models: Iterable[Model], providers: Iterable[Provider]) -> Pipeline:
        return Pipeline(
            columns=self.columns,
            models=models,
            providers=providers,
            before_row_group=self._before,
            after_row_group=self._after,
        )

    def graph(self, inputs: Iterable[str] = ()) -> ColumnGraph:
        """The column graph over an input table's columns, hooks included.

        Raises:
            GraphError: Columns and table do not fit together.
        """
        inputs = tuple(inputs)
        graph = ColumnGraph([column.spec for column in self.columns], inputs)
        hooks = self.hooks(inputs)
        if not hooks:
            return graph
        first = (BEFORE,) if self._before is not None else ()
        specs = [
            spec if graph.upstream(spec.name) else spec._replace(after=first)
            for spec in graph.specs.values()
        ]
        return ColumnGraph([*specs, *(hook.spec for hook in hooks)], inputs)

    def hooks(self, inputs: Iterable[str]) -> tuple[RowGroupHook, ...]:
        """The hooks, over an input table's columns."""
        given = tuple(inputs)
        made = tuple(output for column in self.columns for output in column.spec.outputs)
        found = []
        if self._before is not None:
            found.append(RowGroupHook(ColumnSpec(BEFORE, given, (), "batch"), self._before, given))
        if self._after is not None:
            names = tuple(dict.fromkeys((*given, *made)))
            columns = tuple(column.name for column in self.columns)
            spec = ColumnSpec(AFTER, names, (), "batch", columns)
            found.append(RowGroupHook(spec, self._after, names))
        return tuple(found)

    @property
    def model_capacities(self) -> dict[ModelKey, ModelCapacity]:
        """The cap of each provider/model, merged from its aliases."""
        return merge_aliases((m.alias, m.key, m.max_parallel_requests) for m in self.models)

    def metadata(self, column: BaseColumn) -> SchedulingMetadata:
        """How a column is scheduled."""
        return column.metadata(self._pools)

    def facts(self) -> dict[str, Any]:
        """What a store must find unchanged: what was declared; of texts only digests."""
        columns = {column.name: column.facts() for column in self.columns}
        for column in self.columns:
            columns[column.name]["models"] = [self._pools[a].label for a in column.models]
        used = {alias for column in self.columns for alias in column.models}
        models = {model.pool.label: model.facts() for model in self.models if model.alias in used}
        hooks = {BEFORE: self._before is not None, AFTER: self._after is not None}
        return {"columns": columns, "models": models, "hooks": hooks}

    def code(self) -> dict[str, str]:
        """Digests of the user's functions, by column and role."""
        functions = {
            f"{column.name}.{role}": function
            for column in self.columns
            for role, function in column.functions().items()
        }
        hooks = {BEFORE: self._before, AFTER: self._after}
        functions |= {name: hook for name, hook in hooks.items() if hook is not None}
        return {name: facts.code_digest(function) for name, function in functions.items()}

    def _check_domain(self, column: BaseColumn, alias: str) -> None:
        declared = self._pools[alias].domain
        if column.domain is not None and column.domain != declared:
            raise ConfigError(
                f"column {column.name!r} ({type(column).__name__}) needs a model of domain "
                f"{column.domain!r}; {alias!r} is declared as {declared!r}: "
                f'Model({alias!r}, ..., domain="{column.domain}")'
            )

    def _check_columns(self) -> None:
        # Needs nobody here provides may come from an input table: that is checked at the start.
        self.graph(self._open_needs())

    def _open_needs(self) -> list[str]:
        """What an input table must provide."""
        made = {output for column in self.columns for output in column.spec.outputs}
        needs = (need for column in self.columns for need in column.spec.needs)
        return sorted({need for need in needs if need not in made})


def _checked_hook(name: str, hook: object) -> Hook | None:
    if hook is not None and not callable(hook):
        raise ConfigError(f"{name} is {hook!r}; give a function of a batch of rows")
    return hook
