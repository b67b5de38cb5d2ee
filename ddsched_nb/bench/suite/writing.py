"""The files of a run of the suite: `summary.json`, `cases.csv`, `summary.md`."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from ddsched_nb.bench.suite.summary import Check, Row, Summary, sha256_of
from ddsched_nb.errors import ConfigError

__all__ = ["SUMMARY", "verdict", "writable", "write_files"]

SUMMARY = "summary.json"
_CSV = "cases.csv"
_MARKDOWN = "summary.md"
_NESTED = {"resources", "idle_causes", "queue_wait_p95_seconds", "timeline"}


def write_files(summary: Summary, folder: Path) -> Summary:
    """Writes the files into a folder, and returns the summary with their hashes.

    Raises:
        ConfigError: They cannot be written.
    """
    contents = {_CSV: _csv(summary.cases), _MARKDOWN: _markdown(summary)}
    hashes = {name: sha256_of(text.encode()) for name, text in contents.items()}
    hashes |= {"cases": summary.cases_sha256}
    summary = msgspec.structs.replace(summary, hashes=hashes)
    writable(folder)
    try:
        for name, text in contents.items():
            (folder / name).write_bytes(text.encode())
        (folder / SUMMARY).write_bytes(summary.encoded())
    except OSError as error:
        raise ConfigError(f"cannot write to {str(folder)!r}: {error.strerror}") from error
    return summary


def writable(folder: Path) -> None:
    """Makes the folder, if it is not there.

    Raises:
        ConfigError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot write to {str(folder)!r}: {error.strerror}") from error


def verdict(summary: Summary) -> str:
    """How it went, in one line."""
    checks, failed = summary.checks, summary.failed
    said = f"{len(checks) - len(failed):,} of {len(checks):,} checks passed"
    counts = Counter(check.severity for check in failed)
    if failed:
        said += ": " + ", ".join(f"{n} {s}{'s' if n > 1 else ''}" for s, n in counts.items())
    return f"{'FAIL' if summary.broken else 'PASS'}, {said}"


def _csv(rows: Iterable[Row]) -> str:
    fields = [name for name in Row.__struct_fields__ if name not in _NESTED]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(fields)
    for row in rows:
        values = [getattr(row, name) for name in fields]
        writer.writerow([";".join(map(str, v)) if isinstance(v, tuple) else v for v in values])
    return out.getvalue()


_HEADS = (
    "case",
    "wall s",
    "over bound",
    "llm util",
    "starved",
    "frontier",
    "useful",
    "leased wait ms",
    "skips",
)


def _markdown(summary: Summary) -> str:
    lines = [
        f"# Idle suite, {summary.mode}, {summary.clock} time: {verdict(summary)}",
        "",
        *_failures(summary.failed),
        *_groups(summary.checks),
        "",
        *_table(summary.cases),
        "",
        *_origin(summary),
    ]
    return "\n".join(lines) + "\n"


def _failures(failed: Iterable[Check]) -> Iterator[str]:
    for check in failed:
        yield f"- {check.severity}: `{check.id}`: {_cell(check.reason)}"
    if failed:
        yield ""


def _groups(checks: Iterable[Check]) -> Iterator[str]:
    all_of, good = Counter(c.group for c in checks), Counter(c.group for c in checks if c.passed)
    yield "| group | passed | of |"
    yield "| --- | ---: | ---: |"
    for name, count in all_of.items():
        yield f"| {name} | {good[name]} | {count} |"


def _table(rows: Iterable[Row]) -> Iterator[str]:
    yield f"| {' | '.join(_HEADS)} |"
    yield f"| --- |{' ---: |' * (len(_HEADS) - 1)}"
    for row in rows:
        cells = (
            _cell(row.key) + (" (control)" if row.control else ""),
            f"{row.mean_wall_time_seconds:.4f}",
            f"{row.wall_over_bound:.3f}",
            f"{row.llm_wait_utilization_ratio:.3f}",
            f"{row.llm_wait_starved_idle_ratio:.3f}",
            f"{row.llm_wait_frontier_dependency_horizon_idle_ratio:.3f}",
            f"{row.useful_utilization_ratio:.3f}",
            f"{1e3 * row.request_wait_seconds_while_task_leased_mean:.1f}",
            f"{row.request_pressure_advisory_skip_count}",
        )
        yield f"| {' | '.join(cells)} |"


def _origin(summary: Summary) -> Iterator[str]:
    said = summary.provenance
    dirty = " with changes" if said.dirty else ""
    yield f"`{said.command}` at commit {said.commit}{dirty}, seed {said.seed}, on {said.machine},"
    versions = ", ".join(f"{name} {version}" for name, version in said.versions.items())
    yield f"{said.processors} processors; {versions}."


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
