"""The report's part on idleness: a bar for each resource, by cause, and the exact figures.

Causes are drawn in families, each with a texture of its own; what a bar says is written beside it.
Strings of HTML, everything escaped by the parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ddsched_nb.analysis.causes import CAUSES, IdleCause
from ddsched_nb.bench.suite.report_parts import (
    Bar,
    Part,
    bars,
    details,
    legend,
    percent,
    seconds,
    table,
)
from ddsched_nb.bench.suite.summary import ResourceRow, Row
from ddsched_nb.core.model import LLM_WAIT, LOCAL, SUBMISSION

__all__ = ["idle_bars", "idle_legend"]

_C = IdleCause
_FAMILIES: Final = (
    ("use", "in use", ()),
    (
        "horizon",
        "rows are left, and no further row group was opened (horizon)",
        tuple(cause for cause in IdleCause if cause.startswith("horizon_")),
    ),
    (
        "full",
        "another resource was lacking, or the task did something else",
        (_C.OTHER_RESOURCE_FULL, _C.SLOTS_YIELDED, _C.BETWEEN_CALLS, _C.DEFERRED),
    ),
    (
        "closed",
        "the model, its limit or its quota",
        (
            _C.COOLDOWN,
            _C.PACING,
            _C.OTHER_RUNS,
            _C.BUDGET_CAP,
            _C.AGGREGATE_CAP,
            _C.PROBING,
            _C.SLOW_START,
            _C.REQUEST_LIMIT,
            _C.BACKOFF,
        ),
    ),
    ("fair", "fairness between flows", (_C.CEILING, _C.DEBT, _C.FAIRNESS)),
    ("late", "the scheduler's own delay", (_C.SCHEDULER_OVERHEAD,)),
    (
        "none",
        "nothing was ready, or no work was left",
        (_C.FRONTIER_EMPTY, _C.DRAINING_TAIL, _C.STARTUP, _C.PAUSED, _C.STOPPED),
    ),
)
_FAMILY: Final = {str(cause): kind for kind, _, causes in _FAMILIES for cause in causes}
_MEANS: Final = {str(cause): text for cause, text in CAUSES.items()}
_BARRED: Final = (str(SUBMISSION), str(LLM_WAIT))
_NAMES: Final = {
    str(SUBMISSION): "task slots",
    str(LLM_WAIT): "slots for models",
    str(LOCAL): "local",
}


def idle_legend() -> str:
    """What the textures of the families mean."""
    return legend((kind, name) for kind, name, _ in _FAMILIES)


def idle_bars(row: Row) -> str:
    """A bar for the task slots and each pool, and a table of every cause of every resource."""
    shown = [
        _bar(found, row.idle_causes.get(found.name, {}))
        for found in row.resources
        if found.stream == "request" or found.name in _BARRED
    ]
    title = "Why slots were idle: each cause as a share of what there was"
    return bars(title, shown) + details("Every cause, exactly", _table(row))


def _bar(found: ResourceRow, causes: Mapping[str, float]) -> Bar:
    whole = found.capacity_seconds or 1.0
    parts = [Part("use", "in use", found.busy_seconds / whole)]
    said = [f"in use {percent(found.busy_seconds / whole)}"]
    for cause, idle in causes.items():
        parts.append(Part(_FAMILY.get(cause, "none"), cause, idle / whole))
        said.append(f"{_words(cause)} {percent(idle / whole)}")
    return Bar(_NAMES.get(found.name, found.name), tuple(parts), "; ".join(said))


def _table(row: Row) -> str:
    whole = {found.name: found.capacity_seconds for found in row.resources}
    lines = [
        (
            name,
            _words(cause),
            seconds(idle),
            percent(idle / whole[name]) if whole.get(name) else "-",
            _MEANS.get(cause, ""),
        )
        for name, causes in row.idle_causes.items()
        for cause, idle in causes.items()
    ]
    head = ("resource", "cause", "slot-seconds", "of capacity", "what it means")
    return table(f"Idle slots of {row.key} by cause", head, lines, prose=True)


def _words(cause: str) -> str:
    return cause.replace("_", " ")
