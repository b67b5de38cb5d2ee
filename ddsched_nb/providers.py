"""Where models are called, and the models: what a user declares before any column."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from ddsched_nb import checks
from ddsched_nb.clients.base import ModelClient
from ddsched_nb.core.model import ModelKey
from ddsched_nb.errors import ConfigError

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
        **options: Passed to `OpenAICompatibleClient`: timeouts in seconds, proxy, TLS.
    """

    def __init__(
        self, name: str, *, base_url: str, api_key: str | None = None, **options: Any
    ) -> None:
        self.name = checks.name("provider name", name)
        self.base_url = base_url
        self._api_key = api_key
        self._options = options

    def __repr__(self) -> str:
        # A query or user info may carry a key.
        shown = re.sub(
            r"//[^/@]*@|\?.*", lambda found: "//" if "@" in found[0] else "", self.base_url
        )
        return f"OpenAICompatible({self.name!r}, base_url={shown!r})"

    def client(self) -> ModelClient:
        """A new client; belongs to one run."""
        from ddsched_nb.clients.openai import OpenAICompatibleClient

        return OpenAICompatibleClient(
            self.name, base_url=self.base_url, api_key=self._api_key, **self._options
        )


class Model:
    """A model under an alias.

    Args:
        alias: What columns refer to it by.
        provider: Name of its provider.
        id: What the provider calls it; the alias if None.
        max_parallel_requests: Requests in flight at the most, at least 1. Aliases of one provider
            and id share the least of their caps.
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
        max_parallel_requests: int = DEFAULT_CAP,
        system: str | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        self.alias = checks.name("model alias", alias)
        self.provider = checks.name(f"provider of model {alias!r}", provider)
        self.model_id = checks.name(f"id of model {alias!r}", alias if id is None else id)
        self.max_parallel_requests = _cap(alias, max_parallel_requests)
        self.system = system
        self.params = dict(params or {})

    def __repr__(self) -> str:
        return (
            f"Model({self.alias!r}, provider={self.provider!r}, id={self.model_id!r}, "
            f"max_parallel_requests={self.max_parallel_requests})"
        )

    @property
    def key(self) -> ModelKey:
        """Provider and id: what aliases of one model have in common."""
        return ModelKey(self.provider, self.model_id)


def _cap(alias: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(
            f"max_parallel_requests of model {alias!r} is {value!r}; give a whole number >= 1"
        )
    return value
