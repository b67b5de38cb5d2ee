from __future__ import annotations

import json

import pytest
from multidict import CIMultiDict

from ddsched_nb.clients.failures import FailureReader
from ddsched_nb.clients.keys import NO_KEY, ApiKey
from ddsched_nb.clients.quotas import retry_after_s

SENT = "Mon, 23 Nov 2026 10:00:00 GMT"
READER = FailureReader("acme", NO_KEY)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"Retry-After": "2"}, 2.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "86400"}, 86_400.0),
        ({"Retry-After": "86401"}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "1e3"}, None),
        ({"Retry-After": "1_0"}, None),
        ({"Retry-After": ""}, None),
        ({"retry-after-ms": "250", "Retry-After": "1"}, 0.25),
        ({"retry-after-ms": "soon", "Retry-After": "1"}, 1.0),
        ({"Retry-After": "Mon, 23 Nov 2026 10:01:30 GMT", "Date": SENT}, 90.0),
        ({"Retry-After": "Mon, 23 Nov 2026 09:59:59 GMT", "Date": SENT}, None),
        ({"Retry-After": "Wed, 25 Nov 2026 10:00:00 GMT", "Date": SENT}, None),
        ({"Retry-After": "Mon, 23 Nov 2026 10:01:30 GMT"}, None),
        ({"Retry-After": "Mon, 23 Nov 2026 10:01:30 -0000", "Date": SENT}, None),
        ({"Retry-After": "Mon, 23 Nov 2026 10:01:30 GMT", "Date": "nonsense"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after_s(CIMultiDict(headers)) == expected


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, "provider_failure", False),
        (401, "provider_failure", False),
        (403, "provider_failure", False),
        (404, "provider_failure", False),
        (408, "provider_failure", True),
        (409, "provider_failure", True),
        (422, "provider_failure", False),
        (429, "rate_limited", True),
        (500, "provider_failure", True),
        (503, "provider_failure", True),
        (529, "provider_failure", True),
    ],
)
def test_statuses(status: int, kind: str, retryable: bool) -> None:
    error = READER.of_status("m", status, {}, b"")
    assert (error.kind, error.status, error.retryable) == (kind, status, retryable)
    assert str(error).startswith(f"acme/m: HTTP {status}")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({"error": {"type": "rate_limit_error", "code": "slow_down"}}, "rate_limit_error/slow_dow"),
        ({"error": {"type": "overloaded", "code": "overloaded"}}, "(overloaded)"),
        ({"type": "BadRequestError", "code": 400}, "(BadRequestError)"),
        ({"error": {"type": "the prompt was: my secret"}}, "HTTP 400"),
        ({"error": "my secret"}, "HTTP 400"),
        (["my secret"], "HTTP 400"),
    ],
)
def test_only_identifiers_of_the_server_are_shown(said: object, shown: str) -> None:
    error = READER.of_status("m", 400, {}, json.dumps(said).encode())
    assert shown in str(error)
    assert "secret" not in str(error)


def test_what_the_server_says_is_kept_in_detail_and_cut() -> None:
    error = READER.of_status("m", 400, {}, b"the prompt was: " + b"x" * 10_000)
    assert error.detail.startswith("the prompt was: ")
    assert len(error.detail) == 2_000


def test_a_key_as_error_code_is_not_shown() -> None:
    reader = FailureReader("acme", ApiKey.read("sk-canary"))
    error = reader.of_status("m", 401, {}, b'{"error": {"code": "sk-canary"}}')
    assert "sk-canary" not in str(error) + error.detail


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_names_where_it_came_from(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_KEY", "sk-canary")
    error = FailureReader("acme", ApiKey.read("env:ACME_KEY")).of_status("m", status, {}, b"")
    assert "check the API key from $ACME_KEY" in str(error)


def test_an_error_with_a_good_status_is_read_by_its_code() -> None:
    body = b'{"error": {"code": 429, "message": "slow"}}'
    error = READER.of_error_in_answer("m", 200, {"code": 429}, {"Retry-After": "3"}, body)
    assert (error.kind, error.status, error.retry_after) == ("rate_limited", 429, 3.0)
    error = READER.of_error_in_answer("m", 200, {"code": "odd"}, {}, body)
    assert (error.kind, error.status, error.retryable) == ("provider_failure", 200, True)
