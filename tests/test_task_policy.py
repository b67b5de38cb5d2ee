"""The task policy of a run, and `run.explain_blocked()`, from outside."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import ddsched_nb as dd
from ddsched_nb.core import events as ev
from ddsched_nb.core.blocked import Blocked, Cause, Opening
from ddsched_nb.core.model import DenyReason
from ddsched_nb.errors import ConfigError

BOUNDED = {
    "per_flow": dd.BorrowConfig(),
    "per_lease": dd.BorrowConfig(repayment="per_lease"),
    "ceiling": dd.BorrowConfig(ceiling=0),
    "one ceiling": dd.BorrowConfig(ceilings={"custom_model/long": {"submission": 2}}),
}


def late_peer(borrow: dd.BorrowConfig | None) -> Any:
    """A long column holds every slot when a peer comes."""
    config = dd.RunConfig(
        buffer_size=64,
        max_in_flight_tasks=16,
        task_policy="bounded_borrow" if borrow else "strict_fair",
        borrow=borrow,
    )
    return dd.simulate("late-peer", config=config)


def reasons(record: Any) -> set[DenyReason]:
    return {event.reason for event in record.select(ev.AdmissionDenied)}


def test_f08_each_setting_of_borrowing_changes_events() -> None:
    records = {name: late_peer(borrow) for name, borrow in BOUNDED.items()}
    records["strict_fair"] = late_peer(None)
    assert len({record.digest() for record in records.values()}) == len(records)
    full, over, debt, ceiling = DenyReason
    assert {name: reasons(record) for name, record in records.items()} == {
        "strict_fair": {full, over},
        "per_flow": {full, over, debt},
        "per_lease": {full, over, debt},
        "ceiling": {full, ceiling},
        "one ceiling": {full, over, debt, ceiling},
    }
    leased = records["ceiling"].select(ev.TaskLeaseAcquired)
    assert not any(event.borrowed for event in leased)
    assert any(event.borrowed for event in records["per_lease"].select(ev.TaskLeaseAcquired))


def test_f11_only_a_ceiling_costs_time() -> None:
    times = {name: late_peer(borrow).result.makespan_s for name, borrow in BOUNDED.items()}
    best = late_peer(None).result.makespan_s
    assert times["per_flow"] == times["per_lease"] == best
    assert times["ceiling"] > 1.5 * best


@pytest.mark.parametrize(
    ("ceilings", "said"),
    [
        ({"custom_model/lang": {"local": 1}}, "no flow; give one of: .*custom_model/long"),
        (
            {"custom_model/long": {"gpu": 1}},
            "no resource of flow 'custom_model/long'; give one of: submission, llm_wait",
        ),
    ],
)
def test_a_ceiling_of_nothing_that_exists_is_refused(ceilings: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        raise late_peer(dd.BorrowConfig(ceilings=ceilings)).result.error


class Held:
    """A pipeline whose one column waits until it may end."""

    def __init__(self) -> None:
        self.reached, self.gate = asyncio.Event(), asyncio.Event()
        self.pipeline = dd.Pipeline(
            columns=[
                dd.Column("n", generate=list),
                dd.Column("w", needs=["n"], generate=self.wait),
            ]
        )

    async def wait(self, row: Any) -> int:
        self.reached.set()
        await self.gate.wait()
        return 1


async def test_r02_a_run_says_why_nothing_more_starts() -> None:
    held = Held()
    run = dd.start(held.pipeline, rows=5, config=dd.RunConfig(max_in_flight_tasks=2))
    assert run.explain_blocked() == Blocked(Cause.STARTING, (Opening.NEXT_TURN,))
    await held.reached.wait()
    told = run.explain_blocked()
    assert (told.cause, told.queued, told.running) == (Cause.HELD_BACK, 3, 2)
    (obstacle,) = told.obstacles
    assert (obstacle.reason, obstacle.resource) == (DenyReason.RESOURCE_FULL, "submission")
    assert [flow.flow.label for flow in obstacle.waiting] == ["local/column/w"]
    assert "submission is full (2 of 2 leased)" in str(told)

    elsewhere = await asyncio.to_thread(run.explain_blocked)
    assert elsewhere.obstacles == told.obstacles

    run.pause()
    await asyncio.sleep(0.01)
    assert run.explain_blocked().opens == (Opening.RESUMED,)
    run.resume()
    held.gate.set()
    await run
    assert run.explain_blocked().cause is Cause.FINISHED


async def test_a_run_that_was_cancelled_starts_nothing_any_more() -> None:
    held = Held()
    run = dd.start(held.pipeline, rows=3)
    await held.reached.wait()
    run.cancel()
    with pytest.raises(dd.errors.RunCancelled):
        await asyncio.wait_for(run._await(), 5)
    assert run.explain_blocked().cause is Cause.STOPPED
