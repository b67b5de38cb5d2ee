"""Sinks: where events may go beside a record in memory. Each is a subscriber of the event bus.

A sink must not hold the event loop, so what is slow happens in a thread of its own, behind a
bounded queue. What does not fit is lost, and counted: never without saying so.
"""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from ddsched_nb.core.events import Event
from ddsched_nb.errors import ConfigError, RecordError
from ddsched_nb.record import record_header

__all__ = ["JsonLinesSink"]

_BATCH = 1_000


class JsonLinesSink:
    """Writes events to a JSON Lines file while they happen; `RunRecord.load` reads it.

    Use it as a context manager, or close it: what is queued is written first.

    Args:
        path: The file; one that exists is replaced.
        capacity: Events that may wait to be written, at least 1. More are lost, and counted.

    Raises:
        ConfigError: `capacity` is below 1.
        RecordError: The file cannot be written.
    """

    def __init__(self, path: str | Path, *, capacity: int = 100_000) -> None:
        if capacity < 1:
            raise ConfigError(f"capacity is {capacity}; give at least 1")
        self.path = Path(path)
        self.written = 0
        self.lost = 0
        self._capacity = capacity
        self._waiting: deque[Event] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._encode = msgspec.json.Encoder().encode
        self._error: OSError | None = None
        try:
            self._file = self.path.open("wb")
            self._file.write(record_header(truncated=False))
        except OSError as error:
            raise RecordError(f"cannot write events to {str(self.path)!r}: {error}") from error
        self._thread = threading.Thread(target=self._write_all, name="ddsched-nb-events")
        self._thread.daemon = True
        self._thread.start()

    def __repr__(self) -> str:
        return f"<JsonLinesSink {str(self.path)!r}: {self.written} written, {self.lost} lost>"

    def __call__(self, event: Event) -> None:
        """Takes an event; never waits."""
        if len(self._waiting) >= self._capacity or self._closing:
            self.lost += 1
            return
        self._waiting.append(event)
        if not self._wake.is_set():
            self._wake.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Writes what is queued and closes the file; marks it as cut if events were lost.

        Raises:
            RecordError: Something could not be written.
        """
        if not self._closing:
            self._closing = True
            self._wake.set()
            self._thread.join()
            try:
                if self.lost:
                    self._file.seek(0)
                    self._file.write(record_header(truncated=True))
                self._file.close()
            except OSError as error:
                self._error = self._error or error
        if self._error is not None:
            raise RecordError(
                f"{self.lost} events were not written to {str(self.path)!r}: {self._error}"
            ) from self._error

    def _write_all(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            last = self._closing
            while self._waiting:
                self._write_some()
            if last:
                return

    def _write_some(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
        try:
            self._file.writelines(self._encode(event) + b"\n" for event in batch)
            self._file.flush()
            self.written += len(batch)
        except OSError as error:  # a full disk must not end the run
            self._error = self._error or error
            self.lost += len(batch)
