"""What a server says of its limits, in the headers of an answer: how long to wait, what is left.

Reads the forms of OpenAI (and of the many who follow it), Azure and Anthropic, and writes them for
the embedded endpoint. Must not know what is done with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Literal

from ddsched_nb.core.model import Quota, QuotaUnit

__all__ = ["QuotaForm", "quota_headers", "read_quotas", "retry_after_s", "spent_quota"]

MAX_RETRY_AFTER_S = 86_400.0
"""A server that asks for more than a day is not believed."""

QuotaForm = Literal["openai", "azure", "anthropic"]

_NUMBER = re.compile(r"\d+(\.\d+)?")
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)
_UNITS: tuple[QuotaUnit, ...] = ("requests", "tokens")
# The last is asked where Anthropic does not speak of tokens as a whole.
_ANTHROPIC: dict[QuotaUnit, tuple[str, ...]] = {
    "requests": ("requests",),
    "tokens": ("tokens", "input-tokens", "output-tokens"),
}


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Reads how long a server asks to wait.

    Args:
        headers: Response headers, with case-insensitive lookup.

    Returns:
        Seconds in 0..86,400 from `retry-after-ms` or `Retry-After` (seconds or an HTTP date);
        None where there is nothing believable.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _believable(milliseconds / 1000)
    value = headers.get("Retry-After")
    seconds = _number(value)
    return _believable(_until(value, headers.get("Date")) if seconds is None else seconds)


def read_quotas(headers: Mapping[str, str]) -> tuple[Quota, ...]:
    """Reads what a server says of its quotas per minute.

    Args:
        headers: Response headers, with case-insensitive lookup.

    Returns:
        A quota for each unit that the server speaks of; `reset_s` from `6m0s`, `20ms`, a bare
        number of seconds, or a date against the server's own `Date`.
    """
    found = []
    for unit in _UNITS:
        limit = _number(headers.get(f"x-ratelimit-limit-{unit}"))
        left = _number(headers.get(f"x-ratelimit-remaining-{unit}"))
        if limit is not None or left is not None:
            reset = _duration(headers.get(f"x-ratelimit-reset-{unit}"))
            found.append(Quota(unit, limit, left, reset))
    if found or "anthropic-ratelimit-requests-remaining" not in headers:
        return tuple(found)
    for unit, names in _ANTHROPIC.items():
        told = [quota for name in names if (quota := _anthropic(headers, unit, name)) is not None]
        if told:
            # Of several, the one that is nearest its end.
            found.append(min(told, key=lambda quota: _share_left(quota)))
    return tuple(found)


def spent_quota(quotas: Iterable[Quota], said: str) -> QuotaUnit | None:
    """Which quota a refusal says is spent.

    Args:
        quotas: What its headers say.
        said: Type and code of its error, as OpenAI and others give them.

    Returns:
        The unit; None where the refusal speaks of none.
    """
    empty = [q for q in quotas if q.remaining is not None and q.remaining < 1]
    if empty:
        return max(empty, key=lambda quota: quota.reset_s or 0.0).unit
    for unit in _UNITS:
        if unit in said.split("/"):
            return unit
    return None


def quota_headers(form: QuotaForm, quotas: Iterable[Quota], now: float) -> dict[str, str]:
    """Writes quotas as a server of this form does.

    Args:
        form: Whose form.
        quotas: What is said.
        now: Seconds on the server's clock; its day is of no matter, since the date is sent along.
    """
    headers: dict[str, str] = {}
    date = _SOME_DAY + timedelta(seconds=now)
    for unit, limit, left, reset_s in quotas:
        reset, remaining = reset_s or 0.0, str(int(left or 0))
        if form == "anthropic":
            name = f"anthropic-ratelimit-{unit}"
            headers |= {f"{name}-limit": str(int(limit or 0)), f"{name}-remaining": remaining}
            at = date + timedelta(seconds=reset)
            headers[f"{name}-reset"] = at.strftime("%Y-%m-%dT%H:%M:%SZ")
            headers["Date"] = format_datetime(date, usegmt=True)
        else:
            headers[f"x-ratelimit-limit-{unit}"] = str(int(limit or 0))
            headers[f"x-ratelimit-remaining-{unit}"] = remaining
            shown = f"{reset:.0f}" if form == "azure" else _spelled(reset)
            headers[f"x-ratelimit-reset-{unit}"] = shown
    return headers


def _anthropic(headers: Mapping[str, str], unit: QuotaUnit, name: str) -> Quota | None:
    prefix = f"anthropic-ratelimit-{name}"
    limit, left = (
        _number(headers.get(f"{prefix}-limit")),
        _number(headers.get(f"{prefix}-remaining")),
    )
    if limit is None and left is None:
        return None
    return Quota(unit, limit, left, _until_iso(headers.get(f"{prefix}-reset"), headers.get("Date")))


def _share_left(quota: Quota) -> float:
    if quota.remaining is None:
        return 1.0
    return quota.remaining / quota.limit if quota.limit else quota.remaining


def _spelled(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    minutes, left = divmod(seconds, 60)
    return f"{int(minutes)}m{left:.3g}s" if minutes else f"{left:.3g}s"


def _number(value: str | None) -> float | None:
    return float(value) if value and _NUMBER.fullmatch(value.strip()) else None


def _duration(value: str | None) -> float | None:
    if not value:
        return None
    seconds = _number(value)
    if seconds is not None:
        return _believable(seconds)
    parts = _DURATION.fullmatch(value.strip())
    if parts is None:
        return None
    hours, minutes, whole, thousandths = (float(part or 0) for part in parts.groups())
    return _believable(3600 * hours + 60 * minutes + whole + thousandths / 1000)


def _until(value: str | None, sent: str | None) -> float | None:
    # Against the server's own Date header: our clock may be off, and decisions read no wall clock.
    if not value or not sent:
        return None
    try:
        return (parsedate_to_datetime(value) - parsedate_to_datetime(sent)).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return None


def _until_iso(value: str | None, sent: str | None) -> float | None:
    if not value or not sent:
        return None
    try:
        at = datetime.fromisoformat(value.strip())
        seconds = (at.astimezone(UTC) - parsedate_to_datetime(sent)).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return None
    return _believable(max(0.0, seconds))


def _believable(seconds: float | None) -> float | None:
    return seconds if seconds is not None and 0 <= seconds <= MAX_RETRY_AFTER_S else None
