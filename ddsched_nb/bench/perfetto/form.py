"""The form of a trace: Chrome's trace-event JSON, of which Perfetto's importer reads a part.

What is heeded here is what Perfetto's importer (`importers/json`) does, as read in its source:
times are microseconds, of which older versions cut fractions off, so that they are whole here; a
slice that begins inside another on its track and ends after it is dropped; an arrow binds to the
slice that began last on its track; counters are named by their event and their key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from ddsched_nb.errors import RecordError

__all__ = ["Phase", "Trace", "TraceEvent"]

Phase = Literal["M", "X", "s", "t", "f", "i", "C"]


class TraceEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event of a trace.

    Attributes:
        ph: What it is: M names a process or a track, X is a slice, s, t and f are the start, a step
            and the end of an arrow, i is an instant, C changes counters.
        pid: Its process.
        tid: Its track; no two processes share one.
        name: What the viewer shows.
        ts: Microseconds from the first event of the record; names have none.
        dur: Of a slice, its length in microseconds.
        cat: The kind of slice or arrow.
        id: Which arrow it belongs to.
        bp: "e": an arrow ends at the slice that encloses it, not at the next.
        s: "t": an instant belongs to its track.
        args: What else is known.
    """

    ph: Phase
    pid: int
    tid: int
    name: str
    ts: int | None = None
    dur: int | None = None
    cat: str | None = None
    id: int | None = None
    bp: str | None = None
    s: str | None = None
    args: dict[str, Any] | None = None


class Trace(msgspec.Struct, frozen=True, rename="camel"):
    """A whole trace. Written and opened in https://ui.perfetto.dev, it needs no conversion.

    Attributes:
        display_time_unit: "ms"; it stands first, where old importers look for it.
        metadata: What was recorded.
        trace_events: The events, names first, then in the order of time.
    """

    display_time_unit: Literal["ms"]
    metadata: dict[str, Any]
    trace_events: tuple[TraceEvent, ...]

    def __repr__(self) -> str:
        return f"<Trace: {len(self.trace_events)} events>"

    def encode(self) -> bytes:
        """The trace as JSON without a blank; equal records give equal bytes."""
        return msgspec.json.encode(self)

    def save(self, path: str | Path) -> Path:
        """Writes the trace.

        Raises:
            RecordError: The file cannot be written.
        """
        target = Path(path)
        try:
            target.write_bytes(self.encode())
        except OSError as error:
            raise RecordError(f"cannot write the trace {str(target)!r}: {error}") from error
        return target
