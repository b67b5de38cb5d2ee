"""Reads the names of tasks: `column/row_group/row`, or `column/row_group` for a whole group."""

from __future__ import annotations

from collections.abc import Container

__all__ = ["group_of"]


def group_of(task_id: str, columns: Container[str]) -> str:
    """The number of a task's row group, as its name writes it.

    Args:
        task_id: The name.
        columns: The columns there are; a column may have a slash in its name.
    """
    column, _, tail = task_id.rpartition("/")
    column, _, group = column.rpartition("/")
    return group if column in columns else tail
