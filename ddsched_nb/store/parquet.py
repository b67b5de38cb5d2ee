"""The store of a run: one Parquet file a finished row group, and resume after any crash.

A group is stored at the instant its file is renamed to its final name; before that it does not
exist, after that nothing can lose it. The journal and the footer of each file both say what is in
it, so that whatever a crash cuts off can be found again. Must not know what is scheduled or when.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from ddsched_nb.errors import ConfigError, StoreError, StoreInUse, StoreMismatch
from ddsched_nb.store.cells import to_arrow
from ddsched_nb.store.files import (
    GROUP_KEY,
    JSON_KEY,
    Footer,
    Manifest,
    file_name,
    find_groups,
    fsync_folder,
    read_cells,
    read_manifest,
    write_manifest,
)
from ddsched_nb.store.fingerprint import differences, digest_of
from ddsched_nb.store.journal import DroppedRow, Journal, Line, StoredGroup

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["DroppedRow", "ParquetStore", "StoredGroup"]

_SHOWN = 8
# Files that a store may have before its manifest: a crash while it was made.
_EARLY = {"lock", "owner.json", "manifest.tmp", "data"}


class ParquetStore:
    """A store, open for one run. Made by `open`."""

    def __init__(self, path: Path, manifest: Manifest, lock: Any) -> None:
        self.path = path
        self.changed_code: tuple[str, ...] = ()
        self._data = path / "data"
        self._names = manifest.columns
        self._digest = digest_of(manifest.facts)
        self._journal = Journal(path / "groups.jsonl")
        self._groups: dict[int, StoredGroup] = {}
        self._lock = lock

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        facts: Mapping[str, Any],
        code: Mapping[str, str],
        columns: Sequence[str],
    ) -> ParquetStore:
        """Makes a store, or opens one that an earlier run left.

        Args:
            path: Its directory.
            facts: What was declared, as a tree of JSON values; must be as it was.
            code: Digests of the user's functions, by name; a change is told in `changed_code`.
            columns: Names of the columns, in the order wanted.

        Raises:
            StoreMismatch: The store is of another declaration; the message lists what differs.
            StoreInUse: Another run has it open.
            StoreError: It cannot be read or written, or the directory is no store.
            ConfigError: pyarrow or filelock is not installed.
        """
        _need_libraries()
        folder = Path(path)
        wanted = Manifest(dict(facts), dict(code), list(columns))
        try:
            _check_folder(folder)
            (folder / "data").mkdir(parents=True, exist_ok=True)
            lock = _locked(folder)
        except OSError as error:
            raise _cannot("make the store", folder, error) from error
        try:
            return cls._opened(folder, wanted, lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def _opened(cls, folder: Path, wanted: Manifest, lock: Any) -> ParquetStore:
        try:
            found = read_manifest(folder)
            if found is not None:
                _check_same(folder, found, wanted)
            store = cls(folder, wanted, lock)
            if found is None or found.code != wanted.code:
                write_manifest(folder, wanted)
            if found is not None:
                names = [n for n, digest in wanted.code.items() if found.code.get(n) != digest]
                store.changed_code = tuple(names)
            store._recover()
        except OSError as error:
            raise _cannot("open the store", folder, error) from error
        return store

    @property
    def groups(self) -> Mapping[int, StoredGroup]:
        """The finished row groups, by index: found when it was opened, and written since."""
        return MappingProxyType(self._groups)

    def __repr__(self) -> str:
        rows = sum(group.kept for group in list(self._groups.values()))
        return f"<ParquetStore {self.path.name!r}: {rows} rows in {len(self._groups)} row groups>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, group: StoredGroup, columns: Mapping[str, Sequence[Any]]) -> None:
        """Writes a finished row group. Takes milliseconds; call it off the event loop.

        Args:
            group: Which one, and what of it was dropped.
            columns: The cells of the rows kept, by column.

        Raises:
            StoreError: It cannot be written, or is there already. Groups written before are safe.
        """
        if group.index in self._groups:
            raise StoreError(f"row group {group.index} is in the store already; it is written once")
        table = self._table(group, columns)
        target = self._data / file_name(group.index)
        temporary = target.with_name(f".{target.name}.tmp")
        try:
            size = _write_file(table, temporary)
            os.replace(temporary, target)
            fsync_folder(self._data)
            self._journal.append(Line(group, target.name, size))
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise _cannot("write to the store", target, error) from error
        self._groups[group.index] = group

    def read(self) -> tuple[list[int], dict[str, list[Any]]]:
        """Row numbers and cells by column of all finished groups, in the order of the table.

        Raises:
            StoreError: A file cannot be read.
        """
        return read_cells(self._data, dict(self._groups), self._names)

    def close(self) -> None:
        """Gives the store back, so that another run may open it. May be called twice."""
        self._lock.release()

    def _table(self, group: StoredGroup, columns: Mapping[str, Sequence[Any]]) -> pa.Table:
        arrow = importlib.import_module("pyarrow")
        arrays, fields = [], []
        for name in self._names:
            array, encoded = to_arrow(name, columns[name])
            arrays.append(array)
            marked = {JSON_KEY: b"1"} if encoded else None
            fields.append(arrow.field(name, array.type, metadata=marked))
        footer = msgspec.json.encode(Footer(self._digest, group))
        return arrow.Table.from_arrays(arrays, schema=arrow.schema(fields, {GROUP_KEY: footer}))

    def _recover(self) -> None:
        """Finds what is finished, and clears away what a crash left half done."""
        found = find_groups(self.path, self._digest)
        for stray in found.stray:
            stray.unlink(missing_ok=True)
        self._groups = {line.group.index: line.group for line in found.lines}
        if found.behind:
            self._journal.mend(found.lines)
            fsync_folder(self.path)


def _need_libraries() -> None:
    for name in ("pyarrow", "filelock"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ConfigError(
                f"a store needs {name}, which is not installed: pip install 'ddsched-nb[store]'"
            ) from error


def _check_folder(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise StoreError(f"{str(folder)!r} is a file; give a directory, which may be new")
    inside = {entry.name for entry in folder.iterdir()}
    if "manifest.json" not in inside and not inside <= _EARLY:
        raise StoreError(
            f"{str(folder)!r} holds other files and is no store; nothing in it was touched. Give "
            "a new or an empty directory"
        )


def _locked(folder: Path) -> Any:
    """The lock, held. The system takes it back when the process dies, however it does."""
    filelock = importlib.import_module("filelock")
    # Not thread-local: it is taken where the run is started and given back by another thread.
    lock = filelock.FileLock(folder / "lock", timeout=0, thread_local=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise StoreInUse(
            f"{str(folder)!r} is in use by another run{_owner(folder)}; wait for its end, cancel "
            "it, or give this one another store"
        ) from None
    (folder / "owner.json").write_bytes(msgspec.json.encode({"pid": os.getpid()}))
    return lock


def _owner(folder: Path) -> str:
    try:
        pid = msgspec.json.decode((folder / "owner.json").read_bytes())["pid"]
    except (OSError, msgspec.DecodeError, KeyError, TypeError):
        return ""
    return " of this process" if pid == os.getpid() else f" (process {pid})"


def _check_same(folder: Path, found: Manifest, wanted: Manifest) -> None:
    lines = differences(found.facts, wanted.facts)
    if found.columns != wanted.columns and not lines:
        lines = ["the order of columns differs"]
    if not lines:
        return
    more = f"; and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    raise StoreMismatch(
        f"{str(folder)!r} holds rows of a different pipeline or table: "
        f"{'; '.join(lines[:_SHOWN])}{more}. Give another store, or declare what was declared "
        "before; nothing in it was touched"
    )


def _write_file(table: pa.Table, path: Path) -> int:
    parquet = importlib.import_module("pyarrow.parquet")
    with path.open("wb") as file:
        parquet.write_table(table, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def _cannot(what: str, path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"cannot {what}: {error.strerror or type(error).__name__} ({str(path)!r}). Row groups "
        "finished before are safe: mend this and start again with the same store"
    )
