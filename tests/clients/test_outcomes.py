from __future__ import annotations

import asyncio

import pytest

from ddsched_nb.clients.base import ChatRequest, Completion
from ddsched_nb.clients.outcomes import classify
from ddsched_nb.core.model import Outcome, OutcomeKind, Usage
from ddsched_nb.errors import ProviderError, QueueTimeout


def test_no_error_is_success_with_its_usage() -> None:
    assert classify(None) == Outcome(OutcomeKind.SUCCESS)
    assert classify(None, Usage(3, 4)).usage == Usage(3, 4)


@pytest.mark.parametrize("kind", ["rate_limited", "provider_failure", "provider_timeout"])
@pytest.mark.parametrize("retryable", [True, False])
def test_a_provider_error_keeps_what_it_says(kind: str, retryable: bool) -> None:
    error = ProviderError("x", kind=kind, retryable=retryable, retry_after=2.5)  # type: ignore[arg-type]
    assert classify(error) == Outcome(OutcomeKind(kind), 2.5, None, retryable)


def test_r12_a_timeout_without_status_is_the_providers() -> None:
    assert classify(TimeoutError()).kind is OutcomeKind.PROVIDER_TIMEOUT
    assert classify(TimeoutError()).retryable


def test_f03_a_wait_for_admission_is_not_the_providers_timeout() -> None:
    assert classify(QueueTimeout("late")).kind is OutcomeKind.LOCAL_TIMEOUT


@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyboardInterrupt()])
def test_r11_a_cancellation_is_ours(error: BaseException) -> None:
    assert classify(error).kind is OutcomeKind.LOCAL_CANCELLED


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("x"), MemoryError()])
def test_anything_else_is_unexpected_and_not_tried_again(error: Exception) -> None:
    outcome = classify(error)
    assert outcome.kind is OutcomeKind.UNEXPECTED_EXCEPTION
    assert not outcome.retryable


def test_reprs_hide_what_users_and_models_wrote() -> None:
    request = ChatRequest("m", ({"role": "user", "content": "my secret"},), {"user": "me"})
    assert repr(request) == "ChatRequest(model='m')"
    assert "my secret" not in repr(Completion("my secret", Usage(1, 2), "stop", "m"))
