"""What a run did, in figures that can be checked against its record and its endpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ddsched_nb.aio.progress import RowError
from ddsched_nb.aio.statistics import RunStatistics
from ddsched_nb.reprs import html_table, text_table


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """What one pool of a model did.

    Attributes:
        name: Provider, model and domain.
        requests: Attempts sent.
        succeeded: Attempts answered.
        refused: Attempts refused (429).
        failed: Attempts that failed otherwise at the provider.
        tokens: Tokens used, as the provider counted them.
        limit: The limit at the end, and what it never exceeds.
    """

    name: str
    requests: int
    succeeded: int
    refused: int
    failed: int
    tokens: int
    limit: int
    cap: int


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run did.

    Attributes:
        state: How it ended, or that it runs.
        why: The error that ended it, if one did.
        rows: Rows asked for; `finished` and `dropped` of them, `open` neither.
        dropped_by: Dropped rows counted by column and reason.
        models: One entry a pool.
        elapsed_s: Seconds from start to end.
    """

    state: str
    why: str | None
    rows: int
    finished: int
    dropped: int
    open: int
    dropped_by: tuple[tuple[str, int], ...]
    models: tuple[ModelSummary, ...]
    elapsed_s: float

    def __repr__(self) -> str:
        head = f"{self.state}: {self.finished} of {self.rows} rows finished, {self.dropped} dropped"
        lines = [head if not self.open else f"{head}, {self.open} not finished"]
        if self.why:
            lines.append(self.why)
        lines += [f"  {count} x {reason}" for reason, count in self.dropped_by]
        if self.models:
            lines.append(text_table(_HEAD, self._cells()))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        caption = repr(self).split("\n", 1)[0]
        return html_table(_HEAD, self._cells(), caption=caption)

    def _cells(self) -> list[list[str]]:
        return [
            [
                m.name,
                *map(str, (m.requests, m.succeeded, m.refused, m.failed, m.tokens)),
                f"{m.limit} of {m.cap}",
            ]
            for m in self.models
        ]


_HEAD = ["model", "requests", "succeeded", "refused", "failed", "tokens", "limit"]


def summarize(stats: RunStatistics, errors: Iterable[RowError]) -> RunSummary:
    """The summary of a run as it stands."""
    models = tuple(
        ModelSummary(
            pool.pool.label,
            pool.granted,
            pool.succeeded,
            pool.refused,
            pool.failed,
            pool.tokens,
            pool.limit,
            pool.cap,
        )
        for pool in stats.pools
    )
    reasons = Counter(f"{e.column}: {e.reason}" for e in errors)
    ended_badly = stats.state in ("failed", "stalled")
    return RunSummary(
        state=stats.state,
        why=stats.last_error if ended_badly else None,
        rows=stats.rows,
        finished=stats.rows_finished,
        dropped=stats.rows_dropped,
        open=stats.rows - stats.rows_finished - stats.rows_dropped,
        dropped_by=tuple(reasons.most_common(5)),
        models=models,
        elapsed_s=stats.elapsed_s,
    )
