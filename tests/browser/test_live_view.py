"""The live view of a real run, in JupyterLab, against an endpoint on loopback."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

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


ADDRESS = "print(endpoint.base_url.removesuffix('/v1'))"
TOLD = """
import ipykernel
from ddsched_nb.core import events as ev
caps, falls = ev.RequestEffectiveCapChanged, ev.RequestLimitDecreased
told = [e.cap if isinstance(e, caps) else e.after for e in run.record.select(caps, falls)]
print("kernel", ipykernel.__version__, told)
"""
KERNELS = ["6.31.0", "7.3.0", "7.4.0"]


def state(view: Any, word: str) -> Any:
    return view.get_by_role("status").filter(has_text=word)


def figure(view: Any, what: str) -> int:
    """A number of the view's first line, such as finished rows."""
    text = view.locator(".dds-figures").inner_text()
    return int(re.search(rf"([\d,]+) {what}", text)[1].replace(",", ""))


def column(view: Any, part: str, number: int) -> list[str]:
    """A column of one of the view's tables."""
    return view.locator(
        f"section[aria-label='{part}'] tbody td:nth-child({number})"
    ).all_inner_texts()


def cells(view: Any) -> int:
    """Cells done, over all columns."""
    return sum(int(text.split("/")[0].replace(",", "")) for text in column(view, "Columns", 3))


def in_use(view: Any) -> int:
    return sum(map(int, column(view, "Models", 4)))


def moved(sheet: Any, view: Any, since: int) -> int:
    for _ in range(200):
        if (now := cells(view)) > since:
            return now
        sheet.page.wait_for_timeout(50)
    raise AssertionError(f"the view has stood at {since} cells for 10 s")


def test_a_run_is_watched_paused_resumed_and_cancelled(open_notebook: Callable[..., Any]) -> None:
    sheet = open_notebook("controls.ipynb", SETUP, START)
    sheet.run_all()
    view = sheet.output(1).locator(".ddsched-view")
    state(view, "Running").wait_for()
    view.get_by_role("rowheader", name="local/judge-large").wait_for()
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
    view.get_by_role("button", name="Pause").wait_for(state="hidden")
    sheet.shoot("live-cancelled", view)
    assert sheet.blocked == []


def ask(address: str, method: str = "GET") -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(address, method=method), timeout=5) as answer:
        return json.load(answer)


def most_in_flight(sheet: Any, address: str, seconds: float) -> int:
    """The most that the endpoint served at once of the writer, over some time from now on."""
    ask(f"{address}/reset", "POST")
    sheet.page.wait_for_timeout(1000 * seconds)
    return int(ask(f"{address}/stats")["models"]["writer-small"]["max_in_flight"])


def put(view: Any, field: str, value: str) -> None:
    box = view.get_by_label(field, exact=True)
    box.fill(value)
    box.press("Enter")


@pytest.mark.parametrize("version", KERNELS)
def test_controls_act_at_the_endpoint_on_every_kernel(
    version: str, open_notebook: Callable[..., Any], other_kernel: Callable[[str], str]
) -> None:
    setup = SETUP.replace(
        "capacity=8, latency=Latency(mean_s=0.15", "capacity=64, latency=Latency(mean_s=0.05"
    )
    setup = setup.replace(
        "capacity=3, latency=Latency(mean_s=0.1", "capacity=64, latency=Latency(mean_s=0.01"
    )
    setup = setup.replace(
        "config = dd.RunConfig(",
        "config = dd.RunConfig(request_admission=dd.RequestAdmissionConfig(limit='fixed'), ",
    )
    start = START.replace("rows=400", "rows=20_000")
    sheet = open_notebook(
        f"kernel-{version}.ipynb", setup, ADDRESS, start, TOLD, kernel=other_kernel(version)
    )
    for cell in range(3):
        sheet.run_cell(cell)
    view = sheet.output(2).locator(".ddsched-view")
    state(view, "Running").wait_for(timeout=30_000)
    address = sheet.output(1).inner_text().strip().splitlines()[-1]
    view.get_by_role("rowheader", name="local/writer-small").wait_for()
    view.get_by_text("Settings", exact=True).click()
    view.get_by_label("cap of writer", exact=True).wait_for()
    moved(sheet, view, cells(view))
    assert most_in_flight(sheet, address, 1.0) > 4

    # A quarter of a second for the control, and what is in flight may end.
    put(view, "cap of writer", "3")
    sheet.page.wait_for_timeout(300 + 250)
    assert 1 <= most_in_flight(sheet, address, 1.0) <= 3
    put(view, "limit of writer", "1")
    sheet.page.wait_for_timeout(300 + 250)
    assert most_in_flight(sheet, address, 1.0) == 1
    put(view, "cap of writer", "none")
    view.get_by_text("refused:").wait_for()

    view.get_by_role("button", name="Pause").click()
    sheet.page.wait_for_timeout(300 + 250)
    assert most_in_flight(sheet, address, 0.5) == 0
    state(view, "Paused").wait_for()
    view.get_by_role("button", name="Resume").click()
    sheet.page.wait_for_timeout(300)
    assert most_in_flight(sheet, address, 1.0) >= 1
    view.get_by_role("button", name="Cancel").click()
    state(view, "Cancelled").wait_for()
    sheet.run_cell(3)
    said = sheet.output(3).get_by_text(f"kernel {version}")
    said.wait_for()
    assert said.inner_text().split(maxsplit=2)[2].strip() == "[3, 3, 1]"
    assert sheet.blocked == []


def test_controls_act_while_a_cell_awaits_the_run(open_notebook: Callable[..., Any]) -> None:
    sheet = open_notebook("awaited.ipynb", SETUP, START, "await run", "run.state")
    sheet.run_all()
    view = sheet.output(1).locator(".ddsched-view")
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
        view = sheet.output(cell).locator(".ddsched-view")
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
    view = sheet.output(1).locator(".ddsched-view")
    state(view, "Finished").wait_for(timeout=60_000)
    assert figure(view, "of 120 rows") == 120
    sheet.output(2).locator(".vega-embed svg.marks").wait_for(timeout=60_000)
    for theme in ("Light", "Dark"):
        sheet.theme(theme)
        sheet.shoot(f"finished-{theme.lower()}", sheet.output(2))
    assert sheet.blocked == []


def test_a_record_is_played_forth_and_back(open_notebook: Callable[..., Any]) -> None:
    show = "dd.watch({'tight': dd.simulate('tight'), 'drop': dd.simulate('drop')})"
    sheet = open_notebook("watched.ipynb", f"import ddsched_nb as dd\n{show}")
    sheet.run_all()
    view = sheet.output(0)
    player = view.locator(".dds-player")
    player.wait_for(timeout=60_000)
    panels = view.locator(".dds-panel")
    assert panels.count() == 2
    first = panels.nth(0)

    def done() -> int:
        return cells(first)

    scrub = player.get_by_role("slider")
    scrub.focus()
    for _ in range(5):
        sheet.page.keyboard.press("PageUp")
    sheet.page.wait_for_function(
        "e => e.innerText.includes(' / ')", arg=player.locator(".dds-time").element_handle()
    )
    sheet.page.wait_for_timeout(200)
    half = done()
    assert 500 < half < 2_560
    for _ in range(3):
        sheet.page.keyboard.press("PageDown")
    sheet.page.wait_for_timeout(200)
    assert 0 < done() < half
    player.get_by_role("button", name="Next refusal").click()
    sheet.page.wait_for_timeout(200)
    assert "refused a call" in view.inner_text()
    sheet.page.keyboard.press("Home")
    player.get_by_label("speed").select_option("30")
    player.get_by_role("button", name="Play").click()
    for panel in (first, panels.nth(1)):
        state(panel, "Finished").wait_for(timeout=20_000)
    for theme in ("Light", "Dark"):
        sheet.theme(theme)
        sheet.shoot(f"watched-{theme.lower()}", view)
    assert sheet.blocked == []
