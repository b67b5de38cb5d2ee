"""Every kind of work a column can do, in real runs."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import threading
from typing import Any

import pytest

import ddsched_nb as dd
from ddsched_nb import errors
from ddsched_nb.core import events as ev

SMALL = dd.RunConfig(buffer_size=4, max_concurrent_row_groups=2)


def heavy(row: Any) -> tuple[int, int, int]:
    """Importable, so that a process can run it: what, in which process, for which row."""
    where = dd.current_correlation()
    assert where is not None
    assert where.row is not None
    assert where.run_id
    assert where.execution > 0
    return math.factorial(row["n"]) % 97, os.getpid(), where.row


def picky(row: Any) -> int:
    if row["n"] == 2:
        raise dd.RowDropped("two is too many")
    return int(row["n"])


def dies(row: Any) -> int:
    os._exit(3)


def number() -> dd.Column:
    return dd.Column("n", generate=list)


async def run(*columns: Any, rows: int = 10, config: dd.RunConfig = SMALL, **more: Any) -> dd.Run:
    return await dd.start(dd.Pipeline(columns=columns, **more), rows=rows, config=config)


# --- batches --------------------------------------------------------------------------------


async def test_a_batch_column_sees_its_row_group_at_once() -> None:
    seen = []

    def centred(batch: dd.Batch) -> list[float]:
        seen.append(batch.numbers)
        mean = sum(batch["n"]) / len(batch)
        return [row["n"] - mean for row in batch]

    done = await run(number(), dd.Column("c", needs=["n"], batch=True, generate=centred))
    assert sorted(seen) == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9)]
    assert done.to_pandas()["c"].tolist() == [-1.5, -0.5, 0.5, 1.5, -1.5, -0.5, 0.5, 1.5, -0.5, 0.5]


async def test_a_batch_column_may_be_async_and_feed_others() -> None:
    async def doubled(batch: dd.Batch) -> list[int]:
        await asyncio.sleep(0.001)
        return [2 * n for n in batch["n"]]

    done = await run(
        number(),
        dd.Column("d", needs=["n"], batch=True, generate=doubled),
        dd.Column("e", needs=["d"], generate=lambda row: row["d"] + 1),
    )
    assert done.to_pandas()["e"].tolist() == [2 * n + 1 for n in range(10)]
    assert done.statistics().columns[1].done == 10


async def test_a_batch_is_without_dropped_rows_and_may_drop_some() -> None:
    def no_fives(batch: dd.Batch) -> list[Any]:
        return [dd.RowDropped("five") if n == 5 else n for n in batch["m"]]

    done = await run(
        number(),
        dd.Column("m", needs=["n"], generate=picky),
        dd.Column("k", needs=["m"], batch=True, generate=no_fives),
        dd.Column("z", needs=["k"], generate=lambda row: -row["k"]),
    )
    assert list(done.to_pandas().index) == [0, 1, 3, 4, 6, 7, 8, 9]
    assert {(e.row, e.column, e.reason) for e in done.errors} == {
        (2, "m", "RowDropped: two is too many"),
        (5, "k", "RowDropped: five"),
    }
    summary = done.summary()
    assert (summary.finished, summary.dropped, summary.open) == (8, 2, 0)


async def test_a_batch_that_drops_every_row_finishes_its_group() -> None:
    done = await run(
        number(),
        dd.Column(
            "k",
            needs=["n"],
            batch=True,
            generate=lambda batch: [dd.RowDropped("none wanted")] * len(batch),
        ),
        dd.Column("z", needs=["k"], generate=lambda row: 1),
    )
    assert len(done.to_pandas()) == 0
    assert done.summary().dropped == 10


async def test_a_batch_of_the_wrong_length_is_a_bug_that_names_the_column() -> None:
    with pytest.raises(errors.GeneratorBug, match=r"column 'k'.*returned 1 values for 4 rows"):
        await run(number(), dd.Column("k", needs=["n"], batch=True, generate=lambda batch: [1]))


def test_a_batch_needs_something() -> None:
    with pytest.raises(errors.ConfigError, match="batch=True and needs nothing"):
        dd.Column("k", batch=True, generate=list)


# --- several outputs ------------------------------------------------------------------------


async def test_one_generator_writes_several_columns() -> None:
    done = await run(
        dd.Column(
            "pair",
            outputs=["low", "high"],
            generate=lambda rows: {"low": list(rows), "high": [r + 10 for r in rows]},
        ),
        dd.Column(
            "sums",
            needs=["low", "high"],
            outputs=["sum", "product"],
            generate=lambda row: {
                "sum": row["low"] + row["high"],
                "product": row["low"] * row["high"],
            },
        ),
    )
    table = done.to_pandas()
    assert list(table.columns) == ["low", "high", "sum", "product"]
    assert table["product"].tolist() == [r * (r + 10) for r in range(10)]


async def test_an_output_that_is_missing_is_named() -> None:
    broken = dd.Column("p", needs=["n"], outputs=["a", "b"], generate=lambda row: {"a": 1})
    with pytest.raises(errors.GeneratorBug, match="outputs a, b and returned a mapping without b"):
        await run(number(), broken)


# --- skips ----------------------------------------------------------------------------------


async def test_a_skipped_cell_runs_nothing_and_skips_what_needs_it() -> None:
    ran = []

    def work(row: dd.Row) -> int:
        ran.append(row.number)
        return int(row["n"]) * 10

    done = await run(
        number(),
        dd.Column("t", needs=["n"], generate=work, skip=dd.Skip("n % 2 == 1", value="-")),
        dd.Column("u", needs=["t"], generate=lambda row: row["t"] + 1),
        dd.Column("v", needs=["t"], generate=lambda row: f"saw {row['t']}", propagate_skip=False),
        rows=4,
    )
    assert sorted(ran) == [0, 2]
    table = done.to_pandas()
    assert table["t"].tolist() == [0, "-", 20, "-"]
    assert [None if x != x else x for x in table["u"].tolist()] == [1, None, 21, None]
    assert table["v"].tolist() == ["saw 0", "saw -", "saw 20", "saw -"]
    assert dict(done.summary().skipped) == {"t": 2, "u": 2}


async def test_f32_outcomes_by_kind_sum_to_invocations() -> None:
    done = await run(
        number(),
        dd.Column("m", needs=["n"], generate=picky),
        dd.Column("t", needs=["m"], generate=lambda row: 1, skip=dd.Skip(lambda row: row["m"] > 6)),
    )
    ends = [event.outcome for event in done.record.select(ev.TaskCompleted)]
    spawned = done.record.select(ev.WorkerSpawned)
    assert len(ends) == len(spawned) == 3 + 10 + 9
    assert (ends.count("done"), ends.count("skipped"), ends.count("drop")) == (18, 3, 1)


async def test_skips_inside_a_batch_leave_the_row_out() -> None:
    seen = []

    def work(batch: dd.Batch) -> list[int]:
        seen.append(batch.numbers)
        return [0] * len(batch)

    done = await run(
        number(),
        dd.Column("b", needs=["n"], batch=True, generate=work, skip=dd.Skip("n < 5", value=-1)),
        rows=8,
    )
    assert seen == [(5, 6, 7)]
    assert done.to_pandas()["b"].tolist() == [-1] * 5 + [0] * 3


def test_what_a_skip_cannot_be() -> None:
    with pytest.raises(errors.ConfigError, match="give an expression or a function"):
        dd.Skip(3)  # type: ignore[arg-type]
    with pytest.raises(errors.ConfigError, match="no Jinja2 expression"):
        dd.Column("b", needs=["n"], generate=len, skip=dd.Skip("n <"))
    with pytest.raises(errors.ConfigError, match="needs nothing, so skip"):
        dd.Column("b", generate=list, skip=dd.Skip("n < 3"))


# --- hooks ----------------------------------------------------------------------------------


async def test_hooks_run_before_the_first_and_after_the_last_column() -> None:
    order: list[tuple[str, int]] = []

    def before(batch: dd.Batch) -> dict[str, list[Any]]:
        order.append(("before", batch.numbers[0]))
        return {"n": [dd.RowDropped("odd one") if n == 3 else n * 10 for n in batch["n"]]}

    async def after(batch: dd.Batch) -> dict[str, list[Any]]:
        order.append(("after", batch.numbers[0]))
        assert batch.columns == ("n", "m")
        return {"m": [m + 1 for m in batch["m"]]}

    def work(row: dd.Row) -> int:
        order.append(("work", row.number))
        return int(row["n"]) + 1

    pipeline = dd.Pipeline(
        columns=[dd.Column("m", needs=["n"], generate=work)],
        before_row_group=before,
        after_row_group=after,
    )
    done = await dd.start(pipeline, table={"n": list(range(8))}, config=SMALL)
    table = done.to_pandas()
    assert list(table.index) == [0, 1, 2, 4, 5, 6, 7]
    assert table["m"].tolist() == [n * 10 + 2 for n in table.index]
    for start in (0, 4):
        inside = [
            i for i, (what, n) in enumerate(order) if what == "work" and start <= n < start + 4
        ]
        assert order.index(("before", start)) < min(inside)
        assert order.index(("after", start)) > max(inside)
    assert [(e.row, e.column, e.reason) for e in done.errors] == [
        (3, "before_row_group", "RowDropped: odd one")
    ]


async def test_a_hook_comes_before_columns_from_scratch_too() -> None:
    order = []
    done = await run(
        dd.Column("n", generate=lambda rows: (order.append("root"), list(rows))[1]),
        rows=4,
        before_row_group=lambda batch: order.append("before"),
        after_row_group=lambda batch: order.append("after"),
    )
    assert order == ["before", "root", "after"]
    assert len(done.to_pandas()) == 4


async def test_a_hook_that_fails_names_itself() -> None:
    def broken(batch: dd.Batch) -> None:
        raise ZeroDivisionError

    with pytest.raises(errors.GeneratorBug, match=r"'after_row_group' .*ZeroDivisionError in brok"):
        await run(number(), after_row_group=broken)


# --- threads and processes ------------------------------------------------------------------


async def test_a_generator_in_a_thread_leaves_the_loop_free_and_knows_its_task(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = threading.Event()
    seen: set[tuple[str, str, int]] = set()

    def blocks(row: dd.Row) -> str:
        assert gate.wait(10)
        where = dd.current_correlation()
        assert where is not None
        logging.getLogger("mine").warning("in %s", where.task_id)
        seen.add((where.run_id, where.tasks, where.execution))
        return (
            f"{where.column} {where.row_group} {where.row} {threading.current_thread().name[:10]}"
        )

    pipeline = dd.Pipeline(
        columns=[number(), dd.Column("t", needs=["n"], generate=blocks, run_in="thread")]
    )
    going = dd.start(pipeline, rows=6, config=SMALL)
    await asyncio.sleep(0.05)  # the loop is free while every thread waits
    gate.set()
    done = await going
    values = done.to_pandas()["t"].tolist()
    assert values == [f"t {row // 4} {row} ddsched-nb" for row in range(6)]
    (run_id,) = {event.run_id for event in done.record.select(ev.SchedulerJobStarted)}
    leases = {e.lease_id for e in done.record.select(ev.TaskLeaseAcquired) if e.task_id[0] == "t"}
    assert seen == {(run_id, "cell", lease_id) for lease_id in leases}
    assert {r.getMessage() for r in caplog.records} >= {
        f"in t/{row // 4}/{row}" for row in range(6)
    }


async def test_a_generator_in_a_process_computes_elsewhere_and_knows_its_task() -> None:
    done = await run(number(), dd.Column("h", needs=["n"], generate=heavy, run_in="process"))
    values = done.to_pandas()["h"].tolist()
    assert [v[0] for v in values] == [math.factorial(n) % 97 for n in range(10)]
    assert [v[2] for v in values] == list(range(10))
    assert os.getpid() not in {v[1] for v in values}


async def test_a_process_drops_rows_and_its_death_fails_the_run() -> None:
    done = await run(number(), dd.Column("p", needs=["n"], generate=picky, run_in="process"))
    assert list(done.to_pandas().index) == [0, 1, 3, 4, 5, 6, 7, 8, 9]
    with pytest.raises(errors.RunError, match="a process that ran a generator died"):
        await run(number(), dd.Column("p", needs=["n"], generate=dies, run_in="process"))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"generate": lambda row: 1, "run_in": "process"}, "must import it"),
        ({"generate": picky, "run_in": "gpu"}, "give thread, process"),
        ({"generate": lambda row, ctx: 1, "run_in": "thread"}, "take the row"),
        ({"generate": picky, "run_in": "thread", "models": ["m"]}, "call no models"),
    ],
)
def test_what_cannot_run_elsewhere(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(errors.ConfigError, match=said):
        dd.Column("x", needs=["n"], **wrong)


async def test_outside_a_generator_nobody_is_current() -> None:
    assert dd.current_correlation() is None
    await run(number())
    assert dd.current_correlation() is None
