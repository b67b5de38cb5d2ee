"""Why slots are idle: the closed list of causes, and what each means."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from ddsched_nb.core.model import DenyReason
from ddsched_nb.core.row_groups import BlockReason

__all__ = ["CAUSES", "DENIED", "HORIZON", "IdleCause"]


class IdleCause(StrEnum):
    """Why a slot is idle; `CAUSES` says what each means, `explain_idle` which one applies."""

    PAUSED = "paused"
    COOLDOWN = "cooldown"
    SCHEDULER_OVERHEAD = "scheduler_overhead"
    STOPPED = "stopped"
    PACING = "pacing"
    OTHER_RUNS = "other_runs"
    CEILING = "ceiling"
    DEBT = "debt"
    FAIRNESS = "fairness"
    OTHER_RESOURCE_FULL = "other_resource_full"
    BUDGET_CAP = "budget_cap"
    AGGREGATE_CAP = "aggregate_cap"
    PROBING = "probing"
    SLOW_START = "slow_start"
    REQUEST_LIMIT = "request_limit"
    BACKOFF = "backoff"
    SLOTS_YIELDED = "slots_yielded"
    BETWEEN_CALLS = "between_calls"
    DEFERRED = "deferred"
    STARTUP = "startup"
    HORIZON_CAP = "horizon_row_group_cap"
    HORIZON_ROWS = "horizon_admitted_rows"
    HORIZON_STORING = "horizon_being_stored"
    HORIZON_QUEUED = "horizon_queued_demand"
    HORIZON_MODELS_CLOSED = "horizon_models_closed"
    HORIZON_SLOTS_LEASED = "horizon_slots_leased"
    HORIZON_WORK_AHEAD = "horizon_work_ahead"
    FRONTIER_EMPTY = "frontier_empty"
    DRAINING_TAIL = "draining_tail"


_C = IdleCause

CAUSES: Final[dict[IdleCause, str]] = {
    _C.PAUSED: "the run is paused",
    _C.COOLDOWN: "a call waits for a model that grants nothing until an instant",
    _C.SCHEDULER_OVERHEAD: "something could go on at once, and nothing happened; or the loop was "
    "late to see that a task was done",
    _C.STOPPED: "the run ended early, and nothing was begun from here on",
    _C.PACING: "a call waits for a quota per minute",
    _C.OTHER_RUNS: "a call waits for a pool that other runs use too, of which the record is silent",
    _C.CEILING: "a queued task may borrow no more",
    _C.DEBT: "a queued task's flow owes slots, and others could run",
    _C.FAIRNESS: "a queued task's flow holds its share, and others could run",
    _C.OTHER_RESOURCE_FULL: "a queued task that wants it lacks another resource, or more of this",
    _C.BUDGET_CAP: "a call waits for what all models of an account may have in flight",
    _C.AGGREGATE_CAP: "a call waits for what all domains of a model may have in flight",
    _C.PROBING: "a call waits for an endpoint that serves nothing and is asked one call at a time",
    _C.SLOW_START: "a call waits for a limit that has not fallen yet: it is on its way up",
    _C.REQUEST_LIMIT: "a call waits for a limit that lies below the cap",
    _C.BACKOFF: "a refused call waits until it may be sent again",
    _C.SLOTS_YIELDED: "a task gave it back for as long as it waits for its model",
    _C.BETWEEN_CALLS: "a running task that calls this model does something else just now",
    _C.DEFERRED: "a task that failed is put aside until it is tried again",
    _C.STARTUP: "no row group is open yet",
    _C.HORIZON_CAP: "rows are left, and as many row groups are open as may be",
    _C.HORIZON_ROWS: "rows are left, and the open row groups have as many rows as may be",
    _C.HORIZON_STORING: "rows are left, and finished row groups wait for the disk",
    _C.HORIZON_QUEUED: "rows are left, and more is queued, for others, than is worked on soon",
    _C.HORIZON_MODELS_CLOSED: "rows are left, and only closed models lack work",
    _C.HORIZON_SLOTS_LEASED: "rows are left, and every slot that they would use first is leased",
    _C.HORIZON_WORK_AHEAD: "rows are left, and enough work for it is on its way",
    _C.FRONTIER_EMPTY: "all rows are open, and what will want it waits for its inputs",
    _C.DRAINING_TAIL: "less work for it is left than it has slots",
}
"""What each cause means."""

DENIED: Final = {
    DenyReason.AT_CEILING: _C.CEILING,
    DenyReason.IN_DEBT: _C.DEBT,
    DenyReason.OVER_SHARE: _C.FAIRNESS,
}
"""The cause that task admission names; a full resource is read from the books instead."""

HORIZON: Final = {
    BlockReason.ROW_GROUP_CAP: _C.HORIZON_CAP,
    BlockReason.ADMITTED_ROWS: _C.HORIZON_ROWS,
    BlockReason.BEING_STORED: _C.HORIZON_STORING,
    BlockReason.QUEUED_DEMAND: _C.HORIZON_QUEUED,
    BlockReason.MODELS_CLOSED: _C.HORIZON_MODELS_CLOSED,
    BlockReason.SLOTS_LEASED: _C.HORIZON_SLOTS_LEASED,
    BlockReason.WORK_AHEAD: _C.HORIZON_WORK_AHEAD,
}
"""The cause that the row-group governor names."""
