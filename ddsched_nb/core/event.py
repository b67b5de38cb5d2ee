"""What every event is: a frozen fact with an instant and a place in its stream."""

from __future__ import annotations

import re

import msgspec

from ddsched_nb.core.model import PoolKey


def _wire_name(class_name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", class_name).lower()


class Event(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag=_wire_name):
    """Base of all events."""

    at: float
    sequence: int

    @property
    def kind(self) -> str:
        """The kind's name on the wire."""
        return str(type(self).__struct_config__.tag)


class TaskEvent(Event, frozen=True, gc=False):
    """Base of the events that concern one task."""

    task_id: str


class RequestEvent(Event, frozen=True, gc=False):
    """Base of the events of request admission; all concern one pool."""

    pool: PoolKey
