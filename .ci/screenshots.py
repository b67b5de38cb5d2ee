"""Takes a picture of everything that is looked at, on white and on dark, without a network.

    .venv/bin/python .ci/screenshots.py --out /tmp/pictures
    .venv/bin/python .ci/screenshots.py --out /tmp/pictures --only row_gantt,pipeline

Live views, replay and explorers are taken last, in a real JupyterLab, by the browser tests.

A chart (anything with `to_dict`) is drawn by vl-convert as PNG; HTML is shown by headless Chromium
in a page that looks as a notebook's output does. To add a picture, add a pair of a name and a
function without arguments to `PICTURES`: what it returns decides how it is taken. Look at them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import vl_convert

import ddsched_nb as dd
from ddsched_nb import charts
from ddsched_nb.core.model import LLM_WAIT, SUBMISSION, FlowKey, Lease
from ddsched_nb.views.renderer import draw

THEMES: Final = {"light": ("#ffffff", "#212121"), "dark": ("#111111", "#e0e0e0")}
SCALE: Final = 1.5
CHROMIUM: Final = os.environ.get("DDSCHED_CHROMIUM", "/usr/bin/chromium")
# What JupyterLab gives a table of an output.
PAGE: Final = """<!doctype html><meta charset="utf-8"><style>
:root {{ color-scheme: {theme}; }}
body {{ margin: 12px; background: {ground}; color: {ink};
  --jp-layout-color0: {ground}; --jp-ui-font-color1: {ink};
  font: 13px system-ui, "DejaVu Sans", sans-serif; display: inline-block; }}
table {{ border-collapse: collapse; border-spacing: 0; font-size: 12px; margin-bottom: 1em; }}
thead {{ border-bottom: 1px solid currentColor; }}
td, th {{ padding: 0.5em; text-align: right; vertical-align: middle; }}
</style><body class="jp-RenderedHTMLCommon">{html}</body>"""

Picture = tuple[str, Callable[[], Any]]


@cache
def simulated(name: str, rows: int | None = None) -> dd.SimulatedRecord:
    """A record that several pictures share."""
    return dd.simulate(name) if rows is None else dd.simulate(name, rows=rows)


def chart_pictures() -> list[Picture]:
    """Every chart of a record, and those of several."""
    work = {"limit_over_time": "drop", "capacity": "drop", "row_gantt": "diamond"}
    found: list[Picture] = [
        (chart.__name__, lambda chart=chart: chart(simulated(work.get(chart.__name__, "tight"))))
        for chart in charts.CHARTS
    ]
    return [
        *found,
        ("row_gantt_drops", lambda: charts.row_gantt(simulated("dropped-rows"))),
        ("fairness_lag_short_long", lambda: charts.fairness_lag(simulated("short-long-mix"))),
        ("waits_dynamic", lambda: charts.waits(simulated("dynamic-requests"))),
        ("makespans", lambda: charts.makespans({n: simulated(n) for n in ("diamond", "tight")})),
        ("comparison", lambda: charts.comparison(comparison())),
        ("trial", trial),
    ]


def comparison() -> dd.Comparison:
    """Two settings of one workload, one of them with several seeds."""
    several = [dd.simulate("tight", rows=120, seed=seed) for seed in range(3)]
    aimd = dd.RunConfig(request_admission=dd.RequestAdmissionConfig(limit="aimd"))
    return dd.compare({"ceiling": several, "aimd": dd.simulate("tight", aimd, rows=120)})


def trial() -> Any:
    """A limit under a capacity that waves."""
    profile = dd.EndpointProfile(
        model="m", capacity=64, shapes=(dd.Sine(period_s=600, low=0.4),), latency=2.0
    )
    return charts.trial(dd.try_limit("aimd", profile, seconds=1_800.0, cap=128), profile)


def table_pictures() -> list[Picture]:
    """What objects show of themselves in a notebook."""
    shown: dict[str, Callable[[], Any]] = {
        "pipeline": lambda: dd.find_workload("diamond").pipeline,
        "pipeline_wide": wide_pipeline,
        "graph": lambda: wide_pipeline().graph(["cars"]),
        "workload": lambda: dd.find_workload("tight"),
        "run_config": lambda: dd.RunConfig(buffer_size=64, row_groups=3),
        "request_admission_config": lambda: dd.RequestAdmissionConfig(limit="aimd"),
        "model": lambda: dd.Model("judge", provider="local", max_parallel_requests=8),
        "profile": lambda: dd.EndpointProfile(
            model="m", capacity=64, shapes=(dd.Sine(period_s=600),)
        ),
        "metadata": lambda: dd.SchedulingMetadata.model("local", "judge", weight=8),
        "lease": lease,
        "run_statistics": lambda: finished_run().statistics(),
        "pool_statistics": lambda: finished_run().statistics().pools[0],
        "capacity_plan": lambda: finished_run().capacity_plan(),
        "summary": lambda: simulated("dropped-rows").result.summary,
        "record": lambda: dd.RunRecord(simulated("tight").events),
        "simulated_record": lambda: simulated("tight"),
        "timelines": lambda: dd.task_timelines(simulated("diamond")),
        "timeline": lambda: dd.task_timelines(simulated("diamond"))[0],
        "idle_report": lambda: dd.explain_idle(simulated("diamond")),
        "metrics": lambda: dd.metrics(simulated("diamond")),
        "pace": lambda: dd.metrics(simulated("diamond")).run,
        "fit": lambda: dd.fit(simulated("tight")),
        "comparison_table": comparison,
    }
    return [(name, lambda make=make: make()._repr_html_()) for name, make in shown.items()]


def wide_pipeline() -> dd.Pipeline:
    """Columns whose lines pass layers, and one whose name is long."""
    needs = {
        "pitch": ["cars"],
        "question": ["cars", "pitch"],
        "answer": ["question"],
        "a column with a name of many words": ["pitch"],
        "rating": ["pitch", "answer", "a column with a name of many words"],
    }
    return dd.Pipeline(columns=[dd.Column(n, generate=list, needs=of) for n, of in needs.items()])


def lease() -> Lease:
    """A lease of which a unit is borrowed."""
    flow = FlowKey("model", ("local", "judge", "chat"))
    return Lease(7, 1, flow, ((SUBMISSION, 1), (LLM_WAIT, 1)), "answer/0/3", ((SUBMISSION, 1),))


@cache
def finished_run() -> dd.Run:
    """A run against endpoints in this process."""
    return dd.start(dd.find_workload("diamond").pipeline, rows=4).wait()


PICTURES: Final[tuple[Callable[[], list[Picture]], ...]] = (chart_pictures, table_pictures)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 if every picture was taken, 1 if one could not be."""
    parser = argparse.ArgumentParser(description="Pictures of charts and tables, light and dark.")
    parser.add_argument("--out", type=Path, required=True, help="the directory to write to")
    parser.add_argument("--only", default="", help="names of pictures, separated by commas")
    chosen = parser.parse_args(arguments)
    only = set(filter(None, chosen.only.split(",")))
    pictures = [one for group in PICTURES for one in group() if not only or one[0] in only]
    chosen.out.mkdir(parents=True, exist_ok=True)
    failed = 0
    with browser() as page:
        for name, make in pictures:
            try:
                take(name, make(), chosen.out, page)
            except Exception as error:
                failed += 1
                print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
    print(f"{len(pictures) - failed} of {len(pictures)} pictures, light and dark, in {chosen.out}")
    if not only:
        failed += views(chosen.out / "views")
    return 1 if failed else 0


def views(out: Path) -> int:
    """What lives in a notebook, as the browser tests see it in JupyterLab; their exit status."""
    command = [sys.executable, "-m", "pytest", "-q", "tests/browser"]
    root = Path(__file__).resolve().parents[1]
    kept = {**os.environ, "DDSCHED_SCREENSHOTS": str(out.resolve())}
    status = subprocess.run(command, cwd=root, env=kept, check=False).returncode
    print(f"{len(list(out.glob('*.png')))} pictures of views in {out}")
    return status


def take(name: str, shown: Any, out: Path, page: Callable[[], Any]) -> None:
    """One picture in each theme."""
    for theme, (ground, ink) in THEMES.items():
        path = out / f"{name}-{theme}.png"
        if hasattr(shown, "to_dict"):
            spec = {**shown.to_dict(), "background": ground}
            path.write_bytes(vl_convert.svg_to_png(draw(spec), scale=SCALE))
        else:
            html = PAGE.format(theme=theme, ground=ground, ink=ink, html=shown)
            sheet = page()
            sheet.set_content(html)
            sheet.locator("body").screenshot(path=str(path))


@contextmanager
def browser() -> Iterator[Callable[[], Any]]:
    """Gives a page when one is first asked for; Chromium is not started before."""
    from playwright.sync_api import sync_playwright

    opened: list[Any] = []
    with sync_playwright() as play:

        def page() -> Any:
            if not opened:
                options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
                chromium = play.chromium.launch(executable_path=CHROMIUM, args=options)
                context = chromium.new_context(
                    viewport={"width": 1100, "height": 700}, device_scale_factor=SCALE, offline=True
                )
                opened.extend((context.new_page(), chromium))
            return opened[0]

        try:
            yield page
        finally:
            if opened:
                opened[1].close()


if __name__ == "__main__":
    sys.exit(main())
