"""Charts of a record: functions from events to an Altair chart, named in `CHARTS`.

Decides which marks say what of rows, row groups and tokens, and which charts there are; the larger
ones have a module each. Points are decided in `series`, colours and sizes in `look`. Charts hold
names of models and columns and numbers, never anything of a table.

Making a chart makes sure that charts can be shown without a network (see `renderer`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import altair as alt

from ddsched_nb.errors import ConfigError
from ddsched_nb.views.comparison import comparison, makespans, trial
from ddsched_nb.views.fairness import fairness_lag
from ddsched_nb.views.gantt import row_gantt
from ddsched_nb.views.idle import idle_causes
from ddsched_nb.views.limits import capacity, limit_over_time
from ddsched_nb.views.look import (
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
from ddsched_nb.views.series import (
    Step,
    group_series,
    keep_extremes,
    row_series,
    token_shares,
)
from ddsched_nb.views.slots import task_slots
from ddsched_nb.views.source import HasEvents as HasEvents, Source as Source, events_of, said
from ddsched_nb.views.waits import waits
from ddsched_nb.wording import pool_name

_ROW_POINTS: Final = 900


def row_progress(record_or_events: Source) -> alt.LayerChart:
    """Rows finished over time, and rows dropped where there are any.

    Args:
        record_or_events: A run record, or events in order.
    """
    finished, dropped = row_series(events_of(record_or_events))
    rows = _steps(keep_extremes(finished, _ROW_POINTS), "rows", state="finished")
    kinds = ["finished"]
    if dropped and dropped[-1].value:
        rows += _steps(keep_extremes(dropped, _ROW_POINTS), "rows", state="dropped")
        kinds.append("dropped")
    base = alt.Chart(inline(rows)).encode(x=time_axis(), color=_states(kinds))
    whole = whole_axis(max((row["rows"] for row in rows), default=0))
    y = alt.Y("rows:Q", title="rows", axis=whole, stack=None)
    area = base.mark_area(interpolate="step-after", opacity=0.18).encode(y=y)
    line = base.mark_line(interpolate="step-after").encode(
        y=y,
        strokeDash=alt.StrokeDash("state:N", title=None, scale=dashes(kinds)),
        tooltip=["state:N", seconds_tip(), alt.Tooltip("rows:Q", format=",")],
    )
    return finish([area, line], "Rows over time", said(record_or_events))


def row_groups(record_or_events: Source) -> alt.LayerChart:
    """Row groups open over time, and the target where it moves.

    Args:
        record_or_events: A run record, or events in order.
    """
    opened, target = group_series(events_of(record_or_events))
    kinds = ["open", "target"] if target else ["open"]
    rows = _steps(keep_extremes(opened, _ROW_POINTS), "groups", state="open")
    rows += _steps(keep_extremes(target, _ROW_POINTS), "groups", state="target")
    whole = whole_axis(max((row["groups"] for row in rows), default=0))
    y = alt.Y("groups:Q", title="row groups", axis=whole, stack=None)
    base = alt.Chart(inline(rows)).encode(x=time_axis(), y=y, color=_states(kinds))
    area = base.transform_filter("datum.state == 'open'").mark_area(
        interpolate="step-after", opacity=0.25
    )
    line = base.mark_line(interpolate="step-after").encode(
        strokeDash=alt.StrokeDash("state:N", title=None, scale=dashes(kinds)),
        tooltip=["state:N", seconds_tip(), "groups:Q"],
    )
    return finish([area, line], "Row groups over time", said(record_or_events))


def tokens_by_column(record_or_events: Source) -> alt.LayerChart:
    """The tokens that each column used, one colour a model: where the money goes.

    Args:
        record_or_events: A run record, or events in order.

    Raises:
        ConfigError: There are no answered calls in the record.
    """
    shares = token_shares(events_of(record_or_events))
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
    base = alt.Chart(inline(rows)).encode(
        y=alt.Y("column:N", title=None, sort=order),
        x=alt.X("tokens:Q", title="tokens", stack="zero"),
        tooltip=["column:N", alt.Tooltip("pool:N", title="model"), "calls:Q", "tokens:Q"],
    )
    bars = base.mark_bar(height={"band": 0.7}).encode(
        color=alt.Color("pool:N", title=None, scale=colours(names), legend=bar_legend())
    )
    return finish([bars], "Tokens by column", said(record_or_events), 30 + 34 * len(order))


__all__ = [
    "CHARTS",
    "capacity",
    "comparison",
    "fairness_lag",
    "idle_causes",
    "limit_over_time",
    "makespans",
    "row_gantt",
    "row_groups",
    "row_progress",
    "task_slots",
    "tokens_by_column",
    "trial",
    "waits",
]

CHARTS: Final[tuple[Callable[[Source], alt.LayerChart], ...]] = (
    limit_over_time,
    capacity,
    row_progress,
    row_groups,
    row_gantt,
    task_slots,
    idle_causes,
    fairness_lag,
    waits,
    tokens_by_column,
)


def _steps(steps: list[Step], field: str, **labels: str) -> list[dict[str, Any]]:
    return [{"at": step.at, field: step.value, **labels} for step in steps]


def _states(kinds: list[str]) -> alt.Color:
    return alt.Color("state:N", title=None, scale=colours(kinds), legend=legend(kinds))
