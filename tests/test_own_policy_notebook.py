"""The exercises of notebook 06: right answers pass, wrong ones do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("altair")

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "06_your_own_policy.ipynb"

REMEMBERS = """
class Right(Served):
    patience = top = 1
    def on_sample(self, sample):
        before = self.limit
        super().on_sample(sample)
        if sample.outcome is OutcomeKind.RATE_LIMITED:
            self.patience, self.top = min(16, 2 * self.patience), self.limit + 2
            return
        if before > self.top:
            self.patience = 1
        self.limit = before + 3 * (self.limit - before) / self.patience
"""
NEVER_LENDS = """
class Right:
    def decide(self, task, held, debt, shares, contended):
        for resource, _ in above_share(task, held, shares):
            return Deny(DenyReason.AT_CEILING, resource)
        return Admit()
"""


@pytest.fixture(scope="module")
def cells() -> list[str]:
    found = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == "code"]


@pytest.fixture(scope="module")
def names(cells: list[str]) -> dict[str, Any]:
    """What the cells define that the exercises need."""
    known: dict[str, Any] = {}
    wanted = ("import ", "from ", "class Served", "dd.check_limit(Served)", "steps =", "answer_")
    for source in cells:
        if source.startswith(wanted):
            exec(source.partition("\nscore(")[0], known)
    exec("peer = dd.find_workload('late-peer')", known)
    exec("seen = {'strict_fair': dd.simulate(peer)}", known)
    return known


def check_of(cells: list[str], number: int) -> str:
    (source,) = (source for source in cells if f"def check_{number}(" in source)
    return source


@pytest.mark.parametrize(
    ("number", "define", "answer", "says"),
    [
        (1, "", "round(many)", "right"),
        (1, "", "1", "not yet"),
        (2, REMEMBERS, "Right", "right"),
        (2, "", "Served", "not yet"),
        (3, NEVER_LENDS, "Right", "right"),
        (
            3,
            "class Wrong:\n    decide = lambda self, task, held, debt, shares, contended: "
            "Admit(above_share(task, held, shares))",
            "Wrong",
            "not yet",
        ),
        (1, "", "None", "not answered yet"),
    ],
)
def test_the_answers_of_the_exercises(
    cells: list[str],
    names: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    number: int,
    define: str,
    answer: str,
    says: str,
) -> None:
    exec(check_of(cells, 1), names)
    tries = "dd.try_limit({}, constant, seconds=600).refused"
    exec(f"many = {tries.format('Forgetful')} / {tries.format('Served')}\n{define}", names)
    exec(f"answer_{number} = {answer}", names)
    capsys.readouterr()
    exec(check_of(cells, number), names)
    assert capsys.readouterr().out.splitlines()[-1] == says
    exec(f"answer_{number} = None", names)
