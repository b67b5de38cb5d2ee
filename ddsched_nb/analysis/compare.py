"""Sets records side by side: a table of figures, with their spread where runs are several.

Decides which figures, and when a difference is more than noise. A simulated run has no noise; of a
real one several records tell how much there is.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ddsched_nb.analysis.metrics import metrics
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import LLM_WAIT, OutcomeKind
from ddsched_nb.errors import ConfigError, RecordError
from ddsched_nb.record import RunRecord
from ddsched_nb.reprs import brief, html_table, tell_whole, text_table

__all__ = ["Comparison", "Figure", "compare"]


class Figure(NamedTuple):
    """A figure of some runs: its median, and the least and the most of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        """Sums values up; there is at least one."""
        return cls(statistics.median(values), min(values), max(values))

    def overlaps(self, other: Figure) -> bool:
        """Whether the ranges meet: then a difference may be noise."""
        return self.low <= other.high and other.low <= self.high


@dataclass(frozen=True, slots=True)
class Compared:
    """One line of a comparison: some records of the same settings.

    Attributes:
        name: What they are called.
        runs: How many there are.
        wall_s: Seconds from start to end.
        finished: Rows finished.
        refusals: Refused requests for each that succeeded.
        utilization: Slots for waiting tasks in use, over those there were.
        frontier: Those idle for want of ready work, over those there were.
        request_wait_s: Seconds that requests waited while their tasks held all their slots.
        first_group_s: Seconds to the first finished row group.
        bound_s: No schedule of the work is faster; None where that is not known.
        oracle_s: What an oracle takes; None where that is not known.
    """

    name: str
    runs: int
    wall_s: Figure
    finished: Figure
    refusals: Figure
    utilization: Figure
    frontier: Figure
    request_wait_s: Figure
    first_group_s: Figure
    bound_s: float | None
    oracle_s: float | None


_HEADS = (
    "run",
    "wall s",
    "against the first",
    "over bound",
    "over oracle",
    "slots in use",
    "idle frontier",
    "refusals a success",
    "held waits s",
    "first group s",
    "rows",
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Records side by side. `print` shows a table; a notebook a table and a chart.

    Attributes:
        lines: One for each name, in the order given; the first is what others are set against.
    """

    lines: tuple[Compared, ...]

    def __repr__(self) -> str:
        return brief(f"<Comparison: {', '.join(self._walls())}>")

    def __str__(self) -> str:
        return text_table(_HEADS, self._cells())

    _repr_pretty_ = tell_whole

    def _repr_html_(self) -> str:
        return html_table(_HEADS, self._cells(), caption="runs side by side")

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        shown = {"text/plain": str(self), "text/html": self._repr_html_()}
        try:
            from ddsched_nb.views.comparison import drawn
        except ImportError:  # without the extra `lab` there are no charts
            return shown
        return shown | {"text/html": shown["text/html"] + drawn(self)}

    def _walls(self) -> list[str]:
        return [f"{line.name} {line.wall_s.median:.2f} s" for line in self.lines]

    def _cells(self) -> list[tuple[str, ...]]:
        return [self._line(line) for line in self.lines]

    def _line(self, line: Compared) -> tuple[str, ...]:
        first = self.lines[0]
        return (
            line.name if line.runs == 1 else f"{line.name} (median of {line.runs})",
            _spread(line.wall_s, 2),
            "-" if line is first else _against(line.wall_s, first.wall_s),
            "-" if not line.bound_s else f"{line.wall_s.median / line.bound_s:.3f}",
            "-" if not line.oracle_s else f"{line.wall_s.median / line.oracle_s:.3f}",
            f"{line.utilization.median:.3f}",
            f"{line.frontier.median:.3f}",
            _spread(line.refusals, 4),
            f"{line.request_wait_s.median:.2f}",
            f"{line.first_group_s.median:.2f}",
            f"{line.finished.median:g}",
        )


def compare(records: Mapping[str, RunRecord | Sequence[RunRecord]]) -> Comparison:
    """Sets runs side by side.

    Args:
        records: A record, or several of the same settings, under each name. Of several the median
            is shown with the range, and a difference within the ranges is called noise.

    Raises:
        ConfigError: There are no records.
        RecordError: A record is cut, or its run has not ended.
    """
    if not records or not all(_several(given) for given in records.values()):
        raise ConfigError("give at least one record under each name: compare({'name': record})")
    return Comparison(tuple(_compared(name, _several(given)) for name, given in records.items()))


def _several(given: RunRecord | Sequence[RunRecord]) -> list[RunRecord]:
    return [given] if isinstance(given, RunRecord) else list(given)


def _compared(name: str, records: list[RunRecord]) -> Compared:
    each = [_figures(name, record) for record in records]
    bounds = [getattr(getattr(record, "result", None), "bounds", None) for record in records]
    known = [found for found in bounds if found is not None]
    whole = len(known) == len(records)
    wall, finished, refusals, used, frontier, waits, first = (
        Figure.of(values) for values in zip(*each, strict=True)
    )
    return Compared(
        name,
        len(records),
        wall,
        finished,
        refusals,
        used,
        frontier,
        waits,
        first,
        statistics.median(found.lower_s for found in known) if whole else None,
        statistics.median(found.oracle_s for found in known) if whole else None,
    )


def _figures(name: str, record: RunRecord) -> tuple[float, ...]:
    started = record.select(ev.SchedulerJobStarted)
    ended = record.select(ev.SchedulerJobCompleted)
    if not started or not ended:
        raise RecordError(f"the record {name!r} does not hold a whole run, from start to end")
    found = metrics(record)
    waiting = found.scheduler.get(LLM_WAIT)
    answers = record.select(ev.ModelRequestCompleted)
    succeeded = sum(event.outcome is OutcomeKind.SUCCESS for event in answers)
    refused = sum(event.outcome is OutcomeKind.RATE_LIMITED for event in answers)
    stored = record.select(ev.RowGroupCheckpointed)
    return (
        ended[-1].at - started[0].at,
        float(ended[-1].rows_finished),
        refused / succeeded if succeeded else 0.0,
        0.0 if waiting is None else waiting.utilization,
        0.0 if waiting is None else waiting.frontier_ratio,
        found.leased_request_wait_s,
        stored[0].at - started[0].at if stored else 0.0,
    )


def _spread(figure: Figure, digits: int) -> str:
    if figure.low == figure.high:
        return f"{figure.median:.{digits}f}"
    return f"{figure.median:.{digits}f} ({figure.low:.{digits}f} to {figure.high:.{digits}f})"


def _against(ours: Figure, first: Figure) -> str:
    change = ours.median / first.median - 1 if first.median else 0.0
    noisy = ours.overlaps(first) and (ours.low < ours.high or first.low < first.high)
    return f"{change:+.1%}" + (" (within noise)" if noisy else "")
