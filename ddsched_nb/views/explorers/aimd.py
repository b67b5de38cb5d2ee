"""The explorer of limits: a limit against a hidden capacity, beside an oracle that is told it.

A limit on trial (`sim.trial`): two minutes of demand without end against one model. Decides which
capacities there are to choose from, what is counted, and in which words.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from html import escape
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from ddsched_nb.clients.capacity import Outage, RandomWalk, Shape, Sine
from ddsched_nb.clients.latency import Latency
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.config import RequestAdmissionConfig
from ddsched_nb.core.limits import Limit
from ddsched_nb.core.pacing import Pacing
from ddsched_nb.engine import make_limit
from ddsched_nb.reprs import html_table, text_table
from ddsched_nb.sim.told import try_oracle
from ddsched_nb.sim.trial import LimitTrial, try_limit
from ddsched_nb.views.explorers.drawing import Plot, legend
from ddsched_nb.views.explorers.frame import Choice, Explorer, Slider
from ddsched_nb.views.explorers.settings import ExplorerSettings

__all__ = ["AimdAnswer", "AimdSettings", "aimd_explorer", "explore_aimd"]

SECONDS: Final = 120.0
_REFUSAL_S: Final = 0.5
# Lognormal with a mean of 1 s and a coefficient of variation of 0.6.
_SERVICE: Final = Latency(mean_s=1.0, sigma=math.sqrt(math.log(1 + 0.6**2)))

Curve = Literal["constant", "steps", "sine", "walk", "outage"]
_CURVES: Final[dict[Curve, str]] = {
    "constant": "constant",
    "steps": "steps: a third, 40-80 s",
    "sine": "sine: a third each 60 s",
    "walk": "walk: wanders",
    "outage": "outage: 40-55 s",
}
_LIMITS: Final = {
    "aimd": "aimd, as the reference",
    "ceiling": "ceiling, the default",
    "fixed": "fixed at the cap",
}


class AimdSettings(ExplorerSettings):
    """What the explorer of limits may be set to.

    Attributes:
        limit: The algorithm. What follows up to `cooldown_s` concerns `aimd` only.
        decrease: What a burst of refusals multiplies the limit by.
        increase: What growth adds.
        successes: Answers in a row that make it grow.
        cooldown_s: Seconds without a request after a refusal.
        curve: How the hidden capacity moves.
        capacity: The hidden capacity at its highest, in requests at once.
        cap: What the limit never exceeds.
    """

    limit: Literal["aimd", "ceiling", "fixed"] = "aimd"
    decrease: Annotated[float, Field(ge=0.05, le=0.95)] = 0.75
    increase: Annotated[int, Field(ge=1, le=16)] = 1
    successes: Annotated[int, Field(ge=1, le=100)] = 25
    cooldown_s: Annotated[float, Field(ge=0, le=10)] = 2.0
    curve: Curve = "constant"
    capacity: Annotated[int, Field(ge=2, le=48)] = 32
    cap: Annotated[int, Field(ge=1, le=64)] = 48


@dataclass(frozen=True, slots=True)
class AimdAnswer:
    """How a limit did, beside the oracle.

    Attributes:
        settings: What was asked.
        tried: The limit on trial.
        oracle: Who is told the capacity at each instant.
        capacity: When the hidden capacity changed, and to what.
    """

    settings: AimdSettings
    tried: LimitTrial
    oracle: LimitTrial
    capacity: tuple[tuple[float, int], ...]

    @property
    def text(self) -> str:
        """The facts."""
        return text_table(_HEAD, self._rows(), caption=self._caption)

    @property
    def html(self) -> str:
        """The picture, with the facts below it."""
        plot = Plot(
            f"{self._caption}; the limit lies between {self._lowest} and {self._highest}",
            x_max=SECONDS,
            y_max=1.08 * max(self._highest, max(slots for _, slots in self.capacity)),
            y_title="requests at once",
        )
        until = (SECONDS, self.capacity[-1][1])
        plot.area([*self.capacity, until], "hidden")
        plot.steps([*self.capacity, until], "edge")
        plot.steps([*self.tried.history, (SECONDS, self.tried.history[-1][1])], "first")
        names = [("area", "hidden", "hidden capacity"), ("line", "first", self.tried.limit)]
        said = f'<div class="dx-said" role="status">{escape(self._caption)}</div>'
        table = html_table(_HEAD, self._rows(), caption="Beside the oracle")
        return said + legend(names) + plot.html() + table

    @property
    def _caption(self) -> str:
        asked = self.settings
        about = f"{asked.limit}, at most {asked.cap}"
        if asked.limit == "aimd":
            about += (
                f", x {asked.decrease:g} or + {asked.increase} after {asked.successes}, pause "
                f"{asked.cooldown_s:g} s"
            )
        return f"{about}; hidden capacity {asked.capacity}, {asked.curve}; {SECONDS:g} s"

    @property
    def _lowest(self) -> int:
        return min(value for _, value in self.tried.history)

    @property
    def _highest(self) -> int:
        return max(value for _, value in self.tried.history)

    def _rows(self) -> list[tuple[str, ...]]:
        # Not answers: which latencies are drawn depends on who is refused in between.
        tried, oracle = both = self.tried, self.oracle
        existed = _profile(self.settings.curve, self.settings.capacity).curve.integral(SECONDS)
        return [
            ("utilization", f"{tried.utilization:.1%}", f"{oracle.utilization:.1%}"),
            ("slot-seconds lost", *(f"{max(0.0, 1 - t.utilization) * existed:,.0f}" for t in both)),
            ("refused", f"{tried.refused:,}", f"{oracle.refused:,}"),
            ("moves of the limit", *(f"{len(t.history) - 1:,}" for t in both)),
        ]


_HEAD: Final = ("", "this limit", "oracle")


def explore_aimd(settings: AimdSettings) -> AimdAnswer:
    """Tries a limit for two virtual minutes; nothing of the start is left out."""
    profile = _profile(settings.curve, settings.capacity)
    tried = try_limit(
        functools.partial(_limit, settings),
        profile,
        seconds=SECONDS,
        cap=settings.cap,
        refusal_s=_REFUSAL_S,
        skip_s=0.0,
        pacing=_no_quota,
    )
    return AimdAnswer(settings, tried, *_told(settings.curve, settings.capacity))


def aimd_explorer(**settings: Any) -> Explorer[AimdSettings]:
    """A limit against a hidden capacity, to be played with.

    Args:
        settings: Where to begin: fields of `AimdSettings`.

    Raises:
        SettingsRefused: A setting cannot be; it says which, and what it may be.
    """
    controls = (
        Choice("limit", "Limit", "which algorithm moves it", _LIMITS),
        Choice("curve", "Hidden capacity", "how the capacity moves", _CURVES),
        Slider("decrease", "Decrease, factor", "what refusals multiply an aimd limit by", 0.05),
        Slider("increase", "Increase, step", "what growth adds to an aimd limit", 1),
        Slider("successes", "Answers until it grows", "in a row, for an aimd limit", 1),
        Slider("cooldown_s", "Cooldown, seconds", "pause of an aimd limit after a refusal", 0.5),
        Slider("capacity", "Capacity, requests", "the hidden capacity at its highest, at once", 1),
        Slider("cap", "Cap, requests", "what the limit never exceeds, at once", 1),
    )
    return Explorer("AIMD explorer", AimdSettings(**settings), explore_aimd, controls)


def _limit(settings: AimdSettings, cap: int) -> Limit:
    config = RequestAdmissionConfig(
        limit=settings.limit,
        multiplicative_decrease_factor=settings.decrease,
        additive_increase_step=settings.increase,
        successes_until_increase=settings.successes,
        cooldown_s=settings.cooldown_s,
    )
    return make_limit(config, cap, 0.0)


def _no_quota() -> Pacing:
    """Quotas beyond reach, and declared: what is watched here is the limit, and it alone."""
    return Pacing(1e9, 1e9)


@functools.lru_cache(maxsize=32)
def _told(curve: Curve, capacity: int) -> tuple[LimitTrial, tuple[tuple[float, int], ...]]:
    """The oracle's trial, and the capacity over time."""
    profile = _profile(curve, capacity)
    slots, at = [(0.0, profile.curve.at(0.0))], profile.curve.next_edge(0.0)
    while at < SECONDS:
        if profile.curve.at(at) != slots[-1][1]:
            slots.append((at, profile.curve.at(at)))
        at = profile.curve.next_edge(at)
    return try_oracle(profile, seconds=SECONDS), tuple(slots)


def _profile(curve: Curve, capacity: int) -> EndpointProfile:
    third = max(1, round(capacity / 3))
    steps = ((40.0, third), (80.0, capacity)) if curve == "steps" else ()
    shapes: dict[Curve, tuple[Shape, ...]] = {
        "sine": (Sine(period_s=60.0, low=1 / 3),),
        "walk": (RandomWalk(every_s=5.0, step=0.15, low=0.25, seed=3),),
        "outage": (Outage(start_s=40.0, end_s=55.0),),
    }
    return EndpointProfile(
        model="hidden",
        capacity=capacity,
        latency=_SERVICE,
        steps=steps,
        shapes=shapes.get(curve, ()),
    )
