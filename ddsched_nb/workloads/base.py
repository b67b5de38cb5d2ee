"""What a workload is: a pipeline, the endpoints it runs against, rows, and what to expect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.config import RunConfig
from ddsched_nb.errors import ConfigError
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.providers import SimulatedProvider
from ddsched_nb.reprs import brief, facts_html

__all__ = ["Expectation", "Hold", "Workload", "described", "reseeded"]


class Hold(NamedTuple):
    """What somebody else, on the same account, holds of a model at first.

    Attributes:
        model: Alias of the model.
        until_s: When it is given back, in seconds from the start.
        permits: How many.
    """

    model: str
    until_s: float
    permits: int = 1


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a run of a workload must show, with any limit and policy that is worth having.

    Attributes:
        state: How the run ends.
        dropped: Rows that are dropped.
        over_bound: The makespan is at most so many times the lower bound, with the defaults.
        refusals: Whether the endpoint refuses at all, with the defaults; either is fine if None.
    """

    state: str = "finished"
    dropped: int = 0
    over_bound: float | None = None
    refusals: bool | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """A piece of work whose scheduling is worth watching.

    Attributes:
        name: What it is called; lower case, words joined by `-`.
        about: What it is about, in one sentence.
        pipeline: The work; its providers are `SimulatedProvider`s, which hold the profiles.
        rows: How many rows, where there is no table.
        table: The input table; None for none.
        config: How it runs, unless `simulate` is told otherwise.
        expect: What a run must show.
        holds: Permits that others hold at first.
    """

    name: str
    about: str
    pipeline: Pipeline
    rows: int | None = None
    table: Any = None
    config: RunConfig = field(default_factory=RunConfig)
    expect: Expectation = Expectation()
    holds: tuple[Hold, ...] = ()

    def __post_init__(self) -> None:
        aliases = [model.alias for model in self.pipeline.models]
        for hold in self.holds:
            if hold.model not in aliases:
                raise ConfigError(
                    f"workload {self.name!r} has a hold of model {hold.model!r}; its models: "
                    f"{', '.join(aliases) or 'none'}"
                )
        if (self.rows is None) == (self.table is None):
            raise ConfigError(f"workload {self.name!r}: give rows or a table, and not both")

    def __repr__(self) -> str:
        return brief(f"<Workload {self.name}: {self._size()} rows, {self.pipeline!r}>")

    def _repr_html_(self) -> str:
        facts = [
            ("about", self.about),
            ("rows", self._size()),
            ("columns", ", ".join(column.name for column in self.pipeline.columns)),
            *((p.model, p) for found in self.profiles.values() for p in found),
            ("config", self.config),
            *(("hold", hold) for hold in self.holds),
        ]
        return facts_html(self.name, facts)

    def _size(self) -> str:
        return "those of its table" if self.rows is None else str(self.rows)

    @property
    def profiles(self) -> dict[str, tuple[EndpointProfile, ...]]:
        """The models of each provider, by its name."""
        return described(self.pipeline)

    def with_rows(self, rows: int) -> Workload:
        """The same work over another number of rows.

        Raises:
            ConfigError: It has a table.
        """
        if self.table is not None:
            raise ConfigError(f"workload {self.name!r} has a table; its rows are those of it")
        return replace(self, rows=rows)


def described(pipeline: Pipeline) -> dict[str, tuple[EndpointProfile, ...]]:
    """The profiles of those providers of a pipeline that are described."""
    found = pipeline.providers
    return {p.name: p.profiles for p in found if isinstance(p, SimulatedProvider)}


def reseeded(
    profiles: Mapping[str, Iterable[EndpointProfile]], seed: int
) -> dict[str, tuple[EndpointProfile, ...]]:
    """The profiles, with other latencies, faults and answers for each `seed`; 0 changes nothing."""
    return {
        name: tuple(p.model_copy(update={"seed": p.seed + 1_000_003 * seed}) for p in found)
        for name, found in profiles.items()
    }
