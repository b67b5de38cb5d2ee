"""The command `ddsched-nb bench`: the benchmarks of `python -m ddsched_nb.bench`."""

from __future__ import annotations

import argparse

from ddsched_nb.bench.arguments import add_arguments as add_bench_arguments

__all__ = ["BENCH_EXAMPLES", "add_bench_arguments", "run_bench"]

BENCH_EXAMPLES = """\
examples:
  ddsched-nb bench micro                         # each part beside its bar, in a few minutes
  ddsched-nb bench micro --json micro.json
  ddsched-nb bench growth                        # cost against tasks, flows, waiters, row groups
  ddsched-nb bench endpoint --scenario tight

Times are of this machine; read each beside what stands in its row.
"""


def run_bench(arguments: argparse.Namespace) -> int:
    """Measures and prints tables."""
    from ddsched_nb.bench.__main__ import run

    return run(arguments)
