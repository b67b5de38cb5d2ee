"""The report: one HTML file that says how a run of the suite went. Verdict first, no network.

A function from a summary to a string; what a part looks like is `report_parts`.
"""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import Final

from ddsched_nb.bench.suite.report_analysis import analysis
from ddsched_nb.bench.suite.report_cases import Theirs, articles, reasons
from ddsched_nb.bench.suite.report_parts import STYLE, TEXTURES, percent, seconds, table
from ddsched_nb.bench.suite.summary import Summary
from ddsched_nb.bench.suite.table import published

__all__ = ["report"]

# Nothing is loaded from anywhere, and nothing runs.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def report(summary: Summary) -> str:
    """The whole page."""
    title = f"Idle suite, {summary.mode}, {summary.clock} time"
    parts = (
        _failures(summary),
        _comparison(summary),
        _groups(summary),
        _cases(summary),
        analysis(summary),
        *articles(summary, _known(summary)),
        _methods(summary),
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>{TEXTURES}"
        f"<header>{_verdict(summary, title)}</header><main>{''.join(parts)}</main>"
        f"<footer>{_origin(summary)}</footer></body></html>\n"
    )


def _verdict(summary: Summary, title: str) -> str:
    count, failed = len(summary.checks), len(summary.failed)
    word, sign, kind = (
        ("Failed", "\u2715", "fail") if summary.broken else ("Passed", "\u2713", "pass")
    )
    own = sum(row.origin == "own" for row in summary.cases)
    warned = Counter(check.severity for check in summary.failed)["warning"]
    warnings = f", of which {warned} only warned" if warned else ""
    tail = f"; {failed} failed{warnings}" if failed else ""
    return (
        f"<h1>{escape(title)}</h1>"
        f'<p class="verdict {kind}"><span aria-hidden="true">{sign}</span> {word}: '
        f"{count - failed:,} of {count:,} checks{tail}.</p>"
        f'<p class="quiet">{len(summary.cases) - own} cases of the reference and {own} of ours, '
        f"{_when(summary)}.</p>"
    )


def _when(summary: Summary) -> str:
    if summary.clock == "virtual":
        return "in virtual time: what decisions cost, without the costs of a real loop"
    return "on a real event loop, with real waits"


def _failures(summary: Summary) -> str:
    if not summary.failed:
        return '<h2>What failed</h2><p class="pass">Nothing.</p>'
    return f"<h2>What failed</h2>{reasons(summary.failed)}"


_FIGURES: Final = {
    "wall_over_bound": "over bound",
    "mean_wall_time_seconds": "wall s",
    "llm_wait_utilization_ratio": "llm in use",
    "llm_wait_idle_ratio": "llm idle",
    "request_wait_seconds_while_task_leased_mean": "leased wait s",
}


def _comparison(summary: Summary) -> str:
    base = summary.baseline
    if base is None:
        return "<h2>Against the baseline</h2><p>None was given (<code>--baseline</code>).</p>"
    said = [f"<p>Compared with <code>{escape(base.file)}</code> of {escape(base.commit[:12])}.</p>"]
    for verdict, word in (("worse", "Worse"), ("better", "Better")):
        found = [change for change in base.changes if change.verdict == verdict]
        lines = [
            (
                c.case,
                _FIGURES.get(c.metric, c.metric),
                f"{c.before:.6g}",
                f"{c.after:.6g}",
                _by(c.before, c.after),
            )
            for c in found
        ]
        head = ("case", "figure", "before", "after", "change")
        shown = table(f"{word}: {len(found)}", head, lines) if found else f"<p>{word}: nothing.</p>"
        said.append(shown)
    return f"<h2>Against the baseline</h2>{''.join(said)}"


def _by(before: float, after: float) -> str:
    return f"{100 * (after - before) / before:+.1f} %" if before else f"{after - before:+.6g}"


def _groups(summary: Summary) -> str:
    every = Counter(check.group for check in summary.checks)
    good = Counter(check.group for check in summary.checks if check.passed)
    lines = [(name, f"{good[name]}", f"{count}") for name, count in every.items()]
    return "<h2>Checks</h2>" + table("Checks by group", ("group", "passed", "of"), lines)


_HEAD: Final = (
    "case",
    "wall",
    "over bound",
    "useful",
    "cells/s",
    "ref. cells/s",
    "llm in use",
    "ref. in use",
    "starved",
    "ref. starved",
    "frontier",
    "ref. frontier",
    "leased wait",
    "ref. leased wait",
    "skips",
    "ref. skips",
)


def _cases(summary: Summary) -> str:
    known = _known(summary)
    lines = []
    for row in summary.cases:
        theirs = known.get(row.key, {})
        control = " (control)" if row.control else ""
        ours = (
            (f"{row.throughput_generations_per_second:,.0f}", _said(theirs, "throughput_per_s")),
            (percent(row.llm_wait_utilization_ratio), _said(theirs, "llm_utilization")),
            (percent(row.llm_wait_starved_idle_ratio), _said(theirs, "starved_idle")),
            (
                percent(row.llm_wait_frontier_dependency_horizon_idle_ratio),
                _said(theirs, "frontier_idle"),
            ),
            (
                seconds(row.request_wait_seconds_while_task_leased_mean),
                _said(theirs, "leased_request_wait_s"),
            ),
            (f"{row.request_pressure_advisory_skip_count}", _said(theirs, "advisory_skips")),
        )
        lines.append(
            [
                row.key + control,
                seconds(row.mean_wall_time_seconds),
                f"{row.wall_over_bound:.3f}",
                percent(row.useful_utilization_ratio),
                *(cell for pair in ours for cell in pair),
            ]
        )
    places = [f"case-{number}" for number in range(len(lines))]
    caption = "Each case; ref. is what the reference published, in real time, where it has the case"
    return "<h2>Cases</h2>" + table(caption, _HEAD, lines, places)


def _known(summary: Summary) -> dict[str, Theirs]:
    """The reference's figures by key; those of quick mode are all that was published."""
    if summary.mode != "quick":
        return {}
    return {f"{entry['sweep']}/{name}": entry for name, entry in published().items()}


def _said(theirs: Theirs, name: str) -> str:
    value = theirs.get(name)
    if value is None:
        return "-"
    if name.endswith("_s") and not name.endswith("per_s"):
        return seconds(value)
    return f"{value:,.0f}" if name in ("advisory_skips", "throughput_per_s") else percent(value)


_WORDS: Final = (
    (
        "Lower bound",
        "No schedule of the case's work is faster, given its fixed knobs: the longest chain, the "
        "work of each model over its capacity, that of the task slots over theirs, and that of the "
        "row groups that may be open.",
    ),
    (
        "Oracle",
        "List scheduling in row order that knows the capacity, is never refused and has every row "
        "group open; so a case with few open row groups cannot reach it.",
    ),
    (
        "In use, idle",
        "A slot is in use from a task's admission to its end, whatever the task does meanwhile. "
        "Capacity time is capacity times the time of the run; shares are of that.",
    ),
    (
        "Starved",
        "Idle slot time while anything that needs such a slot was queued; all idle slots count, as "
        "in the reference.",
    ),
    ("Frontier", "The other idle slot time: no task had all its inputs, or no row group was open."),
    (
        "Useful",
        "Declared service time of all cells over the time of the slots, or permits, there were for "
        "it. Unlike utilization it does not grow when a loop lags.",
    ),
    (
        "Leased wait",
        "Seconds that requests waited for permits while their tasks held their slots, summed over "
        "requests; the mean of the runs.",
    ),
    ("Skips", "Tasks that the pressure advisory passed over, summed over the runs."),
    (
        "Causes",
        "Every idle slot of every resource has, at every instant, exactly one cause out of a "
        "closed list; for each resource they sum to what was idle.",
    ),
    (
        "Over time",
        "The first run of a case, cut into equal spans: means of what was leased, in flight or "
        "open, and the number of refusals.",
    ),
    (
        "Controls",
        "Cases that keep a behaviour on purpose so that others can be compared; no bound is asked "
        "of them.",
    ),
)


def _methods(summary: Summary) -> str:
    how = (
        "Every case ran on the very scheduler that real runs use, on an event loop whose clock "
        "jumps. Two runs give equal figures, to the last digit."
        if summary.clock == "virtual"
        else "Every case ran on a real asyncio loop with real sleeps. Its bound is that of the "
        "services as long as a bare loop needs for the same sleeps, as many at once: the shorter "
        "of two medians, measured before and after. Other work on the machine is in all other "
        "figures. The settings in which both adaptations are needed are stretched by ten."
    )
    words = "".join(f"<dt>{escape(w)}</dt><dd>{escape(t)}</dd>" for w, t in _WORDS)
    return (
        f"<h2>Methods and definitions</h2><p>{escape(how)}</p><p>Cases and formulas are those of "
        "the idle suite of Data Designer's pull request 661, version "
        f"{escape(summary.suite_version)}; its figures are from the report published there, in "
        f"real time on another machine.</p><dl>{words}</dl>"
    )


def _origin(summary: Summary) -> str:
    said = summary.provenance
    versions = ", ".join(f"{name} {version}" for name, version in said.versions.items())
    state = {True: " with uncommitted changes", False: "", None: ", changes unknown"}[said.dirty]
    edited = '<p class="fail">The cases were edited since they were measured.</p>'
    return (
        f"{edited if said.cases_edited else ''}"
        f'<p class="quiet"><code>{escape(said.command)}</code> at commit {escape(said.commit)}'
        f"{state}; seed {said.seed}; {escape(said.machine)}, {said.processors} processors; "
        f"{escape(versions)}. SHA-256 of the cases: "
        f"<code>{escape(summary.hashes.get('cases', 'unknown'))}</code></p>"
    )
