"""The comparison with reality, small: it runs, over HTTP, and says about the same."""

from __future__ import annotations

from ddsched_nb.bench import reality


def test_a_small_rehearsal_comes_out(monkeypatch) -> None:
    monkeypatch.setattr(reality, "_REHEARSED_ROWS", 40)
    found = reality.rehearsal("diamond", draws=2, runs=3, real_runs=1)
    assert found["draws"] == 2
    assert found["rows"] == 40
    assert 0.5 < float(str(found["real s"])) < 60


def test_simulated_and_real_are_alike() -> None:
    # Half is an order of magnitude wider than what is seen on a quiet machine.
    found = reality.reality("diamond", real_runs=1, seeds=3)
    assert 0.5 < float(str(found["ratio"])) < 1.5
    assert found["refused, real"] == found["refused, simulated"] == 0
