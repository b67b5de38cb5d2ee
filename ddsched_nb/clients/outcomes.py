"""The one place where an exception becomes an outcome.

Decides how admission reads the end of a request. Must not know of pools, permits or retries.
"""

from __future__ import annotations

import asyncio

from ddsched_nb.core.model import Outcome, OutcomeKind, Usage
from ddsched_nb.errors import AdmissionClosed, ProviderError, QueueTimeout

__all__ = ["classify"]

_CANCELLING = (
    AdmissionClosed,
    asyncio.CancelledError,
    KeyboardInterrupt,
    SystemExit,
    GeneratorExit,
)
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
        )
    if isinstance(error, _CANCELLING):
        return _CANCELLED
    if isinstance(error, QueueTimeout):
        return _QUEUE_TIMEOUT
    return _PROVIDER_TIMEOUT if isinstance(error, TimeoutError) else _UNEXPECTED
