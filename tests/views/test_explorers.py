"""What explorers answer, without widgets: figures, words, and refusals that name their field."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest

import ddsched_nb as dd
from ddsched_nb.core.dispatch import Denied, Dispatcher
from ddsched_nb.core.model import SUBMISSION, Flow, FlowKey, ReadyTask, Task
from ddsched_nb.core.task_admission import TaskAdmission
from ddsched_nb.core.task_policies import BoundedBorrow, StrictFair, TaskPolicy
from ddsched_nb.errors import ConfigError
from ddsched_nb.views.explorers import aimd, fair_queue, pressure, row_groups
from ddsched_nb.views.explorers.drawing import Plot, Span, legend, means
from ddsched_nb.views.explorers.frame import Slider
from ddsched_nb.views.explorers.settings import SettingsRefused, bounds, choices
from ddsched_nb.views.explorers.stepping import Stepper

MAKERS = (
    dd.explorers.aimd_explorer,
    dd.explorers.fair_queue_stepper,
    dd.explorers.row_group_explorer,
    dd.explorers.pressure_explorer,
)


def tried(**settings: Any) -> aimd.AimdAnswer:
    return aimd.explore_aimd(aimd.AimdSettings(**settings))


@pytest.mark.parametrize("make", MAKERS)
def test_an_explorer_says_the_same_facts_twice(make: Any) -> None:
    one, other = make(), make()
    assert repr(one) == repr(other)
    assert one.answer.html == other.answer.html
    assert one._repr_mimebundle_() == {"text/plain": repr(one)}
    assert repr(one).startswith(one.title)


@pytest.mark.parametrize("make", MAKERS)
def test_every_setting_has_one_control_that_fits_its_field(make: Any) -> None:
    explorer = make()
    kind = type(explorer.settings)
    fields = [control.field for control in explorer.controls]
    assert sorted([*fields, *explorer.anew]) == sorted(kind.model_fields)
    for control in explorer.controls:
        assert control.label
        assert control.about
        if isinstance(control, Slider):
            low, high = bounds(kind, control.field)
            assert low < high
        elif hasattr(control, "options"):
            assert set(control.options) == set(choices(kind, control.field))


@pytest.mark.parametrize("make", MAKERS)
def test_a_picture_is_well_formed_and_told_in_words(make: Any) -> None:
    html = re.sub(r"&(?!amp;|lt;|gt;|quot;|#)", "&amp;", make().answer.html)
    tree = ElementTree.fromstring(f"<div>{html}</div>")
    assert all(svg.get("aria-label") for svg in tree.iter("svg") if svg.get("role") == "img")
    assert [caption.text for caption in tree.iter("caption")]
    assert "http" not in html


@pytest.mark.parametrize("curve", ["constant", "steps", "sine", "walk", "outage"])
def test_the_oracle_uses_all_there_is_and_is_never_refused(curve: str) -> None:
    answer = tried(curve=curve, limit="ceiling")
    assert answer.oracle.utilization == pytest.approx(1.0)
    assert answer.oracle.refused == 0
    assert answer.tried.utilization < answer.oracle.utilization


def test_ceiling_beats_aimd_and_fixed_pays_with_refusals() -> None:
    by = {limit: tried(limit=limit).tried for limit in ("aimd", "ceiling", "fixed")}
    assert by["ceiling"].utilization > by["aimd"].utilization + 0.1
    assert by["ceiling"].refused < by["aimd"].refused
    assert by["fixed"].refused > 50 * by["aimd"].refused


def test_the_knobs_of_aimd_reach_the_limit_and_a_low_cap_is_never_refused() -> None:
    assert tried(decrease=0.25).tried.history[1] == (pytest.approx(0.5), 12)
    assert tried(cooldown_s=0).tried.utilization > tried(cooldown_s=10).tried.utilization
    assert tried(successes=100).tried.history != tried(increase=8).tried.history
    low = tried(cap=8).tried
    assert low.refused == 0
    assert low.utilization == pytest.approx(8 / 32, abs=0.01)


def test_answers_are_small_enough_to_be_quick() -> None:
    busiest = tried(limit="fixed", capacity=48, cap=64).tried
    assert busiest.answered + busiest.refused < 12_000
    assert row_groups.ROWS * 3 <= 300


POLICIES = (
    StrictFair,
    BoundedBorrow,
    lambda: BoundedBorrow(0),
    lambda: BoundedBorrow(repayment="per_lease"),
)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("weights", [(1.0,), (2.0, 1.0), (1.0, 1.0, 4.0)])
def test_the_stepper_does_what_the_dispatcher_does(policy: Any, weights: tuple[float, ...]) -> None:
    stepper = Stepper(weights, 7, 3, policy())
    while stepper.kind != "done":
        stepper.step()
    assert stepper.started == dispatched(weights, 7, 3, policy())


def dispatched(weights: tuple[float, ...], tasks: int, slots: int, policy: TaskPolicy) -> list[str]:
    """The flows of the leases in order, the oldest lease ending whenever nothing may start."""
    flows = [
        Flow(FlowKey("custom_model", ("abc"[place],)), weight, ((SUBMISSION, 1),))
        for place, weight in enumerate(weights)
    ]
    admission = TaskAdmission({SUBMISSION: slots}, policy)
    for flow in flows:
        admission.register(flow)
    dispatcher = Dispatcher(admission)
    for flow in flows:
        name = str(flow.key.identity[0])
        for number in range(tasks):
            task = Task(name, 0, number)
            dispatcher.enqueue(ReadyTask(task, f"{name}{number}", flow, None, number))
    order, leases = [], []
    while True:
        step = dispatcher.next()
        if isinstance(step, Denied):
            continue
        if step is not None:
            order.append(step.ready.task.column)
            leases.append(step.lease)
        elif leases:
            dispatcher.release(leases.pop(0))
        else:
            return order


@pytest.mark.parametrize("policy", POLICIES)
def test_the_stepper_loses_no_slot_and_no_task(policy: Any) -> None:
    stepper = Stepper((2.0, 1.0), 6, 4, policy(), late_after=3)
    for _ in range(500):
        stepper.step()
        lines = stepper.lines
        held = sum(line.held for line in lines)
        assert held + stepper.free == 4
        assert held == len(stepper.started) - len(stepper.ended)
        assert all(0 <= line.debt <= line.held for line in lines)
        assert sum(line.is_next for line in lines) == (stepper.kind == "select")
    assert stepper.kind == "done"
    assert sorted(stepper.started) == ["a"] * 6 + ["b"] * 6


def test_a_late_flow_comes_even_if_it_was_waited_for_in_vain() -> None:
    stepper = Stepper((1.0, 1.0), 2, 4, StrictFair(), late_after=20)
    for _ in range(50):
        stepper.step()
    assert sorted(stepper.started) == ["a", "a", "b", "b"]


def test_steps_are_told_with_their_reasons_and_go_back() -> None:
    stepper = dd.explorers.fair_queue_stepper()
    said = [stepper.change(step=n).said for n in range(17)]
    assert said[1].startswith("a0 is next: its finish tag is the lowest")
    assert "above its flow's share" in said[8]
    assert "over_share" in said[16]
    assert stepper.change(step=8).said == said[8]
    line = stepper.answer.flows[0]
    assert (line.held, line.share, line.debt) == (4, 3, 1)
    assert stepper.change(slots=6).settings.step == 0


def test_row_groups_are_told_with_their_idle_causes() -> None:
    ask = row_groups.RowGroupSettings
    few, many = (row_groups.explore_row_groups(ask(open_groups=n)) for n in (1, 12))
    assert few.adaptive == many.adaptive
    assert few.fixed.wall_s > 1.5 * few.adaptive.wall_s
    assert dict(few.fixed.causes)[dd.IdleCause.HORIZON_CAP] > 0.3
    assert few.adaptive.wall_s >= few.adaptive.bound_s
    assert few.fixed.most_open == 1
    assert many.fixed.wall_s == pytest.approx(many.adaptive.wall_s, rel=0.05)
    slots = sum(value for _, value in few.fixed.busy[:-1]) / (len(few.fixed.busy) - 1)
    assert slots / 12 == pytest.approx(1 - few.fixed.idle, abs=0.02)


def pressed(**settings: Any) -> pressure.PressureAnswer:
    return pressure.explore_pressure(pressure.PressureSettings(**settings))


def test_pressure_tells_who_was_skipped_for_whom_and_what_waiting_costs() -> None:
    held, advised = pressed(), pressed(advisory=True)
    assert held.wall_s > 1.3 * held.bound_s
    assert (held.sent[0].task, held.sent[0].waited_s) == ("a_pressured/0/0", pytest.approx(0.05))
    assert held.skipped == 0
    assert held.lent_s == pytest.approx(0.05)
    first = advised.sent[0]
    assert (first.task, first.skipped, first.reason) == (
        "z_open/0/0",
        "a_pressured/0/0",
        "aggregate_cap",
    )
    assert advised.wall_s == pytest.approx(advised.bound_s)
    assert len(advised.sent) == 64
    assert pressed(waiting="yield").lent_s == 0
    assert pressed(held_ms=0).wall_s == pytest.approx(0.064)


@pytest.mark.parametrize(
    ("make", "bad", "field", "said"),
    [
        (aimd.AimdSettings, {"decrease": 1.0}, "decrease", "is 1.0"),
        (aimd.AimdSettings, {"limit": "newest"}, "limit", "'newest'"),
        (aimd.AimdSettings, {"speed": 1}, "speed", "is no setting; there are limit"),
        (fair_queue.FairQueueSettings, {"weights": "2, x"}, "weights", "numbers with commas"),
        (fair_queue.FairQueueSettings, {"weights": "1, 0"}, "weights", "above 0"),
        (fair_queue.FairQueueSettings, {"weights": "1," * 6 + "1"}, "weights", "there are 7"),
        (
            fair_queue.FairQueueSettings,
            {"policy": "strict_fair", "ceiling": "0"},
            "ceiling",
            "strict fair has no use for it",
        ),
        (row_groups.RowGroupSettings, {"open_groups": 0}, "open_groups", "is 0"),
        (pressure.PressureSettings, {"waiting": "leave"}, "waiting", "'leave'"),
    ],
)
def test_a_refused_setting_names_its_field(make: Any, bad: Any, field: str, said: str) -> None:
    with pytest.raises(SettingsRefused) as refused:
        make(**bad)
    assert isinstance(refused.value, ConfigError)
    assert list(refused.value.complaints) == [field]
    assert said in refused.value.complaints[field]
    assert f"{make.__name__}: {field} " in str(refused.value)


def test_a_refused_change_changes_nothing() -> None:
    explorer = dd.explorers.pressure_explorer()
    before = repr(explorer)
    with pytest.raises(SettingsRefused):
        explorer.change(rows=1, advisory=True)
    assert repr(explorer) == before
    explorer.change(advisory=True)
    assert "advisory on" in repr(explorer)


def test_a_drawing_escapes_what_it_is_told() -> None:
    plot = Plot('<said> "so"', x_max=10, lanes=["<lane>"], x_title="<x>")
    plot.spans([Span(0, 5, 0, "first")])
    plot.upright(9.9, "<word>")
    drawn = plot.html() + legend([("line", "first", "<name>")])
    assert "<said>" not in drawn
    assert "<lane>" not in drawn
    assert all(f"&lt;{word}&gt;" in drawn for word in ("lane", "x", "word", "name"))


def test_means_keep_what_lies_under_a_line() -> None:
    points = [(0.0, 2.0), (1.0, 6.0), (3.5, 1.0)]
    found = means(points, 4.0, 8)
    assert sum(value for _, value in found[:-1]) * 0.5 == pytest.approx(2 + 2.5 * 6 + 0.5)
    assert [at for at, _ in found] == [n / 2 for n in range(9)]
    assert means([], 4.0, 8) == []
