"""No prompt, answer, row value or key leaves the machine: canaries in all, every artefact read.

What may hold them is the table itself: `to_pandas`, and the Parquet files of a store.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ddsched_nb as dd
from ddsched_nb import errors

KEY = "sk-CANARYKEY0123456789"
CANARIES = ("CANARYKEY", "CANARYROW", "CANARYPROMPT", "CANARYSYSTEM", "CANARYANSWER", "CANARYPARAM")
ROWS = 6


@pytest.fixture
def endpoint() -> Iterator[dd.EmbeddedEndpoint]:
    """Answers hold words of the prompt, so an answer holds a canary too; some calls fail."""
    profiles = [
        dd.EndpointProfile(
            model="m",
            capacity=2,
            latency=0.002,
            retry_after_s=0.01,
            faults=(dd.Fault(kind="error", share=0.3, status=500, attempts=None),),
        ),
        dd.EndpointProfile(model="e", domain="embedding", latency=0.002),
    ]
    with dd.EmbeddedEndpoint(profiles) as running:
        yield running


def pipeline(base_url: str, *columns: Any) -> dd.Pipeline:
    return dd.Pipeline(
        providers=[dd.OpenAICompatible("local", base_url=base_url, api_key=KEY)],
        models=[
            dd.Model(
                "writer",
                provider="local",
                id="m",
                system="CANARYSYSTEM be brief",
                params={"user": "CANARYPARAM"},
                healthcheck=True,
            ),
            dd.Model("embedder", provider="local", id="e", domain="embedding"),
        ],
        columns=columns,
        before_row_group=lambda batch: None,
        after_row_group=lambda batch: None,
    )


def refuses(text: str) -> str:
    raise ValueError(f"CANARYANSWER {text}")


def bug(row: dd.Row) -> None:
    raise KeyError(f"CANARYROW {row['secret']}")


def everything() -> list[Any]:
    return [
        dd.ModelColumn("text", model="writer", prompt="CANARYPROMPT about {{ secret }}."),
        dd.EmbeddingColumn("vector", model="embedder", text="CANARYPROMPT {{ secret }}"),
        dd.ModelColumn(
            "parsed",
            model="writer",
            prompt="CANARYPROMPT of {{ text }}",
            parse=refuses,
            parse_attempts=2,
            skip=dd.Skip("n == 0", value="CANARYROW"),
        ),
        dd.Column("late", needs=["n", "secret"], generate=bug, skip=dd.Skip("n > 3")),
    ]


TABLE = {"n": list(range(ROWS)), "secret": [f"CANARYROW {i}" for i in range(ROWS)]}


def config(**more: Any) -> dd.RunConfig:
    retry = dd.RetryConfig(max_attempts=2, initial_backoff_s=0.001, deferral_delay_s=0.001)
    return dd.RunConfig(
        buffer_size=2, retry=retry, on_bug="drop", disable_early_shutdown=True, **more
    )


def shown(run: dd.Run) -> list[str]:
    """Everything a notebook might show and store, and what else has a repr."""
    parts: list[Any] = [run, run.summary(), run.statistics(), run.config, run.record, run.pipeline]
    parts += [*run.pipeline.columns, *run.pipeline.models, *run.pipeline.providers, *run.errors]
    texts = [repr(part) for part in parts] + [str(part) for part in parts]
    texts += [part._repr_html_() for part in parts if hasattr(part, "_repr_html_")]
    texts += [str(run._repr_mimebundle_())]
    texts += [f"{error.row} {error.column} {error.reason}" for error in run.errors]
    return texts


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".parquet":
            yield str(path), path.read_bytes()


def assert_clean(where: str, text: str | bytes) -> None:
    raw = text.encode("utf-8", "replace") if isinstance(text, str) else text
    for canary in CANARIES:
        at = raw.find(canary.encode())
        assert at < 0, f"{canary} in {where}: ...{raw[max(0, at - 80) : at + 80]!r}"


async def test_canaries_are_in_no_artefact(
    endpoint: dd.EmbeddedEndpoint,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    store = tmp_path / "store"
    run = await dd.start(
        pipeline(endpoint.base_url, *everything()),
        table=TABLE,
        config=config(record=tmp_path / "run.jsonl", progress=True),
        store=store,
    )
    assert run.summary().dropped > 0
    for text in shown(run):
        assert_clean("what is shown", text)
    found = dict(files(tmp_path))
    assert {Path(name).name for name in found} >= {"run.jsonl", "manifest.json", "groups.jsonl"}
    for name, raw in found.items():
        assert_clean(name, raw)
    assert_clean("the log", caplog.text)
    assert_clean("the terminal", "".join(capfd.readouterr()))
    # The check would find them: the reasons' details hold some, and are kept in memory only.
    assert any("CANARYROW" in error.detail for error in run.errors)


async def test_canaries_are_in_no_error_that_a_run_raises(endpoint: dd.EmbeddedEndpoint) -> None:
    column = dd.Column("late", needs=["n", "secret"], generate=bug)
    run = dd.start(pipeline(endpoint.base_url, column), table=TABLE)
    with pytest.raises(errors.GeneratorBug) as caught:
        await run
    assert_clean("the error", str(caught.value))
    assert "KeyError in bug, line" in str(caught.value)
    for text in shown(run):
        assert_clean("what is shown", text)
    # The cause is chained, for the user's own eyes: it is the user's own exception.
    assert "CANARYROW" in "".join(traceback.format_exception(caught.value.__cause__))


async def test_what_a_server_says_is_in_no_error(tmp_path: Path) -> None:
    """A server that echoes the request, key and all, in its error."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        body = head + await reader.readexactly(length)
        writer.write(
            b"HTTP/1.1 400 Bad\r\nContent-Type: text/plain\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body) + body
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        column = dd.ModelColumn("text", model="writer", prompt="CANARYPROMPT {{ secret }}")
        url = f"http://127.0.0.1:{port}/v1"
        run = dd.start(
            dd.Pipeline(
                providers=[dd.OpenAICompatible("local", base_url=url, api_key=KEY)],
                models=[dd.Model("writer", provider="local", id="m", system="CANARYSYSTEM")],
                columns=[column],
            ),
            table=TABLE,
            config=dd.RunConfig(shutdown_error_window=3, record=tmp_path / "run.jsonl"),
        )
        with pytest.raises(errors.TooManyFailures) as caught:
            await run
    finally:
        server.close()
    assert_clean("the error", "".join(traceback.format_exception(caught.value)))
    for text in shown(run):
        assert_clean("what is shown", text)
    assert_clean("the record", (tmp_path / "run.jsonl").read_bytes())
    assert any("CANARYPROMPT" in error.detail for error in run.errors)
    assert not any("CANARYKEY" in error.detail for error in run.errors)


async def test_a_template_reads_its_row_and_nothing_else(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("CANARYROW")
    reach = "{{ topic.__class__.__mro__[1].__subclasses__() }}"
    column = dd.ModelColumn("text", model="writer", prompt=reach)
    with dd.EmbeddedEndpoint([dd.EndpointProfile(model="m")]) as endpoint:
        run = dd.start(pipeline(endpoint.base_url, column), table={"topic": ["x"]})
        with pytest.raises(errors.GeneratorBug, match="SecurityError"):
            await run
    include = dd.ModelColumn("text", model="writer", prompt="{% include '" + str(secret) + "' %}")
    with dd.EmbeddedEndpoint([dd.EndpointProfile(model="m")]) as endpoint:
        run = dd.start(pipeline(endpoint.base_url, include), table={"topic": ["x"]})
        with pytest.raises(errors.GeneratorBug, match="cannot be rendered: TypeError"):
            await run
