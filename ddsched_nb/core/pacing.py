"""Pacing: requests and tokens per minute, beside the limit on what is in flight.

Two buckets (`core.bucket`), and what is taken from them for a request whose answer is not there
yet. Pure: `now` comes in, and the earliest instant at which a request fits comes out.
"""

from __future__ import annotations

from typing import NamedTuple

from ddsched_nb.core.bucket import FOLLOW, Bucket, PacingStatistics
from ddsched_nb.core.model import Outcome, OutcomeKind, QuotaUnit

# As often as a request is made: an enum's member, looked up, costs as much as what is below.
_SUCCESS = OutcomeKind.SUCCESS


class Ticking(NamedTuple):
    """What was taken from the buckets for one request."""

    tokens: float
    requests_mark: float
    tokens_mark: float
    sent_at: float


class Pacing:
    """The quotas per minute of one pool, or of several pools that share a budget.

    Args:
        requests_per_minute: As declared by the user; learned if None.
        tokens_per_minute: The same for tokens of prompts and answers.
    """

    __slots__ = ("_answer_tokens", "_declared", "_deviation", "_requests", "_tokens")

    def __init__(
        self,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
    ) -> None:
        self._declared = (requests_per_minute, tokens_per_minute)
        self._requests = Bucket("requests", requests_per_minute)
        self._tokens = Bucket("tokens", tokens_per_minute)
        self._answer_tokens = self._deviation = 0.0

    def ready_at(self, tokens: float, now: float) -> float:
        """When a request with a prompt of so many tokens fits; `now` if it does."""
        if self._requests.rate is None and self._tokens.rate is None:
            return now
        at = self._requests.ready_at(1.0, now)
        return max(at, self._tokens.ready_at(tokens + self._answer_tokens, now))

    def spend(self, tokens: float, now: float) -> Ticking:
        """Takes a request with a prompt of so many tokens from the quotas."""
        estimate = tokens + self._answer_tokens
        marks = self._requests.spend(1.0, now), self._tokens.spend(estimate, now)
        return tuple.__new__(Ticking, (estimate, *marks, now))

    def settle(self, taken: Ticking, outcome: Outcome, now: float) -> None:
        """Sets right what was taken for a request, and hears what the server said."""
        kind = outcome.kind
        self._requests.open -= 1
        self._tokens.open -= 1
        if kind is _SUCCESS:
            if outcome.usage is None and not outcome.quotas:
                return  # nothing was said
            if outcome.usage is not None:
                used = float(outcome.usage.total_tokens)
                self._tokens.correct(taken.tokens - used, taken.tokens_mark)
                off = outcome.usage.completion_tokens - self._answer_tokens
                self._answer_tokens += FOLLOW * off
                self._deviation += FOLLOW * (abs(off) - self._deviation)
                self._tokens.deviation = self._deviation
        elif kind in (OutcomeKind.RATE_LIMITED, OutcomeKind.LOCAL_CANCELLED):
            self._tokens.correct(taken.tokens, taken.tokens_mark)
            self._requests.correct(1.0, taken.requests_mark)
        if kind is OutcomeKind.RATE_LIMITED and outcome.spent is not None:
            by_request = outcome.spent == "requests"
            bucket = self._requests if by_request else self._tokens
            amount = 1.0 if by_request else taken.tokens
            mark = taken.requests_mark if by_request else taken.tokens_mark
            bucket.refused(amount, mark, taken.sent_at, now, outcome.retry_after)
        for quota in outcome.quotas:
            bucket = self._requests if quota.unit == "requests" else self._tokens
            mark = taken.requests_mark if quota.unit == "requests" else taken.tokens_mark
            bucket.hear(quota, mark, taken.sent_at, now)

    @property
    def declared(self) -> tuple[float | None, float | None]:
        """The declared rates per minute, of requests and of tokens."""
        return self._declared

    @property
    def learned(self) -> bool:
        """Whether refusals have taught a rate."""
        return self._requests.learned or self._tokens.learned

    def suspect(
        self, taken: Ticking, outcome: Outcome, served: int, now: float
    ) -> QuotaUnit | None:
        """The quota for want of which a refusal came that does not say why; None if for none.

        Args:
            taken: What was taken for the request.
            outcome: The refusal.
            served: How many were in flight and served.
            now: The instant.
        """
        if outcome.quotas or outcome.spent is not None:
            return None
        found: QuotaUnit | None = None
        for bucket, mark, other in (
            (self._requests, taken.requests_mark, self._tokens),
            (self._tokens, taken.tokens_mark, self._requests),
        ):
            wait = outcome.retry_after
            if bucket.suspect(mark, taken.sent_at, now, wait, served, rival=other):
                found = bucket.unit
        return found

    def statistics(self) -> tuple[PacingStatistics, PacingStatistics]:
        """How requests and tokens stand."""
        return self._requests.statistics(), self._tokens.statistics()
