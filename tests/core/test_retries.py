"""Retries: refusals use up nothing, failures a budget, silence ends it."""

from __future__ import annotations

import math

import pytest

from ddsched_nb.core.model import Outcome, OutcomeKind, Task
from ddsched_nb.core.retries import CallHistory, Deferrals, Deferred, GiveUp, Retry, RetryPlan

PLAN = RetryPlan(max_attempts=3, initial_backoff_s=0.5, max_backoff_s=4.0, stall_timeout_s=100.0)
FAILED = Outcome(OutcomeKind.PROVIDER_FAILURE)
REFUSED = Outcome(OutcomeKind.RATE_LIMITED)


def after(*outcomes: tuple[float, Outcome]) -> CallHistory:
    history = CallHistory()
    for now, outcome in outcomes:
        history = history.after(outcome, now)
    return history


def test_a_failure_waits_twice_as_long_each_time_and_then_gives_up() -> None:
    history, decisions = CallHistory(), []
    for now in range(3):
        history = history.after(FAILED, now)
        decisions.append(PLAN.decide(FAILED, history, now, last_success_at=-math.inf))
    assert decisions == [Retry(0.5), Retry(2.0), GiveUp("exhausted")]


def test_what_cannot_be_retried_gives_up_at_once() -> None:
    outcome = Outcome(OutcomeKind.PROVIDER_FAILURE, retryable=False)
    decision = PLAN.decide(outcome, after((0.0, outcome)), 0.0, last_success_at=0.0)
    assert decision == GiveUp("not_retryable")


def test_a_key_that_never_worked_is_not_tried_again_and_one_that_did_loses_the_call() -> None:
    denied = Outcome(OutcomeKind.PROVIDER_FAILURE, retryable=False, denied=True)
    history = after((5.0, denied))
    assert PLAN.decide(denied, history, 5.0, last_success_at=-math.inf) == GiveUp("denied")
    assert PLAN.decide(denied, history, 5.0, last_success_at=4.0) == GiveUp("not_retryable")


def test_f15_a_refusal_never_gives_up_while_the_endpoint_serves() -> None:
    history = CallHistory()
    for n in range(10_000):
        history = history.after(REFUSED, float(n))
        decision = PLAN.decide(REFUSED, history, float(n), last_success_at=n - 50.0)
        assert isinstance(decision, Retry)
        assert n < decision.not_before <= n + PLAN.max_backoff_s
    assert history.failures == 0


def test_retry_after_binds_the_refused_call() -> None:
    asked = Outcome(OutcomeKind.RATE_LIMITED, retry_after=7.5)
    assert PLAN.decide(asked, after((2.0, asked)), 2.0, last_success_at=0.0) == Retry(9.5)
    failed = Outcome(OutcomeKind.PROVIDER_FAILURE, retry_after=7.5)
    assert PLAN.decide(failed, after((2.0, failed)), 2.0, last_success_at=0.0) == Retry(9.5)


@pytest.mark.parametrize(
    ("last_success_at", "now", "stalls"),
    [(-math.inf, 99.9, False), (-math.inf, 100.0, True), (50.0, 149.0, False), (50.0, 150.0, True)],
)
def test_silence_for_too_long_is_a_stall(last_success_at: float, now: float, stalls: bool) -> None:
    history = after((0.0, REFUSED), (now, REFUSED))
    decision = PLAN.decide(REFUSED, history, now, last_success_at=last_success_at)
    assert (decision == GiveUp("stalled")) is stalls


def test_a_backoff_never_overflows() -> None:
    history = CallHistory(0, 100_000, 0.0)
    decision = PLAN.decide(REFUSED, history, 1.0, last_success_at=1.0)
    assert decision == Retry(5.0)


def test_a_cell_is_put_aside_a_bounded_number_of_times() -> None:
    deferrals, task = Deferrals(max_deferrals=2, delay_s=2.0), Task("a", 0, 1)
    assert deferrals.defer(task, 10.0) == Deferred(12.0, 1)
    assert deferrals.next_deadline == 12.0
    assert deferrals.due(11.9) == []
    assert deferrals.due(12.0) == [(task, 1)]
    assert deferrals.defer(task, 20.0) == Deferred(24.0, 2)
    assert deferrals.due(24.0) == [(task, 2)]
    assert deferrals.defer(task, 30.0) is None
    assert deferrals.next_deadline == math.inf


def test_a_cell_that_ended_is_forgotten() -> None:
    deferrals, task = Deferrals(max_deferrals=1), Task("a", 0, 1)
    deferrals.defer(task, 0.0)
    deferrals.due(100.0)
    deferrals.forget(task)
    assert deferrals.defer(task, 0.0) is not None


def test_refusals_and_failures_are_counted_apart() -> None:
    history = after((1.0, FAILED), (2.0, REFUSED), (3.0, FAILED), (4.0, REFUSED))
    assert history == CallHistory(failures=2, refusals=2, waiting_since=2.0, excused=True)
    # Refusals have their own backoff: the second one waits as a second one does.
    assert PLAN.decide(REFUSED, history, 4.0, last_success_at=3.0) == Retry(5.0)
