"""API keys: where one comes from, and how it stays out of everything that is shown.

Decides how a key is read and hidden. Must not know of HTTP beyond the one header it goes into.
"""

from __future__ import annotations

import os

from ddsched_nb.errors import ConfigError

__all__ = ["NO_KEY", "ApiKey"]

_ENV_PREFIX = "env:"
_MASK = "[api key]"


class ApiKey:
    """A key that never shows itself: its repr, str and format say only where it came from.

    Args:
        value: The key; empty for none.
        source: Where it came from, as a hint for whoever has to fix it.
    """

    __slots__ = ("_value", "source")

    def __init__(self, value: str, source: str) -> None:
        self._value = value
        self.source = source

    @classmethod
    def read(cls, api_key: str | None) -> ApiKey:
        """Reads a key as users give it.

        Args:
            api_key: The key itself, `"env:NAME"` to read the environment variable NAME, or None
                for an endpoint that wants no key. There is no default variable: a key must not
                travel to an endpoint that it was not meant for.

        Raises:
            ConfigError: The variable is not set, or the key cannot be sent in a header.
        """
        if api_key is None:
            return NO_KEY
        if api_key.startswith(_ENV_PREFIX):
            name = api_key.removeprefix(_ENV_PREFIX)
            return cls(_usable(_from_environment(name), f"${name}"), f"${name}")
        return cls(_usable(api_key, "api_key"), "the api_key argument")

    def header(self) -> dict[str, str]:
        """The request header that carries the key; empty where there is none."""
        return {"Authorization": f"Bearer {self._value}"} if self._value else {}

    def scrub(self, text: str) -> str:
        """Returns the text without the key, should a server have echoed it."""
        return text.replace(self._value, _MASK) if self._value else text

    def __repr__(self) -> str:
        return f"<ApiKey from {self.source}>"

    def __reduce__(self) -> str:
        raise TypeError("an ApiKey is not pickled: it would leave the process")


def _from_environment(name: str) -> str:
    value = os.environ.get(name, "")
    if not value.strip():
        raise ConfigError(
            f"api_key='{_ENV_PREFIX}{name}': environment variable {name!r} is not set; "
            f"set it before the process (or the kernel) starts, or assign os.environ[{name!r}]"
        )
    return value


def _usable(value: str, where: str) -> str:
    # A key pasted with a line break would end as an opaque error deep inside the HTTP library,
    # and that error would show the key.
    value = value.strip()
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigError(
            f"{where} holds no usable API key: it is empty, or has spaces, line breaks or "
            "non-ASCII characters inside; paste it again"
        )
    return value


NO_KEY = ApiKey("", "nowhere (none was given)")
