"""Tries whether a limit or a task policy of one's own keeps what each of them must keep.

What a run checks on the way (see `core.limits.own`, `core.own_policy`) is tried here at once, over
histories that are drawn at random, and so is what a run cannot see: that asking changes nothing,
that equal histories give equal answers, and that all work gets done.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from ddsched_nb.core.dispatch import Denied, Dispatcher
from ddsched_nb.core.limits import Limit, OwnLimit, limit_from
from ddsched_nb.core.model import (
    LLM_WAIT,
    REMOTE_OUTCOMES,
    SUBMISSION,
    Admit,
    Deny,
    Flow,
    FlowKey,
    Lease,
    OutcomeKind,
    ReadyTask,
    Resources,
    Sample,
    Task,
)
from ddsched_nb.core.own_policy import CheckedPolicy, OwnTaskPolicy, policy_from
from ddsched_nb.core.task_admission import TaskAdmission
from ddsched_nb.core.task_policies import TaskPolicy, Units
from ddsched_nb.errors import ContractError

__all__ = ["check_limit", "check_task_policy"]

_CAPS = (1, 2, 7, 64, 1_000)
_SAMPLES = 400
_OUTCOMES = sorted(REMOTE_OUTCOMES)
_STEPS = 400
_MOST_ASKED = 1_000


def check_limit(make: Callable[[int], OwnLimit], *, seed: int = 0) -> None:
    """Tries a limit over histories of successes, failures and refusals, at several caps.

    Args:
        make: Makes the limit from a cap: its class, or a function.
        seed: Decides the histories.

    Raises:
        ContractError: What it does not keep, at which cap and after how many samples.
    """
    for cap in _CAPS:
        dice = random.Random(f"limit|{seed}|{cap}")
        # The last stretch is nothing but refusals: a limit of 0 would be the end.
        kinds = [dice.choice(_OUTCOMES) for _ in range(_SAMPLES)]
        kinds += [OutcomeKind.SUCCESS] * _SAMPLES + [OutcomeKind.RATE_LIMITED] * _SAMPLES
        limit, twin, now = limit_from(make, cap), limit_from(make, cap), 0.0
        for number, kind in enumerate(kinds):
            where = f"at cap {cap}, after {number} samples"
            try:
                value = _check_answers(limit, twin, now)
                sample = _drawn(dice, kind, value, now)
                limit.on_sample(sample)
                twin.on_sample(sample)
                if number % 100 == 99:
                    for each in (limit, twin):
                        each.forgive(now)
                        each.recap(max(1, cap // 2) if number % 200 == 99 else cap)
            except ContractError as error:
                raise ContractError(f"{error} ({where})") from (error.__cause__ or error)
            except Exception as error:  # in recap or forgive
                said = f"{type(error).__name__}: {error}"
                raise ContractError(f"limit {limit.name!r} raised {said} ({where})") from error
            now += dice.expovariate(1.0)


def _check_answers(limit: Limit, twin: Limit, now: float) -> int:
    value, change = limit.value(now), limit.next_change(now)
    limit.pause(now)
    if limit.value(now) != value:
        raise ContractError(
            f"limit {limit.name!r}: asked twice, it is {value} and {limit.value(now)}; asking must "
            "change nothing"
        )
    if twin.value(now) != value:
        raise ContractError(
            f"limit {limit.name!r}: two with the same history are {value} and {twin.value(now)}; "
            "a limit reads its samples and `now`, and shares nothing with others of its class"
        )
    if change < math.inf and limit.value(change) <= value:
        raise ContractError(
            f"limit {limit.name!r}: next_change promised more than {value} at {change:g}, where it "
            f"is {limit.value(change)}"
        )
    return value


def _drawn(dice: random.Random, kind: OutcomeKind, limit: int, now: float) -> Sample:
    in_flight = dice.randint(1, limit)
    rtt = dice.expovariate(1.0) if dice.random() < 0.9 else 0.0
    return Sample(now - rtt, now, rtt, in_flight, limit, dice.randint(1, in_flight), kind)


def check_task_policy(make: Callable[[], OwnTaskPolicy], *, seed: int = 0) -> None:
    """Tries a task policy: three flows of unequal weight come and go over a few shared slots.

    Args:
        make: Makes the policy: its class, or a function without arguments.
        seed: Decides who comes and goes when.

    Raises:
        ContractError: What it does not keep.
    """
    made = policy_from(make)
    policy = _Twice(made)
    rounds = _Rounds(policy, random.Random(f"policy|{seed}"))
    try:
        rounds.run()
        if isinstance(made, CheckedPolicy) and made.broken is not None:
            raise made.broken
    except ContractError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        raise ContractError(f"task policy {policy.name!r} raised {said}") from error


class _Twice:
    """Asks a policy twice, since nothing may come of asking."""

    def __init__(self, policy: TaskPolicy) -> None:
        self.name = policy.name
        self._policy = policy
        self.repayment: Callable[[Lease, Units], Resources] = policy.repayment

    def decide(
        self, task: ReadyTask, held: Units, debt: Units, shares: Units, contended: bool
    ) -> Admit | Deny:
        first, second = (
            self._policy.decide(task, dict(held), dict(debt), dict(shares), contended)
            for _ in range(2)
        )
        if first != second:
            raise ContractError(
                f"task policy {self.name!r}: asked twice, it says {first} and {second}; asking "
                "must change nothing"
            )
        return first


class _Rounds:
    def __init__(self, policy: TaskPolicy, dice: random.Random) -> None:
        self._name = policy.name
        self._dice = dice
        self._admission = TaskAdmission({SUBMISSION: 5, LLM_WAIT: 3}, policy)
        self._dispatcher = Dispatcher(self._admission)
        self._held: list[Lease] = []
        self._number = 0
        one, both = ((SUBMISSION, 1),), ((LLM_WAIT, 1), (SUBMISSION, 1))
        self._flows = (
            Flow(FlowKey("local", ("a",)), 1.0, one),
            Flow(FlowKey("model", ("b",)), 1.0, both),
            Flow(FlowKey("model", ("c",)), 3.0, both),
        )
        for flow in self._flows:
            self._admission.register(flow)

    def run(self) -> None:
        """Comings and goings, then nothing but endings, until all is done."""
        for _ in range(_STEPS):
            if self._dice.random() < 0.6:
                self._come(self._dice.choice(self._flows))
            elif self._held:
                self._end()
            self._let_in()
        while self._held:
            self._end()
            self._let_in()
        if owed := self._admission.statistics().debt:
            flows = ", ".join(key.label for key in owed)
            raise ContractError(
                f"task policy {self._name!r}: nothing is held any more, and yet {flows} owes; "
                "repayment must strike out what was borrowed"
            )

    def _come(self, flow: Flow) -> None:
        self._number += 1
        name = f"{flow.key.label}/{self._number}"
        self._dispatcher.enqueue(ReadyTask(Task("", 0, self._number), name, flow, None, 0))

    def _end(self) -> None:
        lease = self._held.pop(self._dice.randrange(len(self._held)))
        self._dispatcher.release(lease)

    def _let_in(self) -> None:
        for _ in range(_MOST_ASKED):
            step = self._dispatcher.next()
            if step is None:
                break
            if not isinstance(step, Denied):
                self._held.append(step.lease)
        else:
            raise ContractError(f"task policy {self._name!r} is asked without end")
        if not self._held and len(self._dispatcher):
            raise ContractError(
                f"task policy {self._name!r}: nothing runs, {len(self._dispatcher)} tasks are "
                "queued, and none is admitted; a task of a flow that is alone must run"
            )
