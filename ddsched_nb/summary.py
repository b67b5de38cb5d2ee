"""What a run did, in figures that can be checked against its record and its endpoint."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ddsched_nb.aio.statistics import RunStatistics
from ddsched_nb.aio.usage import CallUsage
from ddsched_nb.reprs import brief, html_table, tell_whole, text_table

if TYPE_CHECKING:
    from ddsched_nb.config import RunConfig
    from ddsched_nb.engine import Engine
    from ddsched_nb.pipeline import Pipeline


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
class ColumnSummary:
    """What one column used of one model. Answers that did not parse are counted: they are paid.

    Attributes:
        column: The column.
        model: Alias of the model.
        calls: Calls answered.
        asked_again: Those of them made because an answer did not parse.
        prompt_tokens: Tokens sent, as the provider counted them.
        completion_tokens: Tokens written, as the provider counted them.
        images: Images made.
        cost: What they cost in `currency`; None where the model has no prices.
        currency: What the cost is in.
    """

    column: str
    model: str
    calls: int
    asked_again: int
    prompt_tokens: int
    completion_tokens: int
    images: int
    cost: float | None
    currency: str


@dataclass(frozen=True, slots=True)
class RunLimits:
    """The limits of a run, and how far they were used. None is no limit.

    Attributes:
        run_timeout_s: The run ends after so long, in seconds.
        retry_budget: Retries the run may spend; `retries` of them are spent.
        shutdown_error_rate: Share of failing cells, of the last `shutdown_error_window` of a
            column, that ends the run.
    """

    run_timeout_s: float | None
    retry_budget: int | None
    retries: int
    shutdown_error_rate: float | None
    shutdown_error_window: int


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run did.

    Attributes:
        state: How it ended, or that it runs.
        why: The error that ended it, if one did.
        rows: Rows asked for; `finished` and `dropped` of them, `open` neither.
        restored: Those of the finished rows that the store had already.
        skipped: Cells skipped, by column.
        dropped_by: Dropped rows counted by column and reason, the most frequent first.
        models: One entry a pool.
        columns: One entry a column and model: calls, tokens, money of this run.
        cost: What this run cost, by currency; empty where no model has prices.
        limits: The limits of the run.
        elapsed_s: Seconds from start to end.
    """

    state: str
    why: str | None
    rows: int
    finished: int
    dropped: int
    open: int
    restored: int
    skipped: tuple[tuple[str, int], ...]
    dropped_by: tuple[tuple[str, int], ...]
    models: tuple[ModelSummary, ...]
    columns: tuple[ColumnSummary, ...]
    cost: tuple[tuple[str, float], ...]
    limits: RunLimits
    elapsed_s: float

    def __repr__(self) -> str:
        return brief(f"<RunSummary: {self._lines()[0]}>")

    def __str__(self) -> str:
        lines = self._lines()
        if self.models:
            lines.append(text_table(_MODELS, self._model_cells()))
        if self.columns:
            lines += ["", text_table(_COLUMNS, self._column_cells())]
        return "\n".join(lines)

    _repr_pretty_ = tell_whole

    def _repr_html_(self) -> str:
        first, *rest = self._lines()
        caption = " \N{MIDDLE DOT} ".join([first, *(line.strip() for line in rest)])
        html = html_table(_MODELS, self._model_cells(), caption=caption)
        if self.columns:
            html += html_table(_COLUMNS, self._column_cells(), caption="what each column used")
        return html

    def _lines(self) -> list[str]:
        head = f"{self.state}: {self.finished} of {self.rows} rows finished"
        head += f" ({self.restored} of them from the store)" if self.restored else ""
        head += f", {self.dropped} dropped"
        lines = [head + (f", {self.open} not finished" if self.open else "")]
        lines += [self.why] if self.why else []
        lines += [f"  {count} x {reason}" for reason, count in self.dropped_by]
        lines += [f"  {count} cells of {column} skipped" for column, count in self.skipped]
        lines += [f"  {said}" for said in self._limits_used()]
        lines += [f"  cost: {amount:,.4f} {currency}" for currency, amount in self.cost]
        return lines

    def _limits_used(self) -> Iterable[str]:
        limits = self.limits
        if limits.retry_budget is not None:
            yield f"{limits.retries} of at most {limits.retry_budget} retries"
        elif limits.retries:
            yield f"{limits.retries} retries"
        if limits.run_timeout_s is not None:
            yield f"{self.elapsed_s:.1f} of at most {limits.run_timeout_s:g} s"

    def _model_cells(self) -> list[list[str]]:
        return [
            [
                m.name,
                *map(str, (m.requests, m.succeeded, m.refused, m.failed, m.tokens)),
                f"{m.limit} of {m.cap}",
            ]
            for m in self.models
        ]

    def _column_cells(self) -> list[list[str]]:
        return [
            [
                c.column,
                c.model,
                *map(str, (c.calls, c.asked_again, c.prompt_tokens, c.completion_tokens)),
                "-" if c.cost is None else f"{c.cost:,.4f}",
            ]
            for c in self.columns
        ]


_MODELS = ["model", "requests", "succeeded", "refused", "failed", "tokens", "limit"]
_COLUMNS = ["column", "model", "calls", "asked again", "tokens in", "tokens out", "cost"]


def summarize(
    stats: RunStatistics, pipeline: Pipeline, config: RunConfig, engine: Engine | None
) -> RunSummary:
    """The summary of a run as it stands."""
    progress = engine.progress if engine else None
    found = progress.reasons.items() if progress else []
    # By name where as many were dropped, since which came first depends on timing.
    reasons = sorted(found, key=lambda item: (-item[1], item[0]))[:5]
    columns = _columns(pipeline, engine.usage.by_column()) if engine else ()
    ended_badly = stats.state in ("failed", "stalled", "timed_out")
    return RunSummary(
        state=stats.state,
        why=stats.last_error if ended_badly else None,
        rows=stats.rows,
        finished=stats.rows_finished,
        dropped=stats.rows_dropped,
        open=stats.rows - stats.rows_finished - stats.rows_dropped,
        restored=progress.rows_restored if progress else 0,
        skipped=_skipped(pipeline, engine),
        dropped_by=tuple((": ".join(filter(None, by)), count) for by, count in reasons),
        models=_models(stats),
        columns=columns,
        cost=_cost(columns),
        limits=_limits(config, engine),
        elapsed_s=stats.elapsed_s,
    )


def _skipped(pipeline: Pipeline, engine: Engine | None) -> tuple[tuple[str, int], ...]:
    skipped = engine.progress.skipped if engine else {}
    return tuple((c.name, skipped[c.name]) for c in pipeline.columns if c.name in skipped)


def _models(stats: RunStatistics) -> tuple[ModelSummary, ...]:
    return tuple(
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


def _columns(
    pipeline: Pipeline, used: dict[tuple[str, str], CallUsage]
) -> tuple[ColumnSummary, ...]:
    prices = {model.alias: model.prices for model in pipeline.models}
    found = []
    for column in pipeline.columns:
        for alias in column.models:
            usage, priced = used.get((column.name, alias)), prices[alias]
            if usage is None:
                continue
            found.append(
                ColumnSummary(
                    column.name,
                    alias,
                    usage.calls,
                    usage.asked_again,
                    usage.prompt_tokens,
                    usage.completion_tokens,
                    usage.images,
                    None if priced is None else priced.cost(usage),
                    "" if priced is None else priced.currency,
                )
            )
    return tuple(found)


def _cost(columns: Iterable[ColumnSummary]) -> tuple[tuple[str, float], ...]:
    sums: dict[str, float] = {}
    for column in columns:
        if column.cost is not None:
            sums[column.currency] = sums.get(column.currency, 0.0) + column.cost
    return tuple(sums.items())


def _limits(config: RunConfig, engine: Engine | None) -> RunLimits:
    return RunLimits(
        config.run_timeout_s,
        config.retry.budget,
        engine.budget.spent if engine else 0,
        None if config.disable_early_shutdown else config.shutdown_error_rate,
        config.shutdown_error_window,
    )
