"""The report's analysis: what each adaptation brings and costs, said from the figures of the cases.

No sentence knows how a comparison ends: words follow the figures, so they turn when those turn.
Cases that a summary lacks are left out, and with them what is said of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import Final, NamedTuple

from ddsched_nb.bench.suite.report_parts import percent, seconds, table
from ddsched_nb.bench.suite.report_topics import TOPICS, Topic
from ddsched_nb.bench.suite.summary import Clock, Row, Summary

__all__ = ["Found", "analysis", "compared"]

# Smaller differences, as a share, are none; a real loop has its own.
_EQUAL: Final[dict[Clock, float]] = {"virtual": 0.005, "real": 0.10}
_AT_BOUND: Final = 1.005
# Waits that are shorter than this share of the wall time are not spoken of.
_NO_WAIT: Final = 0.005


class _Figure(NamedTuple):
    name: str
    value: Callable[[Row], float]
    shown: Callable[[float], str]
    more_is_better: bool = False


def _count(value: float) -> str:
    return f"{value:,.4g}" if value < 1e4 else f"{value:,.0f}"


_FIGURES: Final = (
    _Figure("wall time", lambda row: row.mean_wall_time_seconds, seconds),
    _Figure("useful utilization", lambda row: row.useful_utilization_ratio, percent, True),
    _Figure(
        "waits under a lease, summed",
        lambda row: row.request_wait_seconds_while_task_leased_mean,
        seconds,
    ),
    _Figure("refusals", lambda row: row.refused_request_count / row.iterations, _count),
    _Figure("rows open, on average", lambda row: row.row_group_open_rows_mean, _count),
)
_HEAD: Final = (
    "case",
    "wall",
    "over bound",
    "useful",
    "leased wait",
    "skipped",
    "refused",
    "rows open",
    "most rows",
)


class Found(NamedTuple):
    """How one case stands beside another.

    Attributes:
        better: Figures that are better, in words.
        worse: Figures that are worse.
        same: Names of those that are equal, and not 0.
    """

    better: tuple[str, ...]
    worse: tuple[str, ...]
    same: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """What it comes to, in a few words."""
        if self.better and self.worse:
            return "A trade"
        if self.better:
            return "A gain, at no cost among these figures"
        return "A loss, with no gain among these figures" if self.worse else "No difference"


def compared(row: Row, other: Row, clock: Clock) -> Found:
    """How a case stands beside another, figure by figure, and wait by wait of each column."""
    better: list[str] = []
    worse: list[str] = []
    same: list[str] = []
    for figure in (*_FIGURES, *_waits(row, other)):
        before, after = figure.value(other), figure.value(row)
        if abs(after - before) <= _EQUAL[clock] * max(abs(before), abs(after)):
            same += [figure.name] if after else []
            continue
        said = f"{figure.name} {figure.shown(after)} instead of {figure.shown(before)}"
        said += _change(before, after)
        good = (after > before) == figure.more_is_better
        (better if good else worse).append(said)
    return Found(tuple(better), tuple(worse), tuple(same))


def _change(before: float, after: float) -> str:
    if not before:
        return ""
    if after >= 2 * before:
        return f" ({after / before:.3g} times as much)"
    return f" ({100 * (after - before) / before:+.0f}\u00a0%)"


def _waits(row: Row, other: Row) -> Iterator[_Figure]:
    least = _NO_WAIT * min(row.mean_wall_time_seconds, other.mean_wall_time_seconds)
    theirs = other.queue_wait_p95_seconds
    for column, waited in row.queue_wait_p95_seconds.items():
        if max(waited, theirs.get(column, 0.0)) > least and column in theirs:
            yield _Figure(f"wait of {column} for a slot, p95", _wait(column), seconds)


def _wait(column: str) -> Callable[[Row], float]:
    return lambda row: row.queue_wait_p95_seconds[column]


def analysis(summary: Summary) -> str:
    """The section; empty where no comparison can be made."""
    told = "".join(_topic(topic, summary) for topic in TOPICS)
    if not told:
        return ""
    equal = percent(_EQUAL[summary.clock])
    return (
        '<section id="analysis"><h2>What the adaptations bring, and what they cost</h2><p>Each '
        "table shows cases that differ in one setting, the one it is compared with among them. "
        "The sentences below it are made from the figures. What differs by less than "
        f"{equal} counts as the same. Over bound: 1 is what no schedule can beat.</p>{told}"
        "</section>"
    )


def _topic(topic: Topic, summary: Summary) -> str:
    rows = summary.rows
    pairs = [
        (subject, other)
        for subject, other in topic.pairs
        if topic.cases[subject] in rows and topic.cases[other] in rows
    ]
    if not pairs:
        return ""
    shown = [(label, rows[key]) for label, key in topic.cases.items() if key in rows]
    lines = [_line(label, row) for label, row in shown]
    said = "".join(_pair(topic.cases, pair, rows, summary.clock) for pair in pairs)
    return (
        f"<h3>{escape(topic.title)}</h3><p>{escape(topic.about)}</p>"
        f"{table(topic.title, _HEAD, lines)}<ul>{said}</ul>"
    )


def _line(label: str, row: Row) -> Sequence[str]:
    return (
        label,
        seconds(row.mean_wall_time_seconds),
        f"{row.wall_over_bound:.3f}",
        percent(row.useful_utilization_ratio),
        seconds(row.request_wait_seconds_while_task_leased_mean),
        f"{row.request_pressure_advisory_skip_count:,}",
        f"{row.refused_request_count:,}",
        f"{row.row_group_open_rows_mean:,.1f}",
        f"{row.row_group_admission_max_admitted_rows:,}",
    )


def _pair(
    cases: Mapping[str, str], pair: tuple[str, str], rows: Mapping[str, Row], clock: Clock
) -> str:
    subject, other = pair
    row, beside = rows[cases[subject]], rows[cases[other]]
    found = compared(row, beside, clock)
    said = [f"<b>{escape(subject)}, beside {escape(other)}: {escape(found.verdict)}.</b>"]
    for word, figures in (("Better", found.better), ("Worse", found.worse)):
        if figures:
            said.append(f"{word}: {escape('; '.join(figures))}.")
    if found.same:
        said.append(f"The same: {escape('; '.join(found.same))}.")
    if max(row.wall_over_bound, beside.wall_over_bound) <= _AT_BOUND:
        said.append("Each is as fast as the row groups that it may open allow.")
    return f"<li>{' '.join(said)}</li>"
