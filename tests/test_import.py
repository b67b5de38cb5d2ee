"""`import ddsched_nb` is light: what is heavy is imported by whoever uses it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {
    *("aiohttp", "altair", "anywidget", "IPython", "ipywidgets", "jinja2", "msgspec"),
    *("nest_asyncio", "numpy", "pandas", "pyarrow", "pydantic", "vl_convert"),
}
# Declaring a pipeline needs templates and settings, and neither a network nor a table.
DECLARES = "dd.Pipeline, dd.Column, dd.Model, dd.OpenAICompatible, dd.RunConfig, dd.start"
SHOWS = {"altair", "anywidget", "IPython", "ipywidgets", "nest_asyncio", "numpy", "pandas"}


def imported_by(code: str) -> set[str]:
    """Top-level packages that a fresh interpreter has imported after `code`."""
    report = (
        "import sys, json; print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    )
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    return set(json.loads(run.stdout))


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        ("import ddsched_nb", HEAVY | {"asyncio"}),
        ("import ddsched_nb as dd; dd.errors, dd.RowDropped, dir(dd)", HEAVY),
        (f"import ddsched_nb as dd; {DECLARES}", SHOWS | {"aiohttp"}),
        ("import ddsched_nb as dd; dd.EmbeddedEndpoint", SHOWS),
        ("import ddsched_nb.cli", HEAVY),
    ],
)
def test_importing_stays_light(code: str, unwanted: set[str]) -> None:
    assert imported_by(code) & unwanted == set()


def test_what_is_counted_as_heavy_is_seen_when_it_is_imported() -> None:
    assert {"aiohttp", "pydantic"} <= imported_by("import ddsched_nb as dd; dd.EmbeddedEndpoint")
    assert {"altair"} <= imported_by("import ddsched_nb as dd; dd.charts")
