"""The parts one by one: what each costs, what it may cost, and what Data Designer's costs.

Decides which operations are measured, at which sizes, and which bar each has to keep. The figures
of Data Designer are those it was seen with on a machine like ours, version 0.9.6 and its main
branch; they are not measured here. A line without a bar stands beside one that has it, to show what
that one leaves out.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from ddsched_nb.bench import pieces, tasks
from ddsched_nb.bench.cpu import Cost, Spent, interleaved
from ddsched_nb.bench.dispatching import (
    MakePolicy,
    cycle,
    first_refusal,
    full_cycle,
    nothing_eligible,
)
from ddsched_nb.core.task_policies import BoundedBorrow, StrictFair

__all__ = ["Line", "Scale", "entries", "measure"]

POLICIES: tuple[MakePolicy, ...] = (StrictFair, BoundedBorrow)
_CYCLES = (
    *((1, 10_000), (8, 10_000), (64, 10_000), (256, 10_000), (1_024, 10_000)),
    *((256, 100_000), (1_024, 100_000), (256, 1_000_000), (1_024, 1_000_000)),
)


class Line(NamedTuple):
    """One figure beside its bar.

    Attributes:
        what: What was done.
        at: The sizes at which.
        value: The figure, the median of the repeats; CPU time where it is a time.
        unit: Its unit.
        bar: What it may be at the most; None where nothing is asked.
        peer: What Data Designer needs, as published; empty where nothing is known.
        operations: Operations measured in all.
        repeats: How often they were measured.
    """

    what: str
    at: str
    value: float
    unit: str
    bar: float | None
    peer: str
    operations: int
    repeats: int

    @property
    def verdict(self) -> str:
        """Whether the bar holds, in a word or two."""
        if self.bar is None:
            return "no bar"
        return "holds" if self.value <= self.bar else "falls short"


class Scale(NamedTuple):
    """How much is measured.

    Attributes:
        cycles: Flows and queued tasks of the dispatch cycles.
        blocked: Flows of the selections that find nothing.
        past: Requests before the second measurement of a permit.
        tasks: Cells of the scheduler's chain.
        queued: Tasks whose memory is taken.
        operations: Operations of one repeat, about.
        repeats: Repeats of each.
    """

    cycles: Sequence[tuple[int, int]] = _CYCLES
    blocked: Sequence[int] = (8, 64, 256)
    past: int = 1_000_000
    tasks: int = 10_000
    queued: int = 100_000
    operations: int = 2_000
    repeats: int = 5


# Published for Data Designer, in microseconds unless they say so.
_CYCLE_PEER = {
    "strict_fair": {
        **{(1, 10_000): "50", (8, 10_000): "76", (64, 10_000): "268", (256, 10_000): "933"},
        (256, 100_000): "1,608",
    },
    "bounded_borrow": {
        **{(1, 10_000): "84", (8, 10_000): "171", (64, 10_000): "645", (256, 10_000): "3,393"},
    },
}
_NOTHING_PEER = {8: "130", 64: "1,400", 256: "22,000"}
_NOTHING_BAR = {8: 5.0, 256: 50.0}


def measure(scale: Scale | None = None) -> Iterator[Line]:
    """Measures part after part; the lines come as they are found."""
    scale = scale or Scale()
    yield from _cycles(scale)
    for flows in scale.blocked:
        yield from _nothing(scale, flows)
    yield from _permits(scale)
    yield from _states(scale)
    yield from _scheduler(scale)
    yield _imports(scale)
    mib = pieces.queued_mib(scale.queued)
    yield Line("memory of queued tasks", f"{scale.queued:,}", mib, "MiB", 25.0, "72", 1, 1)


def entries(lines: Iterable[Line]) -> list[dict[str, object]]:
    """The lines as a table has them."""
    return [
        {
            "what": line.what,
            "at": line.at,
            "here": _rounded(line.value),
            "bar": "-" if line.bar is None else f"{line.bar:g}",
            "unit": line.unit,
            "Data Designer": line.peer or "-",
            "verdict": line.verdict,
            "operations": line.operations,
            "repeats": line.repeats,
        }
        for line in lines
    ]


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _cycles(scale: Scale) -> Iterator[Line]:
    """Both policies in turns; a large queue is dropped before the next is filled."""
    for flows, queued in scale.cycles:
        at = f"{flows:,} flows, {queued:,} queued"
        operations = min(scale.operations, queued // 2)  # what is held is not queued
        for name, make in (
            ("dispatch cycle", cycle),
            ("the same, all slots leased: with the denials", full_cycle),
        ):
            subjects = [make(policy, flows, queued, operations) for policy in POLICIES]
            costs = interleaved(subjects, scale.repeats)
            for policy, cost in zip(POLICIES, costs, strict=True):
                kind = policy().name
                bar = _cycle_bar(kind, flows, queued) if make is cycle else None
                peer = _CYCLE_PEER[kind].get((flows, queued), "") if make is cycle else ""
                yield _line(f"{name}, {kind}", at, cost, bar, peer)


def _cycle_bar(policy: str, flows: int, queued: int) -> float:
    if policy == "bounded_borrow":
        return 15.0
    return 12.0 if flows > 256 or queued > 100_000 else 10.0


def _nothing(scale: Scale, flows: int) -> Iterator[Line]:
    again = nothing_eligible(StrictFair, flows, 10 * flows, scale.operations)
    subjects = [again, first_refusal(StrictFair, flows)]
    found, first = interleaved(subjects, scale.repeats)
    at = f"{flows} flows"
    peer = _NOTHING_PEER.get(flows, "")
    yield _line("a selection that finds nothing", at, found, _NOTHING_BAR.get(flows), peer)
    yield _line("the first, which asks every flow once", at, first, None, peer)


def _permits(scale: Scale) -> Iterator[Line]:
    operations = 5 * scale.operations
    what, bar = "permit: acquire and release, uncontended", 25.0
    (fresh,) = interleaved([pieces.permits(0, operations)], scale.repeats)
    yield _line(what, f"first {operations:,}", fresh, bar, "261")
    # The past takes most of the time, and each repeat has to live through it.
    (late,) = interleaved([pieces.permits(scale.past, operations)], min(3, scale.repeats))
    peer = "261 + 900 per 1,000 (0.9.6: mended)"
    yield _line(what, f"after {scale.past:,}", late, bar, peer)


def _states(scale: Scale) -> Iterator[Line]:
    size = max(1, scale.operations // 20)
    subjects: list[Callable[[], Spent]] = [
        pieces.completions(10, size),
        pieces.capture(5 * scale.operations),
    ]
    completed, captured = interleaved(subjects, scale.repeats)
    yield _line("frontier: a cell of a chain completes", f"10 groups of {size}", completed)
    yield _line("event: built, published, recorded", "one listener", captured)


def _scheduler(scale: Scale) -> Iterator[Line]:
    kinds = ((False, 50.0, "250-260"), (True, 90.0, "1,435"))
    subjects = [tasks.chain(scale.tasks, record=record) for record, _, _ in kinds]
    costs = interleaved(subjects, scale.repeats)
    for (record, bar, peer), cost in zip(kinds, costs, strict=True):
        recorded = "with a full record" if record else "no record"
        at = f"{scale.tasks:,} cells, {recorded}"
        yield _line("scheduler: a task of a chain, no call", at, cost, bar, peer)


def _imports(scale: Scale) -> Line:
    runs = scale.repeats
    ms = statistics.median(1e3 * pieces.importing().cpu_s for _ in range(runs))
    peer = "1,500-1,800"
    return Line("import ddsched_nb", "fresh process", ms, "ms", 150.0, peer, runs, runs)


def _line(what: str, at: str, cost: Cost, bar: float | None = None, peer: str = "") -> Line:
    return Line(what, at, cost.us, "us", bar, peer, cost.operations, cost.repeats)
