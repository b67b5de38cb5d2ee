"""The trace of a record: its form, and what Perfetto's importer would make of it.

Perfetto's own trace processor is a binary that its package fetches on first use; it is not here.
`imported` does what its JSON importer does, as read in its source, with slices and arrows.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, strategies as st

import ddsched_nb as dd
from ddsched_nb.analysis.metrics import metrics
from ddsched_nb.bench.perfetto.spans import SLOTS, Span, split_task_id
from ddsched_nb.bench.perfetto.trace import perfetto_trace
from ddsched_nb.bench.perfetto.tracks import lay_out
from ddsched_nb.bench.suite.cases import CASES, OWN_CASES
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import FlowKey, PoolKey
from ddsched_nb.errors import RecordError, RunCancelled
from ddsched_nb.record import RunRecord
from ddsched_nb.sim.record import SimulatedRecord
from ddsched_nb.sim.simulate import simulate
from ddsched_nb.workloads import find_workload

Json = dict[str, Any]

WORKS = {
    case.name: case.workload
    for case in (*CASES, *OWN_CASES)
    if case.name in ("adaptive-request-pressure-combined", "adaptive-request-pressure-yield")
} | {name: find_workload(name) for name in ("tight", "dropped-rows", "whole-groups", "drop")}
COMBINED = "adaptive-request-pressure-combined"
ROWS = {"drop": 60, "tight": 160}


@functools.cache
def record_of(name: str) -> SimulatedRecord:
    return simulate(WORKS[name], rows=ROWS.get(name))


@functools.cache
def trace_of(name: str) -> bytes:
    return perfetto_trace(record_of(name)).encode()


def drawn(name: str) -> list[Json]:
    return json.loads(trace_of(name))["traceEvents"]


def events_of(record: RunRecord) -> list[Json]:
    return json.loads(perfetto_trace(record).encode())["traceEvents"]


every_work = pytest.mark.parametrize("name", WORKS)

REQUIRED = {
    "M": {"args"},
    "X": {"ts", "dur", "cat", "args"},
    "s": {"ts", "id", "cat"},
    "t": {"ts", "id", "cat"},
    "f": {"ts", "id", "cat", "bp"},
    "i": {"ts", "s", "args"},
    "C": {"ts", "args"},
}


def malformed(events: list[Json]) -> Iterator[str]:
    for event in events:
        wanted = {"ph", "pid", "tid", "name"} | REQUIRED[event["ph"]]
        if set(event) != wanted:
            yield f"{event}: has not {wanted}"
        for key in ("pid", "tid", "ts", "dur", "id"):
            if key in event and (type(event[key]) is not int or event[key] < 0):
                yield f"{event}: {key} is no whole number"
        if event["ph"] == "C" and not all(type(v) is int for v in event["args"].values()):
            yield f"{event}: counts no number"
        if event["ph"] == "i" and event["s"] != "t":
            yield f"{event}: an instant without a track"


def out_of_order(events: list[Json]) -> Iterator[str]:
    times = [event["ts"] for event in events if event["ph"] != "M"]
    if times != sorted(times):
        yield "not in the order of time"
    if any(event["ph"] == "M" for event in events[len(events) - len(times) :]):
        yield "a name after what it names"


def overlapping(events: list[Json]) -> Iterator[str]:
    """Slices that begin before the one before them on their track has ended."""
    on_track: dict[tuple[int, int], list[Json]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            on_track[event["pid"], event["tid"]].append(event)
    for slices in on_track.values():
        slices.sort(key=lambda event: (event["ts"], event["dur"]))
        for one, next_one in pairwise(slices):
            if next_one["ts"] < one["ts"] + one["dur"]:
                yield f"{one} overlaps {next_one}"


def unnamed(events: list[Json]) -> Iterator[str]:
    said = {(e["name"], e["pid"], e["tid"]) for e in events if e["ph"] == "M"}
    processes = {pid for name, pid, _ in said if name == "process_name"}
    sorted_processes = {pid for name, pid, _ in said if name == "process_sort_index"}
    for event in events:
        pid, tid = event["pid"], event["tid"]
        if pid not in processes & sorted_processes:
            yield f"process {pid} has no name or place"
        if not {("thread_name", pid, tid), ("thread_sort_index", pid, tid)} <= said:
            yield f"track {tid} of process {pid} has no name or place"
    tids = {tid: {pid for _, pid, t in said if t == tid} for _, _, tid in said}
    yield from (
        f"track {tid} is in {len(pids)} processes" for tid, pids in tids.items() if len(pids) > 1
    )


def unjoined(events: list[Json]) -> Iterator[str]:
    """Arrows without one start and one end."""
    phases: dict[int, list[str]] = defaultdict(list)
    for event in events:
        if event["ph"] in "stf":
            phases[event["id"]].append(event["ph"])
    for number, found in phases.items():
        if "".join(found) not in ("sf", "stf"):
            yield f"arrow {number} is {found}"


def repeated(events: list[Json]) -> Iterator[str]:
    """Counters that are said to change and do not, or twice at one instant."""
    last: dict[tuple[int, str, str], tuple[int, int]] = {}
    for event in events:
        for key, value in event["args"].items() if event["ph"] == "C" else ():
            series = (event["pid"], event["name"], key)
            at, before = last.get(series, (-1, -1))
            if before == value or at >= event["ts"] or value < 0:
                yield f"{series}: {before} at {at}, {value} at {event['ts']}"
            last[series] = event["ts"], value


Check = Callable[[list[Json]], Iterator[str]]
CHECKS: tuple[Check, ...] = (
    malformed,
    out_of_order,
    overlapping,
    unnamed,
    unjoined,
    repeated,
)


def complaints(events: list[Json]) -> list[str]:
    return [said for check in CHECKS for said in check(events)]


@every_work
def test_the_form(name: str) -> None:
    assert complaints(drawn(name)) == []


class Imported(NamedTuple):
    """What an importer makes of a trace: slices it dropped, depths, and arrows between slices."""

    dropped: list[Json]
    nested: list[Json]
    arrows: list[tuple[Json, Json]]
    lost: list[Json]


def imported(events: list[Json], *, long_first: bool) -> Imported:
    """Perfetto's slice and flow trackers; newer ones take longer slices of an instant first."""

    def order(event: Json) -> tuple[int, float]:
        first = -event["dur"] if event["ph"] == "X" and long_first else 1
        return event["ts"], first if long_first else 0

    stacks: dict[int, list[Json]] = defaultdict(list)
    found = Imported([], [], [], [])
    starts: dict[int, Json] = {}
    for event in sorted((e for e in events if e["ph"] != "M"), key=order):
        stack = stacks[event["tid"]]
        if event["ph"] == "X":
            ts, dur = event["ts"], event["dur"]
            while stack:
                end, both = stack[-1]["ts"] + stack[-1]["dur"], stack[-1]["dur"] == dur == 0
                if end > ts or (end == ts and both):
                    break
                stack.pop()
            if stack and ts < stack[-1]["ts"] + stack[-1]["dur"] < ts + dur:
                found.dropped.append(event)
                continue
            if stack and dur:
                found.nested.append(event)
            stack.append(event)
        elif event["ph"] in "stf":
            if not stack:
                found.lost.append(event)
                continue
            if event["ph"] != "s":
                found.arrows.append((starts[event["id"]], stack[-1]))
            starts[event["id"]] = stack[-1]
    return found


@every_work
@pytest.mark.parametrize("long_first", [True, False])
def test_an_importer_keeps_every_slice_and_joins_the_right_ones(
    name: str, long_first: bool
) -> None:
    record = record_of(name)
    found = imported(drawn(name), long_first=long_first)
    assert (found.dropped, found.nested, found.lost) == ([], [], [])
    kinds = Counter((a["cat"], b["cat"]) for a, b in found.arrows)
    asked = sum(e.task_id is not None for e in record.select(ev.RequestWaitStarted))
    sent = len(record.select(ev.ModelRequestStarted))
    assert kinds["task", "wait"] == asked
    assert kinds["wait", "request"] == sent
    assert set(kinds) <= {("task", "wait"), ("wait", "request"), ("wait", "permit")}
    for start, end in found.arrows:
        assert start["args"].get("task") == end["args"].get("task")
        assert start["ts"] <= end["ts"]


def test_an_importer_drops_what_overlaps() -> None:
    events = [slice_of(1, 0, 10), slice_of(1, 5, 10), slice_of(2, 0, 10), slice_of(2, 10, 3)]
    assert imported(events, long_first=True).dropped == [events[1]]
    assert list(overlapping(events)) != []


def slice_of(tid: int, ts: int, dur: int) -> Json:
    return {
        "ph": "X",
        "pid": 1,
        "tid": tid,
        "ts": ts,
        "dur": dur,
        "name": "",
        "cat": "",
        "args": {},
    }


BROKEN: tuple[tuple[Check, Callable[[list[Json]], object]], ...] = (
    (malformed, lambda events: events[-1].pop("ts")),
    (malformed, lambda events: events[-1].update(ts=1.5)),
    (out_of_order, lambda events: events.reverse()),
    (overlapping, lambda events: [e.update(dur=10**9) for e in events if e["ph"] == "X"]),
    (unnamed, lambda events: events.pop(0)),
    (unnamed, lambda events: [e.update(tid=1) for e in events if e["name"] == "thread_name"]),
    (unjoined, lambda events: events.remove(next(e for e in events if e["ph"] == "f"))),
    (repeated, lambda events: events.append(next(e for e in events[::-1] if e["ph"] == "C"))),
)


@pytest.mark.parametrize(("check", "spoil"), BROKEN)
def test_a_check_sees_what_is_broken(check: Check, spoil: Callable[[list[Json]], object]) -> None:
    events = drawn(COMBINED)
    spoil(events)
    assert next(check(events), None) is not None


def test_every_check_is_shown_to_see_something() -> None:
    assert {check for check, _ in BROKEN} == set(CHECKS)


@every_work
def test_every_slice_is_there_once_and_as_long_as_it_lasted(name: str) -> None:
    record = record_of(name)
    slices = [e for e in drawn(name) if e["ph"] == "X"]
    found = Counter(e["cat"] for e in slices)
    yielded = len(record.select(ev.TaskSlotsYielded))
    assert found == {
        "row_group": len(record.select(ev.RowGroupAdmitted)),
        "task": len(record.select(ev.WorkerSpawned)),
        "lease": len(record.select(ev.TaskLeaseAcquired, ev.TaskSlotsRetaken)),
        "wait": len(record.select(ev.RequestWaitStarted)),
        "permit": len(record.select(ev.RequestLeaseAcquired)),
        "request": len(record.select(ev.ModelRequestStarted)),
        **({"aside": yielded} if yielded else {}),
    }
    served = sum(e.seconds for e in record.select(ev.ModelRequestCompleted))
    lasted = sum(e["dur"] for e in slices if e["cat"] == "request") / 1e6
    assert lasted == pytest.approx(served, abs=1e-6 * found["request"])
    outcomes = Counter(e["args"]["outcome"] for e in slices if e["cat"] == "request")
    assert outcomes == Counter(str(e.outcome) for e in record.select(ev.ModelRequestCompleted))


@every_work
def test_there_are_as_many_tracks_as_things_at_once(name: str) -> None:
    events = drawn(name)
    names = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    tracks: dict[tuple[int, str], set[int]] = defaultdict(set)
    edges: dict[tuple[int, str], list[tuple[int, int]]] = defaultdict(list)
    for event in (e for e in events if e["ph"] == "X"):
        lane = event["pid"], names[event["tid"]].split()[0]
        tracks[lane].add(event["tid"])
        # A slice that an arrow meets has its microsecond to itself.
        length = max(event["dur"], event["cat"] in ("task", "wait", "permit", "request"))
        edges[lane] += [(event["ts"], 1), (event["ts"] + length, -1)]
    for lane, changes in edges.items():
        at_once = most = 0
        for _, change in sorted(changes):
            at_once += change
            most = max(most, at_once)
        # Slices without length, of which many may share a track, need one.
        assert len(tracks[lane]) <= max(most, 1), lane
        assert lane[1] != "slot" or len(tracks[lane]) == most


@every_work
def test_counters_agree_with_the_metrics(name: str) -> None:
    record = record_of(name)
    events = drawn(name)
    end = max(e["ts"] for e in events if e["ph"] != "M")
    names = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    series: dict[tuple[str, str, str], list[tuple[int, int]]] = defaultdict(list)
    for event in (e for e in events if e["ph"] == "C"):
        for key, value in event["args"].items():
            series[names[event["pid"]], event["name"], key].append((event["ts"], value))
    for (_, _, key), points in series.items():
        assert key in ("limit", "target") or points[-1][1] == 0, "nothing is left at the end"
    found = metrics(record)
    for resource, busy in found.scheduler.items():
        points = series["task slots", resource, "leased"]
        assert max(value for _, value in points) == busy.max_in_flight
        assert integral(points, end) == pytest.approx(busy.busy_s, abs=2e-6 * len(points))
    for label, busy in found.requests.items():
        points = series[f"pool {label}", "requests", "in flight"]
        assert integral(points, end) == pytest.approx(busy.busy_s, abs=2e-6 * len(points))
    groups = series["row groups", "row groups", "open"]
    assert max(value for _, value in groups) >= 1


def integral(points: list[tuple[int, int]], end: int) -> float:
    ends = [*points[1:], (end, 0)]
    return sum((b[0] - a[0]) * a[1] for a, b in zip(points, ends, strict=True)) / 1e6


def test_only_what_is_rare_is_an_instant() -> None:
    record = record_of("tight")
    found = Counter(e["name"] for e in drawn("tight") if e["ph"] == "i")
    kinds = (
        ev.RequestRateLimited,
        ev.LimitMoved,
        ev.RequestPressureAdvisorySkipped,
        ev.RowGroupAdmissionTargetChanged,
        ev.SchedulerJobStarted,
        ev.SchedulerJobCompleted,
    )
    assert found == Counter(event.kind for event in record.select(*kinds))
    drops = [e for e in drawn("dropped-rows") if e["name"] == "non_retryable_dropped"]
    assert len(drops) == 30


def test_it_is_small() -> None:
    assert len(perfetto_trace(record_of(COMBINED)).encode()) < 500_000  # the reference: 15.5 MB


@every_work
def test_a_saved_record_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    direct = perfetto_trace(record_of(name))
    loaded = RunRecord.load(record_of(name).save(tmp_path / "run.jsonl"))
    again = perfetto_trace(loaded).save(tmp_path / "trace.json")
    assert again.read_bytes() == direct.encode()


@pytest.mark.parametrize("name", [COMBINED, "tight", "dropped-rows"])
def test_a_record_that_ends_early_is_closed_at_its_last_event(name: str) -> None:
    whole = record_of(name)
    part = RunRecord(list(whole.events)[: len(whole) // 2])
    events = events_of(part)
    assert complaints(events) == []
    end = round((part.events[-1].at - part.events[0].at) * 1e6)
    cut = [e for e in events if e["ph"] == "X" and "cut" in e["args"]]
    assert {e["args"]["cut"] for e in cut} == {"end"}
    assert {e["ts"] + e["dur"] for e in cut} == {end}
    begun, ended = (len(part.select(kind)) for kind in (ev.WorkerSpawned, ev.TaskCompleted))
    assert sum(e["cat"] == "task" for e in cut) == begun - ended > 0


@pytest.mark.parametrize("name", [COMBINED, "tight", "dropped-rows"])
def test_a_record_that_lost_its_beginning_starts_at_its_first_event(name: str) -> None:
    whole = record_of(name)
    part = RunRecord(whole.events, keep=len(whole) // 2)
    trace = perfetto_trace(part)
    assert trace.metadata["truncated"]
    events = events_of(part)
    assert complaints(events) == []
    cut = [e for e in events if e["ph"] == "X" and "cut" in e["args"]]
    assert {e["args"]["cut"] for e in cut} == {"start"}
    assert {e["ts"] for e in cut} == {0}
    ended = len(part.select(ev.ModelRequestCompleted))
    assert sum(e["ph"] == "X" and e["cat"] == "request" for e in events) == ended


def test_a_limiter_alone_and_waits_that_fail() -> None:
    pool = PoolKey("p", "m")
    record = RunRecord(
        [
            ev.RequestWaitStarted(5.0, 1, pool, 1, None, 1),
            ev.RequestLeaseAcquired(5.0, 2, pool, 9, 1, 1, 4),
            ev.RequestWaitStarted(5.5, 3, pool, 2, None, 1),
            ev.RequestWaitStarted(5.5, 4, pool, 3, None, 2),
            ev.RequestWaitTimeout(6.0, 5, pool, 2),
            ev.RequestWaitCancelled(6.25, 6, pool, 3),
        ]
    )
    events = events_of(record)
    assert complaints(events) == []
    slices = [
        (e["cat"], e["ts"], e["dur"], e["args"].get("outcome"), e["args"].get("cut"))
        for e in events
        if e["ph"] == "X"
    ]
    assert slices == [
        ("wait", 0, 0, "acquired", None),
        ("permit", 0, 1_250_000, None, "end"),
        ("wait", 500_000, 500_000, "timeout", None),
        ("wait", 500_000, 750_000, "cancelled", None),
    ]
    assert [(a["cat"], b["cat"]) for a, b in imported(events, long_first=True).arrows] == [
        ("wait", "permit")
    ]


def test_an_empty_record_is_an_empty_trace() -> None:
    assert {e["ph"] for e in events_of(RunRecord())} == {"M"}


spans = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 4), st.booleans()), max_size=40)


@given(spans)
def test_slots_are_as_few_as_can_be_and_never_overlap(given_spans: list[Any]) -> None:
    made = [
        Span(SLOTS, "slot", "", "lease", start, start + length, linked=linked)
        for start, length, linked in given_spans
    ]
    made.sort(key=lambda span: span.order)
    slots = lay_out(made, ()).slots
    ends: dict[int, int] = {}
    starts: set[tuple[int, int]] = set()
    for span, slot in zip(made, slots, strict=True):
        assert ends.get(slot, 0) <= span.start
        assert not (span.linked and (slot, span.start) in starts)
        starts.add((slot, span.start))
        ends[slot] = max(span.end, span.start + span.linked)
    at_once = (
        sum(s.start <= at < max(s.end, s.start + s.linked) for s in made) for at in range(20)
    )
    instants = any(s.start == s.end and not s.linked for s in made)
    assert len(set(slots)) <= max(at_once) + instants


@pytest.mark.parametrize(
    ("task_id", "parts"),
    [("a/0/12", ("a", 0, 12)), ("a/3", ("a", 3, None)), ("x/y/3/4", ("x/y", 3, 4))],
)
def test_the_name_of_a_task_says_what_it_is(task_id: str, parts: tuple[object, ...]) -> None:
    assert split_task_id(task_id) == parts


def test_a_trace_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot write the trace"):
        perfetto_trace(RunRecord()).save(tmp_path / "no" / "trace.json")


async def test_a_real_run_that_is_paused_and_cancelled() -> None:
    profile = dd.EndpointProfile(model="m", capacity=4, latency=0.02, retry_after_s=0.05)
    with dd.EmbeddedEndpoint([profile]) as endpoint:
        pipeline = dd.Pipeline(
            providers=[dd.OpenAICompatible("here", base_url=endpoint.base_url)],
            models=[dd.Model("writer", provider="here", id="m", max_parallel_requests=8)],
            columns=[dd.ModelColumn("text", model="writer", prompt="Write {{ n }}.")],
        )
        config = dd.RunConfig(progress=False)
        run = dd.start(pipeline, table={"n": list(range(200))}, config=config)
        await asyncio.sleep(0.2)
        run.pause()
        run.resume()
        run.cancel()
        with pytest.raises(RunCancelled):
            await run
    events = events_of(run.record)
    assert complaints(events) == []
    found = imported(events, long_first=True)
    assert (found.dropped, found.nested, found.lost) == ([], [], [])
    assert {"run_paused", "run_resumed", "cancelled"} <= {e["name"] for e in events}
    # What was asked and not answered ends with its task; the row groups are left open.
    cut = {e["cat"] for e in events if e["ph"] == "X" and "cut" in e["args"]}
    assert cut == {"row_group"}


def test_an_arrow_starts_within_its_task_where_the_next_begins_in_the_same_microsecond() -> None:
    pool = PoolKey("p", "m")
    us = 1e-6
    record = RunRecord(
        [
            ev.WorkerSpawned(0.0, 1, "a/0/0", "a", 0, 0),
            ev.RequestWaitStarted(9.6 * us, 1, pool, 1, "a/0/0", 1),
            ev.RequestWaitCancelled(9.7 * us, 2, pool, 1),
            ev.TaskCompleted(9.8 * us, 2, "a/0/0", "cancelled"),
            ev.WorkerSpawned(9.9 * us, 3, "a/0/1", "a", 0, 1),
            ev.TaskCompleted(30 * us, 4, "a/0/1", "done"),
        ]
    )
    events = events_of(record)
    tasks = [e for e in events if e["ph"] == "X" and e["cat"] == "task"]
    assert [(e["tid"], e["ts"], e["dur"]) for e in tasks] == [
        (tasks[0]["tid"], 0, 10),
        (tasks[0]["tid"], 10, 20),
    ]
    for long_first in (True, False):
        [(start, end)] = imported(events, long_first=long_first).arrows
        assert (start["args"]["task"], end["args"]["task"]) == ("a/0/0", "a/0/0")


def test_what_a_dropped_row_had_queued_leaves_the_queue_with_it() -> None:
    flow = FlowKey("local", ("a",))
    shape = ev.FlowShape(flow.label, 1.0, {"submission": 1})
    record = RunRecord(
        [
            ev.SchedulerJobStarted(0.0, 1, 2, 1, ("a",), {"submission": 4}, {"a": shape}),
            ev.ReadyEnqueued(1.0, 2, "a/0/0", flow),
            ev.ReadyEnqueued(1.0, 3, "a/0/1", flow),
            ev.ReadyEnqueued(1.0, 4, "b/0/1", flow),
            ev.NonRetryableDropped(2.0, 5, "c/0/1", 1, "rejected"),
            ev.RowGroupCheckpointed(3.0, 6, 0, 1, 1),
        ]
    )
    levels = [(e["ts"], e["args"]) for e in events_of(record) if e["ph"] == "C"]
    assert [(at, found["queued"]) for at, found in levels if "queued" in found] == [
        (0, 0),
        (1_000_000, 3),
        (2_000_000, 1),
        (3_000_000, 0),
    ]
