"""The files of a store: their names, what the manifest and the footers say, what is finished.

    manifest.json             what was declared; written once
    groups.jsonl              a line a finished row group
    data/group-00000042.parquet
    lock, owner.json          of the run that writes

Reading needs no lock: a file has its final name only when it is complete.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ddsched_nb.errors import StoreError
from ddsched_nb.store.cells import from_arrow
from ddsched_nb.store.journal import Journal, Line, StoredGroup

__all__ = [
    "GROUP_KEY",
    "JSON_KEY",
    "Footer",
    "Found",
    "Manifest",
    "file_name",
    "find_groups",
    "fsync_folder",
    "read_cells",
    "read_manifest",
    "write_manifest",
]

SCHEMA = "ddsched-nb-store"
VERSION = 1
GROUP_KEY = b"ddsched-nb"
JSON_KEY = b"ddsched-nb-json"

_GROUP_FILE = re.compile(r"group-(\d{8,})\.parquet")


class Manifest(msgspec.Struct, frozen=True):
    """What was declared: facts that must not change, code that may, columns in order."""

    facts: dict[str, Any]
    code: dict[str, str]
    columns: list[str]
    schema: str = SCHEMA
    version: int = VERSION


class Footer(msgspec.Struct, frozen=True):
    """What each Parquet file says of itself: whose it is, and which group."""

    store: str
    group: StoredGroup


class Found(NamedTuple):
    """What is in a store.

    Attributes:
        lines: The finished groups, by index.
        stray: Files that a crash left and that nobody needs.
        behind: Whether the journal does not say the same.
    """

    lines: list[Line]
    stray: list[Path]
    behind: bool


def file_name(index: int) -> str:
    """The file of a row group; in order of names they are in order of rows."""
    return f"group-{index:08}.parquet"


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a store; None if it has none yet.

    Raises:
        StoreError: It is damaged, of something else, or newer than this version of the package.
    """
    path = folder / "manifest.json"
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        found = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"{str(path)!r} is damaged or no manifest of a store: {error}") from error
    if found.schema != SCHEMA:
        raise StoreError(f"{str(path)!r} is a manifest of {found.schema!r}, not of {SCHEMA!r}")
    if found.version > VERSION:
        raise StoreError(
            f"{str(path)!r} has version {found.version}, this package reads up to {VERSION}; "
            "upgrade ddsched-nb"
        )
    return found


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes the manifest, atomically."""
    temporary = folder / "manifest.tmp"
    with temporary.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, folder / "manifest.json")
    fsync_folder(folder)


def find_groups(folder: Path, digest: str) -> Found:
    """What is finished, by the files there are; the journal only saves looking into them.

    Args:
        folder: The store.
        digest: Of its facts; files that do not belong to it do not count.

    Raises:
        StoreError: The journal is damaged.
    """
    written = {line.file: line for line in Journal(folder / "groups.jsonl").read()}
    lines, stray, behind = [], [], False
    with os.scandir(folder / "data") as entries:
        files = sorted((entry.name, entry.stat().st_size) for entry in entries if entry.is_file())
    for name, size in files:
        line = written.get(name)
        if line is None or line.size != size:
            line, behind = _adopted(folder / "data" / name, size, digest), True
        if line is None:
            stray.append(folder / "data" / name)
        else:
            lines.append(line)
    behind = behind or len(written) != len(lines) or _is_torn(folder / "groups.jsonl")
    return Found(sorted(lines, key=lambda line: line.group.index), stray, behind)


def read_cells(
    data: Path, groups: Mapping[int, StoredGroup], names: Sequence[str]
) -> tuple[list[int], dict[str, list[Any]]]:
    """Row numbers and cells by column of groups, in the order of the table.

    Raises:
        StoreError: A file cannot be read.
    """
    rows: list[int] = []
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for index in sorted(groups):
        table = _read_table(data / file_name(index))
        rows += groups[index].rows
        for name in names:
            marks = table.schema.field(name).metadata or {}
            columns[name] += from_arrow(table.column(name), encoded=JSON_KEY in marks)
    return rows, columns


def fsync_folder(folder: Path) -> None:
    """Makes the names in a folder safe; does nothing where a system has no such call."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _adopted(path: Path, size: int, digest: str) -> Line | None:
    """The line of a file that the journal does not know; None if it is not one of ours."""
    parquet, arrow = importlib.import_module("pyarrow.parquet"), importlib.import_module("pyarrow")
    if not _GROUP_FILE.fullmatch(path.name):
        return None
    try:
        metadata = parquet.read_metadata(path).metadata or {}
        footer = msgspec.json.decode(metadata[GROUP_KEY], type=Footer)
    except (OSError, KeyError, arrow.ArrowException, msgspec.DecodeError):
        return None
    right = footer.store == digest and file_name(footer.group.index) == path.name
    return Line(footer.group, path.name, size) if right else None


def _is_torn(journal: Path) -> bool:
    try:
        with journal.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if not size:
                return False
            file.seek(size - 1)
            return file.read(1) != b"\n"
    except FileNotFoundError:
        return False


def _read_table(path: Path) -> Any:
    parquet, arrow = importlib.import_module("pyarrow.parquet"), importlib.import_module("pyarrow")
    try:
        return parquet.ParquetFile(path).read()
    except (OSError, arrow.ArrowException) as error:
        raise StoreError(
            f"{str(path)!r} cannot be read ({type(error).__name__}); if it is damaged, delete it "
            "and start again with the same store: that row group is then made anew"
        ) from error
