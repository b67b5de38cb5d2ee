"""What a benchmark may be asked for. Light: the command line reads it to show its help.

Whether a scenario or a workload of a name exists is decided by who runs it.
"""

from __future__ import annotations

import argparse

__all__ = ["KINDS", "add_arguments"]

KINDS = {
    "micro": "each part by itself, beside its bar and Data Designer's figure",
    "growth": "cost of an operation against tasks, flows, waiters, open row groups",
    "endpoint": "512 rows over HTTP, beside the oracle and the simplest loop",
    "tasks": "the scheduler's CPU per task",
    "handoff": "many callers on few slots, beside a bare loop",
    "store": "what a store costs",
    "limits": "limits on trial",
    "quotas": "quotas on trial",
    "row-groups": "adaptive row groups beside fixed ones",
    "cases": "the reference's cases at their bounds",
    "reality": "virtual time beside real HTTP",
    "rehearsal": "forecasts beside real runs",
    "view": "what the live view costs",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what a benchmark takes."""
    what = "; ".join(f"{name}: {text}" for name, text in KINDS.items())
    parser.add_argument("what", metavar="WHAT", choices=list(KINDS), help=what)
    parser.add_argument("--json", metavar="FILE", help="micro and growth: the figures as JSON, too")
    parser.add_argument("--scenario", metavar="NAME", action="append", help="of endpoint")
    parser.add_argument("--workload", metavar="NAME", action="append", help="of reality, rehearsal")
    parser.add_argument("--rows", type=int, default=512, help="rows of the endpoint work (512)")
    parser.add_argument("--repeats", type=int, help="runs of each (3; of micro 5)")
