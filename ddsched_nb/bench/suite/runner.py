"""Runs the idle suite: its cases one after the other, then the checks over their rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from ddsched_nb.bench.suite.baseline import (
    Tolerances,
    baseline_checks,
    changes,
    must_be_comparable,
)
from ddsched_nb.bench.suite.cases import CASES, COMBINED, FULL_CASES, OWN_CASES, Case
from ddsched_nb.bench.suite.checks import reference_checks
from ddsched_nb.bench.suite.measuring import Possible, make_row
from ddsched_nb.bench.suite.own_cases import settings
from ddsched_nb.bench.suite.own_checks import own_checks
from ddsched_nb.bench.suite.provenance import provenance
from ddsched_nb.bench.suite.running import (
    bare_sleep_s,
    llm_slots,
    run_case,
    simulate_case,
    simulated,
)
from ddsched_nb.bench.suite.smoke import fuzz_smoke
from ddsched_nb.bench.suite.summary import (
    Baseline,
    Clock,
    Mode,
    Row,
    Summary,
    read_summary,
    sha256_of,
)
from ddsched_nb.bench.suite.table import measure
from ddsched_nb.bench.suite.writing import SUMMARY
from ddsched_nb.errors import ConfigError

__all__ = ["judge", "reread", "run_suite", "suite_cases"]

Say = Callable[[str], None]

# Of settings whose calls take but a millisecond: ours may take longer, the reference's may not.
_STRETCH: dict[Clock, float] = {"virtual": 1.0, "real": 10.0}


def suite_cases(mode: Mode, clock: Clock = "virtual") -> tuple[Case, ...]:
    """The reference's cases of a mode, and our own."""
    stretch = _STRETCH[clock]
    both = [
        setting.case(adaptive=adaptive, advisory=advisory, stretch=stretch)
        for setting in COMBINED
        for adaptive, advisory in ((False, False), (True, False), (False, True), (True, True))
    ]
    theirs = CASES if mode == "quick" else FULL_CASES
    return (*theirs, *OWN_CASES, *both, *settings(stretch))


def run_suite(mode: Mode, clock: Clock, say: Say, cases: Sequence[Case] | None = None) -> Summary:
    """Runs every case; the summary has no checks yet (see `judge`).

    Args:
        mode: Which cases.
        clock: Virtual time, or a real loop.
        say: Told of each case that has ended.
        cases: Other cases than those of the mode, and nothing is fuzzed.
    """
    whole = cases is None
    cases = suite_cases(mode, clock) if cases is None else cases
    rows = []
    for number, case in enumerate(cases, start=1):
        rows.append(_row(case, clock))
        say(f"[{number}/{len(cases)}] {_told(rows[-1])}")
    command = f"ddsched-nb suite --{mode}" + (" --real-time" if clock == "real" else "")
    found = provenance(command)
    fuzzed = fuzz_smoke() if whole and clock == "virtual" else ()
    if fuzzed:
        say(f"fuzzed {len(fuzzed)} kinds of work, {sum(one.runs for one in fuzzed)} runs")
    return Summary(mode=mode, clock=clock, provenance=found, cases=tuple(rows), fuzz=fuzzed)


def judge(summary: Summary, baseline: Path | None, allowed: Tolerances) -> Summary:
    """The summary with all checks, and with the comparison if there is a baseline.

    Raises:
        ConfigError: The baseline cannot be read, or is of another mode or clock.
    """
    checks = [*reference_checks(summary), *own_checks(summary)]
    compared = None
    if baseline is not None:
        base = read_summary(baseline)
        must_be_comparable(summary, base)
        checks += baseline_checks(summary, base, allowed)
        compared = Baseline(
            file=baseline.name,
            sha256=sha256_of(baseline.read_bytes()),
            commit=base.provenance.commit,
            changes=changes(summary, base),
        )
    return msgspec.structs.replace(summary, checks=tuple(checks), baseline=compared)


def reread(folder: Path, mode: Mode | None, clock: Clock | None, say: Say) -> Summary:
    """The cases of an earlier run, to be judged again.

    Raises:
        ConfigError: There is none, or it is of another mode or clock than was asked for.
    """
    summary = read_summary(folder / SUMMARY)
    for name, asked, there in (("mode", mode, summary.mode), ("clock", clock, summary.clock)):
        if asked is not None and asked != there:
            raise ConfigError(f"{str(folder / SUMMARY)!r} has {name} {there!r}, not {asked!r}")
    if summary.hashes.get("cases") != summary.cases_sha256:
        say("the cases were edited since they were measured")
        edited = msgspec.structs.replace(summary.provenance, cases_edited=True)
        summary = msgspec.structs.replace(summary, provenance=edited)
    return summary


def _row(case: Case, clock: Clock) -> Row:
    nominal = measure(case)
    if clock == "virtual":
        first = simulated(nominal.record, nominal.found)
        iterations = [first, *(simulate_case(case, first) for _ in range(case.iterations - 1))]
        return make_row(case, iterations, Possible(nominal, nominal, case.service_s))
    before = _bare(case)
    iterations = [run_case(case) for _ in range(case.iterations)]
    # Other work on the machine must not make the bound a loose one.
    service = tuple(map(min, before, _bare(case)))
    elapsed = measure(case.with_service(service))
    return make_row(case, iterations, Possible(elapsed, nominal, service))


def _bare(case: Case) -> tuple[float, ...]:
    """What the services of a case take on a bare loop, now."""
    slots = llm_slots(case)
    return tuple(max(seconds, bare_sleep_s(seconds, slots)) for seconds in case.service_s)


def _told(row: Row) -> str:
    return (
        f"{row.key}: {row.mean_wall_time_seconds:.3f} s, {row.wall_over_bound:.3f} x the bound, "
        f"llm utilization {row.llm_wait_utilization_ratio:.3f}"
    )
