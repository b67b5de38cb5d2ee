"""The record of a run: its events in order. Every metric and chart is a function of a record."""

from __future__ import annotations

import functools
import hashlib
import operator
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from ddsched_nb.core.events import EVENTS, Event
from ddsched_nb.core.story import TaskStory, find_task, tell
from ddsched_nb.errors import RecordError
from ddsched_nb.reprs import html_table

E = TypeVar("E", bound=Event)

SCHEMA = "ddsched-nb-record"
SCHEMA_VERSION = 1
# A run of more tasks keeps only so many of its last events, unless told otherwise.
FULL_RECORD_TASKS = 50_000
TRUNCATED_EVENTS = 100_000


# What decoding bytes that are no record of ours may raise.
_DAMAGE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Header(msgspec.Struct, frozen=True):
    schema: str
    version: int
    truncated: bool


def record_header(*, truncated: bool) -> bytes:
    """The first line of a file of events; as long for one that is cut as for one that is whole."""
    line = msgspec.json.encode(_Header(SCHEMA, SCHEMA_VERSION, truncated))
    return line + (b" \n" if truncated else b"\n")


class RunRecord:
    """The events of a run, in order.

    Args:
        events: Events to start with.
        keep: Keep only the last `keep` events; all if None.
    """

    def __init__(self, events: Iterable[Event] = (), *, keep: int | None = None) -> None:
        self._events: deque[Event] | list[Event] = [] if keep is None else deque(maxlen=keep)
        self._keep = keep
        self.truncated = False
        for event in events:
            self(event)

    @classmethod
    def sharing(cls, other: RunRecord) -> Self:
        """A record of this class over the very events of another."""
        record = cls(keep=other._keep)
        record._events, record.truncated = other._events, other.truncated
        return record

    def __call__(self, event: Event) -> None:
        """Takes the next event; a record is a subscriber of the event bus."""
        if self._keep is not None and len(self._events) == self._keep:
            self.truncated = True
        self._events.append(event)

    def __len__(self) -> int:
        return len(self._events)

    def __repr__(self) -> str:
        cut = ", truncated" if self.truncated else ""
        return f"<RunRecord: {len(self._events)} events{cut}>"

    def _repr_html_(self) -> str:
        kinds = Counter(type(event).__name__ for event in self._events)
        cut = ", truncated" if self.truncated else ""
        caption = f"run record: {len(self._events):,} events{cut}"
        return html_table(("kind of event", "events"), kinds.most_common(), caption=caption)

    @property
    def events(self) -> Sequence[Event]:
        """The events, in order."""
        return self._events

    def select(self, *kinds: type[E]) -> list[E]:
        """The events of some kinds, in order.

        Args:
            *kinds: Classes of `ddsched_nb.core.events`.
        """
        # Far faster than asking each event for its class's ancestors, and records are long.
        wanted = {kind for kind in EVENTS if issubclass(kind, kinds)}.union(kinds)
        return [event for event in self._events if type(event) in wanted]  # type: ignore[misc]

    def explain(self, task: str, row: int | None = None) -> TaskStory:
        """Tells the story of a task: when it was ready, who went before it and why, what it waited
        for at each moment, which lease and permits it had.

        Args:
            task: The task as events name it (`"answer/0/12"`), or the name of a column.
            row: The row, where `task` is a column.

        Raises:
            RecordError: The record has no such task.
        """
        return tell(self._events, task if row is None else find_task(self._events, task, row))

    def digest(self) -> str:
        """A SHA-256 over all events: equal for equal runs, whatever process made them."""
        digest = hashlib.sha256()
        encode = msgspec.json.Encoder().encode
        for event in self._events:
            digest.update(encode(event))
            digest.update(b"\n")
        return digest.hexdigest()

    def save(self, path: str | Path) -> Path:
        """Writes the record as JSON Lines: a header, then one event a line.

        Raises:
            RecordError: The file cannot be written.
        """
        target = Path(path)
        encode = msgspec.json.Encoder().encode
        try:
            with target.open("wb") as file:
                file.write(record_header(truncated=self.truncated))
                file.writelines(encode(event) + b"\n" for event in self._events)
        except OSError as error:
            raise RecordError(f"cannot write the record to {str(target)!r}: {error}") from error
        return target

    @classmethod
    def load(cls, path: str | Path) -> RunRecord:
        """Reads a record that `save` wrote.

        Raises:
            RecordError: The file cannot be read, is no record, is damaged, or is newer than this
                version of the package.
        """
        source = Path(path)
        try:
            lines = source.read_bytes().splitlines()
        except OSError as error:
            raise RecordError(f"cannot read the record {str(source)!r}: {error}") from error
        header = _read_header(source, lines)
        record = cls(_decode(source, number, line) for number, line in enumerate(lines[1:], 2))
        record.truncated = header.truncated
        return record


def _read_header(source: Path, lines: list[bytes]) -> _Header:
    try:
        header = msgspec.json.decode(lines[0] if lines else b"", type=_Header)
    except _DAMAGE as error:
        raise RecordError(f"{str(source)!r} is not a run record: {error}") from error
    if header.schema != SCHEMA:
        raise RecordError(f"{str(source)!r} holds {header.schema!r}, not {SCHEMA!r}")
    if header.version > SCHEMA_VERSION:
        raise RecordError(
            f"{str(source)!r} has record version {header.version}, this package reads up to "
            f"{SCHEMA_VERSION}; upgrade ddsched-nb"
        )
    return header


@functools.cache
def _decoder() -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(functools.reduce(operator.or_, EVENTS))


def _decode(source: Path, number: int, line: bytes) -> Event:
    try:
        event: Event = _decoder().decode(line)
    except _DAMAGE as error:
        raise RecordError(f"line {number} of {str(source)!r} is no event: {error}") from error
    return event
