"""A run that is over, played: frames from a record, and what a notebook gets of them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

import ddsched_nb as dd
from ddsched_nb.core import events as ev
from ddsched_nb.errors import ConfigError
from ddsched_nb.views.frames import frame_of
from ddsched_nb.views.playback import Track, track_of
from ddsched_nb.views.watching import Watch

ROWS = ("columns", "pools", "flows")


def moments(track: Track) -> list[dict[str, Any]]:
    """All frames whole, as a browser makes them out of changes."""
    frames = [track.frames[0]]
    for change in track.frames[1:]:
        frame = dict(frames[-1])
        for name, value in change.items():
            if name in ROWS and isinstance(value, dict):
                rows = list(frame[name])
                for index, row in value.items():
                    rows[int(index)] = row
                frame[name] = rows
            else:
                frame[name] = value
        frames.append(frame)
    return frames


@pytest.mark.parametrize("workload", ["tight", "outage-and-recovery", "dropped-rows", "fan-in"])
def test_the_last_frame_is_how_the_run_ended(workload: str) -> None:
    record = dd.simulate(workload)
    track = track_of(record.events)
    frames, ended = moments(track), frame_of(record.result.statistics)
    assert frames[-1] == track.last
    for name in ("state", "rows", "columns", "slots", "lost"):
        assert track.last[name] == ended[name], name
    # Not the limit: a breath that it takes ends with time alone, and no event tells of it.
    for name in (0, 2, 3, 4):
        assert [p[name] for p in track.last["pools"]] == [p[name] for p in ended["pools"]]
    assert track.last["groups"][:2] == ended["groups"][:2]
    assert [flow[:3] for flow in track.last["flows"]] == [flow[:3] for flow in ended["flows"]]
    assert len(frames) == 300
    assert json.loads(json.dumps(track.frames)) == track.frames


def test_frames_say_what_was_true_in_between() -> None:
    record = dd.simulate("tight")
    frames = moments(track_of(record.events))
    pools = [key.label for key in sorted({e.pool for e in record.select(ev.RequestLeaseAcquired)})]
    for frame in frames[:: len(frames) // 20]:
        for place, label in enumerate(pools):
            seen = [
                e
                for e in record.select(ev.RequestLeaseAcquired, ev.RequestLeaseReleased)
                if e.pool.label == label and e.at <= frame["t"] - 1e-3
            ]
            later = [
                e
                for e in record.select(ev.RequestLeaseAcquired, ev.RequestLeaseReleased)
                if e.pool.label == label and abs(e.at - frame["t"]) <= 1e-3
            ]
            if seen and not later:
                assert frame["pools"][place][0] == seen[-1].in_flight
    done = [sum(column[0] for column in frame["columns"]) for frame in frames]
    assert done == sorted(done)
    held = [frame["slots"][0] for frame in frames]
    assert max(held) == 32, "those that wait for their model step aside"
    assert all(h <= sum(c[1] for c in f["columns"]) for h, f in zip(held, frames, strict=True))


def test_idle_slots_of_frames_sum_to_what_explain_idle_says() -> None:
    record = dd.simulate("tight")
    track = track_of(record.events)
    frames = moments(track)
    width = track.duration_s / (len(frames) - 1)
    found = sum(n for frame in frames[1:] for _, n in frame["idle"]) * width
    report = dd.explain_idle(record)
    pools = [each for each in report.resources if each.name.startswith("local/")]
    assert len(pools) == 2
    assert found == pytest.approx(sum(each.idle_s for each in pools), rel=0.01)


def test_notes_errors_and_refusals_come_with_their_seconds() -> None:
    record = dd.simulate("dropped-rows")
    track = track_of(record.events)
    assert len(track.errors) == len(record.select(ev.NonRetryableDropped)) > 0
    assert all(0 <= at <= track.duration_s for at, *_ in track.errors)
    tight = dd.simulate("tight")
    assert len(track_of(tight.events).refusals) == tight.result.refused == 11


def test_a_truncated_record_can_be_watched() -> None:
    record = dd.simulate("tight")
    kept = dd.RunRecord(record.events, keep=3_000)
    assert kept.truncated
    assert repr(dd.watch(kept)).endswith("; the record is cut: its beginning is missing")
    assert track_of(kept.events).last["pools"][0][0] == 0


def test_what_cannot_be_watched_is_refused_with_words() -> None:
    with pytest.raises(ConfigError, match="holds no events"):
        dd.watch(dd.RunRecord())
    for wrong in (3, None, [1, 2], dd.start):
        with pytest.raises(ConfigError, match="cannot be drawn; give a record"):
            dd.watch(wrong)
    with pytest.raises(ConfigError, match="frames is 1"):
        dd.watch(dd.simulate("generous"), frames=1)
    with pytest.raises(ConfigError, match="given 3 records"):
        dd.watch(dict.fromkeys("abc", dd.simulate("generous")))


def test_a_notebook_gets_a_widget_and_the_facts() -> None:
    import ipywidgets

    before = set(ipywidgets.widgets.widget._instances)
    shown = dd.watch({"tight": dd.simulate("tight"), "drop": dd.simulate("drop")})
    data = shown._repr_mimebundle_()
    data = data[0] if isinstance(data, tuple) else data
    assert data["text/plain"].startswith("tight: 25.91 s, 512 rows, 2 models, 11 refusals\ndrop: ")
    assert "application/vnd.jupyter.widget-view+json" in data
    assert [track["name"] for track in shown.widget.first["tracks"]] == ["tight", "drop"]
    shown.close()
    assert set(ipywidgets.widgets.widget._instances) == before


def test_without_anywidget_the_facts_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = dd.watch(dd.simulate("generous"))

    def missing(self: Watch) -> Any:
        raise ImportError("No module named 'anywidget'")

    monkeypatch.setattr(Watch, "widget", property(missing))
    assert shown._repr_mimebundle_() == {"text/plain": repr(shown)}


async def test_the_same_frames_are_seen_live_and_played() -> None:
    profile = dd.EndpointProfile(model="m", capacity=4, latency=dd.Latency(mean_s=0.01))
    pipeline = dd.Pipeline(
        columns=[
            dd.Column("n", generate=list),
            dd.ModelColumn("a", model="writer", prompt="{{ n }}"),
            dd.Column("b", needs=["a"], generate=lambda row: row["a"]),
        ],
        models=[dd.Model("writer", provider="p", id="m", max_parallel_requests=8)],
        providers=[dd.SimulatedProvider("p", [profile])],
    )
    run = dd.start(pipeline, rows=120, config=dd.RunConfig(buffer_size=10))
    live: list[tuple[int, dict[str, Any]]] = []
    while not run.done:
        await asyncio.sleep(0.02)
        live.append((len(run.record.events), frame_of(run.statistics())))
    assert len(live) > 5
    for events, frame in live:
        played = track_of(list(run.record.events)[:events], 2).last
        for name in ("columns", "slots", "flows", "rows"):
            assert played[name] == frame[name], name
        assert [p[:2] + p[3:5] for p in played["pools"]] == [p[:2] + p[3:5] for p in frame["pools"]]
    await run
