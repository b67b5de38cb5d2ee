"""The run record: what was saved is what is loaded, and equal runs have equal digests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ddsched_nb.core.events import EVENTS, Event, RunPaused, RunResumed
from ddsched_nb.core.model import (
    DenyReason,
    FlowKey,
    OutcomeKind,
    PoolKey,
    Quota,
    ReleaseStatus,
    ResourceKey,
)
from ddsched_nb.errors import RecordError
from ddsched_nb.record import SCHEMA_VERSION, RunRecord

VALUES: dict[object, Any] = {
    int: 3,
    float: 0.25,
    str: "word",
    bool: True,
    PoolKey: PoolKey("p", "m/with/slashes", "chat"),
    FlowKey: FlowKey("custom_model", ("column", 7, True)),
    OutcomeKind: OutcomeKind.RATE_LIMITED,
    ReleaseStatus: ReleaseStatus.STALE,
    DenyReason: DenyReason.OVER_SHARE,
    ResourceKey: ResourceKey("submission"),
    Quota: Quota("tokens", 600.0, 12.5, 3.0),
}


def one_of_each() -> list[Event]:
    return [make(kind, full) for kind in EVENTS for full in (True, False)]


def make(kind: type[Event], full: bool) -> Event:
    return kind(*(value_of(field.type, full) for field in msgspec.inspect.type_info(kind).fields))


def value_of(hint: Any, full: bool) -> Any:
    info = msgspec.inspect
    plain = {info.IntType: 3, info.FloatType: 0.25, info.StrType: "word", info.BoolType: True}
    if type(hint) in plain:
        return plain[type(hint)]
    if isinstance(hint, info.UnionType):
        return value_of(hint.types[0], full) if full else None
    if isinstance(hint, info.EnumType | info.NamedTupleType):
        return VALUES[hint.cls]
    if isinstance(hint, info.DictType):
        return {"submission": value_of(hint.value_type, full)}
    if isinstance(hint, info.StructType):
        return hint.cls(*(value_of(field.type, full) for field in hint.fields))
    if isinstance(hint, info.LiteralType):
        return hint.values[0]
    if isinstance(hint, info.VarTupleType) and isinstance(hint.item_type, info.NamedTupleType):
        return (VALUES[hint.item_type.cls],)
    assert isinstance(hint, info.VarTupleType), hint
    return ("a", "b")


def test_every_kind_has_its_own_name_on_the_wire() -> None:
    names = [kind.__struct_config__.tag for kind in EVENTS]
    assert len(set(names)) == len(names)
    assert "request_limit_decreased" in names


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    record = RunRecord(one_of_each())
    loaded = RunRecord.load(record.save(tmp_path / "run.jsonl"))
    assert list(loaded.events) == list(record.events)
    assert loaded.digest() == record.digest()


def test_a_digest_knows_order_and_every_value() -> None:
    first, second = RunPaused(0.0, 1), RunPaused(0.0, 2)
    digests = {RunRecord(e).digest() for e in ([first, second], [second, first], [first])}
    assert len(digests) == 3
    assert RunRecord([RunPaused(0.0, 1)]).digest() == RunRecord([first]).digest()


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_a_digest_is_the_same_in_every_process(seed: str) -> None:
    code = (
        "from ddsched_nb.record import RunRecord; from ddsched_nb.core.events import *; "
        "print(RunRecord([SchedulerJobStarted(0.5, 1, 9, 3, ('b', 'a'), {'x': 1, 'a': 2}), "
        "RunPaused(1.5, 2)]).digest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONHASHSEED": seed, "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == (
        "f22a3bd246136c9a5a1ee02aeb746f8311a2cdc831f952247fbc8060816bd349"
    )


def test_select_gives_the_events_of_some_kinds_in_order() -> None:
    events = [RunPaused(0.0, 1), RunResumed(1.0, 2), RunPaused(2.0, 3)]
    assert RunRecord(events).select(RunPaused) == [events[0], events[2]]


def test_a_short_record_says_that_it_is_truncated(tmp_path: Path) -> None:
    record = RunRecord(keep=2)
    for n in range(2):
        record(RunPaused(float(n), n))
    assert not record.truncated
    record(RunPaused(2.0, 2))
    assert record.truncated
    assert [event.sequence for event in record.events] == [1, 2]
    assert RunRecord.load(record.save(tmp_path / "r")).truncated
    assert repr(record) == "<RunRecord: 2 events, truncated>"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not a run record"),
        ("hello", "is not a run record"),
        ('{"schema":"other","version":1,"truncated":false}', "holds 'other'"),
        (
            f'{{"schema":"ddsched-nb-record","version":{SCHEMA_VERSION + 1},"truncated":false}}',
            "upgrade ddsched-nb",
        ),
        (
            '{"schema":"ddsched-nb-record","version":1,"truncated":false}\n'
            '{"kind":"run_paused","at":1.0,"sequence":1}\n{"kind":"run_pau',
            "line 3 of",
        ),
        (
            '{"schema":"ddsched-nb-record","version":1,"truncated":false}\n{"kind":"nonsense"}',
            "line 2 of .* is no event",
        ),
    ],
)
def test_a_file_that_is_no_record_says_why(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(text)
    with pytest.raises(RecordError, match=said):
        RunRecord.load(path)


HEADER = b'{"schema":"ddsched-nb-record","version":1,"truncated":false}\n'


@pytest.mark.parametrize(
    "damage",
    [
        b"\xff\xfe\n",
        b'{"kind":"task_completed","at":1.0,"sequence":1,"task_id":"\xff","outcome":"x"}\n',
        b'{"kind":"run_paused","at":1.0,"sequence":1,"x":' + b"[" * 100_000 + b"\n",
        b"\n",
        b"[]\n",
    ],
    ids=["bytes", "text", "depth", "empty", "list"],
)
def test_damage_of_any_kind_is_a_record_error(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(HEADER + b'{"kind":"run_paused","at":1.0,"sequence":1}\n' + damage)
    with pytest.raises(RecordError, match=r"line 3 of '.*r\.jsonl' is no event"):
        RunRecord.load(path)
    path.write_bytes(damage)
    with pytest.raises(RecordError, match="is not a run record"):
        RunRecord.load(path)


def test_what_is_given_at_the_start_may_be_cut_short_too() -> None:
    events = [RunPaused(float(n), n) for n in range(3)]
    assert RunRecord(events, keep=2).truncated
    assert list(RunRecord(events, keep=2).events) == events[1:]
    assert not RunRecord(events, keep=3).truncated


def test_files_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot read the record"):
        RunRecord.load(tmp_path / "missing.jsonl")
    with pytest.raises(RecordError, match="cannot write the record"):
        RunRecord().save(tmp_path / "no" / "such" / "folder.jsonl")
