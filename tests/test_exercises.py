"""The notebooks as a course: how each opens, where it leads, and exercises that can be answered.

Right answers pass, wrong ones do not, and no answer is said to be none.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("altair")
pytest.importorskip("vega_datasets")

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
# Where a cell begins to compute what the exercises can do without.
LONG = re.compile(r"^(?:score\(|runs = )", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")

# What the exercises of a notebook need: cells of it by their ids, and sources that stand for what
# would take long.
NEEDS: dict[str, tuple[str, ...]] = {
    "00_start_here": (
        *("cell-01", "cell-03", "cell-05", "cell-07", "cell-08", "cell-09"),
        "endpoint.stop()",
    ),
    "02_request_admission_aimd": (
        *("c01", "c03", "c15"),
        "kinds = ('aimd', 'ceiling')",
        "runs = {f'tight, {kind}': dd.simulate('tight', under(kind)) for kind in kinds}",
    ),
    "03_adaptive_row_groups": ("c01", "c03", "c05", "runs = {'adaptive': run('adaptive')}"),
    "06_your_own_policy": (
        *("cell-01", "cell-09", "cell-10", "cell-17"),
        "peer = dd.find_workload('late-peer')",
        "seen = {'strict_fair': dd.simulate(peer)}",
    ),
    "07_your_endpoint": (
        *("cell-01", "cell-03", "cell-04", "cell-06", "cell-08", "cell-12"),
        "own.stop()",
        "config = dd.RunConfig(buffer_size=40)",
    ),
    "08_faults_and_fuzzing": (
        *("cell-01", "cell-17", "cell-18"),
        "records = {'outage-and-recovery': dd.simulate('outage-and-recovery')}",
    ),
    "09_rehearse_a_big_run": (
        *("cell-01", "cell-03", "cell-04", "cell-06", "cell-07"),
        "truth = dd.simulate(pipeline, rows=800, profiles=hidden, seed=2)",
    ),
}

PATIENT_AIMD = (
    "dict(multiplicative_decrease_factor=0.95, cooldown_s=0, successes_until_increase={})"
)
GIVES_BACK = """
async def answer_3(row):
    await places().acquire()
    try:
        await asyncio.sleep(0.1)
        return row["row_id"]
    finally:
        places().release()
"""
GIVES_BACK_TOO_MUCH = """
async def answer_3(row):
    try:
        await places().acquire()
        await asyncio.sleep(0.1)
        return row["row_id"]
    finally:
        places().release()
"""
ONE_AFTER_THE_OTHER = """
ONE = WeakKeyDictionary()

async def answer_3(row):
    async with ONE.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(1)):
        await asyncio.sleep(0.1)
        return row["row_id"]
"""
REFUSALS = """
tries = [dd.try_limit(kind, constant, seconds=600).refused for kind in (Forgetful, Served)]
answer_1 = round(tries[0] / tries[1])
"""
REMEMBERS = """
class answer_2(Served):
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
class answer_3:
    def decide(self, task, held, debt, shares, contended):
        for resource, _ in above_share(task, held, shares):
            return Deny(DenyReason.AT_CEILING, resource)
        return Admit()
"""
LENDS = """
class answer_3:
    def decide(self, task, held, debt, shares, contended):
        return Admit(above_share(task, held, shares))
"""

# For each exercise an answer that is right, and some that a reader might give who is wrong.
ANSWERS: dict[str, dict[int, tuple[str, ...]]] = {
    "00_start_here": {
        1: ("3.4", "0.85"),
        2: ("6", "24", "5"),
        3: ("'request_limit'", "'cooldown'"),
    },
    "02_request_admission_aimd": {
        1: ("0.75", "0.85"),
        2: (PATIENT_AIMD.format(200), PATIENT_AIMD.format(25), "dict(cooldown_s=0)"),
        3: ("'cooldown'", "'request_limit'"),
    },
    "03_adaptive_row_groups": {
        1: ("9", "10"),
        2: ("4", "3"),
        3: ("'draining_tail'", "'horizon_slots_leased'"),
    },
    "06_your_own_policy": {
        1: (REFUSALS, "1"),
        2: (REMEMBERS, "Served"),
        3: (NEVER_LENDS, LENDS),
    },
    "07_your_endpoint": {
        1: ("6", "5"),
        2: ("12", "14"),
        3: (
            "dd.Skip('review.stars >= 2')",
            "dd.Skip('review.stars >= 3')",
            "dd.Skip('review.stars >= 1')",
        ),
    },
    "08_faults_and_fuzzing": {
        1: ("0.7", "0.625"),
        2: ("'cooldown'", "'probing'"),
        3: (GIVES_BACK, "careless", GIVES_BACK_TOO_MUCH, ONE_AFTER_THE_OTHER),
    },
    "09_rehearse_a_big_run": {
        1: ("40", "48"),
        2: ("4.1", "7.1"),
        3: ("'model:mine/reviews'", "'model:mine/drafts'"),
    },
}
TRIES = [
    pytest.param(
        name, number, answer, "not yet" if place else "right", id=f"{name}-{number}-{place}"
    )
    for name, exercises in ANSWERS.items()
    for number, answers in exercises.items()
    for place, answer in enumerate(answers)
]


def cells_of(name: str) -> list[dict[str, Any]]:
    """The cells of a notebook, their sources in one piece."""
    found = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in found]


def prose_of(name: str) -> list[str]:
    return [cell["source"] for cell in cells_of(name) if cell["cell_type"] == "markdown"]


def checks_of(name: str) -> list[dict[str, Any]]:
    """The cells that check answers."""
    asks = re.compile(r"check_(\d)\(answer_\1\)")
    return [c for c in cells_of(name) if c["cell_type"] == "code" and asks.search(c["source"])]


@functools.cache
def prepared(name: str) -> dict[str, Any]:
    """What stands before an answer is given: what the exercises need, and their own cells."""
    known: dict[str, Any] = {}
    cells = cells_of(name)
    sources = {cell["id"]: cell["source"] for cell in cells}
    for need in NEEDS[name]:
        exec(LONG.split(sources[need])[0] if need in sources else need, known)
    first = next(i for i, c in enumerate(cells) if c["source"].startswith("## Exercises"))
    for cell in cells[first:]:
        if cell["cell_type"] == "code":
            exec(cell["source"], known)
    return known


@pytest.mark.filterwarnings("ignore:The 'convert_dates' keyword")  # of vega_datasets
@pytest.mark.parametrize(("name", "number", "answer", "says"), TRIES)
def test_right_answers_pass_and_wrong_ones_do_not(
    name: str, number: int, answer: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    known = prepared(name) | {}
    names = re.search(rf"\banswer_{number}\b", answer)
    exec(answer if names else f"answer_{number} = {answer}", known)
    capsys.readouterr()
    exec(checks_of(name)[number - 1]["source"], known)
    assert capsys.readouterr().out.splitlines()[-1] == says


@pytest.mark.parametrize("name", ANSWERS)
def test_the_checks_are_folded_and_wait_for_an_answer(name: str) -> None:
    checks = checks_of(name)
    assert len(checks) == len(ANSWERS[name])
    for number, cell in enumerate(checks, 1):
        assert f"check_{number}(answer_{number})" in cell["source"]
        assert cell["metadata"] == {"jupyter": {"source_hidden": True}}
        assert ["".join(out["text"]) for out in cell["outputs"]] == ["not answered yet\n"]


@pytest.mark.parametrize("name", ANSWERS)
def test_a_notebook_ends_with_links_to_the_code_that_it_explains(name: str) -> None:
    end = prose_of(name)[-1]
    assert end.startswith("## Where to go next")
    assert [link for link in LINK.findall(end) if link.startswith("../ddsched_nb/")]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_opens_with_what_one_learns_and_how_long_it_takes(name: str) -> None:
    opening = prose_of(name)[0]
    assert re.match(r"# \S", opening)
    assert "**What you will learn:** " in opening
    assert re.search(r"\*\*Time:\*\* \w+ minutes; ", opening)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_links_of_a_notebook_lead_to_files(name: str) -> None:
    links = {link for text in prose_of(name) for link in LINK.findall(text)}
    ours = {link.partition("#")[0] for link in links if not re.match(r"[a-z]+:|#", link)}
    assert ours
    assert [link for link in sorted(ours) if not (FOLDER / link).exists()] == []
