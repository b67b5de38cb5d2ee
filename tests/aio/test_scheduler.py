"""The scheduler's shell over the real core, with generators of our own and no HTTP."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from ddsched_nb.aio import scheduler as scheduler_module
from ddsched_nb.aio.buffer import RowGroupBuffer
from ddsched_nb.aio.bus import EventBus
from ddsched_nb.aio.executor import ModelExecutor
from ddsched_nb.aio.limiter import RequestLimiter
from ddsched_nb.aio.offload import Offload
from ddsched_nb.aio.progress import Progress
from ddsched_nb.aio.reporters import RequestReporter, SchedulerReporter
from ddsched_nb.aio.results import ResultTable
from ddsched_nb.aio.scheduler import Scheduler
from ddsched_nb.aio.usage import UsageLedger
from ddsched_nb.aio.worker import Work, Worker
from ddsched_nb.core import events as ev
from ddsched_nb.core.dispatch import Dispatcher
from ddsched_nb.core.frontier import Frontier
from ddsched_nb.core.graph import ColumnGraph
from ddsched_nb.core.metadata import SchedulingMetadata
from ddsched_nb.core.model import ColumnSpec, ModelKey, ReleaseStatus
from ddsched_nb.core.resolver import Resolver, Routing, derive_capacities, task_id
from ddsched_nb.core.retries import Deferrals, RetryPlan
from ddsched_nb.core.row_groups import RowGroupGovernor, RowGroupPlan
from ddsched_nb.core.schedule import Schedule
from ddsched_nb.core.task_admission import TaskAdmission
from ddsched_nb.errors import (
    GeneratorBug,
    ProviderError,
    RowDropped,
    RunCancelled,
    RunError,
)
from ddsched_nb.record import RunRecord

Generate = Callable[[Any, Any], Any]


@dataclass
class Bench:
    """A scheduler with everything around it, wired as the engine wires it."""

    scheduler: Scheduler
    schedule: Schedule
    admission: TaskAdmission
    limiter: RequestLimiter
    results: ResultTable
    progress: Progress
    record: RunRecord
    bus: EventBus

    def assert_clean(self) -> None:
        assert self.admission.leases == 0
        assert self.limiter.permits == 0
        assert self.limiter.waiting == 0
        assert self.schedule.running == 0


def column(name: str, *needs: str, root: bool = False) -> ColumnSpec:
    return ColumnSpec(name, needs, (name,), "root" if root else "cell")


def wire(
    columns: Iterable[tuple[ColumnSpec, Generate]],
    *,
    rows: int,
    buffer_size: int = 4,
    max_open: int = 2,
    models: dict[str, tuple[ModelKey, int]] | None = None,
    deferrals: Deferrals | None = None,
    drop_bugs: bool = False,
) -> Bench:
    loop = asyncio.get_running_loop()
    pairs = list(columns)
    specs = [spec for spec, _ in pairs]
    models = models or {}
    graph = ColumnGraph(specs)
    routings = {}
    for spec in specs:
        keys = (models[spec.name][0],) if spec.name in models else ()
        metadata = (
            SchedulingMetadata("model", (*keys[0], "chat"))
            if keys
            else SchedulingMetadata("local", ("column", spec.name))
        )
        routings[spec.name] = Routing(metadata, keys)
    admission = TaskAdmission(derive_capacities(dict(models.values())))
    schedule = Schedule(
        Frontier(graph),
        Resolver(graph, routings),
        Dispatcher(admission),
        RowGroupGovernor(RowGroupPlan(rows, buffer_size), max_open),
        Deferrals(max_deferrals=1, delay_s=0.01) if deferrals is None else deferrals,
    )
    bus, record = EventBus(), RunRecord()
    bus.subscribe(record)
    limiter = RequestLimiter()
    executor = ModelExecutor(limiter, RetryPlan(), RequestReporter(bus, loop.time))
    names = [spec.name for spec in specs]
    buffer = RowGroupBuffer([], names, lambda *_: [])
    results, progress = ResultTable(names), Progress()
    works = {spec.name: Work(spec, generate, {}) for spec, generate in pairs}
    scheduler = Scheduler(
        schedule,
        Worker(works, buffer, executor, UsageLedger(), Offload()),
        buffer,
        results,
        progress,
        SchedulerReporter(bus, loop.time),
        limiter,
        drop_bugs=drop_bugs,
    )
    return Bench(scheduler, schedule, admission, limiter, results, progress, record, bus)


def numbers(rows: range, _: Any) -> list[int]:
    return list(rows)


async def test_a_chain_gives_every_row_in_order() -> None:
    async def slow(row: Any, _: Any) -> int:
        await asyncio.sleep(0.001 * (row.number % 3))
        return int(row["a"]) * 2

    bench = wire(
        [
            (column("a", root=True), numbers),
            (column("b", "a"), slow),
            (column("c", "a", "b"), lambda row, _: row["a"] + row["b"]),
        ],
        rows=11,
    )
    await bench.scheduler.run()
    assert bench.results.columns() == {
        "a": list(range(11)),
        "b": [2 * n for n in range(11)],
        "c": [3 * n for n in range(11)],
    }
    assert bench.results.rows == list(range(11))
    bench.assert_clean()


async def test_no_rows_is_a_run_that_ends() -> None:
    bench = wire([(column("a", root=True), numbers)], rows=0)
    await bench.scheduler.run()
    assert bench.results.columns() == {"a": []}


async def test_f01_dispatch_never_awaits_capacity() -> None:
    """A model whose slots are all taken holds back nobody else."""
    gate = asyncio.Event()
    done: list[int] = []

    async def stuck(row: Any, _: Any) -> int:
        await gate.wait()
        return 1

    def local(row: Any, _: Any) -> int:
        done.append(row.number)
        if len(done) == 40:
            gate.set()
        return 2

    bench = wire(
        [
            (column("a", root=True), numbers),
            (column("m", "a"), stuck),
            (column("l", "a"), local),
        ],
        rows=40,
        buffer_size=40,
        models={"m": (ModelKey("p", "m"), 1)},
    )
    await asyncio.wait_for(bench.scheduler.run(), 5)
    assert len(done) == 40
    bench.assert_clean()


async def test_f21_a_burst_is_bounded_and_workers_run_in_between() -> None:
    spawned_before_first_worker = 0
    started: list[int] = []

    async def work(row: Any, _: Any) -> int:
        nonlocal spawned_before_first_worker
        if not started:
            spawned_before_first_worker = len(bench.record.select(ev.WorkerSpawned))
        started.append(row.number)
        await asyncio.sleep(0)
        return 1

    bench = wire([(column("w"), work)], rows=1000, buffer_size=1000)
    bench.schedule.dispatcher.admission = bench.admission
    await bench.scheduler.run()
    assert len(started) == 1000
    assert spawned_before_first_worker <= scheduler_module.BATCH


async def test_f21_a_late_loop_is_an_event() -> None:
    def hold(row: Any, _: Any) -> int:
        # Blocks the loop on purpose, by work and not by a clock.
        sum(range(8_000_000))
        return 1

    bench = wire([(column("w"), hold)], rows=8, buffer_size=8)
    await bench.scheduler.run()
    lagged = bench.record.select(ev.SchedulerLoopLagged)
    assert lagged
    assert all(event.seconds > scheduler_module.LAG_WORTH_TELLING_S for event in lagged)


async def test_f22_nothing_in_flight_and_no_timer_ends_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A core that forgets a task is found out at once, not by a silent hang."""
    bench = wire([(column("w"), lambda row, _: 1)], rows=2)
    monkeypatch.setattr(bench.schedule.dispatcher, "next", lambda now: None)
    with pytest.raises(RunError, match="nothing can start"):
        await asyncio.wait_for(bench.scheduler.run(), 5)


@pytest.mark.parametrize("calls", [0, 3])
async def test_a_decision_that_raises_fails_the_run_and_does_not_hang(
    monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    bench = wire([(column("w"), lambda row, _: asyncio.sleep(0.001))], rows=8)
    policy, left = bench.admission.policy.decide, [calls]

    def decide(*asked: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise ZeroDivisionError("a policy of one's own")
        return policy(*asked)

    monkeypatch.setattr(bench.admission.policy, "decide", decide)
    with pytest.raises(RunError, match="ZeroDivisionError") as caught:
        await asyncio.wait_for(bench.scheduler.run(), 5)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert bench.admission.leases == 0


async def test_f27_no_event_is_built_without_a_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = wire([(column("w"), lambda row, _: 1)], rows=8)
    bench.bus.listening = False
    built: list[ev.Event] = []
    monkeypatch.setattr(bench.bus, "publish", built.append)
    await bench.scheduler.run()
    assert built == []
    assert bench.results.rows == list(range(8))


async def test_f27_a_subscriber_that_raises_leaks_no_lease(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = wire([(column("w"), lambda row, _: 1)], rows=8)

    def broken(event: ev.Event) -> None:
        raise RuntimeError("sink is broken")

    bench.bus.subscribe(broken)
    with caplog.at_level(logging.ERROR):
        await bench.scheduler.run()
    bench.assert_clean()
    assert bench.results.rows == list(range(8))
    assert bench.bus.lost["task_lease_acquired"] == 8


@pytest.mark.parametrize("kind", ["acquired", "released"])
async def test_f27_an_interrupted_report_leaks_no_lease(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    bench = wire([(column("w"), lambda row, _: 1)], rows=8)
    reporter = bench.scheduler._reporter

    def interrupted(*args: object) -> None:
        raise MemoryError("while reporting")

    monkeypatch.setattr(reporter, "turn" if kind == "acquired" else "completed", interrupted)
    with pytest.raises(RunError, match="cannot go on"):
        await asyncio.wait_for(bench.scheduler.run(), 5)
    bench.assert_clean()


async def test_f28_a_group_waits_for_the_sibling_of_a_dropped_row() -> None:
    release = asyncio.Event()
    written_after = []

    async def sibling(row: Any, _: Any) -> str:
        if row.number == 0:
            await release.wait()
        return "late"

    async def drops(row: Any, _: Any) -> str:
        if row.number == 0:
            asyncio.get_running_loop().call_later(0.02, release.set)
            raise RowDropped("not wanted")
        return "kept"

    bench = wire([(column("s"), sibling), (column("d"), drops)], rows=2, buffer_size=2)
    bench.bus.subscribe(
        lambda e: written_after.append(e) if isinstance(e, ev.TaskCompleted) else None
    )
    await bench.scheduler.run()
    kinds = [type(e) for e in bench.record.events]
    last_completed = max(i for i, k in enumerate(kinds) if k is ev.TaskCompleted)
    assert kinds.index(ev.RowGroupCheckpointed) > last_completed
    assert bench.results.columns() == {"s": ["late"], "d": ["kept"]}
    assert bench.results.rows == [1]
    assert bench.progress.rows_dropped == 1
    bench.assert_clean()


async def test_r01_every_event_carries_the_one_task_id() -> None:
    bench = wire([(column("a", root=True), numbers), (column("b", "a"), lambda row, _: 1)], rows=3)
    seen: set[str] = set()
    for group in RowGroupPlan(3, 4):
        for task in bench.schedule.frontier.open(group).ready:
            seen.add(task_id(task))
    bench = wire([(column("a", root=True), numbers), (column("b", "a"), lambda row, _: 1)], rows=3)
    await bench.scheduler.run()
    ids = {e.task_id for e in bench.record.events if isinstance(e, ev.TaskEvent)}
    assert ids == seen | {"b/0/0", "b/0/1", "b/0/2"}


@pytest.mark.parametrize("error", [KeyError("x"), TypeError("y"), ZeroDivisionError("z")])
async def test_r07_a_bug_fails_the_run_loudly(error: Exception) -> None:
    """With column, row and traceback, after what is in flight has ended."""
    ended: list[int] = []

    async def buggy(row: Any, _: Any) -> int:
        if row.number == 2:
            raise error
        await asyncio.sleep(0.02)
        ended.append(row.number)
        return row.number

    bench = wire([(column("w"), buggy)], rows=40, buffer_size=4, max_open=1)
    with pytest.raises(GeneratorBug) as caught:
        await bench.scheduler.run()
    assert (caught.value.column, caught.value.row) == ("w", 2)
    assert caught.value.__cause__ is error
    assert error.__traceback__ is not None
    assert ended == [0, 1, 3]
    assert bench.results.rows == [0, 1, 3], "finished rows are kept, also of an open group"
    bench.assert_clean()


async def test_r07_on_bug_drop_opts_out() -> None:
    def buggy(row: Any, _: Any) -> int:
        return 1 // (row.number - 2)

    bench = wire([(column("w"), buggy)], rows=6, drop_bugs=True)
    await bench.scheduler.run()
    assert bench.results.rows == [0, 1, 3, 4, 5]
    assert [(e.row, e.column) for e in bench.progress.errors] == [(2, "w")]


async def test_r09_a_failed_spawn_undoes_everything_and_yields(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = wire([(column("w"), lambda row, _: row.number)], rows=6)
    loop = asyncio.get_running_loop()
    real, failures = loop.create_task, 3
    turns = 0
    real_turn = bench.scheduler._turn

    def flaky(coro: Any, **kwargs: Any) -> Any:
        nonlocal failures
        if failures:
            failures -= 1
            raise MemoryError("no more workers")
        return real(coro, **kwargs)

    def counted() -> None:
        nonlocal turns
        turns += 1
        real_turn()

    running = loop.create_task(bench.scheduler.run())
    with monkeypatch.context() as patch:
        patch.setattr(bench.scheduler, "_turn", counted)
        patch.setattr(loop, "create_task", flaky)
        await running
    assert bench.results.columns() == {"w": list(range(6))}
    assert len(bench.record.select(ev.WorkerSpawnFailed)) == 3
    assert turns < 40, "it must wait between tries, not spin"
    bench.assert_clean()


async def test_r09_workers_that_never_start_fail_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = wire([(column("w"), lambda row, _: 1)], rows=1)
    loop = asyncio.get_running_loop()
    running = loop.create_task(bench.scheduler.run())
    monkeypatch.setattr(scheduler_module, "SPAWN_RETRY_S", 0.001)

    def never(coro: Any, **kwargs: Any) -> Any:
        raise MemoryError("no more workers")

    with monkeypatch.context() as patch:
        patch.setattr(loop, "create_task", never)
        with pytest.raises(RunError, match="workers cannot be started"):
            await running
    bench.assert_clean()


async def test_a_provider_error_that_cannot_be_retried_drops_only_its_row() -> None:
    async def refuses(row: Any, _: Any) -> int:
        if row.number == 1:
            raise ProviderError("HTTP 400 from m", status=400, detail="said the server")
        return 1

    bench = wire([(column("w"), refuses)], rows=4)
    await bench.scheduler.run()
    assert bench.results.rows == [0, 2, 3]
    (error,) = bench.progress.errors
    assert (error.row, error.reason, error.detail) == (1, "HTTP 400 from m", "said the server")
    (event,) = bench.record.select(ev.NonRetryableDropped)
    assert event.error == "provider_failure 400"


async def test_a_failure_that_may_pass_is_deferred_then_dropped() -> None:
    tries: list[int] = []

    async def flaky(row: Any, _: Any) -> int:
        tries.append(row.number)
        if row.number == 0 or (row.number == 1 and tries.count(1) == 1):
            raise ProviderError("HTTP 503 from m", status=503, retryable=True)
        return 1

    bench = wire([(column("w"), flaky)], rows=3)
    await bench.scheduler.run()
    assert bench.results.rows == [1, 2]
    assert tries.count(0) == 2
    assert len(bench.record.select(ev.RetryDeferred)) == 2
    assert len(bench.record.select(ev.SalvageRedispatched)) == 2
    bench.assert_clean()


async def test_cancel_keeps_finished_rows_and_leaves_nothing() -> None:
    async def slow(row: Any, _: Any) -> int:
        await asyncio.sleep(0 if row.number < 4 else 60)
        return row.number

    bench = wire([(column("w"), slow)], rows=12, buffer_size=6)
    asyncio.get_running_loop().call_later(0.05, bench.scheduler.cancel)
    with pytest.raises(RunCancelled):
        await asyncio.wait_for(bench.scheduler.run(), 5)
    assert bench.results.rows == [0, 1, 2, 3]
    bench.assert_clean()


async def test_cancel_before_workers_took_a_step_leaks_nothing() -> None:
    bench = wire([(column("w"), lambda row, _: 1)], rows=8)
    bench.bus.subscribe(
        lambda e: bench.scheduler.cancel() if isinstance(e, ev.WorkerSpawned) else None
    )
    with pytest.raises(RunCancelled):
        await asyncio.wait_for(bench.scheduler.run(), 5)
    bench.assert_clean()


async def test_cancelling_the_awaiting_task_cancels_the_run() -> None:
    async def slow(row: Any, _: Any) -> int:
        await asyncio.sleep(60)
        return 1

    bench = wire([(column("w"), slow)], rows=4)
    running = asyncio.ensure_future(bench.scheduler.run())
    await asyncio.sleep(0.02)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    bench.assert_clean()


async def test_pause_starts_nothing_and_resume_goes_on() -> None:
    started: list[int] = []

    async def work(row: Any, _: Any) -> int:
        started.append(row.number)
        await asyncio.sleep(0.005)
        return 1

    bench = wire([(column("w"), work)], rows=200, buffer_size=8, max_open=1)
    running = asyncio.ensure_future(bench.scheduler.run())
    await asyncio.sleep(0.02)
    bench.scheduler.pause(True)
    await asyncio.sleep(0.02)
    at_pause = len(started)
    await asyncio.sleep(0.05)
    assert 0 < len(started) == at_pause < 200
    bench.scheduler.pause(False)
    await asyncio.wait_for(running, 5)
    assert len(bench.results.rows) == 200
    assert len(bench.record.select(ev.RunPaused)) == 1


async def test_a_sink_that_fails_stops_the_run_with_its_reason() -> None:
    bench = wire([(column("w"), lambda row, _: 1)], rows=8, buffer_size=2, max_open=1)
    real, taken = bench.results.store, []

    def full(group: Any) -> None:
        if taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken.append(group)
        real(group)

    bench.results.store = full  # type: ignore[method-assign]
    with pytest.raises(RunError, match="No space left on device"):
        await asyncio.wait_for(bench.scheduler.run(), 5)
    assert bench.results.rows == [0, 1]
    assert bench.admission.leases == 0


async def test_a_lease_is_released_exactly_once() -> None:
    bench = wire([(column("w"), lambda row, _: 1)], rows=3)
    statuses: list[ReleaseStatus] = []
    real = bench.schedule.release

    def watched(lease: Any) -> ReleaseStatus:
        statuses.append(real(lease))
        statuses.append(real(lease))
        return statuses[-2]

    bench.schedule.release = watched  # type: ignore[method-assign]
    await bench.scheduler.run()
    assert statuses == [ReleaseStatus.RELEASED, ReleaseStatus.DUPLICATE] * 3
    assert bench.schedule.running == 0


async def test_f21_what_a_batch_left_over_starts_in_the_next_turn() -> None:
    """No worker ends before all have started: only the scheduler itself can go on."""
    everybody, started = asyncio.Event(), 0

    async def waits(row: Any, _: Any) -> int:
        nonlocal started
        started += 1
        if started == 3 * scheduler_module.BATCH:
            everybody.set()
        await everybody.wait()
        return 1

    rows = 3 * scheduler_module.BATCH
    models = {"w": (ModelKey("p", "m"), rows)}
    bench = wire([(column("w"), waits)], rows=rows, buffer_size=rows, models=models)
    await asyncio.wait_for(bench.scheduler.run(), 5)
    bench.assert_clean()


async def test_a_deferred_cell_whose_row_was_dropped_is_forgotten() -> None:
    async def fails(row: Any, _: Any) -> int:
        raise ProviderError("HTTP 503 from m", status=503, retryable=True)

    async def drops(row: Any, _: Any) -> int:
        await asyncio.sleep(0.01)
        raise RowDropped("not wanted")

    deferrals = Deferrals(max_deferrals=3, delay_s=0.03)
    kept = (column("k"), lambda row, _: asyncio.sleep(0.1 * (row.number == 1), 1))
    bench = wire([(column("f"), fails), (column("d"), drops), kept], rows=2, deferrals=deferrals)
    await asyncio.wait_for(bench.scheduler.run(), 5)
    assert bench.results.rows == []
    assert deferrals._rounds == {}
    assert bench.progress.rows_dropped == 2
