"""The one place where an exception becomes an outcome.

Decides how admission reads the end of a request. Must not know of pools, permits or retries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from ddsched_nb.clients.quotas import read_quotas, retry_after_s, spent_quota
from ddsched_nb.core.model import Outcome, OutcomeKind, Usage
from ddsched_nb.errors import AdmissionClosed, ProviderError, QueueTimeout

__all__ = ["DENIED", "RETRYABLE", "UNAVAILABLE", "classify", "of_status"]

_CANCELLING = (
    AdmissionClosed,
    asyncio.CancelledError,
    KeyboardInterrupt,
    SystemExit,
    GeneratorExit,
)
_RATE_LIMITED = 429
RETRYABLE = frozenset({408, 409, 425, _RATE_LIMITED})
"""Statuses below 500 after which the same call may succeed."""

UNAVAILABLE = frozenset({502, 503, 504, 529})
"""Nobody is there to serve anything, as far as one answer can say."""

DENIED = frozenset({401, 403})
"""The key, or what it may use, is refused."""

_TIMEOUTS = frozenset({"APITimeoutError", "TimeoutException"})
_NOBODY_THERE = frozenset({"ConnectError", "ConnectionRefusedError"})
_NO_CONNECTION = _NOBODY_THERE | {"APIConnectionError", "TransportError", "ConnectionError"}
_CANCELLED = Outcome(OutcomeKind.LOCAL_CANCELLED, retryable=False)
_QUEUE_TIMEOUT = Outcome(OutcomeKind.LOCAL_TIMEOUT)
_PROVIDER_TIMEOUT = Outcome(OutcomeKind.PROVIDER_TIMEOUT)
_UNEXPECTED = Outcome(OutcomeKind.UNEXPECTED_EXCEPTION, retryable=False)
_SUCCESS = Outcome(OutcomeKind.SUCCESS)


def classify(error: BaseException | None, usage: Usage | None = None) -> Outcome:
    """Reads how one request ended.

    Args:
        error: What the attempt raised; None where it succeeded.
        usage: Tokens used, where the attempt succeeded.

    Returns:
        The outcome. A `TimeoutError` without a status is the provider's silence, not ours,
        unless it is a `QueueTimeout`: then the request never left.
    """
    if error is None:
        return _SUCCESS if usage is None else Outcome(OutcomeKind.SUCCESS, usage=usage)
    if isinstance(error, ProviderError):
        return Outcome(
            OutcomeKind(error.kind),
            error.retry_after,
            None,
            error.retryable,
            error.quotas,
            error.spent,
            error.unavailable,
            error.status in DENIED,
        )
    if isinstance(error, _CANCELLING):
        return _CANCELLED
    if isinstance(error, QueueTimeout):
        return _QUEUE_TIMEOUT
    if isinstance(error, TimeoutError):
        return _PROVIDER_TIMEOUT
    return _of_another_client(error)


def _of_another_client(error: BaseException) -> Outcome:
    """Reads the exceptions of openai, anthropic, httpx and their like, without their import."""
    response = getattr(error, "response", None)
    status = getattr(error, "status_code", getattr(response, "status_code", None))
    if isinstance(status, int):
        headers = getattr(response, "headers", {})
        body = getattr(error, "body", None)
        said = body if isinstance(body, dict) else {}
        return of_status(status, headers, f"{said.get('type')}/{said.get('code')}")
    names = {base.__name__ for base in type(error).__mro__}
    if names & _TIMEOUTS:
        return _PROVIDER_TIMEOUT
    if names & _NO_CONNECTION:
        return Outcome(OutcomeKind.PROVIDER_FAILURE, unavailable=bool(names & _NOBODY_THERE))
    return _UNEXPECTED


def of_status(status: int, headers: Mapping[str, str], said: str = "") -> Outcome:
    """Reads a response by its status and headers.

    Args:
        status: HTTP status.
        headers: With case-insensitive lookup.
        said: Type and code of its error, where it is one, with a slash between.
    """
    quotas = read_quotas(headers)
    if status < 400:
        return Outcome(OutcomeKind.SUCCESS, quotas=quotas)
    refused = status == _RATE_LIMITED
    return Outcome(
        OutcomeKind.RATE_LIMITED if refused else OutcomeKind.PROVIDER_FAILURE,
        retry_after_s(headers),
        None,
        status in RETRYABLE or status >= 500,
        quotas,
        spent_quota(quotas, said) if refused else None,
        status in UNAVAILABLE,
        status in DENIED,
    )
