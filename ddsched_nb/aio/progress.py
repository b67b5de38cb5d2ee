"""Counts of a run, kept by the scheduler's shell. Plain numbers; views and summaries read them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ddsched_nb.core.model import RowGroup, Task

# Of so many dropped rows the reason is kept one by one; of all of them it is counted.
ERRORS_KEPT = 10_000
_REASONS_KEPT = 1_000
_OTHER = ("", "other reasons")


@dataclass(frozen=True, slots=True)
class RowError:
    """Why a row was dropped, or a run failed.

    Attributes:
        row: Number of the row; None where a whole group was concerned.
        column: The column at fault.
        reason: One line, free of prompts, answers and keys.
        detail: What the server, or an exception, said. May echo the prompt or a cell; kept in
            memory only, and out of the repr.
    """

    row: int | None
    column: str
    reason: str
    detail: str = field(default="", repr=False)


class Progress:
    """Counters by column and by row."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.running: Counter[str] = Counter()
        self.rows_finished = 0
        self.rows_dropped = 0
        self.rows_restored = 0
        self.groups_finished = 0
        self.errors: list[RowError] = []
        self.reasons: Counter[tuple[str, str]] = Counter()

    def started(self, task: Task) -> None:
        self.running[task.column] += 1

    def ended(self, task: Task) -> None:
        self.running[task.column] -= 1

    def completed(self, task: Task, rows: int) -> None:
        self.done[task.column] += rows

    def dropped(self, error: RowError, rows: int) -> None:
        """Rows were dropped for this reason."""
        self.rows_dropped += rows
        self.failed(error)
        reason = (error.column, error.reason)
        known = reason in self.reasons or len(self.reasons) < _REASONS_KEPT
        self.reasons[reason if known else _OTHER] += rows

    def failed(self, error: RowError) -> None:
        """Something failed that may or may not have dropped a row."""
        self.errors.append(error)
        if len(self.errors) >= 2 * ERRORS_KEPT:
            # A new list, since views may be reading the old one.
            self.errors = self.errors[-ERRORS_KEPT:]

    def finished(self, group: RowGroup, kept: int) -> None:
        self.groups_finished += 1
        self.rows_finished += kept

    def restored(self, kept: int, dropped: Counter[tuple[str, str]], columns: list[str]) -> None:
        """A row group was found finished."""
        self.groups_finished += 1
        self.rows_finished += kept
        self.rows_restored += kept
        self.rows_dropped += dropped.total()
        self.reasons.update(dropped)
        for column in columns:
            self.done[column] += kept
