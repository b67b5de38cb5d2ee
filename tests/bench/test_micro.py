"""The micro benchmarks count what they do; no test here looks at a clock."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ddsched_nb import cli
from ddsched_nb.bench import __main__ as command, dispatching, growth, micro, pieces, tasks
from ddsched_nb.bench.arguments import KINDS
from ddsched_nb.bench.cpu import Cost, Spent, interleaved
from ddsched_nb.bench.micro import Line, Scale
from ddsched_nb.core.dispatch import Denied, Dispatch
from ddsched_nb.core.task_admission import TaskAdmission
from ddsched_nb.core.task_policies import BoundedBorrow, StrictFair
from ddsched_nb.errors import ConfigError

TINY = Scale(
    cycles=((1, 100), (8, 100)),
    blocked=(8,),
    past=50,
    tasks=30,
    queued=100,
    operations=20,
    repeats=2,
)
SMALL = growth.Sizes(
    tasks=(30, 60), flows=(1, 4), queued=(20, 40), waiters=(2, 4), row_groups=(1, 2), repeats=1
)
POLICIES = pytest.mark.parametrize("policy", [StrictFair, BoundedBorrow])


@pytest.fixture(scope="module")
def lines() -> list[Line]:
    return list(micro.measure(TINY))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks that admission was asked about."""
    found: list[str] = []
    decide = TaskAdmission.decide

    def counted(self: TaskAdmission, task, *, contended):  # type: ignore[no-untyped-def]
        found.append(task.task_id)
        return decide(self, task, contended=contended)

    monkeypatch.setattr(TaskAdmission, "decide", counted)
    return found


def test_every_part_has_its_lines(lines: list[Line]) -> None:
    names = [line.what for line in lines]
    assert names.count("dispatch cycle, strict_fair") == 2
    assert names.count("dispatch cycle, bounded_borrow") == 2
    for what in (
        "permit: acquire and release, uncontended",
        "scheduler: a task of a chain, no call",
    ):
        assert names.count(what) == 2
    for what in ("import ddsched_nb", "memory of queued tasks", "a selection that finds nothing"):
        assert names.count(what) == 1
    assert all(line.operations >= 1 and line.repeats >= 1 for line in lines)


def test_a_line_stands_beside_its_bar_and_its_peer(lines: list[Line]) -> None:
    entries = micro.entries(lines)
    assert all(entry["verdict"] in ("holds", "falls short", "no bar") for entry in entries)
    (nothing,) = [e for e in entries if e["what"] == "a selection that finds nothing"]
    assert (nothing["bar"], nothing["Data Designer"]) == ("5", "130")


@pytest.mark.parametrize(
    ("value", "bar", "verdict"),
    [(10.0, 10.0, "holds"), (10.1, 10.0, "falls short"), (1e9, None, "no bar")],
)
def test_the_verdict_is_read_from_value_and_bar(
    value: float, bar: float | None, verdict: str
) -> None:
    assert Line("", "", value, "us", bar, "", 1, 1).verdict == verdict


def test_the_bars_are_those_that_were_asked_for() -> None:
    assert [micro._cycle_bar("strict_fair", *at) for at in ((256, 10_000), (1_024, 1_000_000))] == [
        10.0,
        12.0,
    ]
    assert micro._cycle_bar("bounded_borrow", 1_024, 1_000_000) == 15.0


def test_subjects_take_turns_and_the_median_counts() -> None:
    order: list[str] = []

    def subject(name: str, *seconds: float) -> Callable[[], Spent]:
        left = iter(seconds)

        def run() -> Spent:
            order.append(name)
            return Spent(2, next(left))

        return run

    costs = interleaved([subject("a", 2.0, 100.0, 4.0), subject("b", 1.0, 1.0, 1.0)], 3)
    assert order == ["a", "b"] * 3
    assert costs == [Cost(2e6, 6, 3), Cost(0.5e6, 6, 3)]


@POLICIES
def test_a_dispatch_asks_about_one_task_however_many_flows(
    policy: dispatching.MakePolicy, asked: list[str]
) -> None:
    run = dispatching.cycle(policy, 256, 1_000, 300)
    for _ in range(5):
        asked.clear()
        assert run().operations == len(asked) == 300


@POLICIES
@pytest.mark.parametrize("flows", [1, 8, 64, 256])
def test_with_all_slots_leased_a_dispatch_asks_about_two(
    policy: dispatching.MakePolicy, flows: int, asked: list[str]
) -> None:
    run = dispatching.full_cycle(policy, flows, 1_000, 200)
    run()  # the first time round, each flow meets its gate
    asked.clear()
    assert run().operations == 200
    assert 200 <= len(asked) <= 3 * 200


def test_what_finds_nothing_asks_nobody_again(asked: list[str]) -> None:
    run = dispatching.nothing_eligible(StrictFair, 256, 1_000, 50)
    asked.clear()
    assert run().operations == 50
    assert not asked


def test_the_first_that_finds_nothing_asks_every_flow_once(asked: list[str]) -> None:
    assert dispatching.first_refusal(StrictFair, 32)().operations == 1
    refused = asked[32:]
    assert len(refused) == len(set(refused)) == 32


def test_a_subject_leaves_as_many_queued_as_it_found() -> None:
    dispatcher = dispatching.filled(StrictFair, 8, 100, 32)
    taken = [found for found in dispatching._ask(dispatcher) if isinstance(found, Dispatch)]
    assert (len(taken), len(dispatcher)) == (32, 68)
    dispatching._put_back(dispatcher, [found.ready for found in taken])
    assert len(dispatcher) == 100
    assert isinstance(dispatcher.next(), Denied | None)


def test_the_other_parts_count_what_they_do() -> None:
    assert pieces.permits(5, 7)().operations == 7
    assert pieces.waking(30, 60)().operations == 60
    assert pieces.completions(3, 5)().operations == 3 * 5 * 4
    assert pieces.completions(1, 5, operations=21)().operations == 2 * 5 * 4
    assert pieces.capture(9)().operations == 9
    assert tasks.chain(30, record=True, buffer_size=5, row_groups=2)().operations == 30
    assert pieces.importing().operations == 1


def test_memory_grows_with_what_is_queued() -> None:
    assert pieces.queued_mib(4_000, 4) > 2 * pieces.queued_mib(1_000, 4) > 0


def test_curves_have_a_point_at_every_size() -> None:
    found = list(growth.curves(SMALL))
    sizes = [SMALL.tasks] * 2 + [SMALL.flows] * 2 + [SMALL.queued, SMALL.waiters]
    sizes += [SMALL.row_groups] * 2
    assert [tuple(p.x for p in curve.points) for curve in found] == [tuple(s) for s in sizes]
    assert all(point.us >= 0 for curve in found for point in curve.points)


def test_a_curve_tells_its_ratio() -> None:
    curve = growth.Curve("x", "y", (growth.Point(1, 2.0), growth.Point(10, 3.0)))
    assert growth.entries([curve]) == [
        {"CPU us": "x", "against": "y", "points": "1: 2.0  10: 3.0", "last / first": "1.50"}
    ]


def test_both_commands_measure_and_write_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = Line("w", "at", 3.0, "us", 2.0, "50", 6, 2)
    monkeypatch.setattr(micro, "measure", lambda scale: iter([line]))
    path = tmp_path / "found.json"
    assert cli.main(["bench", "micro", "--json", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "falls short" in shown
    (figure,) = json.loads(path.read_text())["figures"]
    assert (figure["value"], figure["bar"], figure["verdict"]) == (3.0, 2.0, "falls short")
    assert command.main(["micro"]) == 0
    assert capsys.readouterr().out == shown


def test_repeats_are_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    curve = growth.Curve("x", "y", (growth.Point(1, 2.0),))

    def curves(sizes: growth.Sizes) -> Iterator[growth.Curve]:
        seen.append(sizes.repeats)
        return iter([curve])

    monkeypatch.setattr(growth, "curves", curves)
    assert [command.main(["growth", *more]) for more in ([], ["--repeats", "7"])] == [0, 0]
    assert seen == [3, 7]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["endpoint", "--scenario", "nowhere"], "'nowhere'"),
        (["reality", "--workload", "nothing"], "'nothing'"),
        (["micro", "--repeats", "0"], "--repeats is 0"),
        (["tasks", "--json", "x.json"], "--json is for micro and growth"),
    ],
)
def test_what_cannot_be_measured_is_said(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bench", *arguments]) == 2
    assert said in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.main(arguments)


def test_a_place_that_cannot_be_written_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    line = Line("w", "at", 3.0, "us", 2.0, "50", 6, 2)
    monkeypatch.setattr(micro, "measure", lambda scale: iter([line]))
    chosen = argparse.Namespace(
        what="micro", scenario=None, workload=None, repeats=None, json=str(tmp_path / "no" / "f")
    )
    with pytest.raises(ConfigError, match="cannot write"):
        command.run(chosen)


def test_each_kind_has_its_measurement() -> None:
    assert set(command._MEASURES) == set(KINDS)
