"""The explorer of row groups: a fixed number of open ones against the adaptive one.

A chain of three models works through a small table, twice, in virtual time. Decides how large that
is, what is counted, and in which words; why slots were idle is told by `analysis.idle`.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from ddsched_nb.analysis.causes import CAUSES, IdleCause
from ddsched_nb.analysis.idle import explain_idle
from ddsched_nb.clients.latency import Latency
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.config import RequestAdmissionConfig, RunConfig
from ddsched_nb.core import events as ev
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.reprs import html_table, text_table
from ddsched_nb.sim.record import SimulatedRecord
from ddsched_nb.sim.simulate import simulate
from ddsched_nb.views.explorers.drawing import Plot, legend, means
from ddsched_nb.views.explorers.frame import Explorer, Slider
from ddsched_nb.views.explorers.settings import ExplorerSettings
from ddsched_nb.views.series import group_series
from ddsched_nb.workloads.parts import asking, one_endpoint, row_ids

__all__ = [
    "GroupsRun",
    "RowGroupAnswer",
    "RowGroupSettings",
    "explore_row_groups",
    "row_group_explorer",
]

ROWS: Final = 96
_MODELS: Final = ("a", "b", "c")
_SLOTS: Final = 4
_MEAN_S: Final = 1.0
_SPANS: Final = 90
# Causes that explain less are told together.
_NAMED: Final = 5


class RowGroupSettings(ExplorerSettings):
    """What the explorer of row groups may be set to.

    Attributes:
        open_groups: The fixed number of open row groups.
        group_rows: Rows in a row group.
        spread: Coefficient of variation of the answers' times, which are a second on the average.
    """

    open_groups: Annotated[int, Field(ge=1, le=12)] = 2
    group_rows: Annotated[int, Field(ge=2, le=40)] = 5
    spread: Annotated[float, Field(ge=0, le=1.5)] = 0.75


@dataclass(frozen=True, slots=True)
class GroupsRun:
    """What one of the two runs came to. Seconds are virtual.

    Attributes:
        wall_s: From start to end.
        bound_s: No schedule can be faster.
        first_group_s: When the first row group was finished.
        most_open: Row groups open at once, at the most.
        busy: Mean number of busy slots over time.
        opened: Row groups open over time.
        causes: The share of all slot-seconds that each cause left idle.
    """

    wall_s: float
    bound_s: float
    first_group_s: float
    most_open: int
    busy: tuple[tuple[float, float], ...]
    opened: tuple[tuple[float, float], ...]
    causes: tuple[tuple[IdleCause, float], ...]

    @property
    def idle(self) -> float:
        """The share of all slot-seconds that was idle."""
        return math.fsum(share for _, share in self.causes)


@dataclass(frozen=True, slots=True)
class RowGroupAnswer:
    """Two runs of the same work.

    Attributes:
        settings: What was asked.
        fixed: With a fixed number of open row groups.
        adaptive: With as many as the work asks for.
    """

    settings: RowGroupSettings
    fixed: GroupsRun
    adaptive: GroupsRun

    @property
    def text(self) -> str:
        """The facts."""
        figures = text_table(self._head, self._figures(), caption=self._caption)
        return f"{figures}\n\n{text_table(self._head, self._causes(words=False))}"

    @property
    def html(self) -> str:
        """The timelines and the facts."""
        fixed, adaptive = f"{self.settings.open_groups} open", "adaptive"
        names = [("area", "first", fixed), ("line", "second", adaptive)]
        lines = [("line", "first", fixed), ("line", "second", adaptive)]
        said = f'<div class="dx-said" role="status">{escape(self._caption)}</div>'
        figures = html_table(self._head, self._figures(), caption="Both runs")
        head = (*self._head, "what that means")
        causes = html_table(head, self._causes(words=True), caption="Why slots were idle")
        return (
            f"{said}{legend(names)}{self._busy()}{legend(lines)}{self._opened()}{figures}{causes}"
        )

    @property
    def _head(self) -> tuple[str, ...]:
        return ("", f"{self.settings.open_groups} open", "adaptive")

    @property
    def _caption(self) -> str:
        asked = self.settings
        return (
            f"{ROWS} rows in groups of {asked.group_rows}, through {len(_MODELS)} models of "
            f"{_SLOTS} slots; answers of {_MEAN_S:g} s, spread {asked.spread:g}"
        )

    @property
    def _end(self) -> float:
        return max(self.fixed.wall_s, self.adaptive.wall_s)

    def _busy(self) -> str:
        plot = Plot(
            f"Busy slots over time: idle {self.fixed.idle:.0%} with {self._head[1]}, "
            f"{self.adaptive.idle:.0%} adaptive",
            x_max=self._end,
            y_max=len(_MODELS) * _SLOTS,
            y_title="busy slots",
            height=190,
        )
        plot.area(self.fixed.busy, "first")
        plot.steps(self.adaptive.busy, "second")
        plot.upright(self.fixed.bound_s, "lower bound")
        return plot.html()

    def _opened(self) -> str:
        most = max(self.fixed.most_open, self.adaptive.most_open)
        plot = Plot(
            f"Row groups open over time: at most {self.fixed.most_open}, and {most} adaptive",
            x_max=self._end,
            y_max=most + 1,
            y_title="open groups",
            height=130,
        )
        plot.steps(self.fixed.opened, "first")
        plot.steps(self.adaptive.opened, "second")
        return plot.html()

    def _figures(self) -> list[tuple[str, ...]]:
        runs = (self.fixed, self.adaptive)
        return [
            ("wall s", *(f"{run.wall_s:.1f}" for run in runs)),
            ("over the lower bound", *(f"{run.wall_s / run.bound_s:.2f}" for run in runs)),
            ("first group s", *(f"{run.first_group_s:.1f}" for run in runs)),
            ("most groups open", *(str(run.most_open) for run in runs)),
            ("slots idle", *(f"{run.idle:.1%}" for run in runs)),
        ]

    def _causes(self, *, words: bool) -> list[tuple[str, ...]]:
        shares = [dict(run.causes) for run in (self.fixed, self.adaptive)]
        found = sorted(
            {*shares[0], *shares[1]},
            key=lambda cause: (-sum(share.get(cause, 0.0) for share in shares), cause),
        )
        rows = [
            (
                str(cause),
                *(f"{share.get(cause, 0.0):.1%}" for share in shares),
                *((CAUSES[cause],) if words else ()),
            )
            for cause in found[:_NAMED]
        ]
        rest = [sum(share.get(cause, 0.0) for cause in found[_NAMED:]) for share in shares]
        if any(rest):
            others = (f"{len(found) - _NAMED} more",) if words else ()
            rows.append(("other causes", *(f"{share:.1%}" for share in rest), *others))
        return rows


def explore_row_groups(settings: RowGroupSettings) -> RowGroupAnswer:
    """Runs the work with a fixed number of open row groups, and adaptively."""
    size, spread = settings.group_rows, settings.spread
    fixed = _run(settings.open_groups, size, spread)
    return RowGroupAnswer(settings, fixed, _run("adaptive", size, spread))


def row_group_explorer(**settings: Any) -> Explorer[RowGroupSettings]:
    """A fixed number of open row groups against the adaptive one, to be played with.

    Args:
        settings: Where to begin: fields of `RowGroupSettings`.

    Raises:
        SettingsRefused: A setting cannot be; it says which, and what it may be.
    """
    controls = (
        Slider("open_groups", "Open row groups", "the fixed number", 1),
        Slider("group_rows", "Rows in a row group", "they are finished together", 1),
        Slider("spread", "Spread of answer times", "coefficient of variation", 0.25),
    )
    return Explorer(
        "Row-group explorer", RowGroupSettings(**settings), explore_row_groups, controls
    )


# What a slider comes back to need not be worked out again.
@functools.lru_cache(maxsize=64)
def _run(row_groups: int | Literal["adaptive"], group_rows: int, spread: float) -> GroupsRun:
    config = RunConfig(
        buffer_size=group_rows,
        row_groups=row_groups,
        request_admission=RequestAdmissionConfig(limit="fixed"),
    )
    record = simulate(_pipeline(spread), config, rows=ROWS)
    result, bounds = record.result, record.result.bounds
    assert bounds is not None, "so small a run is recorded whole"
    opened = group_series(record.events)[0]
    return GroupsRun(
        result.makespan_s,
        bounds.lower_s,
        result.first_group_s or 0.0,
        int(max(step.value for step in opened)),
        tuple(means(_in_flight(record.events), result.makespan_s, _SPANS)),
        tuple((step.at, step.value) for step in opened),
        _idle(record),
    )


def _pipeline(spread: float) -> Pipeline:
    sigma = math.sqrt(math.log(1 + spread * spread))
    service = Latency(mean_s=_MEAN_S, sigma=sigma)
    columns = [
        asking(f"from_{name}", name, ["row_id", *(f"from_{n}" for n in _MODELS[:place][-1:])])
        for place, name in enumerate(_MODELS)
    ]
    profiles = [EndpointProfile(model=m, capacity=_SLOTS, latency=service) for m in _MODELS]
    return one_endpoint([row_ids(), *columns], profiles, dict.fromkeys(_MODELS, _SLOTS))


def _idle(record: SimulatedRecord) -> tuple[tuple[IdleCause, float], ...]:
    pools = explain_idle(record).requests.values()
    existed = math.fsum(pool.capacity_s for pool in pools)
    idle: Counter[IdleCause] = Counter()
    for pool in pools:
        for cause, seconds in pool.causes.items():
            idle[cause] += seconds  # type: ignore[assignment]  # a counter of seconds
    return tuple((cause, seconds / existed) for cause, seconds in idle.most_common())


def _in_flight(events: Sequence[ev.Event]) -> list[tuple[float, float]]:
    """Calls in flight over time, of all models."""
    points, count, first = [(0.0, 0.0)], 0, events[0].at
    for event in events:
        if isinstance(event, ev.ModelRequestStarted | ev.ModelRequestCompleted):
            count += 1 if isinstance(event, ev.ModelRequestStarted) else -1
            points.append((event.at - first, float(count)))
    return points
