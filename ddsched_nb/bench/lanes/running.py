"""Runs lanes on an endpoint, over HTTP, and reads from each record what became of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from ddsched_nb.analysis.bounds import Bounds, Endpoint, compute_bounds
from ddsched_nb.analysis.work import Call, read_work
from ddsched_nb.bench.lanes.catalog import Lane, Setup, Work
from ddsched_nb.bench.lanes.result import LaneResult
from ddsched_nb.clients.latency import Latency
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import OutcomeKind, Task
from ddsched_nb.errors import AccessDenied, ConfigError, DdschedError
from ddsched_nb.record import RunRecord
from ddsched_nb.run import Run, start

__all__ = ["EMBEDDED", "run_lane"]

EMBEDDED: tuple[EndpointProfile, ...] = (
    EndpointProfile(model="strong", capacity=16, latency=Latency(mean_s=0.1, sigma=0.5)),
    EndpointProfile(model="small", capacity=32, latency=Latency(mean_s=0.04, sigma=0.5)),
)
"""What is asked where nobody names an endpoint."""


def run_lane(
    lane: Lane, setup: Setup, known: Mapping[str, EndpointProfile], folder: Path | None = None
) -> LaneResult:
    """Runs a lane and waits for it.

    Args:
        lane: Which.
        setup: Where, and how much.
        known: What models are like, by id, for the bound: those of which it is known.
        folder: Where its record goes; nowhere if None.

    Raises:
        AccessDenied: The endpoint does not take the key: no other lane would fare better.
        ConfigError: The record cannot be written.
    """
    work = lane.build(setup)
    rows = lane.rows(setup, work.calls_a_row)
    path = None if folder is None else folder / f"{lane.name}.jsonl"
    config = work.config if path is None else work.config.model_copy(update={"record": path})
    run = start(work.pipeline, rows=rows, config=config)
    why = None
    try:
        _ = run.wait()
    except AccessDenied:
        raise
    except OSError as error:
        raise ConfigError(f"cannot write to {str(folder)!r}: {error.strerror}") from error
    except DdschedError as error:
        why = str(error)
    return _read(lane, work, run, known, why, path)


def _read(
    lane: Lane,
    work: Work,
    run: Run,
    known: Mapping[str, EndpointProfile],
    why: str | None,
    path: Path | None,
) -> LaneResult:
    said, record = run.summary(), run.record
    answered = [
        event
        for event in record.select(ev.ModelRequestCompleted)
        if event.outcome is OutcomeKind.SUCCESS
    ]
    seconds = sorted(event.seconds for event in answered)
    bounds = _bounds(work, record, answered, known)
    most = _most_in_flight(record)
    if why is None and said.dropped_by:
        reason, count = said.dropped_by[0]
        why = f"{count} x {reason}"
    return LaneResult(
        lane=lane.name,
        about=lane.about,
        state=said.state,
        why=why,
        rows=said.rows,
        finished=said.finished,
        dropped=said.dropped,
        requests=sum(model.requests for model in said.models),
        refused=sum(model.refused for model in said.models),
        failed=sum(model.failed for model in said.models),
        tokens=sum(model.tokens for model in said.models),
        wall_s=said.elapsed_s,
        bound_s=None if bounds is None else bounds.lower_s,
        binding=None if bounds is None else bounds.binding,
        p50_s=_percentile(seconds, 0.5),
        p95_s=_percentile(seconds, 0.95),
        limits={model.name: (model.limit, most.get(model.name, 0)) for model in said.models},
        record=None if path is None else path.name,
    )


def _percentile(ascending: Sequence[float], share: float) -> float:
    """Nearest rank, as the reference takes it; 0 of nothing."""
    return ascending[round((len(ascending) - 1) * share)] if ascending else 0.0


def _most_in_flight(record: RunRecord) -> dict[str, int]:
    most: dict[str, int] = defaultdict(int)
    for event in record.select(ev.RequestLeaseAcquired):
        most[event.pool.label] = max(most[event.pool.label], event.in_flight)
    return most


def _bounds(
    work: Work,
    record: RunRecord,
    answered: Sequence[ev.ModelRequestCompleted],
    known: Mapping[str, EndpointProfile],
) -> Bounds | None:
    """The bound of the calls, each as long as it took; None where a capacity is not known."""
    caps = {key: found.cap for key, found in work.pipeline.model_capacities.items()}
    if not answered or any(key.model not in known for key in caps):
        return None
    tasks = {
        event.task_id: Task(event.column, event.row_group, event.row)
        for event in record.select(ev.WorkerSpawned)
    }
    calls = [
        Call(tasks[event.task_id], event.pool.model_key, event.seconds, event.tokens)
        for event in answered
        if event.task_id in tasks
    ]
    works = read_work(record, work.pipeline.graph(()), calls)
    endpoints = {key: Endpoint(known[key.model], cap) for key, cap in caps.items()}
    capacities = record.select(ev.SchedulerJobStarted)[0].capacities
    return compute_bounds(works, endpoints, capacities) if works else None
