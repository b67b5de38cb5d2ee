"""`ddsched-nb perfetto`: what it writes, what it says, and what the user can mend."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddsched_nb import cli
from ddsched_nb.bench.perfetto.trace import perfetto_trace
from ddsched_nb.bench.suite.cases import CASES
from ddsched_nb.record import RunRecord
from ddsched_nb.sim.record import SimulatedRecord
from ddsched_nb.sim.simulate import simulate

COMBINED = CASES[21]


@pytest.fixture(scope="module")
def record() -> SimulatedRecord:
    return simulate(COMBINED.workload)


def test_a_saved_record_and_a_case_give_the_same_trace(
    record: SimulatedRecord, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved, trace = tmp_path / "run.jsonl", tmp_path / "trace.json"
    record.save(saved)
    assert cli.main(["perfetto", str(saved), "-o", str(trace)]) == 0
    assert trace.read_bytes() == perfetto_trace(record).encode()
    assert "1666 slices, 257 arrows" in capsys.readouterr().out
    simulated = tmp_path / "simulated.json"
    assert cli.main(["perfetto", COMBINED.name, "--simulate", "-o", str(simulated)]) == 0
    assert simulated.read_bytes() == trace.read_bytes()


def test_the_command_says_of_a_cut_record_that_it_is_cut(
    record: SimulatedRecord, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = RunRecord(record.events, keep=100).save(tmp_path / "run.jsonl")
    assert cli.main(["perfetto", str(saved), "-o", str(tmp_path / "trace.json")]) == 0
    assert "the record is cut" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tight"], "--simulate"),
        (["tigt", "--simulate"], "did you mean 'tight'?"),
        (["nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_what_the_user_can_mend(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["perfetto", *arguments]) == 2
    assert said in capsys.readouterr().err
