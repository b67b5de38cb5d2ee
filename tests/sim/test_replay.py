"""Replay: the cores decide the same again, and end where the run ended."""

from __future__ import annotations

from pathlib import Path

import pytest

import ddsched_nb as dd
from ddsched_nb.core.events import RequestLeaseAcquired, RequestWaitStarted
from ddsched_nb.errors import RecordError
from ddsched_nb.sim.replay import Replayed, replay
from ddsched_nb.workloads.catalog import WORKLOADS

SMALL = [workload for workload in WORKLOADS if workload.name != "million-rows"]


def agrees(replayed: Replayed, run: dd.Run | dd.SimulatedRecord) -> None:
    stood = run.statistics() if isinstance(run, dd.Run) else run.result.statistics
    assert replayed.pools == stood.pools
    assert replayed.leases == 0
    assert replayed.rows_finished == stood.rows_finished
    assert replayed.rows_dropped == stood.rows_dropped
    assert replayed.row_groups_finished == stood.row_groups_finished


@pytest.mark.parametrize("workload", SMALL, ids=lambda w: w.name)
def test_a_simulated_run_is_rebuilt_exactly(workload: dd.Workload, tmp_path: Path) -> None:
    record = dd.simulate(workload, seed=2)
    replayed = replay(record, workload.config.request_admission)
    agrees(replayed, record)
    assert replayed.decisions > workload.rows  # type: ignore[operator]
    loaded = dd.RunRecord.load(record.save(tmp_path / "run.jsonl"))
    assert replay(loaded, workload.config.request_admission) == replayed


@pytest.mark.parametrize("limit", ["aimd", "ceiling", "fixed"])
async def test_a_real_run_is_rebuilt_exactly(limit: str) -> None:
    profile = dd.EndpointProfile(
        model="w",
        capacity=3,
        latency=0.01,
        retry_after_s=0.02,
        faults=[dd.Fault(kind="error", share=0.2)],
    )
    admission = dd.RequestAdmissionConfig(
        limit=limit, startup_ramp_s=0.05 if limit == "aimd" else 0
    )
    column = dd.ModelColumn("a", model="w", prompt="Line {{ row_id }}.")
    async with dd.EmbeddedEndpoint([profile]) as endpoint:
        provider = dd.OpenAICompatible("p", base_url=endpoint.base_url)
        pipeline = dd.Pipeline(
            columns=[dd.Column("row_id", generate=list), column],
            models=[dd.Model("w", provider="p", max_parallel_requests=8)],
            providers=[provider],
        )
        config = dd.RunConfig(
            request_admission=admission, retry=dd.RetryConfig(initial_backoff_s=0.01)
        )
        run = dd.start(pipeline, rows=60, config=config)
        await run
    assert run.statistics().pools[0].refused > 0
    agrees(replay(run.record, admission), run)


def test_another_configuration_decides_otherwise_and_is_noticed() -> None:
    record = dd.simulate("tight", rows=64)
    other = dd.RequestAdmissionConfig(limit="aimd")
    with pytest.raises(RecordError, match=r"replay differs from .* give the run's own"):
        replay(record, other)


def test_a_record_that_lost_an_event_is_noticed() -> None:
    record = dd.simulate("tight", rows=64)
    for kind in (RequestLeaseAcquired, RequestWaitStarted):
        lost = next(event for event in record.events if isinstance(event, kind))
        cut = dd.RunRecord(event for event in record.events if event is not lost)
        with pytest.raises(RecordError, match="replay differs"):
            replay(cut)
    record.truncated = True
    with pytest.raises(RecordError, match="the record is cut"):
        replay(record)
