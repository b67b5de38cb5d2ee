"""F35: a real process, killed with SIGKILL at many moments; what is resumed equals what was meant.

Half of the moments are exact: the child kills itself inside the n-th write of a temporary file,
before or after the n-th rename, or in the middle of the n-th line of the journal. The others are
moments in time, at which the parent kills it. `DDSCHED_CRASHES=100` tries more of them.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import ddsched_nb as dd

CRASHES = int(os.environ.get("DDSCHED_CRASHES", "20"))
EXACT = ("temporary", "synced", "before rename", "after rename", "in the journal", "journalled")
ROWS, SIZE = 230, 10

CHILD = """
import asyncio, json, os, signal, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import ddsched_nb as dd
from ddsched_nb.store import journal, parquet

STORE, MOMENT, COUNT, SEEN = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
left = [COUNT]


def die_at(moment):
    if moment == MOMENT:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)


real_write, real_replace = parquet._write_file, os.replace


def write_file(table, path):
    if MOMENT == "temporary":
        path.write_bytes(b"PAR1 half of a file")
        die_at("temporary")
    size = real_write(table, path)
    die_at("synced")
    return size


def replace(source, target):
    if not str(target).endswith(".parquet"):
        return real_replace(source, target)
    die_at("before rename")
    real_replace(source, target)
    die_at("after rename")


real_append = journal.Journal.append


def append(self, line):
    if MOMENT == "in the journal":
        left[0] -= 1
        if left[0] == 0:
            raw = journal._encode(line)
            with self._path.open("ab", buffering=0) as file:
                file.write(raw[: len(raw) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
    real_append(self, line)
    die_at("journalled")


parquet._write_file, os.replace, journal.Journal.append = write_file, replace, append


def noted(row):
    with open(SEEN, "a") as seen:
        seen.write(f"{row.number}\\n")
    if row["n"] % 9 == 4:
        raise dd.RowDropped("not this one")
    return {"root": row["n"] ** 0.5, "name": f"row {row['n']}"}


async def slowly(row):
    await asyncio.sleep(0.002 * (row["n"] % 3))
    return [row["root"], float(row["n"])]


def total(batch):
    return [sum(batch["n"])] * len(batch)


pipeline = dd.Pipeline(
    columns=[
        dd.Column("n", generate=list),
        dd.Column("pair", needs=["n"], outputs=["root", "name"], generate=noted),
        dd.Column("vector", needs=["n", "root"], generate=slowly, skip=dd.Skip("n % 5 == 0")),
        dd.Column("total", needs=["n", "vector"], batch=True, generate=total, propagate_skip=False),
    ]
)
config = dd.RunConfig(buffer_size=SIZE, max_concurrent_row_groups=3, record=False)
print("ready", flush=True)
run = dd.start(pipeline, rows=ROWS, config=config, store=STORE).wait()
print(json.dumps([run.summary().finished, run.summary().dropped]))
""".replace("buffer_size=SIZE", f"buffer_size={SIZE}").replace("rows=ROWS", f"rows={ROWS}")


class Crash(NamedTuple):
    """A moment: where, and at the how manieth time; or after so many milliseconds."""

    number: int
    moment: str
    count: int


def crashes() -> list[Crash]:
    found = []
    for number in range(CRASHES):
        rng = random.Random(number)
        if number % 2 == 0:  # 10 of each 20 between temporary write, rename and journal
            moment = EXACT[(number // 2) % len(EXACT)]
            found.append(Crash(number, moment, rng.randint(1, ROWS // SIZE)))
        else:
            found.append(Crash(number, "in time", rng.randint(0, 260)))
    return found


def start(folder: Path, store: Path, moment: str, count: int) -> subprocess.Popen[str]:
    script = folder / "child.py"
    script.write_text(CHILD)
    command = [sys.executable, str(script), str(store), moment, str(count), str(folder / "seen")]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.getcwd()}
    )


def seen(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "seen").read_text().split()]


@pytest.fixture(scope="module")
def meant(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The table of a run that nobody interrupts, as JSON."""
    folder = tmp_path_factory.mktemp("meant")
    with start(folder, folder / "s", "never", 0) as child:
        child.communicate(timeout=60)
    return as_json(folder / "s")


def as_json(store: Path) -> str:
    table = dd.Store(store).to_pandas()
    return json.dumps([list(table.index), table.to_dict("list")])


@pytest.mark.parametrize("crash", crashes(), ids=lambda crash: f"{crash.number}-{crash.moment}")
def test_f35_what_is_resumed_equals_what_was_meant(
    crash: Crash, meant: str, tmp_path: Path
) -> None:
    store = tmp_path / "s"
    (tmp_path / "seen").touch()
    with start(tmp_path, store, crash.moment, crash.count) as child:
        if crash.moment == "in time":
            assert child.stdout is not None
            child.stdout.readline()
            try:
                child.wait(crash.count / 1000)
            except subprocess.TimeoutExpired:
                child.kill()
        child.wait(60)
    ended = {-signal.SIGKILL, 0} if crash.moment == "in time" else {-signal.SIGKILL}
    assert child.returncode in ended
    safe = dd.Store(store).rows if (store / "manifest.json").exists() else 0
    done_before = set(seen(tmp_path))
    (tmp_path / "seen").write_text("")
    with start(tmp_path, store, "never", 0) as child:
        said = child.communicate(timeout=60)[0].splitlines()[-1]
    assert as_json(store) == meant
    finished, dropped = json.loads(said)
    assert finished + dropped == ROWS
    # Nothing that was safe is made a second time, and nothing is made twice in one run.
    again = seen(tmp_path)
    assert len(again) == len(set(again)) <= ROWS - safe
    assert done_before | set(again) == set(range(ROWS))
