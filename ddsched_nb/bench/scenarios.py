"""The benchmark's work: 512 rows x 4 model columns over two models, in three situations.

A seed column feeds a1 and a2 (model A), both feed b1 (model B), which feeds judge (model B). The
latency of a call is a fixed function of row and column, so every client does the same work.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

from ddsched_nb.clients.profile import EndpointProfile, Latency

COLUMNS = {"a1": "model-a", "a2": "model-a", "b1": "model-b", "judge": "model-b"}
NEEDS: dict[str, tuple[str, ...]] = {
    "a1": ("row_id",),
    "a2": ("row_id",),
    "b1": ("a1", "a2"),
    "judge": ("b1",),
}
_LATENCY = {
    "model-a": Latency(mean_s=0.3, sigma=0.6, min_s=0.05, max_s=2.5),
    "model-b": Latency(mean_s=0.4, sigma=0.6, min_s=0.05, max_s=3.0),
}


class Scenario(NamedTuple):
    """A situation: what the endpoint has for each model, and what the client is allowed."""

    name: str
    capacity: int
    cap: int
    steps: tuple[tuple[float, int], ...] = ()

    def profiles(self) -> list[EndpointProfile]:
        """The endpoint's two models."""
        return [
            EndpointProfile(model=model, capacity=self.capacity, steps=self.steps, latency=latency)
            for model, latency in _LATENCY.items()
        ]


SCENARIOS = (
    Scenario("generous", capacity=64, cap=32),
    Scenario("tight", capacity=16, cap=64),
    Scenario("drop", capacity=32, cap=32, steps=((4.0, 8), (14.0, 32))),
)


def prompt(row: int, column: str) -> str:
    """What is asked for a cell."""
    return f"Write one line about row {row}, column {column}."


class Reference(NamedTuple):
    """What no client can beat, and what one that knows everything reaches. Seconds."""

    bound_s: float
    oracle_s: float


def reference(scenario: Scenario, rows: int) -> Reference:
    """The lower bound and the oracle of a scenario.

    The bound is the work of the busier model over the capacity that exists for this client, or the
    longest row. The oracle is told the capacity, has no overhead and takes rows in order.
    """
    profiles = {profile.model: profile for profile in scenario.profiles()}
    cells = {
        (row, column): profiles[model].latency_s(f"user: {prompt(row, column)}")
        for row in range(rows)
        for column, model in COLUMNS.items()
    }
    work = {
        model: sum(s for (_, column), s in cells.items() if COLUMNS[column] == model)
        for model in profiles
    }
    fill = max(_fill(scenario, profiles[model], seconds) for model, seconds in work.items())
    longest = max(
        max(cells[row, "a1"], cells[row, "a2"]) + cells[row, "b1"] + cells[row, "judge"]
        for row in range(rows)
    )
    return Reference(max(fill, longest), _oracle(scenario, profiles, cells))


def _fill(scenario: Scenario, profile: EndpointProfile, work: float) -> float:
    """How long the capacity must be there to hold so many slot-seconds of work."""
    since, edges = 0.0, [at for at, _ in scenario.steps]
    for edge in [*edges, float("inf")]:
        slots = min(scenario.cap, profile.capacity_at(since))
        if slots * (edge - since) >= work:
            return since + work / slots
        work -= slots * (edge - since)
        since = edge
    return since


def _oracle(
    scenario: Scenario,
    profiles: dict[str, EndpointProfile],
    cells: dict[tuple[int, str], float],
) -> float:
    order = {column: place for place, column in enumerate(COLUMNS)}
    ready: dict[str, list[tuple[int, int, str]]] = {model: [] for model in profiles}
    in_flight = dict.fromkeys(profiles, 0)
    done: set[tuple[int, str]] = set()
    for row, column in cells:
        if NEEDS[column] == ("row_id",):
            heapq.heappush(ready[COLUMNS[column]], (row, order[column], column))
    # Ends of calls, and the instants at which capacity changes (row -1).
    pending = [(at, -1, "") for at, _ in scenario.steps]
    heapq.heapify(pending)
    now = last = 0.0
    while True:
        for model, queue in ready.items():
            slots = min(scenario.cap, profiles[model].capacity_at(now))
            while queue and in_flight[model] < slots:
                row, _, column = heapq.heappop(queue)
                in_flight[model] += 1
                heapq.heappush(pending, (now + cells[row, column], row, column))
        if not pending:
            return last
        now, row, column = heapq.heappop(pending)
        if row < 0:
            continue
        last = now
        in_flight[COLUMNS[column]] -= 1
        done.add((row, column))
        for fed, needs in NEEDS.items():
            if column in needs and all((row, need) in done for need in needs):
                heapq.heappush(ready[COLUMNS[fed]], (row, order[fed], fed))
