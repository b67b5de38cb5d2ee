"""Schedule fuzzing: a run in every order that asyncio allows, with faults, and what must hold.

Each seed is one run of the production scheduler in virtual time, on a loop that varies the order of
things and lets things go wrong. After it the whole run is judged. What fails is made small: the
fewest faults and the smallest seed that still fail, in one line that reproduces it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ddsched_nb.aio.scheduler import SPAWN_RETRY_S
from ddsched_nb.clients.profile import EndpointProfile, Fault
from ddsched_nb.config import RunConfig
from ddsched_nb.engine import StandIns
from ddsched_nb.errors import DdschedError
from ddsched_nb.reprs import brief, facts_html, tell_whole
from ddsched_nb.run import Run
from ddsched_nb.sim.apart import apart
from ddsched_nb.sim.chaos import (
    LONGEST_DEFER_S,
    ChaosLoop,
    InjectedFault,
    parse_faults,
    pick,
    plan_faults,
)
from ddsched_nb.sim.guards import real_world_refused
from ddsched_nb.sim.limiter_fuzz import limiter_run
from ddsched_nb.sim.simulate import Plan, make_plan
from ddsched_nb.sim.witness import WatchedClient, WatchedSink, Witness
from ddsched_nb.workloads import find_workload
from ddsched_nb.workloads.base import Workload

__all__ = ["FuzzFailure", "FuzzReport", "fuzz"]

DEFAULT_ROWS = 40
_TIMEOUT_S = 20.0
_PAUSE_S = 0.7
# What goes wrong at an endpoint when a fault asks for it; only first attempts, so no row is lost.
_ENDPOINT_FAULTS = (
    Fault(kind="error", share=0.1),
    Fault(kind="hang", share=0.03),
    Fault(kind="disconnect", share=0.05),
    Fault(kind="garbage", share=0.05),
)
LIMITER = "limiter"
"""Names the target that is no workload: request admission alone, with timeouts."""
TARGETS = (
    LIMITER,
    "tight",
    "drop",
    "diamond",
    "generate-then-judge",
    "dynamic-requests",
    "cross-provider-cooldown",
    "rate-limit-storm",
    "outage-and-recovery",
    "dropped-rows",
    "whole-groups",
    "real-pipeline-overlap",
    "fan-in",
)
"""What is fuzzed where nobody says what: each kind of work, each kind of refusal."""


@dataclass(frozen=True, slots=True)
class FuzzFailure:
    """A run that broke a law.

    Attributes:
        target: The workload, or `limiter`.
        rows: Its rows.
        seed: The seed of the order.
        faults: What went wrong on purpose.
        broken: What must never happen and did.
    """

    target: str
    rows: int
    seed: int
    faults: tuple[InjectedFault, ...]
    broken: tuple[str, ...]

    @property
    def command(self) -> str:
        """The line that reproduces it."""
        faults = ",".join(map(str, self.faults)) or "none"
        return (
            f"ddsched-nb fuzz {self.target} --rows {self.rows} --seed {self.seed} --faults {faults}"
        )

    def __repr__(self) -> str:
        return brief(f"<FuzzFailure of {self.target}, seed {self.seed}: {self.broken[0]}>")

    def __str__(self) -> str:
        return f"<FuzzFailure: {self.broken[0]}\n  {self.command}>"

    _repr_pretty_ = tell_whole

    def _repr_html_(self) -> str:
        facts = [*(("broken", law) for law in self.broken), ("again", self.command)]
        return facts_html(f"{self.target}, seed {self.seed}: a law is broken", facts)


@dataclass(frozen=True, slots=True)
class FuzzReport:
    """What fuzzing found.

    Attributes:
        target: The workload, or `limiter`.
        runs: Runs that were judged.
        steps: Callbacks that ran in all of them.
        faults: Faults that were injected in all of them.
        failure: The smallest failing run; None if no run failed.
    """

    target: str
    runs: int
    steps: int
    faults: int
    failure: FuzzFailure | None

    def __repr__(self) -> str:
        broken = "no law broken" if self.failure is None else repr(self.failure)
        return brief(f"<{self._judged()}; {broken}>")

    def __str__(self) -> str:
        broken = "no law broken" if self.failure is None else str(self.failure)
        return f"<{self._judged()}; {broken}>"

    _repr_pretty_ = tell_whole

    def _repr_html_(self) -> str:
        failure = "" if self.failure is None else self.failure._repr_html_()
        facts = [("runs", self.runs), ("steps", self.steps), ("faults injected", self.faults)]
        broken = "no law broken" if self.failure is None else "a law is broken"
        return facts_html(f"{self.target}: {broken}", facts) + failure

    def _judged(self) -> str:
        return f"{self.target}: {self.runs} runs, {self.steps} steps, {self.faults} faults"


def fuzz(
    work: Workload | str,
    *,
    seeds: Iterable[int] = range(1000),
    rows: int = DEFAULT_ROWS,
    faults: str | None = None,
    shrink: bool = True,
) -> FuzzReport:
    """Runs a workload under many orders and faults, and judges each run.

    Args:
        work: A workload or its name, or `"limiter"` for request admission alone.
        seeds: One run each; stops at the first that fails.
        rows: Rows of each run, where the workload has no table.
        faults: The same faults in each run, as a failure prints them (`"cancel@120,defer@44"`, or
            `"none"`); drawn from the seed if None.
        shrink: Whether to make a failure small.

    Returns:
        What was found. `report.failure.command` reproduces a failure.

    Raises:
        ConfigError: There is no such workload, or `faults` is not of this form.
    """
    target = _Target(work, rows)
    given = None if faults is None else parse_faults("" if faults == "none" else faults)
    return apart(lambda: _fuzz(target, seeds, given, shrink))


def _fuzz(
    target: _Target,
    seeds: Iterable[int],
    given: tuple[InjectedFault, ...] | None,
    shrink: bool,
) -> FuzzReport:
    runs = steps = injected = 0
    failure = None
    with _quiet():
        calm = target.run(0, ())
        for seed in seeds:
            faults = plan_faults(seed, calm.steps) if given is None else given
            seen = target.run(seed, faults)
            runs, steps, injected = runs + 1, steps + seen.steps, injected + len(faults)
            if seen.broken:
                failure = FuzzFailure(target.name, target.rows, seed, faults, seen.broken)
                break
        if failure is not None and shrink:
            failure = _shrunk(target, failure)
    return FuzzReport(target.name, runs, steps, injected, failure)


def _shrunk(target: _Target, failure: FuzzFailure) -> FuzzFailure:
    """The fewest faults, and then the smallest seed, that still fail."""
    seed, faults, broken = failure.seed, failure.faults, failure.broken
    shorter = True
    while shorter:
        shorter = False
        for place in range(len(faults)):
            fewer = faults[:place] + faults[place + 1 :]
            seen = target.run(seed, fewer)
            if seen.broken:
                faults, broken, shorter = fewer, seen.broken, True
                break
    for smaller in range(min(seed, 64)):
        seen = target.run(smaller, faults)
        if seen.broken:
            seed, broken = smaller, seen.broken
            break
    return FuzzFailure(target.name, target.rows, seed, faults, broken)


class _Seen(NamedTuple):
    broken: tuple[str, ...]
    steps: int


class _Target:
    """What is fuzzed: made once, run often."""

    def __init__(self, work: Workload | str, rows: int) -> None:
        self.rows = rows
        self._plan: Plan | None = None
        self._dropped = 0
        self._calm_steps = 1_000
        if work == LIMITER:
            self.name = LIMITER
            return
        workload = find_workload(work) if isinstance(work, str) else work
        expected = workload.expect.dropped
        if workload.table is None:
            full = workload.rows or rows
            workload = workload.with_rows(rows)
            # Workloads drop every so-manieth row, so a calm run of this size says how many.
            self._dropped = -1 if expected and rows != full else expected
        self.name = workload.name
        self._plan = make_plan(workload, _settings(workload.config, rows))
        if self._dropped < 0:
            self._dropped = 0
            self._dropped = self._calm_drops()

    def run(self, seed: int, faults: Sequence[InjectedFault]) -> _Seen:
        """One run, judged."""
        if self._plan is None:
            return _Seen(*limiter_run(seed, faults, self.rows))
        seen, _ = _run(self._plan, seed, faults, self._dropped, self._calm_steps)
        if not faults:
            self._calm_steps = seen.steps
        return seen

    def _calm_drops(self) -> int:
        assert self._plan is not None
        _, witness = _run(self._plan, 0, (), 0, self._calm_steps)
        return len(witness.dropped)


def _settings(config: RunConfig, rows: int) -> RunConfig:
    """Small row groups, and patience: a fault may delay a row, and never costs it."""
    retry = config.retry.model_copy(
        update={"max_attempts": 6, "max_deferrals": 60, "deferral_delay_s": 0.05}
    )
    return config.model_copy(
        update={
            "buffer_size": max(1, min(config.buffer_size, rows // 5)),
            "max_concurrent_row_groups": min(config.max_concurrent_row_groups or 3, 3),
            "record": True,
            "retry": retry,
            "disable_early_shutdown": True,
        }
    )


def _run(
    plan: Plan, seed: int, faults: Sequence[InjectedFault], dropped: int, steps: int
) -> tuple[_Seen, Witness]:
    witness = Witness()
    waits = {"defer": LONGEST_DEFER_S, "spawn": SPAWN_RETRY_S}
    witness.patience_s += sum(waits.get(fault.kind, 0.0) for fault in faults)
    shaky = any(fault.kind == "endpoint" for fault in faults)
    clients = {name: _client(name, found, shaky, witness) for name, found in plan.profiles.items()}
    stand_ins = StandIns(clients, WatchedSink(witness), inline=True, watch=witness.watch)
    run = Run(plan.pipeline, plan.table, plan.config, None, stand_ins)
    loop = ChaosLoop(  # type: ignore[abstract]
        seed, faults, lambda fault: _act(fault, seed, loop, run, witness), steps
    )
    crash: Exception | None = None
    with real_world_refused():
        try:
            loop.run_until_complete(_follow(run))
        except Exception as error:
            crash = error
        finally:
            loop.close()
    _judge_end(witness, run, crash, faults, clients, loop.time())
    rows = plan.table.rows
    broken = witness.judge(run.record.events, run.state, rows, dropped)
    return _Seen(tuple(broken), loop.steps), witness


def _judge_end(
    witness: Witness,
    run: Run,
    crash: Exception | None,
    faults: Sequence[InjectedFault],
    clients: dict[str, WatchedClient],
    now: float,
) -> None:
    """Whether the run ended as these faults let it end, and the endpoints agree."""
    if crash is not None:
        witness.note(f"{type(crash).__name__}: {crash}")
        return
    kinds = {fault.kind for fault in faults}
    may_end = {"finished"}
    may_end |= {"cancelled"} if "stop" in kinds else set()
    may_end |= {"failed"} if "store" in kinds else set()
    if run.state not in may_end:
        witness.note(f"the run ended as {run.state}: {run.error}")
    for client in clients.values():
        for model, seen in client.statistics(now).models.items():
            ended = seen.ok + seen.refused + seen.faulted + seen.cancelled
            if seen.requests != ended or seen.in_flight:
                witness.note(f"{seen.requests} requests came to {model}, {ended} ended")


def _act(fault: InjectedFault, seed: int, loop: ChaosLoop, run: Run, witness: Witness) -> None:
    """Lets a fault happen that the loop cannot bring about itself."""
    if fault.kind == "cancel":
        # Sorted by name, which counts up: a set has no order that a seed could rely on.
        workers = [task for task in asyncio.all_tasks(loop) if _is_worker(task)]
        workers.sort(key=lambda task: (len(task.get_name()), task.get_name()))
        chosen = pick(workers, fault, seed)
        if chosen is not None:
            chosen.cancel()
    elif fault.kind == "spawn":
        loop.unspawnable += 1
    elif fault.kind == "subscriber":
        run.events.subscribe(_Raises())
    elif fault.kind == "pause":
        run.pause()
        loop.call_later(_PAUSE_S, run.resume)
    elif fault.kind == "stop":
        run.cancel()
    elif fault.kind == "store":
        witness.fail_next_store = True


def _is_worker(task: asyncio.Task[Any]) -> bool:
    return getattr(task.get_coro(), "__qualname__", "").endswith("Worker.run")


class _Raises:
    """A subscriber that raises, once."""

    def __init__(self) -> None:
        self._raised = False

    def __call__(self, event: Any) -> None:
        if not self._raised:
            self._raised = True
            raise RuntimeError("an injected fault: a subscriber raises")


def _client(
    name: str, profiles: Iterable[EndpointProfile], shaky: bool, witness: Witness
) -> WatchedClient:
    found = list(profiles)
    if shaky:
        found = [profile.model_copy(update={"faults": _ENDPOINT_FAULTS}) for profile in found]
    client = WatchedClient(name, found, timeout_s=_TIMEOUT_S)
    client.witness = witness
    return client


async def _follow(run: Run) -> None:
    run.launch()
    with contextlib.suppress(DdschedError):  # how it ended is judged
        _ = await run


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What the faults make the package log is of no interest."""
    log = logging.getLogger("ddsched_nb")
    before, log.disabled = log.level, True
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.disabled = False
        log.setLevel(before)
