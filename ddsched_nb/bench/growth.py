"""How costs grow: microseconds of CPU for one operation, against tasks, flows, waiters, row groups.

Decides which sizes a curve has. A curve that is flat, or grows as a logarithm, grows no faster than
the work; the ratio of its last point to its first says so in one figure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from ddsched_nb.bench import pieces, tasks
from ddsched_nb.bench.cpu import Spent, interleaved
from ddsched_nb.bench.dispatching import MakePolicy, cycle
from ddsched_nb.core.task_policies import BoundedBorrow, StrictFair

__all__ = ["Curve", "Point", "Sizes", "curves", "entries"]


class Point(NamedTuple):
    """Cost at one size: microseconds of CPU for one operation."""

    x: int
    us: float


class Curve(NamedTuple):
    """Cost against size.

    Attributes:
        what: The operation.
        against: What grows.
        points: From small to large.
    """

    what: str
    against: str
    points: tuple[Point, ...]

    @property
    def ratio(self) -> float:
        """The cost at the largest size over that at the smallest."""
        return self.points[-1].us / self.points[0].us


class Sizes(NamedTuple):
    """The sizes of the curves.

    Attributes:
        tasks: Cells of a run.
        flows: Flows among which the queued tasks are spread.
        queued: Queued tasks, in 64 flows.
        waiters: Callers who wait for 16 slots.
        row_groups: Row groups of ten rows that are open at once.
        repeats: Repeats of each point.
    """

    tasks: Sequence[int] = (1_000, 10_000, 100_000)
    flows: Sequence[int] = (1, 8, 64, 256, 1_024)
    queued: Sequence[int] = (1_000, 10_000, 100_000)
    waiters: Sequence[int] = (16, 64, 256, 1_024, 4_096)
    row_groups: Sequence[int] = (1, 10, 100, 1_000)
    repeats: int = 3


class _Plan(NamedTuple):
    what: str
    against: str
    sizes: Sequence[int]
    at: Callable[[int], Callable[[], Spent]]


def curves(sizes: Sizes | None = None) -> Iterator[Curve]:
    """Measures curve after curve, the points of each in turns."""
    sizes = sizes or Sizes()
    for plan in _plans(sizes):
        costs = interleaved([plan.at(x) for x in plan.sizes], sizes.repeats)
        points = (Point(x, cost.us) for x, cost in zip(plan.sizes, costs, strict=True))
        yield Curve(plan.what, plan.against, tuple(points))


def entries(found: Iterable[Curve]) -> list[dict[str, object]]:
    """The curves as a table has them."""
    return [
        {
            "CPU us": curve.what,
            "against": curve.against,
            "points": "  ".join(f"{p.x:,}: {p.us:.1f}" for p in curve.points),
            "last / first": f"{curve.ratio:.2f}",
        }
        for curve in found
    ]


def _plans(sizes: Sizes) -> list[_Plan]:
    cells = 30 * max(sizes.row_groups)
    calls = 4 * max(sizes.waiters)
    most = 10 * max(sizes.flows)
    plain, recorded = "scheduler: a task", "scheduler: a task, with a full record"
    groups = "open row groups of 10"
    return [
        _Plan(plain, "tasks", sizes.tasks, tasks.chain),
        _Plan(recorded, "tasks", sizes.tasks, partial(tasks.chain, record=True)),
        _Plan("dispatch cycle, strict_fair", "flows", sizes.flows, _among(StrictFair, most)),
        _Plan("dispatch cycle, bounded_borrow", "flows", sizes.flows, _among(BoundedBorrow, most)),
        _Plan("dispatch cycle, strict_fair", "queued tasks", sizes.queued, _deep),
        _Plan("a permit is handed on", "waiters", sizes.waiters, partial(_waking, calls)),
        _Plan(plain, groups, sizes.row_groups, partial(_open_in_a_run, cells)),
        _Plan("frontier: a cell completes", groups, sizes.row_groups, partial(_open, cells)),
    ]


def _among(policy: MakePolicy, queued: int) -> Callable[[int], Callable[[], Spent]]:
    return lambda flows: cycle(policy, flows, queued, min(2_000, queued))


def _deep(queued: int) -> Callable[[], Spent]:
    return cycle(StrictFair, min(64, queued), queued, min(2_000, queued))


def _waking(calls: int, waiters: int) -> Callable[[], Spent]:
    return pieces.waking(waiters, calls)


def _open_in_a_run(cells: int, row_groups: int) -> Callable[[], Spent]:
    return tasks.chain(cells, buffer_size=10, row_groups=row_groups)


def _open(cells: int, row_groups: int) -> Callable[[], Spent]:
    return pieces.completions(row_groups, 10, cells)
