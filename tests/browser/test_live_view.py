"""The live view of a real run, in JupyterLab, against an endpoint on loopback."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

SETUP = """
import ddsched_nb as dd
from ddsched_nb.clients.profile import EndpointProfile, Latency
endpoint = dd.EmbeddedEndpoint([
    EndpointProfile(model="writer-small", capacity=8, latency=Latency(mean_s=0.15, sigma=0.3)),
    EndpointProfile(model="judge-large", capacity=3, latency=Latency(mean_s=0.1)),
])
endpoint.start()
def pipeline(grade):
    return dd.Pipeline(
        providers=[dd.OpenAICompatible("local", base_url=endpoint.base_url, api_key="none")],
        models=[
            dd.Model("writer", provider="local", id="writer-small", max_parallel_requests=8),
            dd.Model("judge", provider="local", id="judge-large", max_parallel_requests=8),
        ],
        columns=[
            dd.Column("topic", generate=lambda rows: [f"topic {n}" for n in rows]),
            dd.ModelColumn("question", model="writer", prompt="Ask about {{ topic }}."),
            dd.ModelColumn("answer", model="judge", prompt="Answer: {{ question }}"),
            dd.Column("grade", needs=["answer"], generate=grade),
        ],
    )
config = dd.RunConfig(buffer_size=50, max_concurrent_row_groups=2)
"""
START = "run = dd.start(pipeline(lambda row: len(row['answer'])), rows=400, config=config)\nrun"


def state(view: Any, word: str) -> Any:
    return view.get_by_role("status").filter(has_text=word)


def figure(view: Any, what: str) -> int:
    """A number of the view's first line, such as finished rows."""
    text = view.locator(".ddsched-figures").inner_text()
    return int(re.search(rf"([\d,]+) {what}", text)[1].replace(",", ""))


def cells(view: Any) -> int:
    """Cells done, over all columns."""
    texts = view.locator(".ddsched-area-columns tbody td:nth-child(3)").all_inner_texts()
    return sum(int(text.split("/")[0].replace(",", "")) for text in texts)


def in_use(view: Any) -> int:
    texts = view.locator(".ddsched-area-models tbody td:nth-child(3)").all_inner_texts()
    return sum(map(int, texts))


def moved(sheet: Any, view: Any, since: int) -> int:
    for _ in range(200):
        if (now := cells(view)) > since:
            return now
        sheet.page.wait_for_timeout(50)
    raise AssertionError(f"the view has stood at {since} cells for 10 s")


def test_a_run_is_watched_paused_resumed_and_cancelled(open_notebook: Callable[..., Any]) -> None:
    sheet = open_notebook("controls.ipynb", SETUP, START)
    sheet.run_all()
    view = sheet.output(1).locator(".ddsched")
    state(view, "Running").wait_for()
    view.get_by_text("local/judge-large").wait_for()
    moved(sheet, view, moved(sheet, view, cells(view)))
    for theme in ("Light", "Dark"):
        sheet.theme(theme)
        sheet.shoot(f"live-{theme.lower()}", view)

    view.get_by_role("button", name="Pause").click()
    state(view, "Paused").wait_for()
    for _ in range(200):
        if in_use(view) == 0:
            break
        sheet.page.wait_for_timeout(50)
    sheet.page.wait_for_timeout(300)
    paused = cells(view)
    sheet.page.wait_for_timeout(1000)
    assert (in_use(view), cells(view)) == (0, paused)
    sheet.shoot("live-paused", view)

    view.get_by_role("button", name="Resume").click()
    state(view, "Running").wait_for()
    moved(sheet, view, paused)

    view.get_by_role("button", name="Cancel").click()
    state(view, "Cancelled").wait_for()
    assert figure(view, "of 400 rows") < 400
    view.get_by_role("button").first.wait_for(state="hidden")
    sheet.shoot("live-cancelled", view)
    assert sheet.blocked == []


def test_controls_act_while_a_cell_awaits_the_run(open_notebook: Callable[..., Any]) -> None:
    sheet = open_notebook("awaited.ipynb", SETUP, START, "await run", "run.state")
    sheet.run_all()
    view = sheet.output(1).locator(".ddsched")
    view.get_by_role("button", name="Cancel").click()
    state(view, "Cancelled").wait_for(timeout=15_000)
    sheet.output(2).get_by_text("RunCancelled").first.wait_for()


def test_a_failing_run_shows_its_error_and_two_displays_agree(
    open_notebook: Callable[..., Any],
) -> None:
    bug = "run = dd.start(pipeline(lambda row: row['answr']), rows=60, config=config)\nrun"
    sheet = open_notebook("failing.ipynb", SETUP, bug, "run")
    sheet.run_all()
    for cell in (1, 2):
        view = sheet.output(cell).locator(".ddsched")
        state(view, "Failed").wait_for()
        error = view.get_by_role("alert")
        assert "Run failed:" in error.inner_text()
        assert "grade" in error.inner_text()
    sheet.shoot("live-failed", view)


def test_a_run_that_ends_says_so_and_a_chart_shows_its_limits(
    open_notebook: Callable[..., Any],
) -> None:
    start = START.replace("rows=400", "rows=120")
    chart = "await run\ndd.charts.limit_over_time(run.record)"
    sheet = open_notebook("finished.ipynb", SETUP, start, chart)
    sheet.run_all()
    view = sheet.output(1).locator(".ddsched")
    state(view, "Finished").wait_for(timeout=60_000)
    assert figure(view, "of 120 rows") == 120
    sheet.output(2).locator(".vega-embed svg.marks").wait_for(timeout=60_000)
    for theme in ("Light", "Dark"):
        sheet.theme(theme)
        sheet.shoot(f"finished-{theme.lower()}", sheet.output(2))
    assert sheet.blocked == []
