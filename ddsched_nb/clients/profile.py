"""What an endpoint is like: capacity over time, latency and faults, as values.

Decides how a description is validated and what it says at an instant. One description serves both
the embedded endpoint and simulation, so it must not know of HTTP, loops or clocks: time is a
parameter, and a latency is a pure function of what is asked.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ddsched_nb.clients.capacity import CapacityCurve, Shape, load_steps
from ddsched_nb.clients.described import Described, Seconds, draw
from ddsched_nb.clients.latency import Latency
from ddsched_nb.clients.quotas import QuotaForm
from ddsched_nb.errors import ConfigError

__all__ = ["DEFAULT_PROFILES", "EndpointProfile", "Fault", "Latency", "load_profiles"]

Step = tuple[Seconds, Annotated[int, Field(ge=0)]]


class Fault(Described):
    """Something that goes wrong with a share of the prompts.

    Attributes:
        kind: `error` answers with `status`; `hang` never answers until the caller hangs up;
            `disconnect` closes the connection instead of answering; `garbage` answers with what
            is no JSON; `off_schema` answers in prose where a `response_format` was asked for
            (garbage, where an embedding or an image was); `truncated` ends in the middle of the
            JSON; `cut` breaks the connection in the middle of the body; `drip` sends the body byte
            by byte over a minute; `empty` answers with no choice in it; `redirect` sends elsewhere.
        share: Of the prompts, in [0, 1]. Which ones is a pure function of seed, model and prompt.
        attempts: How many first attempts of such a prompt go wrong; all of them if None.
        status: What `error` answers, 400 to 599; refusals (429) come from the capacity alone.
    """

    kind: Literal[
        "error",
        "hang",
        "disconnect",
        "garbage",
        "off_schema",
        "truncated",
        "cut",
        "drip",
        "empty",
        "redirect",
    ]
    share: Annotated[float, Field(ge=0, le=1)]
    attempts: Annotated[int, Field(ge=1)] | None = 1
    status: Annotated[int, Field(ge=400, le=599)] = 503

    @model_validator(mode="after")
    def _no_refusal(self) -> Fault:
        if self.status == 429:
            raise ValueError("status=429 is a refusal; give the model a lower capacity")
        return self


class EndpointProfile(Described):
    """One model of an endpoint.

    Attributes:
        model: The id it is asked by.
        domain: What it is asked for: `chat`, `embedding` or `image`.
        capacity: Requests it serves at once, >= 1; one more is refused with 429.
        steps: Scripted changes, `(seconds since the first request, capacity from then on)`, in
            order of time, or the path of a CSV file that holds them. A capacity of 0 is an outage.
        shapes: Factors on the capacity: `Ramp`, `Sine`, `RandomWalk`, `OtherTenants`, `Outage`.
        knee: Requests that do not slow each other. Above, they share what `knee` of them would
            have: nothing is refused before `capacity`, everything gets slower, as with a server
            of one's own. None: they never slow each other.
        slowing: How they slow each other: `shared` as above; `line`: as many as `knee` are served,
            the others wait their turn; `soft`: n of them run at a speed of knee / (knee + n - 1).
        requests_per_minute: Above this rate requests are refused with 429; without bound if None.
        tokens_per_minute: The same for tokens of prompts and answers.
        burst_s: Seconds' worth of requests and tokens that may come at once.
        latency: How long an answer takes; a bare number is a constant, in seconds.
        retry_after_s: What a refusal for lack of capacity asks the caller to wait, in seconds.
        quota_headers: Whether answers say what is left of the quotas per minute, and in whose form:
            `openai`, `azure` or `anthropic`.
        refusal_headers: What a refusal carries in place of Retry-After in seconds, such as
            `{"retry-after-ms": "250"}`; nothing if empty.
        faults: What goes wrong, each with a share of the prompts; together at most all.
        dimensions: Length of the vectors of an embedding model, where a request names none.
        overhead_s: What a simulated call takes on top of the latency, on its way there and back,
            in seconds; over HTTP that is there anyway.
        seed: Another seed gives other latencies, other faults and other answers.
    """

    model: Annotated[str, Field(min_length=1, max_length=200)]
    domain: Literal["chat", "embedding", "image"] = "chat"
    capacity: Annotated[int, Field(ge=1)] = 32
    steps: tuple[Step, ...] = ()
    shapes: tuple[Shape, ...] = ()
    knee: Annotated[int, Field(ge=1)] | None = None
    slowing: Literal["shared", "line", "soft"] = "shared"
    requests_per_minute: Annotated[float, Field(gt=0)] | None = None
    tokens_per_minute: Annotated[float, Field(gt=0)] | None = None
    burst_s: Annotated[float, Field(gt=0)] = 1.0
    latency: Latency = Latency(mean_s=0.3)
    retry_after_s: Seconds = 1.0
    quota_headers: QuotaForm | None = None
    refusal_headers: Mapping[str, str] | None = None
    faults: tuple[Fault, ...] = ()
    dimensions: Annotated[int, Field(ge=1, le=4096)] = 64
    overhead_s: Seconds = 0.0
    seed: int = 0

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        if isinstance(fields.get("latency"), (int, float)):
            fields = {**fields, "latency": {"mean_s": fields["latency"]}}
        if isinstance(fields.get("steps"), (str, Path)):
            fields = {**fields, "steps": load_steps(fields["steps"])}
        return fields

    @model_validator(mode="after")
    def _fits(self) -> EndpointProfile:
        times = [at for at, _ in self.steps]
        if any(later <= earlier for earlier, later in pairwise(times)):
            raise ValueError(f"steps must be in order of time, one for each instant, not {times}")
        shares = math.fsum(fault.share for fault in self.faults)
        if shares > 1:
            raise ValueError(f"the shares of faults add up to {shares:g}; at most 1 can be hit")
        return self

    @functools.cached_property
    def curve(self) -> CapacityCurve:
        """The capacity over time, in slots; time in seconds since the first request."""
        return CapacityCurve(self.capacity, self.steps, self.shapes)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with some fields changed; its capacity over time is made anew."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("curve", None)
        return copied

    def capacity_at(self, t: float) -> int:
        """The capacity `t` seconds after the first request."""
        return self.curve.at(t)

    def capacity_integral(self, until_s: float) -> float:
        """Slot-seconds that existed from the first request until `until_s` seconds later."""
        return self.curve.integral(until_s)

    def latency_s(self, key: str, tokens: int = 0) -> float:
        """How long the answer to `key` takes: a pure function of seed, model, key and length.

        Args:
            key: What is asked, usually the prompt.
            tokens: Tokens of the answer; matters where the latency is by length.

        Returns:
            Seconds, in whole microseconds, so that platforms agree to the last digit.
        """
        if self.latency.kind == "constant" and not self.latency.per_token_s:
            return round(self.latency.draw_s(1.0, 0.0) * 1e6) / 1e6
        uniform, angle = draw(self._said(key))
        return round(self.latency.draw_s(uniform, angle, tokens) * 1e6) / 1e6

    def fault(self, key: str) -> Fault | None:
        """What goes wrong with `key`, if anything: a pure function of seed, model and key."""
        if not self.faults:
            return None
        drawn = draw(self._said(f"fault|{key}"))[0]
        for fault in self.faults:
            if drawn <= fault.share:
                return fault
            drawn -= fault.share
        return None

    def _said(self, key: str) -> str:
        return f"{self.seed}|{self.model}|{key}"


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
