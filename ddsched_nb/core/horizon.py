"""The front of the work: where a new row group brings tasks, and how many are lacking there.

The front is where a row meets its first models. Further down, a model that idles while an earlier
one is busy is not helped by more rows. Pure: it is told what opens, gets ready and ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from ddsched_nb.core.dispatch import Dispatcher
from ddsched_nb.core.frontier import Frontier, TaskState
from ddsched_nb.core.graph import ColumnGraph
from ddsched_nb.core.model import (
    LLM_WAIT,
    LOCAL,
    SUBMISSION,
    Flow,
    FlowKey,
    PoolKey,
    ResourceKey,
    RowGroup,
    Task,
)
from ddsched_nb.core.pressure import Loads, is_closed
from ddsched_nb.core.resolver import Resolver
from ddsched_nb.core.row_groups import Demand

# Where rows begin with work of their own, what that brings takes time to come: this share of the
# slots more are kept coming. Each time that slots fall idle all the same while tasks are on their
# way, as many more are kept coming as were on their way then.
_AHEAD = 0.25
# More tasks than so many times what may run, or may wait for models, need not be queued.
_QUEUED_OF_ALL = 4
_QUEUED_OF_WAITING = 2


class _Place:
    """A resource at the front.

    Attributes:
        capacity: What exists of it.
        ahead: Tasks beyond that which are to wait for it, or to be on their way.
        holders: The flows that hold it.
        pools: Where the calls of those tasks go, as far as each column has one pool.
        columns: The front columns that need it, each with whether one task serves a row group.
        fed: Whether it was seen busy since it was last found dry.
    """

    __slots__ = ("ahead", "capacity", "columns", "fed", "holders", "pools")

    def __init__(
        self,
        capacity: int,
        ahead: int,
        holders: tuple[FlowKey, ...],
        columns: dict[str, bool],
        pools: tuple[PoolKey, ...],
    ) -> None:
        self.capacity = capacity
        self.ahead = ahead
        self.holders = holders
        self.columns = columns
        self.pools = pools
        self.fed = False

    def look_ahead(self, leased: int, queued: int, coming: int) -> None:
        """Learns how far to look ahead, where it looks ahead at all."""
        if leased >= self.capacity or queued:
            self.fed = True
        elif self.fed and coming and self.ahead:
            self.fed = False
            self.ahead = max(2 * self.ahead, coming + self.capacity)


class Horizon:
    """Says how much work is lacking at the front.

    Args:
        graph: The columns.
        resolver: Their flows.
        dispatcher: What is queued and leased.
        frontier: Which cells wait for inputs.
        load: How a pool stands; none is ever closed if None.
    """

    def __init__(
        self,
        graph: ColumnGraph,
        resolver: Resolver,
        dispatcher: Dispatcher,
        frontier: Frontier,
        load: Loads | None = None,
    ) -> None:
        self._dispatcher = dispatcher
        self._frontier = frontier
        self._load = load
        self._pools = {
            pool: resolver.flow(name).key
            for name in resolver.columns
            if (pool := resolver.pool(name)) is not None
        }
        capacities = dispatcher.admission.capacities
        self._places = _places(graph, resolver, capacities)
        self._before = _before(graph, resolver)
        self._columns = {name for place in self._places.values() for name in place.columns}
        # Front tasks that are not ready yet: by open group and column, and their sum by column,
        # since as many groups may be open as there are rows.
        self._coming: dict[int, dict[str, int]] = {}
        self._all_coming = dict.fromkeys(self._columns, 0)
        self._most_queued = 0
        self.recapacitate()

    def recapacitate(self) -> None:
        """Takes the capacities as they are now."""
        capacities = self._dispatcher.admission.capacities
        for resource, place in self._places.items():
            place.capacity = capacities[resource]
        self._most_queued = max(
            _QUEUED_OF_ALL * capacities[SUBMISSION], _QUEUED_OF_WAITING * capacities[LLM_WAIT]
        )

    def opened(self, group: RowGroup) -> None:
        """A row group was opened: its front tasks will come."""
        coming = self._coming[group.index] = {
            name: 1 if whole else group.size
            for place in self._places.values()
            for name, whole in place.columns.items()
        }
        for name, tasks in coming.items():
            self._all_coming[name] += tasks

    def ready(self, task: Task) -> None:
        """A task has its inputs."""
        coming = self._coming.get(task.row_group)
        if coming is not None and coming.get(task.column):
            coming[task.column] -= 1
            self._all_coming[task.column] -= 1

    def dropping(self, group: int, row: int) -> None:
        """A row is about to be dropped: its front tasks will not come."""
        for name in self._columns:
            task = Task(name, group, row)
            if not self._is_whole(name) and self._frontier.state(task) is TaskState.WAITING:
                self.ready(task)

    def closed(self, index: int) -> None:
        """A row group is finished."""
        for name, tasks in self._coming.pop(index, {}).items():
            self._all_coming[name] -= tasks

    def demand(self, now: float) -> Demand:
        """How things stand at the front now."""
        lacking = free = 0
        until: float | None = None
        dispatcher, admission = self._dispatcher, self._dispatcher.admission
        room = admission.free(SUBMISSION)
        # What leads to the front ends before that comes, and leaves its slot.
        passing = sum(admission.held(flow, SUBMISSION) for flow in self._before)
        closed = self._closed(now)
        for resource, place in self._places.items():
            unleased = admission.free(resource)
            free += min(unleased, room)
            coming = sum(self._all_coming[name] for name in place.columns)
            queued = sum(dispatcher.queued(flow) for flow in place.holders)
            leased = place.capacity - unleased
            place.look_ahead(leased, queued, coming)
            wanted = min(place.capacity + place.ahead - leased, room + passing)
            is_closed = bool(place.pools) and all(pool in closed for pool in place.pools)
            if closed and not is_closed:
                # Else tasks of closed models, which wait anyway, take the slots that it leaves.
                wanted = max(wanted, leased, 1)
            short = max(0, wanted - queued - coming)
            if short and is_closed:
                soonest = min(closed[pool] for pool in place.pools)
                until = soonest if until is None else min(until, soonest)
            else:
                lacking += short
        # What waits for a closed model keeps no other from its work.
        stuck = {self._pools[pool] for pool in closed}
        waiting = len(dispatcher) - sum(dispatcher.queued(flow) for flow in stuck)
        return Demand(lacking, free, waiting, self._most_queued, closed_until=until)

    def _closed(self, now: float) -> dict[PoolKey, float]:
        """Which pools serve us nothing, and until when."""
        if self._load is None:
            return {}
        found = {}
        for pool in self._pools:
            load = self._load(pool, now)
            if is_closed(load, self._dispatcher.sent_off(pool)):
                found[pool] = load.cooling_until or math.inf
        return found

    def _is_whole(self, name: str) -> bool:
        return any(place.columns.get(name, False) for place in self._places.values())


def _places(
    graph: ColumnGraph, resolver: Resolver, capacities: dict[ResourceKey, int]
) -> dict[ResourceKey, _Place]:
    """The resources at the front."""
    columns: dict[ResourceKey, dict[str, bool]] = {}
    ahead: set[ResourceKey] = set()
    for name in _front(graph, resolver):
        for resource in _own(resolver.flow(name)):
            columns.setdefault(resource, {})[name] = graph.specs[name].is_whole
            if graph.upstream(name):
                ahead.add(resource)
    places = {}
    for resource, names in columns.items():
        capacity = capacities[resource]
        more = max(1, int(_AHEAD * capacity)) if resource in ahead else 0
        found = [resolver.pool(name) for name in names]
        pools = tuple(dict.fromkeys(pool for pool in found if pool is not None))
        if None in found:
            pools = ()  # nobody knows whether it waits for one that cools
        holders = _holders(resolver.flows, resource)
        places[resource] = _Place(capacity, more, holders, names, pools)
    return places


def _front(graph: ColumnGraph, resolver: Resolver) -> list[str]:
    """The columns that wait for a model and come after none that does.

    Where nothing waits for a model, those that work row by row, and come after none that does; and
    where all work by row groups, the roots.
    """
    waiting = [name for name in graph.order if _waits(resolver.flow(name))]
    by_row = [name for name in graph.order if not graph.specs[name].is_whole]
    return _first(graph, waiting) or _first(graph, by_row) or list(graph.roots)


def _before(graph: ColumnGraph, resolver: Resolver) -> tuple[FlowKey, ...]:
    """The flows whose tasks lead to the front, and that have none there."""
    front = set(_front(graph, resolver))
    leading: set[str] = set()
    for name in reversed(graph.order):
        if name in front or name in leading:
            leading.update(graph.upstream(name))
    at_front = {resolver.flow(name).key for name in front}
    found = dict.fromkeys(resolver.flow(name).key for name in graph.order if name in leading)
    return tuple(key for key in found if key not in at_front)


def _first(graph: ColumnGraph, chosen: list[str]) -> list[str]:
    """Those of some columns that need none of the others, however indirectly."""
    behind: dict[str, bool] = {}
    for name in graph.order:
        behind[name] = any(behind[up] or up in chosen for up in graph.upstream(name))
    return [name for name in chosen if not behind[name]]


def _waits(flow: Flow) -> bool:
    """Whether its tasks wait for models, rather than compute."""
    return any(resource == LLM_WAIT for resource, _ in flow.resources)


def _own(flow: Flow) -> list[ResourceKey]:
    """The resources that bound a flow most closely: those of its models, if it has any."""
    models = [r for r, _ in flow.resources if r not in (SUBMISSION, LLM_WAIT, LOCAL)]
    return models or [LLM_WAIT if _waits(flow) else LOCAL]


def _holders(flows: Iterable[Flow], resource: ResourceKey) -> tuple[FlowKey, ...]:
    return tuple(flow.key for flow in flows if any(r == resource for r, _ in flow.resources))
