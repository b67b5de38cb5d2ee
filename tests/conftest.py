"""What every test gets: no asyncio test may leave a task behind, and Chromium where it is found."""

from __future__ import annotations

import asyncio
import inspect
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from ddsched_nb import engine, run
from ddsched_nb.engine import Engine

# Turns of the loop that a task which was told to end gets, to end.
GRACE_TURNS = 10


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.function):
            # First, so that it is taken down last, after every fixture that owns a task.
            item.fixturenames.insert(0, "no_task_left")


@pytest.fixture
async def no_task_left() -> AsyncIterator[None]:
    """Fails an asyncio test that leaves a task pending. Every asyncio test gets it by itself."""
    before = asyncio.all_tasks()
    yield
    left = await _pending(before)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    if left:
        pytest.fail(f"left pending: {', '.join(sorted(map(_described, left)))}", pytrace=False)


async def _pending(before: set[asyncio.Task]) -> set[asyncio.Task]:
    known = {*before, asyncio.current_task()}
    for _ in range(GRACE_TURNS):
        if not asyncio.all_tasks() - known:
            break
        await asyncio.sleep(0)
    return asyncio.all_tasks() - known


def _described(task: asyncio.Task) -> str:
    return getattr(task.get_coro(), "__qualname__", repr(task))


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Path of the Chromium that browser tests start; skips with the reason where there is none."""
    wanted = os.environ.get("DDSCHED_CHROMIUM") or "chromium"
    found = shutil.which(wanted)
    if found is None:
        pytest.skip(f"no Chromium: {wanted!r} is not on this machine; set DDSCHED_CHROMIUM")
    return found


@pytest.fixture(autouse=True)
def nothing_is_held(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails a test whose runs leave a lease, a permit or a waiter behind. Every test gets it."""
    built: list[Engine] = []

    def watched(*arguments: Any) -> Engine:
        built.append(engine.build(*arguments))
        return built[-1]

    monkeypatch.setattr(run, "build", watched)
    yield
    for made in built:
        leases, permits = made.schedule.dispatcher.admission.leases, made.limiter.permits
        assert (leases, permits, made.limiter.waiting) == (0, 0, 0)
