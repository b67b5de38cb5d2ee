"""The report: one file that says what was found, loads nothing, and escapes what it was told."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from ddsched_nb import cli
from ddsched_nb.bench.suite.baseline import Tolerances
from ddsched_nb.bench.suite.report import report
from ddsched_nb.bench.suite.report_analysis import analysis, compared
from ddsched_nb.bench.suite.report_topics import TOPICS
from ddsched_nb.bench.suite.runner import judge, run_suite, suite_cases
from ddsched_nb.bench.suite.summary import (
    Check,
    FuzzRow,
    Provenance,
    Row,
    Series,
    Summary,
    Timeline,
)
from ddsched_nb.bench.suite.writing import write_files

VOID = {"meta", "rect", "circle", "path", "br", "link", "img"}
HOSTILE = '</table><script>alert("x")</script><img src=https://example.org/x.png onerror=go()>'


class Page(HTMLParser):
    """Elements in order, and whether each is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(text.replace("\u00a0", " "))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words += data

    def of(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attrs for name, attrs in self.elements if name == tag)


@pytest.fixture(scope="module")
def measured() -> Summary:
    """Four small cases, run once."""
    names = ("rows-64", "request-pressure-control", "request-pressure-advisory")
    cases = [case for case in suite_cases("quick") if case.name in names]
    return judge(run_suite("quick", "virtual", lambda said: None, cases), None, Tolerances())


def parsed(summary: Summary) -> Page:
    page = Page(report(summary))
    assert page.open == []
    return page


def test_it_loads_nothing_and_runs_nothing(measured: Summary) -> None:
    text = report(measured)
    page = parsed(measured)
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text.replace("url(#", "")
    assert not {"script", "link", "img", "iframe", "object", "base"} & {n for n, _ in page.elements}
    for _, attributes in page.elements:
        assert "src" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        assert (attributes.get("href") or "#").startswith("#")
    policy = next(a for a in page.of("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"


def test_it_reads_on_a_phone_in_light_and_dark_and_aloud(measured: Summary) -> None:
    page = parsed(measured)
    assert any(a.get("name") == "viewport" for a in page.of("meta"))
    assert "prefers-color-scheme: dark" in report(measured)
    drawn = list(page.of("svg"))
    assert drawn
    assert all(a.get("aria-label") or a.get("aria-hidden") == "true" for a in drawn)
    places = {a["id"] for a in page.of("article")}
    cases = {a["href"] for a in page.of("a") if str(a["href"]).startswith("#case-")}
    assert cases == {f"#{place}" for place in places}
    assert len(places) == len(measured.cases)


def test_the_verdict_comes_first_and_says_what_failed(measured: Summary) -> None:
    words = parsed(measured).words
    failed = measured.failed
    assert failed, "three cases are not the suite"
    total = len(measured.checks)
    assert f"Failed: {total - len(failed)} of {total} checks; {len(failed)} failed." in words
    for check in failed:
        assert check.reason in words
    places = [a["id"] for _, a in parsed(measured).elements if a.get("id")]
    assert places.index("failed") < places.index("baseline") < places.index("overview")
    passed = [check for check in measured.checks if check.passed]
    good = parsed(msgspec.structs.replace(measured, checks=tuple(passed))).words
    assert f"Passed: {len(passed)} of {len(passed)} checks." in good


def test_the_reference_s_figures_stand_beside_ours(measured: Summary) -> None:
    words = parsed(measured).words
    assert "85.3 % in use, 13.2 % starved, 1.4 % frontier" in words  # as published
    assert "114.0 ms, 1.390 x the bound" in words
    assert "49.8 ms" in words


def test_each_section_can_be_gone_to(measured: Summary) -> None:
    page = parsed(measured)
    places = [a["id"] for _, a in page.elements if a.get("id")]
    assert len(places) == len(set(places))
    (ways,) = page.of("nav")
    assert ways["aria-label"] == "Sections"
    gone_to = [str(a["href"])[1:] for a in page.of("a") if str(a["href"]).startswith("#")]
    assert set(gone_to) <= set(places)
    assert gone_to[:4] == ["failed", "baseline", "checks", "overview"]
    assert "analysis" in gone_to
    alone = msgspec.structs.replace(measured, cases=measured.cases[:1])
    assert "analysis" not in {str(a["href"])[1:] for a in parsed(alone).of("a")}


def test_what_the_fuzzer_did_is_told(measured: Summary) -> None:
    assert "Fuzzed" not in parsed(measured).words
    rows = (FuzzRow("tight", 4, 1234, 52), FuzzRow("other", 4, 9, 5, HOSTILE, "the line"))
    words = parsed(msgspec.structs.replace(measured, fuzz=rows)).words
    assert "tight41,23452nothing" in words
    assert f"other495{HOSTILE}: the line" in words


def test_a_strip_names_the_slots_that_it_counts(measured: Summary) -> None:
    words = parsed(measured).words
    assert "slots for models leased" in words
    series = Series("leased", "submission", 4.0, (2.0,) * 60)
    other = with_row(measured, measured.cases[0].key, timeline=Timeline(1.0, (series,)))
    assert "task slots leased" not in words
    assert "task slots leased" in parsed(other).words


ADVISED, PLAIN = (f"adaptations/request-pressure-{name}" for name in ("advisory", "control"))


def with_row(summary: Summary, key: str, **fields: object) -> Summary:
    cases = [msgspec.structs.replace(r, **fields) if r.key == key else r for r in summary.cases]
    return msgspec.structs.replace(summary, cases=tuple(cases))


def test_every_case_has_its_causes_and_its_timeline_in_words_and_figures(
    measured: Summary,
) -> None:
    page = parsed(measured)
    spoken = [a.get("aria-label") or "" for a in page.of("svg") if a.get("role") == "img"]
    tables = {a.get("aria-label") for a in page.of("table")}
    for row in measured.cases:
        assert f"Idle slots of {row.key} by cause" in tables
        assert f"{row.key} over time" in tables
        for name in ("task slots", "slots for models"):
            assert any(text.startswith(f"{name}: in use") for text in spoken)
    assert "task slots: in use 50.0 %; other resource full 49.9 %; draining tail 0.1 %" in spoken
    in_flight = "1 at first, most 1 from 0, 0 at last; mean 0.39 of 1"
    assert f"in flight: zz/open/chat: {in_flight}" in spoken
    assert page.words.count("Nothing was refused.") == len(measured.cases)
    few = msgspec.structs.replace(measured.cases[0], timeline=None, idle_causes={})
    older = parsed(msgspec.structs.replace(measured, cases=(few,))).words
    assert "Over time" not in older.split("Methods")[0]


def test_shares_of_causes_and_use_are_all_there_is(measured: Summary) -> None:
    for row in measured.cases:
        for found in row.resources:
            idle = sum(row.idle_causes.get(found.name, {}).values())
            assert idle + found.busy_seconds == pytest.approx(found.capacity_seconds)


def told(summary: Summary) -> str:
    return Page(analysis(summary)).words


def test_the_analysis_says_what_the_figures_say(measured: Summary) -> None:
    words = told(measured)
    assert "on, beside off: A gain, at no cost among these figures." in words
    assert "wall time 82.0 ms instead of 114.0 ms (-28 %)" in words
    assert "Adaptive row groups" not in words, "those cases were not run"


def test_the_analysis_turns_when_the_figures_turn(measured: Summary) -> None:
    rows = measured.rows
    before, after = rows[PLAIN], rows[ADVISED]
    swapped = with_row(measured, PLAIN, **{f: getattr(after, f) for f in _FIGURES})
    swapped = with_row(swapped, ADVISED, **{f: getattr(before, f) for f in _FIGURES})
    words = told(swapped)
    assert "on, beside off: A loss, with no gain among these figures." in words
    assert "Worse: wall time 114.0 ms instead of 82.0 ms (+39 %)" in words
    assert "Better:" not in words
    slower = told(with_row(measured, ADVISED, mean_wall_time_seconds=0.2))
    assert "on, beside off: A trade." in slower
    assert "Worse: wall time 200.0 ms instead of 114.0 ms" in slower
    equal = told(with_row(measured, ADVISED, **{f: getattr(before, f) for f in _FIGURES}))
    assert "on, beside off: No difference." in equal


_FIGURES = (
    "mean_wall_time_seconds",
    "useful_utilization_ratio",
    "request_wait_seconds_while_task_leased_mean",
    "queue_wait_p95_seconds",
)


def test_the_noise_of_a_real_loop_is_no_difference(measured: Summary) -> None:
    row = measured.rows[PLAIN]
    slower = msgspec.structs.replace(row, mean_wall_time_seconds=1.05 * row.mean_wall_time_seconds)
    assert compared(slower, row, "virtual").verdict.startswith("A loss")
    assert compared(slower, row, "real").verdict == "No difference"


def test_every_topic_is_about_cases_of_the_suite() -> None:
    keys = {case.key for case in suite_cases("quick")}
    for topic in TOPICS:
        assert set(topic.cases.values()) <= keys
        assert {label for pair in topic.pairs for label in pair} <= set(topic.cases)
        assert {label for pair in topic.pairs for label in pair} == set(topic.cases)


def test_what_changed_since_the_baseline(measured: Summary, tmp_path: Path) -> None:
    first = measured.cases[0]
    slower = msgspec.structs.replace(first, wall_over_bound=1.5, mean_wall_time_seconds=0.1)
    base = msgspec.structs.replace(measured, cases=(slower, *measured.cases[1:]))
    write_files(base, tmp_path)
    words = parsed(judge(measured, tmp_path / "summary.json", Tolerances())).words
    assert "Better: 1" in words
    assert "Worse: 1" in words
    assert "over bound1.51-33.3 %" in words


def hostile(summary: Summary) -> Summary:
    """Every string that can come from outside says something evil."""

    def poisoned(value: msgspec.Struct) -> msgspec.Struct:
        names = [n for n in value.__struct_fields__ if type(getattr(value, n)) is str]
        keep = {"origin", "row_group_admission_mode", "severity", "stream"}
        evil = {name: HOSTILE for name in names if name not in keep}
        return msgspec.structs.replace(value, **evil)

    def row(value: Row) -> Row:
        resources = tuple(poisoned(found) for found in value.resources)
        assert value.timeline is not None
        series = [msgspec.structs.replace(found, of=HOSTILE) for found in value.timeline.series]
        changed = msgspec.structs.replace(
            value,
            timeline=msgspec.structs.replace(value.timeline, series=tuple(series)),
            idle_causes={HOSTILE: {HOSTILE: 0.2}},
            queue_wait_p95_seconds={HOSTILE: 0.5},
        )
        value = changed
        first = None if value.first_model_dispatch_column is None else HOSTILE
        changed = msgspec.structs.replace(value, resources=resources)
        changed = msgspec.structs.replace(changed, first_model_dispatch_column=first)
        return poisoned(changed)  # type: ignore[return-value]

    checks: list[Check] = [poisoned(c) for c in summary.checks]  # type: ignore[misc]
    origin: Provenance = poisoned(summary.provenance)  # type: ignore[assignment]
    origin = msgspec.structs.replace(origin, versions={HOSTILE: HOSTILE})
    return msgspec.structs.replace(
        summary,
        cases=tuple(map(row, summary.cases)),
        checks=tuple(checks),
        provenance=origin,
        suite_version=HOSTILE,
        hashes={"cases": HOSTILE},
    )


def test_what_comes_from_outside_is_escaped(measured: Summary) -> None:
    page = parsed(hostile(measured))
    assert not {"script", "img"} & {name for name, _ in page.elements}
    # Nothing is compared where no case has a known name.
    compared_in = len(list(Page(analysis(measured)).of("table")))
    assert len(list(page.of("table"))) == len(list(parsed(measured).of("table"))) - compared_in
    waits = {column: {HOSTILE: wait} for column, wait in ((PLAIN, 0.1), (ADVISED, 0.2))}
    told_evil = measured
    for key, wait in waits.items():
        told_evil = with_row(told_evil, key, queue_wait_p95_seconds=wait)
    assert HOSTILE in told(told_evil)
    assert HOSTILE in page.words
    for _, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes)


def test_the_command(measured: Summary, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = write_files(measured, tmp_path)
    page = tmp_path / "report.html"
    assert cli.main(["report", str(tmp_path), "-o", str(page)]) == 0
    assert page.read_text(encoding="utf-8") == report(written)
    assert cli.main(["report", str(tmp_path / "nowhere"), "-o", str(page)]) == 2
    assert cli.main(["report", str(tmp_path), "-o", str(tmp_path / "no" / "where.html")]) == 2
    said = capsys.readouterr().err
    assert said.count("ddsched-nb: ") == said.count("\n") == 2
