"""Makes the trace of a record: slices on their tracks, arrows, counters, instants, names.

One event is told in one way: what lasts as a slice, what changes a number as a counter, what is
rare and worth seeing as an instant; what is none of these is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from ddsched_nb.bench.perfetto.counters import Level, read_counters
from ddsched_nb.bench.perfetto.form import Trace, TraceEvent
from ddsched_nb.bench.perfetto.spans import (
    ROW_GROUPS,
    SCHEDULER,
    SLOTS,
    Place,
    Slices,
    Span,
    column_place,
    pool_place,
    read_slices,
)
from ddsched_nb.bench.perfetto.tracks import Tracks, lay_out
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import FlowKey, PoolKey
from ddsched_nb.record import RunRecord

__all__ = ["perfetto_trace"]

SCHEMA = "ddsched-nb-perfetto"
SCHEMA_VERSION = 1

_WORTH_SEEING = (
    ev.SchedulerJobStarted,
    ev.SchedulerJobCompleted,
    ev.SchedulerLoopLagged,
    ev.RunPaused,
    ev.RunResumed,
    ev.RowGroupAdmissionTargetChanged,
    ev.RequestPressureAdvisorySkipped,
    ev.FlowWeightChanged,
    ev.WorkerSpawnFailed,
    ev.RetryDeferred,
    ev.NonRetryableDropped,
    ev.Cancelled,
    ev.ReleaseDiagnostic,
    ev.RequestPoolShared,
    ev.RequestRateLimited,
    ev.LimitMoved,
    ev.RequestEffectiveCapChanged,
    ev.RequestCooldownStarted,
    ev.RequestFullyRecovered,
    ev.RequestReleaseDiagnostic,
)
# Of events at one instant, in the order in which Perfetto takes them.
_ORDER = {phase: place for place, phase in enumerate("XstfiC")}
_Timed = list[tuple[int, ev.Event]]


def perfetto_trace(record: RunRecord) -> Trace:
    """The trace of a run, to be opened in https://ui.perfetto.dev.

    A process for row groups, task slots, each column and each pool; a track for each slot, so that
    no slice overlaps another; arrows from a task to its wait and to its request. A record that is
    cut gives what it has: slices that lack an end or a beginning say so (`cut` in their arguments),
    and counters hold what is known.

    Args:
        record: The record of a run, simulated or real, saved or not.

    Returns:
        The trace; equal records give equal traces.
    """
    timed = _timed(record.events)
    end = timed[-1][0] if timed else 0
    slices = read_slices(timed, end=end, cut=record.truncated)
    levels = read_counters(timed)
    tracks = lay_out(slices.spans, _places(timed))
    events = [
        *_drawn(slices, tracks),
        *_counted(levels, tracks),
        *_instants(timed, tracks),
    ]
    events.sort(key=lambda event: (event.ts or 0, _ORDER[event.ph]))
    return Trace("ms", _metadata(record, timed), (*tracks.names(), *events))


def _timed(events: Iterable[ev.Event]) -> _Timed:
    """Events with their microseconds from the first, in the order of time.

    Admission tells what it decided with the instant of the decision: a little late, at times.
    """
    ordered = sorted(events, key=lambda event: event.at)
    return [(round((event.at - ordered[0].at) * 1e6), event) for event in ordered]


def _places(timed: _Timed) -> Iterator[Place]:
    """Processes whose order slices alone do not give, and those that may have no slice."""
    yield from (SCHEDULER, ROW_GROUPS, SLOTS)
    for _, event in timed:
        if isinstance(event, ev.SchedulerJobStarted):
            yield from (column_place(name) for name in event.columns)
        elif isinstance(event, ev.RequestEvent):
            yield pool_place(event)


def _drawn(slices: Slices, tracks: Tracks) -> Iterator[TraceEvent]:
    where: dict[int, tuple[int, int]] = {}
    for span, slot in zip(slices.spans, tracks.slots, strict=True):
        pid, tid = where[id(span)] = tracks.where(span.place, span.lane, slot)
        yield TraceEvent(
            ph="X",
            pid=pid,
            tid=tid,
            name=span.name,
            ts=span.start,
            dur=span.end - span.start,
            cat=span.kind,
            args=span.args,
        )
    for number, chain in enumerate(slices.chains, 1):
        for place, span in enumerate(chain):
            yield _arrow(number, place, chain, where[id(span)])


def _arrow(number: int, place: int, chain: list[Span], where: tuple[int, int]) -> TraceEvent:
    span, last = chain[place], place == len(chain) - 1
    pid, tid = where
    at = span.start
    if place == 0:
        # It starts within its slice: at its end the next one may have begun on the same track.
        at = max(span.start, min(chain[1].start, span.end - 1))
    return TraceEvent(
        ph="f" if last else "t" if place else "s",
        pid=pid,
        tid=tid,
        name="call",
        ts=at,
        cat="call",
        id=number,
        bp="e" if last else None,
    )


def _counted(levels: Iterable[Level], tracks: Tracks) -> Iterator[TraceEvent]:
    for level in levels:
        pid, tid = tracks.where(level.place)
        yield TraceEvent(
            ph="C", pid=pid, tid=tid, name=level.name, ts=level.at, args=dict(level.values)
        )


def _instants(timed: _Timed, tracks: Tracks) -> Iterator[TraceEvent]:
    for at, event in timed:
        if not isinstance(event, _WORTH_SEEING):
            continue
        place = pool_place(event) if isinstance(event, ev.RequestEvent) else SCHEDULER
        pid, tid = tracks.where(place)
        args = {
            name: _plain(value)
            for name, value in msgspec.structs.asdict(event).items()
            if name not in ("at", "sequence") and value is not None
        }
        yield TraceEvent(ph="i", pid=pid, tid=tid, name=event.kind, ts=at, s="t", args=args)


def _plain(value: Any) -> Any:
    if isinstance(value, FlowKey | PoolKey):
        return value.label
    return msgspec.to_builtins(value)


def _metadata(record: RunRecord, timed: _Timed) -> dict[str, Any]:
    found: dict[str, Any] = {
        "schema": SCHEMA,
        "version": SCHEMA_VERSION,
        "record_events": len(timed),
        "truncated": record.truncated,
        "span_us": timed[-1][0] if timed else 0,
    }
    for started in record.select(ev.SchedulerJobStarted):
        found |= {"rows": started.rows, "row_groups": started.row_groups}
        found |= {"columns": list(started.columns), "capacities": dict(started.capacities)}
    for completed in record.select(ev.SchedulerJobCompleted):
        found["state"] = completed.state
    return found
