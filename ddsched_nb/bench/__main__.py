"""`python -m ddsched_nb.bench WHAT`, and `ddsched-nb bench WHAT`: measures and prints a table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ddsched_nb.bench import (
    endpoint,
    growth,
    handoff,
    limits,
    micro,
    reality,
    row_groups,
    storing,
    tasks,
)
from ddsched_nb.bench.arguments import add_arguments
from ddsched_nb.bench.scenarios import SCENARIOS
from ddsched_nb.bench.suite import table as suite
from ddsched_nb.errors import ConfigError, DdschedError

__all__ = ["main", "run"]

Entries = list[dict[str, object]]


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and prints a table, with the facts of the machine above it."""
    parser = argparse.ArgumentParser(prog="python -m ddsched_nb.bench", description=__doc__)
    add_arguments(parser)
    chosen = parser.parse_args(argv)
    try:
        return run(chosen)
    except DdschedError as error:
        parser.error(str(error))


def run(chosen: argparse.Namespace) -> int:
    """Does what was asked for.

    Args:
        chosen: What `add_arguments` declares.

    Raises:
        ConfigError: A scenario or workload is unknown, the repeats are below 1, or the JSON cannot
            be written.
    """
    _known("scenario", chosen.scenario, [s.name for s in SCENARIOS])
    _known("workload", chosen.workload, reality.WORKLOADS)
    if chosen.repeats is not None and chosen.repeats < 1:
        raise ConfigError(f"--repeats is {chosen.repeats}; give at least 1")
    if chosen.json is not None and chosen.what not in ("micro", "growth"):
        raise ConfigError(f"--json is for micro and growth, not for {chosen.what}")
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, {platform.machine()}")
    found = _MEASURES[chosen.what](chosen)
    if chosen.json is not None:
        _write(Path(chosen.json), found)
    return 0


def _known(what: str, given: Iterable[str] | None, known: Iterable[str]) -> None:
    names = list(known)
    for name in given or ():
        if name not in names:
            raise ConfigError(f"no {what} is named {name!r}; there are {', '.join(names)}")


def _write(path: Path, found: Entries) -> None:
    machine = {
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
    }
    try:
        path.write_text(json.dumps({"machine": machine, "figures": found}, indent=1) + "\n")
    except OSError as error:
        raise ConfigError(f"cannot write to {str(path)!r}: {error.strerror}") from error


def _shown(*tables: Entries) -> Entries:
    for entries in tables:
        print(endpoint.table(entries))
    return [entry for entries in tables for entry in entries]


def _micro(chosen: argparse.Namespace) -> Entries:
    lines = list(micro.measure(micro.Scale(repeats=chosen.repeats or 5)))
    _shown(micro.entries(lines))
    return [{**line._asdict(), "verdict": line.verdict} for line in lines]


def _growth(chosen: argparse.Namespace) -> Entries:
    found = list(growth.curves(growth.Sizes(repeats=chosen.repeats or 3)))
    _shown(growth.entries(found))
    return [
        {**curve._asdict(), "points": [p._asdict() for p in curve.points], "ratio": curve.ratio}
        for curve in found
    ]


def _tasks(chosen: argparse.Namespace) -> Entries:
    sizes = [(n, record) for n in (10_000, 100_000) for record in (False, True)]
    return _shown([tasks.measure(n, record=record) for n, record in sizes])


def _reality(chosen: argparse.Namespace) -> Entries:
    compare = reality.reality if chosen.what == "reality" else reality.rehearsal
    return _shown([compare(name) for name in chosen.workload or reality.WORKLOADS])


def _view(chosen: argparse.Namespace) -> Entries:
    from ddsched_nb.bench import watching  # needs what a notebook has

    pairs = max(5, chosen.repeats or 0)
    return [
        *_shown([watching.updates()]),
        *_shown([watching.with_and_without(pairs)]),
        *_shown([watching.large()]),
    ]


def _limits(chosen: argparse.Namespace) -> Entries:
    measures = (limits.trials, limits.sweep, limits.latency_trials, limits.fairness)
    return [entry for measure in measures for entry in _shown(measure())]


def _quotas(chosen: argparse.Namespace) -> Entries:
    return _shown(limits.quota_trials())


def _row_groups(chosen: argparse.Namespace) -> Entries:
    return _shown(row_groups.compare())


def _cases(chosen: argparse.Namespace) -> Entries:
    print("In brackets: as published for the reference, in real time.")
    return [*_shown(suite.suite_table()), *_shown(suite.combined())]


def _handoff(chosen: argparse.Namespace) -> Entries:
    found = _shown([handoff.compare(waiters) for waiters in (50, 2_000)])
    return [*found, *_shown([handoff.idle()])]


def _store(chosen: argparse.Namespace) -> Entries:
    found = _shown(storing.large(1_000_000, 1_000))
    return [*found, *_shown(storing.compare(150_000, 1_000, max(5, chosen.repeats or 0)))]


def _endpoint(chosen: argparse.Namespace) -> Entries:
    wanted = [s for s in SCENARIOS if not chosen.scenario or s.name in chosen.scenario]
    measured: Entries = []
    for scenario in wanted:
        measured += _shown(endpoint.measure(scenario, chosen.rows, chosen.repeats or 3))
    return measured


_MEASURES: dict[str, Callable[[argparse.Namespace], Entries]] = {
    "micro": _micro,
    "growth": _growth,
    "endpoint": _endpoint,
    "tasks": _tasks,
    "handoff": _handoff,
    "store": _store,
    "limits": _limits,
    "quotas": _quotas,
    "row-groups": _row_groups,
    "cases": _cases,
    "reality": _reality,
    "rehearsal": _reality,
    "view": _view,
}


if __name__ == "__main__":
    sys.exit(main())
