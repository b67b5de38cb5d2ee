from __future__ import annotations

import copy

import altair as alt

from ddsched_nb.views.specs import as_v5, describe

ROWS = alt.Data(values=[{"a": 1, "b": "x"}, {"a": 2.5, "b": "y"}])


def test_nothing_changes_its_argument() -> None:
    spec = alt.Chart(ROWS).mark_point().encode(x="a:Q").to_dict()
    before = copy.deepcopy(spec)
    assert as_v5(spec)["$schema"].endswith("/v5.json")
    describe(spec)
    assert spec == before


def test_a_description_says_title_axes_ranges_series_and_points() -> None:
    chart = (
        alt.Chart(ROWS, title=["Two", "lines"])
        .mark_bar()
        .encode(x=alt.X("a:Q", title="length"), y="b:N", color="b:N")
    )
    assert describe(chart.to_dict()) == (
        "Chart: Two lines\nx: length, 1 to 2.5\ny: b, x to y\nseries: x, y\nmarks: bar (2 points)"
    )


def test_a_description_of_a_composed_chart_covers_its_parts() -> None:
    one = alt.Chart(ROWS).mark_point().encode(x="a:Q")
    two = alt.Chart(alt.Data(values=[{"a": 9}])).mark_line().encode(x="a:Q", y="count()")
    text = describe((one | two).to_dict())
    assert text.splitlines() == [
        "Chart: untitled",
        "x: a, 1 to 9",
        "y: count",
        "marks: point (2 points), line (1 point)",
    ]


def test_data_by_reference_is_said_to_be_so() -> None:
    chart = alt.Chart("data.csv").mark_tick().encode(x="a:Q")
    assert describe(chart.to_dict()).endswith("marks: tick (data by reference)")


def test_long_lists_of_series_are_cut() -> None:
    rows = alt.Data(values=[{"s": f"s{i}", "a": i} for i in range(11)])
    chart = alt.Chart(rows).mark_line().encode(x="a:Q", color="s:N")
    assert "s7, and 3 more" in describe(chart.to_dict())
