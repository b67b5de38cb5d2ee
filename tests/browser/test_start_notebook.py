"""The start notebook as a newcomer meets it: run in JupyterLab, with the network cut off."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "00_start_here.ipynb"


def test_the_start_notebook_lives_and_ends_well(open_notebook: Callable[..., Any]) -> None:
    cells = [
        cell.source
        for cell in nbformat.read(NOTEBOOK, as_version=4).cells
        if cell.cell_type == "code"
    ]
    place = {name: i for i, source in enumerate(cells) for name in _shown(source)}
    sheet = open_notebook("00_start_here.ipynb", *cells)
    sheet.run_all()
    view = sheet.output(place["run"]).locator(".ddsched-view")
    view.get_by_role("status").filter(has_text="Running").wait_for(timeout=30_000)
    view.get_by_role("rowheader", name="local/judge-large").wait_for()
    sheet.page.wait_for_timeout(2_500)
    sheet.shoot("start-live", view)

    table = sheet.output(place["run.to_pandas()"]).locator("table").first
    table.wait_for(timeout=60_000)
    assert "Chevrolet" in table.inner_text()
    assert "finished" in sheet.output(place["run.summary()"]).inner_text()
    chart = sheet.output(place["dd.charts"]).locator("svg, canvas").first
    chart.wait_for()
    view.get_by_role("status").filter(has_text="Finished").wait_for()
    sheet.shoot("start-finished", view)
    sheet.shoot("start-chart", sheet.output(place["dd.charts"]))
    sheet.shoot("start-table", sheet.output(place["run.to_pandas()"]))
    sheet.shoot("start-summary", sheet.output(place["run.summary()"]))
    assert sheet.blocked == []


def _shown(source: str) -> list[str]:
    """By what a cell is found: the beginning of its last line."""
    last = source.splitlines()[-1]
    marks = ["run.to_pandas()[", "run.summary()", "dd.charts"]
    found = [mark.rstrip("[") for mark in marks if last.startswith(mark)]
    return [*found, *(["run"] if last == "run" else [])]
