"""How long a model takes to answer, as a distribution. Pure: what is random is a parameter."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ddsched_nb.clients.described import Described, Seconds

__all__ = ["Latency"]


class Latency(Described):
    """How long a model takes to answer: constant, lognormal or heavy-tailed, and by length.

    Attributes:
        mean_s: Mean of the distribution before clipping, in seconds.
        sigma: Standard deviation of the logarithm; 0.6 is a plausible language model. With 0 and
            no tail every answer takes `mean_s`.
        tail: Shape of a Pareto distribution instead, > 1: the smaller, the heavier; at 2 and below
            its variance is infinite.
        per_token_s: Added for each token of the answer.
        min_s: No answer is faster.
        max_s: No answer is slower.
        quantiles: A measured distribution instead of a formula: durations in ascending order, in
            seconds, evenly spread over the answers; what lies between is interpolated.
    """

    mean_s: Seconds
    sigma: Annotated[float, Field(ge=0, le=5)] = 0.0
    tail: Annotated[float, Field(gt=1, le=100)] | None = None
    per_token_s: Seconds = 0.0
    min_s: Seconds = 0.0
    max_s: Seconds = 3_600.0
    quantiles: tuple[Seconds, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Latency:
        if self.min_s > self.max_s:
            raise ValueError(f"min_s={self.min_s:g} is above max_s={self.max_s:g}")
        if list(self.quantiles) != sorted(self.quantiles):
            raise ValueError("quantiles must be in ascending order")
        if sum((self.sigma > 0, self.tail is not None, bool(self.quantiles))) > 1:
            raise ValueError("give one of sigma, tail and quantiles")
        return self

    @property
    def kind(self) -> Literal["constant", "lognormal", "pareto", "measured"]:
        """Which distribution it is."""
        if self.quantiles:
            return "measured"
        if self.tail is not None:
            return "pareto"
        return "lognormal" if self.sigma else "constant"

    def draw_s(self, uniform: float, angle: float, tokens: int = 0) -> float:
        """Draws from two uniform numbers, the first in (0, 1], the second in [0, 1).

        Args:
            uniform: Decides, with `angle` where the distribution is lognormal.
            angle: The second number of the Box-Muller transform.
            tokens: Tokens of the answer.

        Returns:
            Seconds.
        """
        drawn = self.mean_s
        if self.quantiles:
            drawn = _interpolate(self.quantiles, 1 - uniform)
        elif self.tail is not None:
            # The inverse of Pareto's distribution function, scaled to the mean.
            drawn *= (self.tail - 1) / self.tail * uniform ** (-1 / self.tail)
        elif self.sigma:
            # Box-Muller, so that the draw is this formula and not a library's generator.
            normal = math.sqrt(-2 * math.log(uniform)) * math.cos(2 * math.pi * angle)
            drawn *= math.exp(self.sigma * normal - self.sigma**2 / 2)
        return min(self.max_s, max(self.min_s, drawn)) + self.per_token_s * tokens


def _interpolate(quantiles: tuple[float, ...], share: float) -> float:
    place = share * (len(quantiles) - 1)
    below = int(place)
    low = quantiles[below]
    high = quantiles[min(below + 1, len(quantiles) - 1)]
    return low + (high - low) * (place - below)
