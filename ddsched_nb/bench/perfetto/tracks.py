"""Gives every slice a track: as few as there are slices at once, so that none overlaps another.

Slices go, in the order of their starts, to the first track of their kind that is free: a track is
then a slot. A slice without length leaves its track free for others at its instant, which the
viewer can draw. But an arrow finds its slice by track and instant alone: a slice that an arrow
meets shares its first microsecond with none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from heapq import heappop, heappush
from typing import NamedTuple

from ddsched_nb.bench.perfetto.form import TraceEvent
from ddsched_nb.bench.perfetto.spans import Place, Span

__all__ = ["EVENTS", "Tracks", "lay_out"]

EVENTS = "events"
"""The track of a process that holds its instants."""

_LANES = (EVENTS, "open", "slot", "aside", "task", "wait", "permit", "request")


class Track(NamedTuple):
    """One line of the viewer: the so-many-th slot of a kind, in a process."""

    place: Place
    lane: str
    slot: int


class Tracks:
    """The numbers of processes and tracks, and their names.

    Args:
        slots: Which slot of its lane each slice has, by its place in the order of slices.
        places: Every process, with those of equal rank in the order in which they are to stand.
        used: Every track that is used.
    """

    def __init__(self, slots: list[int], places: Iterable[Place], used: Iterable[Track]) -> None:
        self.slots = slots
        ordered = sorted(dict.fromkeys(places), key=lambda place: place.rank)
        self.pids = {place: number for number, place in enumerate(ordered, 1)}
        found = {*used, *(Track(place, EVENTS, 0) for place in ordered)}
        tracks = sorted(found, key=lambda t: (self.pids[t.place], _LANES.index(t.lane), t.slot))
        # No track has the number of a process: a thread of that number is taken for its main one.
        self.tids = {track: number for number, track in enumerate(tracks, len(ordered) + 1)}
        self._widest = {t[:2]: len(str(t.slot + 1)) for t in tracks}

    def where(self, place: Place, lane: str = EVENTS, slot: int = 0) -> tuple[int, int]:
        """Process and track."""
        return self.pids[place], self.tids[Track(place, lane, slot)]

    def names(self) -> list[TraceEvent]:
        """What names and sorts processes and tracks."""
        events: list[TraceEvent] = []
        for place, pid in self.pids.items():
            first = self.tids[Track(place, EVENTS, 0)]
            events.append(_meta("process_name", pid, first, name=place.name))
            events.append(_meta("process_sort_index", pid, first, sort_index=pid))
        for track, tid in self.tids.items():
            pid = self.pids[track.place]
            events.append(_meta("thread_name", pid, tid, name=self._name(track)))
            events.append(_meta("thread_sort_index", pid, tid, sort_index=tid))
        return events

    def _name(self, track: Track) -> str:
        if track.lane == EVENTS:
            return EVENTS
        # With zeros before, so that a viewer that sorts by name sorts by slot.
        return f"{track.lane} {track.slot + 1:0{self._widest[track[:2]]}}"


def _meta(what: str, pid: int, tid: int, **args: str | int) -> TraceEvent:
    return TraceEvent(ph="M", pid=pid, tid=tid, name=what, args=args)


def lay_out(spans: Iterable[Span], places: Iterable[Place]) -> Tracks:
    """Gives each slice its track.

    Args:
        spans: The slices in their order (`Span.order`).
        places: Processes in the order in which they are to stand, beside those of slices.
    """
    lanes: Mapping[tuple[Place, str], _Lane] = defaultdict(_Lane)
    slots: list[int] = []
    used: dict[Track, None] = {}
    for span in spans:
        slot = lanes[span.place, span.lane].take(span)
        slots.append(slot)
        used[Track(span.place, span.lane, slot)] = None
    return Tracks(slots, [*places, *(track.place for track in used)], used)


class _Lane:
    """The slots of one kind: which are free, and from when on the others are."""

    def __init__(self) -> None:
        self._free: list[int] = []
        self._busy: list[tuple[int, int]] = []
        self._count = 0

    def take(self, span: Span) -> int:
        while self._busy and self._busy[0][0] <= span.start:
            heappush(self._free, heappop(self._busy)[1])
        if self._free:
            slot = heappop(self._free)
        else:
            slot = self._count
            self._count += 1
        heappush(self._busy, (max(span.end, span.start + span.linked), slot))
        return slot
