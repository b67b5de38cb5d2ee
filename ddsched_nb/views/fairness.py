"""The chart of fairness: what each flow got of the task slots, against its fair share of them.

Decides what a fair share is, and how a lag is drawn. Leases and queues are read from events.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import altair as alt

from ddsched_nb.core import events as ev
from ddsched_nb.core.model import SUBMISSION
from ddsched_nb.errors import ConfigError
from ddsched_nb.views.look import colours, dashes, finish, inline, legend, seconds_tip, time_axis
from ddsched_nb.views.series import Step
from ddsched_nb.views.source import Source, events_of, said, span

__all__ = ["fairness_lag", "fairness_lags"]

_POINTS: Final = 1_200
_FLOWS: Final = 8


def fairness_lag(record_or_events: Source) -> alt.LayerChart:
    """How far each flow is ahead of its fair share of the task slots, over time.

    A flow's service is the integral of the slots that its tasks hold (a task that stepped aside
    holds none), in slot-seconds. Its fair share is the integral of what weighted max-min fairness
    would give it at each instant of the slots that are in use just then: shares by weight among the
    flows that hold or want slots, where none is given more than it holds and has queued, nor more
    than its other resources allow, and what it leaves goes to the others. The line is service less
    fair share: above zero the flow is ahead, below it is owed, and all lines add up to zero.

    Sources: the lag of Stoica et al., "A proportional share resource allocation algorithm for
    real-time, time-shared systems" (RTSS 1996), with the sign turned around; max-min fairness as
    in Bertsekas and Gallager, "Data Networks" (1992), section 6.5.2.

    Args:
        record_or_events: A run record, or events in order. Where the beginning is cut, weights
            that no event tells are taken to be equal.

    Raises:
        ConfigError: No task of the record got a lease.
    """
    lags = fairness_lags(events_of(record_or_events))
    if not lags:
        raise ConfigError(
            "the record holds no lease of a task, so no flow got a share; draw a run that keeps "
            "its record (RunConfig(record=True))"
        )
    furthest = sorted(lags, key=lambda flow: -max(abs(step.value) for step in lags[flow]))
    shown = sorted(furthest[:_FLOWS])
    rows = [
        {"at": step.at, "ahead": step.value, "flow": flow} for flow in shown for step in lags[flow]
    ]
    y = alt.Y("ahead:Q", title="slot-seconds ahead")
    base = alt.Chart(inline(rows)).encode(
        x=time_axis(),
        y=y,
        color=alt.Color("flow:N", title=None, scale=colours(shown), legend=legend(shown)),
        strokeDash=alt.StrokeDash("flow:N", title=None, scale=dashes(shown)),
        tooltip=["flow:N", seconds_tip(), alt.Tooltip("ahead:Q", format=",.3f")],
    )
    even = alt.Chart(inline([{"ahead": 0}])).mark_rule(color="#7f7f7f").encode(y=y)
    some = f"the {_FLOWS} of {len(lags)} flows that were furthest from it"
    words = said(
        record_or_events,
        "service less fair share: above zero ahead, below owed",
        some if len(lags) > _FLOWS else None,
    )
    return finish([even, base.mark_line(strokeWidth=2)], "Ahead of the fair share", words)


def fairness_lags(events: Sequence[ev.Event]) -> dict[str, list[Step]]:
    """The lag of each flow that ever held a slot, in slot-seconds; see `fairness_lag`.

    Lags are continuous: they are sampled, some hundred times over the record.

    Args:
        events: The events of a run, in order.
    """
    start, end = span(events)
    ledger = _Ledger()
    found: dict[str, list[Step]] = {}
    flows = len({e.flow for e in events if isinstance(e, ev.ReadyEnqueued | ev.Selected)})
    gap = (end - start) / max(40, _POINTS // max(1, flows))
    now = drawn = start
    for event in events:
        if event.at > now:
            ledger.advance(event.at - now)
            now = event.at
            if now - drawn >= gap or now == end:
                _sample(found, ledger.lags, now - start)
                drawn = now
        ledger.see(event)
    _sample(found, ledger.lags, now - start)
    return {flow: [Step(0.0, 0.0), *steps] for flow, steps in found.items()}


def _sample(found: dict[str, list[Step]], lags: Mapping[str, float], at: float) -> None:
    for flow, lag in lags.items():
        steps = found.setdefault(flow, [])
        if not steps or steps[-1].at < at:
            steps.append(Step(round(at, 6), round(lag, 4)))


class _Ledger:
    """Who holds and who wants slots, and how far each flow is from its share so far."""

    def __init__(self) -> None:
        self.lags: dict[str, float] = {}
        self._weights: dict[str, float] = {}
        self._amounts: dict[str, int] = {}
        self._most: dict[str, float] = {}
        self._flow_of: dict[str, str] = {}
        self._held: Counter[str] = Counter()
        self._queued: Counter[str] = Counter()
        self._waiting: set[str] = set()
        self._holding: set[str] = set()
        self._rates: dict[str, float] | None = None

    def advance(self, seconds: float) -> None:
        """Lets time go by with all as it is."""
        if self._rates is None:
            self._rates = self._drift()
        for flow, rate in self._rates.items():
            self.lags[flow] += rate * seconds

    def see(self, event: ev.Event) -> None:
        """Takes the next event."""
        match event:
            case ev.SchedulerJobStarted():
                self._shape(event)
            case ev.FlowWeightChanged(flow=flow, after=after):
                self._weights[flow.label] = after
            case ev.ReadyEnqueued(task_id=task, flow=flow):
                self._flow_of[task] = flow.label
                self._want(task)
            case ev.Selected(task_id=task, flow=flow):
                self._flow_of[task] = flow.label
            case ev.TaskLeaseAcquired(task_id=task) | ev.TaskSlotsRetaken(task_id=task):
                self._unwant(task)
                self._take(task)
            case ev.TaskLeaseReleased(task_id=task) | ev.TaskSlotsYielded(task_id=task):
                self._leave(task)
            case ev.Cancelled(task_id=task) | ev.NonRetryableDropped(task_id=task):
                self._unwant(task)
            case _:
                return
        self._rates = None

    def _shape(self, event: ev.SchedulerJobStarted) -> None:
        for shape in event.flows.values():
            self._weights[shape.flow] = shape.weight
            self._amounts[shape.flow] = shape.resources.get(SUBMISSION, 1)
            # Of all resources the scarcest decides how many tasks can run at once.
            fits = [
                event.capacities[name] // amount
                for name, amount in shape.resources.items()
                if amount and name in event.capacities
            ]
            most = min(fits, default=math.inf) * self._amounts[shape.flow]
            self._most[shape.flow] = max(most, self._most.get(shape.flow, 0.0))

    def _want(self, task: str) -> None:
        if task not in self._waiting:
            self._waiting.add(task)
            self._queued[self._flow_of[task]] += self._amount(task)

    def _unwant(self, task: str) -> None:
        if task in self._waiting:
            self._waiting.discard(task)
            self._queued[self._flow_of[task]] -= self._amount(task)

    def _take(self, task: str) -> None:
        # Of a task whose queueing was cut off nobody knows the flow.
        if task in self._flow_of and task not in self._holding:
            self._holding.add(task)
            flow = self._flow_of[task]
            self.lags.setdefault(flow, 0.0)
            self._held[flow] += self._amount(task)

    def _leave(self, task: str) -> None:
        if task in self._holding:
            self._holding.discard(task)
            self._held[self._flow_of[task]] -= self._amount(task)

    def _amount(self, task: str) -> int:
        return self._amounts.get(self._flow_of[task], 1)

    def _drift(self) -> dict[str, float]:
        """How fast each flow gets ahead of its share now, in slots."""
        wants = {
            flow: max(held, min(held + self._queued[flow], self._most.get(flow, math.inf)))
            for flow, held in self._held.items()
        }
        # A flow that never held anything yet may be owed already.
        for flow, queued in self._queued.items():
            if queued and flow not in wants:
                wants[flow] = min(queued, self._most.get(flow, math.inf))
        fair = _max_min(
            sum(self._held.values()),
            [(flow, want, self._weights.get(flow, 1.0)) for flow, want in wants.items() if want],
        )
        for flow in fair:
            self.lags.setdefault(flow, 0.0)
        return {flow: self._held[flow] - share for flow, share in fair.items()}


def _max_min(slots: float, wants: Iterable[tuple[str, float, float]]) -> dict[str, float]:
    """Slots shared by weight, none given more than it wants.

    Those that want least for their weight are served first: what one leaves, the rest share.
    """
    order = sorted(wants, key=lambda each: (each[1] / each[2], each[0]))
    weights, fair = math.fsum(weight for _, _, weight in order), {}
    for flow, want, weight in order:
        fair[flow] = min(want, slots * weight / weights if weights > 0 else slots)
        slots -= fair[flow]
        weights -= weight
    return fair
