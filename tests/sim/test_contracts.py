"""The checks that a reader calls, and limits and policies of one's own in whole runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

import ddsched_nb as dd
from ddsched_nb.core import events as ev
from ddsched_nb.core.limits import LIMITS, LatencyLimit, RampLimit, WindowLimit
from ddsched_nb.core.model import Admit, Deny, DenyReason, Lease, OutcomeKind, Sample
from ddsched_nb.core.task_policies import POLICIES, BoundedBorrow, StrictFair, above_share
from ddsched_nb.errors import ConfigError, ContractError

WORK = dd.find_workload("fan-in").with_rows(12)


class Served:
    """Goes to what was served, and a little above it with each success."""

    def __init__(self, cap: int) -> None:
        self.limit = min(8.0, cap)

    def on_sample(self, sample: Sample) -> None:
        if sample.outcome is OutcomeKind.RATE_LIMITED:
            self.limit = max(1.0, min(self.limit, sample.served))
        elif sample.outcome is OutcomeKind.SUCCESS:
            self.limit += 0.1 / self.limit

    def value(self, now: float) -> Any:
        return self.limit


class Greedy:
    """First come, first served: whoever asks while there is room takes it."""

    def decide(self, task: Any, held: Any, debt: Any, shares: Any, contended: bool) -> Any:
        return Admit(above_share(task, held, shares))


def under(limit: Any = "ceiling", policy: Any = "strict_fair") -> dd.RunConfig:
    admission = dd.RequestAdmissionConfig(limit=limit)
    return dd.RunConfig(request_admission=admission, task_policy=policy)


@pytest.mark.parametrize("kind", LIMITS, ids=lambda kind: kind.name)
def test_every_limit_of_the_package_passes(kind: Any) -> None:
    dd.check_limit(kind)


def test_wrappers_and_own_limits_pass() -> None:
    dd.check_limit(lambda cap: RampLimit(WindowLimit(LatencyLimit(cap)), ramp_s=30.0))
    dd.check_limit(Served, seed=3)


def test_every_policy_of_the_package_passes() -> None:
    for kind in POLICIES:
        dd.check_task_policy(kind)
    for repayment in ("per_flow", "per_lease"):
        for ceiling in (0, 1):
            dd.check_task_policy(
                lambda ceiling=ceiling, repayment=repayment: BoundedBorrow(
                    ceiling, repayment=repayment
                )
            )
    dd.check_task_policy(Greedy, seed=3)


_shared = itertools.count(2)


def falls_to_nothing(self: Served, sample: Sample) -> None:
    if sample.outcome is OutcomeKind.RATE_LIMITED:
        self.limit /= 2


def grows_with_each(self: Served, cap: int) -> None:
    self.limit = 2.0 + next(_shared) % 2


def raises(self: Served, sample: Sample) -> None:
    raise ZeroDivisionError("nothing")


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        ({"on_sample": falls_to_nothing}, r"at least 1 \(at cap 1, after \d+ samples\)"),
        ({"on_sample": raises}, "raised ZeroDivisionError: nothing"),
        ({"value": lambda self, now: 2 + next(_shared) % 2}, "asked twice, it is"),
        ({"__init__": grows_with_each}, "two with the same history are"),
        ({"next_change": lambda self, now: now + 1}, "next_change promised more than 1 at"),
        ({"pause": lambda self, now: -1}, "pause at .* is -1; give 0 or more seconds"),
        ({"recap": lambda self, cap: 1 / 0}, "raised ZeroDivisionError: division by zero"),
        ({"forgive": lambda self, now: 1 / 0}, "raised ZeroDivisionError: division by zero"),
    ],
)
def test_what_a_limit_does_not_keep_is_found(methods: dict[str, Any], said: str) -> None:
    kind = type("Odd", (Served,), methods)
    with pytest.raises(ContractError, match=said):
        dd.check_limit(kind)


def never(self: Any, task: Any, held: Any, debt: Any, shares: Any, contended: bool) -> Any:
    return Deny(DenyReason.OVER_SHARE, task.flow.resources[0][0])


def in_turns(self: Any, task: Any, *rest: Any) -> Any:
    return Admit() if next(_shared) % 2 else Admit(task.flow.resources)


def owes_all(self: Any, task: Any, *rest: Any) -> Any:
    return Admit(task.flow.resources)


def unpaid(self: Any, lease: Lease, debt: Any) -> Any:
    return ()


def bug(self: Any, *asked: Any) -> Any:
    return {}["nothing"]


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        ({"decide": never}, "as over_share though nobody else could run"),
        ({"decide": in_turns}, "asked twice, it says"),
        ({"decide": bug}, "raised KeyError"),
        ({"repayment": unpaid}, "nothing is held any more, and yet .* owes"),
        ({"repayment": bug}, "repayment raised KeyError"),
    ],
)
def test_what_a_policy_does_not_keep_is_found(methods: dict[str, Any], said: str) -> None:
    kind = type("Odd", (Greedy,), methods)
    with pytest.raises(ContractError, match=said):
        dd.check_task_policy(kind)


def test_a_limit_of_ones_own_governs_a_run_and_is_named_in_its_record() -> None:
    record = dd.simulate("tight", under(Served))
    assert record.result.summary.finished == 512
    assert {e.algorithm for e in record.select(ev.RequestResourceRegistered)} == {"Served"}
    assert record.select(ev.SchedulerJobStarted)[0].modes["limit"] == "Served"
    by_name = dd.simulate("tight")
    assert record.result.refused != by_name.result.refused
    assert dd.replay(record, under(Served).request_admission).leases == 0
    assert dd.try_limit(Served, dd.EndpointProfile(model="m"), seconds=60).limit == "Served"


def test_a_policy_of_ones_own_governs_a_run_and_is_named_in_its_record() -> None:
    record = dd.simulate(WORK, under(policy=Greedy))
    assert record.result.summary.finished == 12
    assert record.select(ev.SchedulerJobStarted)[0].modes["task_policy"] == "Greedy"
    denied = {e.reason for e in record.select(ev.AdmissionDenied)}
    assert not denied & {DenyReason.OVER_SHARE, DenyReason.IN_DEBT}


def test_a_named_policy_and_its_class_do_the_same() -> None:
    digests = {
        dd.simulate(WORK, under(limit, policy)).digest()
        for limit, policy in (("ceiling", "strict_fair"), (LIMITS[2], StrictFair))
    }
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("limit", "policy"),
    [
        (type("Odd", (Served,), {"on_sample": raises}), "strict_fair"),
        (type("Odd", (Served,), {"value": lambda self, now: 0}), "strict_fair"),
        ("ceiling", type("Odd", (Greedy,), {"decide": never})),
        ("ceiling", type("Odd", (), {"decide": owes_all, "repayment": bug})),
    ],
)
def test_what_breaks_its_contract_ends_a_simulated_run(limit: Any, policy: Any) -> None:
    with pytest.raises(ContractError, match="'Odd'"):
        dd.simulate("tight", under(limit, policy))


@pytest.mark.parametrize("on_bug", ["raise", "drop"])
def test_a_real_run_ends_with_what_broke_and_drops_no_row_for_it(on_bug: Any) -> None:
    broken: Callable[[int], Any] = type("Odd", (Served,), {"on_sample": raises})
    profile = dd.EndpointProfile(model="m", capacity=4, latency=0.01)
    with dd.EmbeddedEndpoint([profile]) as endpoint:
        pipeline = dd.Pipeline(
            columns=[
                dd.Column("n", generate=list),
                dd.ModelColumn("a", model="m", prompt="{{ n }}"),
            ],
            models=[dd.Model("m", provider="local")],
            providers=[dd.OpenAICompatible("local", base_url=endpoint.base_url)],
        )
        config = under(broken).model_copy(update={"on_bug": on_bug})
        run = dd.start(pipeline, rows=20, config=config)
        with pytest.raises(ContractError, match="on_sample"):
            run.wait(30)
        assert run.statistics().rows_dropped == 0
        # Nothing of it stays with the account: another run there has a limit of its own.
        assert dd.start(pipeline, rows=20).wait(30).statistics().rows_finished == 20


def test_a_limiter_takes_one_too() -> None:
    limiter = dd.RequestLimiter(limit=Served)
    assert limiter.statistics(limiter.pool(model="m")).algorithm == "Served"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: dd.RequestAdmissionConfig(limit="celing"), "limit is 'celing': give one of 'ceil"),
        (lambda: dd.RequestAdmissionConfig(limit=3), "limit is 3: give one of"),
        (lambda: dd.RunConfig(task_policy=StrictFair()), "a class or function that makes a policy"),
        (
            lambda: dd.RunConfig(task_policy=Greedy, borrow=dd.BorrowConfig()),
            "a policy of your own does not borrow",
        ),
        (lambda: dd.simulate(WORK, under(lambda cap: cap)), "'int' is no limit"),
        (lambda: dd.simulate(WORK, under(policy=dict)), "'dict' is no task policy"),
    ],
)
def test_what_is_none_is_refused(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()
