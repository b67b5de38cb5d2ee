"""The commands about the idle suite: `ddsched-nb suite` and `ddsched-nb report`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ddsched_nb.errors import ConfigError

if TYPE_CHECKING:
    from ddsched_nb.bench.suite.summary import Clock

__all__ = [
    "REPORT_EXAMPLES",
    "SUITE_EXAMPLES",
    "add_report_arguments",
    "add_suite_arguments",
    "run_report",
    "run_suite",
]

SUITE_EXAMPLES = """\
examples:
  ddsched-nb suite --out results                 # 22 cases of the reference and ours, in seconds
  ddsched-nb suite --full --out results          # 28 cases of the reference and ours
  ddsched-nb suite --real-time --out results     # the same on a real event loop, with real waits
  ddsched-nb suite --out after --baseline before/summary.json
  ddsched-nb suite --skip-run --out results      # judge the figures of an earlier run again

Exit status: 0 if no check of severity `error` failed, 1 if one did, 2 for what you can mend.
"""


REPORT_EXAMPLES = """\
examples:
  ddsched-nb report results -o report.html       # one file, to be opened in any browser

results is what `ddsched-nb suite --out results` has written.
"""


def add_suite_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what `suite` takes."""
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument(
        "--quick", dest="mode", action="store_const", const="quick", help="22 cases (the default)"
    )
    modes.add_argument("--full", dest="mode", action="store_const", const="full", help="28 cases")
    parser.add_argument("--real-time", action="store_true", help="on a real loop, in real time")
    parser.add_argument("--out", metavar="DIR", required=True, help="where the files go")
    parser.add_argument("--skip-run", action="store_true", help="run nothing; judge DIR again")
    parser.add_argument("--allow-failures", action="store_true", help="exit with 0 all the same")
    compared = parser.add_argument_group("comparison with an earlier run")
    compared.add_argument("--baseline", metavar="FILE", help="its summary.json")
    for flag, default, text in (
        ("--utilization-drop", 0.05, "llm utilization may drop by so much"),
        ("--idle-rise", 0.05, "idle may rise by so much"),
        ("--starved-rise", 0.05, "starved idle may rise by so much"),
        ("--frontier-rise", 0.05, "frontier idle may rise by so much"),
        ("--throughput-share", 0.75, "so much of the throughput must be left, or you are warned"),
    ):
        help_text = f"{text} ({default:g})"
        compared.add_argument(flag, type=_share, metavar="X", default=default, help=help_text)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 to 1, such as 0.05")
    return value


def run_suite(arguments: argparse.Namespace) -> int:
    """Runs the suite, or reads an earlier run, and writes and prints what the checks say."""
    from ddsched_nb.bench.suite import runner
    from ddsched_nb.bench.suite.baseline import Tolerances
    from ddsched_nb.bench.suite.summary import read_summary
    from ddsched_nb.bench.suite.writing import verdict, writable, write_files

    folder = Path(arguments.out)
    baseline = None if arguments.baseline is None else Path(arguments.baseline)
    if baseline is not None:
        read_summary(baseline)  # before anything runs for minutes
    clock: Clock | None = "real" if arguments.real_time else None
    if arguments.skip_run:
        summary = runner.reread(folder, arguments.mode, clock, _say)
    else:
        writable(folder)
        summary = runner.run_suite(arguments.mode or "quick", clock or "virtual", _say)
    allowed = Tolerances(
        arguments.utilization_drop,
        arguments.idle_rise,
        arguments.starved_rise,
        arguments.frontier_rise,
        arguments.throughput_share,
    )
    summary = write_files(runner.judge(summary, baseline, allowed), folder)
    for check in summary.failed:
        print(f"{check.severity}: {check.reason}  [{check.id}]")
    print(f"{verdict(summary)}; written to {folder}")
    return 1 if summary.broken and not arguments.allow_failures else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def add_report_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what `report` takes."""
    parser.add_argument("folder", metavar="DIR", help="where `ddsched-nb suite` has written")
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="the HTML file")


def run_report(arguments: argparse.Namespace) -> int:
    """Writes the report of an earlier run as one HTML file."""
    from ddsched_nb.bench.suite.report import report
    from ddsched_nb.bench.suite.summary import read_summary
    from ddsched_nb.bench.suite.writing import SUMMARY

    page, target = report(read_summary(Path(arguments.folder) / SUMMARY)), Path(arguments.output)
    try:
        target.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write to {str(target)!r}: {error.strerror}") from error
    print(f"written to {target}")
    return 0
