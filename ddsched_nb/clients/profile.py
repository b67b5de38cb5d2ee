"""What an endpoint is like: capacity over time, latency and faults, as values.

Decides how a description is validated and what it says at an instant. One description serves both
the embedded endpoint and simulation, so it must not know of HTTP, loops or clocks: time is a
parameter, and a latency is a pure function of what is asked.
"""

from __future__ import annotations

import hashlib
import json
import math
from bisect import bisect_right
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ddsched_nb.errors import ConfigError

__all__ = ["DEFAULT_PROFILES", "EndpointProfile", "Fault", "Latency", "load_profiles"]

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Step = tuple[Seconds, Annotated[int, Field(ge=0)]]

_TWO_64 = 2.0**64


class _Described(BaseModel):
    """A frozen model whose complaints are `ConfigError`s that name the field and the value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise ConfigError(_complaint(type(self).__name__, error)) from None


class Latency(_Described):
    """How long a model takes to answer: constant where `sigma` is 0, else lognormal.

    Attributes:
        mean_s: Mean of the distribution before clipping, in seconds.
        sigma: Standard deviation of the logarithm; 0.6 is a plausible language model.
        min_s: No answer is faster.
        max_s: No answer is slower.
    """

    mean_s: Seconds
    sigma: Annotated[float, Field(ge=0, le=5)] = 0.0
    min_s: Seconds = 0.0
    max_s: Seconds = 3_600.0

    @model_validator(mode="after")
    def _in_order(self) -> Latency:
        if self.min_s > self.max_s:
            raise ValueError(f"min_s={self.min_s:g} is above max_s={self.max_s:g}")
        return self

    def draw_s(self, uniform: float, angle: float) -> float:
        """Draws from two uniform numbers, the first in (0, 1], the second in [0, 1)."""
        drawn = self.mean_s
        if self.sigma:
            # Box-Muller, so that the draw is this formula and not a library's generator.
            normal = math.sqrt(-2 * math.log(uniform)) * math.cos(2 * math.pi * angle)
            drawn *= math.exp(self.sigma * normal - self.sigma**2 / 2)
        return min(self.max_s, max(self.min_s, drawn))


class Fault(_Described):
    """Something that goes wrong with a share of the prompts.

    Attributes:
        kind: `error` answers with `status`; `hang` never answers until the caller hangs up;
            `disconnect` closes the connection instead of answering; `garbage` answers with what
            is no JSON; `off_schema` answers in prose where a `response_format` was asked for
            (garbage, where an embedding or an image was).
        share: Of the prompts, in [0, 1]. Which ones is a pure function of seed, model and prompt.
        attempts: How many first attempts of such a prompt go wrong; all of them if None.
        status: What `error` answers, 400 to 599; refusals (429) come from the capacity alone.
    """

    kind: Literal["error", "hang", "disconnect", "garbage", "off_schema"]
    share: Annotated[float, Field(ge=0, le=1)]
    attempts: Annotated[int, Field(ge=1)] | None = 1
    status: Annotated[int, Field(ge=400, le=599)] = 503

    @model_validator(mode="after")
    def _no_refusal(self) -> Fault:
        if self.status == 429:
            raise ValueError("status=429 is a refusal; give the model a lower capacity")
        return self


class EndpointProfile(_Described):
    """One model of an endpoint.

    Attributes:
        model: The id it is asked by.
        domain: What it is asked for: `chat`, `embedding` or `image`.
        capacity: Requests it serves at once, >= 1; one more is refused with 429.
        steps: Scripted changes, `(seconds since the first request, capacity from then on)`, in
            order of time. A capacity of 0 is an outage.
        latency: How long an answer takes; a bare number is a constant, in seconds.
        retry_after_s: What a refusal asks the caller to wait, in seconds.
        faults: What goes wrong, each with a share of the prompts; together at most all.
        dimensions: Length of the vectors of an embedding model, where a request names none.
        seed: Another seed gives other latencies, other faults and other answers.
    """

    model: Annotated[str, Field(min_length=1, max_length=200)]
    domain: Literal["chat", "embedding", "image"] = "chat"
    capacity: Annotated[int, Field(ge=1)] = 32
    steps: tuple[Step, ...] = ()
    latency: Latency = Latency(mean_s=0.3)
    retry_after_s: Seconds = 1.0
    faults: tuple[Fault, ...] = ()
    dimensions: Annotated[int, Field(ge=1, le=4096)] = 64
    seed: int = 0

    @model_validator(mode="before")
    @classmethod
    def _number_as_latency(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and isinstance(fields.get("latency"), (int, float)):
            return {**fields, "latency": {"mean_s": fields["latency"]}}
        return fields

    @model_validator(mode="after")
    def _steps_in_order(self) -> EndpointProfile:
        times = [at for at, _ in self.steps]
        if any(later <= earlier for earlier, later in pairwise(times)):
            raise ValueError(f"steps must be in order of time, one for each instant, not {times}")
        shares = math.fsum(fault.share for fault in self.faults)
        if shares > 1:
            raise ValueError(f"the shares of faults add up to {shares:g}; at most 1 can be hit")
        return self

    def capacity_at(self, t: float) -> int:
        """The capacity `t` seconds after the first request."""
        if not self.steps:
            return self.capacity
        step = bisect_right(self.steps, t, key=_when) - 1
        return self.steps[step][1] if step >= 0 else self.capacity

    def capacity_integral(self, until_s: float) -> float:
        """Slot-seconds that existed from the first request until `until_s` seconds later."""
        total, since, capacity = 0.0, 0.0, self.capacity
        for at, changed in self.steps:
            if at >= until_s:
                break
            total += capacity * (at - since)
            since, capacity = at, changed
        return total + capacity * max(0.0, until_s - since)

    def latency_s(self, key: str) -> float:
        """How long the answer to `key` takes: a pure function of seed, model and key.

        Args:
            key: What is asked, usually the prompt.

        Returns:
            Seconds, in whole microseconds, so that platforms agree to the last digit.
        """
        first, second = self._drawn(key)
        return round(self.latency.draw_s((first + 1) / _TWO_64, second / _TWO_64) * 1e6) / 1e6

    def fault(self, key: str) -> Fault | None:
        """What goes wrong with `key`, if anything: a pure function of seed, model and key."""
        if not self.faults:
            return None
        drawn = self._drawn(f"fault|{key}")[0] / _TWO_64
        for fault in self.faults:
            if drawn < fault.share:
                return fault
            drawn -= fault.share
        return None

    def _drawn(self, key: str) -> tuple[int, int]:
        """Two whole numbers below 2 ** 64."""
        said = f"{self.seed}|{self.model}|{key}".encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(said, digest_size=16).digest()
        return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big")


def _when(step: Step) -> float:
    return step[0]


def _complaint(name: str, error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{name} has no field {field!r}; see help({name})"
    if first["type"] == "missing":
        return f"{name} needs {field!r}"
    reason = first["msg"].removeprefix("Value error, ")
    return f"{name}: {field}={first['input']!r}: {reason}" if field else f"{name}: {reason}"


DEFAULT_PROFILES = (
    EndpointProfile(
        model="writer-small",
        capacity=32,
        latency=Latency(mean_s=0.3, sigma=0.6, min_s=0.05, max_s=2.5),
    ),
    EndpointProfile(
        model="judge-small",
        capacity=8,
        latency=Latency(mean_s=0.2, sigma=0.6, min_s=0.05, max_s=2.5),
    ),
    EndpointProfile(
        model="embed-small",
        domain="embedding",
        capacity=8,
        latency=Latency(mean_s=0.15, sigma=0.4, min_s=0.05, max_s=1.0),
    ),
    EndpointProfile(
        model="image-small",
        domain="image",
        capacity=4,
        latency=Latency(mean_s=0.5, sigma=0.4, min_s=0.2, max_s=2.5),
    ),
)
"""What an endpoint serves where nobody says otherwise: one model roomy, one narrow, one that
embeds, one that draws."""


def load_profiles(path: str | Path) -> tuple[EndpointProfile, ...]:
    """Reads profiles from a JSON file: a list of objects with the fields of `EndpointProfile`.

    Raises:
        ConfigError: The file cannot be read, or a profile in it is not usable.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"profile file {str(path)!r} cannot be read as JSON: {error}") from error
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise ConfigError(
            f"profile file {str(path)!r} must hold a list of objects, "
            'such as [{"model": "writer-small", "capacity": 32, "latency": 0.3}]'
        )
    return tuple(EndpointProfile(**item) for item in found)
