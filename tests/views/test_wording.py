from __future__ import annotations

from collections.abc import Callable

import pytest

from ddsched_nb import wording as text
from ddsched_nb.aio.statistics import ColumnProgress, RunStatistics
from ddsched_nb.core.model import PoolKey

Make = Callable[..., RunStatistics]


def test_a_progress_line_says_how_the_run_stands(stats: Make) -> None:
    calm = stats(pools=())
    assert text.progress_line(calm) == (
        "running [###########---------] 58%, 100/400 rows, 2 dropped, 0:08, 12 rows/s"
    )
    assert "13 in flight" in text.progress_line(stats(rows_dropped=0))


def test_a_progress_line_fits_a_terminal_and_is_ascii(stats: Make) -> None:
    huge = stats(rows=10**9, rows_finished=10**9 - 1, rows_dropped=10**6, elapsed_s=1e6)
    for line in (text.progress_line(stats()), text.progress_line(huge)):
        assert len(line) <= 100
        assert line.isascii()
        assert "\n" not in line


def test_facts_of_a_live_run_do_not_depend_on_the_moment(stats: Make) -> None:
    later = stats(rows_finished=300, elapsed_s=99.0, now=120.0, last_error="x", pools=())
    assert text.facts(stats()) == text.facts(later)
    assert text.facts(stats()) == (
        "Run running: 400 rows\ncolumns: topic, question (writer), grade (judge)"
    )


def test_facts_of_an_ended_run_say_rows_drops_and_the_error(stats: Make) -> None:
    ended = stats(state="failed", rows_finished=100, last_error="column grade, row 3: KeyError")
    assert text.facts(ended).splitlines() == [
        "Run failed: 100 of 400 rows, 2 dropped",
        "columns: topic, question (writer), grade (judge)",
        "last error: column grade, row 3: KeyError",
    ]
    assert text.facts(ended) == text.facts(
        stats(
            **{
                "state": "failed",
                "last_error": "column grade, row 3: KeyError",
                "elapsed_s": 77.0,
            }
        )
    )


def test_facts_of_a_run_that_has_not_begun_claim_nothing_about_columns(stats: Make) -> None:
    assert text.facts(stats(columns=(), rows=1)) == "Run running: 1 row"


@pytest.mark.parametrize(
    ("changes", "share"),
    [
        ({}, 700 / (1200 - 6)),
        ({"rows_finished": 398}, 1.0),
        ({"columns": ()}, 102 / 400),
        ({"rows": 0, "columns": ()}, 0.0),
        ({"rows": 0, "columns": (), "state": "finished"}, 1.0),
        ({"columns": (ColumnProgress("a", None, 900, 400, 0),)}, 1.0),
    ],
)
def test_work_share_counts_cells_before_rows_are_finished(
    stats: Make, changes: dict[str, object], share: float
) -> None:
    assert text.work_share(stats(**changes)) == pytest.approx(share)


def test_speed_is_zero_before_the_first_instant(stats: Make) -> None:
    assert text.rows_per_second(stats(elapsed_s=0.0)) == 0.0
    assert text.rows_per_second(stats()) == 12.5


def test_numbers_and_times_read_like_a_person_writes_them() -> None:
    assert [text.duration(s) for s in (0, 9.9, 75, 3725)] == ["0:00", "0:09", "1:15", "1:02:05"]
    assert [text.number(v) for v in (0.04, 3.14, 9.96, 12345.6)] == ["0.0", "3.1", "10", "12,346"]
    assert [text.plural(n, "row") for n in (0, 1, 1200)] == ["0 rows", "1 row", "1,200 rows"]
    assert [text.percent(s) for s in (0.999, 1.0, 0.29)] == ["99%", "100%", "29%"]


def test_a_pool_is_named_with_its_domain_only_where_it_is_unusual() -> None:
    assert text.pool_name(PoolKey("p", "m")) == "p/m"
    assert text.pool_name(PoolKey("p", "m", "embedding")) == "p/m/embedding"
