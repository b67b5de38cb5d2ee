"""What may be changed of a run while it goes on: checked where it is asked, applied on its loop.

Each change is an event of the record. Tasks that run keep what they hold. It must not know how a
run is started, watched or shown.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from ddsched_nb.config import NamedPolicy, RunConfig, Settings, called
from ddsched_nb.core.model import PoolKey
from ddsched_nb.core.pressure import Advisory
from ddsched_nb.core.resolver import derive_capacities
from ddsched_nb.engine import Engine, make_policy
from ddsched_nb.errors import ConfigError
from ddsched_nb.pipeline import Pipeline

__all__ = ["Adjuster", "Adjustment"]


class Adjustment(Settings):
    """Changes of a run; what is None stays as it is.

    Attributes:
        weights: Weights of flows, finite and above 0, each by a column of the flow.
        caps: What the limits of models never exceed, at least 1, by alias.
        limits: Where to put the limits of models, at least 1, by alias; they move on from there.
        row_groups: How many row groups are open, or `adaptive`.
        max_in_flight_tasks: Tasks running at once, at least 1.
        task_policy: What a column may take beyond its share.
        request_pressure_advisory: Whether tasks whose model is open go first.
    """

    weights: Mapping[str, float] = {}
    caps: Mapping[str, int] = {}
    limits: Mapping[str, int] = {}
    row_groups: Literal["adaptive"] | int | None = None
    max_in_flight_tasks: int | None = Field(default=None, ge=1)
    task_policy: NamedPolicy | None = None
    request_pressure_advisory: bool | None = None

    @field_validator("row_groups", mode="before")
    @classmethod
    def _adaptive_or_number(cls, given: Any) -> Any:
        whole = isinstance(given, int) and not isinstance(given, bool)
        if given not in (None, "adaptive") and not (whole and given >= 1):
            raise ValueError("give 'adaptive' or a whole number of at least 1")
        return given

    def check(self, pipeline: Pipeline, config: RunConfig) -> None:
        """Refuses what does not fit the pipeline, or how it runs.

        Raises:
            ConfigError: A column or model is unknown, a value is out of range, or a limit of the
                user's own cannot be put anywhere.
        """
        own = config.request_admission.limit
        if self.limits and callable(own) and not hasattr(own(1), "put"):
            raise ConfigError(
                f"limits cannot be put: {called(own)!r} has no method put(value, now); give it "
                "one, or set caps instead"
            )
        columns = [column.name for column in pipeline.columns]
        for name, weight in self.weights.items():
            _check_known("weights", "column", name, columns)
            if not 0 < weight < float("inf"):
                raise ConfigError(
                    f"weight of column {name!r} is {weight!r}; give a finite number above 0"
                )
        aliases = [model.alias for model in pipeline.models]
        for setting, values in (("cap", self.caps), ("limit", self.limits)):
            for name, value in values.items():
                _check_known(f"{setting}s", "model", name, aliases)
                if value < 1:
                    raise ConfigError(f"{setting} of model {name!r} is {value}; give at least 1")


class Adjuster:
    """Applies adjustments to one run, on its loop.

    Args:
        engine: The engine of the run.
        pipeline: What it computes.
        config: How it was started.
    """

    def __init__(self, engine: Engine, pipeline: Pipeline, config: RunConfig) -> None:
        self._engine = engine
        self._caps = {key: found.cap for key, found in pipeline.model_capacities.items()}
        self._now = config.model_copy(update={"progress": None})
        self._keys = {model.alias: model.key for model in pipeline.models}

    @property
    def config(self) -> RunConfig:
        """The settings as they are now."""
        return self._now

    def apply(self, change: Adjustment) -> None:
        """Applies what is not None."""
        for column, weight in change.weights.items():
            self._engine.scheduler.set_weight(column, weight)
        limiter = self._engine.limiter
        for alias, cap in change.caps.items():
            self._caps[self._keys[alias]] = cap
            for pool in self._pools(alias):
                limiter.set_cap(pool, cap)
        for alias, value in change.limits.items():
            for pool in self._pools(alias):
                limiter.set_limit(pool, value)
        settings = change.model_dump(exclude={"weights", "caps", "limits"}, exclude_none=True)
        before = {name: getattr(self._now, name) for name in settings}
        if "task_policy" in before:
            before["task_policy"] = called(before["task_policy"])
        self._now = self._now.model_copy(update=settings)
        self._follow(settings, bool(change.caps))
        for name, value in settings.items():
            self._engine.scheduler.adjusted(name, before[name], value)

    def _pools(self, alias: str) -> list[PoolKey]:
        return [pool for pool in self._engine.limiter.pools if pool.model_key == self._keys[alias]]

    def _follow(self, settings: Mapping[str, Any], caps: bool) -> None:
        """Brings the schedule in line with the settings as they are now."""
        schedule, config = self._engine.schedule, self._now
        if caps or "max_in_flight_tasks" in settings:
            slots = derive_capacities(self._caps, config.max_in_flight_tasks)
            self._engine.scheduler.set_capacities(slots)
        if "row_groups" in settings:
            wanted = config.row_groups
            schedule.set_row_groups(None if wanted == "adaptive" else wanted)
        if "task_policy" in settings:
            schedule.set_policy(make_policy(config, schedule.resolver.flows))
        if "request_pressure_advisory" in settings:
            on = config.request_pressure_advisory
            schedule.set_advisory(Advisory(self._engine.limiter.load) if on else None)


def _check_known(setting: str, kind: str, name: str, known: Iterable[str]) -> None:
    names = list(known)
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"give one of: {', '.join(names)}"
        raise ConfigError(f"{setting} names {name!r}, which is no {kind}; {hint}")
