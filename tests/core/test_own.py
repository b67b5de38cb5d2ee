"""Limits and task policies that are not of this package: what is filled in, what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from ddsched_nb.core.limits import LIMITS, FixedLimit, RampLimit, limit_from
from ddsched_nb.core.limits.own import CheckedLimit
from ddsched_nb.core.model import (
    LLM_WAIT,
    SUBMISSION,
    Admit,
    Deny,
    DenyReason,
    Flow,
    FlowKey,
    Lease,
    OutcomeKind,
    ReadyTask,
    Sample,
    Task,
)
from ddsched_nb.core.own_policy import CheckedPolicy, policy_from
from ddsched_nb.core.task_policies import POLICIES, BoundedBorrow, StrictFair
from ddsched_nb.errors import ContractError

SAMPLE = Sample(0.0, 1.0, 1.0, 4, 8, 4, OutcomeKind.SUCCESS)


class Least:
    """A limit with no more than it needs."""

    def __init__(self, cap: int) -> None:
        self.limit: Any = 2.5
        self.seen: list[Sample] = []

    def on_sample(self, sample: Sample) -> None:
        self.seen.append(sample)

    def value(self, now: float) -> Any:
        return self.limit


def test_what_a_limit_leaves_out_is_filled_in() -> None:
    limit = limit_from(Least, 8)
    assert (limit.name, limit.cooldown, limit.signals) == ("Least", "spent", ("refusals",))
    assert (limit.value(0.0), limit.next_change(0.0), limit.pause(0.0)) == (2, math.inf, 1.0)
    limit.forgive(0.0)
    limit.on_sample(SAMPLE)


def test_a_value_above_the_cap_is_the_cap_also_a_new_one() -> None:
    made = Least(8)
    made.limit = 1e9
    limit = limit_from(lambda cap: made, 8)
    assert limit.value(0.0) == 8
    limit.recap(3)
    assert limit.value(0.0) == 3
    limit.recap(16)
    assert limit.value(0.0) == 16


def test_what_a_limit_says_itself_is_heard() -> None:
    class Whole(Least):
        name = "whole"
        cooldown = "always"
        signals = ("latency",)
        fair = True
        cap = 0

        def next_change(self, now: float) -> float:
            return now + 2

        def pause(self, now: float) -> float:
            return 0.25

        def recap(self, cap: int) -> None:
            self.cap = cap

        def forgive(self, now: float) -> None:
            self.limit = 7

    made = Whole(8)
    limit = limit_from(lambda cap: made, 8)
    assert (limit.name, limit.cooldown, limit.signals) == ("whole", "always", ("latency",))
    assert getattr(limit, "fair")  # noqa: B009 - no part of every limit
    assert (limit.next_change(1.0), limit.pause(1.0)) == (3.0, 0.25)
    limit.recap(5)
    limit.forgive(0.0)
    assert (made.cap, limit.value(0.0)) == (5, 5)


def test_the_limits_of_the_package_are_taken_as_they_are() -> None:
    for kind in LIMITS:
        assert type(limit_from(kind, 4)) is kind
    # Around one of the package there may be one that is not.
    assert isinstance(
        limit_from(lambda cap: RampLimit(FixedLimit(cap), ramp_s=1.0), 4), CheckedLimit
    )


@pytest.mark.parametrize("value", [0, 0.99, -3, math.nan, math.inf, None, "8"])
def test_a_value_that_is_no_limit_is_refused_at_the_next_sample(value: Any) -> None:
    made = Least(8)
    limit = limit_from(lambda cap: made, 8)
    assert limit.value(0.0) == 2
    made.limit = value
    assert limit.value(3.0) == 2, "the last usable one"
    with pytest.raises(ContractError, match=r"limit 'Least': value at 3 s .*at least 1"):
        limit.on_sample(SAMPLE)
    made.limit = 4
    with pytest.raises(ContractError):
        limit.on_sample(SAMPLE)
    assert limit.value(4.0) == 2
    assert made.seen == []


@pytest.mark.parametrize(
    ("method", "answer", "said"),
    [
        ("next_change", 3.0, "next_change at 3 s is 3.0; give a later instant"),
        ("next_change", math.nan, "is nan"),
        ("pause", -1.0, "pause at 3 s is -1.0; give 0 or more seconds"),
        ("pause", math.inf, "is inf"),
    ],
)
def test_other_answers_that_no_pool_can_use(method: str, answer: float, said: str) -> None:
    made = Least(8)
    setattr(made, method, lambda now: answer)
    limit = limit_from(lambda cap: made, 8)
    assert getattr(limit, method)(3.0) in (math.inf, 1.0)
    with pytest.raises(ContractError, match=said):
        limit.on_sample(SAMPLE)


def test_what_a_limit_raises_is_said_and_chained() -> None:
    class Broken(Least):
        def on_sample(self, sample: Sample) -> None:
            raise ZeroDivisionError("by nothing")

    with pytest.raises(ContractError, match="on_sample at 1 s raised ZeroDivisionError") as caught:
        limit_from(Broken, 8).on_sample(SAMPLE)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"on_sample": None}, "lacks on_sample;"),
        ({"on_sample": 1, "value": 2}, "lacks on_sample and value;"),
        ({"cooldown": "never"}, "cooldown has 'never'; give one of always, spent"),
        ({"signals": ("noise",)}, "signals has 'noise'; give one of refusals, latency"),
    ],
)
def test_what_is_no_limit_is_refused_when_it_is_made(fields: dict[str, Any], said: str) -> None:
    kind = type("Odd", (Least,), fields)
    with pytest.raises(ContractError, match=said):
        limit_from(kind, 8)


A = Flow(FlowKey("local", ("a",)), 1.0, ((SUBMISSION, 1),))
READY = ReadyTask(Task("a", 0, 1), "a/0/1", A, None, 0)
LEASE = Lease(1, 1, A.key, A.resources, "a/0/1", A.resources)
Decide = Callable[..., Any]


def policy(verdict: Any) -> CheckedPolicy:
    class Says:
        def decide(self, *asked: object) -> Any:
            return verdict

    made = policy_from(Says)
    assert isinstance(made, CheckedPolicy)
    return made


@pytest.mark.parametrize(
    ("verdict", "held", "debt", "contended", "said"),
    [
        (True, {}, {}, True, "decide gave True; give an Admit or a Deny"),
        (Admit(((SUBMISSION, 2),)), {}, {}, True, r"borrowed of 'submission' is 2; give 1\.\.1"),
        (Admit(((LLM_WAIT, 1),)), {}, {}, True, r"borrowed of 'llm_wait' is 1; give 1\.\.0"),
        (Admit(((SUBMISSION, 0),)), {}, {}, True, "borrowed of 'submission' is 0"),
        (Deny(DenyReason.OVER_SHARE, LLM_WAIT), {}, {}, True, "which the task does not take"),
        (Deny(DenyReason.RESOURCE_FULL, SUBMISSION), {SUBMISSION: 1}, {}, True, "resource_full"),
        (Deny(DenyReason.AT_CEILING, SUBMISSION), {}, {}, True, "would wait for ever"),
        (Deny(DenyReason.IN_DEBT, SUBMISSION), {SUBMISSION: 1}, {}, True, "owes 0"),
        (Deny(DenyReason.OVER_SHARE, SUBMISSION), {SUBMISSION: 1}, {}, False, "without end"),
        (
            Deny(DenyReason.IN_DEBT, SUBMISSION),
            {SUBMISSION: 1},
            {SUBMISSION: 1},
            False,
            "without end",
        ),
    ],
)
def test_a_verdict_that_cannot_be_used(
    verdict: Any, held: Any, debt: Any, contended: bool, said: str
) -> None:
    with pytest.raises(ContractError, match=said) as caught:
        policy(verdict).decide(READY, held, debt, {SUBMISSION: 1}, contended)
    assert str(caught.value).startswith("task policy 'Says', task a/0/1: ")


@pytest.mark.parametrize(
    ("verdict", "debt", "contended"),
    [
        (Admit(), {}, False),
        (Admit(((SUBMISSION, 1),)), {}, True),
        (Deny(DenyReason.OVER_SHARE, SUBMISSION), {}, True),
        (Deny(DenyReason.IN_DEBT, SUBMISSION), {SUBMISSION: 1}, True),
        (Deny(DenyReason.AT_CEILING, SUBMISSION), {}, False),
    ],
)
def test_a_verdict_that_can_be_used_passes(verdict: Any, debt: Any, contended: bool) -> None:
    said = policy(verdict).decide(READY, {SUBMISSION: 2}, debt, {SUBMISSION: 1}, contended)
    assert said == verdict


def test_who_says_nothing_of_repayment_repays_as_strict_fair_does() -> None:
    debt = {SUBMISSION: 2}
    assert policy(Admit()).repayment(LEASE, debt) == StrictFair().repayment(LEASE, debt)
    assert policy(Admit()).name == "Says"


@pytest.mark.parametrize("paid", [((SUBMISSION, 3),), ((LLM_WAIT, 1),), ((SUBMISSION, -1),), None])
def test_a_repayment_that_cannot_be_used_is_refused_at_the_next_verdict(paid: Any) -> None:
    class Pays:
        def decide(self, *asked: object) -> Admit:
            return Admit()

        def repayment(self, lease: Lease, debt: Any) -> Any:
            return paid

    made = policy_from(Pays)
    assert made.repayment(LEASE, {SUBMISSION: 2}) == ((SUBMISSION, 1),), "the lease is booked"
    with pytest.raises(ContractError, match="task policy 'Pays', task a/0/1: repayment"):
        made.decide(READY, {}, {}, {SUBMISSION: 1}, False)


def test_the_policies_of_the_package_are_taken_as_they_are() -> None:
    for kind in POLICIES:
        assert type(policy_from(kind)) is kind
    assert type(policy_from(lambda: BoundedBorrow(ceiling=1))) is BoundedBorrow
    with pytest.raises(ContractError, match="'object' is no task policy: it lacks decide"):
        policy_from(object)  # type: ignore[arg-type]
