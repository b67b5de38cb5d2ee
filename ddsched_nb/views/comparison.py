"""Charts that set what a run or a limit did beside what was possible."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt

from ddsched_nb.analysis.compare import Comparison
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.errors import ConfigError
from ddsched_nb.sim.record import SimulatedRecord
from ddsched_nb.sim.trial import LimitTrial
from ddsched_nb.views.look import bar_legend, colours, finish
from ddsched_nb.views.renderer import draw
from ddsched_nb.views.series import Step, keep_extremes

__all__ = ["comparison", "drawn", "makespans", "trial"]

_TAKEN, _ORACLE, _BOUND = "this run", "oracle", "lower bound"
_HIDDEN = "hidden capacity"
_SHADES = ["#0072B2", "#8A8A8A"]
_POINTS = 1_200


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
    colour = alt.Color("what:N", title=None, scale=colours(kinds), legend=bar_legend(solid=True))
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        y=alt.Y("run:N", title=None, sort=list(records)),
        x=alt.X("seconds:Q", title="seconds", scale=alt.Scale(zero=True)),
        color=colour,
        tooltip=["run:N", "what:N", alt.Tooltip("seconds:Q", format=",.2f")],
    )
    bars = base.transform_filter(f"datum.what == '{_TAKEN}'").mark_bar(
        height={"band": 0.5}, opacity=0.55
    )
    layers = [bars, *_possible(base, kinds)]
    return finish(layers, "How long it took", _shapes(kinds), 30 + 40 * len(records))


def comparison(found: Comparison) -> alt.LayerChart:
    """A bar for each line of a comparison: wall time with its range, bound and oracle if known.

    Args:
        found: What `compare` returned.
    """
    rows: list[dict[str, Any]] = []
    for line in found.lines:
        bar = {"low": round(line.wall_s.low, 4), "high": round(line.wall_s.high, 4)}
        taken = round(line.wall_s.median, 4)
        rows.append({"run": line.name, "what": _TAKEN, "seconds": taken, **bar})
        for what, seconds in ((_ORACLE, line.oracle_s), (_BOUND, line.bound_s)):
            if seconds is not None:
                rows.append({"run": line.name, "what": what, "seconds": round(seconds, 4)})
    kinds = [kind for kind in (_TAKEN, _ORACLE, _BOUND) if any(r["what"] == kind for r in rows)]
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        y=alt.Y("run:N", title=None, sort=[line.name for line in found.lines]),
        color=alt.Color("what:N", title=None, scale=colours(kinds), legend=bar_legend(solid=True)),
        tooltip=["run:N", "what:N", alt.Tooltip("seconds:Q", format=",.3f")],
    )
    across = alt.X("seconds:Q", title="seconds", scale=alt.Scale(zero=True))
    taken_only = base.transform_filter(f"datum.what == '{_TAKEN}'")
    layers = [
        taken_only.mark_bar(height={"band": 0.5}, opacity=0.55).encode(x=across),
        taken_only.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q"), x2=alt.X2("high:Q")),
        *_possible(base.encode(x=across), kinds),
    ]
    ranged = ["line: from the fastest to the slowest"] if _several(found) else []
    words = _shapes(kinds, *ranged)
    return finish(layers, "Runs side by side", words, 30 + 40 * len(found.lines))


def _several(found: Comparison) -> bool:
    return any(line.runs > 1 for line in found.lines)


def _possible(base: alt.Chart, kinds: list[str]) -> list[alt.Chart]:
    """What was possible, in shapes that differ as the colours do."""
    bound = base.transform_filter(f"datum.what == '{_BOUND}'").mark_tick(
        thickness=4, size=34, opacity=1
    )
    oracle = base.transform_filter(f"datum.what == '{_ORACLE}'").mark_point(
        shape="diamond", size=140, filled=True, opacity=1
    )
    return [layer for layer, kind in ((bound, _BOUND), (oracle, _ORACLE)) if kind in kinds]


def _shapes(kinds: list[str], *more: str) -> str:
    said = {_TAKEN: "bar", _ORACLE: "diamond", _BOUND: "upright"}
    return " \N{MIDDLE DOT} ".join([*(f"{said[kind]}: {kind}" for kind in kinds), *more])


def drawn(found: Comparison) -> str:
    """The chart of a comparison as SVG; nothing where it cannot be drawn here."""
    try:
        return draw(comparison(found).to_dict())
    except (ImportError, ValueError):
        return ""


def trial(tried: LimitTrial, profile: EndpointProfile) -> alt.LayerChart:
    """A limit on trial, as a line, over the capacity that was hidden from it, as a shade.

    Args:
        tried: What `try_limit` returned.
        profile: The endpoint it was tried on.
    """
    moves = [Step(at, float(limit)) for at, limit in tried.history]
    moves.append(Step(tried.seconds, moves[-1].value))
    limits = [
        {"at": step.at, "slots": step.value, "what": tried.limit}
        for step in keep_extremes(moves, _POINTS)
    ]
    names = [tried.limit, _HIDDEN]
    colour = alt.Color(
        "what:N",
        title=None,
        scale=alt.Scale(domain=names, range=_SHADES),
        legend=bar_legend(solid=True),
    )
    x = alt.X("at:Q", title="seconds from the start", scale=alt.Scale(nice=False))
    y = alt.Y("slots:Q", title="requests", stack=None)
    hidden = alt.Chart(alt.InlineData(values=_capacity(profile, tried.seconds)))
    line = alt.Chart(alt.InlineData(values=limits))
    tip = ["what:N", alt.Tooltip("at:Q", title="seconds", format=",.1f"), "slots:Q"]
    layers = [
        hidden.mark_area(interpolate="step-after", opacity=0.3).encode(x=x, y=y, color=colour),
        line.mark_line(interpolate="step-after", strokeWidth=2).encode(
            x=x, y=y, color=colour, tooltip=tip
        ),
    ]
    said = (
        f"utilization {tried.utilization:.3f} \u00b7 "
        f"{tried.refusals_per_success:.4f} refusals a success"
    )
    return finish(layers, "A limit on trial", said)


def _capacity(profile: EndpointProfile, seconds: float) -> list[dict[str, Any]]:
    rows, at = [], 0.0
    while at < seconds:
        rows.append({"at": at, "slots": profile.capacity_at(at), "what": _HIDDEN})
        at = profile.curve.next_edge(at)
    rows.append({"at": seconds, "slots": profile.capacity_at(seconds), "what": _HIDDEN})
    return rows
