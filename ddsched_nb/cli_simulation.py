"""The commands that run in virtual time: `ddsched-nb simulate` and `ddsched-nb fuzz`."""

from __future__ import annotations

import argparse

__all__ = [
    "FUZZ_EXAMPLES",
    "SIMULATE_EXAMPLES",
    "add_fuzz_arguments",
    "add_simulate_arguments",
    "run_fuzz",
    "run_simulate",
]

SIMULATE_EXAMPLES = """\
examples:
  ddsched-nb simulate                    # every workload, with its bound and oracle
  ddsched-nb simulate tight --seed 3 --record tight.jsonl
"""

FUZZ_EXAMPLES = """\
examples:
  ddsched-nb fuzz                        # 100 seeds of each target
  ddsched-nb fuzz --seeds 1000
  ddsched-nb fuzz tight --rows 30 --seed 17 --faults cancel@120,defer@44

The last form is what a failure prints: it reproduces that one run.
"""


def add_simulate_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what `simulate` takes."""
    parser.add_argument("workload", nargs="*", help="workloads; all but the million rows if none")
    parser.add_argument("--rows", type=int, help="another number of rows")
    parser.add_argument("--seed", type=int, default=0, help="another seed, another run (0)")
    parser.add_argument("--record", metavar="FILE", help="save the record of the last one here")


def run_simulate(arguments: argparse.Namespace) -> int:
    """Simulates workloads and prints how each went."""
    from ddsched_nb.sim.simulate import simulate
    from ddsched_nb.workloads.catalog import WORKLOADS

    names = arguments.workload or [w.name for w in WORKLOADS if w.name != "million-rows"]
    for name in names:
        record = simulate(name, rows=arguments.rows, seed=arguments.seed)
        print(record, flush=True)
    if arguments.record:
        record.save(arguments.record)
    return 0


def add_fuzz_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what `fuzz` takes."""
    parser.add_argument("target", nargs="*", help="workloads, or `limiter`; a set of both if none")
    parser.add_argument("--rows", type=int, default=30, help="rows of each run (30)")
    parser.add_argument("--seeds", type=int, default=100, help="seeds of each target (100)")
    parser.add_argument("--seed", type=int, help="this seed alone")
    parser.add_argument("--faults", help="these faults alone, such as cancel@120,defer@44, or none")


def run_fuzz(arguments: argparse.Namespace) -> int:
    """Fuzzes targets and prints what was found; exit status 1 if a law was broken."""
    from ddsched_nb.sim.fuzz import TARGETS, fuzz

    seeds = range(arguments.seeds) if arguments.seed is None else (arguments.seed,)
    failed = runs = 0
    for target in arguments.target or TARGETS:
        report = fuzz(target, seeds=seeds, rows=arguments.rows, faults=arguments.faults)
        print(report, flush=True)
        runs += report.runs
        failed += report.failure is not None
    print(f"{runs} runs, {failed} failures")
    return 1 if failed else 0
