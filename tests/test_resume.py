"""Runs with a store: what is safe, what goes on, what is refused. Real files."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import warnings
from pathlib import Path
from typing import Any

import pytest

import ddsched_nb as dd
from ddsched_nb import errors
from ddsched_nb.storing import StoreWarning

CONFIG = dd.RunConfig(buffer_size=5, max_concurrent_row_groups=2)
ROWS = 23


def squares(row: dd.Row) -> int:
    if row["n"] % 7 == 3:
        raise dd.RowDropped("unlucky")
    return int(row["n"]) ** 2


def pipeline(*more: Any, square: Any = squares) -> dd.Pipeline:
    columns = [dd.Column("n", generate=list), dd.Column("m", needs=["n"], generate=square)]
    return dd.Pipeline(columns=[*columns, *more])


async def uninterrupted() -> Any:
    return (await dd.start(pipeline(), rows=ROWS, config=CONFIG)).to_pandas()


def failing_once(at: int) -> Any:
    def square(row: dd.Row) -> int:
        if row["n"] == at:
            raise ZeroDivisionError
        return squares(row)

    return square


async def test_a_store_holds_the_same_table_as_memory(tmp_path: Path) -> None:
    run = await dd.start(pipeline(), rows=ROWS, config=CONFIG, store=tmp_path / "s")
    expected = await uninterrupted()
    assert run.to_pandas().equals(expected)
    store = dd.Store(tmp_path / "s")
    assert store.to_pandas().equals(expected)
    assert store.finished
    assert store.rows == len(expected)
    assert [(d.row, d.column, d.reason) for d in store.dropped] == [
        (row, "m", "RowDropped") for row in range(3, ROWS, 7)
    ]
    assert repr(store) == "<Store 's': 20 of 23 rows finished, 3 dropped>"


async def test_a_finished_store_is_not_done_again(tmp_path: Path) -> None:
    calls: list[int] = []

    def counted(row: dd.Row) -> int:
        calls.append(row.number)
        return squares(row)

    for _ in range(2):
        run = await dd.start(
            pipeline(square=counted), rows=ROWS, config=CONFIG, store=tmp_path / "s"
        )
    assert len(calls) == ROWS
    summary = run.summary()
    assert (summary.finished, summary.dropped, summary.restored) == (20, 3, 20)
    assert "20 of 23 rows finished (20 of them from the store), 3 dropped" in str(summary)
    assert "3 x m: RowDropped" in str(summary)


async def test_a_failed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    failing = dd.start(
        pipeline(square=failing_once(17)), rows=ROWS, config=CONFIG, store=tmp_path / "s"
    )
    with pytest.raises(errors.GeneratorBug, match="row 17"):
        await failing
    before = dd.Store(tmp_path / "s").rows
    assert 0 < before < 20
    # Rows that were finished in an unfinished group are not lost to whoever looks now.
    assert len(failing.to_pandas()) >= before
    with pytest.warns(StoreWarning, match=r"the code of m\.generate changed"):
        run = dd.start(pipeline(), rows=ROWS, config=CONFIG, store=tmp_path / "s")
    await run
    assert run.summary().restored == before
    assert run.to_pandas().equals(await uninterrupted())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await dd.start(pipeline(), rows=ROWS, config=CONFIG, store=tmp_path / "s")


async def test_a_cancelled_run_goes_on_too(tmp_path: Path) -> None:
    async def slow(row: dd.Row) -> int:
        await asyncio.sleep(0.01)
        return int(row["n"])

    def columns() -> dd.Pipeline:
        return pipeline(dd.Column("s", needs=["n"], generate=slow))

    config = dd.RunConfig(buffer_size=5, max_in_flight_tasks=4)
    run = dd.start(columns(), rows=100, config=config, store=tmp_path / "s")
    while run.summary().finished < 20:  # noqa: ASYNC110 - a run tells its progress when asked
        await asyncio.sleep(0.01)
    run.cancel()
    with pytest.raises(errors.RunCancelled):
        await run
    again = await dd.start(columns(), rows=100, config=config, store=tmp_path / "s")
    assert again.summary().restored >= 20 - 4
    assert [r for r in range(100) if r % 7 != 3] == list(again.to_pandas().index)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": 24}, "rows is 24, was 23"),
        ({"config": dd.RunConfig(buffer_size=6)}, "buffer_size is 6, was 5"),
        ({"more": dd.Column("z", needs=["n"], generate=len)}, r"columns\.z is new"),
    ],
)
async def test_a_different_declaration_is_refused(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    await dd.start(pipeline(), rows=ROWS, config=CONFIG, store=tmp_path / "s")
    more = [change["more"]] if "more" in change else []
    again = {
        "rows": change.get("rows", ROWS),
        "config": change.get("config", CONFIG),
        "store": tmp_path / "s",
    }
    with pytest.raises(errors.StoreMismatch, match=said):
        dd.start(pipeline(*more), **again)


def asking(prompt: str = "Ask {{ topic }}.", **model: Any) -> dd.Pipeline:
    model = {"id": "m", **model}
    return dd.Pipeline(
        providers=[dd.OpenAICompatible("local", base_url=model.pop("base_url"))],
        models=[dd.Model("writer", provider="local", **model)],
        columns=[dd.ModelColumn("q", model="writer", prompt=prompt)],
    )


async def test_what_of_a_model_may_change_and_what_may_not(tmp_path: Path) -> None:
    table = {"topic": ["a", "b"]}
    with dd.EmbeddedEndpoint([dd.EndpointProfile(model="m", latency=0.001)]) as endpoint:
        url, store = endpoint.base_url, tmp_path / "s"
        await dd.start(asking(base_url=url), table=table, store=store)
        # Address, key and caps are no part of what was declared.
        await dd.start(
            asking(base_url="http://127.0.0.1:9/v1", max_parallel_requests=3),
            table=table,
            store=store,
        )
        for given, said in (
            ({"prompt": "Ask about {{ topic }}."}, r"columns\.q\.prompt differs"),
            ({"id": "other"}, r"columns\.q\.models is \['local/other/chat'\], was"),
            ({"params": {"temperature": 0}}, r"models\.local/m/chat\.params differs"),
            ({"system": "Be brief."}, r"models\.local/m/chat\.system differs"),
        ):
            with pytest.raises(errors.StoreMismatch, match=said):
                dd.start(asking(base_url=url, **given), table=table, store=store)
        with pytest.raises(errors.StoreMismatch, match=r"table\.cells differs"):
            dd.start(asking(base_url=url), table={"topic": ["a", "c"]}, store=store)


async def test_two_runs_on_one_store_are_refused(tmp_path: Path) -> None:
    first = dd.start(pipeline(), rows=ROWS, config=CONFIG, store=tmp_path / "s")
    with pytest.raises(errors.StoreInUse, match="in use by another run of this process"):
        dd.start(pipeline(), rows=ROWS, config=CONFIG, store=tmp_path / "s")
    await first
    await dd.start(pipeline(), rows=ROWS, config=CONFIG, store=tmp_path / "s")


async def test_a_run_that_cannot_begin_gives_the_store_back(tmp_path: Path) -> None:
    broken = dd.Pipeline(
        providers=[
            dd.OpenAICompatible("p", base_url="http://127.0.0.1:9/v1", api_key="env:NOT_THERE")
        ],
        models=[dd.Model("m", provider="p")],
        columns=[dd.Column("n", generate=list, models=["m"])],
    )
    run = dd.start(broken, rows=3, store=tmp_path / "s")
    with pytest.raises(errors.ConfigError, match="NOT_THERE"):
        await run
    again = dd.start(broken, rows=3, store=tmp_path / "s")
    with pytest.raises(errors.ConfigError, match="NOT_THERE"):
        await again


async def test_a_full_disk_stops_the_run_and_finished_groups_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's own error, at the third file: as ENOSPC comes, in the middle of a run."""
    real, calls = os.fsync, []

    def full(handle: int) -> None:
        if stat.S_ISREG(os.fstat(handle).st_mode):
            calls.append(handle)
            if len(calls) > 3:  # the manifest, and two groups
                raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    run = dd.start(pipeline(), rows=ROWS, config=CONFIG, store=tmp_path / "s")
    with pytest.raises(errors.StoreError, match=r"No space left on device.*start again"):
        await run
    assert run.state == "failed"
    assert dd.Store(tmp_path / "s").rows == 9  # ten rows less one dropped
    assert not list((tmp_path / "s" / "data").glob(".*"))
    # What was finished and could not be written is in memory still.
    assert len(run.to_pandas()) > 9
    monkeypatch.setattr(os, "fsync", real)
    again = await dd.start(pipeline(), rows=ROWS, config=CONFIG, store=tmp_path / "s")
    assert again.summary().restored == 9
    assert again.to_pandas().equals(await uninterrupted())


async def test_a_directory_that_is_taken_away_stops_the_run(tmp_path: Path) -> None:
    async def moves(row: dd.Row) -> int:
        if row["n"] == 8:
            (tmp_path / "s" / "data").rename(tmp_path / "elsewhere")
        return 1

    run = dd.start(
        pipeline(dd.Column("z", needs=["n"], generate=moves)),
        rows=ROWS,
        config=dd.RunConfig(buffer_size=5, max_concurrent_row_groups=1),
        store=tmp_path / "s",
    )
    with pytest.raises(errors.StoreError, match="No such file or directory"):
        await run
    (tmp_path / "elsewhere").rename(tmp_path / "s" / "data")
    assert dd.Store(tmp_path / "s").rows == 4


async def test_a_cell_that_no_file_can_hold_is_named(tmp_path: Path) -> None:
    odd = dd.Column("odd", needs=["n"], generate=lambda row: {1, 2})
    run = dd.start(pipeline(odd), rows=5, store=tmp_path / "s")
    with pytest.raises(errors.StoreError, match="column 'odd' holds a set"):
        await run


async def test_f29_live_memory_is_that_of_open_groups(tmp_path: Path) -> None:
    run = await dd.start(
        pipeline(),
        rows=5_000,
        config=dd.RunConfig(buffer_size=100, record=False),
        store=tmp_path / "s",
    )
    engine = run._engine
    assert engine is not None
    assert engine.schedule.governor.open_groups == 0
    assert not engine.schedule.frontier.open_groups
    assert engine.scheduler._buffer.open_groups == 0
    assert engine.results._unsaved.rows == []  # type: ignore[attr-defined]
    assert len(run.record) == 0
    journal = (tmp_path / "s" / "groups.jsonl").read_bytes()
    assert journal.count(b"\n") == 50  # one line a group: the cost of one is that of any


async def test_with_a_store_pydantic_cells_are_mappings_as_in_memory(tmp_path: Path) -> None:
    from pydantic import BaseModel

    class Pair(BaseModel):
        low: int
        words: tuple[str, ...]

    column = dd.Column("p", generate=lambda rows: [Pair(low=r, words=("a", "b")) for r in rows])
    pipe = dd.Pipeline(columns=[column])
    stored = await dd.start(pipe, rows=3, store=tmp_path / "s")
    held = await dd.start(pipe, rows=3)
    assert stored.to_pandas()["p"].tolist() == held.to_pandas()["p"].tolist()
    assert held.to_pandas()["p"][1] == {"low": 1, "words": ["a", "b"]}
