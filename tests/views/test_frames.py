"""What is drawn of a run: shapes, frames, changes; what is left; what happened, in words."""

# ruff: noqa: E501
from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from ddsched_nb.aio.progress import RowError
from ddsched_nb.aio.statistics import FlowStanding, RunStatistics
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import FlowKey, PoolKey
from ddsched_nb.views.frames import change, errors_of, flow_name, frame_of, shape_of
from ddsched_nb.views.notes import Notes
from ddsched_nb.views.outlook import Outlook

Make = Callable[..., RunStatistics]
POOL = PoolKey("local", "writer")


def test_a_shape_names_models_in_one_order(stats: Make) -> None:
    given = stats(flows=(FlowStanding(("a", "b", "c"), 1, 2, 3, 4),))
    turned = stats(pools=given.pools[::-1], flows=given.flows)
    assert shape_of(given) == shape_of(turned)
    assert shape_of(given) == {
        "rows": 400,
        "groups": 8,
        "columns": [["topic", ""], ["question", "writer"], ["grade", "judge"]],
        "pools": ["local/judge-large", "local/writer-small"],
        "flows": ["a, b and 1 more"],
    }
    assert flow_name(("a", "b")) == "a, b"


def test_a_frame_holds_what_json_holds(stats: Make) -> None:
    flows = (FlowStanding(("a",), 5, 2, 3, 1),)
    idle = (("cooldown", 4), ("pacing", 1))
    frame = frame_of(stats(flows=flows, idle=idle), 12.345, (7.4, 19.6))
    assert json.loads(json.dumps(frame)) == frame
    assert frame["pools"] == [[4, 5, 8, 3, 31, 9.5, 0], [9, 12, 32, 3, 4, 0, 0]]
    assert (frame["rate"], frame["left"]) == (12.0, [7, 20])
    assert frame["opened"] == [[2, 0.5], [3, 0.0]]
    assert frame["flows"] == [[5, 2, 3, 1]]
    assert frame["idle"] == [["cooldown", 4], ["pacing", 1]]
    assert frame["error"] is None, "a running run has not failed, whatever was dropped"
    assert frame_of(stats(state="failed", last_error="x"))["error"] == "x"


def test_a_change_is_what_makes_the_next_frame(stats: Make) -> None:
    before, after = frame_of(stats()), frame_of(stats(rows_finished=101, state="paused"))
    assert change(before, after) == {"rows": [101, 2, 0], "state": "paused"}
    assert change(before, before) == {}
    columns = {**before, "columns": [[400, 0], [201, 9], [100, 4]]}
    assert change(before, columns) == {"columns": {"1": [201, 9]}}
    most = {**before, "columns": [[1, 0], [2, 0], [100, 4]]}
    assert change(before, most) == {"columns": [[1, 0], [2, 0], [100, 4]]}
    fewer = {**before, "columns": [[1, 0]]}
    assert change(before, fewer) == {"columns": [[1, 0]]}


def test_errors_say_where(stats: Make) -> None:
    errors = (RowError(3, "grade", "KeyError"), RowError(None, "topic", "refused", "secret"))
    assert errors_of(stats(errors=errors)) == [["grade, row 3", "KeyError"], ["topic", "refused"]]


def heard(shares: Iterable[tuple[float, float, bool]]) -> Outlook:
    outlook = Outlook()
    for at, share, active in shares:
        outlook.see(at, share, active=active)
    return outlook


def test_an_even_pace_leaves_no_doubt() -> None:
    pace = heard((t / 5, t / 500, True) for t in range(251)).pace()
    assert pace is not None
    assert pace.share_per_s == pytest.approx(0.01)
    assert pace.left_s == pytest.approx((50, 50))


def test_an_uneven_pace_leaves_some_and_the_truth_is_within() -> None:
    share, shares = 0.0, []
    for tick in range(251):
        shares.append((tick / 5, share, True))
        share += 0.002 * (1 + 0.9 * math.sin(tick / 7))
    pace = heard(shares).pace()
    assert pace is not None
    least, most = pace.left_s
    truth = (1 - shares[-1][1]) / 0.01
    assert least < 0.97 * truth < 1.03 * truth < most
    assert most < 3 * truth


def test_pauses_are_not_time_and_a_start_says_nothing() -> None:
    paused = [(t / 5, min(t, 100) / 500, t <= 100) for t in range(400)]
    pace = heard(paused).pace()
    assert pace is not None
    assert pace.left_s == pytest.approx((80, 80), rel=0.05)
    assert heard([]).pace() is None
    assert heard((t / 5, 0.0, True) for t in range(100)).pace() is None


def words(*events: ev.Event) -> list[tuple[str, int]]:
    notes = Notes()
    notes.read(events)
    return [(note.text, note.times) for note in notes.notes]


def test_a_fall_says_what_the_refusal_asked() -> None:
    refused = ev.RequestRateLimited(1.0, 1, POOL, 7, 2.0, 23, 24)
    fell = ev.RequestLimitDecreased(1.0, 2, POOL, 24, 18, "rate_limited", 7)
    assert words(refused, fell) == [
        ("local/writer refused a call, 24 in flight, retry after 2.0 s", 1),
        ("limit of local/writer 24 \u2192 18: refused, retry after 2.0 s", 1),
    ]


def test_the_same_again_within_a_second_is_counted_also_where_two_take_turns() -> None:
    told = []
    for index in range(4):
        told.append(ev.RequestRateLimited(1 + index / 8, 1, POOL, index, None, 3, 4))
        told.append(
            ev.RequestLimitIncreased(1 + index / 8, 2, POOL, 4 + index, 5 + index, "success")
        )
    assert words(
        *told, ev.RunPaused(2.0, 3), ev.RequestRateLimited(9.0, 1, POOL, 9, None, 3, 4)
    ) == [
        ("local/writer refused a call, 4 in flight", 4),
        ("limit of local/writer 7 \u2192 8", 4),
        ("paused", 1),
        ("local/writer refused a call, 4 in flight", 1),
    ]


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (ev.RequestCooldownStarted(1.0, 1, POOL, 1.5, "tokens"), "local/writer pauses for 500 ms: its tokens a minute are spent"),
        (ev.RequestFullyRecovered(9.0, 1, POOL, 4.0), "local/writer answers again, after 5.0 s of nothing"),
        (ev.RequestLimitDecreased(1.0, 1, POOL, 9, 2, "asked"), "limit of local/writer 9 \u2192 2: as you asked"),
        (ev.RequestEffectiveCapChanged(1.0, 1, POOL, 8, 8), "cap of local/writer is 8 now"),
        (ev.RowGroupAdmissionTargetChanged(1.0, 1, 1, 2, "slots_without_work"), "row groups that may be open 1 \u2192 2: slots without work"),
        (ev.RowGroupCheckpointed(1.0, 1, 4, 48, 2), "row group 4 finished: 48 rows, 2 dropped"),
        (ev.NonRetryableDropped(1.0, 1, "grade/0/3", 3, "KeyError"), "row 3 dropped by grade/0/3: KeyError"),
        (ev.RetryDeferred(1.0, 1, "grade/0/3", 2.0, 1, "timeout"), "grade/0/3 is put aside to be tried again: timeout"),
        (ev.RequestPressureAdvisorySkipped(1.0, 1, "a/0/1", FlowKey("model", ("a",)), POOL, "waiters", "b/0/1"), "a task of local/writer let another go first: calls wait for its model"),
        (ev.RunAdjusted(1.0, 1, "row_groups", "adaptive", "3"), "row_groups adaptive \u2192 3, as you asked"),
        (ev.SchedulerLoopLagged(1.0, 1, 0.25), "the event loop came back 250 ms late"),
    ],
    ids=lambda given: given if isinstance(given, str) else given.kind,
)  # fmt: skip
def test_events_in_words(event: ev.Event, text: str) -> None:
    assert words(event) == [(text, 1)]


def test_most_events_are_none_of_its_business_and_it_forgets() -> None:
    notes = Notes(kept=3)
    notes.read([ev.RequestLeaseAcquired(1.0, 1, POOL, 1, 1, 1, 4)])
    assert notes.total == 0
    for index in range(2_000):
        notes(ev.RequestRateLimited(2.0 * index, 1, POOL, index, 1.0, 3, 4))
    assert len(notes.notes) == 3
    assert notes.total == 2_000
    remembered: Any = notes._asked
    assert len(remembered) <= 512
