"""The idle suite passes in virtual time; each kind of check fails when its subject is broken."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from ddsched_nb import cli
from ddsched_nb.bench.suite import runner
from ddsched_nb.bench.suite.baseline import Tolerances
from ddsched_nb.bench.suite.checks import RATIOS
from ddsched_nb.bench.suite.runner import judge, run_suite, suite_cases
from ddsched_nb.bench.suite.summary import (
    FuzzRow,
    ResourceRow,
    Summary,
    read_summary,
    sha256_of,
)
from ddsched_nb.bench.suite.writing import write_files

REFERENCE = {"shape": 4, "required": 14, "correctness": 88, "metrics": 242, "behaviour": 19}


@pytest.fixture(scope="module")
def measured() -> Summary:
    """The quick suite in virtual time, run once."""
    return run_suite("quick", "virtual", lambda said: None)


@pytest.fixture
def good(measured: Summary) -> Summary:
    return judge(measured, None, Tolerances())


def test_the_quick_suite_passes_in_virtual_time(good: Summary) -> None:
    assert [check.reason for check in good.failed] == []
    groups = Counter(check.group for check in good.checks)
    assert {name: groups[name] for name in REFERENCE} == REFERENCE
    assert sum(REFERENCE.values()) == 367
    assert all(c.severity == "error" for c in good.checks if c.group in REFERENCE)
    own = {"self-validation", "determinism", "bounds", "yield", "combined", "causes"}
    own |= {"both-ways", "limits", "policies", "fuzz"}
    assert set(groups) == {*REFERENCE, *own}
    ids = [check.id for check in good.checks]
    assert len(ids) == len(set(ids))


def test_equal_runs_give_equal_rows(good: Summary) -> None:
    keys = ("row-scale/rows-64", "adaptations/adaptive-request-pressure-combined")
    cases = [case for case in suite_cases("quick") if case.key in keys]
    again = run_suite("quick", "virtual", lambda said: None, cases)
    assert again.cases == tuple(good.rows[key] for key in keys)
    assert again.provenance == good.provenance


def test_rows_hold_what_the_reference_s_rows_hold(good: Summary) -> None:
    row = good.rows["buffer-size/buffer-1"]
    assert row.llm_wait_capacity == 4
    assert row.generation_count == 4096
    assert row.throughput_generations_per_second == pytest.approx(4096 / 1.6896)
    assert row.useful_utilization_ratio == pytest.approx(1.0)
    assert row.pipeline_overlap_ratio > 0.99
    assert row.first_model_dispatch_column is None
    assert row.row_group_admission_max_admitted_rows == 4
    advised = good.rows["adaptations/request-pressure-advisory"]
    assert advised.first_model_dispatch_column == "z_open"
    assert advised.request_pressure_advisory_skip_count == 32
    assert len(good.rows["stress-shape/wide-frontier-high-cap"].digests) == 3
    assert good.rows["stress-shape/narrow-frontier-high-cap"].dominant_idle_class.startswith(
        "front"
    )


Doctor = Callable[[Summary], Summary]
ROWS, BUFFER, TWIN = (
    "row-scale/rows-64",
    "buffer-size/buffer-1",
    "adaptations/request-pressure-yield",
)
NARROW, WIDE = (f"stress-shape/{name}-frontier-high-cap" for name in ("narrow", "wide"))
LOW, ADAPTIVE, HIGH = (
    f"adaptations/adaptive-row-groups-{name}" for name in ("fixed-low", "adaptive", "fixed-high")
)
PLAIN, ADVISED = (f"adaptations/request-pressure-{name}" for name in ("control", "advisory"))
COMBINED = "adaptations/adaptive-request-pressure-combined"
ONE, FOUR = (f"row-group-concurrency/row-groups-{n}" for n in (1, 4))
BOTH = "combined-40ms-160-4/both"
WAYS, MANY = (f"both-ways/{name}" for name in ("adaptive", "fixed-many"))
CEILING, SPARED = "limit/ceiling", "task-policy/bounded-borrow-ceiling"
UTIL = "llm_wait_utilization_ratio"
FRONTIER = "llm_wait_frontier_dependency_horizon_idle_ratio"
IDLE, STARVED = "llm_wait_idle_ratio", "llm_wait_starved_idle_ratio"
AGE = "llm_wait_scheduler_queue_age_p95_seconds"
WAITED = "request_wait_seconds_while_task_leased_mean"
TARGET = "row_group_admission_observed_max_target"
FIRST = "first_model_dispatch_column"
WALL = "mean_wall_time_seconds"


def rows(changes: dict[str, dict[str, Any]]) -> Doctor:
    """Changes fields of rows."""

    def doctor(summary: Summary) -> Summary:
        cases = [msgspec.structs.replace(r, **changes.get(r.key, {})) for r in summary.cases]
        return msgspec.structs.replace(summary, cases=tuple(cases))

    return doctor


def row(key: str, **fields: Any) -> Doctor:
    return rows({key: fields})


def resource(name: str, change: Callable[[ResourceRow], dict[str, Any]]) -> Doctor:
    """Changes a resource of case 20."""

    def doctor(summary: Summary) -> Summary:
        found = [
            msgspec.structs.replace(r, **change(r)) if r.name == name else r
            for r in summary.rows[ADVISED].resources
        ]
        return row(ADVISED, resources=tuple(found))(summary)

    return doctor


def without(*keys: str) -> Doctor:
    def doctor(summary: Summary) -> Summary:
        cases = tuple(r for r in summary.cases if r.key not in keys)
        return msgspec.structs.replace(summary, cases=cases)

    return doctor


def few(summary: Summary) -> Summary:
    """All that is not required is gone; what is left would respond to no row group."""
    required = {c.id.removeprefix("required.") for c in summary.checks if c.group == "required"}
    gone = [r.key for r in summary.cases if r.origin == "reference" and r.key not in required]
    return row(ONE, llm_wait_utilization_ratio=0.7)(without(*gone)(summary))


def whole(**fields: Any) -> Doctor:
    return lambda summary: msgspec.structs.replace(summary, **fields)


def wide(summary: Summary) -> Summary:
    return row(WIDE, generation_count=8191)(summary)


class Broken(NamedTuple):
    """What is doctored, which check must fail alone, and what its reason must say."""

    doctor: Doctor
    ids: tuple[str, ...]
    said: str


def of(group: str, id: str, doctor: Doctor, said: str, *also: str) -> Broken:
    return Broken(doctor, (f"{group}.{id}", *also), said)


PARTITION, OVER = f"metrics.{ROWS}.idle-partition", f"metrics.{ROWS}.idle-over-starved"
SHARES: dict[str, tuple[dict[str, float], tuple[str, ...]]] = {
    IDLE: ({IDLE: 1.2, STARVED: 0.6, FRONTIER: 0.6}, ()),
    STARVED: ({IDLE: 0.0, STARVED: -0.1, FRONTIER: 0.1}, ()),
    FRONTIER: ({IDLE: 0.1, STARVED: 0.2, FRONTIER: -0.1}, (OVER,)),
}
BROKEN = (
    of("shape", "suite-id", whole(suite_id="other"), "other"),
    of("shape", "suite-version", whole(suite_version="9"), "suite version is 9"),
    of("shape", "case-count", few, "number of cases is 14; it must be at least 15"),
    of("shape", "largest-case", wide, "8191"),
    of("required", ROWS, without(ROWS), "case row-scale/rows-64 is absent"),
    of(
        "correctness",
        f"{ROWS}.validation_passed",
        row(ROWS, validation_passed=False, validation_errors=("63 of 64 rows were finished",)),
        "63 of 64 rows",
    ),
    *(
        of("correctness", f"{ROWS}.{name}", row(ROWS, **{name: False}), "is no; it must be yes")
        for name in (
            "final_zero_task_leases",
            "final_zero_request_leases",
            "final_zero_request_waiters",
        )
    ),
    *(
        of("metrics", f"{ROWS}.{name}", row(ROWS, **fields), "a share from 0 to 1", *also)
        for name in RATIOS
        for fields, also in [SHARES.get(name, ({name: math.nan}, ()))]
    ),
    of("metrics", f"{ROWS}.{AGE}", row(ROWS, **{AGE: math.inf}), "is inf"),
    of(
        "metrics",
        f"{ROWS}.idle-over-starved",
        row(ROWS, **{IDLE: 0.1, STARVED: 0.2, FRONTIER: 0.0}),
        "-0.1",
        PARTITION,
    ),
    of("metrics", f"{ROWS}.idle-partition", row(ROWS, **{IDLE: 0.5, STARVED: 0.2}), "is 0.3"),
    of(
        "behaviour",
        "row-group-frontier-response",
        rows({ONE: {UTIL: 0.55}, FOUR: {UTIL: 0.7}}),
        "is 0.15; it must be at least 0.2",
    ),
    of("behaviour", "wide-row-group-utilization", row(FOUR, **{UTIL: 0.5}), "at least 0.55"),
    of("behaviour", "small-buffer-utilization", row(BUFFER, **{UTIL: 0.6}), "is 0.6"),
    of("behaviour", "wide-stress-utilization", row(WIDE, **{UTIL: 0.5}), "at least 0.53"),
    of(
        "behaviour",
        "wide-frontier-idle",
        row(WIDE, **{IDLE: 0.99, FRONTIER: 0.99, STARVED: 0.0}),
        "at most 0.1",
    ),
    of(
        "behaviour",
        "adaptive-row-groups-utilization",
        rows({LOW: {UTIL: 0.65}, ADAPTIVE: {UTIL: 0.7}, HIGH: {UTIL: 0.75}}),
        "is 0.05",
    ),
    of(
        "behaviour",
        "adaptive-row-groups-near-fixed-high",
        row(ADAPTIVE, **{UTIL: 0.85}),
        "at least -0.1",
    ),
    of(
        "behaviour",
        "adaptive-row-groups-frontier-idle",
        row(ADAPTIVE, **{IDLE: 0.2, FRONTIER: 0.2, STARVED: 0.0}),
        "is 0.2",
    ),
    of("behaviour", "adaptive-row-groups-target", row(ADAPTIVE, **{TARGET: 1}), "is 1"),
    of("behaviour", "control-first-dispatch", row(PLAIN, **{FIRST: "z_open"}), "a_pressured"),
    of(
        "behaviour",
        "control-leased-wait",
        rows({PLAIN: {WAITED: 0.005}, ADVISED: {WAITED: 0.0}}),
        "is 0.005; it must be at least 0.01",
    ),
    of("behaviour", "advisory-leased-wait", row(ADVISED, **{WAITED: 0.048}), "is -0.002"),
    of("behaviour", "advisory-first-dispatch", row(ADVISED, **{FIRST: None}), "is none"),
    of("behaviour", "combined-target", row(COMBINED, **{TARGET: 1}), "is 1"),
    of(
        "behaviour",
        "combined-advisory",
        row(COMBINED, request_pressure_advisory_enabled=False),
        "is no",
    ),
    of(
        "behaviour",
        "combined-skips",
        row(COMBINED, request_pressure_advisory_skip_count=0),
        "is 0",
    ),
    of("behaviour", "combined-leased-wait", row(COMBINED, **{WAITED: math.nan}), "nan and"),
    of("behaviour", "combined-utilization", row(COMBINED, **{UTIL: 0.9}), "at least -0.05"),
    of("behaviour", "combined-request-idle", row(COMBINED, request_idle_ratio=0.5), "at most"),
    of("self-validation", f"{TWIN}.valid", row(TWIN, final_zero_task_leases=False), "leases left"),
    of("self-validation", f"{ROWS}.selected", row(ROWS, selected_count=512), "is 512"),
    of(
        "self-validation",
        f"{ADVISED}.leases",
        resource("submission", lambda r: {"max_in_flight": 2}),
        "2 of 1 submission",
    ),
    of(
        "self-validation",
        f"{ADVISED}.permits",
        resource("zz/open/chat", lambda r: {"max_in_flight": 2}),
        "2 of 1 zz/open/chat",
    ),
    *(
        of("self-validation", f"{ADVISED}.seconds", resource("llm_wait", change), said)
        for change, said in (
            (lambda r: {"busy_seconds": -1.0}, "below 0"),
            (lambda r: {"busy_seconds": 2 * r.capacity_seconds}, "busy for longer"),
            (lambda r: {"idle_seconds": 2 * r.capacity_seconds}, "idle for longer than it exists"),
            (lambda r: {"starved_idle_seconds": r.idle_seconds + 1}, "starved for longer"),
            (lambda r: {"frontier_idle_seconds": 1.0}, "are not all that is idle"),
        )
    ),
    of("self-validation", f"{ROWS}.wake-probe", row(ROWS, wake_probe_p95_seconds=0.03), "0.025"),
    of("determinism", WIDE, row(WIDE, digests=("a", "a", "b")), "is 2; it must be 1"),
    of("bounds", f"{ROWS}.holds", row(ROWS, **{WALL: 0.1}), "at least 1"),
    of("bounds", f"{ROWS}.near", row(ROWS, wall_over_bound=1.2), "is 1.2; it must be at most 1.03"),
    of(
        "yield",
        "request-pressure-yield.leased-wait",
        row(TWIN, **{WAITED: 0.018}),
        "is 0.018; it must be at most 0.001",
    ),
    of("yield", "request-pressure-yield.wall", row(TWIN, **{WALL: 0.1}), "the twin that holds"),
    of(
        "combined",
        "combined-40ms-160-4.than-either",
        rows({BOTH: {WALL: 0.185}, BOTH.replace("both", "control"): {WALL: 0.3}}),
        "at most 0.95",
    ),
    of("combined", "combined-40ms-160-4.than-control", row(BOTH, **{WALL: 0.175}), "is 0.875"),
    of("both-ways", "up", row(WAYS, **{TARGET: 8, "row_group_target_after_peak": 1}), "is 8"),
    of("both-ways", "down", row(WAYS, row_group_target_after_peak=63), "at most 0.5"),
    of("both-ways", "rows-open", row(MANY, row_group_open_rows_mean=140.0), "at most 0.8"),
    of("both-ways", "wall", row(WAYS, **{WALL: 0.13}), "at most 1.03"),
    of("limits", "wall", row(CEILING, **{WALL: 7.2}), "at most 1"),
    of("limits", "refusals", row(CEILING, refused_request_count=20), "at most 17.25"),
    of(
        "policies",
        "late-wait",
        row(SPARED, queue_wait_p95_seconds={"late": 0.016}),
        "at most 0.01275",
    ),
    of("fuzz", "tight", whole(fuzz=(FuzzRow("tight", 4, 9, 9, "a law", "line"),)), "a law (line)"),
    of("causes", f"{ROWS}.llm_wait", row(ROWS, idle_causes={"llm_wait": {"horizon": 1.0}}), "is 1"),
)


def kind(id: str) -> str:
    """The kind of a check: its id without the case."""
    group, _, rest = id.partition(".")
    if group in ("required", "determinism", "causes", "fuzz"):
        return group
    return f"{group}.{rest.rpartition('.')[2]}"


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.ids[0])
def test_a_broken_subject_fails_its_check_alone(good: Summary, broken: Broken) -> None:
    failed = judge(broken.doctor(good), None, Tolerances()).failed
    assert {check.id for check in failed} == set(broken.ids)
    named = next(check for check in failed if check.id == broken.ids[0])
    assert broken.said in named.reason
    assert "; it must be " in named.reason


def test_each_kind_is_shown_to_fail(good: Summary) -> None:
    shown = {kind(id) for broken in BROKEN for id in broken.ids}
    assert {kind(check.id) for check in good.checks} == shown


def test_what_compares_wall_times_warns_in_real_time(good: Summary) -> None:
    changes: dict[str, dict[str, Any]] = {
        ROWS: {"wall_over_bound": 2.1},
        TWIN: {WALL: 0.2},
        BOTH: {WALL: 0.3},
        WAYS: {WALL: 0.2},
        CEILING: {WALL: 7.2},
        SPARED: {"queue_wait_p95_seconds": {"late": 0.016}},
    }
    real = whole(clock="real")(rows(changes)(good))
    judged = judge(real, None, Tolerances())
    groups = {"bounds", "yield", "combined", "both-ways", "limits", "policies"}
    assert {check.group for check in judged.failed} == groups
    assert {check.severity for check in judged.failed} == {"warning"}
    assert not judged.broken


def test_a_seconds_check_allows_no_hole(good: Summary) -> None:
    """No case has rows for which nothing was summed."""
    for found in good.cases:
        names = {r.name for r in found.resources}
        assert {"submission", "llm_wait"} <= names, found.key


@pytest.fixture
def base(good: Summary, tmp_path: Path) -> Path:
    write_files(good, tmp_path / "base")
    return tmp_path / "base" / "summary.json"


BASELINE = (
    of("baseline", f"{BUFFER}.utilization", row(BUFFER, **{UTIL: 0.9}), "at least -0.05"),
    of(
        "baseline",
        f"{BUFFER}.idle",
        row(BUFFER, **{IDLE: 0.08, STARVED: 0.04, FRONTIER: 0.04}),
        "is 0.08; it must be at most 0.05",
    ),
    of(
        "baseline",
        f"{BUFFER}.starved",
        row(BUFFER, **{IDLE: 0.06, STARVED: 0.06, FRONTIER: 0.0}),
        "starved",
        f"baseline.{BUFFER}.idle",
    ),
    of(
        "baseline",
        f"{BUFFER}.frontier",
        row(BUFFER, **{IDLE: 0.06, STARVED: 0.0, FRONTIER: 0.06}),
        "frontier",
        f"baseline.{BUFFER}.idle",
    ),
    of(
        "baseline",
        f"{BUFFER}.throughput",
        row(BUFFER, throughput_generations_per_second=1000.0),
        "at least 0.75",
    ),
    of("baseline", f"{FOUR[:-1]}2.present", without(f"{FOUR[:-1]}2"), "is absent"),
)


@pytest.mark.parametrize("broken", BASELINE, ids=lambda broken: broken.ids[0])
def test_what_is_worse_than_the_baseline_fails(good: Summary, base: Path, broken: Broken) -> None:
    judged = judge(broken.doctor(good), base, Tolerances())
    assert {check.id for check in judged.failed} == set(broken.ids)
    named = next(check for check in judged.failed if check.id == broken.ids[0])
    assert broken.said in named.reason
    assert judged.broken == (not named.id.endswith("throughput"))
    loose = Tolerances(0.5, 0.5, 0.5, 0.5, 0.1)
    left = {check.id for check in judge(broken.doctor(good), base, loose).failed}
    assert left == {id for id in broken.ids if id.endswith("present")}


def test_a_baseline_tells_what_changed(good: Summary, base: Path) -> None:
    same = judge(good, base, Tolerances())
    assert not same.failed
    assert same.baseline is not None
    assert same.baseline.changes == ()
    assert same.baseline.sha256 == sha256_of(base.read_bytes())
    worse = judge(row(ROWS, wall_over_bound=1.02)(good), base, Tolerances())
    assert worse.baseline is not None
    assert [(c.case, c.metric, c.verdict) for c in worse.baseline.changes] == [
        (ROWS, "wall_over_bound", "worse")
    ]


def test_the_noise_of_a_real_loop_is_no_change(good: Summary, tmp_path: Path) -> None:
    real = whole(clock="real")(good)
    write_files(real, tmp_path)
    for factor, seen in ((1.0, 0), (1.3, 3)):
        shown = {"wall_over_bound": 1 + factor * 0.09, IDLE: factor * 0.019}
        shown |= {UTIL: 1 - factor * 0.019}
        judged = judge(row(ROWS, **shown)(real), tmp_path / "summary.json", Tolerances())
        assert judged.baseline is not None
        assert len(judged.baseline.changes) == seen
        assert {change.verdict for change in judged.baseline.changes} <= {"worse"}


def test_files(good: Summary, tmp_path: Path) -> None:
    written = write_files(good, tmp_path)
    assert read_summary(tmp_path / "summary.json") == written
    for name in ("cases.csv", "summary.md"):
        assert written.hashes[name] == sha256_of((tmp_path / name).read_bytes())
    with (tmp_path / "cases.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["key"] for line in lines] == [found.key for found in good.cases]
    text = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert text.startswith("# Idle suite, quick, virtual time: PASS")
    assert good.provenance.commit in text


def suite(*arguments: str) -> int:
    return cli.main(["suite", *arguments])


def test_an_earlier_run_is_judged_again(
    good: Summary, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(base.parent)
    assert suite("--skip-run", "--out", folder) == 0
    said = capsys.readouterr()
    assert said.out.startswith("PASS, ")
    assert said.err == ""
    assert suite("--skip-run", "--out", folder, "--baseline", str(base)) == 0
    base.write_bytes(row(ROWS, wall_over_bound=1.2)(good).encoded())
    assert suite("--skip-run", "--out", folder, "--allow-failures") == 0
    base.write_bytes(row(ROWS, wall_over_bound=1.2)(good).encoded())
    assert suite("--skip-run", "--out", folder) == 1
    said = capsys.readouterr()
    assert "wall time over the bound is 1.2; it must be at most 1.03" in said.out
    assert "were edited" in said.err
    assert read_summary(base).provenance.cases_edited


def test_a_run_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few_cases = [case for case in suite_cases("quick") if case.key in (PLAIN, ADVISED)]
    monkeypatch.setattr(runner, "suite_cases", lambda mode, clock: few_cases)
    assert suite("--out", str(tmp_path / "new")) == 1
    said = capsys.readouterr()
    assert said.err.startswith("[1/2] adaptations/request-pressure-control: 0.114 s")
    assert "case row-scale/rows-64 is absent" in said.out
    failed = read_summary(tmp_path / "new" / "summary.json").failed
    assert {check.group for check in failed} == {"shape", "required"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--skip-run"], "No such file"),
        (["--skip-run", "--full"], "has mode 'quick', not 'full'"),
        (["--skip-run", "--real-time"], "has clock 'virtual', not 'real'"),
        (["--skip-run", "--baseline", "nowhere.json"], "nowhere.json"),
        (["--skip-run", "--baseline", "other"], "has mode 'full', this run 'quick'"),
        (["--skip-run", "--baseline", "odd"], "holds 'odd'"),
        (["--skip-run", "--baseline", "newer"], "reads up to 1"),
        (["--skip-run", "--baseline", "damaged"], "is damaged"),
        (["--skip-run", "--baseline", "text"], "is no summary"),
    ],
)
def test_what_the_user_can_mend(
    good: Summary,
    base: Path,
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(base.parent)
    Path("other").write_bytes(whole(mode="full")(good).encoded())
    Path("odd").write_text('{"schema": "odd", "version": 1}')
    Path("newer").write_bytes(whole(version=2)(good).encoded())
    Path("damaged").write_text('{"schema": "ddsched-nb-idle-suite", "version": 1}')
    Path("text").write_text("text")
    folder = "elsewhere" if said == "No such file" else "."
    assert suite("--out", folder, *arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("ddsched-nb: ")
    assert said in err
    assert err.count("\n") == 1


def test_files_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert suite("--out", str(tmp_path / "file")) == 2
    assert "cannot write to" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--out"),
        (["--out", "x", "--quick", "--full"], "not allowed with"),
        (["--out", "x", "--idle-rise", "5"], "not a share from 0 to 1"),
        (["--out", "x", "--throughput-share", "most"], "not a share"),
    ],
)
def test_usage(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        suite(*arguments)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_real_time_runs_the_same_pipelines_with_real_waits() -> None:
    keys = (ROWS, PLAIN, ADVISED, TWIN, COMBINED)
    cases = [case for case in suite_cases("quick") if case.key in keys]
    real = run_suite("quick", "real", lambda said: None, cases)
    judged = judge(real, None, Tolerances())
    # The rest is not there; and what compares wall times only warns, since a machine may be busy.
    errors = {check.group for check in judged.failed if check.severity == "error"}
    assert errors == {"shape", "required"}
    plain, advised = real.rows[PLAIN], real.rows[ADVISED]
    assert plain.request_wait_seconds_while_task_leased_mean >= 0.045
    assert (plain.first_model_dispatch_column, advised.first_model_dispatch_column) == (
        "a_pressured",
        "z_open",
    )
    for found in real.cases:
        assert found.mean_wall_time_seconds >= found.nominal_bound_seconds
        assert found.bound_seconds >= found.nominal_bound_seconds * (1 - 1e-9)
        assert found.wake_probe_p95_seconds > 0
        assert all(map(float.__ge__, found.bare_service_seconds, found.service_seconds))
