"""The journal of a store: one line a finished row group, appended, never rewritten.

Adding a group costs one small write however many there are. A line that a crash cut off is no
damage: the Parquet file it stands for says the same, and the line is written again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from ddsched_nb.errors import StoreError

__all__ = ["DroppedRow", "Journal", "StoredGroup"]


class DroppedRow(NamedTuple):
    """A row that was dropped: by which column, and why, in a word that can hold no data."""

    row: int
    column: str
    reason: str


class StoredGroup(msgspec.Struct, frozen=True):
    """A finished row group: rows `start` to `stop`, without those that were dropped."""

    index: int
    start: int
    stop: int
    dropped: tuple[DroppedRow, ...] = ()

    @property
    def kept(self) -> int:
        """Number of rows kept."""
        return self.stop - self.start - len(self.dropped)

    @property
    def rows(self) -> list[int]:
        """Numbers of the rows kept, ascending."""
        gone = {drop.row for drop in self.dropped}
        return [row for row in range(self.start, self.stop) if row not in gone]


class Line(msgspec.Struct, frozen=True):
    """One line: a group, and its file with its size in bytes."""

    group: StoredGroup
    file: str
    size: int


class Journal:
    """The journal file.

    Args:
        path: Where it is, or will be.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[Line]:
        """The lines; what a crash left of a last one is not among them.

        Raises:
            StoreError: A whole line is no line of a journal.
        """
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return []
        whole = raw[: raw.rfind(b"\n") + 1]
        return list(self._decode(whole.splitlines()))

    def mend(self, lines: Iterable[Line]) -> None:
        """Writes the journal anew, atomically: after a crash left it behind the files."""
        raw = b"".join(_encode(line) for line in lines)
        temporary = self._path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._path)

    def append(self, line: Line) -> None:
        """Adds a line, in one write."""
        with self._path.open("ab", buffering=0) as file:
            file.write(_encode(line))

    def _decode(self, lines: Iterable[bytes]) -> Iterator[Line]:
        decode = msgspec.json.Decoder(Line).decode
        for number, line in enumerate(lines, 1):
            try:
                yield decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise StoreError(
                    f"line {number} of {str(self._path)!r} is damaged; delete that file and start "
                    "again: it is made anew from the Parquet files"
                ) from error


def _encode(line: Line) -> bytes:
    return msgspec.json.encode(line) + b"\n"
