"""A record told with every kind of event that the reference has."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

import ddsched_nb as dd
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import PoolKey
from ddsched_nb.errors import RecordError
from ddsched_nb.integrations.reference_kinds import (
    DERIVED,
    AdmissionBlocked,
    GroupCapped,
    QueueEmpty,
    RequestAcquireDenied,
    RequestQueueDrained,
    RequestQueueFormed,
    RequestSoftCeilingRecovered,
    RequestWaitCompleted,
    with_reference_kinds,
    write_reference_kinds,
)

REFERENCE = [
    "scheduler_job_started",
    "scheduler_job_completed",
    "scheduler_health_snapshot",
    "row_group_admitted",
    "row_group_admission_blocked",
    "row_group_admission_target_changed",
    "row_group_checkpointed",
    "dependency_ready",
    "ready_enqueued",
    "selected",
    "task_lease_acquired",
    "admission_denied",
    "group_capped",
    "admission_blocked",
    "queue_empty",
    "queue_drained",
    "request_pressure_advisory_skipped",
    "worker_spawned",
    "worker_spawn_failed",
    "task_completed",
    "task_lease_released",
    "retry_deferred",
    "salvage_redispatched",
    "non_retryable_dropped",
    "cancelled",
    "release_diagnostic",
    "request_resource_registered",
    "request_effective_cap_changed",
    "request_queue_formed",
    "request_queue_drained",
    "request_wait_started",
    "request_wait_completed",
    "request_wait_timeout",
    "request_wait_cancelled",
    "request_acquire_denied",
    "request_lease_acquired",
    "request_lease_released",
    "model_request_started",
    "model_request_completed",
    "request_rate_limited",
    "request_limit_decreased",
    "request_limit_increased",
    "request_soft_ceiling_recovered",
    "request_fully_recovered",
    "request_release_diagnostic",
]
POOL = PoolKey("local", "writer")


def kind(event: type[ev.Event]) -> str:
    return str(event.__struct_config__.tag)


def test_every_kind_of_the_reference_is_there() -> None:
    ours = {kind(each) for each in (*ev.EVENTS, *DERIVED)}
    assert set(REFERENCE) - ours == set()


def test_a_record_keeps_its_events_and_gains_what_follows_from_them() -> None:
    record = dd.simulate("tight")
    told = list(with_reference_kinds(record))
    assert [e for e in told if not isinstance(e, DERIVED)] == list(record.events)
    completed = [e for e in told if isinstance(e, RequestWaitCompleted)]
    assert len(completed) == len(record.select(ev.RequestLeaseAcquired))
    assert sum(e.seconds > 0 for e in completed) > 100
    formed = [e for e in told if isinstance(e, RequestQueueFormed)]
    drained = [e for e in told if isinstance(e, RequestQueueDrained)]
    assert len(formed) == len(drained) > 2
    assert any(isinstance(e, AdmissionBlocked) for e in told)
    assert [e.at for e in told if isinstance(e, QueueEmpty)] == [
        e.at for e in record.select(ev.QueueDrained)
    ]


def test_a_queue_is_formed_and_drained_in_turns_and_holds_who_waited() -> None:
    record = dd.simulate("tight")
    waiting: dict[PoolKey, bool] = {}
    for event in with_reference_kinds(record):
        if isinstance(event, RequestQueueFormed):
            assert not waiting.get(event.pool)
            waiting[event.pool] = True
        elif isinstance(event, RequestQueueDrained):
            assert waiting[event.pool]
            waiting[event.pool] = False
        elif isinstance(event, RequestWaitCompleted) and event.seconds > 0:
            assert waiting[event.pool]
    assert set(waiting.values()) == {False}


def test_who_is_capped_is_told_by_flow() -> None:
    record = dd.simulate("queue-admission-smoke")
    denied = [e for e in record.select(ev.AdmissionDenied) if e.reason != "resource_full"]
    capped = [e for e in with_reference_kinds(record) if isinstance(e, GroupCapped)]
    assert [(e.task_id, e.reason) for e in capped] == [(e.task_id, e.reason) for e in denied]


def test_a_ceiling_is_recovered_once_it_is_reached_again() -> None:
    events = [
        ev.RequestLimitDecreased(1.0, 1, POOL, 16, 12, "rate_limited"),
        ev.RequestLimitDecreased(2.0, 2, POOL, 12, 9, "rate_limited"),
        ev.RequestLimitIncreased(3.0, 3, POOL, 9, 15, "success"),
        ev.RequestLimitIncreased(4.0, 4, POOL, 15, 16, "success"),
        ev.RequestLimitIncreased(5.0, 5, POOL, 16, 17, "success"),
    ]
    derived = [e for e in with_reference_kinds(events) if isinstance(e, DERIVED)]
    assert derived == [RequestSoftCeilingRecovered(4.0, 4, POOL, 16, 16)]
    drop = with_reference_kinds(dd.simulate("drop"))
    assert sum(isinstance(e, RequestSoftCeilingRecovered) for e in drop) == 2


async def test_who_would_wait_no_longer_is_denied() -> None:
    limiter = dd.RequestLimiter(cap=1)
    record = dd.RunRecord()
    limiter._reporter.bus.subscribe(record)
    async with limiter.permit(model="m"):
        pool = limiter.pool(model="m")
        waiting = asyncio.ensure_future(limiter.acquire(pool, timeout=0.01))
        with pytest.raises(dd.errors.QueueTimeout):
            await waiting
    told = list(with_reference_kinds(record))
    assert sum(isinstance(e, RequestAcquireDenied) for e in told) == 1


def test_it_is_written_as_lines_that_say_their_kind(tmp_path: Path) -> None:
    record = dd.simulate("generous")
    path = write_reference_kinds(record, tmp_path / "events.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == len(list(with_reference_kinds(record)))
    assert {"request_wait_completed", "queue_empty"} <= {line["kind"] for line in lines}
    assert all(re.fullmatch("[a-z_]+", line["kind"]) for line in lines)
    with pytest.raises(RecordError, match="cannot write events"):
        write_reference_kinds(record, tmp_path / "no" / "where")
