"""The stepper of the fair queue: who is next and why, who is denied and why, who owes what.

Decides what may be set, how far to step, and how a state is shown; the steps are in `stepping`. An
answer is a function of the settings and of how many steps were taken, so to step back is to take
one step less.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationInfo, field_validator

from ddsched_nb.core.task_policies import BoundedBorrow, StrictFair
from ddsched_nb.reprs import html_table, text_table
from ddsched_nb.views.explorers.frame import Button, Choice, Explorer, Slider, Words
from ddsched_nb.views.explorers.settings import ExplorerSettings
from ddsched_nb.views.explorers.stepping import FlowLine, StepKind, Stepper

__all__ = [
    "FairQueueAnswer",
    "FairQueueSettings",
    "explore_fair_queue",
    "fair_queue_stepper",
    "parsed_weights",
]

MOST_FLOWS: Final = 6
_HEAD: Final = ("flow", "weight", "finish tag", "queued", "held", "share", "debt", "stands")
_POLICIES: Final = {"strict_fair": "strict fair", "bounded_borrow": "bounded borrow"}
_REPAYMENTS: Final = {
    "per_flow": "any task that ends",
    "per_lease": "only who borrowed",
}
_CEILINGS: Final = {"none": "none", "0": "0", "1": "1", "2": "2", "4": "4"}


class FairQueueSettings(ExplorerSettings):
    """What the stepper may be set to.

    Attributes:
        weights: Weights of the flows a, b, c and so on, with commas.
        tasks: How many tasks each flow has.
        slots: How many tasks may run at once.
        late_after: The last flow comes when so many tasks have started; 0: it is there at first.
        policy: What a flow may hold above its share.
        ceiling: The most that a flow may borrow; without bound if "none".
        repayment: Who repays a debt.
        step: How many steps were taken.
    """

    weights: str = "2, 1"
    tasks: Annotated[int, Field(ge=1, le=20)] = 8
    slots: Annotated[int, Field(ge=1, le=12)] = 4
    late_after: Annotated[int, Field(ge=0, le=20)] = 4
    policy: Literal["strict_fair", "bounded_borrow"] = "bounded_borrow"
    ceiling: Literal["none", "0", "1", "2", "4"] = "none"
    repayment: Literal["per_flow", "per_lease"] = "per_flow"
    step: Annotated[int, Field(ge=0, le=1_000)] = 0

    @field_validator("weights")
    @classmethod
    def _numbers(cls, given: str) -> str:
        parsed_weights(given)
        return given

    @field_validator("ceiling", "repayment")
    @classmethod
    def _heeded(cls, given: object, info: ValidationInfo) -> object:
        if info.data.get("policy") == "strict_fair" and given not in ("none", "per_flow"):
            raise ValueError("strict fair has no use for it; choose bounded borrow, or put it back")
        return given


@dataclass(frozen=True, slots=True)
class FairQueueAnswer:
    """Where the stepper stands.

    Attributes:
        settings: What was asked.
        kind: What the last step did.
        said: The same in words.
        flows: How each flow stands.
        free: Slots that nobody holds.
        started: The flows of the leases so far, in order.
        ended: Numbers of the leases that have ended, from 0.
        borrowed: Numbers of the leases that took a slot above their flow's share.
    """

    settings: FairQueueSettings
    kind: StepKind
    said: str
    flows: tuple[FlowLine, ...]
    free: int
    started: tuple[str, ...]
    ended: frozenset[int]
    borrowed: frozenset[int]

    @property
    def text(self) -> str:
        """The facts."""
        table = text_table(_HEAD, map(_cells, self.flows))
        order = " ".join(self.started) or "none yet"
        return f"{self._headline}\n{self.said}\n{table}\nstarted: {order}"

    @property
    def html(self) -> str:
        """The facts as tables."""
        said = f'<div class="dx-said" role="status"><b>{self._headline}.</b> {escape(self.said)}'
        table = html_table(_HEAD, map(_cells, self.flows), caption="Flows")
        for line in self.flows:
            if line.is_next:
                # The row's own words say it too: "next".
                mark = f'<tr><th scope="row" style="text-align: left">{line.name}</th>'
                table = table.replace(mark, mark.replace("<tr>", '<tr class="dx-now">'))
        legend = "<b>bold underline</b>: holds its slot now; dashed, with +: above its flow's share"
        order = "".join(map(self._lease, range(len(self.started)))) or "none yet"
        return (
            f'{said}</div>{table}<div class="soft">Leases in order ({legend})</div>'
            f'<div class="dx-order">{order}</div>'
        )

    @property
    def _headline(self) -> str:
        asked = self.settings
        return f"Step {asked.step}, {self.kind}; {self.free} of {asked.slots} slots free"

    def _lease(self, number: int) -> str:
        lent, live = number in self.borrowed, number not in self.ended
        kinds = f"{'dx-live ' if live else ''}{'dx-lent' if lent else ''}".strip()
        words = f"lease {number + 1}{', borrowed' if lent else ''}, {'held' if live else 'ended'}"
        name = escape(self.started[number])
        shown = f"<b>{name}</b>" if live else name
        return f'<span class="{kinds}" title="{words}">{shown}{"+" if lent else ""}</span>'


def explore_fair_queue(settings: FairQueueSettings) -> FairQueueAnswer:
    """Takes so many steps from the start."""
    policy = (
        StrictFair()
        if settings.policy == "strict_fair"
        else BoundedBorrow(_ceiling(settings.ceiling), repayment=settings.repayment)
    )
    weights = parsed_weights(settings.weights)
    desk = Stepper(weights, settings.tasks, settings.slots, policy, settings.late_after)
    for _ in range(settings.step):
        desk.step()
    return FairQueueAnswer(
        settings,
        desk.kind,
        desk.said,
        desk.lines,
        desk.free,
        tuple(desk.started),
        frozenset(desk.ended),
        frozenset(desk.borrowed),
    )


def fair_queue_stepper(**settings: Any) -> Explorer[FairQueueSettings]:
    """The fair queue and the ledger of leases, to be stepped through by hand.

    Args:
        settings: Where to begin: fields of `FairQueueSettings`.

    Raises:
        SettingsRefused: A setting cannot be; it says which, and what it may be.
    """
    controls = (
        Words("weights", "Weights", "of the flows a, b, c and so on, with commas"),
        Choice("policy", "Policy", "what a flow may hold above its share", _POLICIES),
        Slider("tasks", "Tasks of each flow", "how many are queued", 1),
        Choice("ceiling", "Borrow ceiling", "the most that a flow may borrow", _CEILINGS),
        Slider("slots", "Slots", "how many tasks may run at once", 1),
        Choice("repayment", "Who repays", "whose end pays a debt back", _REPAYMENTS),
        Slider("late_after", "Last flow comes after", "so many starts; 0: is there at first", 1),
    )
    buttons = (
        Button("Step", "Do the next thing", lambda now: {"step": now.step + 1}),
        Button("Back", "Take the last step back", lambda now: {"step": max(0, now.step - 1)}),
        Button("Ten steps", "Do the next ten things", lambda now: {"step": now.step + 10}),
        Button("Reset", "Begin again", lambda now: {"step": 0}),
    )
    begin = FairQueueSettings(**settings)
    return Explorer(
        "Fair-queue stepper", begin, explore_fair_queue, controls, buttons, anew={"step": 0}
    )


def parsed_weights(given: str) -> tuple[float, ...]:
    """The weights in a text such as "2, 1".

    Raises:
        ValueError: They are not one to six numbers above 0.
    """
    try:
        weights = tuple(float(part) for part in given.split(","))
    except ValueError:
        raise ValueError("write numbers with commas between them, such as 2, 1") from None
    if not 1 <= len(weights) <= MOST_FLOWS:
        raise ValueError(f"there are {len(weights)}; give one to {MOST_FLOWS}")
    if not all(0 < weight < math.inf for weight in weights):
        raise ValueError("give finite numbers above 0")
    return weights


def _ceiling(given: str) -> int | None:
    return None if given == "none" else int(given)


def _cells(line: FlowLine) -> tuple[str, ...]:
    stands = "next" if line.is_next else f"denied: {line.denied}" if line.denied else ""
    return (
        line.name,
        f"{line.weight:g}",
        "-" if line.tag is None else f"{line.tag:.2f}",
        str(line.queued),
        str(line.held),
        str(line.share),
        str(line.debt),
        stands or ("waits for its turn" if line.queued else "has nothing queued"),
    )
