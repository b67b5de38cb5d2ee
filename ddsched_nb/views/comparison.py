"""Charts that set simulated runs side by side, each with what was possible beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt

from ddsched_nb.errors import ConfigError
from ddsched_nb.sim.record import SimulatedRecord
from ddsched_nb.views.look import bar_legend, colours, finish

__all__ = ["makespans"]

_TAKEN, _ORACLE, _BOUND = "this run", "oracle", "lower bound"


def makespans(records: Mapping[str, SimulatedRecord]) -> alt.LayerChart:
    """A bar a run: how long it took, and where its oracle and its lower bound stand.

    Args:
        records: Simulated runs, under the names to show.

    Raises:
        ConfigError: There are no records, or one has no bound (it was not recorded whole).
    """
    if not records:
        raise ConfigError("records is empty; give at least one simulated run: {'name': record}")
    rows: list[dict[str, Any]] = []
    for name, record in records.items():
        bounds = record.result.bounds
        if bounds is None:
            raise ConfigError(f"the record of {name!r} has no bound; simulate it with a record")
        taken = record.result.makespan_s
        rows.append({"run": name, "what": _TAKEN, "seconds": round(taken, 4)})
        rows.append({"run": name, "what": _ORACLE, "seconds": round(bounds.oracle_s, 4)})
        rows.append({"run": name, "what": _BOUND, "seconds": round(bounds.lower_s, 4)})
    kinds = [_TAKEN, _ORACLE, _BOUND]
    colour = alt.Color("what:N", title=None, scale=colours(kinds), legend=bar_legend())
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        y=alt.Y("run:N", title=None, sort=list(records)),
        x=alt.X("seconds:Q", title="seconds", scale=alt.Scale(zero=True)),
        color=colour,
        tooltip=["run:N", "what:N", alt.Tooltip("seconds:Q", format=",.2f")],
    )
    bars = base.transform_filter(f"datum.what == '{_TAKEN}'").mark_bar(
        height={"band": 0.5}, opacity=0.55
    )
    ticks = base.transform_filter(f"datum.what != '{_TAKEN}'").mark_tick(
        thickness=4, size=34, opacity=1
    )
    return finish([bars, ticks], "How long it took", height=30 + 40 * len(records))
