"""Watches a run from outside and says what must never happen. Trusts no statistics of its own.

The witness stands where the scheduler meets the world: around the worker, the model clients and the
sink. It counts what passes there and compares it with what is booked, at each step and at the end.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from ddsched_nb.aio.buffer import FinishedGroup
from ddsched_nb.aio.correlation import current_task
from ddsched_nb.aio.seats import Seat
from ddsched_nb.aio.worker import TaskEnd, Worker
from ddsched_nb.clients.base import (
    ChatRequest,
    Completion,
    EmbeddingRequest,
    Embeddings,
    ImageRequest,
    Images,
)
from ddsched_nb.clients.simulated import SimulatedClient
from ddsched_nb.core.model import PoolKey, ReadyTask, Task
from ddsched_nb.engine import Engine
from ddsched_nb.errors import ProviderError, StoreError
from ddsched_nb.sim.laws import broken_laws

__all__ = ["Witness"]

A = TypeVar("A")
R = TypeVar("R")

_SLACK_S = 1e-9


class Witness:
    """What is seen of one run.

    Attributes:
        broken: What must never happen and did, in order; the first is the one to look at.
        stored: Row numbers that were handed over, finished group by finished group.
        kept: Row numbers of unfinished groups that an ended run kept.
        patience_s: How long what is due may have to wait, in seconds.
    """

    def __init__(self) -> None:
        self.broken: list[str] = []
        self.stored: list[int] = []
        self.kept: list[int] = []
        self.dropped: list[int] = []
        self.fail_next_store = False
        self.patience_s = 1e-6
        self._engine: Engine | None = None
        self._running: Counter[Task] = Counter()
        self._groups: Counter[int] = Counter()
        self._done: Counter[Task] = Counter()
        self._closed: set[int] = set()
        self._calls: Counter[PoolKey] = Counter()
        self._refused: dict[Any, float] = {}

    def watch(self, engine: Engine) -> None:
        """Steps between the scheduler and its worker."""
        self._engine = engine
        engine.scheduler.replace_worker(WatchedWorker(engine.worker, self))

    def note(self, what: str) -> None:
        """Something happened that must not."""
        self.broken.append(what)

    # --- around the worker

    def task_starts(self, ready: ReadyTask) -> None:
        task = ready.task
        self._running[task] += 1
        self._groups[task.row_group] += 1
        if self._running[task] > 1:
            self.note(f"{ready.task_id} runs twice at once")
        if self._done[task]:
            self.note(f"{ready.task_id} runs again after it was done")
        if task.row_group in self._closed:
            self.note(f"{ready.task_id} starts after its row group was stored")
        self._check_leases()

    def task_ends(self, ready: ReadyTask, end: TaskEnd | None) -> None:
        task = ready.task
        self._check_leases()
        self._running[task] -= 1
        self._groups[task.row_group] -= 1
        # Cancelled, and to be run again: its calls will be new ones.
        self._refused = {call: at for call, at in self._refused.items() if call[0] != task}
        if end is not None and end.values is not None:
            self._done[task] += 1

    def _check_leases(self) -> None:
        assert self._engine is not None
        admission = self._engine.schedule.dispatcher.admission
        running = sum(self._running.values())
        if running > admission.leases:
            self.note(f"{running} tasks run under {admission.leases} leases")
        statistics = admission.statistics()
        for resource, leased in statistics.leased.items():
            if leased > statistics.capacities[resource]:
                self.note(f"{leased} of {statistics.capacities[resource]} {resource} are leased")

    # --- around the clients

    def call_starts(self, pool: PoolKey, call: Any, now: float) -> None:
        assert self._engine is not None
        self._calls[pool] += 1
        out, permits = self._calls[pool], self._engine.limiter.statistics(pool).in_flight
        if out > permits:
            self.note(f"{out} calls of {pool.label} are out under {permits} permits")
        task = current_task()
        if task is not None and not self._running[task]:
            self.note(f"{task} calls {pool.label} and is not running")
        wait_until = self._refused.pop(call, 0.0)
        if now < wait_until - _SLACK_S:
            self.note(f"a refused call of {pool.label} came back {wait_until - now:g} s early")

    def call_ends(self, pool: PoolKey, call: Any, error: BaseException | None, now: float) -> None:
        self._calls[pool] -= 1
        if isinstance(error, ProviderError) and error.kind == "rate_limited":
            self._refused[call] = now + (error.retry_after or 0.0)

    # --- around the sink

    def stores(self, group: FinishedGroup) -> None:
        which = group.row_group
        if which.index in self._closed:
            self.note(f"row group {which.index} is stored twice")
        self._closed.add(which.index)
        if self._groups[which.index]:
            self.note(
                f"row group {which.index} is stored while {self._groups[which.index]} of its tasks "
                "run"
            )
        rows = [*group.rows, *(drop.row for drop in group.dropped)]
        if sorted(rows) != list(range(which.start, which.stop)):
            self.note(f"row group {which.index} accounts for {len(rows)} of {which.size} rows")
        self._check_cells(group)
        self.stored += group.rows
        self.dropped += [drop.row for drop in group.dropped]

    def keeps(self, group: FinishedGroup) -> None:
        self._check_cells(group)
        self.kept += group.rows

    def _check_cells(self, group: FinishedGroup) -> None:
        for name, cells in group.columns.items():
            if len(cells) != len(group.rows):
                self.note(f"column {name!r} has {len(cells)} cells for {len(group.rows)} rows")

    # --- at the end

    def judge(self, events: Iterable[Any], state: str, rows: int, dropped: int) -> list[str]:
        """All that was broken, once the run has ended.

        Args:
            events: Its record.
            state: How it ended.
            rows: Rows there were.
            dropped: Rows that the work itself drops, however it is scheduled.
        """
        engine = self._engine
        if engine is None:
            return [*self.broken, "the run never began"]
        admission, limiter = engine.schedule.dispatcher.admission, engine.limiter
        left = (admission.leases, limiter.permits, limiter.waiting)
        if any(left):
            self.note("left behind: {} leases, {} permits, {} waiters".format(*left))
        if +self._running or +self._calls:
            self.note(f"{sum(self._running.values())} tasks and {sum(self._calls.values())} calls")
        seen = Counter(self.stored + self.kept + self.dropped)
        twice = [row for row, count in seen.items() if count > 1]
        if twice:
            self.note(f"row {min(twice)} came out twice")
        if state == "finished":
            if len(seen) != rows:
                self.note(f"{rows - len(seen)} of {rows} rows are lost")
            if len(self.dropped) != dropped:
                self.note(f"{len(self.dropped)} rows were dropped, {dropped} should be")
            if engine.schedule.frontier.open_groups:
                self.note("a finished run has open row groups")
        self.broken += broken_laws(events, self.patience_s)
        return self.broken


class WatchedWorker(Worker):
    """A worker that is seen."""

    def __init__(self, worker: Worker, witness: Witness) -> None:
        self._worker = worker
        self._witness = witness

    async def run(self, ready: ReadyTask, seat: Seat | None = None, lease_id: int = 0) -> TaskEnd:
        """As the worker does."""
        end: TaskEnd | None = None
        self._witness.task_starts(ready)
        try:
            end = await self._worker.run(ready, seat, lease_id)
            return end
        finally:
            self._witness.task_ends(ready, end)


class WatchedClient(SimulatedClient):
    """A client that is seen."""

    witness: Witness

    async def chat(self, request: ChatRequest) -> Completion:
        """As the client does."""
        pool = PoolKey(self.name, request.model, "chat")
        key = (pool, *(str(message) for message in request.messages))
        return await self._seen(pool, key, super().chat, request)

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """As the client does."""
        pool = PoolKey(self.name, request.model, "embedding")
        return await self._seen(pool, (pool, request.inputs), super().embed, request)

    async def image(self, request: ImageRequest) -> Images:
        """As the client does."""
        pool = PoolKey(self.name, request.model, "image")
        return await self._seen(pool, (pool, request.prompt), super().image, request)

    async def _seen(
        self, pool: PoolKey, call: Any, ask: Callable[[R], Awaitable[A]], request: R
    ) -> A:
        loop, error = asyncio.get_running_loop(), None
        # The same prompt may be another task's as well.
        call = (current_task(), call)
        self.witness.call_starts(pool, call, loop.time())
        try:
            return await ask(request)
        except BaseException as raised:
            error = raised
            raise
        finally:
            self.witness.call_ends(pool, call, error, loop.time())


class WatchedSink:
    """Takes row groups, and nothing else; sometimes it cannot."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness

    def store(self, group: FinishedGroup) -> None:
        """Takes a finished group.

        Raises:
            StoreError: It was told to fail.
        """
        if self._witness.fail_next_store:
            self._witness.fail_next_store = False
            raise StoreError("an injected fault: the row group cannot be stored")
        self._witness.stores(group)

    def keep(self, group: FinishedGroup) -> None:
        """Takes the finished rows of an unfinished group."""
        self._witness.keeps(group)

    def read(self) -> tuple[list[int], dict[str, list[Any]]]:
        """Nothing: only numbers were kept."""
        return [], {}

    async def close(self) -> None:
        """Nothing to give back."""
