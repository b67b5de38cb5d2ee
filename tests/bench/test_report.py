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
from ddsched_nb.bench.suite.runner import judge, run_suite, suite_cases
from ddsched_nb.bench.suite.summary import Check, Provenance, Row, Summary
from ddsched_nb.bench.suite.writing import write_files

VOID = {"meta", "rect", "circle", "br", "link", "img"}
HOSTILE = '</table><script>alert("x")</script><img src=https://example.org/x.png onerror=go()>'


class Page(HTMLParser):
    """Elements in order, and whether each is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(text)
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
    assert {a["href"] for a in page.of("a")} == {f"#{place}" for place in places}
    assert len(places) == len(measured.cases)


def test_the_verdict_comes_first_and_says_what_failed(measured: Summary) -> None:
    words = parsed(measured).words
    failed = measured.failed
    assert failed, "three cases are not the suite"
    total = len(measured.checks)
    assert f"Failed: {total - len(failed)} of {total} checks; {len(failed)} failed." in words
    for check in failed:
        assert check.reason in words
    assert words.index("What failed") < words.index("Against the baseline") < words.index("Cases")
    passed = [check for check in measured.checks if check.passed]
    good = parsed(msgspec.structs.replace(measured, checks=tuple(passed))).words
    assert f"Passed: {len(passed)} of {len(passed)} checks." in good


def test_the_reference_s_figures_stand_beside_ours(measured: Summary) -> None:
    words = parsed(measured).words
    assert "85.3 % in use, 13.2 % starved, 1.4 % frontier" in words  # as published
    assert "114.0 ms, 1.390 x the bound" in words
    assert "49.8 ms" in words


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
    assert [name for name, _ in page.elements if name == "table"] == [
        name for name, _ in parsed(measured).elements if name == "table"
    ]
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
