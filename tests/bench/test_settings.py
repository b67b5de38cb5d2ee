"""The cases that differ in one setting, and the fuzz smoke, against subjects that are broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from ddsched_nb.bench.suite.baseline import Tolerances
from ddsched_nb.bench.suite.cases import Case
from ddsched_nb.bench.suite.own_cases import BOTH_WAYS, LIMITS, POLICIES
from ddsched_nb.bench.suite.runner import judge, run_suite
from ddsched_nb.bench.suite.smoke import SEEDS, fuzz_smoke
from ddsched_nb.core.horizon import Horizon
from ddsched_nb.core.limits.ceiling import CeilingLimit
from ddsched_nb.core.request_admission import RequestAdmission
from ddsched_nb.core.row_groups import Demand, RowGroupGovernor, TargetChange

GROUPS = {"both-ways", "limits", "policies"}


def failed(cases: Sequence[Case]) -> set[str]:
    """Which of the checks of these cases fail."""
    summary = judge(run_suite("quick", "virtual", lambda said: None, cases), None, Tolerances())
    assert any(check.group in GROUPS for check in summary.checks)
    return {check.id for check in summary.failed if check.group in GROUPS}


@pytest.mark.parametrize("cases", [BOTH_WAYS, LIMITS, POLICIES], ids=lambda cases: cases[0].sweep)
def test_they_pass_as_they_are(cases: tuple[Case, ...]) -> None:
    assert failed(cases) == set()


def test_row_groups_that_never_fall(monkeypatch: pytest.MonkeyPatch) -> None:
    lower = RowGroupGovernor.finish

    def finish(self: RowGroupGovernor, index: int) -> TargetChange | None:
        target = self.target
        lower(self, index)
        self.target = target
        return None

    monkeypatch.setattr(RowGroupGovernor, "finish", finish)
    assert "both-ways.down" in failed(BOTH_WAYS)


def test_row_groups_that_never_rise(monkeypatch: pytest.MonkeyPatch) -> None:
    def consider(self: RowGroupGovernor, demand: Demand) -> TargetChange | None:
        return None

    monkeypatch.setattr(RowGroupGovernor, "consider", consider)
    assert {"both-ways.up", "both-ways.wall"} <= failed(BOTH_WAYS)


def test_row_groups_that_rise_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Horizon.demand

    def demand(self: Horizon, *args: object, **named: object) -> Demand:
        return seen(self, *args, **named)._replace(most_queued=10**9)  # type: ignore[arg-type]

    monkeypatch.setattr(Horizon, "demand", demand)
    assert "both-ways.down" in failed(BOTH_WAYS)


def test_a_limit_that_does_not_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CeilingLimit, "on_sample", lambda self, sample: None)
    assert "limits.refusals" in failed(LIMITS)


def test_a_ceiling_that_is_not_there() -> None:
    strict, _, ceiling = POLICIES
    work = replace(ceiling.workload, config=strict.workload.config)
    assert failed((strict, ceiling._replace(workload=work))) == {"policies.late-wait"}


def test_the_fuzzer_finds_nothing_in_what_is_shipped() -> None:
    (found,) = fuzz_smoke(("tight",))
    assert (found.target, found.runs, found.broken, found.command) == ("tight", len(SEEDS), "", "")
    assert found.steps > 0
    assert found.faults > 0


def test_the_fuzzer_finds_a_wake_up_that_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RequestAdmission, "_wake", lambda self, what, at: None)
    limiter, found = fuzz_smoke(("limiter", "cross-provider-cooldown"))
    assert "nothing is ready" in limiter.broken
    assert "nothing is ready" in found.broken
    assert found.command.startswith("ddsched-nb fuzz cross-provider-cooldown --rows 16 --seed ")
