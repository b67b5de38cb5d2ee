"""Counts what a run has done, for whoever watches. Decides nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ddsched_nb.core.model import RowGroup, Task


@dataclass(frozen=True, slots=True)
class RowError:
    """Why a row was dropped, or a run failed.

    Attributes:
        row: Number of the row; None where a whole group was concerned.
        column: The column at fault.
        reason: One line, free of prompts, answers and keys.
        detail: What the server said, if anything. May echo the prompt; kept in memory only.
    """

    row: int | None
    column: str
    reason: str
    detail: str = ""


class Progress:
    """Counters by column and by row."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.running: Counter[str] = Counter()
        self.rows_finished = 0
        self.rows_dropped = 0
        self.groups_finished = 0
        self.errors: list[RowError] = []

    def started(self, task: Task) -> None:
        self.running[task.column] += 1

    def ended(self, task: Task) -> None:
        self.running[task.column] -= 1

    def completed(self, task: Task, rows: int) -> None:
        self.done[task.column] += rows

    def finished(self, group: RowGroup, kept: int) -> None:
        self.groups_finished += 1
        self.rows_finished += kept
