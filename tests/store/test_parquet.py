"""A store on a real file system: what is found after which crash, and what is refused."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ddsched_nb.errors import StoreError, StoreInUse, StoreMismatch
from ddsched_nb.store.parquet import DroppedRow, ParquetStore, StoredGroup
from ddsched_nb.store.reading import Store

FACTS = {"rows": 30, "buffer_size": 10}
COLUMNS = ["n", "text"]


def opened(path: Path, **changes: Any) -> ParquetStore:
    given = {"facts": FACTS, "code": {"n": "1"}, "columns": COLUMNS, **changes}
    return ParquetStore.open(path, **given)


def group(index: int, *dropped: int) -> tuple[StoredGroup, dict[str, list[Any]]]:
    start = index * 10
    gone = tuple(DroppedRow(row, "text", "RowDropped") for row in dropped)
    stored = StoredGroup(index, start, start + 10, gone)
    return stored, {"n": stored.rows, "text": [f"row {row}" for row in stored.rows]}


def filled(path: Path, *indices: int) -> Path:
    with opened(path) as store:
        for index in indices:
            store.write(*group(index))
    return path


def found(path: Path) -> tuple[list[int], list[int]]:
    """Indices of the groups that a new run finds, and the rows it reads."""
    with opened(path) as store:
        rows, columns = store.read()
        assert columns["n"] == rows
        assert columns["text"] == [f"row {row}" for row in rows]
        return sorted(store.groups), rows


def test_groups_are_read_in_the_order_of_the_table(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with opened(path) as store:
        store.write(*group(2))
        store.write(*group(0, 3, 4))
        assert (store.groups[0].kept, store.groups[2].kept) == (8, 10)
        assert store.read()[0] == [0, 1, 2, 5, 6, 7, 8, 9, *range(20, 30)]
    assert found(path)[0] == [0, 2]
    frame = pd.read_parquet(path / "data")
    assert frame["n"].tolist() == [0, 1, 2, 5, 6, 7, 8, 9, *range(20, 30)]
    assert [drop.row for drop in Store(path).dropped] == [3, 4]


def test_groups_may_differ_in_type_and_may_be_empty(tmp_path: Path) -> None:
    with opened(tmp_path / "s") as store:
        store.write(StoredGroup(0, 0, 2), {"n": [None, None], "text": [{"a": 1}, {"b": 2}]})
        store.write(StoredGroup(1, 2, 4), {"n": ["x", None], "text": [1.5, 2]})
        gone = tuple(DroppedRow(row, "n", "x") for row in (4, 5))
        store.write(StoredGroup(2, 4, 6, gone), {"n": [], "text": []})
        assert store.read() == (
            [0, 1, 2, 3],
            {"n": [None, None, "x", None], "text": [{"a": 1}, {"b": 2}, 1.5, 2]},
        )


def test_a_journal_cut_at_any_byte_loses_nothing(tmp_path: Path) -> None:
    path = filled(tmp_path / "s", 0, 1)
    journal = path / "groups.jsonl"
    whole = journal.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for length in [*range(last, len(whole)), 0]:
        journal.write_bytes(whole[:length])
        assert found(path)[0] == [0, 1]
        assert journal.read_bytes() == whole


def test_without_a_journal_the_files_speak(tmp_path: Path) -> None:
    path = filled(tmp_path / "s", 0, 1, 2)
    (path / "groups.jsonl").unlink()
    assert Store(path).rows == 30
    assert found(path) == ([0, 1, 2], list(range(30)))


def test_a_line_without_its_file_is_a_group_to_make_again(tmp_path: Path) -> None:
    path = filled(tmp_path / "s", 0, 1)
    (path / "data" / "group-00000000.parquet").unlink()
    assert found(path)[0] == [1]
    with opened(path) as store:
        store.write(*group(0))
    assert found(path)[0] == [0, 1]


def test_half_a_file_is_cleared_away(tmp_path: Path) -> None:
    path = filled(tmp_path / "s", 0, 1)
    data = path / "data"
    target = data / "group-00000001.parquet"
    target.write_bytes(target.read_bytes()[:-9])
    (data / ".group-00000002.parquet.tmp").write_bytes(b"PAR1")
    assert found(path)[0] == [0]
    assert [file.name for file in data.iterdir()] == ["group-00000000.parquet"]


def test_a_file_of_another_store_is_not_taken_in(tmp_path: Path) -> None:
    path = filled(tmp_path / "s", 0)
    with ParquetStore.open(tmp_path / "o", facts={"x": 1}, code={}, columns=COLUMNS) as other:
        other.write(*group(1))
    foreign = tmp_path / "o" / "data" / "group-00000001.parquet"
    (path / "data" / foreign.name).write_bytes(foreign.read_bytes())
    assert found(path)[0] == [0]


def test_damage_in_the_middle_of_the_journal_is_said(tmp_path: Path) -> None:
    path = filled(tmp_path / "s", 0, 1)
    journal = path / "groups.jsonl"
    journal.write_bytes(b"{}\n" + journal.read_bytes())
    with pytest.raises(StoreError, match=r"line 1 of .*groups\.jsonl' is damaged; delete that"):
        opened(path)
    journal.unlink()
    assert found(path)[0] == [0, 1]


def test_one_run_at_a_time_in_this_process_and_in_others(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with opened(path), pytest.raises(StoreInUse, match="another run of this process"):
        opened(path)
    script = f"""
        import sys
        from ddsched_nb.store.parquet import ParquetStore
        given = dict(facts={FACTS!r}, code={{"n": "1"}}, columns={COLUMNS!r})
        store = ParquetStore.open({str(path)!r}, **given)
        print("open", flush=True)
        sys.stdin.read()
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        with pytest.raises(StoreInUse, match=rf"another run \(process {child.pid}\)"):
            opened(path)
        child.send_signal(signal.SIGKILL)
        child.wait()
    opened(path).close()  # the system took the lock back


def test_another_thread_may_give_it_back(tmp_path: Path) -> None:
    store = opened(tmp_path / "s")
    closing = threading.Thread(target=store.close)
    closing.start()
    closing.join()
    opened(tmp_path / "s").close()
    store.close()  # twice does nothing


def test_another_declaration_is_refused_and_nothing_is_touched(tmp_path: Path) -> None:
    path = filled(tmp_path / "s", 0)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with pytest.raises(StoreMismatch, match=r"rows is 40, was 30.*nothing in it was touched"):
        opened(path, facts={**FACTS, "rows": 40})
    many = {f"f{n}": n for n in range(20)}
    with pytest.raises(StoreMismatch, match="and 14 more"):
        opened(path, facts=many)
    with pytest.raises(StoreMismatch, match="order of columns differs"):
        opened(path, columns=["text", "n"])
    after = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    assert {f: b for f, b in after.items() if f.name != "owner.json"} == {
        f: b for f, b in before.items() if f.name != "owner.json"
    }


def test_changed_code_is_told_once(tmp_path: Path) -> None:
    path = filled(tmp_path / "s", 0)
    with opened(path, code={"n": "2"}) as store:
        assert store.changed_code == ("n",)
    with opened(path, code={"n": "2"}) as store:
        assert store.changed_code == ()


def test_a_directory_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(StoreError, match="is no store; nothing in it was touched"):
        opened(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(StoreError, match="is a file; give a directory"):
        opened(tmp_path / "thesis.txt")
    with pytest.raises(StoreError, match="is no store"):
        Store(tmp_path)


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (b"{", "damaged"),
        (b'{"facts": {}, "code": {}, "columns": [], "schema": "other"}', "manifest of 'other'"),
        (b'{"facts": {}, "code": {}, "columns": [], "version": 9}', "upgrade ddsched-nb"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_said(tmp_path: Path, manifest: bytes, said: str) -> None:
    path = filled(tmp_path / "s", 0)
    (path / "manifest.json").write_bytes(manifest)
    with pytest.raises(StoreError, match=said):
        opened(path)
    with pytest.raises(StoreError, match=said):  # and not StoreInUse: the lock was given back
        opened(path)


def test_a_file_too_large_for_the_system_stops_and_leaves_the_rest(tmp_path: Path) -> None:
    """The system's own refusal: a limit on the size of files, as a full disk in a child process."""
    path = tmp_path / "s"
    script = f"""
        import resource, signal
        from ddsched_nb.errors import StoreError
        from ddsched_nb.store.parquet import ParquetStore, StoredGroup
        given = dict(facts={FACTS!r}, code={{"n": "1"}}, columns={COLUMNS!r})
        store = ParquetStore.open({str(path)!r}, **given)
        rows = list(range(10))
        store.write(StoredGroup(0, 0, 10), {{"n": rows, "text": [f"row {{r}}" for r in rows]}})
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
        try:
            store.write(StoredGroup(1, 10, 20), {{"n": rows, "text": ["x" * 999] * 10}})
        except StoreError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert "File too large" in done.stdout, done.stderr
    assert "Row groups finished before are safe" in done.stdout
    assert found(path) == ([0], list(range(10)))
    assert not list((path / "data").glob(".*"))


def test_a_group_is_written_once(tmp_path: Path) -> None:
    with opened(tmp_path / "s") as store:
        store.write(*group(0))
        with pytest.raises(StoreError, match="in the store already"):
            store.write(*group(0))


def test_the_manifest_holds_what_was_declared(tmp_path: Path) -> None:
    path = filled(tmp_path / "s", 0)
    said = json.loads((path / "manifest.json").read_text())
    assert said == {
        "facts": FACTS,
        "code": {"n": "1"},
        "columns": COLUMNS,
        "schema": "ddsched-nb-store",
        "version": 1,
    }


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    script = """
        import sys
        import ddsched_nb.run, ddsched_nb.store.parquet, ddsched_nb.store.reading
        print({"pandas", "pyarrow", "filelock"} & set(sys.modules))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
