"""The chart of idle slots by cause. Which cause a slot has is decided in `analysis.idle`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import altair as alt

from ddsched_nb.analysis.causes import CAUSES, IdleCause
from ddsched_nb.analysis.idle import IdleReport, ResourceIdle, explain_events
from ddsched_nb.core.model import SUBMISSION
from ddsched_nb.errors import ConfigError
from ddsched_nb.views.look import OKABE_ITO, bar_legend, finish
from ddsched_nb.views.source import Source, events_of, said

__all__ = ["idle_causes"]

_SPANS: Final = 180
_OTHERS: Final = "other causes"
# The last of the palette but one is grey: it is for the rest.
_GREY: Final = "#8A8A8A"
_COLOURS: Final = tuple(colour for colour in OKABE_ITO if colour != _GREY)


class _Level(NamedTuple):
    """From `at` on so many slots idle for each cause."""

    at: float
    slots: Mapping[str, float]


def idle_causes(record_or_events: Source, resource: str | None = None) -> alt.LayerChart:
    """The idle slots of one resource over time, stacked by what kept them idle.

    Causes that explain least are drawn together. Long records are drawn as means of short spans; of
    one that is cut at the start, what came before is not known.

    Args:
        record_or_events: A run record, or events in order.
        resource: A resource of the scheduler, or the label of a pool; the task slots if None, or
            without a scheduler what was idle most.

    Raises:
        ConfigError: There is no such resource in the record, or none at all.
    """
    report = explain_events(events_of(record_or_events))
    found = _chosen(report, resource)
    names = [str(cause) for cause in list(found.causes)[: len(_COLOURS)]]
    levels = _levels(found, names)
    kinds = names if len(found.causes) <= len(names) else [*names, _OTHERS]
    rows = [
        {"at": round(at, 6), "slots": round(slots.get(kind, 0.0), 4), "cause": kind, "order": place}
        for at, slots in levels
        for place, kind in enumerate(kinds)
    ]
    shades = alt.Scale(domain=kinds, range=[*_COLOURS[: len(names)], _GREY][: len(kinds)])
    chart: alt.Chart = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_area(interpolate="step-after")
        .encode(
            x=alt.X("at:Q", title="seconds from the start", scale=alt.Scale(nice=False)),
            y=alt.Y("slots:Q", title="idle slots", stack="zero"),
            color=alt.Color("cause:N", title=None, scale=shades, legend=bar_legend(columns=3)),
            order=alt.Order("order:Q"),
            tooltip=["cause:N", alt.Tooltip("at:Q", title="seconds", format=",.3f"), "slots:Q"],
        )
    )
    return finish(
        [chart], f"Why slots of {found.name} were idle", said(record_or_events, _foremost(found))
    )


def _chosen(report: IdleReport, resource: str | None) -> ResourceIdle:
    known = {found.name: found for found in report.resources}
    if not known:
        raise ConfigError(
            "the record holds no task slots and no requests, so nothing was idle; draw a run that "
            "keeps its record (RunConfig(record=True))"
        )
    if resource is None:
        idlest = max(known.values(), key=lambda found: found.idle_s)
        return known.get(SUBMISSION, idlest)
    if resource not in known:
        raise ConfigError(
            f"resource is {resource!r}, which is not in the record; it has: {', '.join(known)}"
        )
    return known[resource]


def _levels(found: ResourceIdle, names: Sequence[str]) -> list[_Level]:
    if not found.steps or found.window_s <= 0:
        return [_Level(0.0, {})]
    start = found.steps[0][0]
    if len(found.steps) <= _SPANS:
        exact = [(at - start, [claim[:2] for claim in split]) for at, split in found.steps]
        levels = [_Level(at, _named(slots, names)) for at, slots in exact]
    else:
        means = found.series(_SPANS)
        levels = [_Level(at, _named(slots.items(), names)) for at, slots in means]
    return [*levels, _Level(found.window_s, levels[-1].slots)]


def _named(slots: Iterable[tuple[IdleCause, float]], names: Sequence[str]) -> dict[str, float]:
    kept: dict[str, float] = {}
    for cause, count in slots:
        name = str(cause) if cause in names else _OTHERS
        kept[name] = kept.get(name, 0.0) + count
    return kept


def _foremost(found: ResourceIdle) -> str:
    """What kept most of them idle, in words."""
    for cause in found.causes:
        return f"{found.share(cause):.0%} of capacity: {cause}: {CAUSES[cause]}"
    return "none was"
