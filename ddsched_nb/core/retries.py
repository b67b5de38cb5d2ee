"""Retries: after a failed attempt, when again, and when no more?

Two levels. A call is tried again where it stands by whoever holds it (`RetryPlan`): calls already
paid for are not repeated. A cell whose call cannot go on is put aside and run again later
(`Deferrals`), a bounded number of times. Refusals (429) use up neither budget, and so do failures
of an endpoint that served before and is not there now: only one that serves nothing for
`stall_timeout_s` ends them. Nothing here waits or reads a clock.
"""

from __future__ import annotations

import math
from heapq import heappop, heappush
from typing import Literal, NamedTuple

from ddsched_nb.core.model import Outcome, OutcomeKind, Task
from ddsched_nb.core.run_limits import RetryBudget

GiveUpReason = Literal["not_retryable", "denied", "exhausted", "stalled"]


class Retry(NamedTuple):
    """Try the call again, not before an instant."""

    not_before: float


class GiveUp(NamedTuple):
    """Do not try the call again here."""

    reason: GiveUpReason


class CallHistory(NamedTuple):
    """What a call went through so far.

    Attributes:
        failures: Failed attempts that count against the budget.
        refusals: Attempts that do not: they were refused, or nobody was there who had been.
        waiting_since: When the first of these was; `inf` before that.
        excused: Whether the last attempt was one of them.
    """

    failures: int = 0
    refusals: int = 0
    waiting_since: float = math.inf
    excused: bool = False

    def after(self, outcome: Outcome, now: float, *, silent: bool = False) -> CallHistory:
        """The history with one more failed attempt.

        Args:
            outcome: How it failed.
            now: The instant.
            silent: Whether the call's pool serves nothing, and did before.
        """
        since = min(self.waiting_since, now)
        gone = outcome.unavailable and silent
        if outcome.kind is OutcomeKind.RATE_LIMITED or gone:
            return CallHistory(self.failures, self.refusals + 1, since, True)
        return CallHistory(self.failures + 1, self.refusals, self.waiting_since)


class RetryPlan(NamedTuple):
    """Decides about a failed attempt of a call. All durations in seconds.

    Attributes:
        max_attempts: Attempts of one call that may fail at the provider, the first included.
        initial_backoff_s: Delay after the first failure; doubles with each further one.
        max_backoff_s: The delay never exceeds it.
        stall_timeout_s: A call refused for so long, with no success in its pool meanwhile, stalls.
    """

    max_attempts: int = 3
    initial_backoff_s: float = 0.5
    max_backoff_s: float = 30.0
    stall_timeout_s: float = 300.0

    def decide(
        self, outcome: Outcome, history: CallHistory, now: float, *, last_success_at: float
    ) -> Retry | GiveUp:
        """Answers for the attempt that just failed.

        Args:
            outcome: How it failed.
            history: The call's history, this attempt included (`CallHistory.after`).
            now: The instant of the failure.
            last_success_at: When the call's pool last served anything; `-inf` if never.
        """
        if outcome.kind is OutcomeKind.RATE_LIMITED or history.excused:
            quiet_since = max(history.waiting_since, last_success_at)
            if now - quiet_since >= self.stall_timeout_s:
                return GiveUp("stalled")
            asked = outcome.retry_after
            return Retry(now + (self._backoff(history.refusals) if asked is None else asked))
        if outcome.denied and last_success_at == -math.inf:
            return GiveUp("denied")  # whoever asks with this key is told the same
        if not outcome.retryable:
            return GiveUp("not_retryable")
        if history.failures >= self.max_attempts:
            return GiveUp("exhausted")
        return Retry(now + max(outcome.retry_after or 0.0, self._backoff(history.failures)))

    def _backoff(self, failures: int) -> float:
        # No jitter: retries pass the paced admission, which spreads them.
        doublings = min(failures - 1, 64)
        return min(self.max_backoff_s, self.initial_backoff_s * 2.0**doublings)


class Deferred(NamedTuple):
    """A cell was put aside until `not_before`; this is its `round`-th time."""

    not_before: float
    round: int


class Deferrals:
    """Cells put aside, until when and how often.

    Args:
        max_deferrals: How often one cell may be put aside.
        delay_s: Seconds until it is tried again; doubles with each round.
        budget: Retries that the run may spend; without bound if None.
    """

    def __init__(
        self, max_deferrals: int = 2, delay_s: float = 2.0, budget: RetryBudget | None = None
    ) -> None:
        self._max = max_deferrals
        self._delay_s = delay_s
        self._budget = budget or RetryBudget()
        self._due: list[tuple[float, int, Task]] = []
        self._rounds: dict[Task, int] = {}
        self._order = 0

    def __len__(self) -> int:
        return len(self._due)

    def defer(self, task: Task, now: float) -> Deferred | None:
        """Puts a cell aside, or answers None if its budget is used up."""
        rounds = self._rounds.get(task, 0) + 1
        if rounds > self._max or not self._budget.spend():
            self.forget(task)
            return None
        self._rounds[task] = rounds
        self._order += 1
        not_before = now + self._delay_s * 2.0 ** (rounds - 1)
        heappush(self._due, (not_before, self._order, task))
        return Deferred(not_before, rounds)

    def due(self, now: float) -> list[tuple[Task, int]]:
        """Takes out the cells whose time has come, each with its round."""
        tasks = []
        while self._due and self._due[0][0] <= now:
            task = heappop(self._due)[2]
            tasks.append((task, self._rounds.get(task, 0)))
        return tasks

    def forget(self, task: Task) -> None:
        """Forgets how often a cell was put aside: it ended."""
        self._rounds.pop(task, None)

    @property
    def next_deadline(self) -> float:
        """When the next cell comes due; `inf` if none waits."""
        return self._due[0][0] if self._due else math.inf
