"""Statistics and events made by hand, for the views."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ddsched_nb.aio.statistics import ColumnProgress, GroupProgress, RunStatistics
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import FlowKey, OutcomeKind, PoolKey
from ddsched_nb.core.pool_facts import PoolStatistics

WRITER = PoolKey("local", "writer-small")
JUDGE = PoolKey("local", "judge-large")
QUESTIONS = FlowKey("model", ("local", "writer-small", "chat"))


def pool_statistics(pool: PoolKey, **changes: Any) -> PoolStatistics:
    base = PoolStatistics(
        pool=pool,
        algorithm="aimd",
        limit=12,
        cap=32,
        in_flight=9,
        waiters=3,
        cooldown_until=0.0,
        granted=100,
        succeeded=87,
        refused=4,
        failed=0,
        last_success_at=1.0,
        tokens=10,
    )
    return base._replace(**changes)


STATISTICS = RunStatistics(
    state="running",
    rows=400,
    rows_finished=100,
    rows_dropped=2,
    row_groups=8,
    row_groups_finished=2,
    open_groups=(GroupProgress(2, 50, 75, 150), GroupProgress(3, 50, 0, 150)),
    columns=(
        ColumnProgress("topic", None, 400, 400, 0),
        ColumnProgress("question", "writer", 200, 400, 9),
        ColumnProgress("grade", "judge", 100, 400, 4),
    ),
    pools=(
        pool_statistics(WRITER),
        pool_statistics(JUDGE, limit=5, cap=8, in_flight=4, refused=31, cooldown_until=11.5),
    ),
    deferred=0,
    elapsed_s=8.0,
    now=10.0,
    last_error=None,
)


@pytest.fixture
def stats() -> Callable[..., RunStatistics]:
    """Makes statistics of a run that is a quarter done, with the given changes."""
    return lambda **changes: replace(STATISTICS, **changes)


@pytest.fixture
def pool_stats() -> Callable[..., PoolStatistics]:
    return pool_statistics


@pytest.fixture
def events() -> list[ev.Event]:
    """Two models; the writer is refused three times, the judge's limit grows; two row groups."""
    done = OutcomeKind.SUCCESS
    refused = OutcomeKind.RATE_LIMITED
    return [
        ev.SchedulerJobStarted(100.0, 1, 100, 2, ("topic", "question"), {}),
        ev.RequestResourceRegistered(100.0, 1, WRITER, 32, 32, 32, "aimd"),
        ev.RequestResourceRegistered(100.0, 2, JUDGE, 8, 8, 4, "aimd"),
        ev.ReadyEnqueued(100.2, 5, "question/0/0", QUESTIONS),
        ev.TaskLeaseAcquired(100.3, 6, "question/0/0", 1, False),
        ev.RequestLeaseAcquired(100.5, 3, WRITER, 1, 1, 1, 32),
        ev.RequestLeaseAcquired(100.5, 4, WRITER, 2, 2, 2, 32),
        ev.RequestLeaseAcquired(101.0, 5, JUDGE, 3, 3, 1, 4),
        ev.RequestLeaseReleased(102.0, 6, WRITER, 1, refused, 1),
        ev.RequestRateLimited(102.0, 7, WRITER, 1, 0.5, 1, 32),
        ev.RequestLimitDecreased(102.0, 8, WRITER, 32, 24, "rate_limited"),
        ev.RequestLeaseReleased(102.1, 9, WRITER, 2, refused, 0),
        ev.RequestRateLimited(102.1, 10, WRITER, 2, 0.5, 0, 24),
        ev.RequestLeaseReleased(103.0, 11, JUDGE, 3, done, 0),
        ev.RequestLimitIncreased(103.0, 12, JUDGE, 4, 5, "success"),
        ev.WorkerSpawned(100.4, 2, "question/0/0", "question", 0, 0),
        ev.WorkerSpawned(100.4, 3, "question/0/1", "question", 0, 1),
        ev.WorkerSpawned(100.4, 4, "grade/0/0", "grade", 0, 0),
        ev.ModelRequestCompleted(103.0, 13, WRITER, 1, "question/0/0", done, 0.5, 30),
        ev.ModelRequestCompleted(103.1, 14, WRITER, 2, "question/0/1", done, 0.5, 40),
        ev.ModelRequestCompleted(103.2, 15, JUDGE, 3, "grade/0/0", done, 0.5, 9),
        ev.TaskCompleted(103.2, 7, "question/0/0", "done"),
        ev.TaskLeaseReleased(103.2, 8, "question/0/0", 1),
        ev.RowGroupCheckpointed(104.0, 2, 0, 48, 2),
        ev.RowGroupCheckpointed(106.0, 3, 1, 50, 0),
        ev.SchedulerJobCompleted(108.0, 4, "finished", 98, 2),
    ]
