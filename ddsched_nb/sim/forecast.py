"""Rehearsal: what a large run will take, before it is paid for.

Many simulations, each with profiles that might have been measured just as well and with other
draws from them; what nine in ten of them say is the interval. A very large run is simulated in part
and carried on, since from some size on it only goes on as it went.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from ddsched_nb.analysis.fit import Fit
from ddsched_nb.config import RunConfig
from ddsched_nb.core.model import ModelKey
from ddsched_nb.errors import ConfigError
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.providers import Model
from ddsched_nb.reprs import html_table, tell_whole, text_table
from ddsched_nb.sim.apart import apart
from ddsched_nb.sim.record import SimulatedResult
from ddsched_nb.sim.simulate import Plan, Profiles, make_plan, run_plan
from ddsched_nb.workloads.base import reseeded

__all__ = ["Forecast", "Interval", "Knob", "forecast"]

MOST_ROWS = 2_000
_HELD = 0.9
_KNOB_RUNS = 3
_WORTH_SAYING = 0.02


class Interval(NamedTuple):
    """Where nine in ten further simulations would lie, and the middle of those made."""

    low: float
    median: float
    high: float


@dataclass(frozen=True, slots=True)
class Knob:
    """A setting, and what another value of it would do.

    A model that never refused is believed to serve as many calls as a larger cap lets out.

    Attributes:
        name: The setting.
        before: Its value now.
        after: The value tried.
        ratio: The makespan with it, over the one without.
    """

    name: str
    before: int
    after: int
    ratio: float

    def __repr__(self) -> str:
        change = (self.ratio - 1) * 100
        return f"{self.name} {self.before} -> {self.after}: {change:+.0f} % time"


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run will take; an interval holds nine in ten of them. Durations in seconds.

    Attributes:
        rows: Rows of the run.
        runs: Simulations made.
        simulated_rows: Rows of each; if fewer than `rows`, the rest is carried on.
        makespan_s: From start to end.
        first_group_s: When the first row group is finished.
        useful_utilization: Seconds of service over those that capacity exists for.
        refusals: Requests that are refused.
        tokens: Tokens sent and written.
        cost: What they cost, in `currency`; zeros where no model has prices.
        currency: What the cost is in.
        knobs: Settings tried, the most helpful first; empty if none were.
    """

    rows: int
    runs: int
    simulated_rows: int
    makespan_s: Interval
    first_group_s: Interval
    useful_utilization: Interval
    refusals: Interval
    tokens: Interval
    cost: Interval
    currency: str
    knobs: tuple[Knob, ...]

    @property
    def best_knob(self) -> Knob | None:
        """The setting whose change saves most time; None if none saves any worth the name."""
        best = min(self.knobs, key=lambda knob: knob.ratio, default=None)
        return best if best is not None and best.ratio < 1 - _WORTH_SAYING else None

    def __repr__(self) -> str:
        low, _, high = self.makespan_s
        return (
            f"<Forecast: {self.rows} rows in {low:.1f} to {high:.1f} s, "
            f"{self.runs} simulations{self._part()}>"
        )

    def __str__(self) -> str:
        lines = [f"{self.rows} rows, {self.runs} simulations{self._part()}"]
        lines.append(text_table(_HEADS, self._cells()))
        if self.knobs:
            lines.append(self._advice())
        return "\n".join(lines)

    _repr_pretty_ = tell_whole

    def _repr_html_(self) -> str:
        caption = f"{self.rows} rows, {self.runs} simulations{self._part()}"
        advice = f"; {self._advice()}" if self.knobs else ""
        return html_table(_HEADS, self._cells(), caption=caption + advice)

    def _part(self) -> str:
        return f" of {self.simulated_rows} rows" if self.simulated_rows < self.rows else ""

    def _advice(self) -> str:
        best = self.best_knob
        return "no setting tried would help" if best is None else f"what would help most: {best!r}"

    def _cells(self) -> list[tuple[str, ...]]:
        cells = [
            ("makespan, s", *(f"{value:.1f}" for value in self.makespan_s)),
            ("first row group, s", *(f"{value:.1f}" for value in self.first_group_s)),
            ("useful utilization", *(f"{value:.2f}" for value in self.useful_utilization)),
            ("refusals", *(f"{value:,.0f}" for value in self.refusals)),
            ("tokens", *(f"{value:,.0f}" for value in self.tokens)),
        ]
        if self.cost.high:
            cells.append((f"cost, {self.currency}", *(f"{value:,.2f}" for value in self.cost)))
        return cells


_HEADS = ("", "low", "median", "high")


def forecast(
    pipeline: Pipeline,
    *,
    profiles: Profiles | Fit,
    rows: int | None = None,
    table: Any = None,
    config: RunConfig | None = None,
    runs: int = 20,
    knobs: bool = False,
) -> Forecast:
    """Says what a run of a pipeline will take.

    Args:
        pipeline: The work, with the providers it will really call.
        profiles: What the models are like: `fit(record)` of a short real run, or profiles.
        rows: How many rows, where there is no input table.
        table: The input table.
        config: How it will run; the defaults if None.
        runs: Simulations to make, at least 3. With a fit each draws its own profiles.
        knobs: Whether to try what other settings would do.

    Returns:
        Intervals, and advice if it was asked for.

    Raises:
        ConfigError: Rows, table or profiles are missing or do not fit the pipeline.
        SimulationDeadlock: As in `simulate`.
    """
    if runs < 3:
        raise ConfigError(f"runs is {runs}; give at least 3, for an interval")
    config = (config or RunConfig()).model_copy(update={"record": False})
    plan = make_plan(pipeline, config, rows=rows, table=table, profiles=profiles)
    return apart(lambda: _forecast(plan, profiles, runs, knobs))


def _forecast(plan: Plan, profiles: Profiles | Fit, runs: int, knobs: bool) -> Forecast:
    fit = profiles if isinstance(profiles, Fit) else None
    seen = [_one(plan, fit, seed) for seed in range(runs)]
    tried: tuple[Knob, ...] = ()
    if knobs:
        tried = tuple(_try_knobs(plan, fit, [one.makespan_s for one in seen[:_KNOB_RUNS]]))
    return Forecast(
        rows=plan.table.rows,
        runs=runs,
        simulated_rows=min(plan.table.rows, MOST_ROWS),
        makespan_s=_interval([one.makespan_s for one in seen]),
        first_group_s=_interval([one.first_group_s for one in seen]),
        useful_utilization=_interval([one.useful_utilization for one in seen]),
        refusals=_interval([one.refusals for one in seen]),
        tokens=_interval([one.tokens for one in seen]),
        cost=_interval([one.cost for one in seen]),
        currency=_currency(plan.pipeline),
        knobs=tuple(sorted(tried, key=lambda knob: knob.ratio)),
    )


class _One(NamedTuple):
    """What one simulation says."""

    makespan_s: float
    first_group_s: float
    useful_utilization: float
    refusals: float
    tokens: float
    cost: float


def _one(plan: Plan, fit: Fit | None, seed: int) -> _One:
    drawn = plan.profiles if fit is None else fit.resampled(seed)
    plan = plan._replace(seed=seed, profiles=reseeded(drawn, seed))
    rows = plan.table.rows
    whole = _counted(plan._replace(table=plan.table.head(MOST_ROWS)), fit, seed)
    if rows <= MOST_ROWS:
        return whole
    half = _counted(plan._replace(table=plan.table.head(MOST_ROWS // 2)), fit, seed)
    more = (rows - MOST_ROWS) / (MOST_ROWS - MOST_ROWS // 2)
    carried = [late + (late - early) * more for late, early in zip(whole, half, strict=True)]
    return whole._replace(
        makespan_s=carried[0], refusals=carried[3], tokens=carried[4], cost=carried[5]
    )


def _counted(plan: Plan, fit: Fit | None, seed: int) -> _One:
    result = run_plan(plan).result
    if result.error is not None:
        raise result.error
    tokens, cost = _paid(plan, result, fit, random.Random(f"tokens|{seed}"))
    return _One(
        result.makespan_s,
        result.first_group_s or 0.0,
        result.useful_utilization,
        result.refused,
        tokens,
        cost,
    )


def _paid(
    plan: Plan, result: SimulatedResult, fit: Fit | None, dice: random.Random
) -> tuple[float, float]:
    """Tokens and their price: as simulated, or with a fit at the lengths that were measured."""
    if fit is None:
        return result.tokens, sum(cost for _, cost in result.summary.cost)
    priced = {model.key: model.prices for model in plan.pipeline.models if model.prices}
    tokens = cost = 0.0
    for fitted in fit.models:
        key = ModelKey(fitted.pool.provider, fitted.pool.model)
        if key not in result.models:
            continue
        answered = result.models[key].ok
        drawn = dice.choices(fitted.tokens, k=len(fitted.tokens))
        prompt, completion = (
            answered * sum(pair[place] for pair in drawn) / len(drawn) for place in (0, 1)
        )
        tokens += prompt + completion
        if key in priced:
            prices = priced[key]
            cost += (prompt * prices.prompt + completion * prices.completion) / 1e6
    return tokens, cost


def _try_knobs(plan: Plan, fit: Fit | None, base: list[float]) -> Iterator[Knob]:
    for name, before, after, changed in _variants(plan):
        believed = _believed(fit, changed.pipeline)
        seen = [_one(changed, believed, seed).makespan_s for seed in range(len(base))]
        ratios = sorted(new / old for new, old in zip(seen, base, strict=True))
        yield Knob(name, before, after, ratios[len(ratios) // 2])


def _believed(fit: Fit | None, pipeline: Pipeline) -> Fit | None:
    """A model that never refused is believed to serve as many calls as a cap lets out."""
    if fit is None:
        return None
    caps = {model.key: model.max_parallel_requests for model in pipeline.models}
    for found in fit.models:
        cap = caps.get(found.pool.model_key, 0)
        if not found.capacity_seen and cap > found.capacity:
            fit = fit.knowing(found.pool.model, capacity=cap)
    return fit


def _variants(plan: Plan) -> Iterator[tuple[str, int, int, Plan]]:
    config = plan.config
    for field in ("buffer_size", "max_concurrent_row_groups"):
        before = getattr(config, field)
        for after in (before * 2, before // 2) if before else ():
            if after:
                changed = config.model_copy(update={field: after})
                yield field, before, after, plan._replace(config=changed)
    for model in plan.pipeline.models:
        before = model.max_parallel_requests
        for after in (before * 2, before // 2):
            if after:
                changed_pipeline = _with_cap(plan.pipeline, model, after)
                name = f"max_parallel_requests of {model.alias}"
                yield name, before, after, plan._replace(pipeline=changed_pipeline)


def _with_cap(pipeline: Pipeline, changed: Model, cap: int) -> Pipeline:
    return pipeline.with_models(
        [m.with_cap(cap) if m.key == changed.key else m for m in pipeline.models]
    )


def _currency(pipeline: Pipeline) -> str:
    return next((m.prices.currency for m in pipeline.models if m.prices), "USD")


def _interval(values: list[float]) -> Interval:
    """Where a further simulation would lie, nine times in ten (Student's prediction interval).

    The quantiles of a few simulations would lie too close together.
    """
    runs = len(values)
    middle = statistics.median(values)
    reach = _student(runs - 1) * statistics.stdev(values) * math.sqrt(1 + 1 / runs)
    return Interval(max(0.0, middle - reach), middle, middle + reach)


def _student(freedom: int) -> float:
    """Student's quantile that leaves a twentieth above, from the normal one (Fisher 1925)."""
    z = statistics.NormalDist().inv_cdf(1 - (1 - _HELD) / 2)
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )
