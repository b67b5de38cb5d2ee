"""Sinks: off the hot path, bounded, and lossy only with a count (F26)."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import ddsched_nb as dd
from ddsched_nb.aio import sinks
from ddsched_nb.core import events as ev
from ddsched_nb.errors import ConfigError, RecordError


def some(count: int) -> list[ev.Event]:
    return [ev.RunPaused(float(n), n) for n in range(count)]


def test_what_it_writes_is_a_record(tmp_path: Path) -> None:
    events = dd.simulate("tight", rows=60).events
    with dd.JsonLinesSink(tmp_path / "events.jsonl") as sink:
        for event in events:
            sink(event)
    assert (sink.written, sink.lost) == (len(events), 0)
    loaded = dd.RunRecord.load(sink.path)
    assert not loaded.truncated
    assert loaded.digest() == dd.RunRecord(events).digest()


def test_f26_a_slow_disk_loses_events_with_a_count_and_the_file_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_write = threading.Event()
    write = sinks.JsonLinesSink._write_some

    def slow(sink: dd.JsonLinesSink) -> None:
        may_write.wait(10)
        write(sink)

    monkeypatch.setattr(sinks.JsonLinesSink, "_write_some", slow)
    sink = dd.JsonLinesSink(tmp_path / "events.jsonl", capacity=100)
    for event in some(1_000):
        sink(event)
    assert sink.lost == 900, "nobody waits for a disk"
    may_write.set()
    sink.close()
    assert (sink.written, sink.lost) == (100, 900)
    loaded = dd.RunRecord.load(sink.path)
    assert loaded.truncated
    assert len(loaded) == 100
    sink(some(1)[0])
    assert sink.lost == 901, "what comes after the end is lost too, and counted"
    sink.close()


def test_a_disk_that_fails_ends_no_run_and_is_told_at_the_end(tmp_path: Path) -> None:
    class Full:
        def writelines(self, lines: Any) -> None:
            raise OSError(28, "No space left on device")

        def seek(self, at: int) -> None: ...

        def write(self, line: bytes) -> None: ...

        def close(self) -> None: ...

    sink = dd.JsonLinesSink(tmp_path / "events.jsonl")
    sink._file.close()
    sink._file = Full()  # type: ignore[assignment]
    for event in some(3):
        sink(event)
    with pytest.raises(RecordError, match=r"3 events were not written .*No space left"):
        sink.close()


def test_what_cannot_be_opened_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot write events"):
        dd.JsonLinesSink(tmp_path / "nowhere" / "events.jsonl")
    with pytest.raises(ConfigError, match="capacity is 0"):
        dd.JsonLinesSink(tmp_path / "events.jsonl", capacity=0)


async def test_listeners_of_a_run_hear_the_first_event_and_the_last(tmp_path: Path) -> None:
    ring = dd.RunRecord(keep=3)
    pipeline = dd.Pipeline(columns=[dd.Column("n", generate=list)])
    with dd.JsonLinesSink(tmp_path / "run.jsonl") as sink:
        run = dd.start(pipeline, rows=20, listeners=[sink, ring])
        await run
    assert len(ring) == 3
    assert isinstance(ring.events[-1], ev.SchedulerJobCompleted)
    loaded = dd.RunRecord.load(sink.path)
    assert isinstance(loaded.events[0], ev.SchedulerJobStarted)
    assert loaded.digest() == run.record.digest()
