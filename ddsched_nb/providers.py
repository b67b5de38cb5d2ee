"""Where models are called, and the models: what a user declares before any column."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from ddsched_nb import checks, facts
from ddsched_nb.aio.usage import CallUsage
from ddsched_nb.clients.base import ModelClient
from ddsched_nb.clients.keys import ApiKey
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.core.model import Domain, ModelKey, PoolKey
from ddsched_nb.errors import ConfigError
from ddsched_nb.reprs import brief, facts_html

DEFAULT_CAP = 32


@runtime_checkable
class Provider(Protocol):
    """Where models are called: a name, and a client for each run."""

    @property
    def name(self) -> str: ...
    def client(self) -> ModelClient: ...


class OpenAICompatible:
    """An endpoint that speaks OpenAI's HTTP interface.

    Args:
        name: What models refer to it by.
        base_url: Address up to and with `/v1`.
        api_key: The key, `"env:NAME"` to read it from the environment, or None for none. It is
            never shown.
        max_parallel_requests: Requests in flight at the most, over all models of the account;
            without bound if None.
        requests_per_minute: What the account allows over all its models; what the provider says
            of it in headers is heeded anyway.
        tokens_per_minute: The same for tokens of prompts and answers.
        **options: Passed to `OpenAICompatibleClient`: timeouts in seconds, proxy, TLS.
    """

    def __init__(
        self,
        name: str,
        *,
        base_url: str,
        api_key: str | None = None,
        max_parallel_requests: int | None = None,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        **options: Any,
    ) -> None:
        self.name = checks.name("provider name", name)
        self.base_url = base_url
        self.max_parallel_requests = checks.optional_count(
            f"max_parallel_requests of provider {name!r}", max_parallel_requests
        )
        self.requests_per_minute = checks.optional_rate(
            f"requests_per_minute of provider {name!r}", requests_per_minute
        )
        self.tokens_per_minute = checks.optional_rate(
            f"tokens_per_minute of provider {name!r}", tokens_per_minute
        )
        self._api_key = api_key
        self._options = options

    def __repr__(self) -> str:
        # A query or user info may carry a key.
        shown = re.sub(
            r"//[^/@]*@|\?.*", lambda found: "//" if "@" in found[0] else "", self.base_url
        )
        return f"OpenAICompatible({self.name!r}, base_url={shown!r})"

    @property
    def account(self) -> str:
        """What tells this account from others: its address, and a digest of its key."""
        key = ApiKey.read(self._api_key)
        return f"{self.base_url.rstrip('/')} {facts.digest(key.header())}"

    def client(self) -> ModelClient:
        """A new client; belongs to one run."""
        from ddsched_nb.clients.openai import OpenAICompatibleClient

        return OpenAICompatibleClient(
            self.name, base_url=self.base_url, api_key=self._api_key, **self._options
        )


class SimulatedProvider:
    """An endpoint that is described instead of called; for simulation, and for trying things out.

    Args:
        name: What models refer to it by.
        profiles: Its models; ids must differ.
        timeout_s: A call that takes longer fails, in seconds.
    """

    def __init__(
        self, name: str, profiles: Iterable[EndpointProfile], *, timeout_s: float = 300.0
    ) -> None:
        self.name = checks.name("provider name", name)
        self.profiles = tuple(profiles)
        self.timeout_s = timeout_s

    def __repr__(self) -> str:
        models = [profile.model for profile in self.profiles]
        return brief(f"SimulatedProvider({self.name!r}, {models})")

    def client(self) -> ModelClient:
        """A new client; belongs to one run."""
        from ddsched_nb.clients.simulated import SimulatedClient

        return SimulatedClient(self.name, self.profiles, timeout_s=self.timeout_s)


@dataclass(frozen=True, slots=True)
class Prices:
    """What a model costs.

    Attributes:
        prompt: Price of a million tokens sent, >= 0.
        completion: Price of a million tokens written, >= 0.
        image: Price of an image, >= 0.
        currency: What they are in; only shown.
    """

    prompt: float = 0.0
    completion: float = 0.0
    image: float = 0.0
    currency: str = "USD"

    def __post_init__(self) -> None:
        for name in ("prompt", "completion", "image"):
            value: object = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (number and 0 <= value < math.inf):  # type: ignore[operator]
                raise ConfigError(f"{name} of Prices is {value!r}; give a number >= 0")
        checks.name("currency of Prices", self.currency)

    def cost(self, used: CallUsage) -> float:
        """What this usage costs."""
        tokens = used.prompt_tokens * self.prompt + used.completion_tokens * self.completion
        return tokens / 1_000_000 + used.images * self.image


class Model:
    """A model under an alias.

    Args:
        alias: What columns refer to it by.
        provider: Name of its provider.
        id: What the provider calls it; the alias if None.
        max_parallel_requests: Requests in flight at the most, at least 1; 32 if None. Aliases of
            one provider and id share the least of their caps.
        requests_per_minute: What the provider allows, where you know it; learned from its headers
            or from its refusals if None.
        tokens_per_minute: The same for tokens of prompts and answers.
        domain: What it is: `chat`, `embedding` or `image`.
        healthcheck: Whether to try it before the first row, so that a wrong key, address or id
            fails at once with a clear message. Costs one small call; an image model is only looked
            up in the endpoint's list.
        prices: What it costs, for the summary.
        system: System message of its calls, unless a column gives its own.
        params: Parameters of its requests: `temperature`, `max_tokens`, or anything else.

    Raises:
        ConfigError: A field cannot be used.
    """

    def __init__(
        self,
        alias: str,
        *,
        provider: str,
        id: str | None = None,
        max_parallel_requests: int | None = None,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        system: str | None = None,
        params: Mapping[str, Any] | None = None,
        domain: Literal["chat", "embedding", "image"] = "chat",
        healthcheck: bool = False,
        prices: Prices | None = None,
    ) -> None:
        self.alias = checks.name("model alias", alias)
        self.provider = checks.name(f"provider of model {alias!r}", provider)
        self.model_id = checks.name(f"id of model {alias!r}", alias if id is None else id)
        field = f"max_parallel_requests of model {alias!r}"
        self.cap_is_declared = max_parallel_requests is not None
        self.max_parallel_requests = checks.count(
            field, DEFAULT_CAP if max_parallel_requests is None else max_parallel_requests
        )
        self.requests_per_minute = checks.optional_rate(
            f"requests_per_minute of model {alias!r}", requests_per_minute
        )
        self.tokens_per_minute = checks.optional_rate(
            f"tokens_per_minute of model {alias!r}", tokens_per_minute
        )
        if domain not in ("chat", "embedding", "image"):  # a notebook checks no types
            raise ConfigError(
                f"domain of model {alias!r} is {domain!r}; give chat, embedding or image"
            )
        if prices is not None and not isinstance(prices, Prices):
            raise ConfigError(f"prices of model {alias!r} is {prices!r}; give Prices(...)")
        self.domain: Domain = domain
        self.healthcheck = healthcheck
        self.prices = prices
        self.system = system
        self.params = dict(params or {})

    def __repr__(self) -> str:
        return (
            f"Model({self.alias!r}, provider={self.provider!r}, id={self.model_id!r}, "
            f"max_parallel_requests={self.max_parallel_requests})"
        )

    def _repr_html_(self) -> str:
        facts = [
            ("provider", self.provider),
            ("id", self.model_id),
            ("domain", self.domain),
            ("max_parallel_requests", self.max_parallel_requests),
            ("requests_per_minute", self.requests_per_minute),
            ("tokens_per_minute", self.tokens_per_minute),
            ("healthcheck", self.healthcheck),
            ("prices", self.prices),
        ]
        shown = [(name, "-" if value is None else value) for name, value in facts]
        return facts_html(f"model {self.alias}", shown)

    def with_cap(self, max_parallel_requests: int) -> Model:
        """The same model with another cap."""
        return Model(
            self.alias,
            provider=self.provider,
            id=self.model_id,
            max_parallel_requests=max_parallel_requests,
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
            system=self.system,
            params=self.params,
            domain=self.domain,  # type: ignore[arg-type]  # never `healthcheck` here
            healthcheck=self.healthcheck,
            prices=self.prices,
        )

    @property
    def key(self) -> ModelKey:
        """Provider and id: what aliases of one model have in common."""
        return ModelKey(self.provider, self.model_id)

    @property
    def pool(self) -> PoolKey:
        """What one limit governs: provider, id and domain."""
        return PoolKey(self.provider, self.model_id, self.domain)

    def facts(self) -> dict[str, Any]:
        """What a store must find unchanged; of texts and values only digests."""
        return {"system": facts.digest(self.system), "params": facts.digest(self.params)}
