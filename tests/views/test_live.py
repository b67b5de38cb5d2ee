from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from ddsched_nb.aio.bus import EventBus
from ddsched_nb.aio.statistics import RunStatistics
from ddsched_nb.columns import Column
from ddsched_nb.config import RunConfig
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.record import RunRecord
from ddsched_nb.views import live
from ddsched_nb.wording import progress_line

Make = Callable[..., RunStatistics]


@dataclass(eq=False)
class StillRun:
    stats: RunStatistics

    @property
    def done(self) -> bool:
        return self.stats.state == "finished"

    def statistics(self) -> RunStatistics:
        return self.stats

    events = EventBus()
    record = RunRecord()
    settings = RunConfig()
    pipeline = Pipeline(columns=[Column("n", generate=list)])

    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def cancel(self) -> None: ...
    def adjust(self, **changes: object) -> None: ...


def test_outside_a_kernel_a_run_is_one_line(stats: Make) -> None:
    assert live.mimebundle(StillRun(stats())) == {"text/plain": progress_line(stats())}


async def test_a_run_displayed_twice_has_one_view_and_one_ticker(stats: Make) -> None:
    run = StillRun(stats())
    view = live.live_view(run)
    assert live.live_view(run) is view
    assert len(asyncio.all_tasks()) == 2
    view.close()
    await asyncio.sleep(0)
    again = live.live_view(run)
    assert again is not view
    again.close()


async def test_the_views_do_not_keep_ended_runs(stats: Make) -> None:
    run = StillRun(stats(state="finished"))
    live.live_view(run)
    ghost = weakref.ref(run)
    del run
    gc.collect()
    assert ghost() is None


def test_without_ipywidgets_a_notebook_gets_the_facts(
    stats: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    monkeypatch.delitem(sys.modules, "ddsched_nb.views.panel", raising=False)
    monkeypatch.setattr(live, "_in_kernel", lambda: True)
    assert live.mimebundle(StillRun(stats()))["text/plain"].startswith("Run running: 400 rows")
    assert list(live.mimebundle(StillRun(stats()))) == ["text/plain"]
