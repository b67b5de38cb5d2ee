"""Our charts are drawn by JupyterLab itself, with no network, in light and dark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

RECORD = """
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import OutcomeKind, PoolKey
writer, judge = PoolKey("local", "writer-small"), PoolKey("local", "judge-large")
events = [ev.RequestResourceRegistered(0.0, 1, writer, 32, 32, 32, "aimd"),
          ev.RequestResourceRegistered(0.0, 2, judge, 8, 8, 4, "aimd")]
limits = {writer: 32, judge: 4}
for i in range(1, 240):
    at, pool = i / 20, judge if i % 4 == 0 else writer
    limit = limits[pool]
    events.append(ev.RequestLeaseAcquired(at, i, pool, i, i, min(limit, 3 + i % limit), limit))
    if pool is writer and i % 60 == 59:
        events.append(ev.RequestRateLimited(at, i, pool, i, None, limit, limit))
        limits[pool] = limit * 3 // 4
        events.append(ev.RequestLimitDecreased(at, i, pool, limit, limits[pool], "rate_limited"))
    if pool is judge and i % 60 == 0:
        limits[pool] = limit + 1
        events.append(ev.RequestLimitIncreased(at, i, pool, limit, limit + 1, "success"))
    if i % 30 == 0:
        events.append(ev.RowGroupCheckpointed(at, i, i // 30 - 1, 48, 2))
"""
CHARTS = "from ddsched_nb.views.charts import limit_over_time, row_progress"


def test_charts_are_drawn_without_a_network(open_notebook: Callable[..., Any]) -> None:
    sheet = open_notebook(
        "charts.ipynb", RECORD, CHARTS, "limit_over_time(events)", "row_progress(events)"
    )
    sheet.run_all()
    for cell, curves in ((2, 2), (3, 2)):
        drawn = sheet.output(cell).locator(".vega-embed svg.marks")
        drawn.wait_for(timeout=60_000)
        lines = drawn.locator("g.mark-line path")
        assert lines.count() == curves
        assert all("L" in lines.nth(i).get_attribute("d") for i in range(curves))
        assert drawn.bounding_box()["width"] > 600
    for theme in ("Light", "Dark"):
        sheet.theme(theme)
        sheet.shoot(f"charts-{theme.lower()}")
    assert sheet.blocked == []


def test_a_chart_is_shown_once(open_notebook: Callable[..., Any]) -> None:
    """JupyterLab shows one form of a chart, though three are given."""
    sheet = open_notebook("once.ipynb", RECORD, CHARTS, "limit_over_time(events)")
    sheet.run_all()
    sheet.output(2).locator(".vega-embed svg.marks").wait_for(timeout=60_000)
    assert sheet.output(2).locator("svg.marks").count() == 1
    assert sheet.output(2).locator("img").count() == 0
    assert "Chart:" not in sheet.output(2).inner_text()


def test_a_chart_that_vega_lite_5_draws_otherwise_is_shown_as_svg(
    open_notebook: Callable[..., Any],
) -> None:
    """Vega-Lite 6 stacks these areas and 5 does not: the old one must not draw them."""
    sheet = open_notebook(
        "stacked.ipynb",
        "import altair as alt; from ddsched_nb.views.renderer import enable; enable()",
        "rows = [{'t': t, 'n': 2 + t % 3, 'pool': p} for t in range(20) for p in 'ab']\n"
        "base = alt.Chart(alt.Data(values=rows)).encode(x='t:Q', y='n:Q', color='pool:N')\n"
        "base.mark_area(interpolate='step-after') + base.mark_line()",
    )
    sheet.run_all()
    image = sheet.output(1).locator("img, svg.marks")
    image.first.wait_for(timeout=60_000)
    assert sheet.output(1).locator(".vega-embed").count() == 0
    sheet.shoot("stacked-svg")
    assert sheet.blocked == []
