"""A case over time: few figures, that sum up to what was measured in another way."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from ddsched_nb.bench.suite.over_time import SPANS, means
from ddsched_nb.bench.suite.runner import run_suite, suite_cases
from ddsched_nb.bench.suite.summary import Row, Series, Summary, read_summary

KEYS = ("row-scale/rows-64", "both-ways/adaptive", "limit/aimd")
KEYS += ("adaptations/request-pressure-yield", "adaptations/adaptive-row-groups-adaptive")


@pytest.fixture(scope="module")
def measured() -> Summary:
    cases = [case for case in suite_cases("quick") if case.key in KEYS]
    return run_suite("quick", "virtual", lambda said: None, cases)


def series(row: Row, what: str) -> list[Series]:
    assert row.timeline is not None
    return [found for found in row.timeline.series if found.what == what]


def area(row: Row, found: Series) -> float:
    assert row.timeline is not None
    return math.fsum(found.values) * row.timeline.seconds / SPANS


@pytest.mark.parametrize("key", KEYS)
def test_areas_are_what_the_metrics_say_was_in_use(measured: Summary, key: str) -> None:
    row = measured.rows[key]
    assert row.timeline is not None
    assert row.timeline.seconds == pytest.approx(row.mean_wall_time_seconds)
    resources = {found.name: found for found in row.resources}
    (leased,) = series(row, "leased")
    for found in (leased, *series(row, "in_flight")):
        resource = resources[found.of]
        slack = resource.capacity_seconds * 1e-3  # values are rounded
        assert area(row, found) == pytest.approx(resource.busy_seconds, abs=slack)
        assert found.top == resource.capacity
        assert len(found.values) == SPANS
    (groups,) = series(row, "row_groups")
    opened = row.row_group_open_rows_mean / row.buffer_size
    assert math.fsum(groups.values) / SPANS == pytest.approx(opened, rel=0.02)


def test_refusals_are_all_there(measured: Summary) -> None:
    row = measured.rows["limit/aimd"]
    (refused,) = series(row, "refused")
    assert sum(refused.values) == row.refused_request_count > 0
    assert not series(measured.rows[KEYS[0]], "refused")


def test_the_target_is_there_where_it_moves(measured: Summary) -> None:
    row = measured.rows["both-ways/adaptive"]
    (target,) = series(row, "target")
    peak = row.row_group_admission_observed_max_target
    assert peak - 2 < max(target.values) <= peak
    assert row.row_group_target_after_peak == target.values[-1]
    assert not series(measured.rows[KEYS[0]], "target")


def test_waits_are_told_by_column(measured: Summary) -> None:
    waits = measured.rows["adaptations/request-pressure-yield"].queue_wait_p95_seconds
    assert set(waits) == {"row_id", "a_pressured", "z_open"}
    assert 0 < waits["z_open"] < waits["a_pressured"]


def test_means() -> None:
    assert means([(0.0, 2.0), (0.5, 4.0)], 1.0, 2) == (2.0, 4.0)
    assert means([(0.25, 8.0)], 1.0, 2) == (4.0, 8.0)
    assert means([(-1.0, 3.0), (0.75, 1.0), (5.0, 9.0)], 1.0, 4) == (3.0, 3.0, 3.0, 1.0)
    assert means([], 1.0, 2) == (0.0, 0.0)
    assert means([(0.0, 1.0)], 0.0, 2) == (0.0, 0.0)


def test_figures_are_the_same_when_they_are_read_again(measured: Summary, tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_bytes(measured.encoded())
    assert read_summary(tmp_path / "summary.json").cases_sha256 == measured.cases_sha256
