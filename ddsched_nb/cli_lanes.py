"""The command about live lanes: `ddsched-nb lanes`."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ddsched_nb.errors import ConfigError

if TYPE_CHECKING:
    from ddsched_nb.bench.lanes.catalog import Setup
    from ddsched_nb.bench.lanes.result import LaneResult, LanesSummary
    from ddsched_nb.clients.profile import EndpointProfile

__all__ = ["LANES_EXAMPLES", "add_lanes_arguments", "run_lanes"]

LANES_EXAMPLES = """\
examples:
  ddsched-nb lanes                                # on the embedded endpoint, in seconds
  ddsched-nb lanes --base-url https://api.example.com/v1 --api-key env:MY_KEY \\
      --model some-model --small-model a-smaller-one --out results
  ddsched-nb lanes --requests 2000 --out results  # the lanes of scale too
  ddsched-nb lanes --base-url http://127.0.0.1:8000/v1 --model mine --capacity 8 --only aimd

Without --base-url nothing leaves this machine. A real endpoint is asked for about --requests
short answers a lane, which you pay for.

With --out: a record of each lane (LANE.jsonl), summary.json and report.html.
Exit status: 0 if no lane lost a row, 1 if one did, 2 for what you can mend.
"""


def add_lanes_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what `lanes` takes."""
    where = parser.add_argument_group("where")
    where.add_argument("--base-url", metavar="URL", help="an OpenAI-compatible endpoint, with /v1")
    where.add_argument("--api-key", metavar="env:NAME", help="the variable that holds its key")
    where.add_argument(
        "--model", metavar="ID", help="whom to ask; the only one listed, if not given"
    )
    where.add_argument("--small-model", metavar="ID", help="another, for the mix of both")
    where.add_argument(
        "--capacity", type=_count, metavar="N", help="what --model serves at once, for the bound"
    )
    much = parser.add_argument_group("how much")
    much.add_argument(
        "--requests", type=_count, default=96, metavar="N", help="requests a lane, about (96)"
    )
    much.add_argument(
        "--parallel", type=_count, default=16, metavar="N", help="in flight at the most (16)"
    )
    much.add_argument(
        "--max-tokens",
        type=int,
        default=16,
        metavar="N",
        help="tokens of an answer; 0: unsaid (16)",
    )
    much.add_argument(
        "--only", action="append", default=[], metavar="LANE", help="this lane; may be repeated"
    )
    parser.add_argument("--out", metavar="DIR", help="where records, summary and report go")


def _count(text: str) -> int:
    with contextlib.suppress(ValueError):
        if int(text) >= 1:
            return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")


def run_lanes(arguments: argparse.Namespace) -> int:
    """Runs the lanes one after the other, and prints and writes what became of them."""
    from ddsched_nb.bench.lanes.catalog import chosen
    from ddsched_nb.bench.lanes.running import run_lane
    from ddsched_nb.bench.suite.writing import writable

    _check(arguments)
    folder = None if arguments.out is None else Path(arguments.out)
    if folder is not None:
        writable(folder)
    results: list[LaneResult] = []
    with _setup(arguments) as (setup, known):
        for lane in chosen(setup, arguments.only):
            results.append(run_lane(lane, setup, known, folder))
            print(results[-1].line(), flush=True)
        summary = _summary(arguments, setup, results)
    if folder is not None:
        _write(folder, summary)
        print(f"written to {folder}")
    if summary.lost:
        print(f"{summary.lost:,} rows lost")
    return 1 if summary.lost else 0


def _check(arguments: argparse.Namespace) -> None:
    key = arguments.api_key
    if key is not None and not key.startswith("env:"):
        raise ConfigError(
            "--api-key takes env:NAME, the name of the variable that holds the key: what stands "
            "on a command line is read by others on this machine"
        )
    if arguments.base_url is None:
        for flag in ("api_key", "model", "small_model", "capacity"):
            if getattr(arguments, flag) is not None:
                raise ConfigError(f"--{flag.replace('_', '-')} goes with --base-url; give it too")


@contextlib.contextmanager
def _setup(
    arguments: argparse.Namespace,
) -> Iterator[tuple[Setup, Mapping[str, EndpointProfile]]]:
    from ddsched_nb.bench.lanes.catalog import Setup
    from ddsched_nb.bench.lanes.running import EMBEDDED
    from ddsched_nb.bench.server import served
    from ddsched_nb.clients.profile import EndpointProfile

    def made(base_url: str, model: str, small: str | None) -> Setup:
        return Setup(
            base_url,
            arguments.api_key,
            model,
            small,
            arguments.requests,
            arguments.parallel,
            arguments.max_tokens,
        )

    if arguments.base_url is None:
        strong, small = EMBEDDED
        with served(EMBEDDED) as base_url:
            yield made(base_url, strong.model, small.model), {p.model: p for p in EMBEDDED}
        return
    model = arguments.model or _only_listed(arguments.base_url, arguments.api_key)
    known = {}
    if arguments.capacity is not None:
        known[model] = EndpointProfile(model=model, capacity=arguments.capacity)
    yield made(arguments.base_url, model, arguments.small_model), known


def _only_listed(base_url: str, api_key: str | None) -> str:
    """The id of the model that an endpoint lists, if it is just one."""
    import asyncio

    from ddsched_nb.clients.openai import OpenAICompatibleClient

    async def ask() -> tuple[str, ...]:
        client = OpenAICompatibleClient("lane", base_url, api_key)
        try:
            return await client.models()
        finally:
            await client.close()

    listed = asyncio.run(ask())
    if len(listed) == 1:
        return listed[0]
    shown = ", ".join(listed[:20]) or "none"
    raise ConfigError(f"give --model; the endpoint lists {len(listed)}: {shown}")


def _summary(
    arguments: argparse.Namespace, setup: Setup, results: list[LaneResult]
) -> LanesSummary:
    from ddsched_nb.bench.lanes.result import LanesSummary
    from ddsched_nb.bench.suite.provenance import provenance

    shown = "embedded" if arguments.base_url is None else _shown(arguments.base_url)
    asked = tuple(model for model in (setup.model, setup.small_model) if model is not None)
    command = f"ddsched-nb lanes --requests {setup.requests} --parallel {setup.parallel}"
    return LanesSummary(
        endpoint=shown, models=asked, lanes=tuple(results), provenance=provenance(command)
    )


def _shown(base_url: str) -> str:
    from yarl import URL

    # A query or user info may carry a key.
    return str(URL(base_url).with_user(None).with_query(None).with_fragment(None))


def _write(folder: Path, summary: LanesSummary) -> None:
    from ddsched_nb.bench.lanes.report import lanes_report

    files: Mapping[str, Callable[[], bytes]] = {
        "summary.json": summary.encoded,
        "report.html": lambda: lanes_report(summary).encode(),
    }
    try:
        for name, content in files.items():
            (folder / name).write_bytes(content())
    except OSError as error:
        raise ConfigError(f"cannot write to {str(folder)!r}: {error.strerror}") from error
