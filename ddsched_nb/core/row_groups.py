"""Row groups: how a table is cut, and how many pieces may be open.

Lazy throughout: a plan of a million groups costs as much as one of two.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from enum import StrEnum
from typing import NamedTuple, overload

from ddsched_nb.core.model import RowGroup
from ddsched_nb.errors import ConfigError

# Rows open at once: so many groups' worth, or so many rows if that is more.
_GROUPS_OF_ROWS = 3
_MOST_ROWS = 8_192
# Groups that finish under pressure before the target falls by one.
_SUSTAINED = 2
# Groups that wait for a slow disk are no reason to begin more: a crash would cost them all.
_MOST_STORING = 2


class RowGroupPlan(Sequence[RowGroup]):
    """Rows 0 to `rows`, cut in order into groups of `size`; the last may be short.

    Raises:
        ConfigError: `rows` is below 0 or `size` below 1.
    """

    def __init__(self, rows: int, size: int) -> None:
        if rows < 0:
            raise ConfigError(f"rows is {rows}; give 0 or more")
        if size < 1:
            raise ConfigError(f"size of a row group is {size}; give at least 1")
        self.rows = rows
        self.size = size

    def __len__(self) -> int:
        return -(-self.rows // self.size)

    @overload
    def __getitem__(self, index: int) -> RowGroup: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[RowGroup, ...]: ...
    def __getitem__(self, index: int | slice) -> RowGroup | tuple[RowGroup, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"row group {index} of {len(self)}")
        start = number * self.size
        return RowGroup(number, start, min(self.rows, start + self.size))

    def __repr__(self) -> str:
        return f"<RowGroupPlan: {self.rows} rows in {len(self)} groups of {self.size}>"


class BlockReason(StrEnum):
    """Why no further row group is opened now."""

    NO_PENDING_GROUPS = "no_pending_row_groups"
    ROW_GROUP_CAP = "row_group_cap"
    ADMITTED_ROWS = "admitted_rows"
    BEING_STORED = "row_groups_being_stored"
    QUEUED_DEMAND = "queued_demand"
    MODELS_CLOSED = "models_closed"
    SLOTS_LEASED = "all_slots_leased"
    WORK_AHEAD = "work_ahead"


PRESSURE = frozenset(
    {BlockReason.ADMITTED_ROWS, BlockReason.QUEUED_DEMAND, BlockReason.MODELS_CLOSED}
)
"""More is open than can be worked on: the target falls if that lasts."""


FULL = frozenset({BlockReason.ROW_GROUP_CAP, BlockReason.ADMITTED_ROWS, BlockReason.BEING_STORED})
"""As much is open as may be, whatever the work asks for."""


class Demand(NamedTuple):
    """What waits for slots, as the governor sees it.

    Attributes:
        lacking: Slots at the front that neither hold a task nor have one waiting for them.
        free: Free slots at the front.
        queued: Tasks queued in all, less those for models that are closed.
        most_queued: So many of them are enough.
        storing: Row groups that are worked through and being put away.
        closed_until: Slots are lacking work, but only of models that are closed, the first of them
            until this instant, in seconds of the loop's clock (`inf`: nobody knows); None if there
            are none. A model is closed that is cooling, or that others on its account fill.
    """

    lacking: int
    free: int
    queued: int
    most_queued: int
    storing: int = 0
    closed_until: float | None = None


class TargetChange(NamedTuple):
    """The number of row groups that may be open was changed, and why."""

    before: int
    after: int
    reason: str


class RowGroupGovernor:
    """Opens row groups in order: a fixed number at a time, or as many as the work asks for.

    Adaptive, it starts with one. It opens another whenever slots at the front (those of the first
    models that a row meets) have neither a task nor one that waits for them, until rows, queued
    tasks or the cap forbid it; several times within one turn, if need be. No group is opened for a
    model that is closed. When groups finish while more is queued, or more rows are open, than can
    be worked on, or only closed models lack work, the target falls again.

    Source: the target and its guards are those of adaptive row-group admission in Data Designer
    pull request 661, which only grows.

    Args:
        plan: The groups.
        max_open: How many may be open at the most; without bound if None, and adaptive.
        finished: Indices of groups that an earlier run finished; they are passed over.
        adaptive: Whether the number follows the work; otherwise it is `max_open`.

    Raises:
        ConfigError: `max_open` is below 1, or None though the number is fixed.
    """

    def __init__(
        self,
        plan: RowGroupPlan,
        max_open: int | None,
        finished: Container[int] = (),
        *,
        adaptive: bool = False,
    ) -> None:
        if (max_open is None and not adaptive) or (max_open is not None and max_open < 1):
            raise ConfigError(f"max_open is {max_open}; give at least 1")
        self.plan = plan
        self.cap = len(plan) if max_open is None else max_open
        # What `adaptive` may go up to, also if it is asked for later.
        self._most = self.cap if adaptive else len(plan)
        self.adaptive = adaptive
        self.target = 1 if adaptive else self.cap
        self.blocked: BlockReason | None = None
        self.most_rows = max(_GROUPS_OF_ROWS * plan.size, _MOST_ROWS)
        self._pressed = 0
        self._next = 0
        self._open: set[int] = set()
        self.open_rows = 0
        self._finished = finished
        self._pass_over()

    def __repr__(self) -> str:
        kind = f"adaptive, target {self.target}" if self.adaptive else "fixed"
        return f"<RowGroupGovernor: {self.open_groups} open of at most {self.cap}, {kind}>"

    @property
    def total(self) -> int:
        """Groups in all."""
        return len(self.plan)

    @property
    def open_groups(self) -> int:
        """Groups opened and not finished."""
        return len(self._open)

    @property
    def exhausted(self) -> bool:
        """Whether every group was opened."""
        return self._next >= len(self.plan)

    @property
    def left(self) -> int:
        """Groups not opened yet, less those that an earlier run finished and it has come to."""
        return len(self.plan) - self._next

    @property
    def may_open(self) -> bool:
        """Whether a group is left and may be open now."""
        return not self.exhausted and len(self._open) < self.target

    def why_not(self) -> BlockReason | None:
        """Why no further group may be opened now; None if one may, or nobody has considered it."""
        if self.exhausted:
            return BlockReason.NO_PENDING_GROUPS
        if self.may_open:
            return None
        return BlockReason.ROW_GROUP_CAP if len(self._open) >= self.cap else self.blocked

    def next(self) -> RowGroup | None:
        """Opens the next group if one may be open now."""
        if not self.may_open:
            return None
        group = self.plan[self._next]
        self._next += 1
        self._pass_over()
        self._open.add(group.index)
        self.open_rows += group.size
        return group

    def ask(self, wanted: int | None) -> TargetChange | None:
        """Keeps a number of row groups open from now on, or follows the work again.

        Args:
            wanted: The number, at least 1; None follows the work.
        """
        before = self.target
        self.adaptive = wanted is None
        if wanted is None:
            self.cap = self._most
            self.target = min(self.cap, max(1, self.open_groups))
        else:
            self.cap = self.target = wanted
        self.blocked = None
        return TargetChange(before, self.target, "asked") if before != self.target else None

    def consider(self, demand: Demand) -> TargetChange | None:
        """Raises the target by one if there is reason to; `blocked` says why not otherwise."""
        self.blocked = self._reason_against(demand)
        if self.blocked is not None:
            return None
        self._pressed = 0
        # What is open may have fallen below the target without need for it.
        before, self.target = self.target, max(self.target, len(self._open)) + 1
        return TargetChange(before, self.target, "slots_without_work")

    def finish(self, index: int) -> TargetChange | None:
        """A group is finished; lowers the target if pressure lasted. No change if not open."""
        if index not in self._open:
            return None
        self._open.remove(index)
        self.open_rows -= self.plan[index].size
        if not self.adaptive or self.blocked not in PRESSURE or self.target == 1:
            return None
        self._pressed += 1
        if self._pressed < _SUSTAINED:
            return None
        self._pressed = 0
        self.target -= 1
        return TargetChange(self.target + 1, self.target, self.blocked)

    def _reason_against(self, demand: Demand) -> BlockReason | None:
        if self.exhausted:
            return BlockReason.NO_PENDING_GROUPS
        if len(self._open) >= self.cap:
            return BlockReason.ROW_GROUP_CAP
        if self._open and self.open_rows + self.plan[self._next].size > self.most_rows:
            return BlockReason.ADMITTED_ROWS
        if demand.storing >= _MOST_STORING:
            return BlockReason.BEING_STORED
        if demand.queued >= demand.most_queued:
            return BlockReason.QUEUED_DEMAND
        if demand.lacking > 0:
            return None
        if demand.closed_until is not None:
            return BlockReason.MODELS_CLOSED
        return BlockReason.WORK_AHEAD if demand.free else BlockReason.SLOTS_LEASED

    def _pass_over(self) -> None:
        while not self.exhausted and self._next in self._finished:
            self._next += 1
