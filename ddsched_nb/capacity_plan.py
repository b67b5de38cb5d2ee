"""The capacity plan of a run: every number that bounds it, with where it comes from.

Nothing is capped in secret: what was declared, what was derived and from what, what was learned,
and what was used of it at the most. A reading: it decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ddsched_nb.config import RunConfig
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import LLM_WAIT, LOCAL, SUBMISSION, PoolKey
from ddsched_nb.core.pool_facts import PoolStatistics
from ddsched_nb.core.resolver import DEFAULT_LOCAL_SLOTS, model_resource
from ddsched_nb.engine import Engine
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.record import RunRecord
from ddsched_nb.reprs import html_table, tell_whole, text_table

__all__ = ["CapacityPlan", "CapacityValue", "capacity_plan"]

_HEADS = ("what", "value", "from", "instead of", "most used")


@dataclass(frozen=True, slots=True)
class CapacityValue:
    """One number that bounds a run.

    Attributes:
        name: What it bounds.
        value: How much there is now; None if nothing bounds it.
        source: Where the value comes from.
        fallback_from: The setting that would have given it, where it was not set.
        missing_reason: Why that did not give it.
        observed_max: What was used of it at the most; None if the record does not say.
    """

    name: str
    value: float | None
    source: str
    fallback_from: str | None = None
    missing_reason: str | None = None
    observed_max: float | None = None


@dataclass(frozen=True, slots=True)
class CapacityPlan:
    """Every number that bounds a run. `print` shows it as a table.

    Attributes:
        values: The numbers, those of the scheduler first.
    """

    values: tuple[CapacityValue, ...]

    def __getitem__(self, name: str) -> CapacityValue:
        for value in self.values:
            if value.name == name:
                return value
        raise KeyError(name)

    def __repr__(self) -> str:
        return f"<CapacityPlan: {len(self.values)} numbers that bound the run>"

    def __str__(self) -> str:
        return text_table(_HEADS, self._cells())

    _repr_pretty_ = tell_whole

    def _repr_html_(self) -> str:
        return html_table(_HEADS, self._cells(), caption="what bounds this run, and why")

    def _cells(self) -> list[tuple[str, ...]]:
        return [
            (
                value.name,
                _number(value.value, "none"),
                value.source,
                "-"
                if value.fallback_from is None
                else f"{value.fallback_from} ({value.missing_reason})",
                _number(value.observed_max, "-"),
            )
            for value in self.values
        ]


def capacity_plan(
    engine: Engine, pipeline: Pipeline, config: RunConfig, record: RunRecord
) -> CapacityPlan:
    """The capacity plan of a run, as it stands.

    Args:
        engine: The engine of the run.
        pipeline: What it computes.
        config: How.
        record: Its record, for what was used at the most.
    """
    most = _observed(record)
    found = [
        *_scheduler(engine, pipeline, config, most),
        *_row_groups(engine, config, most),
    ]
    for pool in engine.limiter.pools:
        found += _pool(pool, engine.limiter.statistics(pool), pipeline, config, most)
    return CapacityPlan(tuple(found))


def _scheduler(
    engine: Engine, pipeline: Pipeline, config: RunConfig, most: Mapping[str, float]
) -> Iterator[CapacityValue]:
    capacities = engine.schedule.dispatcher.admission.capacities
    models = {model_resource(key): key for key in pipeline.model_capacities}
    declared = config.max_in_flight_tasks is not None
    for resource, value in capacities.items():
        if resource in models:
            source = f"cap of {models[resource].label}, and a quarter (at least 4) more"
        elif resource == SUBMISSION:
            source = f"the slots of all models, and {DEFAULT_LOCAL_SLOTS} for local tasks"
        elif resource == LLM_WAIT:
            source = "the slots of all models" if models else "half of submission"
        else:
            source = f"{DEFAULT_LOCAL_SLOTS} local tasks" if resource == LOCAL else "declared"
        setting = "RunConfig.max_in_flight_tasks"
        if resource == SUBMISSION and declared:
            yield CapacityValue(resource, value, setting, observed_max=most.get(resource))
            continue
        if declared and value == capacities[SUBMISSION]:
            source += f", at most {setting}"
        unset = setting if resource == SUBMISSION else None
        yield _value(resource, value, source, unset, most.get(resource))


def _row_groups(
    engine: Engine, config: RunConfig, most: Mapping[str, float]
) -> Iterator[CapacityValue]:
    governor = engine.schedule.governor
    used = most.get("row groups")
    if not governor.adaptive:
        yield CapacityValue("row groups", governor.cap, "RunConfig.row_groups", observed_max=used)
    else:
        yield CapacityValue(
            "row groups", governor.target, "adaptive: follows the work", observed_max=used
        )
        declared = config.max_concurrent_row_groups is not None
        setting = "RunConfig.max_concurrent_row_groups"
        source = setting if declared else "the row groups of the table"
        yield _value("row groups at the most", governor.cap, source, None if declared else setting)
    yield CapacityValue(
        "rows of open groups",
        governor.most_rows if governor.adaptive else None,
        "three row groups, or 8,192 if that is more" if governor.adaptive else "row groups alone",
        observed_max=most.get("rows of open groups"),
    )


def _pool(
    pool: PoolKey,
    found: PoolStatistics,
    pipeline: Pipeline,
    config: RunConfig,
    most: Mapping[str, float],
) -> Iterator[CapacityValue]:
    label, capacity = pool.label, pipeline.model_capacities[pool.model_key]
    aliases = {m.alias: m for m in pipeline.models if m.key == pool.model_key}
    named = ", ".join(f"{alias} {cap}" for alias, cap in capacity.aliases)
    declared = all(model.cap_is_declared for model in aliases.values())
    source = "Model.max_parallel_requests" if declared else "the default of a model"
    unset = None if declared else "Model.max_parallel_requests"
    if len(capacity.aliases) > 1:
        source, unset = f"the least of its aliases ({named})", None
    if found.cap != capacity.cap:
        source = f"changed, or shared with another run ({source}: {capacity.cap})"
    yield _value(f"{label}: cap", found.cap, source, unset, most.get(label))
    signals = ", ".join(found.signals) or "nothing: it never moves"
    yield CapacityValue(f"{label}: limit", found.limit, f"{found.algorithm}, moved by {signals}")
    quotas = {quota.unit: quota for quota in found.pacing}
    for unit in ("requests", "tokens"):
        quota, setting = quotas.get(unit), f"Model.{unit}_per_minute"
        if quota is None or quota.per_minute is None:
            yield CapacityValue(
                f"{label}: {unit} a minute", None, "nothing known", setting, "not set, and no sign"
            )
            continue
        unset = None if quota.source == "declared" else setting
        yield _value(f"{label}: {unit} a minute", quota.per_minute, str(quota.source), unset)


def _value(
    name: str, value: float, source: str, unset: str | None, observed: float | None = None
) -> CapacityValue:
    """A value; `unset` names the setting that would have given it."""
    return CapacityValue(name, value, source, unset, unset and "not set", observed)


def _observed(record: RunRecord) -> dict[str, float]:
    """What was used at the most, as far as the record says."""
    most: dict[str, float] = {}

    def see(name: str, value: float) -> None:
        most[name] = max(most.get(name, 0.0), value)

    for event in record.events:
        if isinstance(event, ev.SchedulerHealthSnapshot):
            for resource, value in event.leased.items():
                see(resource, value)
            see("rows of open groups", event.admitted_rows)
        elif isinstance(event, ev.RowGroupAdmitted):
            see("row groups", event.open_groups)
        elif isinstance(event, ev.RequestLeaseAcquired):
            see(event.pool.label, event.in_flight)
    return most


def _number(value: float | None, nothing: str) -> str:
    return nothing if value is None else f"{value:,g}"
