"""The report: one HTML file that says how a run of the suite went. Verdict first, no network.

A function from a summary to a string; what a part looks like is `report_parts`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from html import escape
from typing import Final

from ddsched_nb.bench.suite.report_analysis import analysis
from ddsched_nb.bench.suite.report_cases import Theirs, articles, reasons
from ddsched_nb.bench.suite.report_methods import methods
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
        methods(summary),
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>{TEXTURES}"
        f"<header>{_verdict(summary, title)}{_ways(parts)}</header><main>{''.join(parts)}</main>"
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


_WAYS: Final = {
    "failed": "What failed",
    "baseline": "Baseline",
    "checks": "Checks",
    "overview": "Cases",
    "analysis": "What the adaptations bring",
    "cases": "Case by case",
    "methods": "Methods",
}


def _ways(parts: Iterable[str]) -> str:
    """Links to those sections that are there; the page is a long one on a phone."""
    there = "".join(parts)
    links = (
        f'<li><a href="#{place}">{name}</a></li>'
        for place, name in _WAYS.items()
        if f' id="{place}"' in there
    )
    return f'<nav aria-label="Sections"><ul class="ways">{"".join(links)}</ul></nav>'


def _when(summary: Summary) -> str:
    if summary.clock == "virtual":
        return "in virtual time: what decisions cost, without the costs of a real loop"
    return "on a real event loop, with real waits"


def _failures(summary: Summary) -> str:
    if not summary.failed:
        return '<h2 id="failed">What failed</h2><p class="pass">Nothing.</p>'
    return f'<h2 id="failed">What failed</h2>{reasons(summary.failed)}'


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
        none = "<p>None was given (<code>--baseline</code>).</p>"
        return f'<h2 id="baseline">Against the baseline</h2>{none}'
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
    return f'<h2 id="baseline">Against the baseline</h2>{"".join(said)}'


def _by(before: float, after: float) -> str:
    return f"{100 * (after - before) / before:+.1f}\u00a0%" if before else f"{after - before:+.6g}"


def _groups(summary: Summary) -> str:
    every = Counter(check.group for check in summary.checks)
    good = Counter(check.group for check in summary.checks if check.passed)
    lines = [(name, f"{good[name]}", f"{count}") for name, count in every.items()]
    shown = table("Checks by group", ("group", "passed", "of"), lines)
    return f'<h2 id="checks">Checks</h2>{shown}{_fuzz(summary)}'


def _fuzz(summary: Summary) -> str:
    if not summary.fuzz:
        return ""
    lines = [
        (
            one.target,
            f"{one.runs:,}",
            f"{one.steps:,}",
            f"{one.faults:,}",
            f"{one.broken}: {one.command}" if one.broken else "nothing",
        )
        for one in summary.fuzz
    ]
    head = ("work", "runs", "steps", "faults", "what broke")
    title = "Fuzzed: orders and faults by chance, every run judged"
    return table(title, head, lines, prose=True)


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
    return '<h2 id="overview">Cases</h2>' + table(caption, _HEAD, lines, places)


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
