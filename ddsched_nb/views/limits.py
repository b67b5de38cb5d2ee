"""The charts of limits: what each model was allowed, and what there really was.

Decides which marks say what. What happened to a pool is read in `series`; the capacity that a
simulated endpoint had is asked of its profile, since no event tells it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import altair as alt

from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import PoolKey
from ddsched_nb.errors import ConfigError
from ddsched_nb.sim.record import SimulatedRecord
from ddsched_nb.views.look import (
    OKABE_ITO,
    bar_legend,
    colours,
    dashes,
    finish,
    inline,
    legend,
    seconds_tip,
    time_axis,
    whole_axis,
)
from ddsched_nb.views.series import PoolSeries, Step, average, gather, keep_extremes, pool_series
from ddsched_nb.views.source import Source, events_of, said, span
from ddsched_nb.wording import plural, pool_name

__all__ = ["capacity", "limit_over_time"]

_CROSS: Final = "M-1,-1L1,1M-1,1L1,-1"

# Points of one chart, shared by its pools.
_LIMIT_POINTS: Final = 900
_IN_FLIGHT_POINTS: Final = 700
_REFUSAL_POINTS: Final = 300
_CAPACITY_POINTS: Final = 500

# Said by shape as well as by colour.
_HIDDEN, _LIMIT = "hidden capacity (shade)", "limit (line)"
_BUSY, _REFUSED = "in flight (dots)", "refused (cross)"


def limit_over_time(record_or_events: Source, pool: PoolKey | str | None = None) -> alt.LayerChart:
    """Each model's limit as a line, its requests in flight as a shade, refusals as crosses.

    Every change of a limit is drawn where it happened. A record with more than some hundred
    changes is thinned: of a limit the extremes are kept, of what is in flight the mean.

    Args:
        record_or_events: A run record, or events in order.
        pool: Draw only this one: a `PoolKey`, its label, or the name of a model.

    Raises:
        ConfigError: There are no requests in the record, or no such pool.
    """
    chosen = _choose(pool_series(events_of(record_or_events)), pool)
    names = [pool_name(series.pool) for series in chosen]
    colour = alt.Color("pool:N", title=None, scale=colours(names), legend=legend(names))
    layers = [
        _in_flight_layer(chosen, colour),
        _limit_layer(chosen, colour, names),
        *_refusal_layers(chosen, colour),
    ]
    return finish(
        layers,
        "Limit over time",
        said(
            record_or_events, "line: limit \u00b7 shade: requests in flight \u00b7 cross: refused"
        ),
    )


def capacity(record_or_events: Source, pool: PoolKey | str | None = None) -> alt.LayerChart:
    """One model's limit and requests in flight against the capacity that was hidden from it.

    The capacity is known of a simulated run, whose endpoints are described. Of any other record the
    chart shows the rest and says that nobody knows the capacity.

    Args:
        record_or_events: A run record, or events in order.
        pool: A `PoolKey`, its label, or the name of a model; the one that was refused most if None,
            or without refusals the one that was called most.

    Raises:
        ConfigError: There are no requests in the record, or no such pool.
    """
    found = _choose(pool_series(events_of(record_or_events)), pool)
    shown = max(found, key=lambda series: (len(series.refusals), len(series.in_flight)))
    hidden = _hidden(record_or_events, shown.pool)
    kinds = [*([_HIDDEN] if hidden else []), _LIMIT, _BUSY]
    kinds += [_REFUSED] if shown.refusals else []
    words = [pool_name(shown.pool)]
    words += [] if hidden else ["its capacity is not known: no simulation"]
    words += [f"{plural(len(shown.refusals), 'request')} refused"] if shown.refusals else []
    return finish(
        _against(shown, hidden, kinds),
        "Limit against the hidden capacity" if hidden else "Limit and requests in flight",
        said(record_or_events, *words),
    )


def _against(shown: PoolSeries, hidden: list[Step], kinds: list[str]) -> list[alt.Chart]:
    looks = {_HIDDEN: "#8A8A8A", _LIMIT: OKABE_ITO[0], _BUSY: OKABE_ITO[2], _REFUSED: OKABE_ITO[1]}
    colour = alt.Color(
        "what:N",
        title=None,
        scale=alt.Scale(domain=kinds, range=[looks[kind] for kind in kinds]),
        legend=bar_legend(solid=True),
    )
    most = max((step.value for step in (*shown.limit, *shown.in_flight, *hidden)), default=0)
    y = alt.Y("requests:Q", title="requests", stack=None, axis=whole_axis(most))
    tip = [alt.Tooltip("what:N"), seconds_tip(), alt.Tooltip("requests:Q", format=",.1f")]

    def drawn(steps: list[Step], what: str) -> alt.Chart:
        rows = _steps(steps, "requests", what=what)
        return alt.Chart(inline(rows)).encode(x=time_axis(), y=y, color=colour, tooltip=tip)

    busy = drawn(average(shown.in_flight, _IN_FLIGHT_POINTS), _BUSY)
    limit = drawn(keep_extremes(shown.limit, _LIMIT_POINTS), _LIMIT)
    layers = [drawn(hidden, _HIDDEN).mark_area(interpolate="step-after", opacity=0.3)]
    layers = layers if hidden else []
    layers += [
        busy.mark_line(interpolate="step-after", strokeWidth=1.5, strokeDash=[2, 2]),
        limit.mark_line(interpolate="step-after", strokeWidth=2, strokeJoin="round"),
    ]
    if shown.refusals:
        points = [Step(r.at, r.limit) for r in gather(shown.refusals, _REFUSAL_POINTS)]
        layers.append(
            drawn(points, _REFUSED).mark_point(shape=_CROSS, size=45, strokeWidth=1.5, opacity=1)
        )
    return layers


def _hidden(source: Source, pool: PoolKey) -> list[Step]:
    """The capacity that a pool's endpoint had; nothing where it is not known.

    A profile counts from the first request that any of its endpoint's models got.
    """
    profile = _profile(source, pool)
    events = events_of(source)
    if profile is None:
        return []
    start, end = span(events)
    calls = (e.at for e in events if isinstance(e, ev.ModelRequestStarted))
    first = next(calls, start) - start if not getattr(source, "truncated", False) else 0.0
    steps, at = [Step(0.0, profile.capacity_at(0.0))], 0.0
    while (at := profile.curve.next_edge(at)) + first < end - start:
        steps.append(Step(round(at + first, 6), profile.capacity_at(at)))
    steps.append(Step(round(end - start, 6), steps[-1].value))
    return keep_extremes(steps, _CAPACITY_POINTS)


def _profile(source: Source, pool: PoolKey) -> EndpointProfile | None:
    if not isinstance(source, SimulatedRecord) or not hasattr(source, "result"):
        return None
    return source.result.profiles.get(pool.model_key)


def _choose(found: list[PoolSeries], pool: PoolKey | str | None) -> list[PoolSeries]:
    if not found:
        raise ConfigError(
            "the record holds no requests, so no limit moved; "
            "draw a run that calls a model and keeps its record (RunConfig(record=True))"
        )
    # By name, so that a model keeps its colour whichever model was called first.
    found = sorted(found, key=lambda series: series.pool)
    chosen = [series for series in found if pool is None or _matches(series.pool, pool)]
    if not chosen:
        known = ", ".join(series.pool.label for series in found)
        raise ConfigError(f"pool is {pool!r}, which is not in the record; it has: {known}")
    return chosen


def _matches(key: PoolKey, wanted: PoolKey | str) -> bool:
    return wanted in (key, key.label, key.model_key.label, key.model)


def _in_flight_layer(chosen: list[PoolSeries], colour: alt.Color) -> alt.Chart:
    share = max(2, _IN_FLIGHT_POINTS // len(chosen))
    rows = _per_pool(chosen, "in_flight", lambda s: average(s.in_flight, share))
    chart: alt.Chart = (
        alt.Chart(inline(rows))
        # Shades of many pools lie on each other: together they stay as light as those of two.
        .mark_area(interpolate="step-after", opacity=min(0.28, 0.6 / len(chosen)))
        .encode(x=time_axis(), y=alt.Y("in_flight:Q", title="requests", stack=None), color=colour)
    )
    return chart


def _limit_layer(chosen: list[PoolSeries], colour: alt.Color, names: list[str]) -> alt.Chart:
    share = max(4, _LIMIT_POINTS // len(chosen))
    rows = _per_pool(chosen, "limit", lambda s: keep_extremes(s.limit, share))
    tooltip = [alt.Tooltip("pool:N", title="model"), seconds_tip(), "limit:Q"]
    most = max((row["limit"] for row in rows), default=0)
    chart: alt.Chart = (
        alt.Chart(inline(rows))
        .mark_line(interpolate="step-after", strokeWidth=2, strokeJoin="round")
        .encode(
            x=time_axis(),
            y=alt.Y("limit:Q", title="requests", axis=whole_axis(most)),
            color=colour,
            strokeDash=alt.StrokeDash("pool:N", title=None, scale=dashes(names)),
            tooltip=tooltip,
        )
    )
    return chart


def _refusal_layers(chosen: list[PoolSeries], colour: alt.Color) -> list[alt.Chart]:
    share = max(1, _REFUSAL_POINTS // len(chosen))
    rows = [
        {"at": refusal.at, "limit": refusal.limit, "refused": refusal.refused, "pool": name}
        for series in chosen
        for name in [pool_name(series.pool)]
        for refusal in gather(series.refusals, share)
    ]
    if not rows:
        return []
    tooltip = [alt.Tooltip("pool:N", title="model"), seconds_tip(), "refused:Q", "limit:Q"]
    marks = alt.Chart(inline(rows)).mark_point(shape=_CROSS, size=45, strokeWidth=1.5, opacity=1)
    return [marks.encode(x=time_axis(), y="limit:Q", color=colour, tooltip=tooltip)]


def _per_pool(
    chosen: Iterable[PoolSeries], field: str, points: Callable[[PoolSeries], list[Step]]
) -> list[dict[str, Any]]:
    return [
        row
        for series in chosen
        for row in _steps(points(series), field, pool=pool_name(series.pool))
    ]


def _steps(steps: list[Step], field: str, **labels: str) -> list[dict[str, Any]]:
    return [{"at": step.at, field: step.value, **labels} for step in steps]
