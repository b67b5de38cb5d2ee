"""Charts of a record: functions from events to an Altair chart, named in `CHARTS`.

Decides which marks say what; their points are decided in `series`, colours and sizes in `look`.
Charts hold names of models and numbers, never anything of a table.

Making a chart makes sure that charts can be shown without a network (see `renderer`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

import altair as alt

from ddsched_nb.core.events import Event
from ddsched_nb.core.model import PoolKey
from ddsched_nb.errors import ConfigError
from ddsched_nb.views.comparison import comparison, makespans, trial
from ddsched_nb.views.idle import idle_causes
from ddsched_nb.views.look import bar_legend, colours, dashes, finish, legend
from ddsched_nb.views.series import (
    PoolSeries,
    Step,
    average,
    gather,
    group_series,
    keep_extremes,
    pool_series,
    row_series,
    token_shares,
)
from ddsched_nb.views.slots import task_slots
from ddsched_nb.wording import pool_name

_CROSS: Final = "M-1,-1L1,1M-1,1L1,-1"
_SECONDS: Final = "seconds from the start"

# Points of one chart, shared by its pools.
_LIMIT_POINTS: Final = 900
_IN_FLIGHT_POINTS: Final = 700
_REFUSAL_POINTS: Final = 300
_ROW_POINTS: Final = 900


class HasEvents(Protocol):
    """A run record, or anything else with events."""

    @property
    def events(self) -> Sequence[Event]: ...


Source = HasEvents | Sequence[Event]


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
    chosen = _choose(pool_series(_events(record_or_events)), pool)
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
        "line: limit \u00b7 shade: requests in flight \u00b7 cross: refused",
    )


def row_progress(record_or_events: Source) -> alt.LayerChart:
    """Rows finished over time, and rows dropped where there are any.

    Args:
        record_or_events: A run record, or events in order.
    """
    finished, dropped = row_series(_events(record_or_events))
    rows = _steps(keep_extremes(finished, _ROW_POINTS), "rows", state="finished")
    kinds = ["finished"]
    if dropped and dropped[-1].value:
        rows += _steps(keep_extremes(dropped, _ROW_POINTS), "rows", state="dropped")
        kinds.append("dropped")
    base = alt.Chart(_data(rows)).encode(x=_time(), color=_states(kinds))
    y = alt.Y("rows:Q", title="rows", axis=alt.Axis(tickMinStep=1), stack=None)
    area = base.mark_area(interpolate="step-after", opacity=0.18).encode(y=y)
    line = base.mark_line(interpolate="step-after").encode(
        y=y,
        strokeDash=alt.StrokeDash("state:N", title=None, scale=dashes(kinds)),
        tooltip=["state:N", _seconds_tip(), alt.Tooltip("rows:Q", format=",")],
    )
    return finish([area, line], "Rows over time")


def row_groups(record_or_events: Source) -> alt.LayerChart:
    """Row groups open over time, and the target where it moves.

    Args:
        record_or_events: A run record, or events in order.
    """
    opened, target = group_series(_events(record_or_events))
    kinds = ["open", "target"] if target else ["open"]
    rows = _steps(keep_extremes(opened, _ROW_POINTS), "groups", state="open")
    rows += _steps(keep_extremes(target, _ROW_POINTS), "groups", state="target")
    y = alt.Y("groups:Q", title="row groups", axis=alt.Axis(tickMinStep=1), stack=None)
    base = alt.Chart(_data(rows)).encode(x=_time(), y=y, color=_states(kinds))
    area = base.transform_filter("datum.state == 'open'").mark_area(
        interpolate="step-after", opacity=0.25
    )
    line = base.mark_line(interpolate="step-after").encode(
        strokeDash=alt.StrokeDash("state:N", title=None, scale=dashes(kinds)),
        tooltip=["state:N", _seconds_tip(), "groups:Q"],
    )
    return finish([area, line], "Row groups over time")


def tokens_by_column(record_or_events: Source) -> alt.LayerChart:
    """The tokens that each column used, one colour a model: where the money goes.

    Args:
        record_or_events: A run record, or events in order.

    Raises:
        ConfigError: There are no answered calls in the record.
    """
    shares = token_shares(_events(record_or_events))
    if not shares:
        raise ConfigError(
            "the record holds no answered call of a column; draw a run that calls a model and "
            "keeps its record (RunConfig(record=True))"
        )
    names = sorted({pool_name(share.pool) for share in shares})
    rows = [
        {"column": s.column, "pool": pool_name(s.pool), "calls": s.calls, "tokens": s.tokens}
        for s in shares
    ]
    order = list(dict.fromkeys(share.column for share in shares))
    base = alt.Chart(_data(rows)).encode(
        y=alt.Y("column:N", title=None, sort=order),
        x=alt.X("tokens:Q", title="tokens", stack="zero"),
        tooltip=["column:N", alt.Tooltip("pool:N", title="model"), "calls:Q", "tokens:Q"],
    )
    bars = base.mark_bar(height={"band": 0.7}).encode(
        color=alt.Color("pool:N", title=None, scale=colours(names), legend=bar_legend())
    )
    return finish([bars], "Tokens by column", height=30 + 34 * len(order))


__all__ = [
    "CHARTS",
    "comparison",
    "idle_causes",
    "limit_over_time",
    "makespans",
    "row_groups",
    "row_progress",
    "task_slots",
    "tokens_by_column",
    "trial",
]

CHARTS: Final[tuple[Callable[[Source], alt.LayerChart], ...]] = (
    limit_over_time,
    row_progress,
    row_groups,
    task_slots,
    idle_causes,
    tokens_by_column,
)


def _events(source: Source) -> Sequence[Event]:
    return source if isinstance(source, Sequence) else source.events


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
        alt.Chart(_data(rows))
        # Shades of many pools lie on each other: together they stay as light as those of two.
        .mark_area(interpolate="step-after", opacity=min(0.28, 0.6 / len(chosen)))
        .encode(x=_time(), y=alt.Y("in_flight:Q", title="requests", stack=None), color=colour)
    )
    return chart


def _limit_layer(chosen: list[PoolSeries], colour: alt.Color, names: list[str]) -> alt.Chart:
    share = max(4, _LIMIT_POINTS // len(chosen))
    rows = _per_pool(chosen, "limit", lambda s: keep_extremes(s.limit, share))
    tooltip = [alt.Tooltip("pool:N", title="model"), _seconds_tip(), "limit:Q"]
    chart: alt.Chart = (
        alt.Chart(_data(rows))
        .mark_line(interpolate="step-after", strokeWidth=2, strokeJoin="round")
        .encode(
            x=_time(),
            y=alt.Y("limit:Q", title="requests", axis=alt.Axis(tickMinStep=1)),
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
    tooltip = [alt.Tooltip("pool:N", title="model"), _seconds_tip(), "refused:Q", "limit:Q"]
    marks = alt.Chart(_data(rows)).mark_point(shape=_CROSS, size=45, strokeWidth=1.5, opacity=1)
    return [marks.encode(x=_time(), y="limit:Q", color=colour, tooltip=tooltip)]


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


def _data(rows: list[dict[str, Any]]) -> alt.InlineData:
    return alt.InlineData(values=rows)


def _time() -> alt.X:
    return alt.X("at:Q", title=_SECONDS, scale=alt.Scale(nice=False))


def _seconds_tip() -> alt.Tooltip:
    return alt.Tooltip("at:Q", title="seconds", format=",.2f")


def _states(kinds: list[str]) -> alt.Color:
    return alt.Color("state:N", title=None, scale=colours(kinds), legend=legend(kinds))
