"""The command that draws a run for Perfetto's viewer: `ddsched-nb perfetto`."""

from __future__ import annotations

import argparse
import difflib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from ddsched_nb.errors import ConfigError

if TYPE_CHECKING:
    from ddsched_nb.record import RunRecord
    from ddsched_nb.workloads.base import Workload

__all__ = ["PERFETTO_EXAMPLES", "add_perfetto_arguments", "run_perfetto"]

PERFETTO_EXAMPLES = """\
examples:
  ddsched-nb perfetto run.jsonl -o trace.json
  ddsched-nb perfetto tight --simulate
  ddsched-nb perfetto adaptive-request-pressure-combined --simulate -o combined.json

run.jsonl is what run.record.save("run.jsonl") wrote.
"""


def add_perfetto_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what `perfetto` takes."""
    parser.add_argument(
        "record", metavar="RECORD", help="a saved record, or with --simulate a workload or case"
    )
    parser.add_argument("-o", "--output", default="trace.json", metavar="FILE", help="(trace.json)")
    parser.add_argument(
        "--simulate", action="store_true", help="run the workload or case RECORD in virtual time"
    )
    parser.add_argument("--seed", type=int, default=0, help="the seed of that simulation (0)")


def run_perfetto(arguments: argparse.Namespace) -> int:
    """Writes a trace and says what is in it."""
    from ddsched_nb.bench.perfetto.trace import perfetto_trace

    trace = perfetto_trace(_record(arguments))
    path = trace.save(arguments.output)
    said = Counter(event.ph for event in trace.trace_events)
    print(
        f"{path}: {path.stat().st_size / 1e6:.2f} MB, {said['X']} slices, {said['s']} arrows, "
        f"{said['C']} changes of counters, {said['i']} instants"
    )
    if trace.metadata["truncated"]:
        print("the record is cut: what began before it is drawn from its first event on")
    print("open it at https://ui.perfetto.dev")
    return 0


def _record(arguments: argparse.Namespace) -> RunRecord:
    from ddsched_nb.record import RunRecord
    from ddsched_nb.sim.simulate import simulate

    name: str = arguments.record
    if arguments.simulate:
        return simulate(_find(name), seed=arguments.seed)
    if not Path(name).exists() and name in _named():
        raise ConfigError(f"there is no file {name!r}; to simulate what has that name: --simulate")
    return RunRecord.load(name)


def _named() -> dict[str, Workload]:
    """Workloads, and the cases of the suite, by name."""
    from ddsched_nb.bench.suite.cases import CASES, OWN_CASES
    from ddsched_nb.workloads.catalog import WORKLOADS

    cases = {case.name: case.workload for case in (*CASES, *OWN_CASES)}
    return {workload.name: workload for workload in WORKLOADS} | cases


def _find(name: str) -> Workload:
    named = _named()
    if name not in named:
        close = difflib.get_close_matches(name, named, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ConfigError(
            f"there is no workload or case {name!r}; {hint}there are {', '.join(named)}"
        )
    return named[name]
