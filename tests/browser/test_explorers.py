"""Explorers in JupyterLab: a slider is moved by keyboard, and the figures follow."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

IMPORT = "import ddsched_nb as dd"
EXPLORERS = {
    "aimd": "dd.explorers.aimd_explorer()",
    "fair-queue": "dd.explorers.fair_queue_stepper(step=18)",
    "row-groups": "dd.explorers.row_group_explorer()",
    "pressure": "dd.explorers.pressure_explorer(advisory=True)",
}


def picture(view: Any) -> Any:
    return view.locator(".dx-picture")


def figure(view: Any, row: str) -> str:
    """What the first column says in a row of the figures."""
    return picture(view).get_by_role("row", name=re.compile(f"^{row}")).locator("td").first


def test_a_slider_moved_by_keyboard_changes_the_figures(open_notebook: Callable[..., Any]) -> None:
    sheet = open_notebook("explorer.ipynb", IMPORT, EXPLORERS["aimd"])
    sheet.run_all()
    view = sheet.output(1).locator(".ddsched-explorer")
    figure(view, "utilization").wait_for()
    before, drawn = figure(view, "utilization").inner_text(), view.locator(".dx-plot").inner_html()

    handle = view.get_by_role("slider").first
    handle.focus()
    for _ in range(6):
        sheet.page.keyboard.press("ArrowLeft")
    picture(view).get_by_text("x 0.45 or + 1").wait_for()
    assert figure(view, "utilization").inner_text() != before
    assert view.get_by_label("Decrease, factor").input_value() == "0.45"
    assert view.locator(".dx-plot").inner_html() != drawn

    view.get_by_label("Capacity, requests", exact=True).fill("16")
    sheet.page.keyboard.press("Enter")
    picture(view).get_by_text("hidden capacity 16").wait_for()
    view.get_by_label("Limit", exact=True).select_option(label="ceiling, the default")
    picture(view).get_by_text("ceiling, at most 48").wait_for()
    assert sheet.blocked == []


def test_the_stepper_is_stepped_and_says_what_is_wrong(open_notebook: Callable[..., Any]) -> None:
    sheet = open_notebook("stepper.ipynb", IMPORT, "dd.explorers.fair_queue_stepper()")
    sheet.run_all()
    view = sheet.output(1).locator(".ddsched-explorer")
    step = view.get_by_role("button", name="Step", exact=True)
    for _ in range(2):
        step.click()
    view.get_by_text("a0 gets lease 1.").wait_for()
    view.get_by_role("button", name="Back").focus()
    sheet.page.keyboard.press("Enter")
    view.get_by_text("a0 is next").wait_for()

    view.get_by_label("Weights").fill("2, none")
    sheet.page.keyboard.press("Enter")
    view.get_by_role("alert").get_by_text("write numbers with commas").wait_for()
    sheet.shoot("explorer-complaint", view)
    view.get_by_label("Weights").fill("2, 1, 1")
    sheet.page.keyboard.press("Enter")
    view.get_by_role("row", name=re.compile("^c ")).wait_for()
    assert view.get_by_role("alert").count() == 0


@pytest.mark.parametrize("name", EXPLORERS)
def test_every_explorer_is_drawn_and_every_control_is_named(
    open_notebook: Callable[..., Any], name: str
) -> None:
    sheet = open_notebook(f"{name}.ipynb", IMPORT, EXPLORERS[name])
    sheet.run_all()
    view = sheet.output(1).locator(".ddsched-explorer")
    picture(view).locator("table").first.wait_for()
    named = "els => els.map(e => e.labels?.[0]?.innerText || e.innerText)"
    names = view.locator("input, select, button").evaluate_all(named)
    assert names
    assert all(name.strip() for name in names)
    for theme in ("Light", "Dark"):
        sheet.theme(theme)
        sheet.shoot(f"explorer-{name}-{theme.lower()}", view)
    assert sheet.blocked == []
