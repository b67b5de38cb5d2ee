"""Fuzzing: no law is broken, each planted bug is found, and what is found can be run again."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

import ddsched_nb as dd
from ddsched_nb import cli
from ddsched_nb.errors import ConfigError
from ddsched_nb.sim.chaos import InjectedFault, parse_faults, plan_faults
from ddsched_nb.sim.fuzz import TARGETS, fuzz

SEEDS = 25
_spec = importlib.util.spec_from_file_location("planted", Path(__file__).with_name("planted.py"))
assert _spec is not None
planted: Any = importlib.util.module_from_spec(_spec)
assert _spec.loader is not None
_spec.loader.exec_module(planted)


@pytest.mark.parametrize("target", TARGETS)
def test_no_law_is_broken(target: str) -> None:
    report = fuzz(target, seeds=range(SEEDS), rows=20)
    assert report.failure is None
    assert report.runs == SEEDS
    assert report.faults > SEEDS


@pytest.mark.parametrize("bug", planted.BUGS, ids=lambda bug: bug.name)
def test_the_fuzzer_finds_a_planted_bug(bug: Any) -> None:
    source = planted.source_of(bug)
    assert source.count(f"{bug.old}\n") == 1
    done = planted.hunt_apart(bug, 1_000)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ddsched-nb fuzz" in done.stdout


def test_a_run_without_its_bug_is_silent() -> None:
    assert len({bug.name for bug in planted.BUGS}) == 11
    for target in {target for bug in planted.BUGS for target in bug.targets}:
        assert fuzz(target, seeds=[0], rows=30).failure is None


def test_f20_no_row_is_dropped_whatever_the_order() -> None:
    report = fuzz("diamond", seeds=range(15), rows=20, faults="endpoint@0,pause@90,defer@30")
    assert report.failure is None


def test_f22_what_is_paused_goes_on() -> None:
    faults = "pause@20,pause@120,defer@121,pause@300"
    assert fuzz("tight", seeds=range(15), rows=20, faults=faults).failure is None


def test_f27_nothing_leaks_when_a_subscriber_raises_or_a_spawn_fails() -> None:
    faults = "subscriber@5,spawn@10,spawn@11,subscriber@40,cancel@60,spawn@80"
    assert fuzz("tight", seeds=range(15), rows=20, faults=faults).failure is None


def test_a_store_that_fails_and_a_run_that_is_stopped_keep_what_is_finished() -> None:
    for faults in ("store@100", "stop@150", "cancel@50,stop@51"):
        assert fuzz("dropped-rows", seeds=range(8), rows=20, faults=faults).failure is None


def broken_workload() -> dd.Workload:
    """A root that forgets that row 7 exists, if it was cancelled before."""
    seen: list[int] = []

    async def generate(row: Any) -> int:
        import asyncio

        seen.append(row.number)
        await asyncio.sleep(0.1)
        if row.number == 7 and seen.count(7) > 1:
            raise dd.RowDropped("it was seen before")
        return row.number

    columns = [
        dd.Column("row_id", generate=list),
        dd.Column("a", needs=["row_id"], generate=generate),
    ]
    pipeline = dd.Pipeline(columns=columns)
    return dd.Workload(name="broken", about="a broken one", pipeline=pipeline, rows=10)


def test_a_failure_is_made_small_and_can_be_run_again() -> None:
    report = fuzz(broken_workload(), seeds=range(200), rows=10)
    assert report.failure is not None
    assert "1 rows were dropped, 0 should be" in report.failure.broken[0]
    assert "ddsched-nb fuzz broken --rows 10 --seed" in report.failure.command
    assert len(report.failure.faults) <= 1


async def test_fuzzing_works_where_a_loop_runs() -> None:
    assert fuzz("limiter", seeds=range(3)).runs == 3


def test_equal_seeds_are_equal_runs() -> None:
    one, other = (fuzz("tight", seeds=range(4), rows=15) for _ in range(2))
    assert one == other


def test_faults_are_read_as_they_are_printed() -> None:
    faults = plan_faults(5, 1_000)
    assert parse_faults(",".join(map(str, faults))) == faults
    assert parse_faults("cancel@12, defer@3") == (
        InjectedFault("cancel", 12),
        InjectedFault("defer", 3),
    )
    with pytest.raises(ConfigError, match=r"fault 'explode@3' is none; write KIND@STEP"):
        fuzz("tight", faults="explode@3")


def test_the_commands(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["fuzz", "limiter", "--seeds", "3"]) == 0
    assert cli.main(["fuzz", "tight", "--rows", "8", "--seed", "4", "--faults", "none"]) == 0
    path = tmp_path / "r.jsonl"
    assert cli.main(["simulate", "diamond", "--rows", "4", "--record", str(path)]) == 0
    said = capsys.readouterr().out
    assert "<limiter: 3 runs" in said
    assert "1 runs, 0 failures" in said
    assert "<diamond, seed 0: finished, 4 of 4 rows" in said
    assert dd.RunRecord.load(path).digest()
