"""What went wrong with a request, as one `ProviderError`.

Decides kind, retryability, Retry-After and wording of every failure of an HTTP endpoint. The
wording names provider, model, status and the server's error code where that looks like an
identifier; what the server wrote may echo the prompt and goes to `detail` only. Must not know of
sessions, admission or retries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from ddsched_nb.clients.keys import ApiKey
from ddsched_nb.clients.outcomes import DENIED, RETRYABLE, UNAVAILABLE
from ddsched_nb.clients.quotas import read_quotas, retry_after_s, spent_quota
from ddsched_nb.core.model import Quota, QuotaUnit
from ddsched_nb.errors import FailureKind, ProviderError

__all__ = ["FailureReader"]

_MAX_DETAIL = 2_000
_RATE_LIMITED = 429
_SERVER_ERRORS = range(500, 600)
_STATUSES = range(400, 600)
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,47}")
_MEDIA_TYPE = re.compile(r"[a-z]+/[a-z0-9.+-]{1,40}")


@dataclass(frozen=True, slots=True)
class FailureReader:
    """Words the failures of one provider.

    Attributes:
        provider: The provider's name, as the user gave it.
        key: Its key; scrubbed from whatever the server says.
    """

    provider: str
    key: ApiKey

    def of_status(
        self, model: str, status: int, headers: Mapping[str, str], body: bytes
    ) -> ProviderError:
        """Reads a response with an error status."""
        code = self._code(body)
        refused = status == _RATE_LIMITED
        quotas = read_quotas(headers)
        says = f"HTTP {status}" + (f" ({code})" if code else "") + self._advice(status, model)
        return self._error(
            f"{self.provider}/{model}: {says}",
            kind="rate_limited" if refused else "provider_failure",
            status=status,
            retryable=status in RETRYABLE or status in _SERVER_ERRORS,
            retry_after=retry_after_s(headers),
            detail=body.decode("utf-8", "replace"),
            quotas=quotas,
            spent=spent_quota(quotas, code) if refused else None,
            unavailable=status in UNAVAILABLE,
        )

    def of_error_in_answer(
        self, model: str, status: int, error: Any, headers: Mapping[str, str], body: bytes
    ) -> ProviderError:
        """Reads an error that came with a good status, as some gateways send them."""
        code = error.get("code") if isinstance(error, dict) else None
        if isinstance(code, int) and code in _STATUSES:
            return self.of_status(model, code, headers, body)
        return self.of_answer(model, status, "an error in place of an answer", headers, body)

    def of_answer(
        self, model: str, status: int, what: str, headers: Mapping[str, str], body: bytes
    ) -> ProviderError:
        """Words an answer with a good status that cannot be used."""
        media = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        named = f", content type {media}" if _MEDIA_TYPE.fullmatch(media) else ""
        return self._error(
            f"{self.provider}/{model}: HTTP {status}, but {what}{named}",
            kind="provider_failure",
            status=status,
            retryable=True,
            detail=body.decode("utf-8", "replace"),
        )

    def of_transport(
        self, model: str, error: Exception, *, timeout_s: float, connect_timeout_s: float
    ) -> ProviderError:
        """Reads a failure that left no response."""
        kind: FailureKind = "provider_timeout"
        retryable = True
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            says = f"no connection within {connect_timeout_s:g} s (connect_timeout_s)"
        elif isinstance(error, TimeoutError):
            says = f"no answer within {timeout_s:g} s (timeout_s)"
        else:
            kind = "provider_failure"
            says, retryable = _broken_connection(error)
        return self._error(
            f"{self.provider}/{model}: {says}",
            kind=kind,
            retryable=retryable,
            detail=f"{type(error).__name__}: {error}",
            unavailable=isinstance(error, aiohttp.ClientConnectorError) and retryable,
        )

    def of_request(self, model: str, error: Exception) -> ProviderError:
        """Words a request that could not be put on the wire."""
        return self._error(
            f"{self.provider}/{model}: the request cannot be encoded as JSON in UTF-8 "
            f"({type(error).__name__}); look for broken characters in the prompt",
            kind="provider_failure",
        )

    def _error(
        self,
        message: str,
        *,
        kind: FailureKind,
        status: int | None = None,
        retryable: bool = False,
        retry_after: float | None = None,
        detail: str = "",
        quotas: tuple[Quota, ...] = (),
        spent: QuotaUnit | None = None,
        unavailable: bool = False,
    ) -> ProviderError:
        return ProviderError(
            message,
            kind=kind,
            status=status,
            retryable=retryable,
            retry_after=retry_after,
            # Scrubbed before it is cut, so that no half of the key survives the cut.
            detail=self.key.scrub(detail)[:_MAX_DETAIL],
            quotas=quotas,
            spent=spent,
            unavailable=unavailable,
        )

    def _advice(self, status: int, model: str) -> str:
        if status in DENIED:
            return f"; check the API key from {self.key.source} and what it may use"
        if status == 404:
            return f"; check base_url (it usually ends in /v1) and the model id {model!r}"
        if 300 <= status < 400:
            return "; redirects are not followed: give the final address as base_url"
        return ""

    def _code(self, body: bytes) -> str:
        """The server's error code or type, if it is an identifier and not our key."""
        try:
            said = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return ""
        if isinstance(said, dict) and isinstance(said.get("error"), dict):
            said = said["error"]
        if not isinstance(said, dict):
            return ""
        found = [
            value
            for value in (said.get("type"), said.get("code"))
            if isinstance(value, str) and _IDENTIFIER.fullmatch(value) and self._not_key(value)
        ]
        return "/".join(dict.fromkeys(found))

    def _not_key(self, value: str) -> bool:
        return self.key.scrub(value) == value


def _broken_connection(error: Exception) -> tuple[str, bool]:
    """What is wrong with the connection, and whether trying again can help."""
    if isinstance(error, aiohttp.ClientSSLError):
        return "TLS failed; check base_url (http or https?) and the `ssl` option", False
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy refused the connection with status {error.status}", error.status != 407
    if isinstance(error, aiohttp.InvalidURL):
        return "the address is not usable; check base_url and the proxy variables", False
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the host name was not found; check base_url and the network", True
    if isinstance(error, aiohttp.ClientConnectorError):
        return "the connection was refused; is the endpoint running?", True
    return f"the connection broke ({type(error).__name__})", True
