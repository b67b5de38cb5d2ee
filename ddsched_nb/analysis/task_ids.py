"""Reads the names of tasks: `column/row_group/row`, or `column/row_group` for a whole group."""

from __future__ import annotations

from collections.abc import Collection, Container

from ddsched_nb.core.events import NonRetryableDropped

__all__ = ["group_of", "lost_with"]


def group_of(task_id: str, columns: Container[str]) -> str:
    """The number of a task's row group, as its name writes it.

    Args:
        task_id: The name.
        columns: The columns there are; a column may have a slash in its name.
    """
    column, _, tail = task_id.rpartition("/")
    column, _, group = column.rpartition("/")
    return group if column in columns else tail


def lost_with(
    event: NonRetryableDropped, waiting: Collection[str], columns: Collection[str]
) -> list[str]:
    """The waiting tasks that a dropped row, or a whole dropped group, takes with it.

    They leave the queue without an event of their own.

    Args:
        event: What dropped it.
        waiting: Tasks that wait, by name.
        columns: The columns there are, hooks included.
    """
    group = group_of(event.task_id, columns)
    if event.row is None:
        return [task_id for task_id in waiting if group_of(task_id, columns) == group]
    of_the_row = (f"{column}/{group}/{event.row}" for column in columns)
    return [task_id for task_id in of_the_row if task_id in waiting]
