"""What a run of the suite comes to: a row for each case, a verdict for each check, where from.

`summary.json` is one `Summary`. Field names of a row are the reference's where it has them. This
module must not know how anything is measured or judged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from ddsched_nb.errors import ConfigError

__all__ = [
    "Baseline",
    "Change",
    "Check",
    "Clock",
    "Counted",
    "FuzzRow",
    "Mode",
    "Provenance",
    "ResourceRow",
    "Row",
    "Series",
    "Severity",
    "Summary",
    "Timeline",
    "read_summary",
    "sha256_of",
]

SCHEMA = "ddsched-nb-idle-suite"
SCHEMA_VERSION = 1
SUITE_ID = "async-scheduling-idle-regression"
SUITE_VERSION = "1.1"

Mode = Literal["quick", "full"]
Clock = Literal["virtual", "real"]
Severity = Literal["error", "warning"]
Counted = Literal["leased", "in_flight", "refused", "row_groups", "target"]


class ResourceRow(msgspec.Struct, frozen=True):
    """One resource of a case; seconds are means over iterations, the rest is the most."""

    name: str
    stream: Literal["scheduler", "request"]
    capacity: int
    max_in_flight: int
    capacity_seconds: float
    busy_seconds: float
    idle_seconds: float
    starved_idle_seconds: float
    frontier_idle_seconds: float
    burstiness_coefficient: float
    queue_age_p95_seconds: float
    queue_age_max_seconds: float


class Series(msgspec.Struct, frozen=True):
    """One line of a timeline.

    Attributes:
        what: What is counted: permits in flight, for instance, as a mean over each span; refusals
            are those of a span.
        of: The resource or pool that it is counted of; empty for row groups.
        top: What there is of it; where nothing bounds it, the most there was.
        values: One a span.
    """

    what: Counted
    of: str
    top: float
    values: tuple[float, ...]


class Timeline(msgspec.Struct, frozen=True):
    """How the first run of a case went, in equal spans that make up `seconds`."""

    seconds: float
    series: tuple[Series, ...]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What one case came to. Those of its names that the reference has mean what they mean there.

    Attributes:
        key: Sweep and name.
        origin: Whose case it is.
        control: Whether it keeps a behaviour on purpose, for comparison.
        holds_slots: Whether its tasks hold their slots while they wait for permits.
        service_seconds: What a cell of each kind takes, as declared.
        bare_service_seconds: The same in real time, on a bare asyncio loop, as many at once.
        bound_seconds: No schedule is faster. In real time: with services that take what a bare
            asyncio loop needs for the same sleeps, as many at once.
        nominal_bound_seconds: The same with services that take what they are declared to.
        binding: What it is that cannot be beaten.
        oracle_seconds: What an oracle takes that has every row group open.
        useful_utilization_ratio: Declared service over the time of the slots, or permits, for it.
        wake_probe_p95_seconds: From the release of a permit to the waiter's lease.
        digests: SHA-256 of the record of each iteration.
        idle_causes: Idle slot-seconds of each resource that was idle, by cause.
        row_group_target_after_peak: The lowest target after the highest.
        row_group_open_rows_mean: Rows that were open, as a mean over time.
        refused_request_count: Requests that were refused, of all runs.
        queue_wait_p95_seconds: By column, from being queued to being leased; of the first run.
        timeline: How it went over time; None in summaries from before there was one.
    """

    key: str
    sweep: str
    name: str
    number: int
    origin: Literal["reference", "own"]
    control: bool
    scenario: str
    iterations: int
    record_count: int
    buffer_size: int
    row_group_concurrency: int
    task_admission_capacity: int
    llm_wait_capacity: int
    holds_slots: bool
    generation_count: int
    rows_finished: int
    service_seconds: tuple[float, ...]
    bare_service_seconds: tuple[float, ...]

    mean_wall_time_seconds: float
    p95_wall_time_seconds: float
    throughput_generations_per_second: float
    bound_seconds: float
    nominal_bound_seconds: float
    binding: str
    wall_over_bound: float
    oracle_seconds: float
    wall_over_oracle: float
    useful_utilization_ratio: float

    llm_wait_utilization_ratio: float
    llm_wait_idle_ratio: float
    llm_wait_starved_idle_ratio: float
    llm_wait_frontier_dependency_horizon_idle_ratio: float
    llm_wait_starved_idle_seconds: float
    llm_wait_frontier_dependency_horizon_idle_seconds: float
    llm_wait_scheduler_queue_age_p95_seconds: float
    llm_wait_scheduler_queue_age_max_seconds: float
    llm_wait_burstiness_coefficient: float
    submission_utilization_ratio: float
    submission_starved_idle_ratio: float
    submission_frontier_dependency_horizon_idle_ratio: float

    pipeline_overlap_ratio: float
    downstream_ready_gap_p95_seconds: float
    downstream_ready_gap_max_seconds: float
    first_downstream_dispatch_delay_seconds: float

    request_utilization_ratio: float
    request_idle_ratio: float
    request_starved_idle_ratio: float
    request_frontier_dependency_horizon_idle_ratio: float
    request_burstiness_coefficient: float
    request_wait_seconds_while_task_leased_mean: float
    request_wait_seconds_while_task_leased_max: float
    request_pressure_advisory_enabled: bool
    request_pressure_advisory_skip_count: int
    first_model_dispatch_column: str | None

    row_group_admission_mode: Literal["fixed", "adaptive"]
    row_group_admission_target: int
    row_group_admission_observed_max_target: int
    row_group_admission_max_admitted_rows: int

    validation_passed: bool
    validation_errors: tuple[str, ...]
    final_zero_task_leases: bool
    final_zero_request_leases: bool
    final_zero_request_waiters: bool
    selected_count: int
    accepted_count: int
    wake_probe_p95_seconds: float
    digests: tuple[str, ...]
    dominant_idle_class: str
    recommended_next_lever: str
    resources: tuple[ResourceRow, ...]
    idle_causes: dict[str, dict[str, float]] = {}
    row_group_target_after_peak: int = 0
    row_group_open_rows_mean: float = 0.0
    refused_request_count: int = 0
    queue_wait_p95_seconds: dict[str, float] = {}
    timeline: Timeline | None = None


class FuzzRow(msgspec.Struct, frozen=True):
    """What a few seeds of the fuzzer found.

    Attributes:
        target: What was run.
        runs: Runs that were judged.
        steps: Callbacks that ran in all of them.
        faults: Faults that were injected in all of them.
        broken: The law that a run broke; empty if none did.
        command: The line that reproduces it.
    """

    target: str
    runs: int
    steps: int
    faults: int
    broken: str = ""
    command: str = ""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One check: what it wants, what was there, and why it failed.

    Attributes:
        id: Unique within a summary.
        group: Which kind it is of.
        severity: An `error` that fails makes the suite fail.
        title: What it is about, in words.
        case: Key of the case it is about; empty if it is about several.
        passed: Whether it holds.
        observed: What was there.
        required: What must be there.
        reason: A sentence; empty if it passed.
    """

    id: str
    group: str
    severity: Severity
    title: str
    case: str = ""
    passed: bool
    observed: str
    required: str
    reason: str = ""


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """Where the figures come from."""

    commit: str
    dirty: bool | None
    command: str
    seed: int
    machine: str
    processors: int
    versions: dict[str, str]
    cases_edited: bool = False


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of a case beside that of the baseline."""

    case: str
    metric: str
    before: float
    after: float
    verdict: Literal["better", "worse"]


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """What the run was compared with."""

    file: str
    sha256: str
    commit: str
    changes: tuple[Change, ...]


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """All that a run of the suite says. `hashes` are SHA-256, of the other files and of `cases`."""

    schema: str = SCHEMA
    version: int = SCHEMA_VERSION
    suite_id: str = SUITE_ID
    suite_version: str = SUITE_VERSION
    mode: Mode
    clock: Clock
    provenance: Provenance
    cases: tuple[Row, ...]
    checks: tuple[Check, ...] = ()
    baseline: Baseline | None = None
    hashes: dict[str, str] = {}
    fuzz: tuple[FuzzRow, ...] = ()

    @property
    def rows(self) -> Mapping[str, Row]:
        """The cases by their keys."""
        return {row.key: row for row in self.cases}

    @property
    def failed(self) -> Sequence[Check]:
        """The checks that failed, errors first."""
        return sorted((c for c in self.checks if not c.passed), key=lambda c: c.severity)

    @property
    def broken(self) -> bool:
        """Whether a check of severity `error` failed."""
        return any(check.severity == "error" for check in self.failed)

    @property
    def cases_sha256(self) -> str:
        """A digest of the cases: equal for equal figures."""
        return sha256_of(msgspec.json.encode(self.cases))

    def encoded(self) -> bytes:
        """The summary as JSON, a line a field."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"


def sha256_of(content: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def read_summary(path: Path) -> Summary:
    """Reads a `summary.json`.

    Raises:
        ConfigError: It is not there, is no summary, or is newer than this package.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {str(path)!r}: {error.strerror}") from error
    try:
        head = msgspec.json.decode(content, type=_Head)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{str(path)!r} is no summary of the idle suite: {error}") from error
    if head.schema != SCHEMA:
        raise ConfigError(f"{str(path)!r} holds {head.schema!r}, not {SCHEMA!r}")
    if head.version > SCHEMA_VERSION:
        raise ConfigError(
            f"{str(path)!r} has version {head.version}, this package reads up to {SCHEMA_VERSION}; "
            "upgrade ddsched-nb"
        )
    try:
        return msgspec.json.decode(content, type=Summary)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{str(path)!r} is damaged: {error}") from error


class _Head(msgspec.Struct, frozen=True):
    schema: str
    version: int
