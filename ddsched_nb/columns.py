"""Columns a user declares: what all kinds have in common, and the one with a function of one's own.

Each checks its fields on construction, with the name of what is wrong, and says what it needs, how
it is scheduled, what it does with a row, and what of it a store must find unchanged. Nothing here
runs anything by itself.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from ddsched_nb import checks, facts
from ddsched_nb.aio.offload import PLACES, Place
from ddsched_nb.aio.worker import SkipRule
from ddsched_nb.core.metadata import SchedulingMetadata, default_metadata
from ddsched_nb.core.model import ColumnSpec, Domain, Granularity, PoolKey
from ddsched_nb.core.row import Row
from ddsched_nb.errors import ConfigError
from ddsched_nb.prompts import Condition
from ddsched_nb.reprs import brief


class Skip:
    """When a cell is skipped: its generator does not run, no call is made.

    Args:
        when: A Jinja2 expression over the row, such as `"score < 3"`, or a function of the row.
        value: What a skipped cell holds.

    Raises:
        ConfigError: `when` is neither.
    """

    def __init__(self, when: str | Callable[[Row], Any], value: Any = None) -> None:
        if not (isinstance(when, str) or callable(when)):
            raise ConfigError(f"when of a Skip is {when!r}; give an expression or a function")
        self.when = when
        self.value = value

    def __repr__(self) -> str:
        what = self.when if isinstance(self.when, str) else facts.function_name(self.when)
        return brief(f"Skip({what!r})")


class BaseColumn:
    """What all columns have in common.

    Attributes:
        name: The column.
        spec: Its shape: needs, outputs, granularity.
        models: Aliases of the models it may call.
        domain: What its models must be; anything if None.
        skip: Which of its cells are skipped.
        place: Where its generator runs: on the event loop if None.
    """

    domain: Domain | None = None
    place: Place | None = None

    def __init__(
        self,
        name: str,
        *,
        needs: Sequence[str],
        outputs: Sequence[str] | None = None,
        granularity: Granularity = "cell",
        models: Sequence[str] = (),
        skip: Skip | None = None,
        propagate_skip: bool = True,
        scheduling: SchedulingMetadata | None = None,
    ) -> None:
        self.name = checks.name("column name", name)
        self.models = checks.names(f"models of column {name!r}", models)
        self.scheduling = scheduling
        when, condition_needs = _condition(name, skip)
        self.skip = SkipRule(when, None if skip is None else skip.value, propagate_skip)
        needed = checks.names(f"needs of column {name!r}", needs)
        if skip is not None and granularity == "root":
            raise ConfigError(f"column {name!r} needs nothing, so skip has nothing to read")
        written = checks.names(
            f"outputs of column {name!r}", (name,) if outputs is None else outputs
        )
        if not written:
            raise ConfigError(f"outputs of column {name!r} is empty; name at least one")
        all_needs = tuple(dict.fromkeys((*needed, *condition_needs)))
        self.spec = ColumnSpec(name, all_needs, written, granularity)

    def metadata(self, pools: Mapping[str, PoolKey]) -> SchedulingMetadata:
        """How it is scheduled.

        Args:
            pools: The request pool of each model alias.
        """
        return self.scheduling or default_metadata(self.name)

    def run(self, inputs: Any, context: Any) -> Any:
        """Makes the outputs for a row, or for the rows of a group; may be awaitable."""
        raise TypeError(f"a {type(self).__name__} does nothing by itself")

    def work(self) -> Callable[..., Any]:
        """What a worker calls."""
        return self.run

    def functions(self) -> dict[str, Any]:
        """The user's functions in it, by role."""
        when = self.skip.when
        return {} if when is None or isinstance(when, Condition) else {"skip": when}

    def facts(self) -> dict[str, Any]:
        """What a store must find unchanged; of texts and values only digests."""
        when = self.skip.when
        return {
            "kind": type(self).__name__,
            "needs": list(self.spec.needs),
            "outputs": list(self.spec.outputs),
            "granularity": self.spec.granularity,
            "skip": facts.digest(when.source) if isinstance(when, Condition) else when is not None,
            "skip_value": facts.digest(self.skip.value),
            "propagate_skip": self.skip.propagate,
        }


class Column(BaseColumn):
    """A column computed by a function of one's own, sync or async.

    With `needs` the function gets one row at a time, a mapping of the columns needed; with
    `batch=True` all rows of a row group that are left, as a `Batch`; without `needs` it makes a
    whole row group from scratch: it gets the row numbers as a `range`. For a whole group it returns
    as many values as there are rows. A second parameter, if it takes one, is the context through
    which it calls models.

    Args:
        name: The column.
        generate: The function. To drop a row it raises `RowDropped(reason)`, or gives one in the
            place of the row's value where it works on a whole group.
        needs: Names of the columns it reads.
        outputs: Names of what it writes, if not one value under its own name; the function then
            returns a mapping of them.
        batch: Whether it works on all rows of a row group at once.
        models: Aliases of the models it may call.
        skip: Which cells are skipped.
        propagate_skip: Whether a cell is skipped too when one that it needs was. If not, it sees
            what the skipped cell holds.
        run_in: `thread` or `process` for a sync function that computes for long and would hold
            everything up; for a process it must be importable. It gets no context there.
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
        outputs: Sequence[str] | None = None,
        batch: bool = False,
        models: Sequence[str] = (),
        skip: Skip | None = None,
        propagate_skip: bool = True,
        run_in: Literal["thread", "process"] | None = None,
        scheduling: SchedulingMetadata | None = None,
    ) -> None:
        if not callable(generate):
            raise ConfigError(f"generate of column {name!r} is {generate!r}; give a function")
        if batch and not needs:
            raise ConfigError(
                f"column {name!r} has batch=True and needs nothing; say what it reads with "
                "needs=[...], or leave batch away: it then makes whole row groups from scratch"
            )
        super().__init__(
            name,
            needs=needs,
            outputs=outputs,
            granularity="batch" if batch else "cell" if needs else "root",
            models=models,
            skip=skip,
            propagate_skip=propagate_skip,
            scheduling=scheduling,
        )
        self._generate = generate
        self._takes_context = _takes_context(name, generate)
        self.place = None if run_in is None else self._checked_place(run_in)

    def __repr__(self) -> str:
        return brief(f"Column({self.name!r}, needs={list(self.spec.needs)!r})")

    def metadata(self, pools: Mapping[str, PoolKey]) -> SchedulingMetadata:
        """How it is scheduled."""
        if self.scheduling is None and self.models:
            return SchedulingMetadata.custom_model("column", self.name)
        return super().metadata(pools)

    def run(self, inputs: Any, context: Any) -> Any:
        """Calls the function for a row, or for the rows of a group."""
        return self._generate(inputs, context) if self._takes_context else self._generate(inputs)

    def work(self) -> Callable[..., Any]:
        """What a worker calls; in a thread or a process the function itself."""
        return self.run if self.place is None else self._generate

    def functions(self) -> dict[str, Any]:
        """The user's functions in it, by role."""
        return {"generate": self._generate, **super().functions()}

    def _checked_place(self, run_in: object) -> Place:
        place = next((known for known in PLACES if known == run_in), None)
        if place is None:
            raise ConfigError(f"run_in of column {self.name!r} is {run_in!r}; give thread, process")
        if self.models or self._takes_context or inspect.iscoroutinefunction(self._generate):
            raise ConfigError(
                f'column {self.name!r} has run_in="{place}": its function must be sync, take the '
                "row (or the rows) alone, and call no models; make those calls in another column"
            )
        if place == "process" and not _is_importable(self._generate):
            raise ConfigError(
                f"generate of column {self.name!r} runs in a process, which must import it: give "
                "a function at the top of a module (not of a notebook), no lambda and no closure, "
                'or use run_in="thread"'
            )
        return place


def _condition(
    column: str, skip: Skip | None
) -> tuple[Condition | Callable[[Row], Any] | None, tuple[str, ...]]:
    """What decides about skipping, and what it reads."""
    if skip is None:
        return None, ()
    if not isinstance(skip.when, str):
        return skip.when, ()
    condition = Condition(skip.when, column=column)
    return condition, condition.needs


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
            "the row (or the rows), and with the context if it takes a second"
        )
    return len(required) == 2


def _is_importable(function: Callable[..., Any]) -> bool:
    """Whether another process finds a function by module and name."""
    module = getattr(function, "__module__", None)
    name = getattr(function, "__qualname__", "<lambda>")
    if module == "__main__" and not hasattr(sys.modules["__main__"], "__file__"):
        return False
    in_notebook = module == "__main__" and "ipykernel" in sys.modules
    return isinstance(module, str) and "<" not in name and not in_notebook
