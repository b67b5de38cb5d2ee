"""Request admission: permits, fair waiters, cooldowns, deadlines, caps; exact releases."""

from __future__ import annotations

import gc
import itertools
import math

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ddsched_nb.core.limits import AIMDLimit, CeilingLimit, FixedLimit
from ddsched_nb.core.model import (
    SUCCESS,
    Outcome,
    OutcomeKind,
    Permit,
    PoolKey,
    ReleaseStatus,
    Sample,
    Usage,
)
from ddsched_nb.core.pacing import Pacing
from ddsched_nb.core.pool_facts import Budget, CooldownStart, LimitChange, Recovered
from ddsched_nb.core.request_admission import RequestAdmission
from ddsched_nb.errors import ConfigError

CHAT, EMBED = PoolKey("p", "m", "chat"), PoolKey("p", "m", "embedding")
OTHER = PoolKey("p", "n", "chat")
REFUSED = Outcome(OutcomeKind.RATE_LIMITED)


def one_pool(cap: int = 4, **tunables: float) -> RequestAdmission:
    admission = RequestAdmission()
    admission.register(CHAT, AIMDLimit(cap, **tunables), cap=cap, aggregate_cap=cap)  # type: ignore[arg-type]
    return admission


def grant(admission: RequestAdmission, now: float, count: int = 1) -> list[Permit]:
    for _ in range(count):
        admission.enqueue(CHAT, now)
    return [g.permit for g in admission.advance(now).granted]


class Admitting(RuleBasedStateMachine):
    """Time moves, calls come, wait, are cancelled, end in every way; nothing may be lost."""

    CAPS = {CHAT: 3, EMBED: 2, OTHER: 2}  # noqa: RUF012
    AGGREGATE = {"m": 4, "n": 2}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.admission = RequestAdmission()
        for pool, cap in self.CAPS.items():
            limit = (
                FixedLimit(cap, pause_s=1.0)
                if pool is EMBED
                else AIMDLimit(
                    cap,
                    started_at=self.now,
                    successes_until_increase=2,
                    cooldown_s=2.0,
                    startup_ramp_s=3.0 if pool is OTHER else 0.0,
                )
            )
            self.admission.register(pool, limit, cap=cap, aggregate_cap=self.AGGREGATE[pool.model])
        self.waiting: dict[int, tuple[PoolKey, float, float]] = {}
        self.gone: set[int] = set()
        self.held: dict[int, Permit] = {}
        self.returned: list[Permit] = []
        self.deadline = math.inf

    def turn(self) -> None:
        before = {pool: self.admission.statistics(pool, self.now) for pool in self.CAPS}
        turn = self.admission.advance(self.now)
        for waiter in turn.expired:
            assert self.waiting.pop(waiter)[2] <= self.now
            self.gone.add(waiter)
        for waiter, permit in turn.granted:
            assert waiter not in self.gone, "f06: no permit to an expired or cancelled waiter"
            pool, not_before, deadline = self.waiting.pop(waiter)
            assert permit.pool == pool
            assert not_before <= self.now < deadline
            assert before[pool].cooldown_until <= self.now, "no permit in a cooldown"
            self.held[permit.permit_id] = permit
        for pool, cap in self.CAPS.items():
            stats = self.admission.statistics(pool, self.now)
            assert stats.in_flight <= max(before[pool].in_flight, stats.limit)
            assert 1 <= stats.limit <= cap
        assert turn.next_deadline > self.now, "a deadline in the past would spin"
        self.deadline = turn.next_deadline
        self.nobody_waits_in_vain()

    def nobody_waits_in_vain(self) -> None:
        for pool, not_before, _ in self.waiting.values():
            stats = self.admission.statistics(pool, self.now)
            in_model = sum(p.pool.model == pool.model for p in self.held.values())
            most = 1 if stats.probing else stats.limit
            room = stats.in_flight < most and in_model < self.AGGREGATE[pool.model]
            may_go = stats.cooldown_until <= self.now and not_before <= self.now
            assert not (room and may_go), "a waiter that could go was left behind"
            if not self.held:
                assert self.deadline < math.inf, "nothing in flight and nothing will wake it"

    @rule(
        pool=st.sampled_from([CHAT, EMBED, OTHER]),
        flow=st.sampled_from("ab"),
        later=st.sampled_from([0.0, 0.0, 0.5, 2.0]),
        patience=st.sampled_from([math.inf, 0.3, 1.0]),
    )
    def enqueue(self, pool: PoolKey, flow: str, later: float, patience: float) -> None:
        not_before, deadline = self.now + later, self.now + patience
        waiter = self.admission.enqueue(
            pool, self.now, flow=flow, not_before=not_before, deadline=deadline
        )
        self.waiting[waiter] = (pool, not_before, deadline)
        self.turn()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        waiter = data.draw(st.sampled_from(sorted(self.waiting)))
        assert self.admission.cancel(waiter, self.now)
        assert not self.admission.cancel(waiter, self.now)
        del self.waiting[waiter]
        self.gone.add(waiter)
        self.turn()

    @precondition(lambda self: self.held)
    @rule(data=st.data(), kind=st.sampled_from(OutcomeKind), after=st.sampled_from([None, 0.7]))
    def release(self, data: st.DataObject, kind: OutcomeKind, after: float | None) -> None:
        permit = self.held.pop(data.draw(st.sampled_from(sorted(self.held))))
        status = self.admission.release(permit, Outcome(kind, retry_after=after), self.now)
        assert status is ReleaseStatus.RELEASED
        self.returned.append(permit)
        self.turn()

    @precondition(lambda self: self.returned)
    @rule(data=st.data())
    def release_twice(self, data: st.DataObject) -> None:
        self.credits_nothing(data.draw(st.sampled_from(self.returned)), ReleaseStatus.DUPLICATE)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release_something_else(self, data: st.DataObject) -> None:
        live = self.held[data.draw(st.sampled_from(sorted(self.held)))]
        self.credits_nothing(live._replace(granted_at=0.0), ReleaseStatus.STALE)
        self.credits_nothing(live._replace(permit_id=10**9), ReleaseStatus.UNKNOWN)
        self.credits_nothing(live._replace(issuer=-1), ReleaseStatus.FOREIGN)
        self.credits_nothing(live._replace(pool=PoolKey("x", "y")), ReleaseStatus.UNKNOWN)

    def credits_nothing(self, permit: Permit, expected: ReleaseStatus) -> None:
        before = [self.admission.statistics(pool, self.now) for pool in self.CAPS]
        assert self.admission.release(permit, SUCCESS, self.now) is expected
        assert [self.admission.statistics(pool, self.now) for pool in self.CAPS] == before

    @rule(seconds=st.sampled_from([0.1, 0.5, 3.0]))
    def time_passes(self, seconds: float) -> None:
        end = self.now + seconds
        while self.deadline <= end:
            self.now = self.deadline
            self.turn()
        self.now = end
        self.turn()

    @rule()
    def pause_and_resume(self) -> None:
        self.admission.pause(True)
        assert self.admission.advance(self.now).granted == []
        self.admission.pause(False)
        self.turn()

    @invariant()
    def everything_is_accounted_for(self) -> None:
        assert self.admission.waiting == len(self.waiting)
        assert self.admission.permits == len(self.held)
        for pool, cap in self.CAPS.items():
            stats = self.admission.statistics(pool, self.now)
            assert stats == self.admission.statistics(pool, self.now), "f33: asking changes nothing"
            assert stats.in_flight == sum(p.pool == pool for p in self.held.values()) <= cap
        for model, most in self.AGGREGATE.items():
            assert sum(p.pool.model == model for p in self.held.values()) <= most

    @invariant()
    def f30_what_is_kept_is_bounded(self) -> None:
        assert len(self.admission._due.entries) <= 70 + 2 * len(self.waiting) + len(self.CAPS)


Admitting.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAdmitting = Admitting.TestCase


def test_f06_a_waiter_past_its_deadline_gets_no_permit_however_late_the_turn() -> None:
    admission = one_pool(1)
    (held,) = grant(admission, 0.0)
    late = admission.enqueue(CHAT, 0.0, deadline=5.0)
    patient = admission.enqueue(CHAT, 0.0)
    admission.advance(0.0)
    # The loop stalls: the release and the deadline are seen in one turn, long after.
    admission.release(held, SUCCESS, 60.0)
    turn = admission.advance(60.0)
    assert turn.expired == [late]
    assert [g.waiter for g in turn.granted] == [patient]


def test_f07_one_decrease_per_burst() -> None:
    admission = one_pool(16)
    permits = grant(admission, 0.0, 16)
    for permit in permits:
        admission.release(permit, REFUSED, 0.1)
    changes = [c for c in admission.advance(0.1).changes if isinstance(c, LimitChange)]
    assert [(c.before, c.after) for c in changes] == [(16, 12)]


def test_f07_one_decrease_per_burst_within_one_instant() -> None:
    """In virtual time a grant, its refusal and the decrease may share an instant."""
    admission = one_pool(16)
    for permit in grant(admission, 5.0, 16):
        admission.release(permit, REFUSED, 5.0)
    changes = [c for c in admission.advance(5.0).changes if isinstance(c, LimitChange)]
    assert [(c.before, c.after) for c in changes] == [(16, 12)]


def test_f07_a_refusal_granted_at_the_new_limit_is_new_evidence() -> None:
    admission = one_pool(16)
    for permit in grant(admission, 0.0, 16):
        admission.release(permit, REFUSED, 0.1)
    admission.advance(0.1)
    (again,) = grant(admission, 10.0)
    assert again.limit == 12
    admission.release(again, REFUSED, 10.1)
    changes = [c for c in admission.advance(10.1).changes if isinstance(c, LimitChange)]
    assert [(c.before, c.after) for c in changes] == [(12, 9)]


def test_f07_a_release_matches_the_exact_permit() -> None:
    admission = one_pool(2)
    first, second = grant(admission, 0.0, 2)
    assert admission.release(first, SUCCESS, 1.0) is ReleaseStatus.RELEASED
    assert admission.release(first, SUCCESS, 1.0) is ReleaseStatus.DUPLICATE
    mixed = second._replace(granted_at=9.0)
    assert admission.release(mixed, SUCCESS, 1.0) is ReleaseStatus.STALE
    assert admission.permits == 1


def test_r12_a_permit_of_another_admission_is_foreign() -> None:
    mine, theirs = one_pool(), one_pool()
    (permit,) = grant(theirs, 0.0)
    assert mine.release(permit, SUCCESS, 1.0) is ReleaseStatus.FOREIGN
    assert theirs.permits == 1


def test_a_cooldown_ends_when_the_server_said() -> None:
    admission = one_pool(4)
    (permit,) = grant(admission, 0.0)
    admission.release(permit, Outcome(OutcomeKind.RATE_LIMITED, retry_after=7.0), 1.0)
    assert CooldownStart(CHAT, 8.0) in admission.advance(1.0).changes
    admission.enqueue(CHAT, 1.0)
    turn = admission.advance(1.0)
    assert (turn.granted, turn.next_deadline) == ([], 8.0)
    assert admission.advance(7.999).granted == []
    assert len(admission.advance(8.0).granted) == 1


def test_a_later_refusal_never_shortens_a_cooldown() -> None:
    admission = one_pool(4)
    permits = grant(admission, 0.0, 4)
    ends = []
    for permit, asked in zip(permits, (7.0, 2.0, 0.0, 9.0), strict=True):
        admission.release(permit, Outcome(OutcomeKind.RATE_LIMITED, retry_after=asked), 1.0)
        changes = admission.advance(1.0).changes
        ends.append([change.until for change in changes if isinstance(change, CooldownStart)])
    assert ends == [[8.0], [], [], [10.0]]
    assert admission.statistics(CHAT, 1.0).cooldown_until == 10.0


def test_a_pools_cap_holds_whatever_its_limit_says() -> None:
    admission = RequestAdmission()
    admission.register(CHAT, FixedLimit(8), cap=2, aggregate_cap=8)
    assert len(grant(admission, 0.0, 8)) == 2
    assert admission.statistics(CHAT, 0.0).limit == 2


def test_a_fixed_pool_that_still_serves_does_not_cool_down() -> None:
    admission = RequestAdmission()
    admission.register(CHAT, FixedLimit(4), cap=4, aggregate_cap=4)
    refused, served = grant(admission, 0.0, 2)
    admission.release(served, SUCCESS, 0.5)
    admission.release(refused, REFUSED, 0.6)
    assert admission.advance(0.6).changes == []
    (alone,) = grant(admission, 1.0)
    admission.release(alone, REFUSED, 1.1)
    assert admission.advance(1.1).changes == [CooldownStart(CHAT, 2.1)]


def test_only_remote_outcomes_move_a_limit() -> None:
    for kind in OutcomeKind:
        admission = one_pool(4, cooldown_s=0.0)
        (permit,) = grant(admission, 0.0)
        admission.release(permit, Outcome(kind), 1.0)
        moved = admission.statistics(CHAT, 1.0).limit != 4
        assert moved is (kind is OutcomeKind.RATE_LIMITED)


def test_served_is_what_was_in_flight_less_what_was_refused_later() -> None:
    samples: list[Sample] = []

    class Watching(FixedLimit):
        def on_sample(self, sample: Sample) -> None:
            samples.append(sample)

    admission = RequestAdmission()
    admission.register(CHAT, Watching(8), cap=8, aggregate_cap=8)
    first, second, third = grant(admission, 0.0, 3)
    admission.release(second, REFUSED, 1.0)
    admission.release(third, SUCCESS, 2.0)
    admission.release(first, SUCCESS, 3.0)
    assert [(s.in_flight, s.served, s.outcome.value) for s in samples] == [
        (2, 2, "rate_limited"),
        (3, 2, "success"),
        (1, 1, "success"),
    ]


def test_flows_share_a_pool_fairly() -> None:
    admission = one_pool(1)
    (held,) = grant(admission, 0.0)
    for _ in range(6):
        admission.enqueue(CHAT, 0.0, flow="many")
    few = [admission.enqueue(CHAT, 0.0, flow="few") for _ in range(2)]
    order = []
    for _ in range(4):
        admission.release(held, SUCCESS, 1.0)
        ((waiter, held),) = admission.advance(1.0).granted
        order.append(waiter in few)
    assert order.count(True) == 2


def test_domains_share_the_aggregate_cap_of_their_model() -> None:
    admission = RequestAdmission()
    for pool in (CHAT, EMBED):
        admission.register(pool, FixedLimit(3), cap=3, aggregate_cap=4)
    for pool in (CHAT, EMBED):
        for _ in range(3):
            admission.enqueue(pool, 0.0)
    granted = admission.advance(0.0).granted
    assert len(granted) == 4
    assert {g.permit.pool for g in granted} == {CHAT, EMBED}


def test_tokens_are_counted() -> None:
    admission = one_pool()
    (permit,) = grant(admission, 0.0)
    admission.release(permit, Outcome(OutcomeKind.SUCCESS, usage=Usage(20, 10)), 1.0)
    assert admission.statistics(CHAT, 1.0).tokens == 30


def test_what_is_not_registered_is_refused_with_what_is() -> None:
    admission = one_pool()
    with pytest.raises(ConfigError, match="'p/n/chat' is not registered; known pools: p/m/chat"):
        admission.enqueue(OTHER, 0.0)
    with pytest.raises(ConfigError, match="registered twice"):
        admission.register(CHAT, FixedLimit(1), cap=1, aggregate_cap=1)
    with pytest.raises(ConfigError, match="give >= 1"):
        admission.register(OTHER, FixedLimit(1), cap=0, aggregate_cap=1)


def test_f31_a_release_looks_at_one_waiter_however_many_wait() -> None:
    looked: list[int] = []
    for waiters in (10, 1_000):
        admission = one_pool(2)
        held = grant(admission, 0.0, 2)
        for _ in range(waiters):
            admission.enqueue(CHAT, 0.0)
        admission.advance(0.0)
        queue = admission._pools[CHAT].model.budget.queue
        count = 0
        real = queue.select

        def counted() -> object:
            nonlocal count
            count += 1
            return real()  # noqa: B023

        queue.select = counted  # type: ignore[method-assign, assignment]
        admission.release(held[0], SUCCESS, 1.0)
        assert len(admission.advance(1.0).granted) == 1
        looked.append(count)
    assert looked[0] == looked[1] <= 3


def test_a_release_in_a_full_pool_wakes_its_waiter_though_the_model_had_room() -> None:
    admission = RequestAdmission()
    for pool in (CHAT, EMBED):
        admission.register(pool, FixedLimit(1), cap=1, aggregate_cap=8)
    (held,) = grant(admission, 0.0)
    waiter = admission.enqueue(CHAT, 0.0)
    assert admission.advance(0.0).granted == []
    admission.release(held, SUCCESS, 1.0)
    assert [g.waiter for g in admission.advance(1.0).granted] == [waiter]


def test_who_is_due_stands_before_who_comes_however_late_its_timer_is() -> None:
    admission = RequestAdmission()
    admission.register(CHAT, FixedLimit(1), cap=1, aggregate_cap=1)
    (held,) = grant(admission, 0.0)
    due = admission.enqueue(CHAT, 0.0, not_before=5.0)
    late = admission.enqueue(CHAT, 0.0, deadline=5.05)
    assert admission.advance(0.0).granted == []
    came = admission.enqueue(CHAT, 5.1)  # nobody took a turn at 5.0
    turn = admission.advance(5.1)
    assert turn.expired == [late], "what fell due on the way is told all the same"
    admission.release(held, SUCCESS, 6.0)
    (first,) = admission.advance(6.0).granted
    admission.release(first.permit, SUCCESS, 7.0)
    (second,) = admission.advance(7.0).granted
    assert [first.waiter, second.waiter] == [due, came]


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("not_before", [0.0, 5.0])
def test_a_weight_that_cannot_be_leaves_nothing_behind(weight: float, not_before: float) -> None:
    admission = one_pool()
    with pytest.raises(ConfigError, match="weight of flow 'a' is"):
        admission.enqueue(CHAT, 0.0, flow="a", weight=weight, not_before=not_before, deadline=9.0)
    assert (admission.waiting, admission.waiters(CHAT)) == (0, 0)
    turn = admission.advance(10.0)
    assert (turn.granted, turn.expired, turn.next_deadline) == ([], [], math.inf)


def test_weights_hold_in_a_pool_that_shares_its_model_with_a_faster_one() -> None:
    admission = RequestAdmission()
    admission.register(CHAT, FixedLimit(1), cap=1, aggregate_cap=9)
    admission.register(EMBED, FixedLimit(8), cap=8, aggregate_cap=9)
    flows = {}
    for _ in range(200):
        for flow, weight in (("heavy", 3.0), ("light", 1.0)):
            flows[admission.enqueue(CHAT, 0.0, flow=flow, weight=weight)] = flow
        for _ in range(8):
            admission.enqueue(EMBED, 0.0, flow="fast")
    slow: Permit | None = None
    served = {"heavy": 0, "light": 0}
    for now in range(160):
        for waiter, permit in admission.advance(float(now)).granted:
            if permit.pool == CHAT:
                slow = permit
                served[flows[waiter]] += 1
            else:
                admission.release(permit, SUCCESS, float(now))
        if slow is not None and now % 4 == 3:
            admission.release(slow, SUCCESS, float(now))
    assert served == {"heavy": 30, "light": 10}


def test_f07_one_decrease_per_burst_on_the_start_ramp() -> None:
    """On the ramp the permits of one burst were granted at many limits, most below that of now."""
    admission = one_pool(16, startup_ramp_s=15.0)
    for _ in range(16):
        admission.enqueue(CHAT, 0.0)
    permits = [grant.permit for now in range(12) for grant in admission.advance(float(now)).granted]
    assert [permit.limit for permit in permits] == list(range(1, 13))
    for permit in permits:
        admission.release(permit, REFUSED, 11.5)
    changes = [c for c in admission.advance(11.5).changes if isinstance(c, LimitChange)]
    assert [(c.before, c.after) for c in changes] == [(12, 9)]


def test_a_budget_holds_over_the_models_of_an_account() -> None:
    admission, budget = RequestAdmission(), Budget("account", cap=3)
    for pool in (CHAT, OTHER):
        admission.register(pool, FixedLimit(4), cap=4, aggregate_cap=4, budget=budget)
    for _ in range(4):
        for pool in (CHAT, OTHER):
            admission.enqueue(pool, 0.0)
    held = [grant.permit for grant in admission.advance(0.0).granted]
    assert [permit.pool for permit in held] == [CHAT, OTHER, CHAT], "in turns"
    admission.release(held[0], SUCCESS, 1.0)
    assert [g.permit.pool for g in admission.advance(1.0).granted] == [OTHER]


def test_a_budget_per_minute_paces_all_its_models() -> None:
    admission = RequestAdmission()
    budget = Budget("account", pacing=Pacing(requests_per_minute=60))
    for pool in (CHAT, OTHER):
        admission.register(pool, FixedLimit(4), cap=4, aggregate_cap=4, budget=budget)
        for _ in range(2):
            admission.enqueue(pool, 0.0)
    now, went = 0.0, []
    for _ in range(4):
        turn = admission.advance(now)
        went += [(now, g.permit.pool) for g in turn.granted]
        now = turn.next_deadline
    assert went == [(0.0, CHAT), (1.0, OTHER), (2.0, CHAT), (3.0, OTHER)]


def test_what_is_smaller_does_not_overtake_what_waits_for_tokens() -> None:
    admission = RequestAdmission()
    pacing = Pacing(tokens_per_minute=6_000)
    admission.register(CHAT, FixedLimit(9), cap=9, aggregate_cap=9, pacing=pacing)
    first = admission.enqueue(CHAT, 0.0, flow="a", tokens=100)
    large = admission.enqueue(CHAT, 0.0, flow="a", tokens=90)
    assert [g.waiter for g in admission.advance(0.0).granted] == [first]
    small = admission.enqueue(CHAT, 0.1, flow="b", tokens=1)
    turn = admission.advance(0.1)
    assert turn.granted == []
    granted = []
    while math.isfinite(turn.next_deadline):
        turn = admission.advance(turn.next_deadline)
        granted += [g.waiter for g in turn.granted]
    assert granted == [large, small]


def test_a_higher_cap_wakes_waiters_and_a_lower_one_lets_holders_finish() -> None:
    admission = RequestAdmission()
    admission.register(CHAT, FixedLimit(8), cap=2, aggregate_cap=2)
    held = grant(admission, 0.0, 4)
    assert len(held) == 2
    admission.set_caps(CHAT, 1.0, cap=4, aggregate_cap=4)
    turn = admission.advance(1.0)
    assert len(turn.granted) == 2
    assert [(c.before, c.after, c.reason) for c in turn.changes] == [(2, 4, "cap")]  # type: ignore[union-attr]
    admission.set_caps(CHAT, 2.0, cap=1, aggregate_cap=1)
    admission.enqueue(CHAT, 2.0)
    for permit in (*held, turn.granted[0].permit):
        admission.release(permit, SUCCESS, 2.0)
        assert admission.advance(2.0).granted == []
    admission.release(turn.granted[1].permit, SUCCESS, 3.0)
    assert len(admission.advance(3.0).granted) == 1


def test_what_one_client_pauses_others_use() -> None:
    admission = one_pool(2)
    admission.pause(True, client=1)
    waiting = admission.enqueue(CHAT, 0.0, client=1)
    other = admission.enqueue(CHAT, 0.0, client=2)
    assert [g.waiter for g in admission.advance(0.0).granted] == [other]
    admission.pause(False, client=1)
    assert [g.waiter for g in admission.advance(1.0).granted] == [waiting]


def silent_for(seconds: float, asked: float | None = None) -> tuple[list[float], RequestAdmission]:
    """When probes go out to an endpoint that refuses all, with many waiting."""
    admission = RequestAdmission()
    admission.register(CHAT, CeilingLimit(64), cap=64, aggregate_cap=64)
    (served,) = grant(admission, 0.0)
    admission.release(served, SUCCESS, 1.0)
    for _ in range(200):
        admission.enqueue(CHAT, 1.0)
    now, sent = 1.0, []
    while now < seconds:
        turn = admission.advance(now)
        for _, permit in turn.granted:
            sent.append(now)
            admission.release(permit, Outcome(OutcomeKind.RATE_LIMITED, asked), now)
        turn = admission.advance(now)
        assert not turn.granted, "a hot loop"
        now = turn.next_deadline
    return sent, admission


def test_f02_probes_of_a_silent_endpoint_thin_out_and_its_return_is_noticed() -> None:
    sent, admission = silent_for(1_000.0)
    probes = sent[12:]  # the first dozen went out before anybody was refused
    gaps = [later - earlier for earlier, later in itertools.pairwise(probes)]
    assert gaps == sorted(gaps), "fewer and fewer"
    assert len(probes) < 60
    assert all(gap <= max(1.0, 0.11 * at) for gap, at in zip(gaps, probes[1:], strict=True))
    assert admission.statistics(CHAT, 1_000.0).probing
    (probe,) = admission.advance(2_000.0).granted
    admission.release(probe.permit, SUCCESS, 2_001.0)
    turn = admission.advance(2_001.0)
    assert len(turn.granted) > 1, "all of it at once"
    assert [type(change) for change in turn.changes][-1] is Recovered


def test_a_silent_endpoint_is_asked_no_sooner_than_it_says() -> None:
    sent, _ = silent_for(200.0, asked=30.0)
    probes = sent[12:]
    gaps = [later - earlier for earlier, later in itertools.pairwise(probes)]
    assert min(gaps) >= 30.0


def test_f04_a_refusal_at_limit_one_pins_no_ceiling() -> None:
    limit = AIMDLimit(8)
    for n in range(20):
        limit.on_sample(
            Sample(float(n), n + 0.5, 0.5, 1, limit.value(n), 1, OutcomeKind.RATE_LIMITED)
        )
    assert limit.value(20.0) == 1
    assert limit.ceiling == 2, "the last that lowered it, and none after"


def test_f30_the_queue_holds_no_more_than_what_waits() -> None:
    admission = one_pool(2)
    for n in range(2_000):
        waiter = admission.enqueue(
            CHAT, float(n), flow=n % 50, not_before=n + 0.5, deadline=n + 9.0
        )
        admission.advance(float(n))
        if n % 3:
            admission.cancel(waiter, float(n))
    queue = admission._pools[CHAT].model.budget.queue
    assert queue.entries() <= 2 * queue.flows + 16
    assert len(admission._due.entries) <= 64 + 2 * admission.waiting + 2


def test_a_spent_quota_does_not_move_the_limit() -> None:
    admission = RequestAdmission()
    admission.register(CHAT, CeilingLimit(64), cap=64, aggregate_cap=64)
    held = grant(admission, 0.0, 12)
    for permit in held[:6]:
        admission.release(permit, SUCCESS, 1.0)
    before = admission.statistics(CHAT, 1.0).limit
    spent = Outcome(OutcomeKind.RATE_LIMITED, 5.0, spent="tokens")
    admission.release(held[6], spent, 1.5)
    turn = admission.advance(1.5)
    assert admission.statistics(CHAT, 1.5).limit == before
    assert turn.changes[-1] == CooldownStart(CHAT, 6.5, "tokens")


def test_a_hand_off_leaves_nothing_to_the_garbage_collector() -> None:
    admission = RequestAdmission()
    admission.register(CHAT, FixedLimit(16), cap=16, aggregate_cap=16)
    held = grant(admission, 0.0, 64)
    gc.collect()
    gc.disable()
    try:
        for permit in held:
            admission.release(permit, SUCCESS, 1.0)
            assert len(grant(admission, 1.0)) == 1
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_a_newcomer_behind_others_of_its_flow_costs_no_turn() -> None:
    admission = RequestAdmission()
    admission.register(CHAT, FixedLimit(2), cap=2, aggregate_cap=2)
    held = grant(admission, 0.0, 3)
    assert admission.settled(0.0, math.inf)
    admission.enqueue(CHAT, 0.0)
    assert admission.settled(0.0, math.inf), "those before it wait too"
    admission.enqueue(CHAT, 0.0, deadline=5.0)
    assert not admission.settled(0.0, math.inf), "a deadline to be told of"
    assert admission.settled(0.0, admission.advance(0.0).next_deadline)
    assert not admission.settled(5.0, 5.0), "it is due"
    admission.release(held[0], SUCCESS, 1.0)
    assert not admission.settled(1.0, 5.0), "a slot is free"
    assert len(admission.advance(1.0).granted) == 1
