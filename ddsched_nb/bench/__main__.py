"""`python -m ddsched_nb.bench WHAT`: endpoint, tasks, store, limits, quotas, view, ..."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Sequence

from ddsched_nb.bench import endpoint, handoff, limits, reality, row_groups, storing, tasks
from ddsched_nb.bench.scenarios import SCENARIOS
from ddsched_nb.bench.suite import table as suite


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and prints a table, with the facts of the machine above it."""
    parser = argparse.ArgumentParser(prog="python -m ddsched_nb.bench", description=__doc__)
    kinds = ["endpoint", "tasks", "store", "limits", "quotas", "handoff", "row-groups"]
    kinds += ["cases", "reality", "rehearsal", "view"]
    parser.add_argument("what", choices=kinds)
    parser.add_argument("--scenario", choices=[s.name for s in SCENARIOS], action="append")
    parser.add_argument("--workload", choices=reality.WORKLOADS, action="append")
    parser.add_argument("--rows", type=int, default=512, help="rows of the endpoint work (512)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each client (3)")
    chosen = parser.parse_args(argv)
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, {platform.machine()}")
    if chosen.what == "tasks":
        sizes = [(n, record) for n in (10_000, 100_000) for record in (False, True)]
        print(endpoint.table([tasks.measure(n, record=record) for n, record in sizes]))
        return 0
    if chosen.what in ("reality", "rehearsal"):
        compare = reality.reality if chosen.what == "reality" else reality.rehearsal
        print(endpoint.table([compare(name) for name in chosen.workload or reality.WORKLOADS]))
        return 0
    if chosen.what == "view":
        from ddsched_nb.bench import watching  # needs what a notebook has

        print(endpoint.table([watching.updates()]))
        print(endpoint.table([watching.with_and_without(max(5, chosen.repeats))]))
        print(endpoint.table([watching.large()]))
        return 0
    if chosen.what == "limits":
        print(endpoint.table(limits.trials()))
        print(endpoint.table(limits.sweep()))
        print(endpoint.table(limits.latency_trials()))
        print(endpoint.table(limits.fairness()))
        return 0
    if chosen.what == "quotas":
        print(endpoint.table(limits.quota_trials()))
        return 0
    if chosen.what == "row-groups":
        print(endpoint.table(row_groups.compare()))
        return 0
    if chosen.what == "cases":
        print("In brackets: as published for the reference, in real time.")
        print(endpoint.table(suite.suite_table()))
        print(endpoint.table(suite.combined()))
        return 0
    if chosen.what == "handoff":
        print(endpoint.table([handoff.compare(waiters) for waiters in (50, 2_000)]))
        print(endpoint.table([handoff.idle()]))
        return 0
    if chosen.what == "store":
        print(endpoint.table(storing.large(1_000_000, 1_000)))
        print(endpoint.table(storing.compare(150_000, 1_000, max(5, chosen.repeats))))
        return 0
    wanted = [s for s in SCENARIOS if not chosen.scenario or s.name in chosen.scenario]
    for scenario in wanted:
        print(endpoint.table(endpoint.measure(scenario, chosen.rows, chosen.repeats)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
